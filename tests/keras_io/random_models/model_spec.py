"""A Keras model as plain values: it can be drawn, built, made smaller and printed as Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import keras

MODELS = ("Functional", "Sequential")


@dataclass(frozen=True)
class Call:
    """An object among a layer's arguments, such as `keras.regularizers.L2(0.1)`."""

    function: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.function}({arguments})"

    def make(self) -> Any:
        path = self.function.split(".")[1:]
        arguments = {key: _made(value) for key, value in self.arguments.items()}
        return reduce(getattr, path, keras)(**arguments)


def _made(value: Any) -> Any:
    return value.make() if isinstance(value, Call) else value


@dataclass(frozen=True)
class Layer:
    """A layer, a model inside the model, or an operation.

    Attributes:
        class_name: of `keras.layers`; "Functional" or "Sequential"; "" for an operation.
        arguments: those that are given.
        inner: the model inside.
        code: the operation, such as "{0} * 2.0".
    """

    class_name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    inner: Model | None = None
    code: str = ""

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"keras.layers.{self.class_name}({arguments})"

    def make(self) -> keras.layers.Layer:
        if self.inner is not None:
            return build(self.inner, self.arguments.get("name")).model
        return Call(f"keras.layers.{self.class_name}", self.arguments).make()


@dataclass(frozen=True)
class Step:
    """The call of a layer: its number, and the numbers of the values it takes; 0 is the image."""

    layer: int
    inputs: tuple[int, ...] = (0,)
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A model of one input and one output, the value of its last step.

    Attributes:
        shape: of its input, without the batch.
        layers: of all its steps.
        steps: in order.
        sequential: whether it is a Sequential.
        has_input: whether a Sequential has an InputLayer; else it is built by its call.
    """

    shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    steps: tuple[Step, ...]
    sequential: bool = False
    has_input: bool = True

    def all_layers(self) -> Iterator[Layer]:
        """Every layer, also those of models inside."""
        for layer in self.layers:
            yield layer
            if layer.inner is not None:
                yield from layer.inner.all_layers()

    @property
    def is_chain(self) -> bool:
        steps = [(step.layer, step.inputs) for step in self.steps]
        is_plain = not any(step.arguments for step in self.steps)
        is_plain = is_plain and not any(layer.code for layer in self.layers)
        return is_plain and steps == [(k, (k,)) for k in range(len(self.layers))]


@dataclass
class Built:
    model: keras.Model
    values: list[Any]  # the image, and the result of every step; none of a Sequential


def build(spec: Model, name: str | None = None) -> Built:
    """Build a model; Keras raises what it raises."""
    named = {} if name is None else {"name": name}
    layers = [None if layer.code else layer.make() for layer in spec.layers]
    if spec.sequential:
        first = [keras.Input(spec.shape)] if spec.has_input else []
        return Built(keras.Sequential(first + layers, **named), [])
    values: list[Any] = [keras.Input(spec.shape)]
    for step in spec.steps:
        inputs = [values[k] for k in step.inputs]
        layer = layers[step.layer]
        if layer is None:
            values.append(run_operation(spec.layers[step.layer].code, inputs))
        elif spec.layers[step.layer].class_name == "MultiHeadAttention":
            values.append(layer(*inputs, **step.arguments))
        else:
            values.append(layer(inputs[0] if len(inputs) == 1 else inputs, **step.arguments))
    return Built(keras.Model(values[0], values[-1], **named), values)


def run_operation(code: str, inputs: list[Any]) -> Any:
    names = {f"x{k}": value for k, value in enumerate(inputs)}
    return eval(code.format(*names), {"keras": keras, **names})


def prune(spec: Model) -> Model:
    """Leave out the steps that do not lead to the output, and the layers that are not called."""
    kept, waiting = set(), [len(spec.steps)]
    while waiting:
        k = waiting.pop()
        if k and k not in kept:
            kept.add(k)
            waiting += spec.steps[k - 1].inputs
    values = {k: n for n, k in enumerate([0, *sorted(kept)])}
    steps = [spec.steps[k - 1] for k in sorted(kept)]
    order = list(dict.fromkeys(step.layer for step in steps))
    numbers = {layer: n for n, layer in enumerate(order)}
    return replace(
        spec,
        layers=tuple(spec.layers[layer] for layer in order),
        steps=tuple(
            replace(s, layer=numbers[s.layer], inputs=tuple(values[k] for k in s.inputs))
            for s in steps
        ),
    )


def code_of(spec: Model, name: str = "model", prefix: str = "") -> list[str]:
    """Return a model as lines of Python."""
    lines: list[str] = []
    texts = []
    calls = [step.layer for step in spec.steps]
    for k, layer in enumerate(spec.layers):
        if layer.inner is not None:
            own = f"{prefix}model{k}"
            given = layer.arguments.get("name")
            lines += code_of(layer.inner, own, f"{own}_")
            if given is not None:
                lines[-1] = f"{lines[-1][:-1]}, name={given!r})"
            texts.append(own)
        elif calls.count(k) > 1 and not layer.code:
            lines.append(f"{prefix}layer{k} = {layer!r}")
            texts.append(f"{prefix}layer{k}")
        else:
            texts.append(repr(layer))
    if spec.sequential:
        first = [f"keras.Input({spec.shape})"] if spec.has_input else []
        return [*lines, f"{name} = keras.Sequential([{', '.join(first + texts)}])"]
    values = [f"{prefix}x{k}" for k in range(len(spec.steps) + 1)]
    lines.append(f"{values[0]} = keras.Input({spec.shape})")
    for k, step in enumerate(spec.steps, start=1):
        inputs = [values[j] for j in step.inputs]
        layer = spec.layers[step.layer]
        if layer.code:
            lines.append(f"{values[k]} = {layer.code.format(*inputs)}")
            continue
        is_list = len(inputs) > 1 and layer.class_name != "MultiHeadAttention"
        flags = [f"{key}={value!r}" for key, value in step.arguments.items()]
        arguments = [f"[{', '.join(inputs)}]"] if is_list else inputs
        lines.append(f"{values[k]} = {texts[step.layer]}({', '.join(arguments + flags)})")
    return [*lines, f"{name} = keras.Model({values[0]}, {values[-1]})"]
