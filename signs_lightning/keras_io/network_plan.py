"""Checks the layers of a graph and finds all shapes, before weights take memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations, layer_table
from signs_lightning.keras_io.activations import Function
from signs_lightning.keras_io.axis_order import call_module, keras_shape
from signs_lightning.keras_io.graph_parser import read_graph
from signs_lightning.keras_io.image_size import find_image_size
from signs_lightning.keras_io.layer_context import LayerContext, Shape, WeightSpec
from signs_lightning.keras_io.model_ending import Ending, count_outputs, find_ending
from signs_lightning.keras_io.model_graph import Call, Graph, Layer, LayerPath, Value

HAS_DATA_FORMAT = layer_table.CONVOLUTIONS | {
    *("MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D"),
    *("ZeroPadding2D", "Cropping2D", "UpSampling2D", "Resizing", "Flatten", "SpatialDropout2D"),
    *("CenterCrop", "RandomCrop", "AdaptiveMaxPooling2D", "AdaptiveAveragePooling2D"),
}
BUILD_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, OverflowError, MemoryError)
MAX_LISTED = 20  # unsupported parts that a message names


@dataclass(frozen=True)
class Step:
    """One call of a layer, and the `activation=` that follows it.

    Attributes:
        path: the layer.
        inputs: the values it takes; 0 is the image, k the result of step k.
        shape: Keras's shape of the result, without the batch.
        activation: the function that follows, or None.
        other_format: whether the layer's data_format is not that of the graph, so that it needs its
            axes reordered.
        skip: whether the layer is left out: a softmax or sigmoid that ends the model, or a Dropout
            after it.
        last_use: values that no later step takes.
        call: which of its calls this is, from 0, of a layer that has a module for each; None where
            one module serves all.
        inference: whether the call is fixed to `training=False`, as Keras 2 keeps it; Keras 3
            overrides it while it trains.
    """

    path: LayerPath
    inputs: tuple[int, ...]
    shape: Shape
    activation: Function | None
    other_format: bool
    skip: bool = False
    last_use: tuple[int, ...] = ()
    call: int | None = None
    inference: bool = False


@dataclass
class Plan:
    """What `KerasNetwork` is built from.

    Attributes:
        graph: the parsed config.
        image_size: height, width (pixels) and channels.
        ending: what gives the probabilities.
        num_classes: number of classes K.
        binary: whether one logit tells two classes apart.
        contexts: of every layer: one where its calls share a module, else one for each call.
        weights: of every layer, in Keras's order.
        steps: in the order of the calls.
    """

    graph: Graph
    image_size: tuple[int, int, int]
    ending: Ending
    num_classes: int = 0
    binary: bool = False
    contexts: dict[LayerPath, list[LayerContext]] = field(default_factory=dict)
    weights: dict[LayerPath, list[WeightSpec]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def layers(self) -> Iterator[tuple[Layer, list[WeightSpec]]]:
        """Yield every layer and its weights, in the file's order."""
        for path, layer in self.graph.layers.items():
            yield layer, self.weights[path]


def make_plan(
    config: dict[str, Any],
    keras_version: str | None = None,
    image_size: tuple[int, int, int] | None = None,
) -> Plan:
    """Return the plan of a model's config.

    Args:
        config: the model as Keras's `to_json` gives it.
        keras_version: of the Keras that wrote it; taken from the config when omitted.
        image_size: height, width and channels, for a model that takes images of any size.

    Raises:
        InputError: the model has parts that are not supported (all are named), ends in neither
            softmax, sigmoid nor logits, or contradicts itself.
    """
    graph = read_graph(config, keras_version)
    if parts := layer_table.unsupported_parts(graph):
        more = " …" if len(parts) > MAX_LISTED else ""
        raise InputError(
            f"The model has what the bridge does not know: {', '.join(parts[:MAX_LISTED])}{more}. "
            "Rebuild it in Keras without these, or port it by hand with "
            "signs_lightning.keras_io.compare_outputs."
        )
    ending = find_ending(graph)
    plan = Plan(graph, find_image_size(graph, image_size), ending)
    _add_steps(plan)
    inner = None if ending.call is None else plan.steps[ending.call].shape
    plan.num_classes, plan.binary = count_outputs(ending, plan.steps[-1].shape, inner)
    return plan


