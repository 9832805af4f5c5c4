"""Cuts a Keras model down to what leads to one of its outputs, as a config of its own.

Layers, calls, and the inputs and outputs of models inside the model that do not lead there go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.keras_io.config_entries import (
    MODELS,
    Entry,
    keras_major,
    layer_entries,
    model_config,
    name_of,
)
from signs_lightning.keras_io.file_errors import untrusted_file
from signs_lightning.keras_io.inbound_nodes import (
    CallKey,
    Reference,
    count_from_zero,
    endpoint_references,
    first_calls,
    inbound_nodes,
    is_keras3_node,
)
from signs_lightning.keras_io.model_graph import LayerPath

MAX_PARTS = 20_000  # of models inside models that are looked at
DROPPED = object()


@dataclass(frozen=True)
class _Part:
    """What of a model leads to some of its outputs.

    Attributes:
        inputs: which inputs of the model.
        live: calls of a Functional, counted from 0.
        used: tensors that are used of each layer inside a Functional.
    """

    inputs: list[int]
    live: set[CallKey] = field(default_factory=set)
    used: Mapping[str, set[int]] = field(default_factory=dict)


class _Functional:
    """The entries and calls of a Functional model."""

    def __init__(self, model: Entry, path: LayerPath, keras: int) -> None:
        self.config = model_config(model, "/".join(path) or "the model")
        self.entries = {name_of(entry): entry for entry in layer_entries(model, path)}
        self.inputs = endpoint_references(self.config["input_layers"], "input_layers", path)
        outputs = endpoint_references(self.config["output_layers"], "output_layers", path)
        nodes = {name: inbound_nodes(entry, path) for name, entry in self.entries.items()}
        self.models = {n: e["class_name"] for n, e in self.entries.items() if _is_model(e)}
        self.first_calls = first_calls(nodes, outputs, self.models, keras)
        inside, at_end = self.first_calls
        self.outputs = [count_from_zero(end, at_end) for end in outputs]
        self.arguments: dict[CallKey, list[Reference]] = {
            (name, k): [count_from_zero(a, inside) for a in given if isinstance(a, Reference)]
            for name, calls in nodes.items()
            for k, (given, _) in enumerate(calls)
        }

    def input_places(self, key: CallKey) -> list[int]:
        """Return where a call of a model has its inputs, in the model's own order."""
        names, config = [a.name for a in self.arguments[key]], self.entries[key[0]]["config"]
        places = list(range(len(names)))
        if None in names or self.models[key[0]] == "Sequential":
            return places
        ends = endpoint_references(config["input_layers"], "input_layers", ())
        own_names = [end.name or end.key[0] for end in ends]
        return [names.index(n) for n in own_names] if set(names) >= set(own_names) else places


def cut_to_output(config: Entry, keras_version: str | None, output: int) -> Entry:
    """Return the config of the part of a model that leads to one of its outputs.

    Args:
        config: a model that `read_graph` reads.
        keras_version: of the Keras that wrote it; taken from the config when omitted.
        output: which of the outputs, in the order of `output_names`.
    """
    return _Cutter(keras_major(config, keras_version)).rewrite(config, (), frozenset([output]))


