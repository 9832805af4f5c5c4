"""A Keras model as a graph: its layers, and the order in which they are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LayerPath = tuple[str, ...]  # a layer's own name after those of the models that it lies in


@dataclass(frozen=True)
class Value:
    """The result of the call `Graph.calls[index - 1]`; index 0 is the image."""

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

    path: LayerPath
    class_name: str
    config: dict[str, Any]
    keras: int
    trainable: bool
    weights_path: str

    def __str__(self) -> str:
        return f"{self.class_name} '{'/'.join(self.path)}'"


@dataclass(frozen=True)
class Call:
    """A layer applied to values and constants.

    Attributes:
        layer: the layer.
        inputs: its arguments; each is a `Value` or a constant.
        training: the flag that is fixed in the graph; None where there is none.
    """

    layer: Layer
    inputs: tuple[Any, ...]
    training: bool | None = None

    @property
    def value_indices(self) -> tuple[int, ...]:
        """Indices of the inputs that are values."""
        return tuple(value.index for value in self.inputs if isinstance(value, Value))

    @property
    def constants(self) -> dict[int, Any]:
        """The inputs that are constants, by their position."""
        return {k: value for k, value in enumerate(self.inputs) if not isinstance(value, Value)}


@dataclass
class Graph:
    """A model of one image and one output.

    Attributes:
        name: of the model.
        image: the input layer's name, where the model has one.
        input_shape: Keras's shape of an image without the batch; None for what may vary.
        channels_first: whether that shape is (C, H, W) instead of (H, W, C).
        layers: in the order of the config, which is the order of the weights in a file.
        models: class (Sequential, Functional, Model) of each model inside the model by its path.
        calls: in an order in which they can be made.
        output: which value is the model's.
        unsupported: names of what cannot be read, such as "MyPackage>Conv2D 'conv'".
    """

    name: str = ""
    image: str = "image"
    input_shape: tuple[int | None, ...] = ()
    channels_first: bool = False
    layers: dict[LayerPath, Layer] = field(default_factory=dict)
    models: dict[LayerPath, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    output: Value = Value(0)
    unsupported: list[str] = field(default_factory=list)
