"""Which version of Keras a source was written for, from its spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """A version that is assumed.

    Attributes:
        version: such as "2.4.0".
        reason: what it is assumed from, in a few words.
    """

    version: str
    reason: str


KERAS1 = (
    *("nb_filter", "nb_row", "border_mode", "output_dim", "dim_ordering", "nb_epoch"),
    *("samples_per_epoch", "W_regularizer", "b_regularizer", "subsample", "nb_val_samples"),
)
KERAS3 = (
    *(r"keras\.ops\b", r"keras\.random\b", r"KERAS_BACKEND", r"keras\.saving\b", r"keras_core"),
    *(r"export_archive", r"jit_compile", r"\.keras['\"]", r"keras\.tree\b"),
    *(r"keras\.utils\.image_dataset_from_directory", r"import ops\b"),
)
OLD = (
    *(r"fit_generator", r"evaluate_generator", r"predict_generator", r"\blr\s*=", r"\bdecay\s*="),
    *(r"predict_classes", r"['\"]acc['\"]", r"val_acc\b", r"merge\.", r"_obtain_input_shape"),
)
OF_TENSORFLOW = r"\b(tensorflow|tf)\.(python\.)?(compat\.v1\.)?(contrib\.)?keras\b|\btf_keras\b"
TENSORFLOW1 = r"\btf\.(Session|placeholder|train\.\w+Optimizer|ConfigProto|contrib)\b"


def guess_release(text: str, outputs: str = "") -> Release:
    """Return the version of Keras that a source was written for.

    Args:
        text: the source.
        outputs: what its cells printed, where that is kept; Keras 3 draws its summaries otherwise.
    """
    is_tf = re.search(OF_TENSORFLOW, text) or re.search(
        r"from\s+tensorflow\b.*\bimport\b.*\bkeras\b", text
    )
    shows_keras3 = "┃" in outputs or re.search(r"Total params: .*\([\d.]+ [KMG]?B\)", outputs)
    if shows_keras3:
        found = re.search(r"Non-trainable params: .*\(", outputs)
        return Release("3.0.0", "the summary that it stores" if found else "its stored output")
    if (word := _find(KERAS3, text)) and not (not is_tf and _find(OLD, text)):
        return _of_tensorflow("2.15.0", word) if is_tf and "keras'" in word else _keras3(word)
    if is_tf:
        old = _find(OLD, text) or _find((TENSORFLOW1,), text)
        if old:
            return _of_tensorflow("2.4.0", old)
        return Release("2.15.0", "tensorflow.keras without the spelling of another version")
    if word := _find([rf"\b{name}\s*=" for name in KERAS1], text):
        return Release("1.2.2", f"'{word}', which is spelled so in Keras 1")
    if word := _find(OLD, text):
        return Release("2.2.4", f"'{word}', which is spelled so in Keras 2")
    return Release("2.2.4", "keras without tensorflow and without the spelling of Keras 3")


def _of_tensorflow(version: str, word: str) -> Release:
    return Release(version, f"tensorflow.keras and '{word}'")


def _keras3(word: str) -> Release:
    return Release("3.0.0", f"'{word}', which is spelled so in Keras 3")


def _find(patterns: list[str] | tuple[str, ...], text: str) -> str:
    """Return the first of some patterns' text; empty where there is none."""
    found = (re.search(pattern, text) for pattern in patterns)
    return next((match.group().strip(" =") for match in found if match), "")
