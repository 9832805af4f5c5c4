"""The calls of a Functional model: the inbound nodes of Keras 2 and of Keras 3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from signs_lightning.keras_io.attention_calls import ATTENTIONS, order_arguments
from signs_lightning.keras_io.config_entries import Entry, name_of, raise_malformed
from signs_lightning.keras_io.model_graph import LayerPath

INDICES = ("__ellipsis__", "__slice__")  # of `x[..., ::-1]`: parts of one constant argument
CallKey = tuple[str, int]  # name of a layer, and which of its calls
Node = tuple[tuple[Any, ...], bool | None]  # arguments and `training` flag of a call


@dataclass(frozen=True)
class Reference:
    """The result of the `key[1]`-th call of the layer named `key[0]`."""

    key: CallKey


def references(arguments: tuple[Any, ...]) -> list[CallKey]:
    """Return which calls some arguments refer to."""
    return [argument.key for argument in arguments if isinstance(argument, Reference)]


def inbound_nodes(entry: Entry, path: LayerPath) -> list[Node]:
    """Return the arguments and the `training` flag of each call of a layer.

    Raises:
        InputError: the config is malformed.
    """
    nodes = entry.get("inbound_nodes", [])
    if not isinstance(nodes, list):
        kind = type(nodes).__name__
        problem = f"has inbound_nodes of type {kind} in '{name_of(entry)}', expected a list"
        raise_malformed(problem, path)
    if entry["class_name"] in ATTENTIONS:
        nodes = list(map(order_arguments, nodes))
    return [
        _keras3_node(node, path) if isinstance(node, dict) else _keras2_node(node, path)
        for node in nodes
    ]


def _keras3_node(node: dict[str, Any], path: LayerPath) -> Node:
    """Read {"args": [tensor or constant or list of these], "kwargs": {…}}."""
    arguments, kwargs = node.get("args", []), node.get("kwargs", {})
    if not isinstance(arguments, list) or not isinstance(kwargs, dict):
        raise_malformed(f"has a call with args {str(arguments)[:40]}, expected a list", path)
    flat: list[Any] = []
    for argument in [*arguments, *_extra_arguments(kwargs)]:
        is_several = isinstance(argument, list) and any(
            isinstance(item, dict) and item.get("class_name") not in INDICES for item in argument
        )
        flat += [_keras3_argument(item, path) for item in (argument if is_several else [argument])]
    return tuple(flat), kwargs.get("training")


def _keras3_argument(argument: Any, path: LayerPath) -> Any:
    if not isinstance(argument, dict):
        return argument
    class_name, config = argument.get("class_name"), argument.get("config")
    if class_name == "__keras_tensor__" and isinstance(config, dict):
        return _read_reference(config.get("keras_history"), path)
    if class_name in ("__tensor__", "__numpy__") and isinstance(config, dict):
        return config.get("value")
    return raise_malformed(f"passes {str(argument)[:40]} to a layer, expected a tensor", path)


def _keras2_node(node: Any, path: LayerPath) -> Node:
    """Read [["conv2d", 0, 0, {kwargs}], …].

    A single tensor may lack the outer list, and old versions wrote no kwargs.
    """
    tensors = [node] if isinstance(node, list) and node and isinstance(node[0], str) else node
    if not isinstance(tensors, list):
        raise_malformed(f"has an inbound node {str(node)[:40]}, expected a list", path)
    arguments: list[Any] = []
    training = None
    for tensor in tensors:
        if not isinstance(tensor, list) or len(tensor) not in (3, 4):
            problem = f"has an inbound node {str(tensor)[:40]}, expected a name and two numbers"
            raise_malformed(problem, path)
        is_constant = tensor[0] == "_CONSTANT_VALUE"
        arguments.append(tensor[2] if is_constant else _read_reference(tensor[:3], path))
        kwargs = tensor[3] if len(tensor) == 4 and isinstance(tensor[3], dict) else {}
        training = kwargs.get("training", training)
        for value in _extra_arguments(kwargs):
            is_tensor = isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)
            arguments.append(_read_reference(value, path) if is_tensor else value)
    return tuple(arguments), training


def _extra_arguments(kwargs: dict[str, Any]) -> list[Any]:
    """Return the keyword arguments that are values of the graph."""
    ignored = {"training", "mask", "name"}
    return [value for key, value in kwargs.items() if key not in ignored and value is not None]


def _read_reference(history: Any, path: LayerPath) -> Reference:
    if not (isinstance(history, list) and len(history) == 3 and isinstance(history[0], str)):
        problem = f"refers to {str(history)[:40]}, expected a layer's name and two numbers"
        raise_malformed(problem, path)
    if not (isinstance(history[1], int) and history[2] == 0):
        problem = f"refers to {str(history)[:40]}, expected the first output of a call"
        raise_malformed(problem, path)
    return Reference((history[0], history[1]))


def endpoints(value: Any, key: str, path: LayerPath) -> list[CallKey]:
    """Read input_layers or output_layers: ["image", 0, 0], a list or a dict.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = [value]
    if not isinstance(value, list) or not value:
        problem = f"has {key} {str(value)[:40]}, expected a layer's name and two numbers"
        raise_malformed(problem, path)
    return [_read_reference(item, path).key for item in value]


def call_order(
    nodes: dict[str, list[Node]],
    models: set[str],
    start: CallKey,
    end: CallKey,
    path: LayerPath,
) -> Iterator[tuple[CallKey, Node]]:
    """Yield the calls that lead to the output, each after those it depends on.

    Args:
        nodes: the calls of each layer.
        models: those of the layers that are models themselves.
        start: the input layer, whose value is known.
        end: the call that gives the output.
        path: the model, for messages.

    Raises:
        InputError: a call refers to one that does not exist, or to itself through others.
    """
    # Some versions count the calls of a model inside the model from 1: building it was call 0.
    first_call = dict.fromkeys(nodes, 0)
    arguments_of_all = [arguments for calls in nodes.values() for arguments, _ in calls]
    for name, index in [
        end,
        *(key for arguments in arguments_of_all for key in references(arguments)),
    ]:
        if name in models and index >= len(nodes[name]):
            first_call[name] = 1
    done, pending, waiting = {start}, [end], set()
    while pending:
        key = pending[-1]
        name = key[0]
        if key in done:
            pending.pop()
            continue
        if name not in nodes:
            raise_malformed(f"refers to a layer '{name}' that it does not have", path)
        index, count = key[1] - first_call[name], len(nodes[name])
        if not 0 <= index < count:
            raise_malformed(f"refers to call {key[1]} of '{name}', which has {count}", path)
        missing = [other for other in references(nodes[name][index][0]) if other not in done]
        if missing:
            waiting.add(key)
            if loop := waiting & set(missing):
                name = next(iter(loop))[0]
                raise_malformed(f"calls its layers in a circle through '{name}'", path)
            pending += missing
            continue
        waiting.discard(key)
        yield key, nodes[name][index]
        done.add(pending.pop())
