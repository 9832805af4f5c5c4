"""The export verb: a trained model as a file for elsewhere."""

from __future__ import annotations

from pathlib import Path

from signs_lightning.errors import CommandParser, InputError
from signs_lightning.keras_io.scales import SCALES

ENDINGS = {
    "onnx": ".onnx",
    "torch": ".pt2",
    "keras": ".keras",
    "keras-h5": ".h5",
    "keras-weights": ".weights.h5",
}
HOW_TO_READ = {
    "torch": "torch.export.load('{}').module()",
    "keras": "keras.models.load_model('{}')",
    "keras-h5": "keras.models.load_model('{}')",
    "keras-weights": "model.load_weights('{}')",
}


def main(verb: str, args: list[str]) -> int:
    """Runs `export --ckpt_path F --format onnx|torch|keras|keras-h5|keras-weights --output O`.

    Raises:
        InputError: the model cannot be used, or has no counterpart in that format; nothing is
            written then.
    """
    parser = CommandParser(
        verb,
        "Writes a trained model as a file for elsewhere; ONNX and PyTorch files only after "
        "comparing them with the model.",
    )
    parser.add_argument(
        "--ckpt_path", required=True, metavar="F", help="checkpoint, run folder or Keras file"
    )
    parser.add_argument(
        "--format",
        required=True,
        choices=tuple(ENDINGS),
        help="ONNX and torch.export take uint8 images and give probabilities; Keras 3 gets its "
        "model, older format or weights",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="O",
        help=f"the file to write: {', '.join(ENDINGS.values())}",
    )
    parser.add_argument("--scale", choices=SCALES, help="of a Keras file, as in import-keras")
    options = parser.parse_args(args)
    output = Path(options.output)
    if not output.name.endswith(ENDINGS[options.format]):
        raise InputError(
            f"The format {options.format} is written to a file that ends in "
            f"{ENDINGS[options.format]}, "
            f"{output.name} does not. Rename it."
        )
    if options.ckpt_path.endswith(".onnx"):
        raise InputError(
            f"{options.ckpt_path} is an exported file already. Name the "
            "checkpoint that it was made from."
        )

    from signs_lightning.checkpoints.model_files import load_model
    from signs_lightning.models.classifier import ImageClassifier
    from signs_lightning.runtime.atomic_write import check_output

    check_output(output)
    model, settings = load_model(options.ckpt_path, verb, options.scale)
    assert isinstance(model, ImageClassifier)  # all but the ONNX file
    if options.format in ("onnx", "torch"):
        from signs_lightning.export.artefacts import export_artefact, images_to_compare

        images, what = images_to_compare(model, settings)
        difference = export_artefact(model, output, options.format, images)
        print(f"Largest difference from the model's probabilities on {what}: {difference:.1g}")
    else:
        from signs_lightning.keras_io.to_keras import export_keras

        export_keras(model, output, options.format)
    if options.format == "onnx":
        print(
            f"Wrote {output}. Next: python -m signs_lightning predict --ckpt_path {output} "
            "--images PICTURE"
        )
    else:
        library = "PyTorch" if options.format == "torch" else "Keras"
        print(f"Wrote {output}. In {library}: {HOW_TO_READ[options.format].format(output)}")
    return 0
