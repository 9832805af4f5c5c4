"""Keras models whose source the tests write."""

from __future__ import annotations

import json
import re
from pathlib import Path

import keras
from keras import layers

from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.input_scales import Scale

SCHEDULE = {"initial_learning_rate": 0.1, "decay_steps": 20}
COMPILED = {
    "optimizer": {
        "class_name": "SGD",
        "config": {
            "learning_rate": {"class_name": "CosineDecay", "config": SCHEDULE},
            **{"momentum": 0.9, "nesterov": True},
        },
    },
    "loss": {"class_name": "CategoricalCrossentropy", "config": {"label_smoothing": 0.1}},
}


def read(model: keras.Model, scale: Scale = "/255", compiled: dict | None = None) -> FromKeras:
    """The model with weights of its own, read from its config."""
    given = None if compiled is None else json.dumps(compiled)
    return FromKeras(config=model.to_json(), scale=scale, compile_config=given)


def trained_otherwise() -> keras.Model:
    """What `fit` minds: penalties, a constraint, a frozen layer, a Dropout."""
    image = keras.Input((10, 9, 3))
    x = layers.Conv2D(4, 3, kernel_regularizer="l2", kernel_constraint="max_norm", name="a.b")(
        image
    )
    x = layers.BatchNormalization(name="train")(x)
    x = layers.Activation("swish")(x)
    y = layers.Conv2D(4, 3, padding="same", activation="relu", bias_regularizer="l1")(x)
    x = layers.Add()([x, y * 0.1])
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Dense(5, activity_regularizer="l2", name="class")(x)
    model = keras.Model(image, layers.Softmax(name="softmax")(x))
    model.get_layer("train").trainable = False
    return model


def page_snippets() -> list[str]:
    """The source that the documentation shows."""
    page = Path(__file__).parents[2] / "docs" / "own-your-model.md"
    return re.findall(r"```(?:py|text)\n(.*?)```", page.read_text(), re.DOTALL)
