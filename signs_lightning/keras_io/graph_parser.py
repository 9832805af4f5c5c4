"""Parses a Keras config of any version into one plain graph.

Sequential (a dict, or the list of Keras 2.0), Functional (called Model in Keras 2) and models
inside models all become one flat list of calls. The versions of a config are those of Keras's
serializers, `keras/src/models/functional.py` and, before it,
`tensorflow/python/keras/engine/functional.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.keras_io import config_entries
from signs_lightning.keras_io.config_entries import MODELS, Entry, model_config, name_of
from signs_lightning.keras_io.file_errors import inconsistent_model, untrusted_file
from signs_lightning.keras_io.inbound_nodes import Reference, call_order, endpoints, inbound_nodes
from signs_lightning.keras_io.model_graph import Call, Graph, Layer, LayerPath, Value
from signs_lightning.keras_io.old_configs import translate_config
from signs_lightning.keras_io.operation_table import is_operation
from signs_lightning.runtime.escaping import shorten

MAX_LAYERS = 20_000  # NASNetLarge, the largest of keras.applications, has 1,039
MAX_FIRST_MODELS = 100  # that a model may begin with, one inside the other


def read_graph(config: Entry, keras_version: str | None = None) -> Graph:
    """Parse a model's config.

    Args:
        config: the model as Keras's `to_json` gives it.
        keras_version: of the Keras that wrote it; taken from the config when omitted.

    Raises:
        InputError: the config contradicts itself: a layer that is missing, called in a circle, or
            named twice.
    """
    return _GraphParser(config, keras_version).graph


class _GraphParser:
    def __init__(self, config: Entry, keras_version: str | None) -> None:
        own_version = config.get("keras_version") or ("3" if "module" in config else "2")
        version = str(keras_version or own_version)
        self.keras = int(version[0]) if version[:1].isdigit() else 3
        self.version = version
        self.graph = Graph()
        config = translate_config(config)
        if config.get("class_name") not in MODELS:
            raise InputError(
                f"The file holds a {shorten(repr(config.get('class_name')))}, expected a "
                "Sequential or Functional model. Rebuild it with one of these in Keras and save "
                "that."
            )
        self.graph.name = str(model_config(config, "the model").get("name", "sequential"))
        self._register_layers(config, (), "")
        self._read_input(config)
        self.graph.output = self._call_model(config, (), Value(0), None)
        called = {call.layer.path for call in self.graph.calls}
        if unused := [layer for path, layer in self.graph.layers.items() if path not in called]:
            raise inconsistent_model(f"{unused[0]} does not lead from the image to the output")

    def _register_layers(
        self, model: Entry, path: LayerPath, weights_path: str, trainable: bool = True
    ) -> None:
        """Add the layers of a model, and of the models inside it, to the graph."""
        if isinstance(model["config"], dict):
            trainable = trainable and model["config"].get("trainable", True) is not False
        counts: Counter[str] = Counter()
        names = set()
        for entry in config_entries.layer_entries(model, path):
            class_name, name = entry["class_name"], name_of(entry)
            if name in names:
                config_entries.raise_malformed(f"has two layers named '{name}'", path)
            names.add(name)
            group_path = weights_path
            # `.weights.h5` numbers the layers of a class: conv2d_1
            if not is_operation(entry, self.keras):
                group = config_entries.snake_case(class_name)
                number = f"_{counts[group]}" if counts[group] else ""
                group_path = f"{weights_path}layers/{group}{number}"
                counts[group] += 1
            if class_name in MODELS:
                self.graph.models[(*path, name)] = class_name
                self._register_layers(entry, (*path, name), f"{group_path}/", trainable)
            elif class_name != "InputLayer":
                self._add_layer(entry, (*path, name), group_path, trainable)
            elif not path:
                self.graph.image = name

    def _add_layer(self, entry: Entry, path: LayerPath, weights_path: str, trainable: bool) -> None:
        if len(self.graph.layers) >= MAX_LAYERS:
            raise untrusted_file(f"The model has more than {MAX_LAYERS:,} layers")
        config, class_name, wrapper = entry["config"], entry["class_name"], None
        trainable = trainable and config.get("trainable", True) is not False
        inner = config.get("layer")
        if class_name == "SpectralNormalization" and config_entries.is_layer(inner):
            entry, wrapper = inner, class_name
            config, class_name = entry["config"], entry["class_name"]
            trainable = trainable and config.get("trainable", True) is not False
        layer = Layer(
            path, class_name, config, self.keras, trainable, weights_path, wrapper, self.version,
            is_operation(entry, self.keras),
        )  # fmt: skip
        self.graph.layers[path] = layer
        registered, module = entry.get("registered_name"), entry.get("module")
        name = f"'{'/'.join(path)}'"
        if isinstance(registered, str) and ">" in registered:  # "MyPackage>Conv2D" is not Conv2D
            self.graph.unsupported.append(f"{registered} {name}")
        elif isinstance(module, str) and not re.match(r"(keras|tf_keras|tensorflow)(\.|$)", module):
            self.graph.unsupported.append(f"{module}.{class_name} {name}")

    def _read_input(self, model: Entry) -> None:
        """Set the graph's input shape and data format."""
        shape = _input_shape(model)
        if shape is None:
            raise InputError(
                "The model does not say which images it takes. Build it with an input shape in "
                "Keras and save that."
            )
        sizes = [size for size in shape if size is not None]
        is_valid = all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in sizes)
        if not 1 <= len(shape) <= 3 or not is_valid or shape == (None,):
            raise InputError(
                f"The model takes inputs of shape {shorten(str(shape))}, expected images of "
                "height, width and channels, of height and width, or their values in a row."
            )
        formats = (layer.config.get("data_format") for layer in self.graph.layers.values())
        self.graph.channels_first = next(filter(None, formats), None) == "channels_first"
        self.graph.input_shape = shape
        if len(shape) == 3 and shape[0 if self.graph.channels_first else 2] is None:
            raise InputError(
                f"The model takes images of shape {shape}, expected a number of channels. Fix it "
                "in Keras."
            )

    def _call_model(
        self, model: Entry, path: LayerPath, image: Value, training: bool | None
    ) -> Value:
        if model["class_name"] != "Sequential":
            return self._call_functional(model, path, image, training)
        value = image
        for entry in config_entries.layer_entries(model, path):
            value = self._call(entry, path, (value,), training)
        return value

    def _call(
        self, entry: Entry, path: LayerPath, inputs: tuple[Any, ...], training: bool | None
    ) -> Value:
        """Add the call of a layer, or the calls of a model, to the graph."""
        if entry["class_name"] == "InputLayer":
            return inputs[0]
        own_path = (*path, name_of(entry))
        if entry["class_name"] in MODELS:
            if len(inputs) != 1 or not isinstance(inputs[0], Value):
                name = "/".join(own_path)
                config_entries.raise_malformed(
                    f"calls '{name}' with {len(inputs)} inputs, expected one", path
                )
            return self._call_model(entry, own_path, inputs[0], training)
        self.graph.calls.append(Call(self.graph.layers[own_path], inputs, training))
        if len(self.graph.calls) > MAX_LAYERS:  # models that call models multiply
            raise untrusted_file(f"The model makes more than {MAX_LAYERS:,} calls")
        return Value(len(self.graph.calls))

    def _call_functional(
        self, model: Entry, path: LayerPath, image: Value, training: bool | None
    ) -> Value:
        config = model_config(model, "/".join(path) or "the model")
        entries = {name_of(entry): entry for entry in config_entries.layer_entries(model, path)}
        nodes = {name: inbound_nodes(entry, path) for name, entry in entries.items()}
        inputs = endpoints(config.get("input_layers"), "input_layers", path)
        outputs = endpoints(config.get("output_layers"), "output_layers", path)
        for kind, ends in (("inputs", inputs), ("outputs", outputs)):
            if len(ends) != 1:
                name, joined = "/".join(path) or self.graph.name, ", ".join(end for end, _ in ends)
                self.graph.unsupported.append(f"{len(ends)} {kind} of '{name}' ({joined})")
        if len(inputs) != 1 or len(outputs) != 1:  # its calls cannot be followed, only listed
            layers = self.graph.layers.items()
            self.graph.calls += [
                Call(layer, ()) for key, layer in layers if key[: len(path)] == path
            ]
            return image
        if inputs[0][0] not in entries:
            config_entries.raise_malformed(
                f"begins with '{inputs[0][0]}', which it does not have", path
            )
        models = {name for name, entry in entries.items() if entry["class_name"] in MODELS}
        values = {inputs[0]: image}
        for key, (arguments, flag) in call_order(nodes, models, inputs[0], outputs[0], path):
            taken = tuple(values[a.key] if isinstance(a, Reference) else a for a in arguments)
            flag = flag if training is None else training
            values[key] = self._call(entries[key[0]], path, taken, flag)
        return values[outputs[0]]


def _input_shape(model: Entry) -> tuple[int | None, ...] | None:
    """Return the image's shape without the batch, which versions keep elsewhere."""
    for _ in range(MAX_FIRST_MODELS):
        config = model_config(model, "the model")
        entries = config_entries.layer_entries(model, ())
        first = entries[0]
        if model["class_name"] != "Sequential":
            name = endpoints(config.get("input_layers"), "input_layers", ())[0][0]
            first = next((entry for entry in entries if name_of(entry) == name), first)
        for key in ("batch_shape", "batch_input_shape"):
            if isinstance(shape := first["config"].get(key), list):
                return tuple(shape[1:])
        if isinstance(shape := first["config"].get("input_shape"), list):
            return tuple(shape)
        if first["class_name"] not in MODELS:
            build_config = model.get("build_config") or {}
            shape = config.get("build_input_shape") or build_config.get("input_shape")
            return tuple(shape[1:]) if isinstance(shape, list) else None
        model = first
    return None
