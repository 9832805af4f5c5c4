"""Loops over data sets, which change a model or only look at images; the files of generators."""

from __future__ import annotations

from pathlib import Path

import pytest

from signs_lightning.translate.read_source import read_source
from signs_lightning.translate.translation import Translation, translate

HEAD = """
import matplotlib.pyplot as plt
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers
images = keras.utils.image_dataset_from_directory('pets', image_size=(32, 32), batch_size=8)
augment = keras.Sequential([layers.RandomFlip('horizontal')])
model = keras.Sequential([keras.Input((32, 32, 3)), augment, layers.Rescaling(1 / 255),
                          layers.Flatten(), layers.Dense(4, activation='softmax')])
weights = model.trainable_weights
optimizer = keras.optimizers.SGD(0.1)
"""
FIT = """
model.compile('adam', 'sparse_categorical_crossentropy')
model.fit(images, epochs=3)
"""
PREVIEW = """
for batch, _ in images.take(1):
    for i in range(9):
        plt.subplot(3, 3, i + 1)
        seen = augment(tf.expand_dims(batch[0], 0))
        plt.imshow(seen[0] / 255)
        print(model(batch))
"""
STEP = """
for batch, labels in images:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(batch))
    gradients = tape.gradient(loss, weights)
    optimizer.apply_gradients(zip(gradients, weights))
"""
MINIMIZE = """
for batch, labels in images:
    optimizer.minimize(lambda: tf.reduce_mean(model(batch)), weights)
"""
FROZEN = """
for batch, labels in images:
    model.trainable = False
"""


def _translated(folder: Path, source: str) -> Translation:
    path = folder / "source.py"
    path.write_text(source)
    return translate(read_source(path, {}), {})


def test_a_look_at_images_changes_no_model(tmp_path: Path) -> None:
    made = _translated(tmp_path, HEAD + PREVIEW + FIT)
    assert made.is_whole
    config = made.fits[-1].model_config
    expected = _translated(tmp_path, HEAD + FIT).fits[-1].model_config
    assert config is not None
    assert config == expected


@pytest.mark.parametrize("loop", [STEP, MINIMIZE, FROZEN])
def test_a_loop_that_changes_a_model_is_refused(loop: str, tmp_path: Path) -> None:
    assert not _translated(tmp_path, HEAD + loop + FIT).is_whole


@pytest.mark.parametrize(
    ("steps", "share"),
    [
        ("len(pets.filenames) // 8", None),
        ("len(pets.filepaths) // 16", 0.5),
        ("pets.samples // 16", 0.5),
    ],
)
def test_a_generator_has_a_file_for_each_image(
    steps: str, share: float | None, tmp_path: Path
) -> None:
    source = (
        f"{HEAD}model.compile('adam', 'categorical_crossentropy')\n"
        "reader = keras.preprocessing.image.ImageDataGenerator()\n"
        "pets = reader.flow_from_directory('pets', target_size=(32, 32), batch_size=8)\n"
        f"model.fit(pets, steps_per_epoch={steps})"
    )
    made = _translated(tmp_path, source)
    assert made.is_whole
    limit = made.fits[-1].trainer.get("limit_train_batches")
    assert getattr(limit, "value", None) == share
