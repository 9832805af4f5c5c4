"""The course's Keras models, trained with `model.fit` as its notebooks do.

KERAS_BACKEND chooses the backend.

Imports Keras, h5py and NumPy only: it runs in whatever interpreter has them.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import keras
import numpy as np
from keras import layers

from benchmarks.marks import Marks
from benchmarks.rivals.inputs import BATCH_SIZES, CLASSES, arguments, read


def build(model: str, shape: tuple[int, int, int] = (64, 64, 3)) -> keras.Model:
    """Build a model as the course writes it; outputs are float32 probabilities."""
    inputs = keras.Input(shape)
    if model == "functional":
        x = layers.Conv2D(8, 4, padding="same")(inputs)
        x = layers.MaxPooling2D(8, 8, padding="same")(layers.ReLU()(x))
        x = layers.Conv2D(16, 2, padding="same")(x)
        x = layers.MaxPooling2D(4, 4, padding="same")(layers.ReLU()(x))
        x = layers.Flatten()(x)
    elif model == "sequential":
        x = layers.Conv2D(32, 7)(layers.ZeroPadding2D(3)(inputs))
        x = layers.ReLU()(layers.BatchNormalization(axis=3)(x))
        x = layers.Flatten()(layers.MaxPooling2D()(x))
    else:
        x = _resnet50(inputs)
    if CLASSES[model] == 2:
        return keras.Model(inputs, layers.Dense(1, activation="sigmoid", dtype="float32")(x))
    return keras.Model(
        inputs, layers.Dense(CLASSES[model], activation="softmax", dtype="float32")(x)
    )


def _resnet50(inputs: Any) -> Any:
    x = layers.Conv2D(64, 7, strides=2)(layers.ZeroPadding2D(3)(inputs))
    x = layers.MaxPooling2D(3, strides=2)(layers.ReLU()(layers.BatchNormalization(axis=3)(x)))
    for stage, blocks in enumerate((3, 4, 6, 3)):
        filters = 64 * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            shortcut = x
            x = layers.BatchNormalization(axis=3)(layers.Conv2D(filters, 1, strides=stride)(x))
            x = layers.Conv2D(filters, 3, padding="same")(layers.ReLU()(x))
            x = layers.ReLU()(layers.BatchNormalization(axis=3)(x))
            x = layers.BatchNormalization(axis=3)(layers.Conv2D(4 * filters, 1)(x))
            if not block:
                shortcut = layers.Conv2D(4 * filters, 1, strides=stride)(shortcut)
                shortcut = layers.BatchNormalization(axis=3)(shortcut)
            x = layers.ReLU()(layers.Add()([x, shortcut]))
    return layers.Flatten()(layers.AveragePooling2D(2)(x))


class Clock(keras.callbacks.Callback):
    """Marks when epochs begin and end, before what other callbacks do at their end.

    Has no hook for steps, which would cost time in each of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.marks = Marks()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.marks.epoch()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.marks.epoch_end()

    def on_train_end(self, logs: Any = None) -> None:
        self.marks.finish()


def main() -> None:
    parser = arguments("Trains with Keras.")
    parser.add_argument(
        "--callbacks", action="store_true", help="TensorBoard, the best checkpoint and a CSV file"
    )
    parser.add_argument("--no_jit", action="store_true", help="without XLA or another compiler")
    options = parser.parse_args()
    keras.utils.set_random_seed(1)
    if options.bf16:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    images, labels = read(options.train_file)
    images = (images / 255).astype(np.float32)
    validation = None
    if options.test_file:
        test_images, test_labels = read(options.test_file)
        validation = ((test_images / 255).astype(np.float32), test_labels)
    model = build(options.model, images.shape[1:])
    loss = (
        "binary_crossentropy" if CLASSES[options.model] == 2 else "sparse_categorical_crossentropy"
    )
    jit = False if options.no_jit else "auto"  # on TensorFlow and JAX this is XLA
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"], jit_compile=jit)
    clock = Clock()
    callbacks: list[Any] = [clock]  # first: what it marks comes before what the others do
    names = []
    if options.callbacks:
        monitor = "val_loss" if validation else "loss"
        callbacks += [
            keras.callbacks.ModelCheckpoint("best.keras", monitor, save_best_only=True),
            keras.callbacks.CSVLogger("history.csv"),
        ]
        names = ["ModelCheckpoint", "CSVLogger"]
        if importlib.util.find_spec(
            "tensorflow"
        ):  # it writes Keras's TensorBoard files whatever the backend is
            callbacks.append(keras.callbacks.TensorBoard("logs"))
            names.append("TensorBoard")
    history = model.fit(
        images,
        labels,
        batch_size=options.batch_size or BATCH_SIZES[options.model],
        epochs=options.epochs,
        validation_data=validation,
        callbacks=callbacks,
        verbose=2 if options.callbacks else 0,  # a line per epoch; a bar over the steps costs more
    )
    clock.marks.write(
        losses=history.history["loss"], parameters=model.count_params(), callbacks=names
    )


if __name__ == "__main__":
    main()
