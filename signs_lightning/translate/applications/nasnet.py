"""NASNet-A, mobile and large, of keras.applications."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.applications.building import Builder

NORM = {"momentum": 0.9997, "epsilon": 1e-3}
CONV = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}


def nasnet(make: Builder, x: Any, penultimate: int, count: int, stem: int, skips: bool) -> Any:
    """Return the result of a NASNet.

    Args:
        make: makes the layers.
        x: the image.
        penultimate: filters before the last layer.
        count: of normal cells between reductions.
        stem: filters of the first convolution.
        skips: whether a reduction is left out of what the next cell gets from before.
    """
    filters = penultimate // 24
    x = make.conv(x, stem, (3, 3), strides=(2, 2), use_bias=False, name="stem_conv1",
                  kernel_initializer="he_normal")  # fmt: skip
    x = make.norm(x, -1, name="stem_bn1", **NORM)
    p = None
    x, p = _reduction(make, x, p, filters // 4, "stem_1")
    x, p = _reduction(make, x, p, filters // 2, "stem_2")
    for stage in range(3):
        if stage:
            x, before = _reduction(make, x, p, filters * 2**stage, f"reduce_{stage * count}")
            p = p if skips else before
        for k in range(count):
            number = stage * count + k + (1 if stage else 0)
            x, p = _normal(make, x, p, filters * 2**stage, f"{number}")
    x = make.act(x)

    def head(x: Any) -> Any:
        return make.classify(make.layer("GlobalAveragePooling2D", x))

    return make.top(x, (None, None), head)


def _norm(make: Builder, x: Any, name: str) -> Any:
    return make.norm(x, -1, name=name, **NORM)


def _add(make: Builder, parts: list[Any], name: str | None = None) -> Any:
    return make.layer("Add", parts, name=name)


def _separable(make: Builder, x: Any, filters: int, size: int, block: str, stride: int = 1) -> Any:
    x = make.act(x)
    padding = "same"
    if stride == 2:
        padding = "valid"
        x = make.pad(x, make.correct_pad(x, size), name=f"separable_conv_1_pad_{block}")
    for k in (1, 2):
        if k == 2:
            x = make.act(x)
        given = {"strides": (stride, stride), "padding": padding} if k == 1 else {"padding": "same"}
        name = f"separable_conv_{k}"
        x = make.layer("SeparableConv2D", x, filters, (size, size), use_bias=False,
                       name=f"{name}_{block}", **given)  # fmt: skip
        x = _norm(make, x, f"{name}_bn_{block}")
    return x


def _adjust(make: Builder, p: Any, x: Any, filters: int, block: str) -> Any:
    """Return what a cell gets from before, with the size and the filters of its input."""
    if p is None:
        return x
    if make.shape(p)[2] != make.shape(x)[2]:
        p = make.act(p, name=f"adjust_relu_1_{block}")
        pooled = {"strides": (2, 2), "padding": "valid"}
        first = make.layer("AveragePooling2D", p, (1, 1), name=f"adjust_avg_pool_1_{block}",
                           **pooled)  # fmt: skip
        first = make.conv(first, filters // 2, (1, 1), name=f"adjust_conv_1_{block}", **CONV)
        second = make.pad(p, ((0, 1), (0, 1)))
        second = make.layer("Cropping2D", second, ((1, 0), (1, 0)))
        second = make.layer("AveragePooling2D", second, (1, 1), name=f"adjust_avg_pool_2_{block}",
                            **pooled)  # fmt: skip
        second = make.conv(second, filters // 2, (1, 1), name=f"adjust_conv_2_{block}", **CONV)
        p = make.layer("Concatenate", [first, second], axis=-1)
        return _norm(make, p, f"adjust_bn_{block}")
    if make.channels(p) != filters:
        name = f"adjust_conv_projection_{block}"
        p = make.conv(make.act(p), filters, (1, 1), strides=(1, 1), name=name, **CONV)
        return _norm(make, p, f"adjust_bn_{block}")
    return p


def _begin(make: Builder, x: Any, filters: int, kind: str, block: str) -> Any:
    h = make.conv(make.act(x), filters, (1, 1), strides=(1, 1), name=f"{kind}_conv_1_{block}",
                  **CONV)  # fmt: skip
    return _norm(make, h, f"{kind}_bn_1_{block}")


def _pool(make: Builder, x: Any, name: str, kind: str = "Average", stride: int = 1) -> Any:
    return make.layer(f"{kind}Pooling2D", x, (3, 3), strides=(stride, stride),
                      padding="same" if stride == 1 else "valid", name=name)  # fmt: skip


def _normal(make: Builder, x: Any, p: Any, filters: int, block: str) -> tuple[Any, Any]:
    p = _adjust(make, p, x, filters, block)
    h = _begin(make, x, filters, "normal", block)
    parts = [p]
    for k, (first, second) in enumerate((((h, 5), (p, 3)), ((p, 5), (p, 3))), start=1):
        left = _separable(make, first[0], filters, first[1], f"normal_left{k}_{block}")
        right = _separable(make, second[0], filters, second[1], f"normal_right{k}_{block}")
        parts.append(_add(make, [left, right], f"normal_add_{k}_{block}"))
    x3 = _pool(make, h, f"normal_left3_{block}")
    parts.append(_add(make, [x3, p], f"normal_add_3_{block}"))
    left = _pool(make, p, f"normal_left4_{block}")
    right = _pool(make, p, f"normal_right4_{block}")
    parts.append(_add(make, [left, right], f"normal_add_4_{block}"))
    x5 = _separable(make, h, filters, 3, f"normal_left5_{block}")
    parts.append(_add(make, [x5, h], f"normal_add_5_{block}"))
    return make.layer("Concatenate", parts, axis=-1, name=f"normal_concat_{block}"), x


def _reduction(make: Builder, x: Any, p: Any, filters: int, block: str) -> tuple[Any, Any]:
    p = _adjust(make, p, x, filters, block)
    h = _begin(make, x, filters, "reduction", block)
    h3 = make.pad(h, make.correct_pad(h, 3), name=f"reduction_pad_1_{block}")
    left = _separable(make, h, filters, 5, f"reduction_left1_{block}", 2)
    right = _separable(make, p, filters, 7, f"reduction_right1_{block}", 2)
    x1 = _add(make, [left, right], f"reduction_add_1_{block}")
    left = _pool(make, h3, f"reduction_left2_{block}", "Max", 2)
    right = _separable(make, p, filters, 7, f"reduction_right2_{block}", 2)
    x2 = _add(make, [left, right], f"reduction_add_2_{block}")
    left = _pool(make, h3, f"reduction_left3_{block}", "Average", 2)
    right = _separable(make, p, filters, 5, f"reduction_right3_{block}", 2)
    x3 = _add(make, [left, right], f"reduction_add3_{block}")
    x4 = _add(make, [x2, _pool(make, x1, f"reduction_left4_{block}")])
    left = _separable(make, x1, filters, 3, f"reduction_left4_{block}")
    right = _pool(make, h3, f"reduction_right5_{block}", "Max", 2)
    x5 = _add(make, [left, right], f"reduction_add4_{block}")
    parts = [x2, x3, x4, x5]
    return make.layer("Concatenate", parts, axis=-1, name=f"reduction_concat_{block}"), x
