"""What a fit says at its end of the images that it was validated on."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from signs_lightning import H5DataModule
from signs_lightning.commands.fit_result import _explain_validation


@pytest.mark.parametrize(
    ("files", "is_chosen", "sentence"),
    [
        (
            {"train_file": 0, "test_file": 1},
            False,
            "The 12 validation images are those of the test file. No checkpoint was chosen by "
            "them: the model is that of the last epoch, and this is its test accuracy, too.",
        ),
        (
            {"train_file": 0, "val_fraction": 0.2},
            True,
            "The 12 validation images are the part of the training file that was kept out of "
            "training. The best epoch was chosen by them, so expect a little less on new images; "
            "`test` on a test file tells how much.",
        ),
        (
            {"train_file": 0, "val_file": 1},
            False,
            "The 12 validation images have a file of their own, and were not trained on.",
        ),
        (
            {"train_file": 0, "val_file": 0},
            True,
            "The 12 validation images were trained on, too, so this does not tell how well the "
            "model does on new ones.",
        ),
    ],
)
def test_what_validation_rests_on(
    files: dict[str, Any], is_chosen: bool, sentence: str, small_signs: tuple[Path, Path]
) -> None:
    named: dict[str, Any] = {
        k: v if k == "val_fraction" else str(small_signs[v]) for k, v in files.items()
    }
    data = H5DataModule(**named)
    with warnings.catch_warnings(action="ignore"):
        data.setup("fit")
    assert _explain_validation(data, 12, is_chosen) == sentence