class _Cutter:
    def __init__(self, keras: int) -> None:
        self.keras = keras
        self.parts: dict[tuple[LayerPath, frozenset[int]], _Part] = {}
        self.functionals: dict[LayerPath, _Functional] = {}

    def _functional(self, model: Entry, path: LayerPath) -> _Functional:
        if path not in self.functionals:
            self.functionals[path] = _Functional(model, path, self.keras)
        return self.functionals[path]

    def _find(self, model: Entry, path: LayerPath, wanted: frozenset[int]) -> _Part:
        """Return what of a model leads to the outputs `wanted`."""
        if (path, wanted) not in self.parts:
            if len(self.parts) >= MAX_PARTS:
                raise untrusted_file(f"The model has more than {MAX_PARTS:,} parts")
            if model["class_name"] == "Sequential":
                first, ends = self._in_sequential(model, path, wanted)[0]
                part = (
                    self._find(first, (*path, name_of(first)), ends) if _is_model(first) else None
                )
                self.parts[path, wanted] = _Part([0] if part is None else part.inputs)
            else:
                self.parts[path, wanted] = self._find_in_functional(model, path, wanted)
        return self.parts[path, wanted]

    def _in_sequential(
        self, model: Entry, path: LayerPath, wanted: frozenset[int]
    ) -> list[tuple[Entry, frozenset[int]]]:
        """Return the entries of a Sequential, and which outputs of each are wanted."""
        pairs = []
        for entry in reversed(layer_entries(model, path)):
            pairs.append((entry, wanted))
            inner = (*path, name_of(entry))
            wanted = frozenset(self._find(entry, inner, wanted).inputs if _is_model(entry) else [0])
        return pairs[::-1]

    def _find_in_functional(self, model: Entry, path: LayerPath, wanted: frozenset[int]) -> _Part:
        functional = self._functional(model, path)
        live = {end.key for end in functional.inputs}
        used: dict[str, set[int]] = defaultdict(set)
        reached: set[CallKey] = set()
        pending = [functional.outputs[k] for k in sorted(wanted)]
        while pending:
            end = pending.pop()
            name = end.key[0]
            is_new_call, is_new_tensor = end.key not in reached, end.tensor not in used[name]
            reached.add(end.key)
            used[name].add(end.tensor)
            if end.key in live or not (is_new_call or is_new_tensor):
                continue
            if name not in functional.models:
                pending += functional.arguments[end.key] if is_new_call else []
                continue
            entry = functional.entries[name]
            inputs = self._find(entry, (*path, name), frozenset(used[name])).inputs
            for key in reached if is_new_tensor else [end.key]:
                if key[0] == name:
                    given, places = functional.arguments[key], functional.input_places(key)
                    pending += [given[places[k]] for k in inputs]
        inputs = [k for k, end in enumerate(functional.inputs) if end.key in reached]
        return _Part(inputs, reached, used)

    def rewrite(self, model: Entry, path: LayerPath, wanted: frozenset[int]) -> Entry:
        """Return the config of the part of a model that leads to the outputs `wanted`."""
        if model["class_name"] == "Sequential":
            config = model["config"]
            entries = [
                self.rewrite(entry, (*path, name_of(entry)), ends) if _is_model(entry) else entry
                for entry, ends in self._in_sequential(model, path, wanted)
            ]
            whole = entries if isinstance(config, list) else config | {"layers": entries}
            return model | {"config": whole}
        functional, part = self._functional(model, path), self._find(model, path, wanted)
        inside, at_end = (_renumbering(functional, part, k) for k in (0, 1))
        entries = []
        for name, entry in functional.entries.items():
            nodes = [
                self._rewrite_call(functional, part, path, (name, index))
                for index in range(len(entry.get("inbound_nodes", [])))
                if (name, index) in part.live
            ]
            if not nodes and (name, 0) not in part.live:
                continue
            if name in functional.models:
                entry = self.rewrite(entry, (*path, name), frozenset(part.used[name]))
            entries.append(entry | {"inbound_nodes": [_map(node, inside) for node in nodes]})
        config = functional.config
        inputs = _keep(config["input_layers"], set(part.inputs), count())
        outputs = _map(_keep(config["output_layers"], set(wanted), count()), at_end)
        if not path:  # Keras would take and give lists of one
            inputs = _unwrap(inputs) if len(part.inputs) < len(functional.inputs) else inputs
            outputs = _unwrap(outputs) if len(functional.outputs) > 1 else outputs
        changed = {"layers": entries, "input_layers": inputs, "output_layers": outputs}
        model = {key: value for key, value in model.items() if key != "build_config"}
        return model | {"config": config | changed}

    def _rewrite_call(
        self, functional: _Functional, part: _Part, path: LayerPath, key: CallKey
    ) -> Any:
        """Return the node of a call, without the inputs that a model inside no longer has."""
        name, index = key
        entry = functional.entries[name]
        node = entry["inbound_nodes"][index]
        if name not in functional.models:
            return node
        kept = self._find(entry, (*path, name), frozenset(part.used[name])).inputs
        places = functional.input_places(key)
        if len(kept) == len(places):
            return node
        keep = {places[k] for k in kept}
        return (
            node | {"args": _keep(node["args"], keep, count())}
            if is_keras3_node(node)
            else (_keep(node, keep, count()))
        )


def _is_model(entry: Entry) -> bool:
    return entry["class_name"] in MODELS


def _renumbering(
    functional: _Functional, part: _Part, where: int
) -> Mapping[tuple[str, int, int], tuple[str, int, int]]:
    """Return new references for old ones, as the file counts them, inside or at the outputs."""
    first, new = functional.first_calls[where], {}
    indices: dict[str, list[int]] = defaultdict(list)
    for name, index in sorted(part.live):
        indices[name].append(index)
    for name, calls in indices.items():
        tensors = sorted(part.used[name])
        for k, index in enumerate(calls):
            for t, tensor in enumerate(tensors):
                start = first.get(name, 0)
                place = t if name in functional.models else tensor
                new[name, index + start, tensor] = (name, k + start, place)
    return new


def _unwrap(value: Any) -> Any:
    """Return the reference in a list or dict of one; several as they are.

    Raises:
        InputError: there is none.
    """
    if not isinstance(value, list | dict) or not value:
        raise InputError(
            "The model's inputs or outputs lead to none of its layers. Save it again with Keras."
        )
    if _is_reference(value) or len(value) > 1:
        return value
    return _unwrap(next(iter(value.values() if isinstance(value, dict) else value)))


def _is_reference(value: Any) -> bool:
    is_list = isinstance(value, list) and len(value) in (3, 4) and isinstance(value[0], str)
    return is_list and all(type(number) is int for number in value[1:3])


def _map(value: Any, new: Mapping[tuple[str, int, int], tuple[str, int, int]]) -> Any:
    """Return JSON with new references."""
    if isinstance(value, dict):
        return {key: _map(part, new) for key, part in value.items()}
    if not isinstance(value, list):
        return value
    if _is_reference(value):
        name, index, tensor, *kwargs = value
        return [*new.get((name, index, tensor), (name, index, tensor)), *_map(kwargs, new)]
    return [_map(part, new) for part in value]


def _keep(value: Any, places: set[int], position: Iterator[int]) -> Any:
    """Return JSON with only some of its references, counted as `inbound_nodes` counts them."""
    is_tensor = isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"
    if is_tensor or _is_reference(value):
        return value if next(position) in places else DROPPED
    if isinstance(value, dict):
        parts = {key: _keep(value[key], places, position) for key in sorted(value)}
        return {key: parts[key] for key in value if parts[key] is not DROPPED}
    if isinstance(value, list):
        kept = [_keep(part, places, position) for part in value]
        return [part for part in kept if part is not DROPPED]
    return value
