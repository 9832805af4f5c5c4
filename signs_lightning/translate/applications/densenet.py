"""DenseNet 121, 169 and 201 of keras.applications."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.applications.building import BN_EPSILON, Builder

GROWTH = 32


def densenet(make: Builder, x: Any, blocks: tuple[int, ...]) -> Any:
    """Return the result of a DenseNet; `blocks` are the numbers of layers in each stage."""

    def norm_act(x: Any, name: str, after: str = "_") -> Any:
        x = make.norm(x, epsilon=BN_EPSILON, name=f"{name}{after}bn")
        return make.act(x, name=f"{name}{after}relu")

    x = make.pad(x, ((3, 3), (3, 3)))
    x = make.conv(x, 64, 7, strides=2, use_bias=False, name="conv1_conv")
    x = norm_act(x, "conv1")
    x = make.pad(x, ((1, 1), (1, 1)))
    x = make.layer("MaxPooling2D", x, 3, strides=2, name="pool1")
    for stage, count in enumerate(blocks, start=2):
        for k in range(1, count + 1):
            name = f"conv{stage}_block{k}"
            branch = norm_act(x, f"{name}_0")
            branch = make.conv(branch, 4 * GROWTH, 1, use_bias=False, name=f"{name}_1_conv")
            branch = norm_act(branch, f"{name}_1")
            branch = make.conv(
                branch, GROWTH, 3, padding="same", use_bias=False, name=f"{name}_2_conv"
            )
            x = make.layer("Concatenate", [x, branch], axis=make.axis, name=f"{name}_concat")
        if stage < 5:
            name = f"pool{stage}"
            half = int(make.channels(x) * 0.5)
            x = make.conv(norm_act(x, name), half, 1, use_bias=False, name=f"{name}_conv")
            x = make.layer("AveragePooling2D", x, 2, strides=2, name=f"{name}_pool")
    x = norm_act(x, "", after="")
    return make.top(x, ("avg_pool", "max_pool"), make.usual_head)
