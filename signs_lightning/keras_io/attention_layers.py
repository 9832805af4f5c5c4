"""Builders and modules of Keras's attention layers.

Formulas: https://keras.io/api/layers/attention_layers/.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from signs_lightning.keras_io.attention_calls import CAUSAL
from signs_lightning.keras_io.axis_order import from_keras_order, to_keras_order
from signs_lightning.keras_io.file_errors import inconsistent_model
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext, Shape, WeightSpec

PROJECTION = (1, 2, 0)  # (C, heads, D) -> (heads, D, C), then (heads · D, C)
OUTPUT = (2, 0, 1)  # (heads, D, C) -> (C, heads, D), then (C, heads · D)


class ScoredAttention(nn.Module):
    """Attention and AdditiveAttention of Keras: softmax(scores) · value.

    Args:
        scale_shape: shape of the weight `scale`; None where there is none.
        is_additive: whether a score is the sum of tanh(query + key), else of query · key.
        has_concat_weight: whether a number more multiplies the scores, as `score_mode="concat"`
            has it; the scale is then inside tanh.
        dropout: share of the weights that are dropped in training.
        is_causal: whether a position attends to none after it.
        channels_last: whether a tensor of rank 4 is permuted.

    Shape:
        query (N, …, T, C), value (N, …, S, V), key (N, …, S, C) or the value → (N, …, T, V), in
        Keras's order of axes
    """

    scale: Tensor | None
    concat_score_weight: Tensor | None

    def __init__(
        self, scale_shape: Shape | None, is_additive: bool, has_concat_weight: bool,
        dropout: float, is_causal: bool, channels_last: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.is_additive, self.dropout, self.is_causal = is_additive, dropout, is_causal
        self.channels_last = channels_last
        scale = None if scale_shape is None else nn.Parameter(torch.ones(scale_shape))
        self.register_parameter("scale", scale)
        weight = nn.Parameter(torch.ones(())) if has_concat_weight else None
        self.register_parameter("concat_score_weight", weight)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Return how much every query attends to every key, (N, …, T, S)."""
        scale = 1.0 if self.scale is None else self.scale
        if not self.is_additive:
            return (query @ key.mT) * scale
        sums = query[..., :, None, :] + key[..., None, :, :]
        if self.concat_score_weight is None:
            return (scale * torch.tanh(sums)).sum(-1)
        return self.concat_score_weight * torch.tanh(scale * sums).sum(-1)

    def forward(self, query: Tensor, value: Tensor, key: Tensor | None = None) -> Tensor:
        key = value if key is None else key
        if self.channels_last:
            query, value, key = map(to_keras_order, (query, value, key))
        scores = self.scores(query, key)
        if self.is_causal:
            scores = scores.masked_fill(~_causal_mask(scores), -torch.inf)
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        output = weights @ value
        return from_keras_order(output) if self.channels_last else output


