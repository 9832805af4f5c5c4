"""Keras (TensorFlow backend) trains the two small models on the pictures beside this file, not
shuffled.

    KERAS_BACKEND=tensorflow python make.py OUT

writes weights, histories and probabilities into OUT/signs and OUT/smiles. It needs keras,
tensorflow and h5py, nothing of this project.
"""

import csv
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers

COLUMNS = ["loss", "accuracy", "val_loss", "val_accuracy"]
RUNS = {  # loss, epochs, learning rate
    "signs": ("sparse_categorical_crossentropy", 60, 0.005),
    "smiles": ("binary_crossentropy", 10, 0.001),
}


def read(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """float32 (N, 64, 64, 3) in 0..1 and int64 (N,)"""
    with h5py.File(Path(__file__).with_name(f"{name}_{split}.h5")) as file:
        return file[f"{split}_set_x"][:].astype("float32") / 255, file[f"{split}_set_y"][:].reshape(
            -1
        )


def functional() -> keras.Model:
    image = keras.Input((64, 64, 3))
    value = layers.ReLU()(layers.Conv2D(8, 4, padding="same")(image))
    value = layers.MaxPool2D(8, 8, padding="same")(value)
    value = layers.ReLU()(layers.Conv2D(16, 2, padding="same")(value))
    value = layers.MaxPool2D(4, 4, padding="same")(value)
    return keras.Model(image, layers.Dense(6, activation="softmax")(layers.Flatten()(value)))


def sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            layers.ZeroPadding2D(3),
            layers.Conv2D(32, 7),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPool2D(2),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def main(output: Path) -> None:
    for name, build in (("signs", functional), ("smiles", sequential)):
        loss, epochs, rate = RUNS[name]
        keras.utils.set_random_seed(1)
        model, folder = build(), output / name
        folder.mkdir(parents=True, exist_ok=True)
        model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
        (images, labels), test = read(name, "train"), read(name, "test")
        model.save(folder / "initial.h5", include_optimizer=False)
        history = model.fit(
            images,
            labels,
            batch_size=16,
            epochs=epochs,
            shuffle=False,
            validation_data=test,
            verbose=0,
        ).history
        model.save(folder / "trained.keras")
        model.save(folder / "trained.h5", include_optimizer=True)
        model.save_weights(folder / "trained.weights.h5")
        np.save(folder / "test_probabilities.npy", model.predict(test[0], verbose=0))
        with (folder / "history.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *COLUMNS])
            writer.writerows(
                [k, *(f"{history[column][k]:.9g}" for column in COLUMNS)] for k in range(epochs)
            )
        print(name, {key: round(values[-1], 4) for key, values in history.items()})
        print("Keras", keras.__version__, "on", keras.backend.backend())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
