"""Checks the layers of a graph and finds all shapes, before weights take memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io import layer_table
from signs_lightning.keras_io.activations import Function
from signs_lightning.keras_io.axis_order import call_module, from_keras_order, keras_shape
from signs_lightning.keras_io.graph_ends import choose_output
from signs_lightning.keras_io.graph_parser import read_graph
from signs_lightning.keras_io.image_size import find_image_size
from signs_lightning.keras_io.layer_context import LayerContext, Shape, WeightSpec
from signs_lightning.keras_io.layer_table import activation_after
from signs_lightning.keras_io.model_ending import Ending, check_average, count_outputs, find_ending
from signs_lightning.keras_io.model_graph import Call, Graph, Layer, LayerPath, Value
from signs_lightning.keras_io.sub_model import cut_to_output
from signs_lightning.runtime.escaping import shorten

HAS_DATA_FORMAT = layer_table.OF_IMAGES | {
    *("MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D"),
    *("ZeroPadding2D", "Cropping2D", "UpSampling2D", "Resizing", "Flatten", "SpatialDropout2D"),
    *("CenterCrop", "RandomCrop", "AdaptiveMaxPooling2D", "AdaptiveAveragePooling2D"),
}
BUILD_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError, MemoryError)
MAX_LISTED, MAX_LENGTH = 20, 150  # unsupported parts that a message names, characters of each
Settings = dict[LayerPath, list[dict[str, Any]]]  # what the modules of layers were made with


@dataclass(frozen=True)
class Step:
    """One call of a layer, and the `activation=` that follows it.

    Attributes:
        path: the layer.
        inputs: the values it takes; 0 is the image, k the result of step k, -k an input beside the
            image.
        shape: Keras's shape of the result, without the batch.
        activation: the function that follows, or None.
        other_format: whether the layer's data_format is not that of the graph, so that it needs its
            axes reordered.
        skip: whether the layer is left out: a softmax or sigmoid that ends the model.
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
        config: the model as Keras's `to_json` gives it, less what does not lead to its output.
        graph: the parsed config.
        image_size: height, width (pixels) and channels.
        ending: what gives the probabilities.
        num_classes: number of classes K.
        binary: whether one logit tells two classes apart.
        contexts: of every layer: one where its calls share a module, else one for each call.
        weights: of every layer, in Keras's order.
        steps: in the order of the calls.
        spare_steps: those of the graph's spare calls.
        whole: the layers and weights of the whole file, where some do not lead to the output.
        output: which of the file's outputs the model gives.
    """

    config: dict[str, Any]
    graph: Graph
    image_size: tuple[int, int, int]
    ending: Ending
    num_classes: int = 0
    binary: bool = False
    contexts: dict[LayerPath, list[LayerContext]] = field(default_factory=dict)
    weights: dict[LayerPath, list[WeightSpec]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    spare_steps: list[Step] = field(default_factory=list)
    whole: Plan | None = None
    output: int = 0

    @property
    def outputs(self) -> tuple[tuple[str, ...], int]:
        """Names of the file's outputs, and which of them the model gives."""
        return tuple((self.whole or self).graph.outputs), self.output

    def layers(self) -> Iterator[tuple[Layer, list[WeightSpec]]]:
        """Yield every layer and its weights, in the file's order."""
        for path, layer in self.graph.layers.items():
            yield layer, self.weights[path]


def make_plan(
    config: dict[str, Any],
    keras_version: str | None = None,
    image_size: tuple[int, int, int] | None = None,
    output_layer: str | None = None,
) -> Plan:
    """Return the plan of a model's config.

    Args:
        config: the model as Keras's `to_json` gives it.
        keras_version: of the Keras that wrote it; taken from the config when omitted.
        image_size: height, width and channels, for a model that takes images of any size.
        output_layer: which of several outputs gives the classes, by its layer's name.

    Raises:
        InputError: the model has parts that are not supported (all are named), ends in neither
            softmax, sigmoid nor logits, has several outputs of which none is chosen, or contradicts
            itself.
    """
    graph = whole = read_graph(config, keras_version)
    output = choose_output(whole, output_layer)
    is_part = whole.has_unused_parts()
    if is_part:
        config = cut_to_output(config, keras_version, output)
        graph = read_graph(config, keras_version)
        graph.set_unused_calls_aside()
    _check_parts(layer_table.unsupported_parts(graph))
    ending = find_ending(graph)
    plan = Plan(config, graph, find_image_size(graph, image_size), ending)
    _add_steps(plan)
    check_average(ending, graph, [step.shape for step in plan.steps])
    inner = None if ending.call is None else plan.steps[ending.call].shape
    plan.num_classes, plan.binary = count_outputs(
        ending, plan.steps[-1].shape, inner, plan.image_size
    )
    if is_part:
        plan.whole, plan.output = _plan_whole(plan, whole), output
    return plan


