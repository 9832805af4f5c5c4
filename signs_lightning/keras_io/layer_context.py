"""What a builder of a layer gets, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

import numpy as np
from torch import Tensor, from_numpy, nn, no_grad

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations
from signs_lightning.keras_io.axis_order import tensor_axis
from signs_lightning.keras_io.file_errors import inconsistent_model
from signs_lightning.keras_io.model_graph import Layer
from signs_lightning.models.layers import Pair

Shape = tuple[int, ...]


@dataclass(frozen=True)
class WeightSpec:
    """How one array of Keras becomes a parameter or buffer: transpose, then reshape.

    Attributes:
        keras: Keras's name, such as "kernel".
        torch: the module's name for it, such as "weight".
        shape: Keras's shape.
        permutation: Keras's axes in PyTorch's order.
        trainable: whether Keras trains it.
        groups: of a `.weights.h5` file, inside the layer's, that hold it; "" is the layer's own.
    """

    keras: str
    torch: str
    shape: Shape
    permutation: tuple[int, ...]
    trainable: bool = True
    groups: tuple[str, ...] = ("",)

    @property
    def argument(self) -> str:
        """What Keras's arguments call it: "depthwise", as in `depthwise_initializer`.

        It is "kernel" for the `query/kernel` of an attention layer.
        """
        return self.keras.rpartition("/")[2].removesuffix("_kernel")

    @no_grad()
    def load(self, target: Tensor, values: np.ndarray) -> None:
        """Copy an array of Keras's shape into a tensor of PyTorch's."""
        permuted = np.asarray(values.transpose(self.permutation))  # a number is no array
        target.copy_(from_numpy(permuted).reshape(target.shape))

    def in_keras_order(self, tensor: Tensor) -> Tensor:
        """Return a tensor of PyTorch's shape in Keras's, for gradients, too."""
        permuted = tensor.reshape([self.shape[axis] for axis in self.permutation])
        return permuted.permute([self.permutation.index(k) for k in range(permuted.dim())])


BuiltLayer = tuple[nn.Module, list[WeightSpec]]


@dataclass(frozen=True)
class LayerContext:
    """A layer and what it is applied to.

    Attributes:
        layer: the layer.
        shapes: Keras's shapes of its inputs, without the batch; None for a constant.
        channels_last: whether the graph keeps (N, H, W, C) as (N, C, H, W).
        constants: the inputs that are not tensors, by their position.
        output: which of the tensors that the layer gives is meant.
    """

    layer: Layer
    shapes: tuple[Shape | None, ...]
    channels_last: bool
    constants: dict[int, Any]
    output: int = 0

    def __str__(self) -> str:
        return str(self.layer)

    @property
    def config(self) -> dict[str, Any]:
        """Keras's arguments of the layer."""
        return self.layer.config

    @property
    def class_name(self) -> str:
        """Keras's class of the layer."""
        return self.layer.class_name

    @property
    def shape(self) -> Shape:
        """Shape of the only input."""
        if len(self.shapes) != 1 or self.shapes[0] is None:
            raise inconsistent_model(f"{self} has {len(self.shapes)} inputs, expected one tensor")
        return self.shapes[0]

    @property
    def rank(self) -> int:
        """Number of axes of the only input, the batch included."""
        return len(self.shape) + 1

    @property
    def image(self) -> tuple[int, int, int]:
        """Height, width and channels of the only input, read in the layer's data_format."""
        if len(self.shape) != 3:
            raise InputError(
                f"{self} is applied to values of shape {self.shape}, expected height, width and "
                "channels."
            )
        a, b, c = self.shape
        return (b, c, a) if self.config.get("data_format") == "channels_first" else (a, b, c)

    def tensor_axis(self, axis: int, rank: int | None = None) -> int:
        """Return where the tensor has Keras's axis, which counts the batch and is not it."""
        rank = rank or self.rank
        if not -rank <= axis < rank or axis % rank == 0:
            self.fail("axis", axis, f"an axis of {rank} other than the batch")
        return tensor_axis(axis, rank, self.channels_last)

    def fail(self, key: str, value: Any, expected: str) -> NoReturn:
        """Raise an error about one of the layer's arguments."""
        raise InputError(f"{self} has {key} {str(value)[:60]}, expected {expected}.")

    def integer(self, key: str, default: int | None = None, least: int = 1) -> int:
        """Return an argument that is an integer."""
        value = self.config.get(key, default)
        if not is_integer(value) or not least <= value <= 2**31:
            self.fail(key, repr(value), f"an integer of at least {least}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return an argument that is a number."""
        try:
            return activations.number(self.config.get(key, default))
        except (TypeError, ValueError):
            self.fail(key, repr(self.config.get(key)), "a number")

    def pair(self, key: str, default: int | None = None, least: int = 1) -> Pair:
        """Return an argument that is one integer or two: rows and columns."""
        value = self.config.get(key, default)
        values: list[Any] = value if isinstance(value, list) else [value, value]
        if len(values) != 2 or not all(is_integer(v) and least <= v <= 2**31 for v in values):
            self.fail(key, repr(value), f"one or two integers of at least {least}")
        return values[0], values[1]

    def flag(self, key: str, default: bool) -> bool:
        """Return an argument that is true or false."""
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            self.fail(key, repr(value), "true or false")
        return value

    def axes(self) -> list[int]:
        """Return `axis` as a list; versions of Keras write 3, -1 and [3]."""
        value = self.config.get("axis", -1)
        values = value if isinstance(value, list) else [value]
        if not values or not all(map(is_integer, values)):
            self.fail("axis", repr(value), "one integer or several")
        return values

    def single_axis(self) -> int:
        """Return `axis`, which must be one."""
        axes = self.axes()
        if len(axes) != 1:
            self.fail("axis", axes, "one axis")
        return axes[0]

    def is_same_padded(self) -> bool:
        """Return whether `padding` is 'same'."""
        padding = self.config.get("padding", "valid")
        if padding not in ("same", "valid"):
            self.fail("padding", repr(padding), "'same' or 'valid'")
        return padding == "same"

    def check_option(self, key: str, *allowed: Any) -> None:
        """Check that an argument is missing or has one of the allowed values."""
        if key in self.config and self.config[key] not in allowed:
            self.fail(key, repr(self.config[key]), " or ".join(map(repr, allowed)))


def is_integer(value: Any) -> TypeGuard[int]:
    """Return whether a config's value is an integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)
