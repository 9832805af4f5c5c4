"""Sources whose classes derive from Keras's, Lambda layers and preprocessing become graphs."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import keras
import pytest

from signs_lightning.translate.model_summary import summarize
from signs_lightning.translate.read_source import Reading, read_source

FACTS: dict[str, Any] = {"input_shape": (16, 16, 3), "classes": 4, "weights": "none"}
BLOCK = """
import tensorflow as tf
from tensorflow.keras import layers, Model

class Block(layers.Layer):
    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(filters, 3, padding="same", name="conv")
        self.norm = layers.BatchNormalization(name="norm")
    def call(self, x, training=None):
        return tf.nn.relu(self.norm(self.conv(x), training=training))
"""


def read(tmp_path: Path, text: str) -> Reading:
    path = tmp_path / "source.py"
    path.write_text(textwrap.dedent(text))
    return read_source(path, FACTS)


def record_of(reading: Reading) -> Any:
    assert reading.chosen is not None
    assert reading.chosen.record is not None
    return reading.chosen.record


def test_model_and_layer_classes(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        BLOCK
        + """
class Net(Model):
    def __init__(self, classes):
        super().__init__()
        self.blocks = [Block(8) for _ in range(2)]
        self.pool = layers.GlobalAveragePooling2D()
        self.head = layers.Dense(classes, activation="softmax")
    def call(self, inputs):
        x = inputs
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(x))

net = Net(4)
net.compile("adam", "categorical_crossentropy")
net.build((None, 16, 16, 3))
""",
    )
    x = start = keras.Input((16, 16, 3))
    for _ in range(2):
        x = keras.layers.Conv2D(8, 3, padding="same")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x))
    model = record_of(reading)
    assert not model.unknowns
    assert summarize(model).total == keras.Model(start, x).count_params()
    assert {"conv", "conv_1"} <= {layer.name for layer in model.layers}


def test_layer_class_in_functional_graph(tmp_path: Path) -> None:
    model = record_of(
        read(
            tmp_path,
            BLOCK
            + """
image = layers.Input((16, 16, 3))
x = Block(4, name="first")(image)
model = Model(image, layers.Dense(2)(layers.Flatten()(x)))
model.compile("sgd", "mse")
""",
        )
    )
    expected = (3 * 3 * 3 + 1) * 4 + 4 * 4 + (16 * 16 * 4 + 1) * 2
    assert summarize(model).total == expected


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("if training:\n            x = x * 2\n        return self.head(x)", "trains"),
        ("return self.head(tf.py_function(f, [x], tf.float32))", "py_function"),
    ],
)
def test_what_depends_on_data_is_not_translated(tmp_path: Path, body: str, named: str) -> None:
    reading = read(
        tmp_path,
        f"""
import tensorflow as tf
from tensorflow.keras import layers, Model

class Net(Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(2)
    def call(self, x, training=None):
        {body}

net = Net()
net.build((None, 5))
net.compile("adam", "mse")
""",
    )
    model = record_of(reading)
    assert named in " ".join(unknown.reason for _, unknown in model.unknowns)


def test_own_training_step_is_refused(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        """
        from tensorflow import keras

        class Net(keras.Model):
            def train_step(self, data):
                return {}

        image = keras.Input((4,))
        net = Net(image, keras.layers.Dense(2)(image))
        net.compile("adam", "mse")
        """,
    )
    refused = [finding for finding in reading.findings if "train_step" in str(finding)]
    assert refused


def test_lambda_and_preprocessing_become_operations(tmp_path: Path) -> None:
    model = record_of(
        read(
            tmp_path,
            """
            import tensorflow as tf
            from tensorflow.keras import layers, models, applications

            base = applications.MobileNetV2(
                input_shape=(96, 96, 3), include_top=False, weights="imagenet", pooling="avg"
            )
            base.trainable = False
            for layer in base.layers[-3:]:
                layer.trainable = True
            image = layers.Input((96, 96, 3))
            x = applications.mobilenet_v2.preprocess_input(image)
            x = base(x, training=False)
            model = models.Model(image, layers.Dense(3, activation="softmax")(x))
            model.compile("adam", "categorical_crossentropy")

            net = models.Sequential()
            net.add(layers.Lambda(lambda x: x / 255.0 - 0.5, input_shape=(8, 8, 3)))
            net.add(layers.Flatten())
            net.add(layers.Dense(2, activation="softmax"))
            net.compile("adam", "categorical_crossentropy")
            """,
        )
    )
    config = model.config()["config"]["layers"]
    assert [e["class_name"] for e in config] == [
        *("InputLayer", "TrueDivide", "Subtract", "Flatten", "Dense")
    ]
    assert summarize(model).total == (8 * 8 * 3 + 1) * 2
