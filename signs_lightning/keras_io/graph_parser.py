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
from signs_lightning.keras_io.graph_ends import (
    check_other_input,
    choose_image,
    output_names,
    read_inputs,
)
from signs_lightning.keras_io.image_size import is_channels_first
from signs_lightning.keras_io.inbound_nodes import (
    CallKey,
    Reference,
    call_order,
    count_from_zero,
    endpoint_references,
    first_calls,
    inbound_nodes,
)
from signs_lightning.keras_io.keras1_configs import is_keras1
from signs_lightning.keras_io.layer_table import unsupported_parts
from signs_lightning.keras_io.model_graph import Call, Graph, Layer, LayerPath, Value
from signs_lightning.keras_io.old_configs import translate_config
from signs_lightning.keras_io.operation_table import is_operation
from signs_lightning.runtime.escaping import shorten

MAX_LAYERS = 20_000  # NASNetLarge, the largest of keras.applications, has 1,039


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
        self.keras = config_entries.keras_major(config, keras_version)
        self.keras = 1 if is_keras1(config) else self.keras
        self.version = str(keras_version or config.get("keras_version") or "")
        self.graph = Graph()
        self.model_calls = 0
        config = translate_config(config)
        if config.get("class_name") not in MODELS:
            raise InputError(
                f"The file holds a {shorten(repr(config.get('class_name')))}, expected a "
                "Sequential or Functional model. Rebuild it with one of these in Keras and save "
                "that."
            )
        self.graph.name = str(model_config(config, "the model").get("name", "sequential"))
        self._register_layers(config, (), "")
        inputs = self._read_inputs(config)
        outputs = self._call_model(config, (), inputs, None)
        self.graph.outputs = dict(zip(output_names(config), outputs, strict=True))
        called = {call.layer.path for call in self.graph.calls}
        unused = [layer for path, layer in self.graph.layers.items() if path not in called]
        # What is not known may hide what it takes; it is named as unsupported later.
        if unused and not unsupported_parts(self.graph):
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
            self.graph.unsupported[path] = f"{registered} {name}"
        elif isinstance(module, str) and not re.match(r"(keras|tf_keras|tensorflow)(\.|$)", module):
            self.graph.unsupported[path] = f"{module}.{class_name} {name}"

    def _read_inputs(self, model: Entry) -> list[Value]:
        """Set the graph's inputs and data format; return the inputs in the model's order."""
        inputs = read_inputs(model)
        image = choose_image([shape for _, shape in inputs])
        shape = inputs[image][1]
        if len(inputs) > 1:
            self.graph.image = inputs[image][0]
        others = [k for k in range(len(inputs)) if k != image]
        self.graph.other_inputs = [check_other_input(*inputs[k]) for k in others]
        sizes = [size for size in shape if size is not None]
        is_valid = all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in sizes)
        if not 1 <= len(shape) <= 3 or not is_valid or shape == (None,):
            raise InputError(
                f"The model takes inputs of shape {shorten(str(shape))}, expected images of "
                "height, width and channels, of height and width, or their values in a row."
            )
        self.graph.channels_first = is_channels_first(self.graph.layers.values(), shape)
        self.graph.input_shape = shape
        if len(shape) == 3 and shape[0 if self.graph.channels_first else 2] is None:
            raise InputError(
                f"The model takes images of shape {shape}, expected a number of channels. Fix it "
                "in Keras."
            )
        places = [image, *others]  # of the image and the inputs -1, -2, …
        return [Value(-places.index(k)) for k in range(len(inputs))]

    def _call_model(
        self, model: Entry, path: LayerPath, inputs: list[Value], training: bool | None
    ) -> list[Value]:
        """Add the calls of a model; return its outputs."""
        self.model_calls += 1
        if self.model_calls > MAX_LAYERS:  # models that call models multiply
            raise untrusted_file(f"The model calls more than {MAX_LAYERS:,} models")
        if model["class_name"] != "Sequential":
            return self._call_functional(model, path, inputs, training)
        values = inputs
        for entry in config_entries.layer_entries(model, path):
            if len(values) != 1 and entry["class_name"] not in MODELS:
                config_entries.raise_malformed(
                    f"calls '{name_of(entry)}' with {len(values)} inputs, expected one", path
                )
            values = self._call(entry, path, tuple(values), (None,) * len(values), training, 1)
        return values

    def _call(
        self,
        entry: Entry,
        path: LayerPath,
        inputs: tuple[Any, ...],
        names: tuple[str | None, ...],
        training: bool | None,
        count: int,
    ) -> list[Value]:
        """Add the call of a layer, or the calls of a model, to the graph.

        Args:
            entry: the layer or model.
            path: the model that it lies in.
            inputs: values and constants.
            names: of each of them, where they are given by name.
            training: the flag that is fixed for the call.
            count: how many of the layer's tensors are used; a model gives all of its.
        """
        if entry["class_name"] == "InputLayer":
            return [inputs[0]]
        own_path = (*path, name_of(entry))
        if entry["class_name"] in MODELS:
            values = self._bind_inputs(entry, own_path, inputs, names)
            return self._call_model(entry, own_path, values, training)
        layer, outputs = self.graph.layers[own_path], []
        for output in range(count):
            self.graph.calls.append(Call(layer, inputs, training, output))
            if len(self.graph.calls) > MAX_LAYERS:  # models that call models multiply
                raise untrusted_file(f"The model makes more than {MAX_LAYERS:,} calls")
            outputs.append(Value(len(self.graph.calls)))
        return outputs

    def _bind_inputs(
        self,
        model: Entry,
        path: LayerPath,
        inputs: tuple[Any, ...],
        names: tuple[str | None, ...],
    ) -> list[Value]:
        """Return the values of a model's inputs in its own order."""
        expected = 1
        if model["class_name"] != "Sequential":
            config = model_config(model, "/".join(path))
            ends = endpoint_references(config.get("input_layers"), "input_layers", path)
            expected = len(ends)
            named = dict(zip(names, inputs, strict=True))
            own_names = [end.name or end.key[0] for end in ends]
            if None not in named and named.keys() >= set(own_names):
                inputs = tuple(named[name] for name in own_names)
        values = [value for value in inputs if isinstance(value, Value)]
        if len(values) != len(inputs) or len(values) != expected:
            name = "/".join(path)
            problem = f"calls '{name}' with {len(inputs)} inputs, expected {expected} tensors"
            config_entries.raise_malformed(problem, path[:-1])
        return values

    def _call_functional(
        self, model: Entry, path: LayerPath, images: list[Value], training: bool | None
    ) -> list[Value]:
        config = model_config(model, "/".join(path) or "the model")
        entries = {name_of(entry): entry for entry in config_entries.layer_entries(model, path)}
        inputs = endpoint_references(config.get("input_layers"), "input_layers", path)
        outputs = endpoint_references(config.get("output_layers"), "output_layers", path)
        for name in (end.key[0] for end in inputs):
            if name not in entries:
                config_entries.raise_malformed(
                    f"begins with '{name}', which it does not have", path
                )
        models = {n: e["class_name"] for n, e in entries.items() if e["class_name"] in MODELS}
        nodes = {name: inbound_nodes(entry, path) for name, entry in entries.items()}
        first_inside, first_at_end = first_calls(nodes, outputs, models, self.keras)
        for calls in nodes.values():
            calls[:] = [(tuple(count_from_zero(a, first_inside) for a in v), t) for v, t in calls]
        outputs = [count_from_zero(end, first_at_end) for end in outputs]
        counts: Counter[CallKey] = Counter()  # how many tensors of a call are used
        arguments = [a for calls in nodes.values() for given, _ in calls for a in given]
        for reference in [*outputs, *(a for a in arguments if isinstance(a, Reference))]:
            counts[reference.key] = max(counts[reference.key], reference.tensor + 1)
        values = {end.key: [image] for end, image in zip(inputs, images, strict=True)}

        def value_of(argument: Any) -> Any:
            if not isinstance(argument, Reference):
                return argument
            given = values[argument.key]
            if argument.tensor >= len(given):
                problem = f"refers to tensor {argument.tensor} of '{argument.key[0]}'"
                config_entries.raise_malformed(f"{problem}, which gives {len(given)}", path)
            return given[argument.tensor]

        for key, (given, flag) in call_order(nodes, set(values), [e.key for e in outputs], path):
            taken = tuple(value_of(argument) for argument in given)
            names = tuple(a.name if isinstance(a, Reference) else None for a in given)
            flag = flag if training is None else training
            if (count := counts[key]) > MAX_LAYERS:
                raise untrusted_file(f"The model takes {count:,} tensors of '{key[0]}'")
            values[key] = self._call(entries[key[0]], path, taken, names, flag, count)
        return [value_of(end) for end in outputs]
