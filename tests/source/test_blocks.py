"""Parts of a network that repeat are written once."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest
from keras import layers

from signs_lightning.source.check import load_class
from signs_lightning.source.write_source import export_source

from .keras_models import page_snippets, read
from .ruff_complaints import complaints

# Lines that the networks with ten classes may have; None where only the numbers matter.
APPLICATIONS = {
    "ResNet50": 120,
    "MobileNetV2": 150,
    "VGG16": 100,
    "MobileNet": 150,
    "DenseNet121": 120,
    "Xception": None,
    "InceptionV3": None,
    "EfficientNetB0": None,
    "ResNet50V2": None,
    "MobileNetV3Small": None,
}
SIZES = {"InceptionV3": 75, "Xception": 71}  # pixels; 32 for all others


def residual_network(stages: tuple[int, ...] = (3, 4, 3)) -> keras.Model:
    """A small ResNet with Keras's names of layers."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv1")(image)
    for stage, blocks in enumerate(stages, start=1):
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            y = layers.BatchNormalization(name=f"{name}_0_bn")(x)
            y = layers.Conv2D(2 * stage, 1, activation="relu", name=f"{name}_1_conv")(y)
            y = layers.Conv2D(4 * stage, 3, padding="same", name=f"{name}_2_conv")(y)
            if block == 1:
                x = layers.Conv2D(4 * stage, 1, name=f"{name}_short")(x)
            x = layers.Add(name=f"{name}_add")([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(3, activation="softmax")(x))


def test_stages_of_blocks(tmp_path: Path):
    path = tmp_path / "net.py"
    assert export_source(read(residual_network()), path) == 0.0
    text = path.read_text()
    assert complaints(path) == ""
    for line in (
        "class ResidualBlock(nn.Module):",
        "        self.conv_1 = nn.Conv2d(2 * filters, filters, 1)",
        "class ProjectionBlock(nn.Module):",
        "ProjectionBlock(4, 4), *(ResidualBlock(4) for _ in range(3))",
    ):
        assert line in text
    net = load_class(str(path))(weights=str(path.with_suffix(".safetensors")))
    assert "network.stage2.1.conv_1.weight" in net.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(name: str, tmp_path: Path):
    size, path = SIZES.get(name, 32), tmp_path / "net.py"
    build = getattr(keras.applications, name)
    model = read(build(weights=None, input_shape=(size, size, 3), classes=10))
    assert export_source(model, path) <= 1e-9
    assert complaints(path) == ""
    if name == "ResNet50":
        assert page_snippets()[1] in path.read_text()
    most = APPLICATIONS[name]
    assert most is None or len(path.read_text().splitlines()) < most
