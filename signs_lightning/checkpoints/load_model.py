"""A trained model from a checkpoint, a run folder, a Keras file or an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from signs_lightning.errors import InputError
from signs_lightning.keras_io.input_scales import Scale

if TYPE_CHECKING:
    from signs_lightning.checkpoints.own_model import OwnModel
    from signs_lightning.export.onnx_classifier import OnnxClassifier
    from signs_lightning.models.classifier import ImageClassifier

KERAS_SUFFIXES = (".h5", ".hdf5", ".keras")


def load_model(
    path: str,
    verb: str,
    scale: Scale | None = None,
    output_layer: str | None = None,
    own: OwnModel | None = None,
) -> tuple[ImageClassifier | OnnxClassifier, dict[str, Any]]:
    """Load a trained model, and the data settings that its file remembers.

    Args:
        path: checkpoint, run folder, Keras file or ONNX file.
        verb: the command; it decides which checkpoint of a run folder is meant, and `summary`
            needs no scale.
        scale: what a Keras file's images were scaled to, see `from_keras`; None for all other
            files, which remember it.
        output_layer: the layer that gives the classes, of a Keras file with several outputs.
        own: the user's class or network, for a checkpoint of a model that is none of this
            package's.

    Returns:
        The model in eval mode on the CPU, and settings of the `H5DataModule` that it was trained on
        (empty for files that remember none).

    Raises:
        InputError: the file holds no usable model, or needs a package that is not installed; or a
            scale or an output is given for a file that has its own, or none for a Keras file that
            needs it.
    """
    if own is not None and path.endswith((*KERAS_SUFFIXES, ".onnx", ".pt2")):
        raise InputError(
            f"--model is given, but only a checkpoint needs it: {path} brings its own model. Leave "
            "it out."
        )
    if path.endswith(KERAS_SUFFIXES):
        from signs_lightning.keras_io.input_scale_inference import UnknownScaleError
        from signs_lightning.keras_io.load_keras import from_keras  # start-up, as all of these

        try:
            return from_keras(path, scale=scale, output_layer=output_layer), {}
        except UnknownScaleError as error:
            if verb != "summary":
                raise
            likely = error.evidence.likely[0]
            return from_keras(path, scale=likely, output_layer=output_layer), {}
    for option, value in (("--scale", scale), ("--output_layer", output_layer)):
        if value is not None:
            raise InputError(
                f"{option} is {value}, but only a Keras file needs it: {path} remembers its own. "
                "Leave it out."
            )
    if path.endswith(".onnx"):
        from signs_lightning.export.onnx_classifier import OnnxClassifier  # onnxruntime is optional

        return OnnxClassifier(path), {}
    if path.endswith(".pt2"):
        raise InputError(
            f"{path} was exported for other programs and is not read back, because opening such a "
            "file can run code. Name the checkpoint that it was made from."
        )
    from signs_lightning.checkpoints.files import find_checkpoint, load_classifier  # imports torch

    checkpoint = find_checkpoint(Path(path), verb)
    if checkpoint is None:
        raise InputError(f"{path} holds no checkpoint yet. Name a .ckpt file or a run folder.")
    return load_classifier(checkpoint, own)
