"""Damaged and hostile notebooks: each must be read, or refused in a sentence, in time.

`python -m tests.translate.fuzz_notebooks --cases 2000` prints those that are not.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.translate.read_source import read_source
from signs_lightning.translate.translation import translate

SECONDS = 10
MEMORY = 2**20  # KiB beyond what the imports took

SEEDS = (
    """
import h5py
import numpy as np
import tensorflow as tf
import tensorflow.keras.layers as tfl
%matplotlib inline
def read(path, part):
    f = h5py.File(path, "r")
    return np.array(f[part + "_set_x"][:]), np.array(f[part + "_set_y"][:])
x, y = read("train_signs.h5", "train")
x = x / 255.
y = np.eye(6)[y.reshape(-1)]
def cnn(shape, widths=(8, 16)):
    image = tf.keras.Input(shape=shape)
    h = image
    for i, width in enumerate(widths):
        h = tfl.Conv2D(width, 4, padding='same', name='conv' + str(i))(h)
        h = tfl.MaxPool2D((4, 4), (4, 4), 'same')(tfl.ReLU()(h))
    h = tfl.Flatten()(h)
    return tf.keras.Model(image, tfl.Dense(6, activation='softmax')(h))
model = cnn((64, 64, 3))
model.compile(optimizer='adam', loss='categorical_crossentropy', metrics=['accuracy'])
history = model.fit(x, y, epochs=100, batch_size=64, validation_split=0.1)
""",
    """
from keras.models import Sequential
from keras.layers import *
from keras.callbacks import EarlyStopping, ModelCheckpoint
from keras.preprocessing.image import ImageDataGenerator
from keras.optimizers import SGD
IMG, N = 32, 10
model = Sequential([Conv2D(8, (3, 3), activation='relu', input_shape=(IMG, IMG, 3))])
for n in [16, 32]:
    model.add(Conv2D(n, 3, padding='same'))
    model.add(BatchNormalization())
    model.add(Dropout(.25))
model.add(GlobalAveragePooling2D())
model.add(Dense(N, activation='softmax'))
model.layers[0].trainable = False
gen = ImageDataGenerator(rescale=1. / 255, horizontal_flip=True, rotation_range=10)
train = gen.flow_from_directory('train', target_size=(IMG, IMG), batch_size=16)
model.compile(SGD(lr=0.01, momentum=.9), 'categorical_crossentropy', metrics=['acc'])
model.fit_generator(train, steps_per_epoch=10, epochs=5, callbacks=[EarlyStopping(patience=3)])
""",
    """
import argparse
from keras import layers, models, optimizers
parser = argparse.ArgumentParser()
parser.add_argument('--epochs', type=int, default=3)
args = parser.parse_args()
class Net:
    depth = 2
    def __init__(self, shape):
        self.shape = shape
    @staticmethod
    def block(x, n):
        y = layers.Conv2D(n, 3, padding='same')(x)
        y = layers.Activation('relu')(y)
        return layers.add([layers.Conv2D(n, 1)(x), y])
    def build(self):
        i = layers.Input(self.shape)
        x = i
        for d in range(self.depth):
            x = Net.block(x, 8 * 2 ** d)
        x = layers.Flatten()(x)
        return models.Model(i, layers.Dense(1, activation='sigmoid')(x))
try:
    from my_data import load
except ImportError:
    load = None
if __name__ == '__main__':
    net = Net((16, 16, 3)).build()
    net.compile(optimizer=optimizers.Adam(), loss='binary_crossentropy')
    net.fit(a, b, epochs=args.epochs)
""",
    """
