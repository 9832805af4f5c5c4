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
# What no other release has.
ONLY_KERAS3 = (
    *(r"keras\.ops\b", r"from keras import ops\b", r"keras_core"),
    r"KERAS_BACKEND['\"\]\s]{0,9}[=,]\s{0,9}['\"]?(jax|torch)\b",
)
KERAS3 = (
    *ONLY_KERAS3,
    *(r"keras\.random\b", r"KERAS_BACKEND", r"keras\.saving\b"),
    *(r"keras\.tree\b", r"keras\.version\("),
)
# What tf.keras 2 has, too, but no Keras without TensorFlow before Keras 3.
SINCE_TENSORFLOW = (
    *(r"export_archive", r"jit_compile", r"\.keras['\"]", r"image_dataset_from_directory"),
    *(r"\bRescaling\b", r"\bRandomFlip\b", r"\bAdamW\b", r"[(,]\s*learning_rate\s*="),
)
OLD = (
    *(r"fit_generator", r"evaluate_generator", r"predict_generator", r"[(,.]\s*lr\s*="),
    r"[(,.]\s*decay\s*=",
    *(r"predict_classes", r"['\"]acc['\"]", r"val_acc\b", r"merge\.", r"_obtain_input_shape"),
)
OF_TENSORFLOW = r"\b(tensorflow|tf)\.(python\.)?(compat\.v1\.)?(contrib\.)?keras\b|\btf_keras\b"
IMPORTED = r"from\s+tensorflow\b.*\bimport\b.*\bkeras\b"
# Keras 2.13 to 2.15 write the bytes, too, and no commas.
SUMMARY_OF_KERAS3 = r"┃|Total params: \d{1,3}(?:,\d{3})+ \([\d.]+ [KMG]?B\)"
# Rows with lines between them, before Keras 2.8; a script has them in its comments.
SUMMARY_OF_KERAS2 = (
    r"(?<!_)_{20,200}[^\S\n]{0,9}\n[\s#]{0,40}[\w./-]{1,80} \([A-Z]\w{0,60}\)?[^\S\n]{1,60}[\[(]"
)
TENSORFLOW1 = r"\btf\.(Session|placeholder|train\.\w+Optimizer|ConfigProto|contrib)\b"


def guess_release(text: str, outputs: str = "") -> Release:
    """Return the version of Keras that a source was written for.

    Args:
        text: the source.
        outputs: what its cells printed, where that is kept; Keras 3 draws its summaries otherwise.
    """
    is_tf = bool(re.search(OF_TENSORFLOW, text) or re.search(IMPORTED, text))
    if re.search(SUMMARY_OF_KERAS3, outputs):
        return Release("3.0.0", "the summary that it stores")
    if word := _find(ONLY_KERAS3, text):
        return Release("3.0.0", f"'{word}', which Keras 3 alone has")
    old = _find(OLD, text)
    is_old = any(re.search(SUMMARY_OF_KERAS2, part) for part in (outputs, text))
    is_old = is_old and not _find(KERAS3, text)
    if is_old and not old and (is_tf or _find(SINCE_TENSORFLOW, text)):
        return Release("2.4.0", "the summary that it stores")
    if is_tf:
        old = old or _find((TENSORFLOW1,), text)
        if old:
            return Release("2.4.0", f"tensorflow.keras and '{old}'")
        if word := _find(KERAS3, text):
            return Release("3.0.0", f"'{word}', which is spelled so in Keras 3")
        return Release("2.15.0", "tensorflow.keras without the spelling of another version")
    if word := _find([rf"\b{name}\s*=" for name in KERAS1], text):
        return Release("1.2.2", f"'{word}', which is spelled so in Keras 1")
    if old:
        return Release("2.2.4", f"'{old}', which is spelled so in Keras 2")
    if word := _find((*KERAS3, *SINCE_TENSORFLOW), text):
        return Release("3.0.0", f"'{word}', which keras without tensorflow has in Keras 3")
    return Release("2.2.4", "keras without tensorflow and without the spelling of Keras 3")


def _find(patterns: list[str] | tuple[str, ...], text: str) -> str:
    """Return the first of some patterns' text; empty where there is none."""
    found = (re.search(pattern, text) for pattern in patterns)
    return next((match.group().strip(" =(,.") for match in found if match), "")
