"""Rewrites a model's config, of any version of Keras, in Keras 3's spelling."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from signs_lightning.keras_io.config_entries import MODELS, Entry, model_config, name_of
from signs_lightning.keras_io.inbound_nodes import is_keras3_node
from signs_lightning.keras_io.keras3_layers import (
    CLASSES,
    Notes,
    keras3_entry,
    translate_layer,
)
from signs_lightning.keras_io.layer_context import is_integer
from signs_lightning.keras_io.model_graph import Graph, LayerPath
from signs_lightning.keras_io.old_configs import translate_config

MODEL_KEYS = {"name", "trainable", "layers", "input_layers", "output_layers"}
FUNCTIONAL = ("keras.src.models.functional", "Functional")


class Keras3Config:
    """A model's config in Keras 3's spelling.

    The layers keep their order, and all but those with a `/`, which Keras 3 refuses, their names.

    Args:
        model: the config, of any version.
        graph: what it was parsed to.
        ranks: how many axes the input of a layer has, the batch among them; needed of those that
            are `x[..., 0]`, since Keras reads no ellipsis from the older format.

    Attributes:
        entry: the model as Keras 3's `to_json` gives it.
        added: paths of layers that the original does not have.
        notes: what is written as something else.
    """

    def __init__(
        self, model: Entry, graph: Graph, ranks: Mapping[LayerPath, int] | None = None
    ) -> None:
        self.ranks = ranks or {}
        self.keras = next(iter(graph.layers.values())).keras
        self.input_shape = graph.input_shape
        self.added: set[LayerPath] = set()
        self.notes = Notes()
        self.entry = self._model(translate_config(model), ())

    def _model(self, model: Entry, path: LayerPath) -> Entry:
        config = {"name": "sequential", **model_config(model, "the model")}
        if self.keras < 3:
            config = {key: value for key, value in config.items() if key in MODEL_KEYS}
        entries = config["layers"]
        names = self._new_names(entries)
        is_sequential = model["class_name"] == "Sequential"
        calls = None if is_sequential else _Calls(config, names, self.keras)
        written: list[Entry] = []
        for entry in entries:
            name = names[name_of(entry)]
            first, *others = self._translate(entry, name, (*path, name))
            group = path if calls is None else (*path, name)
            taken = [*names.values(), *map(name_of, written)]
            for other in others:
                other["config"]["name"] = _unused(name_of(other), taken)
                self.added.add((*group, name_of(other)))
            if calls is None:
                written += [first, *others]
                continue
            if others:
                inner = {"name": name, "layers": [first, *others]}
                first = keras3_entry("Sequential", inner) | {"module": "keras"}
            nodes = calls.nodes(entry)
            if rank := self.ranks.get((*path, name)):
                nodes = [{**node, "args": _without_ellipsis(node["args"], rank)} for node in nodes]
            first |= {"name": name, "inbound_nodes": nodes}
            written.append(first)
        config["layers"] = written
        if calls is not None:
            ends = ("input_layers", "output_layers")
            config |= {key: calls.ends(config[key]) for key in ends}
        elif not path and not config.get("build_input_shape"):
            self._add_input(config)
        own = model if self.keras >= 3 else {}
        module, registered = ("keras", "Sequential") if is_sequential else FUNCTIONAL
        return {
            "module": own.get("module", module),
            "class_name": CLASSES.get(model["class_name"], model["class_name"]),
            "config": config,
            "registered_name": own.get("registered_name", registered),
            **({"build_config": own["build_config"]} if "build_config" in own else {}),
        }

    def _new_names(self, entries: list[Entry]) -> dict[str, str]:
        """Return the names of layers without `/`, which Keras 3 refuses."""
        names: dict[str, str] = {}
        for entry in entries:
            name = name_of(entry)
            if "/" not in name:
                names[name] = name
                continue
            names[name] = _unused(name.replace("/", "_"), [*map(name_of, entries), *names.values()])
            self.notes.change("{} is named with _ in place of /", entry)
        return names

    def _translate(self, entry: Entry, name: str, path: LayerPath) -> list[Entry]:
        entry = entry | {"name": name}
        if isinstance(entry["config"], dict):
            entry["config"] = entry["config"] | {"name": name}
        if entry["class_name"] in MODELS:
            return [self._model(entry, path)]
        return translate_layer(entry, self.keras, self.notes)

    def _add_input(self, config: dict[str, Any]) -> None:
        """Let a Sequential begin with its input's shape, which Keras 2 kept in the first layer."""
        if config["layers"][0]["class_name"] != "InputLayer":
            name = _unused("image", map(name_of, config["layers"]))
            own = {"batch_shape": [None, *self.input_shape], "dtype": "float32", "name": name}
            config["layers"] = [keras3_entry("InputLayer", own), *config["layers"]]


