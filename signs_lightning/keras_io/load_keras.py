"""Loads a Keras file as an `ImageClassifier`.

A file with a config is rebuilt from it; one of weights only is loaded into an architecture of ours.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.input_scales import Scale
from signs_lightning.keras_io.keras_file import open_keras_file
from signs_lightning.keras_io.weights_only import (
    ARCHITECTURES,
    check_own_options,
    load_into_architecture,
)
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.tasks import Task
from signs_lightning.runtime.rank_zero_print import rank_zero_print


def from_keras(
    path: str | Path,
    scale: Scale | None = None,
    class_names: list[str] | None = None,
    architecture: str | Path | None = None,
    image_size: tuple[int, int, int] | None = None,
    output_layer: str | None = None,
    task: Task | None = None,
) -> ImageClassifier:
    """Load a file that Keras 1.0 to 3.x wrote: `.h5`, `.weights.h5` or `.keras`.

    Args:
        path: the file. One with a config is rebuilt from it; one of weights only is loaded into one
            of our architectures.
        scale: what the model was trained on: "/255" is images in 0..1, "raw" in 0..255; "tf",
            "caffe" and "torch" are the modes of `keras.applications.*.preprocess_input`. None takes
            it from the model's first layers, and prints it.
        class_names: names of the K classes, in label order.
        architecture: what the weights belong to: a JSON file of Keras's `model.to_json()`; or, for
            a file of weights only, "happy", "signs" or "resnet50" of ours, the only one that fits
            when omitted.
        image_size: height, width and channels, for a model that takes images of any size.
        output_layer: the layer that gives the classes, for a model that has several outputs.
        task: "multilabel" for sigmoids where images have several labels each; "regression" for
            values without activation, which the loss of the file tells, too.

    Returns:
        The classifier in eval mode. It takes float (N, C, H, W) in 0..1 whatever the scale, and
        gives logits (N, K), or (N, 1) where a sigmoid ended the model.

    Raises:
        InputError: the file is damaged, malicious, has parts that are not supported, or does not
            tell the scale.

    Examples:
        >>> import torch
        >>> from signs_lightning import SignsFunctional, export_keras, from_keras
        >>> original = SignsFunctional().eval()
        >>> export_keras(original, "signs.keras")
        >>> model = from_keras("signs.keras", scale="/255")
        >>> images = torch.rand(2, 3, 64, 64)
        >>> torch.allclose(model(images), original(images), atol=1e-5)
        True
    """
    architecture = None if architecture is None else str(architecture)
    is_ours = architecture is None or architecture in ARCHITECTURES
    with open_keras_file(path) if is_ours else nullcontext() as file:
        if file is not None and file.config is None:
            check_own_options(file, scale, output_layer)
            if task is not None:
                raise InputError(
                    f"{Path(path).name} has weights only, of a model that tells single classes, "
                    f"and the task is {task}. Leave it out, or name the file of a whole model."
                )
            model = load_into_architecture(file, architecture, class_names, image_size)
            model.hparams["resize"] = "unknown"
            if scale is None:
                because = "the file has weights only, and our architectures take that"
                rank_zero_print(f"scale: /255 (0..1), because {because}.")
            return model.eval()
    if is_ours and architecture is not None:
        raise InputError(
            f"architecture is '{architecture}', but {Path(path).name} brings its own model. Leave "
            "--architecture out."
        )
    model = FromKeras(
        path=str(path),
        scale=scale,
        class_names=class_names,
        image_size=image_size,
        architecture=architecture,
        output_layer=output_layer,
        task=task,
    )
    return model.eval()
