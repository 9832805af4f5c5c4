"""The export verb: a trained model as a file for elsewhere."""

from __future__ import annotations

from pathlib import Path

from signs_lightning.errors import VerbParser

KERAS_FORMATS = ("keras", "keras-h5", "keras-weights")


def main(verb: str, args: list[str]) -> int:
    """Runs `export --ckpt_path F --format keras|keras-h5|keras-weights --output O`.

    Raises:
        InputError: the checkpoint cannot be used, or the model has no counterpart in that format; nothing is written then.
    """
    parser = VerbParser(verb, "Writes a trained model as a file that Keras 3 loads, with the same outputs.")
    parser.add_argument("--ckpt_path", required=True, metavar="F", help="checkpoint or run folder")
    parser.add_argument(
        "--format", required=True, choices=KERAS_FORMATS, help="model, older model format, or weights only"
    )
    parser.add_argument("--output", required=True, metavar="O", help="the file to write: .keras, .h5 or .weights.h5")
    options = parser.parse_args(args)

    from signs_lightning.checkpoints import find_checkpoint, load_classifier
    from signs_lightning.keras_io.writing import export_keras

    path = find_checkpoint(Path(options.ckpt_path), verb)
    assert path is not None  # only `fit` may find none
    model, _ = load_classifier(path)
    export_keras(model, options.output, options.format)
    load = "model.load_weights" if options.format == "keras-weights" else "keras.models.load_model"
    print(f"Wrote {options.output}. In Keras: {load}('{options.output}').")
    return 0
