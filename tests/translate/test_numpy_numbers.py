"""Numbers of NumPy with few bits: the value that every release gives, or a refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reading_data import fit_of, read

from signs_lightning.translate.config_text import write_config
from signs_lightning.translate.values import Unknown

READ = [
    "np.uint8(20) + 100", "int(np.uint8(200)) + 100", "np.uint8(200) // 7", "np.uint8(7) / 2",
    "np.int32(5) * 3", "np.array([200, 100]).astype('uint8').sum() * 2", "np.uint8(2) ** 7",
    "np.array([200, 100]).astype('uint8') * 2", "np.float32(0.5) * 3", "-np.int32(3)",
    "float(np.float32(0.1)) * 3", "str(np.float32(0.1))", "np.sqrt(np.float32(2))",
    "np.array([1, 2]) * np.uint8(200)", "isinstance(np.uint8(3), int)", "np.float64(0.1) * 3",
    "isinstance(np.float32(3), float)", "np.mean(np.array([200, 100]).astype('uint8'))",
    "'ab'[np.uint8(1)]", "list(range(np.uint8(3)))", "np.uint8(3) > 2", "np.float32(0.5) < 0.75",
    "f'{np.uint8(3)}_{np.float32(0.1):.3f}'", "np.array([1.7, 2], dtype=int)",
    "np.array([200, 100], dtype='uint8') + 100", "np.array([200, 100], dtype='uint8')[1] + 100",
    "max(np.uint8(3), 400)", "np.array(np.array([1, 2]), dtype='int32')[1] * 3",
]  # fmt: skip
REFUSED = [
    "np.uint8(200) + 100", "np.uint8(200) * 2", "100 + np.uint8(200)", "np.uint8(200) - 201",
    "-np.uint8(5)", "~np.uint8(5)", "np.uint8(200) + np.uint8(100)", "np.int32(2**31 - 1) + 1",
    "np.array([200, 100], dtype='uint8')[0] + 100", "np.array([200, 1]).astype('uint8').max() * 2",
    "np.float32(0.1) * 3", "np.float32(0.1) == 0.1", "0.1 < np.float32(0.1)", "np.uint8(3) << 7",
    "round(np.float32(0.126), 2)", "np.add(np.uint8(200), 100)", "np.uint8(2) ** 8",
    "np.array([np.uint8(200)]) * 2", "np.array([1], dtype='uint8') * np.int32(300)",
    "sum(np.array([200, 100]).astype('uint8'))", "np.array([300], dtype='uint8')",
    "np.array([1], dtype='float32')[0] + 0.1",
]  # fmt: skip


def value_of(expression: str) -> Any:
    """Return what an expression of a source is, or None where it is refused."""
    found = read(f"import numpy as np\nn = {expression}")["n"]
    return None if isinstance(found, Unknown) else getattr(found, "numbers", found)


@pytest.mark.parametrize("expression", READ)
def test_is_what_numpy_gives(expression: str) -> None:
    expected = eval(expression, {"np": np})
    assert value_of(expression) == (expected.tolist() if hasattr(expected, "tolist") else expected)


@pytest.mark.parametrize("expression", REFUSED)
def test_what_releases_of_numpy_compute_otherwise_is_refused(expression: str) -> None:
    assert value_of(expression) is None


def test_np_array_is_a_copy() -> None:
    source = (
        "import numpy as np\na = np.array([1, 2])\nb = np.array(a)\nb += 1\nc = np.asarray(a)\n"
    )
    assert read(f"{source}c += 10\nn = a + 0, b + 0")["n"][0].numbers == [11, 12]
    assert read(f"{source}c += 10\nn = a + 0, b + 0")["n"][1].numbers == [2, 3]


def test_settings_are_written_as_plain_numbers() -> None:
    source = """
model.add(layers.Dense(np.uint8(12), name=f"d{np.uint8(3)}"))
model.compile(keras.optimizers.SGD(np.float32(0.5)), "sparse_categorical_crossentropy")
model.fit(x / 255, y, np.int32(16), np.uint8(5), callbacks=[
    callbacks.EarlyStopping("loss", np.float32(0.25), np.int32(3))])
"""
    text = write_config(None, fit_of(source), "model")
    for line in ("lr: 0.5", "batch_size: 16", "max_epochs: 5", "patience: 3", "min_delta: 0.25"):
        assert line in text
