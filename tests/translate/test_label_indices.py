"""Names of classes that labels of the data pick."""

from __future__ import annotations

from pathlib import Path

import pytest

from signs_lightning.translate.read_source import read_source
from signs_lightning.translate.translation import translate

SOURCE = """
import matplotlib.pyplot as plt
from tensorflow import keras
(x, y), (x_test, y_test) = keras.datasets.cifar10.load_data()
names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
by_number = dict(enumerate(names))
for i in range(2):
    plt.imshow(x[i])
    plt.xlabel({picked})
width = 16
{after}
model = keras.Sequential([keras.layers.Flatten(input_shape=(32, 32, 3)),
                          keras.layers.Dense(width), keras.layers.Dense(10)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x / 255, y)
"""


def is_whole(tmp_path: Path, picked: str, after: str = "") -> bool:
    path = tmp_path / "source.py"
    path.write_text(SOURCE.format(picked=picked, after=after))
    return translate(read_source(path, {}), {}).is_whole


@pytest.mark.parametrize(
    "picked",
    ["names[y[i][0]]", "names[int(y[i])]", "by_number[y[i][0]]", "names[:y[i][0]]", "'a'[y[0][0]]"],
)
def test_names_of_labels_are_without_effect_on_the_model(picked: str, tmp_path: Path) -> None:
    assert is_whole(tmp_path, picked)


@pytest.mark.parametrize("after", ["width = [8, 16][y[0][0]]", "width = {0: 8}[y[0][0]]"])
def test_a_width_that_a_label_picks_is_not_known(after: str, tmp_path: Path) -> None:
    assert not is_whole(tmp_path, "names[0]", after)
