"""Models and trainings of whole sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from signs_lightning.errors import InputError
from signs_lightning.translate.read_source import Reading, read_source

HEAD = """
from keras.layers import Conv2D, Dense, BatchNormalization, Flatten, Layer
from keras.models import Sequential, Model
from elsewhere import strange, x, y
def net(n):
    return Sequential([Conv2D(n, 3, input_shape=(8, 8, 3)), BatchNormalization(), Dense(2)])
a, b = net(4), net(5)
"""
TRAIN = "{0}.compile('sgd', 'mse')\n{0}.fit(x, y, epochs=3)\n"


def _read(folder: Path, source: str, name: str | None = None) -> Reading:
    path = folder / "source.py"
    path.write_text(HEAD + source)
    return read_source(path, {"scale": "/255"}, name)


def test_the_model_that_is_fitted_last_is_chosen(tmp_path: Path) -> None:
    both = TRAIN.format("b") + TRAIN.format("a")
    helper = (
        "def train(m):\n    m.compile('sgd', 'mse')\n    m.fit(x, y, epochs=3)\ntrain(b)\ntrain(a)"
    )
    for source, expected in (
        (both, "a"),
        (TRAIN.format("a"), "a"),
        ("", "b"),
        (helper, "a"),
    ):
        chosen = _read(tmp_path, source).chosen
        assert chosen is not None
        assert chosen.names == (expected,)
    chosen = _read(tmp_path, both, "b").chosen
    assert chosen is not None
    assert chosen.names == ("b",)
    with pytest.raises(InputError, match="no model 'c', expected one of: a, b"):
        _read(tmp_path, both, "c")


@pytest.mark.parametrize(
    "last",
    [
        TRAIN.format("strange()"),
        "c = strange()\n" + TRAIN.format("c"),
        "b.compile('sgd', 'mse')\nb.fit(x, y, strange_option=3)",
        "b.compile('sgd', 'mse')\nb.fit(*strange(), epochs=3)",
        "if strange():\n    b.fit(x, y, epochs=3)",
        "for _ in strange():\n    b.fit(x, y, epochs=3)",
        "def run(m):\n    m.fit(x, y, epochs=3)\nif strange():\n    run(b)",
    ],
)
def test_a_later_training_that_is_not_understood_is_not_passed_over(
    tmp_path: Path, last: str
) -> None:
    reading = _read(tmp_path, TRAIN.format("a") + last)
    assert [f for f in reading.findings if f.kind == "not understood" and f.reaches]


def test_layers_tell_their_class(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        """
for layer in a.layers:
    if isinstance(layer, BatchNormalization):
        layer.trainable = False
p = [isinstance(a, Model), isinstance(a.layers[0], (Dense, Layer)), isinstance(a, Dense)]
q = [layer.__class__.__name__ for layer in a.layers]
r = type(a.layers[0]) == Conv2D
s = [layer.trainable for layer in a.layers]
""",
    ).interpretation.namespace
    assert found["p"] == [True, True, False]
    assert found["q"] == ["Conv2D", "BatchNormalization", "Dense"]
    assert found["r"] is True
    assert found["s"] == [True, False, True]
