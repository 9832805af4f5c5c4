"""Models of ours in real Keras: it loads what we write, and gives the same outputs; round trips
keep every bit.
"""

from __future__ import annotations

import jax
import keras
import numpy as np
import pytest
import torch
from keras_io.against_keras import randomize, to_torch
from keras_io.test_models import backbone, functional_of, happy, resnet, signs
from keras_io.test_spellings import rewrite, short_nodes

from signs_lightning.errors import InputError
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.happy_sequential import HappySequential
from signs_lightning.models.signs_functional import SignsFunctional
from signs_lightning.models.signs_resnet50 import SignsResNet50

ENDINGS = {"keras": ".keras", "keras-weights": ".weights.h5", "keras-h5": ".h5"}
OURS = {
    "happy": (lambda: HappySequential(image_size=(32, 32, 3)), lambda: happy(32)),
    "signs": (lambda: SignsFunctional(num_classes=4, image_size=(40, 40, 3)), lambda: signs(40, 4)),
    "resnet50": (
        lambda: SignsResNet50(num_classes=3, image_size=(64, 64, 3), width=4),
        lambda: resnet(64, 3, width=4),
    ),
}


def predictions(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(lambda x: model(x, training=False))(images))


def shuffle_weights(model: ImageClassifier) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.rand_like(tensor) + 0.5
                    if "running_var" in name
                    else tensor + torch.randn_like(tensor) / 20
                )


@pytest.mark.parametrize("format", ENDINGS)
@pytest.mark.parametrize("name", OURS)
def test_our_architectures_in_keras(tmp_path, name, format):
    make, make_keras = OURS[name]
    ours = make().eval()
    shuffle_weights(ours)
    path = tmp_path / f"model{ENDINGS[format]}"
    export_keras(ours, path, format)
    if format == "keras-weights":
        theirs = make_keras()
        theirs.load_weights(path)
    else:
        theirs = keras.models.load_model(path, compile=False)
    images = np.random.default_rng(0).random((2, *ours.image_size), dtype=np.float32)
    predicted = ours.predict(to_torch(images)).numpy()
    np.testing.assert_allclose(
        predicted[:, 1:] if ours.binary else predicted,
        predictions(theirs, images),
        atol=1e-5,
        rtol=0,
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def transfer(frozen: bool) -> keras.Model:
    inner = backbone()
    inner.trainable = not frozen
    image = keras.Input((8, 8, 3))
    value = keras.layers.Dropout(0.2)(inner(keras.layers.Rescaling(1 / 255)(image)))
    return keras.Model(
        image, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(value))
    )


@pytest.mark.parametrize("format", ["keras", "keras-h5"])
@pytest.mark.parametrize("source", ["h5", "keras"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: happy(16),
        lambda: functional_of(signs(36)),
        lambda: transfer(False),
        lambda: transfer(True),
    ],
    ids=["sequential", "functional", "nested", "frozen"],
)
def test_there_and_back(tmp_path, make, source, format):
    """Keras → here → Keras → here: the same bits, the same outputs."""
    model = make()
    randomize(model)
    model.save(tmp_path / f"first.{source}")
    first = from_keras(tmp_path / f"first.{source}")
    path = tmp_path / f"second{ENDINGS[format]}"
    export_keras(first, path, format)
    again = keras.models.load_model(path, compile=False)
    images = np.random.default_rng(0).random((2, *model.input_shape[1:]), dtype=np.float32)
    np.testing.assert_array_equal(predictions(again, images), predictions(model, images))
    again.save(tmp_path / f"third{ENDINGS[format]}")
    third = from_keras(tmp_path / f"third{ENDINGS[format]}")
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), third.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("format", ["keras", "keras-h5"])
def test_a_file_of_keras_2_comes_out_as_one_of_keras_3(tmp_path, format):
    model = functional_of(happy(16))
    randomize(model)
    model.save(tmp_path / "old.h5")
    rewrite(tmp_path / "old.h5", "2.2.4", short_nodes)
    path = tmp_path / f"new{ENDINGS[format]}"
    export_keras(from_keras(tmp_path / "old.h5"), path, format)
    images = np.random.default_rng(0).random((2, 16, 16, 3), dtype=np.float32)
    np.testing.assert_array_equal(
        predictions(keras.models.load_model(path, compile=False), images),
        predictions(model, images),
    )


@pytest.mark.parametrize("source", ["h5", "keras"])
def test_arithmetic_comes_back(tmp_path, source):
    """`1 - x * 2`, also in `.h5`, from which Keras cannot load its own; and `x[..., ::-1]`."""
    image = keras.Input((6, 6, 3))
    value = keras.ops.relu(1.0 - keras.layers.Conv2D(3, 2)(image) * 2.0)
    value = value[..., ::-1] if source == "keras" else value
    model = keras.Model(
        image, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(value))
    )
    randomize(model)
    model.save(tmp_path / f"first.{source}")
    ours = from_keras(tmp_path / f"first.{source}")
    images = np.random.default_rng(0).random((2, 6, 6, 3), dtype=np.float32)
    for format in ("keras", "keras-h5"):
        path = tmp_path / f"second{ENDINGS[format]}"
        export_keras(ours, path, format)
        again = keras.models.load_model(path, compile=False)
        np.testing.assert_array_equal(predictions(again, images), predictions(model, images))


def test_what_cannot_be_written(tmp_path):
    class Other(ImageClassifier):
        def build(self) -> torch.nn.Module:
            return torch.nn.Linear(1, 1)

    with pytest.raises(InputError, match="A Other cannot be written"):
        export_keras(Other(), tmp_path / "a.keras")
    with pytest.raises(InputError, match=r"ends in \.weights\.h5"):
        export_keras(HappySequential(), tmp_path / "a.h5", "keras-weights")
    with pytest.raises(InputError, match="cannot be written"):
        export_keras(HappySequential(), tmp_path / "nowhere" / "a.keras")
    assert list(tmp_path.iterdir()) == []


def test_statistics_inside_of_a_model(tmp_path):
    """Keras 3 leaves them out as it reads the older format, of its own files, too."""
    inner = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.Normalization(name="norm")], name="inner"
    )
    dense = keras.layers.Dense(2, activation="softmax")
    model = keras.Sequential([keras.Input((4, 4, 3)), inner, keras.layers.Flatten(), dense])
    randomize(model)
    model.save(tmp_path / "original.keras")
    ours = from_keras(tmp_path / "original.keras", scale="/255")
    with pytest.raises(InputError, match=r"'inner/norm'.*Choose the format keras\."):
        export_keras(ours, tmp_path / "back.h5", "keras-h5")
    assert not (tmp_path / "back.h5").exists()
    export_keras(ours, tmp_path / "back.keras", check=False)
    images = np.random.default_rng(0).random((2, 4, 4, 3), dtype=np.float32)
    loaded = keras.models.load_model(tmp_path / "back.keras")
    np.testing.assert_allclose(predictions(loaded, images), predictions(model, images), atol=1e-6)
