"""Pairs and triples of habits in one program, against Keras itself, which runs the program."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from signs_lightning.callbacks.model_summary import format_totals
from signs_lightning.translate.read_source import read_source
from signs_lightning.translate.translation import translate

IMPORTS = {
    "module": ("import keras", "keras.layers.", "keras."),
    "alias": ("import keras\nimport keras.layers as kl", "kl.", "keras."),
    "from": (
        "import keras\nfrom keras.layers import Add, Conv2D, Dense, Flatten, GlobalAveragePooling2D"
        "\nfrom keras.layers import BatchNormalization, Input, MaxPooling2D",
        "",
        "keras.",
    ),
    "star": ("import keras\nfrom keras.layers import *", "", "keras."),
}
SIZES = {
    "constant": ("", "(16, 16, 3)"),
    "variables": ("H, W = 16, 16\nC = 3", "(H, W, C)"),
    "sum": ("SIZE = (16, 16)", "SIZE + (3,)"),
    "settings": ("settings = {'shape': [16, 16, 3]}", "tuple(settings['shape'])"),
    "class": ("class Settings:\n    SHAPE = (16, 16, 3)", "Settings.SHAPE"),
}
WIDTHS = {
    "list": "[4, 8]",
    "comprehension": "[2 ** k for k in range(2, 4)]",
    "zip": "[a * b for a, b in zip((2, 4), (2, 2))]",
    "map": "list(map(lambda n: 4 * n, (1, 2)))",
    "slice": "[2, 4, 8, 16][1:3]",
}
NAMES = {
    "none": "None",
    "str": "'conv' + str(k)",
    "percent": "'conv_%d' % k",
    "format": "'conv-{}'.format(k)",
    "f-string": "f'conv{k:02d}'",
}
BLOCKS = {
    "plain": "    x = {L}Conv2D(n, 3, padding='same', activation='relu', name=NAME)(x)\n",
    "positional": "    x = {L}Conv2D(n, (3, 3), (1, 1), 'same', name=NAME)(x)\n",
    "normed": "    x = {L}Conv2D(n, 3, use_bias=False, name=NAME)(x)\n"
    "    x = {L}BatchNormalization(momentum=0.9)(x)\n",
    "residual": "    shortcut = {L}Conv2D(n, 1)(x)\n"
    "    x = {L}Conv2D(n, 3, padding='same', name=NAME)(x)\n    x = {L}Add()([x, shortcut])\n",
    "conditional": "    size = 5 if k else 3\n"
    "    x = {L}Conv2D(filters=n, kernel_size=size, padding='same', name=NAME)(x)\n"
    "    if k % 2 == 0:\n        x = {L}MaxPooling2D(2, 2)(x)\n",
}
SHAPES = ("functional", "sequential add", "sequential list", "class", "nested functions")
HEADS = {
    "softmax": ("5, activation='softmax'", "'sparse_categorical_crossentropy'"),
    "logits": ("5", "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"),
    "sigmoid": ("1, 'sigmoid'", "'binary_crossentropy'"),
}
OPTIMIZERS = {
    "string": "'rmsprop'",
    "object": "keras.optimizers.Adam(1e-4)",
    "keywords": "keras.optimizers.SGD(learning_rate=0.1 / 2, momentum=0.9, nesterov=True)",
}
HABITS: tuple[tuple[str, ...], ...] = (
    *(tuple(IMPORTS), tuple(SIZES), tuple(WIDTHS), tuple(NAMES), tuple(BLOCKS), SHAPES),
    *(tuple(HEADS), tuple(OPTIMIZERS)),
)


def program(choice: tuple[str, ...]) -> str:
    """Return the program with one of each kind of habit."""
    imports, size, widths, name, block, shape, head, optimizer = choice
    lines, layers, models = IMPORTS[imports]
    set_up, shape_text = SIZES[size]
    units, loss = HEADS[head]
    body = BLOCKS[block].format(L=layers).replace("NAME", NAMES[name])
    last = f"{layers}Dense({units})"
    text = f"{lines}\n{set_up}\n\n\ndef stage(x, n, k=0):\n{body}    return x\n\n\n"
    loop = f"for k, n in enumerate({WIDTHS[widths]}):\n    x = stage(x, n, k)\n"
    if shape == "functional":
        text += f"inputs = {layers}Input({shape_text})\nx = inputs\n{loop}"
        text += f"x = {layers}Flatten()(x)\nmodel = {models}Model(inputs, {last}(x))\n"
    elif shape == "class":
        inner = "".join(f"        {line}\n" for line in loop.splitlines())
        text += "class Maker:\n    def __init__(self, shape):\n        self.shape = shape\n\n"
        text += f"    def build(self):\n        inputs = x = {layers}Input(self.shape)\n{inner}"
        text += f"        x = {layers}GlobalAveragePooling2D()(x)\n"
        text += f"        return {models}Model(inputs=inputs, outputs={last}(x))\n\n\n"
        text += f"model = Maker({shape_text}).build()\n"
    elif shape == "nested functions":
        inner = "".join(f"    {line}\n" for line in loop.splitlines())
        text += f"def make(shape={shape_text}, *, pool={layers}GlobalAveragePooling2D):\n"
        text += f"    def end(x):\n        return {last}(pool()(x))\n\n"
        text += f"    inputs = {layers}Input(shape)\n    x = inputs\n{inner}"
        text += f"    return {models}Model(inputs, end(x))\n\n\nmodel = make()\n"
    else:
        part = f"{models}Model(part_input, stage(part_input, {WIDTHS[widths]}[0]))"
        text += f"part_input = {layers}Input({shape_text})\npart = {part}\n"
        if shape == "sequential add":
            text += f"model = {models}Sequential()\nmodel.add(part)\n"
            text += f"model.add({layers}Flatten())\nmodel.add({last})\n"
        else:
            text += f"model = {models}Sequential([part, *[{layers}Flatten()], {last}])\n"
    text += f"model.compile(optimizer={OPTIMIZERS[optimizer]}, loss={loss})\n"
    return text + "model.fit(x_train, y_train, batch_size=7, epochs=3)\n"


def covering(size: int, seed: int) -> list[tuple[str, ...]]:
    """Return programs' habits so that all combinations of `size` kinds occur, greedily."""
    draw = random.Random(seed)
    missing = {
        tuple(zip(kinds, values, strict=True))
        for kinds in itertools.combinations(range(len(HABITS)), size)
        for values in itertools.product(*(HABITS[kind] for kind in kinds))
    }
    found = []
    while missing:
        tries = []
        for _ in range(20):
            fixed = dict(draw.choice(sorted(missing)))
            tries.append(tuple(fixed.get(k, draw.choice(h)) for k, h in enumerate(HABITS)))
        best = max(tries, key=lambda choice: len(_combinations(choice, size) & missing))
        missing -= _combinations(best, size)
        found.append(best)
    return found


