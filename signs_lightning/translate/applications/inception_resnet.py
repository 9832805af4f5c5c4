"""Inception-ResNet V2 of keras.applications."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.applications.building import Builder
from signs_lightning.translate.tensor_operations import operate

# The branches of each kind of block, each as filters and kernel size of its convolutions.
BRANCHES: dict[str, list[list[tuple[int, Any]]]] = {
    "block35": [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]],
    "block17": [[(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))]],
    "block8": [[(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))]],
}


def inception_resnet_v2(make: Builder, x: Any) -> Any:
    """Return the result of an Inception-ResNet V2."""

    def conv(x: Any, *steps: tuple[int, Any], **kwargs: Any) -> Any:
        for k, (filters, size) in enumerate(steps):
            x = _conv_bn(make, x, filters, size, **(kwargs if k == len(steps) - 1 else {}))
        return x

    def concatenate(branches: list[Any], name: str) -> Any:
        return make.layer("Concatenate", branches, axis=make.axis, name=name)

    def pooled(x: Any) -> Any:
        return make.layer("MaxPooling2D", x, 3, strides=2)

    down: dict[str, Any] = {"strides": 2, "padding": "valid"}
    x = conv(x, (32, 3), **down)
    x = conv(x, (32, 3), padding="valid")
    x = pooled(conv(x, (64, 3)))
    x = conv(x, (80, 1), padding="valid")
    x = pooled(conv(x, (192, 3), padding="valid"))
    branches = [conv(x, (96, 1)), conv(x, (48, 1), (64, 5)), conv(x, (64, 1), (96, 3), (96, 3))]
    average = make.layer("AveragePooling2D", x, 3, strides=1, padding="same")
    x = concatenate([*branches, conv(average, (64, 1))], "mixed_5b")
    for k in range(1, 11):
        x = _block(make, x, 0.17, "block35", k)
    branches = [conv(x, (384, 3), **down), conv(x, (256, 1), (256, 3), (384, 3), **down)]
    x = concatenate([*branches, pooled(x)], "mixed_6a")
    for k in range(1, 21):
        x = _block(make, x, 0.1, "block17", k)
    branches = [conv(x, (256, 1), (384, 3), **down), conv(x, (256, 1), (288, 3), **down)]
    branches.append(conv(x, (256, 1), (288, 3), (320, 3), **down))
    x = concatenate([*branches, pooled(x)], "mixed_7a")
    for k in range(1, 10):
        x = _block(make, x, 0.2, "block8", k)
    x = _block(make, x, 1.0, "block8", 10, activation=None)
    x = _conv_bn(make, x, 1536, 1, name="conv_7b")
    return make.top(x, (None, None), make.usual_head)


def _conv_bn(make: Builder, x: Any, filters: int, size: Any, name: str | None = None,
             **kwargs: Any) -> Any:  # fmt: skip
    x = make.conv(x, filters, size, use_bias=False, name=name, **{"padding": "same", **kwargs})
    x = make.norm(x, scale=False, name=name and f"{name}_bn")
    return make.act(x, name=name and f"{name}_ac")


def _block(make: Builder, x: Any, scale: float, kind: str, k: int,
           activation: str | None = "relu") -> Any:  # fmt: skip
    branches = []
    for steps in BRANCHES[kind]:
        branch = x
        for filters, size in steps:
            branch = _conv_bn(make, branch, filters, size)
        branches.append(branch)
    name = f"{kind}_{k}"
    mixed = make.layer("Concatenate", branches, axis=make.axis, name=f"{name}_mixed")
    up = make.conv(mixed, make.channels(x), 1, padding="same", name=f"{name}_conv")
    # x + scale * up; Keras has a layer of its own or a Lambda there
    x = operate(x, "+", operate(up, "*", scale, False, make.place), False, make.place)
    return x if activation is None else make.act(x, activation, name=f"{name}_ac")
