"""What a builder of a layer gets (the checked config, the shapes it is applied to) and gives (how its weights map)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from torch import nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations
from signs_lightning.keras_io.graph_parser import Layer
from signs_lightning.keras_io.modules import tensor_axis
from signs_lightning.models.layers import Pair

Shape = tuple[int, ...]


@dataclass(frozen=True)
class WeightSpec:
    """How one array of Keras becomes one parameter or buffer: transpose(permutation), then reshape. Both can be undone.

    Attributes:
        keras: Keras's name, such as "kernel".
        torch: the module's name for it, such as "weight".
        shape: Keras's shape.
        permutation: Keras's axes in PyTorch's order.
        trainable: whether Keras trains it.
    """

    keras: str
    torch: str
    shape: Shape
    permutation: tuple[int, ...]
    trainable: bool = True


BuiltLayer = tuple[nn.Module, list[WeightSpec]]


@dataclass(frozen=True)
class LayerContext:
    """A layer and what it is applied to.

    Attributes:
        layer: the layer.
        shapes: Keras's shapes of its inputs, without the batch; None for a constant.
        channels_last: whether the graph keeps (N, H, W, C) as (N, C, H, W).
        constants: the inputs that are no tensors, by their place.
    """

    layer: Layer
    shapes: tuple[Shape | None, ...]
    channels_last: bool
    constants: dict[int, Any]

    @property
    def shape(self) -> Shape:
        """Shape of the only input."""
        if len(self.shapes) != 1 or self.shapes[0] is None:
            raise InputError(
                f"{self.layer} has {len(self.shapes)} inputs, expected one "
                "tensor. Save the model again."
            )
        return self.shapes[0]

    @property
    def image(self) -> tuple[int, int, int]:
        """Height, width and channels of the only input, as the layer's own data_format reads them."""
        if len(self.shape) != 3:
            raise InputError(
                f"{self.layer} is applied to values of shape {self.shape}, expected height, width "
                "and channels."
            )
        a, b, c = self.shape
        return (b, c, a) if self.layer.config.get("data_format") == "channels_first" else (a, b, c)

    def axis(self, axis: int, rank: int | None = None) -> int:
        """Keras's axis, counted with the batch → where the tensor has it."""
        rank = len(self.shape) + 1 if rank is None else rank
        if not -rank <= axis < rank or axis % rank == 0:
            self.refuse("axis", axis, f"an axis of {rank} other than the batch")
        return tensor_axis(axis, rank, self.channels_last)

    def refuse(self, key: str, value: Any, expected: str) -> NoReturn:
        raise InputError(f"{self.layer} has {key} {str(value)[:60]}, expected {expected}.")

    def integer(self, key: str, default: int | None = None, least: int = 1) -> int:
        value = self.layer.config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least or value > 2**31:
            self.refuse(key, repr(value), f"an integer of at least {least}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        try:
            return activations.number(self.layer.config.get(key, default))
        except (TypeError, ValueError):
            self.refuse(key, repr(self.layer.config.get(key)), "a number")

    def pair(self, key: str, default: int | None = None, least: int = 1) -> Pair:
        value = self.layer.config.get(key, default)
        values: list[Any] = value if isinstance(value, list) else [value, value]
        fine = all(
            isinstance(v, int) and not isinstance(v, bool) and least <= v <= 2**31 for v in values
        )
        if len(values) != 2 or not fine:
            self.refuse(key, repr(value), f"one or two integers of at least {least}")
        return values[0], values[1]

    def flag(self, key: str, default: bool) -> bool:
        value = self.layer.config.get(key, default)
        if not isinstance(value, bool):
            self.refuse(key, repr(value), "true or false")
        return value

    def axes(self, default: int = -1) -> list[int]:
        """`axis` as a list; versions write 3, -1 and [3]."""
        value = self.layer.config.get("axis", default)
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
            self.refuse("axis", repr(value), "one integer or several")
        return values

    def same(self) -> bool:
        padding = self.layer.config.get("padding", "valid")
        if padding not in ("same", "valid"):
            self.refuse("padding", repr(padding), "'same' or 'valid'")
        return padding == "same"

    def only(self, key: str, *allowed: Any) -> None:
        """Refuses an option with any other value than those allowed; one that is missing is fine."""
        if key in self.layer.config and self.layer.config[key] not in allowed:
            self.refuse(key, repr(self.layer.config[key]), " or ".join(map(repr, allowed)))