def _combinations(choice: tuple[str, ...], size: int) -> set[tuple[tuple[int, str], ...]]:
    return set(itertools.combinations(enumerate(choice), size))


def keras_says(text: str) -> dict[str, Any]:
    """Run the program without its last line; return what Keras says of its model."""
    names: dict[str, Any] = {}
    exec(text.rpartition("model.fit")[0], names)
    model = names["model"]
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return {
        "total": model.count_params(),
        "trainable": trainable,
        "optimizer": type(model.optimizer).__name__,
        "rate": float(model.optimizer.learning_rate),
        "names": [layer.name for layer in model.layers if re.match("conv(?!2d)", layer.name)],
    }


def check(choice: tuple[str, ...], folder: Path) -> None:
    """Compare the translation of a program with Keras."""
    text = program(choice)
    keras.utils.clear_session()
    expected = keras_says(text)
    path = folder / "program.py"
    path.write_text(text)
    facts = {"scale": "/255"}
    made = translate(read_source(path, facts), facts)
    assert made.is_whole, (text, made.not_understood, made.needed, made.refusals)
    assert made.model is not None
    trainable, fixed = format_totals(made.model)
    assert (trainable + fixed, trainable) == (expected["total"], expected["trainable"]), text
    (fit,) = made.fits
    assert fit.compile_config is not None
    optimizer = fit.compile_config["optimizer"]
    assert optimizer["class_name"] == expected["optimizer"]
    assert optimizer["config"]["learning_rate"] == pytest.approx(expected["rate"])
    assert (fit.data.options["batch_size"].value, fit.epochs) == (7, 3)
    layers = json.dumps(fit.model_config)
    if choice[3] != "none":
        assert all(f'"{name}"' in layers for name in expected["names"])


@pytest.mark.slow
def test_some_pairs(tmp_path: Path) -> None:
    for choice in covering(2, 0)[::16]:
        check(choice, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_pairs_and_triples(size: int, tmp_path: Path) -> None:
    for choice in covering(size, 0)[:: size - 1]:
        check(choice, tmp_path)
