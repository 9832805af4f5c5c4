"""A graph, worked out: every layer's arguments checked, every shape known, before any memory is taken for weights."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations, modules
from signs_lightning.keras_io import layer_table as layers
from signs_lightning.keras_io.activations import Function
from signs_lightning.keras_io.graph_parser import Graph, Layer, Value, read_graph
from signs_lightning.keras_io.layer_context import LayerContext, Shape, WeightSpec

Path = tuple[str, ...]
HAS_DATA_FORMAT = {
    *(
        "Conv2D",
        "DepthwiseConv2D",
        "SeparableConv2D",
        "Conv2DTranspose",
        "MaxPooling2D",
        "AveragePooling2D",
        "Flatten",
    ),
    *(
        "GlobalMaxPooling2D",
        "GlobalAveragePooling2D",
        "ZeroPadding2D",
        "Cropping2D",
        "UpSampling2D",
        "Resizing",
    ),
    "SpatialDropout2D",
}
ENDINGS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}


@dataclass(frozen=True)
class Step:
    """One call: which layer, on which values; then, where it has one, its `activation=`.

    Attributes:
        path: the layer.
        inputs: the values it takes; 0 is the image, k the result of step k.
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

    path: Path
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
        graph: the normalised config.
        image_size: height, width (pixels) and channels.
        num_classes: number of classes K.
        binary: whether one logit tells two classes apart.
        sites: of every layer: one where its calls share a module, else one for each call.
        weights: of every layer, in Keras's order.
        steps: in the order of the calls.
    """

    graph: Graph
    image_size: tuple[int, int, int]
    num_classes: int = 0
    binary: bool = False
    sites: dict[Path, list[LayerContext]] = field(default_factory=dict)
    weights: dict[Path, list[WeightSpec]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def layers(self) -> Iterator[tuple[Layer, list[WeightSpec]]]:
        """Every layer and its weights, in the file's order."""
        for path, layer in self.graph.layers.items():
            yield layer, self.weights[path]


def make_plan(
    config: dict[str, Any],
    keras_version: str | None = None,
    image_size: tuple[int, int, int] | None = None,
) -> Plan:
    """Works a model's config out.

    Args:
        config: the model as Keras's `to_json` gives it.
        keras_version: of the Keras that wrote it; told from the config when omitted.
        image_size: height, width and channels, for a model that takes images of any size.

    Raises:
        InputError: the model has what the bridge does not know (all of it is named), ends in
            neither softmax nor sigmoid, or contradicts itself.
    """
    graph = read_graph(config, keras_version)
    if found := layers.unsupported_parts(graph):
        raise InputError(
            "The model has what the bridge does not know: "
            f"{', '.join(found[:20])}{' …' if len(found) > 20 else ''}. "
            "Rebuild it in Keras without these, or port it by hand with "
            "signs_lightning.keras_io.first_difference."
        )
    ending = _ending(graph)
    plan = Plan(graph, _image_size(graph, image_size))
    _work_out(plan)
    shape = plan.steps[-1].shape
    if len(shape) != 1 or (ending == "sigmoid") != (shape[0] == 1):
        expected = (
            "one value for a sigmoid"
            if ending == "sigmoid"
            else "a softmax over two classes or more"
        )
        raise InputError(
            f"The model ends with a {ending} over values of shape {shape}, expected {expected}: "
            "images with one label each."
        )
    plan.binary = ending == "sigmoid"
    plan.num_classes = 2 if plan.binary else shape[0]
    return plan


def _ending(graph: Graph) -> str:
    """What ends the model: "softmax" or "sigmoid"."""
    if graph.output != Value(len(graph.calls)) or not graph.calls:
        raise InputError(
            "The model gives back its image: no layer leads to its output. Save "
            "the model again with Keras."
        )
    layer = graph.calls[-1].layer
    spec: Any = (
        layer.config.get("activation") if layer.class_name in layers.WITH_ACTIVATION else None
    )
    name = activations.name_of(spec)
    axis = layer.config.get("axis", -1)
    if name == "Softmax":  # the layer as an `activation=`
        name, axis = "softmax", spec["config"].get("axis", -1)
    if layer.class_name in ENDINGS:
        name = ENDINGS[layer.class_name]
    if layer.config.get("function") == "math.sigmoid":
        name = "sigmoid"
    if name not in {"softmax", "sigmoid"} or axis not in (
        -1,
        1,
        [-1],
        [1],
    ):  # its input has two axes, which is checked later
        what = f"activation '{activations.describe(spec)}'" if name != "linear" else "no activation"
        raise InputError(
            f"The model ends with {layer} and {what}, expected a softmax or sigmoid that gives "
            "probabilities. "
            "Let one follow it in Keras, such as `keras.layers.Softmax()`, and save that."
        )
    return name


