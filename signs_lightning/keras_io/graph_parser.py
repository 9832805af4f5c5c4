"""Every spelling of a Keras config → one plain graph: layers, and the order in which they are called.

Sequential (dict, or the list of Keras 2.0), Functional (called Model in Keras 2) and models inside
models all become one flat list of calls. What a spelling means is told by the serialisers of Keras,
`keras/src/models/functional.py` and, before it, `tensorflow/python/keras/engine/functional.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.keras_io.inbound_nodes import (
    MAX_NAME_LENGTH,
    Reference,
    endpoints,
    inbound_nodes,
    malformed,
    name_of,
    references,
)
from signs_lightning.runtime.escaping import shorten

MODELS = ("Sequential", "Functional", "Model")
MAX_LAYERS = 20_000  # NASNetLarge, the largest of keras.applications, has 1,039


@dataclass(frozen=True)
class Value:
    """The result of a call by its place in `Graph.calls`, counted from 1; 0 is the image."""

    index: int


@dataclass(frozen=True)
class Layer:
    """A layer, which may be called more than once.

    Attributes:
        path: its own name after those of the models that it lies in.
        class_name: Keras's class.
        config: Keras's arguments, as in the file.
        keras: major version of the Keras that wrote the file.
        trainable: whether Keras would train it.
        weights_path: its group in a `.weights.h5` file.
    """

    path: tuple[str, ...]
    class_name: str
    config: dict[str, Any]
    keras: int
    trainable: bool
    weights_path: str

    def __str__(self) -> str:
        return f"{self.class_name} '{'/'.join(self.path)}'"


@dataclass(frozen=True)
class Call:
    """A layer applied to values and constants; `training` is the flag fixed in the graph, None where there is none."""

    layer: Layer
    inputs: tuple[Any, ...]
    training: bool | None = None


@dataclass
class Graph:
    """A model of one image and one output.

    Attributes:
        name: of the model.
        image: the input layer's name, where the model has one.
        input_shape: Keras's shape of an image without the batch; None for what may vary.
        channels_first: whether that shape is (C, H, W) instead of (H, W, C).
        layers: in the order of the config, which is the order of the weights in a file.
        models: the models inside the model by their path, and whether each is a Sequential or a
            Functional.
        calls: in an order in which they can be made.
        output: which value is the model's.
        refused: what the file has and the bridge does not know, such as "Lambda 'lambda_1'".
    """

    name: str = ""
    image: str = "image"
    input_shape: tuple[int | None, ...] = ()
    channels_first: bool = False
    layers: dict[tuple[str, ...], Layer] = field(default_factory=dict)
    models: dict[tuple[str, ...], str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    output: Value = Value(0)
    refused: list[str] = field(default_factory=list)


def read_graph(config: dict[str, Any], keras_version: str | None = None) -> Graph:
    """Normalises a model's config.

    Args:
        config: the model as Keras's `to_json` gives it.
        keras_version: of the Keras that wrote it; told from the config's own spelling when omitted.

    Raises:
        InputError: the config contradicts itself: a layer that is missing, called in a circle, or
            named twice.
    """
    return _Reader(config, keras_version).graph


class _Reader:
    def __init__(self, config: dict[str, Any], keras_version: str | None) -> None:
        version = str(
            keras_version or config.get("keras_version") or ("3" if "module" in config else "2")
        )
        self.keras = int(version[0]) if version[:1].isdigit() else 3
        self.graph = Graph()
        if config.get("class_name") not in MODELS:
            raise InputError(
                f"The file holds a {shorten(repr(config.get('class_name')))}, expected a "
                "Sequential or Functional model. "
                "Rebuild it with one of these in Keras and save that."
            )
        root = _layers_of(config, "the model")
        self.graph.name = str(root.get("name", "sequential"))
        self._register(config, (), "")
        self._find_input(config)
        self.graph.output = self._call_model(config, (), Value(0), None)
        called = {call.layer.path for call in self.graph.calls}
        if idle := [layer for path, layer in self.graph.layers.items() if path not in called]:
            raise InputError(
                f"{idle[0]} does not lead from the image to the output. Save the "
                "model again with Keras."
            )

    def _register(
        self,
        model: dict[str, Any],
        path: tuple[str, ...],
        weights_path: str,
        trainable: bool = True,
    ) -> None:
        if isinstance(model["config"], dict):
            trainable = trainable and model["config"].get("trainable", True) is not False
        used: Counter[str] = Counter()
        names = set()
        for entry in _entries(model, path):
            class_name, name = entry["class_name"], name_of(entry)
            if name in names:
                malformed(f"has two layers named '{name}'", path)
            names.add(name)
            here = weights_path
            if not _is_operation(
                entry
            ):  # `.weights.h5` numbers the layers of a class: conv2d, conv2d_1, …
                group = _snake_case(class_name)
                here = f"{weights_path}layers/{group}" + (f"_{used[group]}" if used[group] else "")
                used[group] += 1
            if class_name in MODELS:
                self.graph.models[(*path, name)] = class_name
                self._register(entry, (*path, name), f"{here}/", trainable)
            elif class_name != "InputLayer":
                self._add_layer(entry, (*path, name), here, trainable)
            elif not path:
                self.graph.image = name

    def _add_layer(
        self, entry: dict[str, Any], path: tuple[str, ...], weights_path: str, trainable: bool
    ) -> None:
        config = entry["config"]
        if len(self.graph.layers) >= MAX_LAYERS:
            raise InputError(
                f"The model has more than {MAX_LAYERS:,} layers. Do not trust this file."
            )
        trainable = trainable and config.get("trainable", True) is not False
        layer = Layer(path, entry["class_name"], config, self.keras, trainable, weights_path)
        self.graph.layers[path] = layer
        registered, module = entry.get("registered_name"), entry.get("module")
        if (
            isinstance(registered, str) and ">" in registered
        ):  # "MyPackage>Conv2D" only borrows a known name
            self.graph.refused.append(f"{registered} '{'/'.join(path)}'")
        elif isinstance(module, str) and not re.match(r"(keras|tf_keras|tensorflow)(\.|$)", module):
            self.graph.refused.append(f"{module}.{entry['class_name']} '{'/'.join(path)}'")

    def _find_input(self, model: dict[str, Any]) -> None:
        shape = _input_shape(model)
        if shape is None:
            raise InputError(
                "The model does not say which images it takes. Build it with an input shape in "
                "Keras and save that."
            )
        valid = all(
            size is None or (isinstance(size, int) and not isinstance(size, bool) and size > 0)
            for size in shape
        )
        if len(shape) != 3 or not valid:
            raise InputError(
                f"The model takes inputs of shape {shorten(str(shape))}, expected images of "
                "height, width and channels."
            )
        formats = [
            layer.config["data_format"]
            for layer in self.graph.layers.values()
            if layer.config.get("data_format")
        ]
        self.graph.channels_first = bool(formats) and formats[0] == "channels_first"
        self.graph.input_shape = shape
        if shape[0 if self.graph.channels_first else 2] is None:
            raise InputError(
                f"The model takes images of shape {shape}, expected a number of "
                "channels. Fix it in Keras."
            )

    def _call_model(
        self, model: dict[str, Any], path: tuple[str, ...], image: Value, training: bool | None
    ) -> Value:
        if model["class_name"] != "Sequential":
            return self._call_functional(model, path, image, training)
        value = image
        for entry in _entries(model, path):
            value = self._call(entry, path, (value,), training)
        return value

    def _call(
        self,
        entry: dict[str, Any],
        path: tuple[str, ...],
        inputs: tuple[Any, ...],
        training: bool | None,
    ) -> Value:
        if entry["class_name"] == "InputLayer":
            return inputs[0]
        here = (*path, name_of(entry))
        if entry["class_name"] in MODELS:
            if len(inputs) != 1 or not isinstance(inputs[0], Value):
                malformed(f"calls '{'/'.join(here)}' with {len(inputs)} inputs, expected one", path)
            return self._call_model(entry, here, inputs[0], training)
        self.graph.calls.append(Call(self.graph.layers[here], inputs, training))
        if len(self.graph.calls) > MAX_LAYERS:  # models that call models multiply
            raise InputError(
                f"The model makes more than {MAX_LAYERS:,} calls. Do not trust this file."
            )
        return Value(len(self.graph.calls))

    def _call_functional(
        self, model: dict[str, Any], path: tuple[str, ...], image: Value, training: bool | None
    ) -> Value:
        config = _layers_of(model, "/".join(path) or "the model")
        entries = {name_of(entry): entry for entry in _entries(model, path)}
        nodes = {name: inbound_nodes(entry, path) for name, entry in entries.items()}
        inputs, outputs = (
            endpoints(config.get(key), key, path) for key in ("input_layers", "output_layers")
        )
        for count, what, ends in (
            (len(inputs), "inputs", inputs),
            (len(outputs), "outputs", outputs),
        ):
            if count != 1:
                where = "/".join(path) or self.graph.name
                self.graph.refused.append(
                    f"{count} {what} of '{where}' ({', '.join(name for name, _ in ends)})"
                )
        if (
            len(inputs) != 1 or len(outputs) != 1
        ):  # nothing more can be followed, but every layer has its name by now
            self.graph.calls += [
                Call(layer, (), None)
                for key, layer in self.graph.layers.items()
                if key[: len(path)] == path
            ]
            return image
        if inputs[0][0] not in entries:
            malformed(f"begins with '{inputs[0][0]}', which it does not have", path)
        # Models inside models count their calls from 1 in some versions, because building them was
        # call 0.
        first = dict.fromkeys(entries, 0)
        for key in [
            outputs[0],
            *(ref for calls in nodes.values() for call, _ in calls for ref in references(call)),
        ]:
            if entries.get(key[0], {}).get("class_name") in MODELS and key[1] >= len(nodes[key[0]]):
                first[key[0]] = 1
        done: dict[tuple[str, int], Value] = {(inputs[0][0], inputs[0][1]): image}
        waiting, open_calls = [outputs[0]], set()
        while waiting:
            name, index = key = waiting[-1]
            if key in done:
                waiting.pop()
                continue
            if name not in entries:
                malformed(f"refers to a layer '{name}' that it does not have", path)
            index -= first[name]
            if not 0 <= index < len(nodes[name]):
                malformed(
                    f"refers to call {key[1]} of '{name}', which has {len(nodes[name])}", path
                )
            arguments, flag = nodes[name][index]
            missing = [ref for ref in references(arguments) if ref not in done]
            if missing:
                open_calls.add(key)
                if loop := open_calls & set(missing):
                    malformed(f"calls its layers in a circle through '{next(iter(loop))[0]}'", path)
                waiting += missing
                continue
            open_calls.discard(key)
            values = tuple(
                done[argument.key] if isinstance(argument, Reference) else argument
                for argument in arguments
            )
            done[key] = self._call(
                entries[name], path, values, flag if training is None else training
            )
            waiting.pop()
        return done[outputs[0]]


def _input_shape(model: dict[str, Any]) -> tuple[int | None, ...] | None:
    """The image's shape without the batch, from wherever this version of Keras keeps it."""
    for _ in range(100):  # a Sequential may begin with a model that begins with a model …
        config = _layers_of(model, "the model")
        entries = _entries(model, ())
        first = entries[0]
        if model["class_name"] != "Sequential":
            names = [name for name, _ in endpoints(config.get("input_layers"), "input_layers", ())]
            first = next((entry for entry in entries if name_of(entry) == names[0]), first)
        for key in ("batch_shape", "batch_input_shape"):
            if isinstance(shape := first["config"].get(key), list):
                return tuple(shape[1:])
        if isinstance(shape := first["config"].get("input_shape"), list):
            return tuple(shape)
        if first["class_name"] not in MODELS:
            shape = config.get("build_input_shape") or (model.get("build_config") or {}).get(
                "input_shape"
            )
            return tuple(shape[1:]) if isinstance(shape, list) else None
        model = first
    return None