class _Calls:
    """The calls of a Functional model's layers, as Keras 3 writes them.

    Args:
        config: the model's.
        names: the new names of its layers by the old ones.
        keras: major version of the Keras that wrote it.
    """

    def __init__(self, config: dict[str, Any], names: dict[str, str], keras: int) -> None:
        self.names, self.keras = names, keras
        entries = config["layers"]
        self.functional = {
            name_of(e) for e in entries if e["class_name"] in ("Model", "Functional")
        }
        nodes = {name_of(entry): entry.get("inbound_nodes", []) for entry in entries}
        # tf.keras counts the calls of a model inside the model from 1: building it was call 0.
        self.from_one = {
            name
            for name, index in _references([*nodes.values(), config["output_layers"]], names)
            if name in nodes and index >= max(1, len(nodes[name]))
        }

    def nodes(self, entry: Entry) -> list[Any]:
        """Return the inbound nodes of a layer."""
        nodes = entry.get("inbound_nodes", [])
        if self.keras >= 3:
            return nodes
        is_causal = entry["config"].get("causal") is True  # of Attention, before tf.keras 2.10
        flag = {"use_causal_mask": True} if is_causal else {}
        written = []
        for node in nodes:
            if is_keras3_node(node):  # of an operation
                args = (
                    node["args"]
                    if entry["class_name"] == "GetItem"
                    else map(_as_array, node["args"])
                )
                written.append({"args": self._convert(list(args)), "kwargs": {}})
                continue
            values, arguments = self._read(node)
            written.append({"args": values, "kwargs": arguments | flag})
        return written

    def ends(self, value: Any) -> Any:
        """Return `input_layers` or `output_layers`; one of them alone is in no list."""
        if self.keras >= 3:
            return value
        if isinstance(value, dict):
            return {key: self._end(item) for key, item in value.items()}
        if isinstance(value[0], str):
            return self._end(value)
        return self._end(value[0]) if len(value) == 1 else [self._end(item) for item in value]

    def _end(self, history: list[Any]) -> list[Any]:
        name, index, output = self._history(history)
        # Keras 3 counts the calls of a Functional from 1 here, and only here.
        return [name, index + (history[0] in self.functional), output]

    def _history(self, value: list[Any]) -> list[Any]:
        return [self.names[value[0]], value[1] - (value[0] in self.from_one), value[2]]

    def _read(self, node: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a call by position, and those by name."""
        if isinstance(node, dict):  # a model's inputs by name
            return [{key: self._convert(tensor) for key, tensor in node.items()}], {}
        tensors = [node] if node and isinstance(node[0], str) else node
        arguments: dict[str, Any] = {}
        for tensor in tensors:
            arguments |= tensor[3] if len(tensor) > 3 else {}
        values = list(map(self._convert, tensors))
        named = {key: self._convert(value) for key, value in arguments.items() if value is not None}
        return values if len(values) == 1 else [values], named

    def _convert(self, value: Any) -> Any:
        """Return an argument with all references to calls in Keras 3's spelling."""
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                return self._convert(value["config"]["keras_history"])
            return {key: self._convert(item) for key, item in value.items()}
        if not isinstance(value, list):
            return value
        if value[:1] == ["_CONSTANT_VALUE"]:
            return _as_array(value[2])
        if _is_reference(value, self.names):
            config = {"shape": [], "dtype": "float32", "keras_history": self._history(value)}
            return {"class_name": "__keras_tensor__", "config": config}
        return [self._convert(item) for item in value]


def _without_ellipsis(args: list[Any], rank: int) -> list[Any]:
    """Return the arguments of `x[...]` with slices of all for an ellipsis."""
    value, key = args
    entries = key if isinstance(key, list) else [key]
    places = [k for k, entry in enumerate(entries) if isinstance(entry, dict)]
    place = next((k for k in places if entries[k]["class_name"] == "__ellipsis__"), None)
    if place is None:
        return args
    everything = {"class_name": "__slice__", "config": dict.fromkeys(("start", "stop", "step"))}
    missing = [everything] * (rank + 1 - len(entries))
    return [value, [*entries[:place], *missing, *entries[place + 1 :]]]


def _as_array(value: Any) -> Any:
    """Return a nested list of numbers as an array, and others as they are."""
    if not isinstance(value, list) or not value:
        return value
    numbers = value
    while any(isinstance(number, list) for number in numbers):
        numbers = [n for part in numbers for n in (part if isinstance(part, list) else [part])]
    if not all(isinstance(number, int | float) for number in numbers):
        return value
    dtype = "int32" if all(map(is_integer, numbers)) else "float32"
    return {"class_name": "__numpy__", "config": {"value": value, "dtype": dtype}}


def _is_reference(value: Any, names: Container[str]) -> bool:
    """Return whether a value is ["conv", 0, 0], perhaps with arguments behind it."""
    is_list = isinstance(value, list) and 3 <= len(value) <= 4
    return is_list and isinstance(value[0], str) and value[0] in names and is_integer(value[1])


def _references(value: Any, names: Container[str]) -> Iterator[tuple[str, int]]:
    """Yield the layer and the number of each call that a nested list refers to."""
    if _is_reference(value, names):
        yield value[0], value[1]
    parts = value.values() if isinstance(value, dict) else value
    for part in parts if isinstance(value, list | dict) else ():
        yield from _references(part, names)


def _unused(name: str, taken: Iterable[str]) -> str:
    taken = set(taken)
    while name in taken:
        name += "_"
    return name
