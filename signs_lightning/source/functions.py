"""Functions of tensors as the code that calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from signs_lightning.keras_io import activations, axis_order, merging_layers, shape_ops
from signs_lightning.keras_io import stateless_layers as stateless
from signs_lightning.source.constructors import expression
from signs_lightning.source.expressions import Call, Method, Operation, Ref
from signs_lightning.source.references import reference

OPERATORS: dict[Any, str] = {
    torch.add: "+",
    torch.sub: "-",
    torch.mul: "*",
    torch.div: "/",
    torch.gt: ">",
    torch.ge: ">=",
    torch.lt: "<",
    torch.le: "<=",
}
Ranks = tuple[tuple[int, ...], int]  # of the inputs and of the result, the batch included


def call_function(function: Any, inputs: list[Any], ranks: Ranks) -> Any:
    """Return the code that calls a function of tensors.

    Args:
        function: it, or a partial of it.
        inputs: the code of its arguments; numbers may be among them.
        ranks: how many axes the tensors have.
    """
    keywords: dict[str, Any] = {}
    while isinstance(function, partial):
        keywords = function.keywords | keywords
        inputs, function = [*map(expression, function.args), *inputs], function.func
    if function in OPERATORS and not keywords and len(inputs) == 2:
        return Operation(OPERATORS[function], tuple(inputs))
    if writer := WRITERS.get(function):
        written = writer(inputs, keywords, ranks)
        if written is not None:
            return written
    arguments = [("", value) for value in inputs]
    arguments += [(k, expression(v)) for k, v in _without_defaults(function, keywords).items()]
    return Call(reference(function), tuple(arguments))


def takes_operators(function: Any) -> bool:
    """Return whether a function is an operator of Python, and so takes numbers."""
    if isinstance(function, partial) and function.func is merging_layers._fold:
        return function.args[0] in OPERATORS
    return function in OPERATORS


def _without_defaults(function: Any, keywords: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a function that are not its defaults."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a compiled one; those of reductions have this one
        return {key: value for key, value in keywords.items() if (key, value) != ("keepdim", False)}
    return {
        key: value
        for key, value in keywords.items()
        if key not in parameters or parameters[key].default != value
    }


def _fold(inputs: list[Any], keywords: dict[str, Any], ranks: Ranks) -> Any:
    function, *values = inputs
    joined = {reference(f): operator for f, operator in OPERATORS.items()}
    if function in joined:
        return Operation(joined[function], tuple(values))
    result = values[0]
    for value in values[1:]:
        result = Call(function, (("", result), ("", value)))
    return result


def _average(inputs: list[Any], keywords: dict[str, Any], ranks: Ranks) -> Any:
    return Operation("/", (Operation("+", tuple(inputs)), len(inputs)))


def _cat(inputs: list[Any], keywords: dict[str, Any], ranks: Ranks) -> Any:
    return Call(Ref("torch", "cat"), (("", tuple(inputs)), ("dim", keywords["axis"])))


def _relu(inputs: list[Any], keywords: dict[str, Any], ranks: Ranks) -> Any:
    if keywords.get("threshold") or keywords.get("negative_slope"):
        return None
    most = keywords.get("max_value")
    if most == 6:
        return wrapped(F.relu6, inputs[0])
    written = wrapped(F.relu, inputs[0])
    return written if most is None else Method(written, "clamp", (("max", most),))


def _reshape(inputs: list[Any], keywords: dict[str, Any], ranks: Ranks) -> Any:
    sizes = keywords["shape"]
    return Method(inputs[0], "reshape", tuple(("", size) for size in (-1, *sizes)))


def _in_keras_order(inputs: list[Any], keywords: dict[str, Any], ranks: Ranks) -> Any:
    return reordered(keywords["function"], inputs, ranks, keywords["channels_last"])


def reordered(function: Any, inputs: list[Any], ranks: Ranks, channels_last: bool) -> Any:
    """Return the code that calls a function of tensors in Keras's order of axes."""
    given, result = ranks
    if not channels_last:
        return call_function(function, inputs, ranks)
    if given == (2,) and _is_unflattening(function):  # (N, C) -> (N, C, 1, 1)
        return Method(inputs[0], "unflatten", (("", 1), ("", (-1, 1, 1))))
    values = []
    for value, rank in zip(inputs, given, strict=True):
        values.append(wrapped(axis_order.to_keras_order, value) if rank == 4 else value)
    written = call_function(function, values, ranks)
    return wrapped(axis_order.from_keras_order, written) if result == 4 else written


def _is_unflattening(function: Any) -> bool:
    """Return whether a function reshapes (N, C) to Keras's (N, 1, 1, C)."""
    if not isinstance(function, partial) or function.func not in RESHAPES:
        return False
    return len(function.keywords["shape"]) == 3 and list(function.keywords["shape"][:2]) == [1, 1]


def wrapped(function: Callable[..., Any], value: Any) -> Call:
    """Return the code of a function of one value."""
    return Call(reference(function), (("", value),))


RESHAPES = (stateless._reshape, shape_ops._reshape)
WRITERS: dict[Any, Callable[[list[Any], dict[str, Any], Ranks], Any]] = {
    merging_layers._fold: _fold,
    merging_layers._average: _average,
    merging_layers._concatenate: _cat,
    activations.relu: _relu,
    activations.linear: lambda inputs, keywords, ranks: inputs[0],
    **dict.fromkeys(RESHAPES, _reshape),
    axis_order.in_keras_order: _in_keras_order,
}