def _add_steps(plan: Plan) -> None:
    """Add the steps, contexts and weights of a plan; the tensors have no memory."""
    graph, (height, width, channels) = plan.graph, plan.image_size
    channels_last = not graph.channels_first
    images = torch.empty(2, channels, height, width, device="meta")
    values: list[Tensor] = [graph.arrange(images)]
    last_use = _last_uses(graph)
    counts = Counter(call.layer.path for call in graph.calls)
    settings: dict[LayerPath, list[dict[str, Any]]] = {}
    for k, call in enumerate(graph.calls):
        layer, is_ending = call.layer, k == plan.ending.call
        context = make_context(call, [values[index] for index in call.value_indices], channels_last)
        data_format = layer.config.get("data_format") or "channels_last"
        is_other = (data_format == "channels_last") != channels_last
        other_format = layer.class_name in HAS_DATA_FORMAT and is_other
        module, weights, value = _try_layer(call, context, values, other_format)
        contexts = plan.contexts.setdefault(layer.path, [])
        if not weights or not contexts:
            contexts.append(context)
            settings[layer.path] = _settings(module)
        elif (plan.weights[layer.path], settings[layer.path]) != (weights, _settings(module)):
            raise InputError(
                f"{layer} is called on values of shape {contexts[0].shapes[0]} and of shape "
                f"{context.shapes[0]}, for which its weights or arguments would differ. Rebuild "
                "the model in Keras with a layer for each."
            )
        plan.weights[layer.path] = weights
        shape = keras_shape(value, channels_last)
        if min(shape, default=1) < 1:
            raise InputError(
                f"{layer} gives values of shape {shape}: nothing is left of an image of "
                f"{height}×{width} pixels."
            )
        values.append(value)
        step = Step(
            path=layer.path,
            inputs=call.value_indices,
            shape=shape,
            activation=None if is_ending else _activation_after(layer, value, channels_last),
            other_format=other_format,
            skip=(is_ending and not weights) or k in plan.ending.dropouts,
            last_use=tuple(last_use[k]),
            call=len(contexts) - 1 if not weights and counts[layer.path] > 1 else None,
            inference=call.training is False and layer.keras < 3,
        )
        plan.steps.append(step)


def _last_uses(graph: Graph) -> dict[int, list[int]]:
    """Return the values that each call is the last to take."""
    last_call = {index: k for k, call in enumerate(graph.calls) for index in call.value_indices}
    uses: dict[int, list[int]] = defaultdict(list)
    for index, k in last_call.items():
        uses[k].append(index)
    return uses


def make_context(call: Call, inputs: list[Tensor], channels_last: bool) -> LayerContext:
    """Return the context of a call; `inputs` are those that are not constants."""
    tensors = iter(inputs)
    shapes = tuple(
        keras_shape(next(tensors), channels_last) if isinstance(value, Value) else None
        for value in call.inputs
    )
    return LayerContext(call.layer, shapes, channels_last, call.constants)


def _try_layer(
    call: Call, context: LayerContext, values: list[Tensor], other_format: bool
) -> tuple[nn.Module, list[WeightSpec], Tensor]:
    """Build and call a layer without memory; return module, weights and result."""
    try:
        with torch.device("meta"), torch.no_grad():
            module, weights = layer_table.build_layer(context)
            inputs = [values[index] for index in call.value_indices]
            value = call_module(module.eval(), inputs, other_format, context.channels_last)
    except InputError:
        raise
    except BUILD_ERRORS as error:
        reason = str(error).partition("\n")[0][:200].rstrip(". ").replace(". ", "; ")
        raise InputError(
            f"{call.layer} cannot be applied to values of shape {context.shapes}: {reason}."
        ) from error
    return module, weights, value


def _activation_after(layer: Layer, value: Tensor, channels_last: bool) -> Function | None:
    """Return the function of a layer's `activation=`, None for a linear one."""
    spec = layer.config.get("activation")
    is_own = layer.class_name in layer_table.WITH_ACTIVATION - {"Activation"}
    if not is_own or activations.name_of(spec) == "linear":
        return None
    axis = 1 if value.dim() == 4 and channels_last else -1
    return activations.function_of(spec, axis, layer.keras)


def _settings(module: nn.Module) -> list[dict[str, Any]]:
    """Return what a module and its parts were made with, less their weights."""
    return [{k: v for k, v in vars(part).items() if k[0] != "_"} for part in module.modules()]
