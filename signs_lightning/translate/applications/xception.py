"""Xception of keras.applications."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.applications.building import Builder


def xception(make: Builder, x: Any) -> Any:
    """Return the result of an Xception."""
    axis = 1 if make.axis == 1 else -1

    def norm(x: Any, name: str | None = None) -> Any:
        return make.norm(x, axis, name=name)

    def separable(x: Any, filters: int, name: str) -> Any:
        x = make.layer("SeparableConv2D", x, filters, (3, 3), padding="same", use_bias=False,
                       name=name)  # fmt: skip
        return norm(x, f"{name}_bn")

    def residual(x: Any, filters: int) -> Any:
        x = make.conv(x, filters, (1, 1), strides=(2, 2), padding="same", use_bias=False)
        return norm(x)

    for k, (filters, strides) in enumerate(((32, (2, 2)), (64, (1, 1))), start=1):
        name = f"block1_conv{k}"
        x = make.conv(x, filters, (3, 3), strides=strides, use_bias=False, name=name)
        x = make.act(norm(x, f"{name}_bn"), name=f"{name}_act")
    for block, widths in {2: (128, 128), 3: (256, 256), 4: (728, 728)}.items():
        x = _down(make, x, block, widths, residual, separable)
    for block in range(5, 13):
        shortcut = x
        for k in (1, 2, 3):
            name = f"block{block}_sepconv{k}"
            x = separable(make.act(x, name=f"{name}_act"), 728, name)
        x = make.layer("Add", [x, shortcut])
    x = _down(make, x, 13, (728, 1024), residual, separable)
    for k, filters in enumerate((1536, 2048), start=1):
        name = f"block14_sepconv{k}"
        x = make.act(separable(x, filters, name), name=f"{name}_act")
    return make.top(x, (None, None), make.usual_head)


def _down(make: Builder, x: Any, block: int, widths: tuple[int, int], residual: Any,
          separable: Any) -> Any:  # fmt: skip
    """Return the result of a block that halves height and width."""
    shortcut = residual(x, widths[1])
    for k, filters in enumerate(widths, start=1):
        name = f"block{block}_sepconv{k}"
        if (block, k) != (2, 1):
            x = make.act(x, name=f"{name}_act")
        x = separable(x, filters, name)
    x = make.layer("MaxPooling2D", x, (3, 3), strides=(2, 2), padding="same",
                   name=f"block{block}_pool")  # fmt: skip
    return make.layer("Add", [x, shortcut])
