"""Keras's Lambda layers: their function is applied to symbolic tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from signs_lightning.translate.keras_session import session
from signs_lightning.translate.late_names import remember_names
from signs_lightning.translate.layer_records import LayerRecord, batch_shape
from signs_lightning.translate.symbolic_tensors import Node, holds_tensor
from signs_lightning.translate.values import (
    LibraryName,
    NotUnderstoodError,
    Place,
    Record,
    Value,
)


@dataclass(eq=False)
class LambdaRecord(LayerRecord):
    """A Lambda layer; what its function does becomes operations of the graph.

    Attributes:
        function: of the source, or a library's.
        arguments: that it gets beside the tensor.
    """

    function: Value = None
    arguments: dict[str, Value] = field(default_factory=dict)

    def call(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        if not holds_tensor(args):
            raise NotUnderstoodError(f"{self.describe()} called on a value")
        if isinstance(self.function, LibraryName):
            from signs_lightning.translate.keras_calls import call

            result = call(self.function.name, args, dict(self.arguments), place)
        elif isinstance(self.function, Record):
            remember_names(self.function, self.describe(), place)
            result = self.function.call(args, dict(self.arguments), place)
        else:
            result = NotImplemented
        if not holds_tensor(result):
            raise NotUnderstoodError(f"the function of {self.describe()}")
        self.nodes.append(Node(self, args, {}, place))
        return result


def make_lambda(args: list[Value], kwargs: dict[str, Value], place: Place) -> LambdaRecord:
    """Return `keras.layers.Lambda(function, …)`."""
    order = ("function", "output_shape", "mask", "arguments")
    given: dict[str, Any] = dict(zip(order, args, strict=False)) | kwargs
    arguments = given.get("arguments") or {}
    layer = LambdaRecord(
        "Lambda",
        {},
        given.get("name") or session().auto_name("Lambda"),
        place,
        input_shape=batch_shape(given),
        function=given.get("function"),
        arguments=arguments if isinstance(arguments, dict) else {},
    )
    session().layers.append(layer)
    return layer
