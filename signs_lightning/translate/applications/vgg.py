"""VGG16 and VGG19 of keras.applications."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.applications.building import Builder


def vgg(make: Builder, x: Any, blocks: tuple[int, ...]) -> Any:
    """Return the result of a VGG; `blocks` are the numbers of convolutions."""
    for stage, count in enumerate(blocks, start=1):
        filters = min(32 * 2**stage, 512)
        for k in range(1, count + 1):
            name = f"block{stage}_conv{k}"
            x = make.conv(x, filters, (3, 3), activation="relu", padding="same", name=name)
        x = make.layer("MaxPooling2D", x, (2, 2), strides=(2, 2), name=f"block{stage}_pool")

    def head(x: Any) -> Any:
        x = make.layer("Flatten", x, name="flatten")
        for name in ("fc1", "fc2"):
            x = make.layer("Dense", x, 4096, activation="relu", name=name)
        return make.classify(x)

    return make.top(x, (None, None), head)
