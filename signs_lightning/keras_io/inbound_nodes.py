"""How the calls of a Functional model are written down: the inbound nodes of Keras 2 and of Keras 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

MAX_NAME_LENGTH = 256  # characters of a layer's name
INDICES = ("__ellipsis__", "__slice__")  # of `x[..., ::-1]`: parts of one constant argument


@dataclass(frozen=True)
class Reference:
    """The result of the `key[1]`-th call of the layer named `key[0]`."""

    key: tuple[str, int]


def references(arguments: tuple[Any, ...]) -> list[tuple[str, int]]:
    return [argument.key for argument in arguments if isinstance(argument, Reference)]


def inbound_nodes(
    entry: dict[str, Any], path: tuple[str, ...]
) -> list[tuple[tuple[Any, ...], bool | None]]:
    """The calls of a layer: arguments (references and constants), and the `training` flag."""
    nodes = entry.get("inbound_nodes", [])
    if not isinstance(nodes, list):
        malformed(
            f"has inbound_nodes of type {type(nodes).__name__} in "
            f"'{name_of(entry)}', expected a list",
            path,
        )
    return [
        _new_node(node, path) if isinstance(node, dict) else _old_node(node, path) for node in nodes
    ]


def _new_node(node: dict[str, Any], path: tuple[str, ...]) -> tuple[tuple[Any, ...], bool | None]:
    """Keras 3: {"args": [tensor or constant or list of these], "kwargs": {…}}."""
    arguments, kwargs = node.get("args", []), node.get("kwargs", {})
    if not isinstance(arguments, list) or not isinstance(kwargs, dict):
        malformed(f"has a call with args {str(arguments)[:40]}, expected a list", path)
    flat: list[Any] = []
    for argument in [*arguments, *_meaningful(kwargs)]:
        several = isinstance(argument, list) and any(
            isinstance(item, dict) and item.get("class_name") not in INDICES for item in argument
        )
        flat += [_new_argument(item, path) for item in (argument if several else [argument])]
    return tuple(flat), kwargs.get("training")


def _new_argument(argument: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(argument, dict):
        return argument
    config = argument.get("config")
    if argument.get("class_name") == "__keras_tensor__" and isinstance(config, dict):
        return _reference(config.get("keras_history"), path)
    if argument.get("class_name") in ("__tensor__", "__numpy__") and isinstance(config, dict):
        return config.get("value")
    return malformed(f"passes {str(argument)[:40]} to a layer, expected a tensor", path)


def _old_node(node: Any, path: tuple[str, ...]) -> tuple[tuple[Any, ...], bool | None]:
    """Keras 2: [["conv2d", 0, 0, {kwargs}], …]; a single one may stand without its outer list, and old ones lack the kwargs."""
    tensors = [node] if isinstance(node, list) and node and isinstance(node[0], str) else node
    if not isinstance(tensors, list):
        malformed(f"has an inbound node {str(node)[:40]}, expected a list", path)
    arguments: list[Any] = []
    training = None
    for tensor in tensors:
        if not isinstance(tensor, list) or len(tensor) not in (3, 4):
            malformed(
                f"has an inbound node {str(tensor)[:40]}, expected a name and two numbers", path
            )
        arguments.append(
            tensor[2] if tensor[0] == "_CONSTANT_VALUE" else _reference(tensor[:3], path)
        )
        kwargs = tensor[3] if len(tensor) == 4 and isinstance(tensor[3], dict) else {}
        training = kwargs.get("training", training)
        for value in _meaningful(kwargs):
            is_tensor = isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)
            arguments.append(_reference(value, path) if is_tensor else value)
    return tuple(arguments), training


def _meaningful(kwargs: dict[str, Any]) -> list[Any]:
    return [
        value
        for key, value in kwargs.items()
        if key not in {"training", "mask", "name"} and value is not None
    ]


def _reference(history: Any, path: tuple[str, ...]) -> Reference:
    if not (isinstance(history, list) and len(history) == 3 and isinstance(history[0], str)):
        malformed(f"refers to {str(history)[:40]}, expected a layer's name and two numbers", path)
    if not (isinstance(history[1], int) and history[2] == 0):
        malformed(f"refers to {str(history)[:40]}, expected the first output of a call", path)
    return Reference((history[0], history[1]))


def endpoints(value: Any, key: str, path: tuple[str, ...]) -> list[tuple[str, int]]:
    """input_layers or output_layers: ["image", 0, 0], a list of these, or a dict of them."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = [value]
    if not isinstance(value, list) or not value:
        malformed(f"has {key} {str(value)[:40]}, expected a layer's name and two numbers", path)
    return [_reference(item, path).key for item in value]


def name_of(entry: dict[str, Any]) -> str:
    config = entry["config"]
    name = entry.get("name") or (config.get("name") if isinstance(config, dict) else "sequential")
    if not isinstance(name, str):
        raise InputError(
            f"A {entry['class_name']} is named {shorten(repr(name))}, expected text. Save the "
            "model again with Keras."
        )
    if len(name) > MAX_NAME_LENGTH:
        raise InputError(
            f"A layer's name has {len(name):,} characters ('{shorten(name)}'). "
            "Do not trust this file."
        )
    return name


def malformed(what: str, path: tuple[str, ...]) -> NoReturn:
    where = f"The model '{shorten('/'.join(path))}'" if path else "The model"
    raise InputError(f"{where} {shorten(what, 200)}. Save the model again with Keras.")
