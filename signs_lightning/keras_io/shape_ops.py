"""Builders of operations that move values: `x[..., 2]`, reshape, transpose, stack, pad.

Axes are Keras's; tensors of rank 4 are permuted on the way in and out.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from signs_lightning.keras_io import modules
from signs_lightning.keras_io.axis_ops import read_axes
from signs_lightning.keras_io.axis_order import in_keras_order
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext, Shape, is_integer

KEY = "whole numbers, slices and one ellipsis, the batch as it is"
EVERYTHING = {"class_name": "__slice__", "config": {}}
NEW_AXIS = "new"
Pick = int | list[int] | str | None  # of one axis: an index that removes it, several, new, or all
MAX_VALUES = 2**28  # that a pad, a tile or a repeat may give for an image


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
    count = len(shape) - sum(entry is not None for entry in [*before, *after])
    entries = [*before, *[EVERYTHING] * count, *after]
    if count < 0 or not entries or entries[0] is None:
        layer.fail("key", entries, KEY)
    picks: list[Pick] = []
    sizes = iter(shape)
    for entry in entries:
        if entry is None:
            picks.append(NEW_AXIS)
            continue
        size = next(sizes)
        bounds: Any = entry.get("config") if _is(entry, "__slice__") else None
        is_slice = isinstance(bounds, dict)
        parts = [bounds.get(k) for k in ("start", "stop", "step")] if is_slice else [entry]
        if is_slice and parts[0] in (None, 0) and parts[1:] == [None, None]:
            picks.append(None)
        elif size is None or not all(v is None or is_integer(v) for v in parts):
            layer.fail("key", entries, KEY)
        elif is_slice and parts[2] != 0:
            picks.append(list(range(size)[slice(*parts)]))
        elif not is_slice and -size <= entry < size:
            picks.append(entry % size)
        else:
            layer.fail("key", entries, KEY)
    return picks


def _is(entry: Any, kind: str) -> bool:
    return isinstance(entry, dict) and entry.get("class_name") == kind


def _pick(x: Tensor, picks: list[Pick]) -> Tensor:
    axis = 0
    for pick in picks:
        if isinstance(pick, int):
            x = x.select(axis, pick)
            continue
        if isinstance(pick, list):
            x = x.index_select(axis, torch.tensor(pick, dtype=torch.int64, device=x.device))
        elif pick is not None:
            x = x.unsqueeze(axis)
        axis += 1
    return x


def take(layer: LayerContext) -> BuiltLayer:
    """Build `ops.take` of constant indices along one axis."""
    shape = next((shape for shape in layer.shapes if shape is not None), ())
    axis, rank = layer.config.get("axis"), len(shape) + 1
    if not is_integer(axis) or not -rank <= axis < rank or axis % rank == 0:
        layer.fail("axis", axis, f"one of the axes 1 to {rank - 1}")
    indices, size = layer.constants.get(1), shape[axis % rank - 1]
    values: Any = indices if isinstance(indices, list) else [indices]
    if not all(is_integer(v) and -size <= v < size for v in values):
        layer.fail("indices", indices, f"integers below {size}")
    picks: list[Pick] = [None] * rank
    found = [v % size for v in values]
    picks[axis % rank] = found if isinstance(indices, list) else found[0]
    return modules.Reordered(partial(_pick, picks=picks), layer.channels_last), []


def part(layer: LayerContext) -> BuiltLayer:
    """Build one of the tensors that `ops.split` or `ops.unstack` gives."""
    axis = read_axes(layer)[0]
    size, k, given = layer.shape[axis - 1], layer.output, layer.config.get("indices_or_sections")
    picks: list[Pick] = [None] * layer.rank
    if layer.class_name == "Unstack":
        if k >= size:
            layer.fail("axis", layer.config.get("axis"), f"one with more than {k} values")
        picks[axis] = k
        return modules.Reordered(partial(_pick, picks=picks), layer.channels_last), []
    bounds = given if isinstance(given, list) else []
    if is_integer(given) and given > 0 and size % given == 0:
        bounds = list(range(size // given, size, size // given))
    bounds = [0, *bounds, size]
    is_rising = all(map(is_integer, bounds)) and bounds == sorted(bounds)
    if not is_rising or k + 1 >= len(bounds):
        layer.fail("indices_or_sections", given, f"a divisor of {size}, or rising indices")
    picks[axis] = list(range(bounds[k], bounds[k + 1]))
    return modules.Reordered(partial(_pick, picks=picks), layer.channels_last), []


def reshape(layer: LayerContext) -> BuiltLayer:
    """Build `ops.reshape`, whose shape counts the batch: it must come first and stay."""
    target: Any = layer.config.get("newshape")
    size = math.prod(layer.shape)
    expected = f"the batch first (-1 or None), then sizes of {size} values in all"
    target = [-1 if v is None else v for v in target] if isinstance(target, list) else []
    if len(target) < 2 or not all(is_integer(v) and (v > 0 or v == -1) for v in target):
        layer.fail("shape", layer.config.get("newshape"), expected)
    sizes, given = target[1:], math.prod(v for v in target[1:] if v != -1)
    is_filled = -1 in sizes and target.count(-1) <= 2 and size % given == 0
    if target[0] != -1 or not (given == size if -1 not in sizes else is_filled):
        layer.fail("shape", layer.config.get("newshape"), expected)
    sizes = [size // given if v == -1 else v for v in sizes]
    return modules.Reordered(partial(_reshape, shape=sizes), layer.channels_last), []


def _reshape(x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape(x.shape[0], *shape)


def transpose(layer: LayerContext) -> BuiltLayer:
    """Build `ops.transpose`, `ops.swapaxes` or `ops.moveaxis`; the batch stays first."""
    config, rank = layer.config, layer.rank
    axes: Any = config.get("axes")
    if layer.class_name != "Transpose":
        keys = ("axis1", "axis2") if layer.class_name == "Swapaxes" else ("source", "destination")
        pair: list[Any] = [config.get(key) for key in keys]
        a, b = pair
        if not all(is_integer(v) and -rank <= v < rank for v in pair):
            layer.fail(keys[0], pair, f"two axes of {rank}")
        axes = list(range(rank))
        if layer.class_name == "Swapaxes":
            axes[a % rank], axes[b % rank] = axes[b % rank], axes[a % rank]
        else:
            axes.insert(b % rank, axes.pop(a % rank))
    is_order = isinstance(axes, list) and all(is_integer(v) and -rank <= v < rank for v in axes)
    order = [v % rank for v in axes] if is_order else []
    if sorted(order) != list(range(rank)) or order[0] != 0:
        layer.fail("axes", axes, f"the axes 0 to {rank - 1} in some order, first 0, the batch")
    return modules.Reordered(partial(torch.permute, dims=order), layer.channels_last), []


def expand_dims(layer: LayerContext) -> BuiltLayer:
    """Build `ops.expand_dims` at one place or several behind the batch."""
    value: Any = layer.config.get("axis")
    axes = value if isinstance(value, list) else [value]
    rank = layer.rank + len(axes)
    if not axes or not all(is_integer(v) and -rank <= v < rank and v % rank for v in axes):
        layer.fail("axis", value, f"one or more of the axes 1 to {rank - 1}")
    places = sorted(v % rank for v in axes)
    if len(set(places)) < len(places):
        layer.fail("axis", value, "different axes")
    return modules.Reordered(partial(_unsqueeze, axes=places), layer.channels_last), []


def _unsqueeze(x: Tensor, axes: list[int]) -> Tensor:
    for axis in axes:
        x = x.unsqueeze(axis)
    return x


def squeeze(layer: LayerContext) -> BuiltLayer:
    """Build `ops.squeeze` of the named axes, or of all of size 1."""
    ones = [k for k, size in enumerate(layer.shape, start=1) if size == 1]
    is_all = layer.config.get("axis") in (None, [])
    axes = ones if is_all else sorted(set(read_axes(layer)))
    if set(axes) - set(ones):
        layer.fail("axis", layer.config.get("axis"), f"axes of size 1, of {layer.shape}")
    shape = [size for k, size in enumerate(layer.shape, start=1) if k not in axes]
    return modules.Reordered(partial(_reshape, shape=shape), layer.channels_last), []


def join(layer: LayerContext) -> BuiltLayer:
    """Build `ops.stack`, along a new axis, or `ops.concatenate`."""
    shapes = [shape for shape in layer.shapes if shape is not None]
    is_stack = layer.class_name == "Stack"
    axis, rank = layer.config.get("axis", 0), len(shapes[0]) + 1 + is_stack if shapes else 0
    ranks = {len(shape) for shape in shapes}
    has_one_shape = len(set(shapes) if is_stack else ranks) == 1
    is_axis = is_integer(axis) and -rank <= axis < rank and axis % rank != 0
    if not is_axis or len(shapes) != len(layer.shapes) or not has_one_shape:
        alike = "shape" if is_stack else "rank"
        layer.fail("axis", axis, f"one from 1 to {rank - 1}, and tensors of one {alike}")
    function = partial(_join, axis=axis % rank, is_stack=is_stack)
    return modules.Apply(
        partial(in_keras_order, function=function, channels_last=layer.channels_last)
    ), []


def _join(*inputs: Tensor, axis: int, is_stack: bool) -> Tensor:
    return (torch.stack if is_stack else torch.cat)(inputs, dim=axis)


def flip(layer: LayerContext) -> BuiltLayer:
    """Build `ops.flip` along one axis or several, of which none is the batch."""
    axes = [layer.tensor_axis(axis) for axis in read_axes(layer)]
    return modules.Apply(partial(torch.flip, dims=axes)), []


def pad(layer: LayerContext) -> BuiltLayer:
    """Build `ops.pad`: with a number, or by reflection or repetition at the edges."""
    shape = next((shape for shape in layer.shapes if shape is not None), ())
    widths: Any = layer.config.get("pad_width")
    if is_integer(widths):
        layer.fail("pad_width", widths, "two for each axis, none for the batch")
    if isinstance(widths, list) and len(widths) == 1:
        widths = widths * (len(shape) + 1)
    mode, value = layer.config.get("mode", "constant"), layer.constants.get(1)
    is_list = isinstance(widths, list) and len(widths) == len(shape) + 1
    pairs = [w for w in widths if isinstance(w, list) and len(w) == 2] if is_list else []
    sizes = [v for pair in pairs for v in pair]
    if len(pairs) != len(shape) + 1 or not all(is_integer(v) and v >= 0 for v in sizes):
        layer.fail("pad_width", widths, f"{len(shape) + 1} pairs of integers")
    if pairs[0] != [0, 0]:
        layer.fail("pad_width", widths, "no padding of the batch")
    if mode not in ("constant", "reflect", "symmetric", "edge"):
        layer.fail("mode", repr(mode), "'constant', 'reflect', 'symmetric' or 'edge'")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        layer.fail("constant_values", value, "a number")
    _check_size(layer, [n + sum(pair) for n, pair in zip(shape, pairs[1:], strict=True)])
    function = partial(_pad, pairs=pairs, mode=mode, value=float(value or 0))
    if mode != "constant":
        least = 1 if mode == "reflect" else 0
        for n, pair in zip(shape, pairs[1:], strict=True):
            if mode != "edge" and max(pair) > n - least:
                layer.fail("pad_width", widths, f"less than the {n} values of the axis")
    return modules.Reordered(function, layer.channels_last), []


def _pad(x: Tensor, pairs: list[list[int]], mode: str, value: float) -> Tensor:
    if mode == "constant":
        return F.pad(x, [v for pair in reversed(pairs) for v in pair], value=value)
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            places = torch.arange(-before, x.shape[axis] + after, device=x.device)
            last = x.shape[axis] - 1
            if mode == "edge":
                places = places.clamp(0, last)
            else:  # the border itself is repeated by "symmetric" alone
                again = 1 if mode == "symmetric" else 0
                places = torch.where(places < 0, -places - again, places)
                places = torch.where(places > last, 2 * last - places + again, places)
            x = x.index_select(axis, places)
    return x


def repeat(layer: LayerContext) -> BuiltLayer:
    """Build `ops.repeat` of each value along one axis, or `ops.tile` of the whole."""
    repeats: Any = layer.config.get("repeats")
    if layer.class_name == "Tile":
        is_list = isinstance(repeats, list) and len(repeats) == layer.rank
        if not is_list or not all(is_integer(v) and v > 0 for v in repeats) or repeats[0] != 1:
            layer.fail("repeats", repeats, f"{layer.rank} integers, 1 for the batch")
        _check_size(layer, [n * k for n, k in zip(layer.shape, repeats[1:], strict=True)])
        return modules.Reordered(partial(torch.tile, dims=repeats), layer.channels_last), []
    axes, count = read_axes(layer), layer.integer("repeats")
    if len(axes) != 1:
        layer.fail("axis", layer.config.get("axis"), "one axis")
    _check_size(layer, [*layer.shape, count])
    function = partial(torch.repeat_interleave, repeats=count, dim=axes[0])
    return modules.Reordered(function, layer.channels_last), []


def _check_size(layer: LayerContext, shape: list[int] | Shape) -> None:
    if math.prod(shape) > MAX_VALUES:
        layer.fail("a result of", f"{math.prod(shape):,} values", f"at most {MAX_VALUES:,}")
