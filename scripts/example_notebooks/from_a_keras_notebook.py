"""From a Keras notebook: written here, translated without running it, and trained."""

from __future__ import annotations

EPOCHS = 2
CELLS = [  # text, then code, and so on
    """\
# From a Keras notebook

A notebook that trains a Keras model becomes a folder that trains with Lightning. The notebook is
read as text: nothing of it is run, and neither Keras nor TensorFlow is needed. Install the package
first, in its folder: `pip install .`

## A notebook and its data

The data are drawn hands, in HDF5 files with the names that the course uses.""",
    """\
import h5py
import numpy as np

from signs_lightning import H5DataModule

data = H5DataModule(drawn="DrawnSigns")
for role, count in [("train", 1080), ("test", 120)]:
    images, labels = data.images(role, count)
    with h5py.File(f"{role}_signs.h5", "w") as file:
        file[f"{role}_set_x"], file[f"{role}_set_y"] = images, labels
        file["list_classes"] = np.arange(6)
images.shape""",
    "And this is the notebook, in two cells. Yours lies in a file already.",
    f'''\
import json

read_data = """\\
import h5py
import numpy as np
from tensorflow import keras

train, test = h5py.File("train_signs.h5"), h5py.File("test_signs.h5")
X_train, Y_train = np.array(train["train_set_x"]) / 255.0, np.array(train["train_set_y"])
X_test, Y_test = np.array(test["test_set_x"]) / 255.0, np.array(test["test_set_y"])
print(X_train.shape)
"""
train_model = """\\
model = keras.Sequential([keras.Input(shape=(64, 64, 3))])
for filters in [8, 16]:
    model.add(keras.layers.Conv2D(filters, 3, padding="same", activation="relu"))
    model.add(keras.layers.MaxPooling2D(4))
model.add(keras.layers.Flatten())
model.add(keras.layers.Dense(6, activation="softmax"))
model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", ["accuracy"])
model.fit(X_train, Y_train, epochs={EPOCHS}, batch_size=64, validation_data=(X_test, Y_test))
"""
code = {{"cell_type": "code", "metadata": {{}}, "outputs": [], "execution_count": None}}
cells = [{{**code, "source": source}} for source in (read_data, train_model)]
with open("train.ipynb", "w") as file:
    json.dump({{"cells": cells, "metadata": {{}}, "nbformat": 4, "nbformat_minor": 5}}, file)''',
    "## Translate",
    """\
%%bash
python -m signs_lightning translate train.ipynb --output translated""",
    """\
`TRANSLATION.md` says what became of every statement. What reaches the model or its training and is
not understood stands there first; here is nothing of that kind.""",
    """\
from pathlib import Path

from IPython.display import Markdown

Markdown(Path("translated/TRANSLATION.md").read_text())""",
    "The model is plain PyTorch and Lightning, and yours:",
    """\
print(Path("translated/model.py").read_text())""",
    "The training is a configuration; each value says where it comes from.",
    """\
print(Path("translated/config.yaml").read_text())""",
    "## Train",
    """\
%%bash
python -m signs_lightning fit --config translated/config.yaml --trainer.accelerator cpu""",
    """\
The run is like any other: `validate`, `predict`, `report` and `export` take it, with `--model
translated.model.Net`, which names the class in the folder.""",
    """\
%%bash
python -m signs_lightning validate lightning_logs/train/version_0 --model translated.model.Net""",
]
