"""The options of `H5DataModule`, checked, and as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from signs_lightning.data.layouts import ROLES
from signs_lightning.data.paths import to_plain_paths
from signs_lightning.errors import InputError
from signs_lightning.runtime.value_ranges import parse_range

if TYPE_CHECKING:
    from signs_lightning.data.datamodule import H5DataModule

DRAWN = {"DrawnSigns": "drawn hands", "DrawnSmiles": "drawn faces"}


def draw_files(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with the files of the data set to draw, written if need be."""
    from signs_lightning.data import synthetic  # start-up time: draws with Pillow

    train_file, test_file = getattr(synthetic, str(options["drawn"]))().files()
    return {**options, "train_file": train_file, "test_file": test_file}


def check_options(options: Mapping[str, Any]) -> None:
    """Check the values that no file need be read for.

    Raises:
        InputError: one cannot be used, or two contradict each other.
    """
    batch_size, num_workers = options["batch_size"], options["num_workers"]
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}, expected at least 1.")
    if num_workers < 0:
        raise InputError(f"num_workers is {num_workers}, expected 0 or more.")
    if options["shuffle_buffer"] <= 0:
        raise InputError(
            f"shuffle_buffer is {options['shuffle_buffer']:g} MiB, expected more than 0."
        )
    val_fraction = options["val_fraction"]
    if val_fraction is not None and not 0 < val_fraction < 1:
        raise InputError(
            f"val_fraction is {val_fraction:g}, expected a share between 0 and 1 (exclusive)."
        )
    if val_fraction is not None and options["val_file"] is not None:
        raise InputError("val_file and val_fraction are both given. Drop one of them.")
    for name in ("image_size", "row_shape"):
        size = options[name]
        if size is not None and min([size] if isinstance(size, int) else size) < 1:
            raise InputError(f"{name} is {size}, expected pixels, at least 1.")
    parse_range(options["value_range"])
    names = options["class_names"]
    if names is not None and len(set(names)) != len(names):
        raise InputError(f"class_names is {', '.join(names)}, expected different names.")


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as a checkpoint remembers them: no objects, no arrays."""
    plain = {
        k: list(v) if isinstance(v, tuple | list) else v
        for k, v in options.items()
        if not k.endswith("file")
    }
    return plain | {k: to_plain_paths(v) for k, v in options.items() if k.endswith("file")}


def remembered_options(data: H5DataModule) -> dict[str, Any]:
    """Return the options of a data module as plain values, with what the files told."""
    names = data.options["class_names"] or data.class_names
    changed = {"batch_size": data.batch_size, "seed": data.seed, "class_names": names}
    changed["task"] = data.opened.options["task"]
    changed["trained_on_words"] = data.opened.has_words_only
    if data.options["value_range"] == "minmax" and data.run_values.range != "legacy":
        changed["value_range"] = list(data.run_values.range)
    if data.opened.image_sets:  # pictures in the folder of a later test have as many
        changed["channels"] = data.image_shape[2]
    return {**plain_options(data.options), **changed, "fingerprints": data.fingerprints}


def for_test_file(options: Mapping[str, Any], test_file: str) -> dict[str, Any]:
    """Return the options of a run for another test file: without its own files."""
    files = (f"{role}_{kind}" for role in ROLES for kind in ("file", "labels_file"))
    others = dict.fromkeys((*files, "file", "val_fraction"))
    return {**options, **others, "test_file": test_file}
