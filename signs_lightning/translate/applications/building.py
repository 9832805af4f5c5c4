"""What the builders of keras.applications share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from signs_lightning.translate.keras_session import session
from signs_lightning.translate.layer_records import make_layer
from signs_lightning.translate.symbolic_tensors import SymbolicTensor
from signs_lightning.translate.values import NotUnderstoodError, Place, Unknown

BN_EPSILON = 1.001e-5  # of ResNet and DenseNet


@dataclass(frozen=True)
class Builder:
    """Makes the layers of one model.

    Attributes:
        place: of the call that asks for it.
        options: the arguments of the model.
    """

    place: Place
    options: dict[str, Any]

    @property
    def axis(self) -> int:
        """Axis of the channels, batch included."""
        return 3 if session().data_format == "channels_last" else 1

    def layer(self, class_name: str, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the result of a new layer."""
        return make_layer(class_name, list(args), kwargs, self.place).call([x], {}, self.place)

    def conv(self, x: Any, filters: int, size: Any, **kwargs: Any) -> Any:
        """Return the result of a new Conv2D."""
        return self.layer("Conv2D", x, filters, size, **kwargs)

    def norm(self, x: Any, axis: int | None = None, **kwargs: Any) -> Any:
        """Return the result of a new BatchNormalization over the channels."""
        axis = self.axis if axis is None else axis
        return self.layer("BatchNormalization", x, axis=axis, **kwargs)

    def act(self, x: Any, activation: str = "relu", **kwargs: Any) -> Any:
        """Return the result of a new Activation."""
        return self.layer("Activation", x, activation, **kwargs)

    def pad(self, x: Any, sides: Any, **kwargs: Any) -> Any:
        """Return the result of a new ZeroPadding2D."""
        return self.layer("ZeroPadding2D", x, sides, **kwargs)

    def shape(self, x: SymbolicTensor) -> tuple[int | None, ...]:
        """Return a tensor's shape.

        Raises:
            NotUnderstoodError: it is not known.
        """
        shape = x.attribute("shape", self.place)
        if isinstance(shape, Unknown):
            raise NotUnderstoodError(shape.reason)
        return tuple(shape)

    def channels(self, x: SymbolicTensor) -> int:
        """Return a tensor's number of channels."""
        channels = self.shape(x)[self.axis]
        assert channels is not None  # the builders fix it
        return channels

    def correct_pad(self, x: SymbolicTensor, size: int) -> list[list[int]]:
        """Return the padding before a convolution of stride 2, as Keras computes it."""
        sides = self.shape(x)[1:3] if self.axis == 3 else self.shape(x)[2:4]
        adjust = [1 if sides[0] is None else 1 - (side or 0) % 2 for side in sides]
        return [[size // 2 - adjust[0], size // 2], [size // 2 - adjust[1], size // 2]]

    def top(self, x: Any, names: tuple[str | None, str | None], head: Callable[[Any], Any]) -> Any:
        """Return the result of what ends the model.

        Args:
            x: the features.
            names: of the layers of `pooling="avg"` and "max" of a model without its top.
            head: the model's top.
        """
        if self.options["include_top"]:
            return head(x)
        for pooling, name in zip(("avg", "max"), names, strict=True):
            if self.options["pooling"] == pooling:
                kind = {"avg": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D"}[pooling]
                return self.layer(kind, x, name=name)
        return x

    def classify(self, x: Any, **kwargs: Any) -> Any:
        """Return the result of the usual Dense layer that ends a model."""
        return self.layer(
            "Dense", x, self.options["classes"], activation=self.options["classifier_activation"],
            name="predictions", **kwargs,
        )  # fmt: skip

    def usual_head(self, x: Any) -> Any:
        """Return the result of average pooling and a Dense layer."""
        return self.classify(self.layer("GlobalAveragePooling2D", x, name="avg_pool"))


def make_divisible(value: float, divisor: int = 8) -> int:
    """Return a number of filters as MobileNet V2 and V3 round it."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def repeats(count: int, factor: float) -> int:
    """Return how often EfficientNet repeats a block."""
    return math.ceil(factor * count)
