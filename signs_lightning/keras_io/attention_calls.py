"""Puts the arguments of calls of attention layers in one order.

Keras writes some by position and some by name, in the order of the call. Here they become query,
value and key by position, and behind these the names of all flags and masks that are set.
"""

from __future__ import annotations

from typing import Any

CAUSAL = "use_causal_mask"
ATTENTIONS = {"MultiHeadAttention", "Attention", "AdditiveAttention"}
TENSORS = ("query", "value", "key")
IGNORED = {"training", "name", "inputs", *TENSORS}


def order_arguments(node: Any) -> Any:
    """Return an inbound node of an attention layer with all arguments by position."""
    if isinstance(node, dict):
        return _of_keras3(node)
    return _of_keras2(node) if isinstance(node, list) and node else node


def _of_keras3(node: dict[str, Any]) -> dict[str, Any]:
    arguments, kwargs = node.get("args"), node.get("kwargs")
    if not isinstance(arguments, list) or not isinstance(kwargs, dict):
        return node
    if isinstance(kwargs.get("inputs"), list):
        arguments = [*arguments, kwargs["inputs"]]
    if arguments and isinstance(arguments[0], list):  # [query, value, key] of Attention
        arguments = [*arguments[0], *arguments[1:]]
    others = _others(kwargs)
    masks = [value for value in others.values() if isinstance(value, dict)]
    arguments = [*_tensors(arguments, kwargs), *others, *masks]
    return {"args": arguments, "kwargs": {"training": kwargs.get("training")}}


def _of_keras2(node: list[Any]) -> list[Any]:
    tensors = [node] if isinstance(node[0], str) else node
    kwargs: dict[str, Any] = {}
    for tensor in tensors:
        if isinstance(tensor, list) and len(tensor) == 4 and isinstance(tensor[3], dict):
            kwargs |= tensor[3]
    positional = [tensor[:3] if isinstance(tensor, list) else tensor for tensor in tensors]
    first, *rest = _tensors(positional, kwargs)
    if isinstance(first, list):
        first = [*first, {"training": kwargs.get("training")}]
    others = _others(kwargs)
    flags = [["_CONSTANT_VALUE", -1, name] for name in others]
    masks = [value for value in others.values() if isinstance(value, list) and len(value) == 3]
    return [first, *rest, *flags, *masks]


def _tensors(positional: list[Any], kwargs: dict[str, Any]) -> list[Any]:
    """Return query, value and, where it is given, key; what is more than these stays behind."""
    named = dict(zip(TENSORS, positional, strict=False))
    named |= {name: kwargs[name] for name in TENSORS if kwargs.get(name) is not None}
    ordered = [named[name] for name in TENSORS if named.get(name) is not None]
    return ordered + [value for value in positional[len(TENSORS) :] if value is not None]


def _others(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the flags and masks that are set, by their names."""
    return {
        name: value
        for name, value in kwargs.items()
        if name not in IGNORED and value not in (None, False) and not _is_empty(value)
    }


def _is_empty(value: Any) -> bool:
    return isinstance(value, list) and all(item is None for item in value)
