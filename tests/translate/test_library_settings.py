"""Settings of libraries: those that change no model, and those that may."""

from __future__ import annotations

from pathlib import Path

import pytest

from signs_lightning.translate.read_source import read_source
from signs_lightning.translate.translation import translate

MODEL = """
from tensorflow import keras
(x, y), _ = keras.datasets.mnist.load_data()
model = keras.Sequential([keras.layers.Flatten(input_shape=(28, 28)),
                          keras.layers.Dense(10, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(x / 255, y)
"""


@pytest.mark.parametrize(
    ("setting", "is_whole"),
    [
        ("from PIL import ImageFile\nImageFile.LOAD_TRUNCATED_IMAGES = True", True),
        ("from PIL import Image\nImage.MAX_IMAGE_PIXELS = None", True),
        (
            "import ssl\nssl._create_default_https_context = ssl._create_unverified_context",
            True,
        ),
        ("from PIL import Image\nImage.open = None", False),
        ("import keras\nkeras.layers.Dense = None", False),
    ],
)
def test_only_some_settings_leave_a_model_as_it_is(
    setting: str, is_whole: bool, tmp_path: Path
) -> None:
    path = tmp_path / "source.py"
    path.write_text(setting + MODEL)
    assert translate(read_source(path, {}), {}).is_whole is is_whole
