"""Inception V3 of keras.applications."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.applications.building import Builder

Step = tuple[int, int, int]  # filters, rows, columns
# The branches of each block of 7 × 7 kernels by their inner width.
WIDTHS = (128, 160, 160, 192)


def inception_v3(make: Builder, x: Any) -> Any:
    """Return the result of an Inception V3."""

    def conv(x: Any, *steps: Step, **kwargs: Any) -> Any:
        for k, (filters, rows, columns) in enumerate(steps):
            x = _conv_bn(make, x, filters, rows, columns, **(kwargs if k == len(steps) - 1 else {}))
        return x

    def pooled(x: Any, filters: int) -> Any:
        x = make.layer("AveragePooling2D", x, (3, 3), strides=(1, 1), padding="same")
        return conv(x, (filters, 1, 1))

    def concatenate(branches: list[Any], name: str | None = None) -> Any:
        return make.layer("Concatenate", branches, axis=make.axis, name=name)

    down: dict[str, Any] = {"strides": (2, 2), "padding": "valid"}
    x = conv(x, (32, 3, 3), **down)
    x = conv(x, (32, 3, 3), padding="valid")
    x = conv(x, (64, 3, 3))
    x = make.layer("MaxPooling2D", x, (3, 3), strides=(2, 2))
    x = conv(x, (80, 1, 1), padding="valid")
    x = conv(x, (192, 3, 3), padding="valid")
    x = make.layer("MaxPooling2D", x, (3, 3), strides=(2, 2))
    for k, filters in enumerate((32, 64, 64)):
        branches = [conv(x, (64, 1, 1)), conv(x, (48, 1, 1), (64, 5, 5))]
        branches += [conv(x, (64, 1, 1), (96, 3, 3), (96, 3, 3)), pooled(x, filters)]
        x = concatenate(branches, f"mixed{k}")
    branches = [conv(x, (384, 3, 3), **down)]
    branches.append(conv(x, (64, 1, 1), (96, 3, 3), (96, 3, 3), **down))
    branches.append(make.layer("MaxPooling2D", x, (3, 3), strides=(2, 2)))
    x = concatenate(branches, "mixed3")
    for k, width in enumerate(WIDTHS, start=4):
        branches = [conv(x, (192, 1, 1))]
        branches.append(conv(x, (width, 1, 1), (width, 1, 7), (192, 7, 1)))
        double = ((width, 7, 1), (width, 1, 7))
        branches.append(conv(x, (width, 1, 1), *double, (width, 7, 1), (192, 1, 7)))
        x = concatenate([*branches, pooled(x, 192)], f"mixed{k}")
    branches = [conv(x, (192, 1, 1), (320, 3, 3), **down)]
    branches.append(conv(x, (192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3), **down))
    branches.append(make.layer("MaxPooling2D", x, (3, 3), strides=(2, 2)))
    x = concatenate(branches, "mixed8")
    for k in range(2):
        first = conv(x, (320, 1, 1))
        inner = conv(x, (384, 1, 1))
        second = concatenate([conv(inner, (384, 1, 3)), conv(inner, (384, 3, 1))], f"mixed9_{k}")
        inner = conv(x, (448, 1, 1), (384, 3, 3))
        third = concatenate([conv(inner, (384, 1, 3)), conv(inner, (384, 3, 1))])
        x = concatenate([first, second, third, pooled(x, 192)], f"mixed{9 + k}")
    return make.top(x, (None, None), make.usual_head)


def _conv_bn(make: Builder, x: Any, filters: int, rows: int, columns: int,
             padding: str = "same", strides: Any = (1, 1)) -> Any:  # fmt: skip
    x = make.conv(x, filters, (rows, columns), strides=strides, padding=padding, use_bias=False)
    return make.act(make.norm(x, scale=False))