class MultiHeadAttention(nn.Module):
    """MultiHeadAttention of Keras over all axes between the batch and the last one.

    Args:
        sizes: of the last axis of query, value, key and output.
        heads: number of heads.
        key_dim: size of each head's query and key.
        value_dim: size of each head's value.
        bias: whether the projections have one.
        gate: whether a sigmoid of the query multiplies the heads' outputs.
        dropout: share of the weights that are dropped in training.
        is_causal: whether a position attends to none after it.
        window: positions that are as far apart or farther do not attend; None for no such limit.
        channels_last: whether a tensor of rank 4 is permuted.
    """

    def __init__(
        self, sizes: tuple[int, int, int, int], heads: int, key_dim: int, value_dim: int,
        bias: bool, gate: bool, dropout: float, is_causal: bool, window: int | None,
        channels_last: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.key_dim, self.dropout = heads, key_dim, dropout
        self.is_causal, self.window, self.channels_last = is_causal, window, channels_last
        queries, values, keys, outputs = sizes
        self.query = nn.Linear(queries, heads * key_dim, bias)
        self.key = nn.Linear(keys, heads * key_dim, bias)
        self.gate = nn.Linear(queries, heads * value_dim, bias) if gate else None
        self.value = nn.Linear(values, heads * value_dim, bias)
        self.attention_output = nn.Linear(heads * value_dim, outputs, bias)

    def forward(self, query: Tensor, value: Tensor, key: Tensor | None = None) -> Tensor:
        key = value if key is None else key
        if self.channels_last:
            query, value, key = map(to_keras_order, (query, value, key))
        q, k, v = self.query(query), self.key(key), self.value(value)
        q, k, v = (self._split(x) for x in (q, k, v))
        scores = (q / math.sqrt(self.key_dim)) @ k.mT  # (N, heads, T, S)
        if self.is_causal:
            scores = scores.masked_fill(~_causal_mask(scores), -torch.inf)
        if self.window is not None:
            scores = scores.masked_fill(_distances(scores).abs() >= self.window, -torch.inf)
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        joined = (weights @ v).transpose(1, 2).flatten(2)  # (N, T, heads · D)
        joined = joined.reshape(*query.shape[:-1], joined.shape[-1])
        if self.gate is not None:
            joined = joined * torch.sigmoid(self.gate(query))
        output = self.attention_output(joined)
        return from_keras_order(output) if self.channels_last else output

    def _split(self, x: Tensor) -> Tensor:
        """Return (N, …, heads · D) as (N, heads, positions, D)."""
        return x.reshape(x.shape[0], -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)


def _distances(scores: Tensor) -> Tensor:
    """Return how far each query (row) is behind each key (column)."""
    rows, columns = (torch.arange(size, device=scores.device) for size in scores.shape[-2:])
    return rows[:, None] - columns


def _causal_mask(scores: Tensor) -> Tensor:
    return _distances(scores) >= 0


def _read_call(layer: LayerContext) -> tuple[list[Shape], bool]:
    """Return the shapes of the tensors of a call, and whether it is causal."""
    flags = set(map(str, layer.constants.values()))
    if flags - {CAUSAL}:
        layer.fail("arguments", ", ".join(sorted(flags - {CAUSAL})), f"tensors and {CAUSAL}")
    shapes = [shape for shape in layer.shapes if shape is not None]
    if not 2 <= len(shapes) <= 3:
        raise inconsistent_model(f"{layer} has {len(shapes)} inputs, expected two or three tensors")
    if min(map(len, shapes)) < 2:
        layer.fail("inputs of shape", shapes, "positions and channels")
    # Before tf.keras 2.10 it was an argument of the layer.
    return shapes, CAUSAL in flags or layer.flag("causal", False)


def _dropout(layer: LayerContext) -> float:
    rate = layer.number("dropout", 0.0)
    if not 0 <= rate < 1:
        layer.fail("dropout", rate, "a share from 0 to below 1")
    return rate


def attention(layer: LayerContext) -> BuiltLayer:
    """Build an Attention or AdditiveAttention."""
    is_own = layer.class_name == "AdditiveAttention"
    layer.check_option("score_mode", "dot", "concat")
    is_concat = not is_own and layer.config.get("score_mode") == "concat"
    shapes, is_causal = _read_call(layer)
    is_causal = is_causal or layer.flag("causal", False)  # of the layer in older versions
    shape = (shapes[0][-1],) if is_own else ()
    has_scale = layer.flag("use_scale", is_own)
    module = ScoredAttention(
        shape if has_scale else None, is_own or is_concat, is_concat, _dropout(layer), is_causal,
        layer.channels_last,
    )  # fmt: skip
    name = "additive_scale" if is_own else "scale"  # it begins otherwise
    weights = [WeightSpec(name, "scale", shape, tuple(range(len(shape))))] if has_scale else []
    if is_concat:
        weights.append(WeightSpec("concat_score_weight", "concat_score_weight", (), ()))
    return module, weights


def multi_head_attention(layer: LayerContext) -> BuiltLayer:
    """Build a MultiHeadAttention."""
    shapes, is_causal = _read_call(layer)
    query, value, key = *shapes[:2], shapes[-1]
    axes, rank = layer.config.get("attention_axes"), len(query) + 1
    axes = axes if axes is None or isinstance(axes, list) else [axes]
    if axes is not None and sorted(axis % rank for axis in axes) != list(range(1, rank - 1)):
        layer.fail("attention_axes", axes, "all axes between the batch and the last one")
    window = None
    if layer.config.get("sliding_window") is not None:
        window = layer.integer("sliding_window")
    if window is not None and query[0] >= value[0] + window:
        layer.fail("sliding_window", window, "one in which each query sees a value")
    if rank != 3 and (is_causal or window is not None):
        layer.fail("a mask for inputs of rank", rank, "3")
    heads, key_dim = layer.integer("num_heads"), layer.integer("key_dim")
    value_dim = key_dim if layer.config.get("value_dim") is None else layer.integer("value_dim")
    size = layer.config.get("output_shape") or query[-1]
    size = size[0] if isinstance(size, list) and len(size) == 1 else size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        layer.fail("output_shape", size, "one integer")
    bias, gate = layer.flag("use_bias", True), layer.flag("use_gate", False)
    module = MultiHeadAttention(
        (query[-1], value[-1], key[-1], size), heads, key_dim, value_dim, bias, gate,
        _dropout(layer), is_causal, window, layer.channels_last,
    )  # fmt: skip
    weights = _projection(layer, "query", (query[-1], heads, key_dim))
    weights += _projection(layer, "key", (key[-1], heads, key_dim))
    if gate:
        weights += _projection(layer, "gate", (query[-1], heads, value_dim))
    weights += _projection(layer, "value", (value[-1], heads, value_dim))
    return module, weights + _projection(layer, "attention_output", (heads, value_dim, size))


def _projection(layer: LayerContext, name: str, shape: Shape) -> list[WeightSpec]:
    is_last = name == "attention_output"
    group = {"attention_output": "output_dense", "gate": "_gate_dense"}.get(name, f"{name}_dense")
    order = OUTPUT if is_last else PROJECTION
    weights = [WeightSpec(f"{name}/kernel", f"{name}.weight", shape, order, groups=(group,))]
    if layer.flag("use_bias", True):
        bias = shape[2:] if is_last else shape[1:]
        axes = tuple(range(len(bias)))
        weights.append(WeightSpec(f"{name}/bias", f"{name}.bias", bias, axes, groups=(group,)))
    return weights
