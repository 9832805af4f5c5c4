"""What `H5DataModule` shows of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from signs_lightning.data.dataset import H5Images
from signs_lightning.data.download import hide_secrets, is_address
from signs_lightning.data.layouts import ROLES
from signs_lightning.data.paths import is_named
from signs_lightning.runtime.display_table import DisplayTable
from signs_lightning.runtime.escaping import format_shape

if TYPE_CHECKING:
    from signs_lightning.data.datamodule import H5DataModule

NAMES = {"train": "training", "val": "validation", "test": "test"}


def describe_data(data: H5DataModule, datasets: dict[Any, H5Images]) -> list[str | DisplayTable]:
    """Return a line on a data module, its files by role, and the images of each class.

    Args:
        data: nothing is read for it: before `setup`, only what its options name is told.
        datasets: those that are open, by role.
    """
    batches = f"batches of {data.batch_size}"
    if not datasets:
        files: dict[str, str] = {
            NAMES.get(role, role): _name_option(data.options[option])
            for role, option in [(role, f"{role}_file") for role in ROLES] + [("all", "file")]
            if data.options[option] is not None
        }
        if not files and data.draws:
            files = {"all": data.draws}
        line = f"H5DataModule, {batches}; not read before a Trainer, or `setup`, asks for it"
        return [line, DisplayTable(["for", "from"], [*files.items()])]
    rows = [
        [NAMES[role], f"{len(dataset):,}", _name_sets(dataset)]
        for role, dataset in datasets.items()
    ]
    names = data.class_names or [str(k) for k in range(data.num_classes)]
    kind, summaries = "class", {}
    for role, dataset in datasets.items():
        labels = dataset.labels
        if data.opened.options["task"] == "regression":
            kind = "target"
            lows, highs = labels.min(axis=0), labels.max(axis=0)
            summaries[role] = [f"{x:.6g} to {y:.6g}" for x, y in zip(lows, highs, strict=True)]
        else:
            is_plain = labels.ndim == 1
            counts = np.bincount(labels, minlength=len(names)) if is_plain else labels.sum(axis=0)
            summaries[role] = [f"{int(count):,}" for count in counts]
    values = [[name, *(s[k] for s in summaries.values())] for k, name in enumerate(names)]
    kinds = kind + ("es" if kind == "class" else "s")
    line = f"H5DataModule: images {format_shape(data.image_shape)}, {len(names)} {kinds}, {batches}"
    return [
        line,
        DisplayTable(["for", "images", "from"], rows),
        DisplayTable([kind, *(NAMES[role] for role in datasets)], values),
    ]


def _name_sets(dataset: H5Images) -> str:
    """Return the file's name, without its folder, or how many files there are."""
    first, *others = (reader.images for reader in dataset.readers)
    name = first.name if first.path is None else Path(first.name).name
    return f"{name} and {len(others):,} more" if others else name


def _name_option(value: Any) -> str:
    if not is_named(value):
        return "arrays"
    first, *others = value if isinstance(value, list | tuple) else [value]
    name = str(first)
    name = Path(hide_secrets(name) if is_address(name) else name).name
    return f"{name} and {len(others):,} more" if others else name
