"""ResNet 50, 101 and 152 of keras.applications, in both versions."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.applications.building import BN_EPSILON, Builder
from signs_lightning.translate.keras_session import session

RESNET50 = (3, 4, 6, 3)


def resnet(make: Builder, x: Any, blocks: tuple[int, ...], is_v2: bool) -> Any:
    """Return the result of a ResNet; `blocks` are the numbers of blocks in each stage."""
    if session().is_multi_backend and blocks == RESNET50 and not is_v2:
        return _old_resnet50(make, x)
    x = make.pad(x, ((3, 3), (3, 3)), name="conv1_pad")
    x = make.conv(x, 64, 7, strides=2, name="conv1_conv")
    if not is_v2:
        x = _norm_act(make, x, "conv1_bn", "conv1_relu")
    x = make.pad(x, ((1, 1), (1, 1)), name="pool1_pad")
    x = make.layer("MaxPooling2D", x, 3, strides=2, name="pool1_pool")
    for stage, count in enumerate(blocks, start=2):
        for k in range(1, count + 1):
            name = f"conv{stage}_block{k}"
            filters = 16 * 2**stage
            if is_v2:
                stride = 2 if k == count and stage < 5 else 1
                x = _block_v2(make, x, filters, stride, k == 1, name)
            else:
                x = _block_v1(make, x, filters, 2 if k == 1 and stage > 2 else 1, k == 1, name)
    if is_v2:
        x = _norm_act(make, x, "post_bn", "post_relu")
    return make.top(x, ("avg_pool", "max_pool"), make.usual_head)


def _norm(make: Builder, x: Any, name: str) -> Any:
    return make.norm(x, epsilon=BN_EPSILON, name=name)


def _norm_act(make: Builder, x: Any, norm: str, act: str) -> Any:
    return make.act(_norm(make, x, norm), name=act)


def _block_v1(make: Builder, x: Any, filters: int, stride: int, projects: bool, name: str) -> Any:
    shortcut = x
    if projects:
        shortcut = make.conv(x, 4 * filters, 1, strides=stride, name=f"{name}_0_conv")
        shortcut = _norm(make, shortcut, f"{name}_0_bn")
    x = make.conv(x, filters, 1, strides=stride, name=f"{name}_1_conv")
    x = _norm_act(make, x, f"{name}_1_bn", f"{name}_1_relu")
    x = make.conv(x, filters, 3, padding="same", name=f"{name}_2_conv")
    x = _norm_act(make, x, f"{name}_2_bn", f"{name}_2_relu")
    x = make.conv(x, 4 * filters, 1, name=f"{name}_3_conv")
    x = _norm(make, x, f"{name}_3_bn")
    x = make.layer("Add", [shortcut, x], name=f"{name}_add")
    return make.act(x, name=f"{name}_out")


def _block_v2(make: Builder, x: Any, filters: int, stride: int, projects: bool, name: str) -> Any:
    first = _norm_act(make, x, f"{name}_preact_bn", f"{name}_preact_relu")
    shortcut = x
    if projects:
        shortcut = make.conv(first, 4 * filters, 1, strides=stride, name=f"{name}_0_conv")
    elif stride > 1:
        shortcut = make.layer("MaxPooling2D", x, 1, strides=stride)
    x = make.conv(first, filters, 1, strides=1, use_bias=False, name=f"{name}_1_conv")
    x = _norm_act(make, x, f"{name}_1_bn", f"{name}_1_relu")
    x = make.pad(x, ((1, 1), (1, 1)), name=f"{name}_2_pad")
    x = make.conv(x, filters, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")
    x = _norm_act(make, x, f"{name}_2_bn", f"{name}_2_relu")
    x = make.conv(x, 4 * filters, 1, name=f"{name}_3_conv")
    return make.layer("Add", [shortcut, x], name=f"{name}_out")


def _old_resnet50(make: Builder, x: Any) -> Any:
    """Return the result of the ResNet50 that Keras had before it was a part of TensorFlow."""
    is_first = session().release < (2, 2)
    x = make.pad(x, ((3, 3), (3, 3)), name="conv1_pad")
    x = _old_conv(make, x, 64, 7, "conv1", strides=2)
    x = make.act(make.norm(x, name="bn_conv1"))
    if not is_first:
        x = make.pad(x, ((1, 1), (1, 1)), name="pool1_pad")
    x = make.layer("MaxPooling2D", x, 3, strides=2)
    for stage, count in enumerate(RESNET50, start=2):
        for k in range(count):
            stride = 2 if k == 0 and stage > 2 else 1
            x = _old_block(make, x, 16 * 2**stage, stride, k == 0, f"{stage}{chr(97 + k)}_branch")

    def head(x: Any) -> Any:
        if is_first:
            x = make.layer("Flatten", make.layer("AveragePooling2D", x, 7, name="avg_pool"))
        else:
            x = make.layer("GlobalAveragePooling2D", x, name="avg_pool")
        return make.layer("Dense", x, make.options["classes"], activation="softmax", name="fc1000")

    return make.top(x, (None, None), head)


def _old_conv(make: Builder, x: Any, filters: int, size: int, name: str, **kwargs: Any) -> Any:
    if session().release >= (2, 2):
        kwargs["kernel_initializer"] = "he_normal"
    return make.conv(x, filters, size, name=name, **kwargs)


def _old_block(make: Builder, x: Any, filters: int, stride: int, projects: bool, name: str) -> Any:
    inputs = x
    for part, size, width in (("2a", 1, 1), ("2b", 3, 1), ("2c", 1, 4)):
        step = {"strides": stride} if part == "2a" else {}
        padding = "same" if size == 3 else "valid"
        x = _old_conv(
            make, x, width * filters, size, f"res{name}{part}", padding=padding, **step
        )  # fmt: skip
        x = make.norm(x, name=f"bn{name}{part}")
        x = x if part == "2c" else make.act(x)
    if projects:
        inputs = _old_conv(make, inputs, 4 * filters, 1, f"res{name}1", strides=stride)
        inputs = make.norm(inputs, name=f"bn{name}1")
    return make.act(make.layer("Add", [x, inputs]))
