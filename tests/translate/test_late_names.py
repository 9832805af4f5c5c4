"""What a Lambda or `call` reads is read again when Keras trains: refused where it changes then."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from reading_data import ARRAYS, read

from signs_lightning.translate.keras_session import session
from signs_lightning.translate.read_source import read_source
from signs_lightning.translate.translation import translate

HEAD = """
import h5py
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers
k = 255.
"""
MODEL = """
model = keras.Sequential([keras.Input((64, 64, 3)), layers.Lambda({}), layers.Flatten(),
                          layers.Dense(6)])
"""
NET = """
class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.flat, self.last = layers.Flatten(), layers.Dense(6)
    def call(self, x): return self.last(self.flat(x / k))
model = Net()
model.build((None, 64, 64, 3))
"""
LOOP = """
h = image = keras.Input((64, 64, 3))
for n in (1., 2.):
    h = layers.Lambda(lambda t: t * {})(h)
model = keras.Model(image, layers.Dense(6)(layers.Flatten()(h)))
"""
COMPILED = "model.compile('adam', 'sparse_categorical_crossentropy')\n"
READ_LATE = {
    "a number": (MODEL.format("lambda t: t / k"), "k = 2."),
    "a list": ("k = [255.]\n" + MODEL.format("lambda t: t / k[0]"), "k[0] = 2."),
    "an attribute": (f"class C: k = 255.\n{MODEL.format('lambda t: t / C.k')}", "C.k = 2."),
    "an attribute of an object": (
        f"class C: pass\nc = C()\nc.k = 255.\n{MODEL.format('lambda t: t / c.k')}", "c.k = 2."
    ),
    "in a function that it calls": (
        "def f(t): return t / k\ndef g(t): return f(t)\n" + MODEL.format("g"), "k = 2."
    ),
    "the function that it calls": (
        "def f(t): return t / 2\n" + MODEL.format("lambda t: f(t)"), "def f(t): return t"
    ),
    "the name of a loop": (LOOP.format("n"), ""),
    "in call": (NET, "k = 2."),
}  # fmt: skip
SAME = {
    "nothing": (MODEL.format("lambda t: t / k"), ""),
    "another name": (MODEL.format("lambda t: t / k"), "j = 2."),
    "the same value": (MODEL.format("lambda t: t / k"), "k = 255."),
    "a default": (MODEL.format("lambda t, k=k: t / k"), "k = 2."),
    "a name of its own": (MODEL.format("lambda k: k / 255."), "k = 2."),
    "a name of a loop that is bound": (LOOP.format("3."), "n = 9."),
    "in call": (NET, ""),
}


def problems(model: str, after: str, version: str = "2.15.0") -> list[str]:
    """Return why the training of a model is not understood."""
    read(f"{HEAD}{ARRAYS}{model}{COMPILED}{after}\nmodel.fit(x, y)\n", None, version)
    return [unknown.reason for unknown in session().models[-1].fits[-1].all_problems]


@pytest.mark.parametrize("name", READ_LATE)
def test_names_that_change_before_the_training_are_refused(name: str) -> None:
    (problem,) = problems(*READ_LATE[name])
    assert "which changes then" in problem


@pytest.mark.parametrize("name", SAME)
def test_names_that_do_not_change_are_read(name: str) -> None:
    assert problems(*SAME[name]) == []


def test_keras_without_tensorflow_builds_a_graph_once() -> None:
    assert problems(*READ_LATE["a number"], version="2.2.4") == []


def test_keras_reads_them_late() -> None:
    """What the others assume."""
    h = image = keras.Input((2,))
    for n in (1.0, 2.0):
        h = keras.layers.Lambda(lambda t: t * n)(h)  # noqa: B023
    model = keras.Model(image, h)
    assert np.array(model(np.ones((1, 2)))).tolist() == [[4.0, 4.0]]


@pytest.mark.parametrize(("after", "is_whole"), [("k = 2.\n", False), ("", True)])
def test_a_model_that_is_not_trained(after: str, is_whole: bool, tmp_path: Path) -> None:
    path = tmp_path / "source.py"
    path.write_text(HEAD + MODEL.format("lambda t: t / k") + COMPILED + after)
    found = translate(read_source(path, {}), {})
    assert ("which changes then" not in str(found.not_understood)) is is_whole
