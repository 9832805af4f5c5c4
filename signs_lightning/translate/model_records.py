"""Keras's models as records: Functional here, Sequential in `sequential_records`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from signs_lightning.translate.functional_config import functional_config, ordered_layers
from signs_lightning.translate.keras_objects import unknowns_in
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.layer_records import call_layer
from signs_lightning.translate.pretrained import unknown_weights
from signs_lightning.translate.symbolic_tensors import Node, SymbolicTensor, tensors_in
from signs_lightning.translate.values import (
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)


@dataclass(eq=False)
class ModelRecord(Record):
    """A functional model.

    Attributes:
        name: its own or Keras's.
        place: where it was made.
        inputs: its input tensors.
        outputs: its output tensors.
        layers: in Keras's order.
        calls: those between inputs and outputs.
        nodes: the calls of the model itself, as a layer.
        trainable: its own flag.
        compiled: the last `compile`, None before.
        fits: what `fit` was called with, in order, of `fit_records`.
        evaluated: calls of `evaluate`, as (place, arguments, keyword arguments).
        taints: code that is not understood and may have changed it.
        output_count: how many tensors a call gives.
    """

    class_name = "Functional"

    name: Value
    place: Place
    inputs: list[SymbolicTensor] = field(default_factory=list)
    outputs: list[SymbolicTensor] = field(default_factory=list)
    layers: list[Any] = field(default_factory=list)
    calls: list[Node] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    trainable: Value = True
    compiled: Any = None
    fits: list[Any] = field(default_factory=list)
    evaluated: list[Any] = field(default_factory=list)
    taints: list[tuple[str, Unknown]] = field(default_factory=list)

    def describe(self) -> str:
        return f"the model '{self.name}'"

    @property
    def output_count(self) -> int:
        """How many tensors a call gives."""
        return len(self.outputs) or 1

    def require_built(self) -> None:
        """Check that the model's graph is known.

        Raises:
            NotUnderstoodError: it is not.
        """
        if not self.outputs:
            raise NotUnderstoodError(f"{self.describe()} has no known graph")

    def as_graph(self) -> ModelRecord:
        """Return the model whose layers are those that its config has."""
        return self

    def unique_layers(self) -> list[Any]:
        """Return the layers and models of this model, each once."""
        return list({id(layer): layer for layer in self.layers}.values())

    def all_layers(self) -> list[Any]:
        """Return the layers of this model and of the models inside it, each once, models too."""
        found: dict[int, Any] = {}
        for layer in self.layers:
            found[id(layer)] = layer
            if isinstance(layer, ModelRecord):
                found |= {id(inner): inner for inner in layer.all_layers()}
        return list(found.values())

    def all_unknowns(self) -> list[tuple[str, Unknown]]:
        """Return what of the model is not known, each with what it is."""
        found = [(f"name of {self.describe()}", u) for u in unknowns_in(self.name)]
        found += [(f"trainable of {self.describe()}", u) for u in unknowns_in(self.trainable)]
        for node in self.calls:
            found += [
                (f"a value that {node.layer.name} takes", unknown)
                for unknown in unknowns_in([node.args, node.kwargs])
            ]
        for layer in self.unique_layers():
            found += layer.all_unknowns()
        return found + self.taints

    @property
    def unknowns(self) -> list[tuple[str, Unknown]]:
        """What of the model is not known, weights to begin with included."""
        return self.all_unknowns() + list(unknown_weights(self))

    def entry(self) -> dict[str, Any]:
        """Return what Keras writes of it, without its calls."""
        self.require_built()
        return functional_config(
            self.name, self.trainable, self.inputs, self.outputs, self.layers, self.calls
        )

    def config(self) -> dict[str, Any]:
        """Return the model as `model.to_json()` gives it.

        Raises:
            NotUnderstoodError: something of it is not known.
        """
        if unknowns := self.all_unknowns():
            raise NotUnderstoodError(f"{unknowns[0][0]}: {unknowns[0][1].reason}")
        return {**self.entry(), "keras_version": session().version, "backend": "tensorflow"}

    def compile_config(self) -> dict[str, Any]:
        """Return what the model was compiled with as Keras keeps it; empty before `compile`."""
        return {} if self.compiled is None else self.compiled.config()

    def trainable_flags(self) -> dict[int, bool]:
        """Return the flag of each layer by its id, the models' own among them."""
        return {id(layer): layer.trainable for layer in (self, *self.all_layers())}

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return call_layer(self, args, kwargs, place)

    def attribute(self, name: str, place: Place) -> Value:
        from signs_lightning.translate import model_attributes

        return model_attributes.attribute(self, name, place)

    def set_attribute(self, name: str, value: Value, place: Place) -> None:
        if name == "trainable":
            self.set_trainable(value)
        elif name in ("name", "_name"):
            self.name = value
        elif name not in ("stop_training", "supports_masking", "class_names", "run_eagerly"):
            raise NotUnderstoodError(f"setting .{name} of {self.describe()}")

    def set_input_shape(self, shape: Value, place: Place) -> None:
        """Say the batch shape of the input, which only a model that was made without one takes."""

    def set_trainable(self, value: Value) -> None:
        """Set the flag of the model and, as Keras does, of all layers inside it."""
        self.trainable = value
        for layer in self.layers:
            if isinstance(layer, ModelRecord):
                layer.set_trainable(value)
            else:
                layer.trainable = value

    def taint(self, unknown: Unknown) -> None:
        self.taints.append((self.describe(), unknown))


def make_model(args: list[Value], kwargs: dict[str, Value], place: Place) -> ModelRecord:
    """Return `keras.Model(inputs, outputs, name=…)`.

    Raises:
        NotUnderstoodError: it is made of something else than tensors.
    """
    given = dict(zip(("inputs", "outputs", "name"), args, strict=False)) | kwargs
    given = {{"input": "inputs", "output": "outputs"}.get(k, k): v for k, v in given.items()}
    inputs, outputs = (_tensors(given.get(key), key) for key in ("inputs", "outputs"))
    name = given.get("name") or session().auto_name("Functional")
    return connect(inputs, outputs, name, place, given.get("trainable", True))


def _tensors(value: Value, key: str) -> list[SymbolicTensor]:
    for unknown in unknowns_in(value):
        raise NotUnderstoodError(f"a model whose {key} are {unknown.reason}")
    found = list(tensors_in(value))
    if not found:
        raise NotUnderstoodError(f"a model without {key}")
    return found


def connect(
    inputs: list[SymbolicTensor],
    outputs: list[SymbolicTensor],
    name: Value,
    place: Place,
    trainable: Value = True,
) -> ModelRecord:
    """Return the functional model between tensors.

    Raises:
        NotUnderstoodError: the inputs are results of other layers, or the outputs depend on others.
    """
    for tensor in inputs:
        if tensor.node.layer.class_name != "InputLayer":
            raise NotUnderstoodError(f"a model that begins at {tensor.describe()}")
    layers, calls = ordered_layers(inputs, outputs)
    model = ModelRecord(name, place, inputs, outputs, layers, calls, trainable=trainable)
    session().models.append(model)
    return model
