"""Keras's Sequential models as records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from signs_lightning.translate.functional_config import graph_nodes, ordered_layers
from signs_lightning.translate.keras_objects import unknowns_in
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.layer_records import LayerRecord, input_layer
from signs_lightning.translate.model_records import ModelRecord
from signs_lightning.translate.symbolic_tensors import SymbolicTensor
from signs_lightning.translate.values import NotUnderstoodError, Place, Unknown, Value


@dataclass(eq=False)
class SequentialRecord(ModelRecord):
    """A Sequential model, which is a functional one as soon as its input is known.

    Attributes:
        start: its InputLayer, None where the first layer is a model, or no input is known.
        plain: whether every layer is written as itself, and not as operations.
        tensors: the input and the result of each layer, as far as the input is known.
    """

    class_name = "Sequential"

    start: LayerRecord | None = None
    plain: bool = True
    tensors: list[Any] = field(default_factory=list)

    def add(self, layer: Value, place: Place) -> None:
        """Add a layer.

        Raises:
            NotUnderstoodError: it is none, or has no place there.
        """
        if isinstance(layer, Unknown):
            self.taints.append((f"a layer of {self.describe()}", layer))
            return
        if isinstance(layer, SymbolicTensor) and layer.node.layer.class_name == "InputLayer":
            layer = layer.node.layer
        layer = getattr(layer, "base", None) or layer  # of an instance of a class of the source
        if not hasattr(layer, "nodes") and not hasattr(layer, "instance"):
            raise NotUnderstoodError(f"{layer!r:.40} as a layer of {self.describe()}")
        if getattr(layer, "class_name", None) == "InputLayer":
            if self.layers or self.start:
                raise NotUnderstoodError(f"a second input of {self.describe()}")
            self._begin(layer)
            return
        shape = getattr(layer, "input_shape", None)
        if not self.layers and self.start is None and shape is not None:
            name = f"{layer.name}_input" if session().release[0] < 3 else None
            self._begin(input_layer(shape, name, place))
        elif not self.layers and self.start is None and getattr(layer, "inputs", None):
            shape = layer.inputs[0].node.layer.config["batch_shape"]
            name = f"{layer.name}_input" if session().release[0] < 3 else None
            self._begin(input_layer(shape, name, place))
        self.layers.append(layer)
        if self.tensors:
            self._extend(layer, place)

    def set_input_shape(self, shape: Value, place: Place) -> None:
        """Say the batch shape of the input of a model that was made without.

        Args:
            shape: Keras's, batch included; it may hold `Unknown`.
            place: of the code that tells it.
        """
        if self.start is None:
            self._begin(input_layer(shape, None, place))
            for layer in self.layers:
                self._extend(layer, place)

    def _begin(self, layer: LayerRecord) -> None:
        self.start = layer
        self.tensors = [SymbolicTensor(layer.nodes[0])]
        self.inputs = [self.tensors[0]]
        self.calls = [layer.nodes[0]]

    def _extend(self, layer: Any, place: Place) -> None:
        result = layer.call([self.tensors[-1]], {}, place)
        if not isinstance(result, SymbolicTensor):
            raise NotUnderstoodError(f"{layer.describe()} in {self.describe()}")
        self.plain = self.plain and result.node.layer is layer
        if result != self.tensors[-1]:
            self.calls += graph_nodes(self.tensors[-1:], [result])[1:]
        self.tensors.append(result)
        self.outputs = [result]

    def pop(self) -> Any:
        """Remove the last layer and return it.

        Raises:
            NotUnderstoodError: there is none.
        """
        if not self.layers:
            raise NotUnderstoodError(f".pop() of {self.describe()}, which has no layers")
        layer = self.layers.pop()
        if self.tensors:
            self.tensors.pop()
            self.outputs = self.tensors[-1:] if self.layers else []
            self.calls = graph_nodes(self.inputs, self.tensors[-1:])
        return layer

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        if self.start is None and args and isinstance(args[0], SymbolicTensor):
            shape = args[0].attribute("shape", place)
            self.set_input_shape(shape if isinstance(shape, Unknown) else list(shape), place)
        return super().call(args, kwargs, place)

    def as_graph(self) -> ModelRecord:
        if self.plain or not self.outputs:
            return self
        layers, calls = ordered_layers(self.inputs, self.outputs)
        graph = ModelRecord(self.name, self.place, self.inputs, self.outputs, layers, calls)
        graph.trainable = self.trainable
        return graph

    def unique_layers(self) -> list[Any]:
        if not self.plain and self.outputs:
            return self.as_graph().unique_layers()
        first = [] if self.start is None else [self.start]
        return [*first, *super().unique_layers()]

    def all_unknowns(self) -> list[tuple[str, Unknown]]:
        found = super().all_unknowns()
        inside = {id(layer) for layer in self.unique_layers()}
        for layer in self.layers:  # what became operations of the graph
            if id(layer) not in inside:
                found += layer.unknowns if isinstance(layer, LayerRecord) else layer.taints
        if self.start is None:
            told = session().facts.get("input_shape")
            if told is None:
                what = f"the input shape of {self.describe()}"
                found.append((what, Unknown(what, self.place, "input_shape")))
        return found

    def require_built(self) -> None:
        told = session().facts.get("input_shape")
        if self.start is None and told is not None:
            self.set_input_shape([None, *told], self.place)
        super().require_built()

    def entry(self) -> dict[str, Any]:
        self.require_built()
        if not self.plain:
            return self.as_graph().entry()
        first = [] if self.start is None else [self.start.entry()]
        layers = [*first, *(layer.entry() for layer in self.layers)]
        config = {"name": self.name, "trainable": self.trainable, "layers": layers}
        return {
            "module": "keras",
            "class_name": "Sequential",
            "config": config,
            "registered_name": None,
        }


def make_sequential(args: list[Value], kwargs: dict[str, Value], place: Place) -> SequentialRecord:
    """Return `keras.Sequential(layers, name=…)`.

    Raises:
        NotUnderstoodError: one of the layers is none.
    """
    given = dict(zip(("layers", "name"), args, strict=False)) | kwargs
    name = given.get("name") or session().auto_name("Sequential")
    model = SequentialRecord(name, place, trainable=given.get("trainable", True))
    session().models.append(model)
    layers = given.get("layers") or []
    for unknown in unknowns_in(layers) if isinstance(layers, Unknown) else ():
        model.taints.append((f"the layers of {model.describe()}", unknown))
        layers = []
    if not isinstance(layers, list | tuple):
        raise NotUnderstoodError(f"the layers {layers!r:.40} of a Sequential")
    for layer in layers:
        model.add(layer, place)
    return model
