"""Finds the groups of layers in the `model.weights.h5` of tf.keras 2.12 and 2.13.

There the groups of a class were numbered otherwise than later, `dense`, `dense_2`, `dense_4`: every
layer with weights was counted twice (`_layer_checkpoint_dependencies` of
`keras/engine/functional.py`). Their order is the layers'.
"""

from __future__ import annotations

import re

from signs_lightning.errors import InputError
from signs_lightning.keras_io.keras_file import OLD_ROOT, KerasFile
from signs_lightning.keras_io.network_plan import Plan

MAX_DEPTH = 24  # of groups that are searched for arrays


def find_group_paths(plan: Plan, file: KerasFile) -> dict[str, str]:
    """Return the group of every layer with weights, by its group in later files.

    Raises:
        InputError: the file has other layers.
    """
    paths = [layer.weights_path for layer, weights in plan.layers() if weights]
    if not file.children(OLD_ROOT):
        return {path: path for path in paths}
    return _find_children(paths, "", "", file)


def _find_children(paths: list[str], own: str, found: str, file: KerasFile) -> dict[str, str]:
    """Return the groups of the layers below one model, whose own group was found."""
    root = next((root for root in (OLD_ROOT, "layers") if file.children(f"{found}{root}")), "")
    stored: dict[str, list[str]] = {}
    for name in sorted(file.children(f"{found}{root}"), key=_number_of):
        if _holds_arrays(f"{found}{root}/{name}", file, MAX_DEPTH):
            stored.setdefault(_class_of(name), []).append(name)
    groups: dict[str, str] = {}
    places: dict[str, list[str]] = {}
    for path in paths:
        name = path.removeprefix(own).split("/", 2)[1]
        same = places.setdefault(_class_of(name), [])
        if name not in same:
            same.append(name)
    for kind, names in places.items():
        if len(stored.get(kind, [])) != len(names):
            raise InputError(
                f"{file.path.name} has the weights of {len(stored.get(kind, []))} layers "
                f"'{kind}', expected {len(names)} from its config. The weights belong to another "
                "model, or the file is damaged."
            )
        for name, group in zip(names, stored[kind], strict=True):
            below = f"{own}layers/{name}"
            group = f"{found}{root}/{group}"
            inside = [path for path in paths if path.startswith(f"{below}/")]
            if below in paths:
                groups[below] = group
            if inside:
                groups |= _find_children(inside, f"{below}/", f"{group}/", file)
    return groups


def _holds_arrays(path: str, file: KerasFile, depth: int) -> bool:
    """Return whether a group holds numbers with a fraction; the state of a dropout has none."""
    if any(stored.dataset.dtype.kind not in "iu" for stored in file.variables(path)[1]):
        return True
    return depth > 0 and any(
        _holds_arrays(f"{path}/{child}", file, depth - 1)
        for child in file.children(path)
        if child != "vars"
    )


def _class_of(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _number_of(name: str) -> int:
    number = re.search(r"_(\d{1,9})$", name)
    return int(number[1]) if number else 0
