"""Builders of Keras 3's `x[..., 2]`, `ops.stack`, `ops.flip` and `ops.cast`.

A model that calls `keras.applications.*.preprocess_input` reverses its channels with them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.keras_io import modules
from signs_lightning.keras_io.axis_order import from_keras_order, to_keras_order
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext, is_integer

KEY = "whole numbers, slices and one ellipsis, the batch as it is"
EVERYTHING = {"class_name": "__slice__", "config": {}}
Pick = int | list[int] | None  # of one axis: an index that removes it, several, or all


def get_item(layer: LayerContext) -> BuiltLayer:
    """Build `x[key]`; the key is the second argument of the call, a list for a tuple."""
    shape = next((shape for shape in layer.shapes if shape is not None), ())
    key = layer.constants.get(1)
    picks = _read_key(layer, key if isinstance(key, list) else [key], (None, *shape))
    return modules.Reordered(partial(_pick, picks=picks), layer.channels_last), []


def _read_key(layer: LayerContext, entries: list[Any], shape: tuple[int | None, ...]) -> list[Pick]:
    """Return what a key picks from each axis of the input, the batch first."""
    ellipses = [k for k, entry in enumerate(entries) if _is(entry, "__ellipsis__")]
    position = ellipses[0] if ellipses else len(entries)
    before, after = entries[:position], entries[position + 1 :]
    entries = [*before, *[EVERYTHING] * (len(shape) - len(before) - len(after)), *after]
    if len(entries) != len(shape):
        layer.fail("key", entries, KEY)
    picks: list[Pick] = []
    for entry, size in zip(entries, shape, strict=True):
        bounds: Any = entry.get("config") if _is(entry, "__slice__") else None
        is_slice = isinstance(bounds, dict)
        parts = [bounds.get(k) for k in ("start", "stop", "step")] if is_slice else [entry]
        if is_slice and parts == [None, None, None]:
            picks.append(None)
        elif size is None or not all(v is None or is_integer(v) for v in parts):
            layer.fail("key", entries, KEY)
        elif is_slice and parts[2] != 0:
            picks.append(list(range(size)[slice(*parts)]))
        elif not is_slice and entry is not None and -size <= entry < size:
            picks.append(entry % size)
        else:
            layer.fail("key", entries, KEY)
    return picks


def _is(entry: Any, kind: str) -> bool:
    return isinstance(entry, dict) and entry.get("class_name") == kind


def _pick(x: Tensor, picks: list[Pick]) -> Tensor:
    for axis in reversed(range(len(picks))):  # from the back: a pick may remove its axis
        pick = picks[axis]
        if isinstance(pick, int):
            x = x.select(axis, pick)
        elif pick is not None:
            x = x.index_select(axis, torch.tensor(pick, dtype=torch.int64, device=x.device))
    return x


def stack(layer: LayerContext) -> BuiltLayer:
    """Build `ops.stack`: tensors of one shape along a new axis."""
    axis, shapes = layer.integer("axis", 0, least=-(2**31)), set(layer.shapes)
    rank = len(layer.shapes[0] or ()) + 2
    if None in shapes or len(shapes) != 1 or not -rank <= axis < rank or axis % rank == 0:
        layer.fail("axis", axis, f"one from 1 to {rank - 1}, and tensors of one shape")
    return modules.Apply(partial(_stack, axis=axis % rank, channels_last=layer.channels_last)), []


def _stack(*inputs: Tensor, axis: int, channels_last: bool) -> Tensor:
    if not channels_last:
        return torch.stack(inputs, dim=axis)
    return from_keras_order(torch.stack([to_keras_order(x) for x in inputs], dim=axis))


def flip(layer: LayerContext) -> BuiltLayer:
    """Build `ops.flip` along one axis or several, of which none is the batch."""
    axes = layer.config.get("axis")
    axes = axes if isinstance(axes, list) else [axes]
    if not axes or not all(map(is_integer, axes)):
        layer.fail("axis", layer.config.get("axis"), "one axis or several")
    return modules.Apply(partial(torch.flip, dims=[layer.tensor_axis(axis) for axis in axes])), []


def cast(layer: LayerContext) -> BuiltLayer:
    """Build `ops.cast(x, "float32")`, the dtype of all values here."""
    layer.check_option("dtype", "float32")
    return nn.Identity(), []