def _layers_of(model: dict[str, Any], name: str) -> dict[str, Any]:
    """A model's config as a dict with "layers"; Keras 2.0 wrote a Sequential's layers as a bare list."""
    config = model.get("config")
    if isinstance(config, list):
        config = {"layers": config}
    if (
        not isinstance(config, dict)
        or not isinstance(config.get("layers"), list)
        or not config["layers"]
    ):
        raise InputError(
            f"The config of {name} has no list of layers. Save the model again with Keras."
        )
    return config


def _entries(model: dict[str, Any], path: tuple[str, ...]) -> list[dict[str, Any]]:
    entries = _layers_of(model, "/".join(path) or "the model")["layers"]
    for entry in entries:
        class_name = entry.get("class_name") if isinstance(entry, dict) else None
        if not isinstance(class_name, str) or len(class_name) > MAX_NAME_LENGTH:
            malformed(f"has a layer {str(entry)[:40]}, expected class_name and config", path)
        if not isinstance(entry.get("config"), dict) and entry["class_name"] != "Sequential":
            malformed(f"has a layer {entry['class_name']} without config", path)
        name_of(entry)
    return entries


def _is_operation(entry: dict[str, Any]) -> bool:
    """Whether Keras 3 made this call from `x + 1` or `keras.ops.add(x, 1)`: it is no layer and has no group in weight files."""
    module = entry.get("module")
    return isinstance(module, str) and module.startswith(
        ("keras.src.ops", "keras.ops", "keras.src.activations")
    )


def _snake_case(class_name: str) -> str:
    """Keras's `to_snake_case`: "DepthwiseConv2D" → "depthwise_conv2d"."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
