"""A PyTorch network for a Keras model, with Keras's names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io.average_endings import to_logits
from signs_lightning.keras_io.axis_order import call_module, from_keras_order, keras_shape
from signs_lightning.keras_io.constraints import read_constraints
from signs_lightning.keras_io.initializers import initialize
from signs_lightning.keras_io.layer_context import Shape, WeightSpec
from signs_lightning.keras_io.layer_table import build_layer
from signs_lightning.keras_io.model_graph import LayerPath
from signs_lightning.keras_io.network_plan import Plan, Step
from signs_lightning.keras_io.regularizers import read_regularization
from signs_lightning.models.layer_graph import LayerGraph, LayerNode
from signs_lightning.models.layers import KerasBatchNorm2d


class KerasNetwork(nn.Module):
    """A Keras model as a PyTorch module, newly initialized as Keras would.

    A layer "conv1" of a model "backbone" inside the model is the submodule `backbone.conv1`, with
    Keras's kernel as its `weight`. (A dot in a name becomes an underscore, and a name that would
    hide an attribute ends in one more.) A layer with weights is one module, however often it is
    called; one without, whose arguments may depend on its input, is one for each call.

    Args:
        plan: the model's plan.

    Shape:
        float (N, C, H, W) → logits (N, K), or (N, 1) where a sigmoid ended the model

    Raises:
        InputError: a regularizer or an initializer has arguments that cannot be used.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        # Attributes come before layers, so that a layer of the same name gets another one.
        self.plan = plan
        self.names: dict[LayerPath, str] = {}
        self.penalties = read_regularization(plan)
        self._constraints = read_constraints(plan)
        self._activity_losses: list[Tensor] | None = None
        self._counted: Tensor | None = None
        self.frozen: set[LayerPath] = set()
        self._inference: set[str] = set()
        for layer, weights in plan.layers():
            calls = [build_layer(context)[0] for context in plan.contexts[layer.path]]
            module = calls[0] if len(calls) == 1 else nn.ModuleList(calls)
            self.names[layer.path] = self._add_layer(layer.path, module)
            for weight in weights:
                try:
                    initialize(self.parameter(layer.path, weight), weight, layer)
                except (TypeError, ValueError, RuntimeError) as error:
                    raise InputError(
                        f"{layer} has an initializer that cannot be used: {error}."
                    ) from error
        at_rest = {self._module_name(step) for step in plan.steps if step.inference}
        self._inference |= at_rest - {self._module_name(s) for s in plan.steps if not s.inference}
        self.train_only([layer.path for layer, _ in plan.layers() if layer.trainable])

    def _add_layer(self, path: LayerPath, module: nn.Module) -> str:
        """Add a layer's module under the names of its path; return its whole name."""
        parent: nn.Module = self
        parts = []
        for part in path[:-1]:
            for name in _candidate_names(part):
                if not hasattr(parent, name):
                    parent.add_module(name, _NestedModel())
                if isinstance(getattr(parent, name), _NestedModel):
                    break
            parent = parent.get_submodule(name)
            parts.append(name)
        name = next(n for n in _candidate_names(path[-1]) if not hasattr(parent, n))
        parent.add_module(name, module)
        return ".".join([*parts, name])

    def _module_name(self, step: Step) -> str:
        """Return the name of the module that makes a call."""
        name = self.names[step.path]
        return name if step.call is None else f"{name}.{step.call}"

    def forward(
        self,
        images: Tensor,
        watch: Callable[[str, Tensor], None] | None = None,
        others: Sequence[Tensor] = (),
    ) -> Tensor:
        """Return the logits of images.

        Args:
            images: float (N, C, H, W).
            watch: called with every layer's name ("backbone/conv1" inside a model) and its output;
                an output of rank 4 is (N, C, H, W) where Keras has (N, H, W, C).
            others: the inputs beside the image, float, each with Keras's order of axes.
        """
        channels_last = not self.plan.graph.channels_first
        values = {0: self.plan.graph.arrange(images)}
        for k, value in enumerate(others, start=1):
            values[-k] = from_keras_order(value) if channels_last else value
        for k, step in enumerate(self.plan.steps, start=1):
            inputs = [values[index] for index in step.inputs]
            value = inputs[0]
            if not step.skip:
                module = self.get_submodule(self._module_name(step))
                if rests := step.inference and module.training:  # another call trains it
                    module.eval()
                value = call_module(module, inputs, step.other_format, channels_last)
                if rests:
                    module.train()
            if step.activation is not None:
                value = step.activation(value)
            if self._activity_losses is not None and k in self.penalties.activities:
                counted = value if self._counted is None else value[self._counted]
                self._activity_losses.append(self.penalties.activities[k](counted))
            if watch is not None:
                watch("/".join(step.path), value)
            values[k] = value
            for index in step.last_use:  # frees the memory of an output
                del values[index]
        output = values[len(self.plan.steps)]
        return to_logits(output) if self.plan.ending.kind == "probabilities" else output

    def train(self, mode: bool = True) -> KerasNetwork:
        """Set the mode as nn.Module does, but keep frozen BatchNorms in eval mode.

        So does Keras, where frozen Dropouts stay active.
        """
        super().train(mode)
        for name in self._inference:
            self.get_submodule(name).eval()
        for path in self.frozen:
            if isinstance(module := self.get_submodule(self.names[path]), KerasBatchNorm2d):
                module.eval()
        return self

    def train_only(self, paths: list[LayerPath]) -> None:
        """Freeze every layer but those at `paths`; a frozen BatchNorm uses its averages."""
        self.frozen = set(self.names) - set(paths)
        for layer, weights in self.plan.layers():
            for weight in weights:
                if weight.trainable:
                    self.parameter(layer.path, weight).requires_grad_(layer.path not in self.frozen)
        self.train(self.training)

    def train_last(self, count: int) -> None:
        """Freeze all but the last `count` layers that have weights to train.

        Raises:
            InputError: there are not so many.
        """
        layers = [
            layer.path for layer, weights in self.plan.layers() if any(w.trainable for w in weights)
        ]
        if not 1 <= count <= len(layers):
            raise InputError(
                f"trainable_layers is {count}, expected 1 to {len(layers)}: the model has "
                f"{len(layers)} with weights."
            )
        self.train_only(layers[-count:])

    @contextmanager
    def count_activities(self, counted: Tensor | None = None) -> Iterator[None]:
        """Let `regularization_loss` count the outputs of the forward pass that is made inside.

        Args:
            counted: bool (N,), which images of the batch count; all when omitted.
        """
        self._activity_losses, self._counted = [], counted
        try:
            yield
        finally:
            self._activity_losses = self._counted = None

    def regularization_loss(self) -> Tensor:
        """Return the sum () of the penalties of the weights that are trained, and of outputs."""
        total = next(self.parameters(), torch.zeros(())).new_zeros(())
        for path, weight, penalty in self.penalties.weights:
            if self.parameter(path, weight).requires_grad:
                total = total + penalty(self._in_keras_order(path, weight))
        return total + sum(self._activity_losses or [])

    @torch.no_grad()
    def apply_constraints(self) -> None:
        """Constrain the weights that are trained, as Keras does after each step."""
        for path, weight, projection in self._constraints.weights:
            target = self.parameter(path, weight)
            if target.requires_grad:
                values = projection(self._in_keras_order(path, weight))
                target.copy_(values.permute(weight.permutation).reshape(target.shape))

    def parameter(self, path: LayerPath, weight: WeightSpec) -> Tensor:
        """Return the parameter or buffer that holds a layer's weight."""
        owner, _, name = weight.torch.rpartition(".")
        return getattr(self.get_submodule(self.names[path]).get_submodule(owner), name)

    def load_keras(self, path: LayerPath, weight: WeightSpec, values: np.ndarray) -> None:
        """Copy an array of Keras's shape into a layer's weight."""
        weight.load(self.parameter(path, weight), values)

    def layer_arrays(self, path: LayerPath) -> dict[str, np.ndarray]:
        """Return a layer's weights by Keras's names, as they are kept here."""
        return {
            weight.keras: self.parameter(path, weight).detach().cpu().numpy()
            for weight in self.plan.weights[path]
        }

    def keras_weights(self) -> Mapping[LayerPath, list[np.ndarray]]:
        """Return every layer's weights bit by bit, with Keras's shapes and in its order."""
        return {
            layer.path: [
                self._in_keras_order(layer.path, weight).detach().cpu().numpy()
                for weight in weights
            ]
            for layer, weights in self.plan.layers()
        }

    def _in_keras_order(self, path: LayerPath, weight: WeightSpec) -> Tensor:
        """Return a weight in Keras's shape, for gradients, too."""
        return weight.in_keras_order(self.parameter(path, weight))

    def totals(self) -> tuple[int, int]:
        """Return the numbers of trainable and of other parameters, as Keras counts them.

        Moving averages are among the latter.
        """
        sizes = [
            (math.prod(weight.shape), weight.trainable and layer.path not in self.frozen)
            for layer, weights in self.plan.layers()
            for weight in weights
        ]
        trainable = sum(size for size, trained in sizes if trained)
        return trainable, sum(size for size, _ in sizes) - trainable

    def layer_graph(self) -> LayerGraph:
        """Return the layers and the calls between them, all models inside the model open."""
        plan, graph = self.plan, self.plan.graph
        image: LayerPath = (graph.image,)
        while image in plan.weights or image in graph.models:
            image = (f"{image[0]}_",)
        height, width, channels = plan.image_size
        image_shape: Shape = (channels, height, width) if graph.channels_first else plan.image_size
        if len(graph.input_shape) < 3:
            image_shape = keras_shape(graph.arrange(torch.empty(1, channels, height, width)), True)
        nodes = {image: LayerNode(image, "InputLayer", image_shape, 0)}
        others: dict[int, LayerPath] = {}
        for k, given in enumerate(graph.other_inputs, start=1):
            others[-k] = (given.name,)
            while others[-k] in plan.weights or others[-k] in graph.models:
                others[-k] = (f"{others[-k][0]}_",)
            nodes[others[-k]] = LayerNode(others[-k], "InputLayer", given.shape, 0)
        steps = [*plan.steps, *plan.spare_steps]
        shapes = {step.path: step.shape for step in steps}  # the last call's, as in `summary`
        for layer, weights in plan.layers():
            size = sum(math.prod(weight.shape) for weight in weights)
            nodes[layer.path] = LayerNode(
                layer.path, layer.wrapper or layer.class_name, shapes[layer.path], size
            )
        sources = others | {0: image}  # of values
        sources |= {k: step.path for k, step in enumerate(steps, start=1)}
        calls = [(sources[index], step.path) for step in steps for index in step.inputs]
        edges = list(dict.fromkeys(calls))
        blocks = {}
        for path, kind in graph.models.items():
            inside = [inner for inner in plan.weights if inner[: len(path)] == path]
            # The last layer inside with an edge out of it gives the model's output. The output of
            # the whole model has no edge, so it gets one here.
            ends = [*edges, (plan.steps[-1].path, image)]
            outputs = [a for a, b in ends if a in inside and b not in inside]
            if outputs:  # a model inside may have no layers
                size = sum(nodes[inner].parameters for inner in inside)
                blocks[path] = LayerNode(path, kind, shapes[outputs[-1]], size)
        return LayerGraph(image, nodes, blocks, edges, has_other_inputs=bool(others))


class _NestedModel(nn.Module):
    """A model inside the model: it only holds that model's layers."""


def _candidate_names(name: str) -> Iterator[str]:
    """Yield module names for a layer's name, best first."""
    name = name.replace(".", "_") or "_"
    while True:
        yield name
        name += "_"