def _image_size(graph: Graph, given: tuple[int, int, int] | None) -> tuple[int, int, int]:
    a, b, c = graph.input_shape
    height, width, channels = (b, c, a) if graph.channels_first else (a, b, c)
    if given is None and (height is None or width is None):
        raise InputError(
            f"The model takes images of any size, {channels} channels. Give image_size, such as "
            "`--image_size 64`, to fix it."
        )
    size = tuple(
        own or (given[k] if given else 0) for k, own in enumerate((height, width, channels))
    )
    if given is not None and size != tuple(given):
        raise InputError(
            f"The model takes images of {'×'.join(map(str, size))}, image_size is "
            f"{'×'.join(map(str, given))}."
        )
    return size[0], size[1], size[2]


def _work_out(plan: Plan) -> None:
    graph, (height, width, channels) = plan.graph, plan.image_size
    channels_last = not graph.channels_first
    values: dict[int, Tensor] = {
        0: torch.empty(2, channels, height, width, device="meta")
    }  # shapes without memory
    last_use = {
        value.index: k
        for k, call in enumerate(graph.calls)
        for value in call.inputs
        if isinstance(value, Value)
    }
    free: dict[int, list[int]] = defaultdict(list)
    for index, k in last_use.items():
        free[k].append(index)
    calls = Counter(call.layer.path for call in graph.calls)
    shared: dict[Path, tuple[list[WeightSpec], list[dict[str, Any]]]] = {}
    for k, call in enumerate(graph.calls):
        layer = call.layer
        inputs = tuple(value.index for value in call.inputs if isinstance(value, Value))
        shapes = tuple(
            keras_shape(values[value.index], channels_last) if isinstance(value, Value) else None
            for value in call.inputs
        )
        constants = {
            place: value for place, value in enumerate(call.inputs) if not isinstance(value, Value)
        }
        site = LayerContext(layer, shapes, channels_last, constants)
        data_format = layer.config.get("data_format") or "channels_last"
        other_format = (
            layer.class_name in HAS_DATA_FORMAT
            and (data_format == "channels_last") != channels_last
        )
        last = k == len(graph.calls) - 1
        try:
            with torch.device("meta"), torch.no_grad():
                module, weights = layers.build(site)
                arguments = [values[index] for index in inputs]
                value = run(module.eval(), arguments, other_format, channels_last)
        except (
            RuntimeError,
            ValueError,
            TypeError,
            IndexError,
            OverflowError,
            MemoryError,
        ) as error:
            if isinstance(error, InputError):
                raise
            reason = str(error).partition("\n")[0][:200].rstrip(". ").replace(". ", "; ")
            raise InputError(
                f"{layer} cannot be applied to values of shape {shapes}: {reason}."
            ) from error
        sites = plan.sites.setdefault(layer.path, [])
        if not weights:
            sites.append(site)
        elif not sites:
            sites.append(site)
            shared[layer.path] = weights, _settings(module)
        elif shared[layer.path] != (weights, _settings(module)):
            raise InputError(
                f"{layer} is called on values of shape {sites[0].shapes[0]} and of shape "
                f"{shapes[0]}, for which its weights "
                "or arguments would differ. Rebuild the model in Keras with a layer for each."
            )
        plan.weights[layer.path] = weights
        activation = None
        if layer.class_name in layers.WITH_ACTIVATION - {"Activation"} and not last:
            spec = layer.config.get("activation")
            if activations.name_of(spec) != "linear":
                activation = activations.function_of(
                    spec, 1 if value.dim() == 4 and channels_last else -1, layer.keras
                )
        skip = last and not weights
        shape = keras_shape(value, channels_last)
        if min(shape, default=1) < 1:
            raise InputError(
                f"{layer} gives values of shape {shape}: nothing is left of an image of "
                f"{height}×{width} pixels."
            )
        values[k + 1] = value
        place = len(sites) - 1 if not weights and calls[layer.path] > 1 else None
        inference = call.training is False and layer.keras < 3
        plan.steps.append(
            Step(
                layer.path,
                inputs,
                shape,
                activation,
                other_format,
                skip,
                tuple(free[k]),
                place,
                inference,
            )
        )


def _settings(module: torch.nn.Module) -> list[dict[str, Any]]:
    """What modules were made with, less their weights."""
    return [
        {key: value for key, value in vars(part).items() if key[0] != "_"}
        for part in module.modules()
    ]


def run(
    module: torch.nn.Module, inputs: list[Tensor], other_format: bool, channels_last: bool
) -> Tensor:
    """Calls a module; one of the other data_format gets its input as Keras has it, and gives it back so."""
    if not other_format:
        return module(*inputs)
    if channels_last:  # the layer reads Keras's (N, H, W, C) as (N, C, H, W)
        return modules.from_keras_order(module(*map(modules.to_keras_order, inputs)))
    return modules.to_keras_order(module(*map(modules.from_keras_order, inputs)))


def keras_shape(value: Tensor, channels_last: bool) -> Shape:
    """Keras's shape of a tensor, without the batch."""
    return tuple((modules.to_keras_order(value) if channels_last else value).shape[1:])
