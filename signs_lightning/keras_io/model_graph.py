"""A Keras model as a graph: its layers, and the order in which they are called."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

MIN_SIDE = 8  # pixels, from which a square number of values is taken for an image
LayerPath = tuple[str, ...]  # a layer's own name after those of the models that it lies in


@dataclass(frozen=True)
class Value:
    """The result of the call `Graph.calls[index - 1]`.

    Index 0 is the image, -k the input `Graph.other_inputs[k - 1]` beside it.
    """

    index: int


@dataclass(frozen=True)
class OtherInput:
    """An input beside the image.

    Attributes:
        name: of the input layer.
        shape: Keras's shape of a value, without the batch.
    """

    name: str
    shape: tuple[int, ...]


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
        wrapper: class of the layer that it is inside of, such as "SpectralNormalization"; the name
            and the group are then the wrapper's.
        version: of the Keras that wrote the file, such as "2.2.4-tf", as far as the file tells.
        is_operation: whether it is an operation, such as `x + 1`, and no layer.
    """

    path: LayerPath
    class_name: str
    config: dict[str, Any]
    keras: int
    trainable: bool
    weights_path: str
    wrapper: str | None = None
    version: str = ""
    is_operation: bool = False

    def __str__(self) -> str:
        return f"{self.wrapper or self.class_name} '{'/'.join(self.path)}'"

    @property
    def release(self) -> tuple[int, int] | None:
        """Major and minor version of that Keras; None where the file does not tell both."""
        found = re.match(r"(\d{1,4})\.(\d{1,4})", self.version)
        return (int(found[1]), int(found[2])) if found else None

    @property
    def is_before_tf_keras(self) -> bool:
        """Whether it was Keras 1, or 2.0 to 2.3 as a package of its own."""
        return self.release is not None and self.release < (2, 4) and "tf" not in self.version


@dataclass(frozen=True)
class Call:
    """A layer applied to values and constants.

    Attributes:
        layer: the layer.
        inputs: its arguments; each is a `Value` or a constant.
        training: the flag that is fixed in the graph; None where there is none.
        output: which of the tensors that the layer gives; it is called once for each that is used.
    """

    layer: Layer
    inputs: tuple[Any, ...]
    training: bool | None = None
    output: int = 0

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
    """A model of one image, which may have other inputs beside it.

    Attributes:
        name: of the model.
        image: the input layer's name, where the model has one.
        other_inputs: the inputs beside the image that a call takes.
        input_shape: Keras's shape of an image without the batch; None for what may vary. Besides
            (H, W, C) it may be (H, W), of one channel, or (n,), the values of (H, W, C) in a row.
        channels_first: whether that shape is (C, H, W) instead of (H, W, C).
        layers: in the order of the config, which is the order of the weights in a file.
        models: class (Sequential, Functional, Model) of each model inside the model by its path.
        calls: in an order in which they can be made.
        spare_calls: further ones, which do not lead to the output: where a model inside is called
            several times, each of its calls may use another part of it.
        outputs: names of the model's outputs, and which values they are.
        unsupported: names of layers that cannot be read, such as "MyPackage>Conv2D 'conv'".
    """

    name: str = ""
    image: str = "image"
    other_inputs: list[OtherInput] = field(default_factory=list)
    input_shape: tuple[int | None, ...] = ()
    channels_first: bool = False
    layers: dict[LayerPath, Layer] = field(default_factory=dict)
    models: dict[LayerPath, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    spare_calls: list[Call] = field(default_factory=list)
    outputs: dict[str, Value] = field(default_factory=dict)
    unsupported: dict[LayerPath, str] = field(default_factory=dict)

    @property
    def output(self) -> Value:
        """The value of the model's only output."""
        return next(iter(self.outputs.values()))

    @property
    def input_names(self) -> list[str]:
        """Names of the image and of the inputs beside it."""
        return [self.image, *(given.name for given in self.other_inputs)]

    def has_unused_parts(self) -> bool:
        """Return whether a call or an input does not lead to the model's only output."""
        live = self._live_values()
        return len(self.outputs) > 1 or len(live) <= len(self.calls) + len(self.other_inputs)

    def _live_values(self) -> set[int]:
        """Return the values that lead to an output."""
        live = {value.index for value in self.outputs.values()}
        for k in range(len(self.calls), 0, -1):
            if k in live:
                live.update(self.calls[k - 1].value_indices)
        return live

    def set_unused_calls_aside(self) -> None:
        """Move the calls that do not lead to an output to `spare_calls`."""
        live, count = self._live_values(), len(self.calls)
        order = sorted(range(1, count + 1), key=lambda k: (k not in live, k))
        new = {old: k for k, old in enumerate(order, start=1)}

        def renumber(value: Any) -> Any:
            return Value(new.get(value.index, value.index)) if isinstance(value, Value) else value

        calls = [self.calls[k - 1] for k in order]
        calls = [replace(call, inputs=tuple(map(renumber, call.inputs))) for call in calls]
        used = sum(k > 0 for k in live)
        self.calls, self.spare_calls = calls[:used], calls[used:]
        self.outputs = {name: renumber(value) for name, value in self.outputs.items()}

    def last_uses(self) -> dict[int, list[int]]:
        """Return the values that each call is the last to take, by the call's index from 0."""
        last_call = {index: k for k, call in enumerate(self.calls) for index in call.value_indices}
        uses: dict[int, list[int]] = defaultdict(list)
        for index, k in last_call.items():
            uses[k].append(index)
        return uses

    @property
    def image_size(self) -> tuple[int | None, int | None, int | None]:
        """Height, width and channels of an image; None for what the model does not tell.

        A row of values is taken for a square image of one channel, if it has so many.
        """
        shape = self.input_shape
        if len(shape) == 1:
            side = math.isqrt(shape[0] or 0)
            is_square = side >= MIN_SIDE and side * side == shape[0]
            return (side, side, 1) if is_square else (None, None, None)
        if len(shape) == 2:
            return shape[0], shape[1], 1
        a, b, c = shape
        return (b, c, a) if self.channels_first else (a, b, c)

    def arrange(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) → what the first layer takes: the same, (N, H, W) or (N, n)."""
        if len(self.input_shape) == 3:
            return images
        # (N, C, H, W) -> (N, H, W, C)
        values = images.permute(0, 2, 3, 1)
        return values.flatten(1) if len(self.input_shape) == 1 else values.squeeze(3)