def _check_parts(unsupported: list[str]) -> None:
    if unsupported:
        more = " …" if len(unsupported) > MAX_LISTED else ""
        listed = ", ".join(shorten(part, MAX_LENGTH) for part in unsupported[:MAX_LISTED])
        raise InputError(
            f"The model has what the bridge does not know: {listed}"
            f"{more}. Rebuild it in Keras without these, or port it by hand with "
            "signs_lightning.keras_io.compare_outputs."
        )


def _plan_whole(plan: Plan, graph: Graph) -> Plan:
    """Return layers and weights of a whole file, also of what does not lead to the output.

    Weights are matched by the order of all layers. A layer at the top that is not supported has a
    group of its own in a file, so it may be left out, and what follows it, too.
    """
    size = plan.image_size if graph.image == plan.graph.image else None
    whole = Plan(plan.config, graph, find_image_size(graph, size), plan.ending)
    unknown_layers = {
        path: layer
        for path, layer in graph.layers.items()
        if path in graph.unsupported or layer_table.unsupported_of_layer(layer)
    }
    _check_parts([str(layer) for path, layer in unknown_layers.items() if len(path) > 1])
    values = _input_values(whole)
    settings: Settings = {}
    for k, call in enumerate(graph.calls, start=1):
        path = call.layer.path
        whole.weights.setdefault(path, [])
        if path in unknown_layers or any(index not in values for index in call.value_indices):
            continue
        try:
            values[k], _ = _add_call(whole, call, values, settings)
        except InputError:
            if path in plan.graph.layers or len(path) > 1:
                raise
    return whole


def _input_values(plan: Plan) -> dict[int, Tensor]:
    """Return image and other inputs as tensors without memory, of two images."""
    graph, (height, width, channels) = plan.graph, plan.image_size
    values = {0: graph.arrange(torch.empty(2, channels, height, width, device="meta"))}
    for k, given in enumerate(graph.other_inputs, start=1):
        value = torch.empty(2, *given.shape, device="meta")
        values[-k] = value if graph.channels_first else from_keras_order(value)
    return values


def _add_steps(plan: Plan) -> None:
    """Add the steps, contexts and weights of a plan; the tensors have no memory."""
    graph, (height, width, _) = plan.graph, plan.image_size
    channels_last = not graph.channels_first
    values, last_use = _input_values(plan), graph.last_uses()
    settings: Settings = {}
    calls = [*graph.calls, *graph.spare_calls]
    counts = Counter(call.layer.path for call in calls)
    for k, call in enumerate(calls):
        layer, is_ending = call.layer, k == plan.ending.call
        value, other_format = _add_call(plan, call, values, settings)
        shape = keras_shape(value, channels_last)
        if min(shape, default=1) < 1:
            raise InputError(
                f"{layer} gives values of shape {shape}: nothing is left of an image of "
                f"{height}×{width} pixels."
            )
        values[k + 1] = value
        weights, contexts = plan.weights[layer.path], plan.contexts[layer.path]
        step = Step(
            path=layer.path,
            inputs=call.value_indices,
            shape=shape,
            activation=None if is_ending else activation_after(layer, value, channels_last),
            other_format=other_format,
            skip=is_ending and not weights,
            last_use=tuple(last_use[k]),
            call=len(contexts) - 1 if not weights and counts[layer.path] > 1 else None,
            inference=call.training is False and layer.keras < 3,
        )
        (plan.steps if k < len(graph.calls) else plan.spare_steps).append(step)


def _add_call(
    plan: Plan, call: Call, values: dict[int, Tensor], settings: Settings
) -> tuple[Tensor, bool]:
    """Add a call's context and weights to a plan.

    Args:
        plan: to add to.
        call: the call.
        values: all values before it.
        settings: of the layers with weights; it is filled.

    Returns:
        Its result, and whether its data_format is not that of the graph.
    """
    layer, channels_last = call.layer, not plan.graph.channels_first
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
            f"{context.shapes[0]}, for which its weights or arguments would differ. Rebuild the "
            "model in Keras with a layer for each."
        )
    plan.weights[layer.path] = weights
    return value, other_format


def make_context(call: Call, inputs: list[Tensor], channels_last: bool) -> LayerContext:
    """Return the context of a call; `inputs` are those that are not constants."""
    tensors = iter(inputs)
    shapes = tuple(
        keras_shape(next(tensors), channels_last) if isinstance(value, Value) else None
        for value in call.inputs
    )
    return LayerContext(call.layer, shapes, channels_last, call.constants, call.output)


def _try_layer(
    call: Call, context: LayerContext, values: dict[int, Tensor], other_format: bool
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


def _settings(module: nn.Module) -> list[dict[str, Any]]:
    """Return what a module and its parts were made with, less their weights."""
    return [{k: v for k, v in vars(part).items() if k[0] != "_"} for part in module.modules()]
