"""What a data module shows of itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from signs_lightning import H5DataModule

HOSTILE = "<img src=x onerror=alert(1)>"


def rows_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line and "─" not in line]


def test_before_setup_only_the_options_are_told(tmp_path: Path) -> None:
    """Files that are not there are no error, and passwords in addresses are not shown."""
    module = H5DataModule(
        train_file=[str(tmp_path / "a.h5"), "b.h5"],
        test_file="https://user:secret@host.org/c.h5?key=secret",
        batch_size=7,
    )
    assert "batches of 7; not read before" in (text := repr(module))
    assert rows_of(text)[-2:] == [
        ["training", "a.h5", "and", "1", "more"],
        ["test", "c.h5?…"],
    ]
    assert str(tmp_path) not in text
    assert "secret" not in text + module._repr_html_()
    assert "drawn hands" in repr(H5DataModule(drawn="DrawnSigns"))
    arrays: Any = (np.zeros((4, 8, 8, 3), np.uint8), np.arange(4))
    assert rows_of(repr(H5DataModule(train_file=arrays)))[-1] == ["training", "arrays"]


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_after_setup_images_are_counted_by_class(
    stage: str, small_signs: tuple[Path, Path]
) -> None:
    """60 images of six classes, a fifth of which validates; 12 for the test."""
    files: Any = {"train_file": str(small_signs[0]), "test_file": str(small_signs[1])}
    module = H5DataModule(**files, val_fraction=0.2)
    module.setup(stage)
    rows = rows_of(str(module))
    assert str(module).startswith("H5DataModule: images 64×64×3, 6 classes, batches of 32")
    if stage == "fit":
        assert rows[2:4] == [
            ["training", "48", small_signs[0].name],
            ["validation", "12", small_signs[0].name],
        ]
        assert rows[4:6] == [["class", "training", "validation"], ["0", "8", "2"]]
    else:
        assert rows[2:] == [["test", "12", small_signs[1].name], ["class", "test"]] + [
            [str(k), "2"] for k in range(6)
        ]
    assert str(small_signs[0].parent) not in module._repr_html_()


def test_names_from_files_are_no_html(tmp_path: Path, small_signs: tuple[Path, Path]) -> None:
    path = tmp_path / f"{HOSTILE}.h5".replace("/", "")
    shutil.copy(small_signs[1], path)
    module = H5DataModule(test_file=str(path))
    module.setup("test")
    page = module._repr_html_()
    assert "<img" not in page
    assert page.count("&lt;img") == 1
