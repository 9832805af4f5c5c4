"""The verb verify: whether two models are the same, and where and why they differ."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.errors import InputError
from signs_lightning.keras_io.input_scales import SCALES
from signs_lightning.runtime.atomic_write import atomic_write, check_output

if TYPE_CHECKING:
    from signs_lightning.verify.sides import Side

COUNT = 8  # images that are drawn


def main(verb: str, args: list[str]) -> int:
    """Run `verify A --against B`.

    Returns:
        0 where everything that could be compared agrees within its bound, 1 where something
        differs, 4 where a Keras file was not checked by Keras itself.

    Raises:
        InputError: a side cannot be loaded.
    """
    options = _parser(verb).parse_args(args)

    from signs_lightning.runtime.image_files import find_images  # start-up: --help does without

    options.images = find_images(options.images or [])
    inputs = (options.model_a, options.against, options.weights, options.against_weights)
    for option in ("output", "json"):
        if (path := getattr(options, option)) is not None:
            check_output(Path(path), f"--{option}", (*inputs, *options.images))

    # start-up: --help needs none of these
    from signs_lightning.verify.compare import compare
    from signs_lightning.verify.print_result import print_result

    a, b = _load_sides(options)
    images, about = _images(options, a, b)
    result = compare(a, b, images, about)
    print_result(result)
    texts = {}
    if options.json is not None:
        texts[options.json] = json.dumps(result.as_json(), indent=2) + "\n"
    if options.output is not None:
        from signs_lightning.verify.page import render_page  # start-up

        command = f"python -m signs_lightning {verb} {shlex.join(args)}"
        texts[options.output] = render_page(result, command)
    for path, text in texts.items():
        with atomic_write(Path(path)) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"Wrote {path}.")
    return result.exit_code


def _parser(verb: str) -> CommandParser:
    text = (
        "Compares two models on the same images and names the first layer that differs, and why. "
        "Exit code 0: all that could be compared agrees; 1: something differs; 4: all agrees, but "
        "Keras read no file."
    )
    parser = CommandParser(
        verb,
        text,
        "A --against B [options]",
        ("model_a", "--against", "--weights", "--images", "--json", "--output"),
        (
            "verify model.ckpt --against model.keras",
            "verify net.py:Net --against model.keras",
        ),
    )
    add = parser.add_argument
    text = "Keras file, checkpoint, run, ONNX file, FILE.py:CLASS"
    add("model_a", metavar="A", help=text)
    add("--against", required=True, metavar="B", help="the same: what A should be like")
    text = "of FILE.py:CLASS: .safetensors or checkpoint"
    add("--weights", metavar="FILE", help=text)
    text = "those of B, where both are FILE.py:CLASS"
    add("--against_weights", metavar="FILE", help=text)
    add("--model", metavar="CLASS", help="FILE.py:CLASS of a .safetensors file")
    text = f"of a Keras file, or FILE.py:CLASS: {', '.join(SCALES)}"
    add("--scale", choices=SCALES, metavar="SCALE", help=text)
    text = "pictures to compare on; drawn ones by default"
    add("--images", nargs="+", metavar="PATH", help=text)
    text = "where neither side tells height, width, channels"
    add("--image_size", nargs=3, type=int, metavar=("H", "W", "C"), help=text)
    add("--seed", type=int, default=0, help="of the drawn images (default 0)")
    add("--json", metavar="FILE", help="write the result as JSON")
    add("--output", metavar="HTML", help="write the result as a page")
    return parser


def _load_sides(options: Any) -> tuple[Side, Side]:
    """Load both sides; a module is made last, for what the other one tells."""
    from signs_lightning.checkpoints.load_model import KERAS_SUFFIXES  # start-up, as below
    from signs_lightning.models.tasks import refuse_task
    from signs_lightning.verify.own_module import is_own_module
    from signs_lightning.verify.sides import load_side

    names = [options.model_a, options.against]
    needs = [is_own_module(name) or name.endswith(".safetensors") for name in names]
    weights = [options.weights, options.against_weights]
    if needs == [False, True] and weights[1] is None:
        weights = [None, weights[0]]
    is_keras = [name.endswith(KERAS_SUFFIXES) for name in names]
    takes_scale = is_keras if any(is_keras) else needs
    sides: list[Any] = [None, None]
    known: dict[str, Any] = {}
    if options.image_size is not None:
        known["image_size"] = tuple(options.image_size)
    for k in sorted(range(2), key=lambda k: needs[k]):
        scale = options.scale if takes_scale[k] else None
        sides[k] = load_side(names[k], scale, weights[k], options.model, known)
        if sides[k].image_size is not None:
            known.setdefault("image_size", sides[k].image_size)
        if hasattr(sides[k].model, "task_rules"):
            refuse_task(sides[k].model, "verify", "Compare what `predict` writes.")
        classes = getattr(sides[k].model, "num_classes", None)
        if isinstance(classes, int):
            known.setdefault("num_classes", classes)
    return sides[0], sides[1]


def _images(options: Any, a: Side, b: Side) -> tuple[Any, str]:
    """Return uint8 (N, H, W, C) of the models' size, and what they are."""
    # start-up, as the next ones
    import numpy as np
    import torch

    from signs_lightning.export.compared_images import random_images
    from signs_lightning.runtime import image_files
    from signs_lightning.runtime.escaping import format_shape

    size = options.image_size and tuple(options.image_size)
    size = size or a.image_size or b.image_size
    if size is None:
        raise InputError(
            "Neither side tells the size of its images. Add --image_size HEIGHT WIDTH CHANNELS."
        )
    if options.images:
        image_files.check_picture_channels(size[2])
        try:
            read = [image_files.read_image(path, size, fit="stretch") for path in options.images]
        except image_files.UnreadableImageError as error:
            raise InputError(f"A picture of --images cannot be read: {error}") from error
        about = f"{len(read)} {'picture' if len(read) == 1 else 'pictures'}, {format_shape(size)}"
        return torch.from_numpy(np.stack(read)), about
    drawn = random_images(COUNT, size, options.seed)
    return drawn, f"{COUNT} drawn images, {format_shape(size)}, seed {options.seed}"
