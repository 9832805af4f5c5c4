"""The export verb: a trained model as a file for ONNX, PyTorch or Keras, or as source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.own_model_options import take_model_options
from signs_lightning.errors import InputError
from signs_lightning.keras_io.input_scales import SCALES
from signs_lightning.runtime.display import predict_option
from signs_lightning.runtime.escaping import quote_path
from signs_lightning.runtime.terminal import print_message, print_with_value
from signs_lightning.runtime.value_ranges import number_text

FORMATS = {  # ending, and how the file is read
    "onnx": (".onnx", ""),
    "torch": (".pt2", "In PyTorch: torch.export.load('{}').module()"),
    "keras": (".keras", "In Keras: keras.models.load_model('{}')"),
    "keras-h5": (".h5", "In Keras: keras.models.load_model('{}')"),
    "keras-weights": (".weights.h5", "In Keras: model.load_weights('{}')"),
    "source": (".py", ""),
    "safetensors": (".safetensors", ""),
}


def main(verb: str, args: list[str]) -> int:
    """Run `export --ckpt_path F --format FORMAT --output O`; return the exit code.

    Raises:
        InputError: the model cannot be used, or has no counterpart in that format; nothing is
            written then.
    """
    parser = CommandParser(
        verb,
        "Writes a trained model as a file for other programs, only after comparing it with the "
        "model; a Keras file where Keras 3 is installed.",
        "RUN --output FILE [options]",
        ("files", "--format", "--output", "--scale"),
        (
            "export my.ckpt --output my.onnx",
            "export my.ckpt --format keras-h5 --output my.h5",
        ),
    )
    parser.add_file("checkpoint, run folder or Keras file")
    add = parser.add_argument
    add(
        "--format",
        choices=tuple(FORMATS),
        help="ONNX and torch.export take uint8 images and give probabilities; Keras 3 gets its "
        "model, older format or weights; source is Python, its weights beside it; by the ending "
        "of --output when omitted",
    )
    endings = ", ".join(ending for ending, _ in FORMATS.values())
    add("--output", required=True, metavar="O", help=f"the file to write: {endings}")
    add("--scale", choices=SCALES, help="of a Keras file, as in import-keras")
    parser.add_output_layer_option()
    text = "write a Keras file without asking an installed Keras, which takes some seconds"
    add("--skip_keras_check", dest="unchecked", action="store_true", help=text)
    text = "source that needs torch and lightning alone, nothing of this package"
    add("--standalone", action="store_true", help=text)
    parser.add_overwrite_option()
    parser.add_resize_options()
    parser.add_model_options()
    own, args = take_model_options(args)
    options = parser.parse_args(args)
    output = Path(options.output)
    if options.format is None:
        options.format = _format_of(output.name)
    ending, how_to_read = FORMATS[options.format]
    if not output.name.endswith(ending):
        raise InputError(
            f"The format {options.format} is written to a file that ends in {ending}, "
            f"{output.name} does not. Rename it."
        )
    if options.standalone and options.format != "source":
        raise InputError(
            f"--standalone is for --format source, and --format is {options.format}. Leave it out."
        )
    if options.ckpt_path.endswith(".onnx"):
        raise InputError(
            f"{options.ckpt_path} is an exported file already. Name the checkpoint that it was "
            "made from."
        )

    # start-up: --help needs none of these
    from signs_lightning.checkpoints.files import find_checkpoint, load_checkpoint
    from signs_lightning.checkpoints.load_model import KERAS_SUFFIXES, load_model
    from signs_lightning.runtime.atomic_write import check_output

    check_output(output, inputs=(options.ckpt_path,))
    if options.format == "onnx":
        from signs_lightning.export.artefacts import check_onnx_packages

        check_onnx_packages()
    if options.format == "source":
        from signs_lightning.source.write_source import check_source_path

        check_source_path(output)
    model: Any  # an ImageClassifier: only the suffix .onnx gives another one
    of_keras = options.scale, options.output_layer
    model, settings = load_model(options.ckpt_path, verb, *of_keras, own)
    model.adopt_resizing(options.resize, options.fit)
    if options.format in ("onnx", "torch"):
        from signs_lightning.export.artefacts import export_artefact
        from signs_lightning.export.compared_images import images_to_compare

        images, what = images_to_compare(model, settings)
        difference = export_artefact(model, output, options.format, images)
        is_regression = model.task_rules.name == "regression"
        outputs = "values, in their deviations," if is_regression else "probabilities"
        print_message(f"Largest difference from the model's {outputs} on {what}: {difference:.1g}")
    elif options.format == "source":
        from signs_lightning.source.write_source import (
            export_source,
            source_lines,
            training_left_out,
        )

        overwrite = options.overwrite == "true"
        difference = export_source(model, output, options.standalone, overwrite)
        said, command = source_lines(output, difference)
        print_message(said)
        if not options.ckpt_path.endswith(KERAS_SUFFIXES):
            file = find_checkpoint(Path(options.ckpt_path), verb)
            lost = [] if file is None else training_left_out(load_checkpoint(file), output)
            if lost:
                options_text = " and ".join(f"--model.{name}" for name in lost)
                print_message(f"Not in the source: {options_text} of the run. Give them again.")
        print_with_value(f"Wrote {output}. Next, in its folder:", command, is_command=True)
        return 0
    elif options.format == "safetensors":
        from signs_lightning.source.write_source import export_weights

        model_name = export_weights(model, output)
        command = f"python -m signs_lightning import-safetensors {quote_path(output)} "
        command += f"--model {model_name} --output model.ckpt"
        print_with_value(f"Wrote {output}. Next:", command, is_command=True)
        return 0
    else:
        from signs_lightning.keras_io.to_keras import export_keras

        checkpoint = None
        if not options.ckpt_path.endswith(KERAS_SUFFIXES):
            file = find_checkpoint(Path(options.ckpt_path), verb)
            checkpoint = None if file is None else load_checkpoint(file)
        checked = export_keras(model, output, options.format, not options.unchecked, checkpoint)
        print_message(f"{output.name}: {checked or 'not checked with Keras'}")
        if model.run_values is not None and not model.run_values.are_bytes:
            low, high = map(number_text, model.run_values.numbers)
            print_message(
                f"The network in it is fed images of which {low} is 0 and {high} is 1, before the "
                "scale of its own: the file does not hold this range."
            )
    option = predict_option(model.image_size[2])
    predict = f"python -m signs_lightning predict {quote_path(output)} {option}"
    if how_to_read:
        print_message(f"Wrote {output}. {how_to_read.format(output)}")
    else:
        print_with_value(f"Wrote {output}. Next:", predict, is_command=True)
    return 0


def _format_of(name: str) -> str:
    """Return the format of a file by its ending."""
    endings = {ending: one for one, (ending, _) in FORMATS.items() if name.endswith(ending)}
    if not endings:
        known = ", ".join(ending for ending, _ in FORMATS.values())
        raise InputError(f"--output is {name}, expected a file that ends in one of {known}.")
    return endings[max(endings, key=len)]
