"""Builders of Keras 3's operations that pick and order: `x[..., 2]`, `ops.stack`, `ops.flip`, `ops.cast`.

`keras.applications.*.preprocess_input`, called inside a model, makes of them what turns red, green,
blue round.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.keras_io import modules
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext

KEY = "whole numbers, slices and one ellipsis, the batch as it is"


def get_item(site: LayerContext) -> BuiltLayer:
    """`x[key]`; the key is the second argument of the call, a list where Python has a tuple."""
    shape = next((shape for shape in site.shapes if shape is not None), ())
    key = site.constants.get(1)
    entries = key if isinstance(key, list) else [key]
    picks = _picks(site, entries, (None, *shape))
    return modules.Reordered(partial(_pick, picks=picks), site.channels_last), []


def _picks(
    site: LayerContext, entries: list[Any], shape: tuple[int | None, ...]
) -> list[int | list[int] | None]:
    """For each axis of the input, the batch first: the one index that is kept, several, or None for all."""
    place = next((k for k, entry in enumerate(entries) if _is(entry, "__ellipsis__")), len(entries))
    before, after = entries[:place], entries[place + 1 :]
    everything = {"class_name": "__slice__", "config": {}}
    entries = [*before, *[everything] * (len(shape) - len(before) - len(after)), *after]
    if len(entries) != len(shape):
        site.refuse("key", entries, KEY)
    picks: list[int | list[int] | None] = []
    for entry, size in zip(entries, shape, strict=True):
        bounds = entry.get("config") if _is(entry, "__slice__") else None
        parts = (
            [bounds.get(part) for part in ("start", "stop", "step")]
            if isinstance(bounds, dict)
            else [entry]
        )
        if bounds is not None and parts == [None, None, None]:
            picks.append(None)
        elif size is None or not all(
            isinstance(v, int | None) and not isinstance(v, bool) for v in parts
        ):
            site.refuse("key", entries, KEY)
        elif bounds is not None and parts[2] != 0:
            picks.append(list(range(size)[slice(*parts)]))
        elif bounds is None and entry is not None and -size <= entry < size:
            picks.append(entry % size)
        else:
            site.refuse("key", entries, KEY)
    return picks


def _is(entry: Any, kind: str) -> bool:
    return isinstance(entry, dict) and entry.get("class_name") == kind


def _pick(x: Tensor, picks: list[int | list[int] | None]) -> Tensor:
    for axis in reversed(
        range(len(picks))
    ):  # from the back, so that the axes before keep their places
        pick = picks[axis]
        if isinstance(pick, int):
            x = x.select(axis, pick)
        elif pick is not None:
            x = x.index_select(axis, torch.tensor(pick, dtype=torch.int64, device=x.device))
    return x


def stack(site: LayerContext) -> BuiltLayer:
    """`ops.stack`: tensors of one shape side by side along a new axis."""
    axis, shapes = site.integer("axis", 0, least=-(2**31)), set(site.shapes)
    rank = len(site.shapes[0] or ()) + 2
    if None in shapes or len(shapes) != 1 or not -rank <= axis < rank or axis % rank == 0:
        site.refuse("axis", axis, f"one from 1 to {rank - 1}, and tensors of one shape")
    return modules.Apply(partial(_stack, axis=axis % rank, channels_last=site.channels_last)), []


def _stack(*inputs: Tensor, axis: int, channels_last: bool) -> Tensor:
    if not channels_last:
        return torch.stack(inputs, dim=axis)
    return modules.from_keras_order(
        torch.stack([modules.to_keras_order(x) for x in inputs], dim=axis)
    )


def flip(site: LayerContext) -> BuiltLayer:
    """`ops.flip` along one axis or several; None is all of them, the batch among them, which is refused."""
    axes = site.layer.config.get("axis")
    axes = axes if isinstance(axes, list) else [axes]
    if not axes or not all(isinstance(axis, int) and not isinstance(axis, bool) for axis in axes):
        site.refuse("axis", site.layer.config.get("axis"), "one axis or several")
    return modules.Apply(partial(torch.flip, dims=[site.axis(axis) for axis in axes])), []


def cast(site: LayerContext) -> BuiltLayer:
    """`ops.cast(x, "float32")`, which is what everything here is."""
    site.only("dtype", "float32")
    return nn.Identity(), []