import tensorflow as tf
from tensorflow.keras.applications import MobileNetV2
from tensorflow.keras import layers
base = MobileNetV2(input_shape=(96, 96, 3), include_top=False, weights=None)
base.trainable = False
inputs = tf.keras.Input((96, 96, 3))
x = layers.RandomFlip('horizontal')(inputs)
x = tf.keras.applications.mobilenet_v2.preprocess_input(x)
x = layers.GlobalAveragePooling2D()(base(x, training=False))
model = tf.keras.Model(inputs, layers.Dense(2)(x))
model.compile(loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
ds = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(10).batch(8)
model.fit(ds.map(lambda a, b: (a / 255, b)), epochs=2)
""",
)
LINES = (
    "x = x * 10 ** 9", "x = [x] * 10 ** 9", "while True: pass", "while True: x = [x, x]",
    "for i in range(10 ** 12): model.add(Dense(1))", "model = strange(model)",
    "raise ValueError(x)", "layers = [layers]", "model.layers = model.layers * 1000", "del model",
    "global model", "def f(): return f()", "f()", "exec('x = 1')", "eval('model')",
    "__import__('os').system('x')",
    "class M(tf.keras.Model):\n    def call(self, x): return self.call(x)", "M()(x)", "yield x",
    "import os; os.remove('/')", "model.compile()", "model.fit()", "model.add(None)",
    "model(model)", "print(f'{model!r:>99999999}')", "x = model", "model = [model]",
    "lambda: (yield)", "x = ()()", "model.fit(*model)", "model.fit(**model)",
    "shape = (0, -1, None)", "x = x[x]", "x = -x", "%cd x", "!rm -rf x", "?model",
    "model = x = y = None", "x @= y", "async def g(): await g()", "return",
    "match x:\n    case [1]: pass", "from . import *", "from keras import *",
    "import keras.x.y as k", "@model\ndef h(): pass", "with model: pass", "with open(x) as x: x()",
    "assert model, x", "x: int", "try: model()\nexcept: x = 1", "for model in model: pass",
    "[model for model in model]", "\tx = 1", "if x: model.add(x)", "print 'x'",
    "model.add(Dense(10 ** 30))", "Dense(0)(x)", "x = '\\ud800'", "Conv2D(1, 1)(Conv2D)",
    "model.summary(1, 2, 3)", "Input(())", "Reshape((-1, -1))(x)", "x = tf.nn.relu(tf)",
    "Lambda(lambda v: v)(x)", "Sequential(Sequential())", "Model(x, x)", "x = NaN",
)  # fmt: skip
WORDS = (
    "None", "-1", "0", "1e999", "10 ** 30", "'\\0'", "[]", "()", "{}", "model", "x", "lambda: 0",
    "float('nan')", "True", "...", "[[1]] * 9", "range(9)", "print", "not x", "*x", "x if x else x",
)  # fmt: skip


def mutate(rng: random.Random) -> bytes:
    """Return the bytes of a damaged notebook."""
    lines = rng.choice(SEEDS).strip("\n").split("\n")
    if rng.random() < 0.2:
        lines += rng.choice(SEEDS).strip("\n").split("\n")
    for _ in range(rng.choice((1, 1, 2, 3, 6, 12))):
        rng.choice((_insert, _remove, _swap, _replace, _cut, _indent))(rng, lines)
    cells = []
    while lines:
        size = rng.randint(1, len(lines))
        cells.append(_cell(rng, "\n".join(lines[:size])))
        lines = lines[size:]
    notebook: Any = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    if rng.random() < 0.05:
        notebook = rng.choice(([], {"cells": 3}, {"worksheets": [{"cells": cells}]}, None, "x"))
    data = json.dumps(notebook).encode()
    if rng.random() < 0.05:
        position = rng.randrange(len(data))
        data = data[:position] + rng.randbytes(rng.randint(0, 4)) + data[position + 2 :]
    return data


def _insert(rng: random.Random, lines: list[str]) -> None:
    position = rng.randint(0, len(lines))
    near = lines[position - 1] if position else ""
    indent = " " * (len(near) - len(near.lstrip()))
    lines[position:position] = [indent + part for part in rng.choice(LINES).split("\n")]


def _remove(rng: random.Random, lines: list[str]) -> None:
    if lines:
        del lines[rng.randrange(len(lines))]


def _swap(rng: random.Random, lines: list[str]) -> None:
    if lines:
        a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[a], lines[b] = lines[b], lines[a]


def _replace(rng: random.Random, lines: list[str]) -> None:
    """Put another value in the place of a number, text or name."""
    if not lines:
        return
    position = rng.randrange(len(lines))
    words = lines[position].replace("(", "( ").replace(",", " ,").replace(")", " )").split(" ")
    chosen = rng.randrange(len(words))
    words[chosen] = rng.choice(WORDS)
    lines[position] = " ".join(words)


def _cut(rng: random.Random, lines: list[str]) -> None:
    if lines:
        position = rng.randrange(len(lines))
        lines[position] = lines[position][: rng.randint(0, len(lines[position]))]


def _indent(rng: random.Random, lines: list[str]) -> None:
    if lines:
        position = rng.randrange(len(lines))
        lines[position] = rng.choice(("    ", "  ", "")) + lines[position].lstrip()


def _cell(rng: random.Random, source: str) -> dict[str, Any]:
    stored: Any = rng.choice(([], [{"text": "Total params: 1,310\n"}], [None], "x", [{"data": 3}]))
    kind = "markdown" if rng.random() < 0.02 else "code"
    return {"cell_type": kind, "metadata": {}, "source": source, "outputs": stored}


class _HangError(BaseException):
    pass


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_case(data: bytes, folder: Path, builds: bool) -> tuple[str, str]:
    """Return what a notebook comes to, and the details of what must not happen."""
    path = folder / "notebook.ipynb"
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _limited(SECONDS):
            reading = read_source(path, {})
            if builds:
                translate(reading, {})
    except InputError as error:
        return ("refused", "") if str(error).strip() else ("traceback", "an empty sentence")
    except _HangError:
        return "hang", "".join(traceback.format_exc().splitlines()[-6:])
    except Exception:
        return "traceback", traceback.format_exc()
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MEMORY:
        return "memory", ""
    mistakes = [f for f in reading.findings if "could not be read" in f.reason]
    if mistakes:
        return "mistake", f"{mistakes[0].text}: {mistakes[0].reason}"
    return "read", ""


def run_cases(count: int, seed: int = 0, builds: bool = False) -> list[tuple[int, str, str, bytes]]:
    """Return what each case comes to: its number, outcome, details and bytes.

    Args:
        builds: whether models are built and written, too, which takes longer.
    """
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            data = mutate(random.Random(f"{seed} {number}"))
            results.append((number, *run_case(data, Path(folder), builds), data))
    return results


BAD = frozenset({"hang", "traceback", "memory", "mistake"})


def main() -> None:
    """Run many cases, and print the bad ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.monotonic()
    results = run_cases(options.cases, options.seed, builds=True)
    for number, outcome, detail, data in results:
        if outcome in BAD:
            print(f"case {number}: {outcome}: {detail}\n{data.decode('utf-8', 'replace')}\n")
    print(dict(Counter(outcome for _, outcome, _, _ in results)), end=" ")
    print(f"in {time.monotonic() - start:.0f} s")
    sys.exit(any(outcome in BAD for _, outcome, _, _ in results))


if __name__ == "__main__":
    main()
