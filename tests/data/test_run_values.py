"""What the numbers of files mean in a run, and how they are given, against h5py and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from signs_lightning import H5DataModule, InputError
from signs_lightning.data.value_range import infer_meaning
from signs_lightning.runtime.value_ranges import BYTES, RunValues

LABELS = np.arange(12) % 3
RAW = np.random.default_rng(0).integers(0, 4096, (12, 6, 5, 3))
UNIT = RAW / 4095


def write(path: Path, images: np.ndarray, **options: Any) -> str:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=images, **options)
        file["y"] = LABELS[: len(images)]
    return str(path)


def given(stage: str = "fit", run: RunValues | None = None, **options: Any) -> H5DataModule:
    data = H5DataModule(shuffle=False, batch_size=5, **options)
    data.adopt_values(run)
    data.setup(stage)
    return data


def batches(loader: Any) -> np.ndarray:
    return np.concatenate([images.numpy() for images, _ in loader])


@pytest.mark.parametrize(
    ("dtype", "low", "high", "meaning"),
    [
        ("u2", 0, 255, BYTES), ("u2", 0, 256, None), ("i2", -1, 200, None), ("i8", 3, 9, BYTES),
        ("f4", 0, 1, (0, 1)), ("f4", -1, 1, (-1, 1)), ("f8", -0.95, 0.97, (-1, 1)),
        ("f4", -0.3, 0.9, None), ("f4", -1, 0.2, None), ("f4", 0, 1.5, None),
        ("f4", 0, 200, BYTES), ("f4", -3, 3, None), ("f4", 0, 300, None), ("f2", 0, 0.2, (0, 1)),
    ],
)  # fmt: skip
def test_what_values_show(
    dtype: str, low: float, high: float, meaning: tuple[float, float] | None
) -> None:
    """Whole numbers up to 255, floats of the three usual ranges; nothing else tells."""
    assert infer_meaning(np.dtype(dtype), low, high) == meaning


@pytest.mark.parametrize("reading", ["mapped", "streamed", "resident"])
@pytest.mark.parametrize("dtype", ["u2", ">u2", "i2", "i4", "u4", "f2", "f4", ">f4", "f8"])
def test_batches_are_what_the_file_has(dtype: str, reading: str, tmp_path: Path) -> None:
    """Unrounded, in the file's dtype and this machine's byte order, however it is read."""
    options: dict[str, Any] = {"chunks": (4, 6, 5, 3), "compression": "gzip", "shuffle": True}
    images = (RAW if "f" not in dtype else UNIT).astype(dtype)
    path = write(tmp_path / "a.h5", images, **(options if reading != "mapped" else {}))
    data = given(
        train_file=path, reading=reading, value_range=(0, 4095) if "f" not in dtype else None
    )
    kind = {"u4": "i8"}.get(dtype, dtype.replace(">", ""))  # PyTorch can do little with uint32
    expected = images.astype(kind)
    found = batches(data.train_dataloader())
    np.testing.assert_array_equal(found, expected, strict=True)
    assert data._dataset("train").nbytes == expected.nbytes
    assert data.run_values.dtype == kind.replace("u2", "uint16").replace("i2", "int16").replace(
        "i4", "int32"
    ).replace("i8", "int64").replace("f2", "float16").replace("f4", "float32").replace(
        "f8", "float64"
    )


def test_what_nothing_tells_is_asked(tmp_path: Path) -> None:
    """Type and extremes are named, and options that work."""
    path = write(tmp_path / "a.h5", RAW.astype("u2"))
    with pytest.raises(InputError) as error:
        given(train_file=path)
    low, high = RAW.min(), RAW.max()
    assert f"holds uint16 values from {low} to {high}, and nothing tells" in str(error.value)
    assert "`--data.value_range=0,4095` if they have 12 bits" in str(error.value)
    for run in (None, RunValues((-1, 1), "float32")):  # nothing is trained on
        with pytest.raises(InputError) as error:
            given("test", run, test_file=path)
        assert "`--data.value_range=0,4095` if they have 12 bits." in str(error.value)
    assert given(train_file=path, value_range="0,4095").run_values.range == (0, 4095)
    assert given(train_file=path, value_range="minmax").run_values.range == (low, high)


@pytest.mark.parametrize("text", ["4095,0", "1", "a,b", "1,2,3", "0,inf", "max"])
def test_options_that_are_no_range(text: str) -> None:
    with pytest.raises(InputError, match=r"^value_range is .*, expected the numbers of black"):
        H5DataModule(train_file="a.h5", value_range=text)


def test_extremes_of_all_training_files_hold_for_every_role(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found once, in the training files alone; values beyond are not cut off, and said."""
    one = write(tmp_path / "one.h5", RAW.astype("i2") // 2)
    two = write(tmp_path / "two.h5", RAW.astype("i2") - 100)
    test = write(tmp_path / "test.h5", RAW.astype("i2") * 2)
    data = given(train_file=[one, two], val_file=test, value_range="minmax")
    low, high = int(RAW.min()) - 100, int(RAW.max()) - 100
    assert data.run_values == ((low, high), "int16")
    said = capsys.readouterr().out
    assert f"Values of {low}..{high}, the training files' extremes" in said
    assert f"Values go beyond that, {RAW.min() * 2} to {RAW.max() * 2}" in said
    np.testing.assert_array_equal(batches(data.val_dataloader()), RAW.astype("i2") * 2)
    later = given("test", data.run_values, test_file=test, value_range="minmax")
    assert later.run_values == data.run_values
    with pytest.raises(InputError, match="takes the extremes of training files"):
        given("test", test_file=test, value_range="minmax")


def test_a_dark_file_among_others_means_what_they_mean(tmp_path: Path) -> None:
    """Floats up to 255 in one file, and up to 1 in another of the same images."""
    bright = write(tmp_path / "a.h5", (UNIT * 255).astype("f4"))
    dark = write(tmp_path / "b.h5", UNIT.astype("f4"))
    data = given(train_file=[bright, dark])
    assert data.run_values == (BYTES, "float32")
    np.testing.assert_array_equal(batches(data.train_dataloader())[12:], UNIT.astype("f4"))


def test_files_of_other_numbers_are_brought_to_those_of_the_run(tmp_path: Path) -> None:
    """Bytes beside floats in 0..1 or -1..1, as float32; and floats beside bytes."""
    images = (RAW >> 4).astype(np.uint8)
    byte = write(tmp_path / "byte.h5", images)
    unit = write(tmp_path / "unit.h5", images / np.float32(255))
    signed = write(tmp_path / "signed.h5", (UNIT * 2 - 1).astype("f4"))
    for train, low, high in ((unit, 0, 1), (signed, -1, 1)):
        data = given(train_file=train, val_file=byte)
        expected = (images / 255 * (high - low) + low).astype(np.float32)
        np.testing.assert_allclose(batches(data.val_dataloader()), expected, atol=1e-6)
    data = given(train_file=byte, val_file=unit)
    assert data.run_values == RunValues()
    np.testing.assert_allclose(batches(data.val_dataloader()), images, atol=1e-4)
    mixed = given(train_file=[byte, unit])
    assert mixed.run_values == (BYTES, "float32")
    both = np.concatenate([images, images])
    np.testing.assert_allclose(batches(mixed.train_dataloader()), both, atol=1e-4)


def test_bytes_for_a_model_of_other_numbers_are_refused(tmp_path: Path) -> None:
    """Nothing tells which of its numbers a byte is."""
    byte = write(tmp_path / "byte.h5", (RAW >> 4).astype(np.uint8))
    with pytest.raises(InputError, match=r"holds bytes, and the model is trained on uint16 of 0"):
        given("test", RunValues((0, 4095), "uint16"), test_file=byte)
    with pytest.raises(InputError, match=r"holds bytes, and --data\.value_range is minmax"):
        given(train_file=byte, value_range="minmax")


def test_values_that_are_none_are_refused(tmp_path: Path) -> None:
    for value in (np.nan, np.inf):
        images = UNIT.astype("f4")
        images[3, 0, 0, 0] = value
        path = write(tmp_path / "a.h5", images)
        with pytest.raises(InputError, match="holds NaN or infinite values"):
            given(train_file=path, value_range=(0, 1))
