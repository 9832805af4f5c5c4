"""Symbolic tensors and the calls that make them, as in Keras's functional graphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from signs_lightning.translate.values import (
    Method,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)


@dataclass(eq=False)
class Node:
    """One call of a layer, an operation or a model.

    Attributes:
        layer: what is called; it has a `name` and an `entry()`.
        args: the positional arguments, which hold tensors, constants, and lists of them.
        kwargs: the others, `training` among them.
        place: of the call.
        count: how many tensors it gives.
        cache: what `tensor_shapes` found of it.
    """

    layer: Any
    args: list[Value]
    kwargs: dict[str, Value]
    place: Place
    count: int = 1
    cache: dict[str, Any] = field(default_factory=dict)

    def tensors(self) -> list[SymbolicTensor]:
        """Return the tensors among the arguments, in order."""
        return list(tensors_in([self.args, self.kwargs]))


@dataclass(frozen=True)
class SymbolicTensor(Record):
    """The result of a call.

    Attributes:
        node: the call.
        index: which of its results.
    """

    node: Node
    index: int = 0

    def describe(self) -> str:
        return f"the output of {self.node.layer.name}"

    def attribute(self, name: str, place: Place) -> Value:
        from signs_lightning.translate import tensor_shapes

        if name in ("shape", "_keras_shape"):
            return tensor_shapes.shape_of(self, place)
        if name == "get_shape":
            return Method(name, lambda args, kwargs, at: tensor_shapes.shape_of(self, at))
        if name in ("name", "op"):
            return self.node.layer.name
        if name == "dtype":
            return "float32"
        if name == "ndim":
            shape = tensor_shapes.shape_of(self, place)
            return shape if isinstance(shape, Unknown) else len(shape)
        if name == "_keras_history":
            return (self.node.layer, 0, self.index)
        raise NotUnderstoodError(f".{name} of {self.describe()}")

    def item(self, index: Value, place: Place) -> Value:
        from signs_lightning.translate.tensor_operations import get_item

        return get_item(self, index, place)

    def operate(self, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
        from signs_lightning.translate.tensor_operations import operate

        return operate(self, operator, other, is_reflected, place)


def tensors_in(value: Any) -> Iterator[SymbolicTensor]:
    """Yield the symbolic tensors inside a value, in Keras's order."""
    if isinstance(value, SymbolicTensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from tensors_in(value[key])


def holds_tensor(value: Any) -> bool:
    """Return whether a value is or has a symbolic tensor."""
    return next(tensors_in(value), None) is not None
