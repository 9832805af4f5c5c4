"""Labels and class weights at which Keras stops, or which it completes."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from signs_lightning.translate.read_source import read_source
from signs_lightning.translate.translation import Translation, translate

SOURCE = """
{keras}
from {name}.layers import *
from {name}.preprocessing.image import ImageDataGenerator
(x, y), _ = keras.datasets.cifar10.load_data()
rows = keras.utils.to_categorical(y, 10)
model = keras.Sequential([Flatten(input_shape=(32, 32, 3)), Dense({units}, '{activation}')])
model.compile('sgd', '{loss}')
model.fit({data})
"""
FOLDER = "ImageDataGenerator(rescale=1 / 255).flow_from_directory('pets', (32, 32){})"
KERAS2, KERAS3 = "from tensorflow import keras", "import keras\nfrom keras import ops"
ENDINGS = [(1, "sigmoid", "binary_crossentropy"), (10, "softmax", "categorical_crossentropy")]
ENDINGS += [(10, "softmax", "sparse_categorical_crossentropy")]
FORMS = {
    "numbers": ["x / 255, y", FOLDER.format(", class_mode='sparse'")],
    "rows": ["x / 255, rows", FOLDER.format("")],
}


def _made(folder: Path, data: str, ending: tuple[int, str, str], library: str) -> Translation:
    units, activation, loss = ending
    name = "keras" if library == KERAS3 else "tensorflow.keras"
    text = SOURCE.format(
        keras=library, name=name, data=data, units=units, activation=activation, loss=loss
    )
    (folder / "source.py").write_text(text)
    return translate(read_source(folder / "source.py", {}), {})


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_labels_that_keras_stops_at_are_refused(
    form: str, ending: tuple[int, str, str], tmp_path: Path
) -> None:
    units, _activation, loss = ending
    labels = np.arange(8) % 2
    given = labels[:, None] if form == "numbers" else np.eye(max(units, 2))[labels]
    try:
        keras.losses.get(loss)(given, np.full((8, units), 1 / units))
        stops = False
    except (ValueError, IndexError):
        stops = True
    for data in FORMS[form]:
        made = _made(tmp_path, data, ending, KERAS2)
        assert made.is_whole is not stops
        assert ("config.yaml" in made.files) is not stops
        assert any("Keras stops there" in reason for reason in made.refusals) == stops


def test_rows_of_another_number_of_classes(tmp_path: Path) -> None:
    made = _made(tmp_path, "x / 255, rows", (7, "softmax", "categorical_crossentropy"), KERAS2)
    assert "one-hot rows of 10, and the model has 7 outputs" in made.refusals[0]


def test_class_weights_have_a_factor_for_each_class(tmp_path: Path) -> None:
    """Keras 3 counts once what `class_weight` leaves out; tf_keras 2.21 stops there."""
    theirs = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
    theirs.compile(keras.optimizers.SGD(0.0), "binary_crossentropy")
    x, y = np.random.default_rng(0).random((8, 4)), np.arange(8) % 2
    losses = -np.log(np.where(y, p := theirs.predict(x, verbose=0)[:, 0], 1 - p))
    for weights in ({1: 5.0}, {0: 2.0}, {0: 1.0, 1: 2.0, 2: 3.0}):
        [expected] = theirs.fit(x, y, batch_size=8, verbose=0, class_weight=weights).history["loss"]
        data = f"x / 255, y, class_weight={weights}"
        setting = _made(tmp_path, data, ENDINGS[0], KERAS3).fits[0].class_weights
        assert setting is not None
        assert len(setting.value) == 2
        assert (losses * np.array(setting.value)[y]).mean() == pytest.approx(expected, rel=1e-5)
        assert _made(tmp_path, data, ENDINGS[0], KERAS2).is_whole == (len(weights) > 1)
