"""Random layers of Keras: with the same parameters they change images as Keras does, and they draw
these parameters as often.
"""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace

import h5py
import jax
import keras
import numpy as np
import pytest
import torch
from keras import layers
from keras.src.layers.preprocessing.image_preprocessing import equalization

from signs_lightning.keras_io import image_sampling
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.layer_context import LayerContext
from signs_lightning.keras_io.model_graph import Layer
from signs_lightning.keras_io.random_layer import RandomLayer
from signs_lightning.keras_io.random_layers import random_layer

from .against_keras import randomize, to_torch

HEIGHT, WIDTH = 9, 12
BYTES = np.random.default_rng(0).integers(0, 256, (6, HEIGHT, WIDTH, 3)).astype(np.float32)


def ours_of(layer: keras.Layer, version: str = keras.__version__, channels: int = 3):
    """The module for a layer of Keras, from its config as a file has it, in training."""
    config = json.loads(json.dumps(layer.get_config()))
    entry = Layer(("x",), type(layer).__name__, config, int(version[0]), True, "", None, version)
    context = LayerContext(entry, ((HEIGHT, WIDTH, channels),), True, {})
    return random_layer(context)[0].train()


def torch_of(value) -> torch.Tensor:
    return torch.from_numpy(np.array(value))


def per_image(value) -> torch.Tensor:
    return torch_of(value).reshape(-1, 1, 1, 1)


def parameters_of(layer: keras.Layer, drawn) -> dict[str, torch.Tensor]:
    """What Keras drew, as the parameters here."""
    name = type(layer).__name__
    if name == "RandomGrayscale":
        return {"should_apply": per_image(drawn)}
    size = (HEIGHT, WIDTH)
    if name == "RandomRotation":
        return {"matrix": image_sampling.rotation_matrix(torch_of(drawn["angle"]), *size)}
    if name == "RandomZoom":
        rows, columns = (torch_of(drawn[f"{key}_zoom"])[:, 0] for key in ("height", "width"))
        return {"matrix": image_sampling.scaling_matrix(rows, columns, *size)}
    if name == "RandomTranslation":
        return {"matrix": image_sampling.shift_matrix(*torch_of(drawn["translations"]).T)}
    if name == "RandomShear":
        return {"matrix": image_sampling.shear_matrix(*torch_of(drawn["shear_factor"]).T)}
    if name == "RandomFlip":
        return dict.fromkeys(("across", "down"), per_image(drawn["flips"]))
    if name == "RandomPerspective":
        points = (torch_of(drawn[f"{end}_points"]) for end in ("start", "end"))
        is_moved = per_image(drawn["apply_perspective"])
        return {"is_moved": is_moved, "matrix": image_sampling.homography(*points)}
    if name == "RandomGaussianBlur":
        is_blurred = per_image(drawn["should_apply_blur"])
        return {"is_blurred": is_blurred, "sigma": torch_of(drawn["blur_factor"])}
    if name in ("RandomErasing", "CutMix"):
        boxes = torch_of(drawn["batch_masks"])[..., 0][:, None]
        if name == "CutMix":
            return {"is_erased": boxes, "order": torch_of(drawn["permutation_order"])}
        is_erased = boxes & per_image(drawn["apply_erasing"])
        return {"is_erased": is_erased, "fill": to_torch(np.array(drawn["fill_value"]))}
    if name == "MixUp":
        order = torch_of(drawn["permutation_order"]).long()
        return {"mix_weight": per_image(drawn["mix_weight"]), "order": order}
    return {key: per_image(value) for key, value in drawn.items()}


def assert_changes_as_keras(layer: keras.Layer, images: np.ndarray, largest: float) -> None:
    drawn = layer.get_random_transformation(images, training=True)
    # Compiled at once: op by op takes many times as long.
    change = jax.jit(lambda x: layer.transform_images(x, drawn, training=True))
    expected = np.asarray(change(images))
    module = ours_of(layer, channels=images.shape[-1])
    assert isinstance(module, RandomLayer)
    changed = module.change(to_torch(images), **parameters_of(layer, drawn))
    found = changed.permute(0, 2, 3, 1).numpy()  # (N, C, H, W) -> (N, H, W, C)
    np.testing.assert_allclose(found, expected, atol=1e-5 * largest, rtol=0)
    assert np.abs(found - images).mean() > 0.01 * largest  # it does something


UNIT = {"value_range": (0, 1)}
keras.utils.set_random_seed(1)  # or all images may be those that are not flipped
COLORS = {
    "flip": layers.RandomFlip(),
    "contrast": layers.RandomContrast(0.8),
    "brightness": layers.RandomBrightness(0.6),
    "hue": layers.RandomHue((0.5, 1.0)),
    "saturation": layers.RandomSaturation((0.2, 0.9)),
    "degeneration": layers.RandomColorDegeneration(0.9),
    "grey": layers.RandomGrayscale(0.6),
    "invert": layers.RandomInvert((0.7, 1.0)),
    "posterize": layers.RandomPosterization((1, 4)),
    "solarize": layers.Solarization(0.4, 0.9),
    "sharpness": layers.RandomSharpness((0.0, 0.9)),
    "blur": layers.RandomGaussianBlur((0.9, 1.0), (3, 5), (0.5, 1.0)),
    "erase": layers.RandomErasing((0.9, 1.0), (0.2, 0.6)),
    "erase with a number": layers.RandomErasing((0.9, 1.0), (0.2, 0.6), 99),
    "perspective": layers.RandomPerspective((0.9, 1.0), 0.6, fill_value=7.0),
    "mix up": layers.MixUp(0.6),
    "cut mix": layers.CutMix((0.8, 1.0)),
}
IN_UNITS = {
    "contrast": layers.RandomContrast(0.8, **UNIT),
    "brightness": layers.RandomBrightness(0.6, **UNIT),
    "hue": layers.RandomHue((0.5, 1.0), **UNIT),
    "saturation": layers.RandomSaturation((0.2, 0.9), **UNIT),
    "posterize": layers.RandomPosterization((1, 4), **UNIT),
    "solarize": layers.Solarization(0.4, 0.9, **UNIT),
    "invert": layers.RandomInvert((0.7, 1.0), **UNIT),
}
MOVES = {
    "rotation": lambda **options: layers.RandomRotation(0.3, **options),
    "zoom": lambda **options: layers.RandomZoom(0.6, 0.3, **options),
    "one zoom": lambda **options: layers.RandomZoom((-0.6, 0.8), **options),
    "translation": lambda **options: layers.RandomTranslation(1.0, (-0.2, 0.9), **options),
    "shear": lambda **options: layers.RandomShear(1.0, 0.8, **options),
}


MORE = [
    layers.RandAugment(value_range=(0, 1), name="rand"),
    layers.AugMix(value_range=(0, 1), name="mix"),
    layers.RandomColorJitter((0, 1), 0.2, 0.2, 0.2, 0.2, name="jitter"),
    layers.RandomElasticTransform((0.9, 1.0), name="elastic"),
    layers.MixUp(name="mixup"),
    layers.CutMix(name="cutmix"),
]


def test_a_few_layers_change_images_as_keras():
    """Those that most models have; the others are below."""
    for layer in (layers.RandomRotation(0.3), COLORS["contrast"], COLORS["flip"]):
        assert_changes_as_keras(layer, BYTES, 255)


@pytest.mark.slow
@pytest.mark.parametrize("name", COLORS)
def test_colours_are_keras_own(name):
    assert_changes_as_keras(COLORS[name], BYTES, 255)


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_UNITS)
def test_colours_in_another_range_are_keras_own(name):
    assert_changes_as_keras(IN_UNITS[name], BYTES / np.float32(255), 1)


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fill_mode", ["reflect", "wrap", "constant", "nearest"])
@pytest.mark.parametrize("name", MOVES)
def test_moves_are_keras_own(name, fill_mode, interpolation):
    layer = MOVES[name](fill_mode=fill_mode, interpolation=interpolation, fill_value=7.0)
    assert_changes_as_keras(layer, BYTES, 255)


@pytest.mark.slow
@pytest.mark.parametrize("fill_mode", ["reflect", "mirror", "constant"])
def test_elastic_transforms_are_keras_own(fill_mode, monkeypatch):
    """Keras draws the noise as it transforms, so it is given both."""
    layer = layers.RandomElasticTransform((0.9, 1.0), (0.7, 0.9), fill_mode=fill_mode)
    drawn = layer.get_random_transformation(BYTES, training=True)
    rng = np.random.default_rng(1)
    noise = [rng.normal(size=(6, HEIGHT, WIDTH)).astype(np.float32) for _ in range(2)]
    given = iter(noise)
    monkeypatch.setattr(jax.random, "normal", lambda *_, **__: jax.numpy.asarray(next(given)))
    expected = np.asarray(layer.transform_images(BYTES, drawn, training=True))
    dx, dy = map(torch.from_numpy, noise)
    found = ours_of(layer).change(
        to_torch(BYTES),
        is_distorted=per_image(drawn["apply_transform"]),
        scale=torch_of(drawn["distortion_factor"]),
        dx=dx,
        dy=dy,
    )
    found = found.permute(0, 2, 3, 1).numpy()  # (N, C, H, W) -> (N, H, W, C)
    np.testing.assert_allclose(found, expected, atol=1e-2)
    assert np.abs(found - BYTES).mean() > 1


@pytest.mark.slow
def test_the_parts_of_rand_augment_are_keras_own(monkeypatch):
    """In Keras's order, with its ranges of parameters."""
    layer = layers.RandAugment(factor=0.6)
    # On JAX a histogram takes a minute, by one sum for each of 256 values.
    monkeypatch.setattr(equalization, "backend", SimpleNamespace(backend=lambda: "numpy"))
    drawn = layer.get_random_transformation(BYTES, training=True)["transforms"]
    for name, part in zip(drawn, ours_of(layer).parts, strict=True):
        own = getattr(layer, name)
        change = functools.partial(own.transform_images, transformation=drawn[name])
        compiled = change if name == "equalization" else jax.jit(change)
        expected = np.asarray(compiled(BYTES))
        parameters = parameters_of(own, drawn[name] or {})
        found = part.change(to_torch(BYTES), **parameters).permute(0, 2, 3, 1).numpy()
        # a value between two bytes falls to either side by rounding
        is_off = (np.abs(found - expected) > 3e-3).mean()
        assert is_off <= (0.01 if name in ("random_posterization", "equalization") else 0), name
        assert np.abs(found - BYTES).mean() > 0.1
        for key, values in part.draw(to_torch(np.repeat(BYTES, 500, axis=0))).items():
            low, high = parameters[key].amin(), parameters[key].amax()
            slack = 0.3 * (high - low).abs() + 1e-3
            assert (values.amin() <= low + slack) & (values.amax() >= high - slack), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "layer",
    [
        *COLORS.values(),
        *(make() for make in MOVES.values()),
        layers.RandomContrast(0.3),
        layers.RandomHue(0.4),
        layers.RandomSaturation(0.5),
        layers.Solarization(0.3, 0.2),
        layers.RandomPosterization(6),
        layers.RandomInvert(0.4),
        layers.RandomErasing(),
        layers.RandomSharpness(0.5),
        layers.RandomGaussianBlur(),
        layers.RandomFlip("horizontal"),
        layers.RandomFlip("vertical"),
    ],
    ids=lambda layer: layer.name,
)
def test_parameters_are_drawn_as_keras_draws_them(layer):
    """Mean, deviation and range over 3,000 images."""
    images = np.random.default_rng(0).random((3000, HEIGHT, WIDTH, 3), dtype=np.float32)
    theirs = parameters_of(layer, layer.get_random_transformation(images, training=True))
    torch.manual_seed(0)
    ours = ours_of(layer).draw(to_torch(images))
    assert ours.keys() == theirs.keys()
    for key, found in ours.items():
        if type(layer).__name__ == "RandomFlip" and layer.mode != "horizontal_and_vertical":
            is_used = (key == "across") == (layer.mode == "horizontal")
            assert found.float().mean() == pytest.approx(0.5 * is_used, abs=0.04)
            continue
        if key in ("sigma", "order"):  # once for the batch; each image once
            assert found.shape == theirs[key].shape
            continue
        found, expected = found.float().flatten(1), theirs[key].float().flatten(1)
        if key == "fill":  # one number, or one for each value
            found, expected = found.reshape(-1, 1), expected.reshape(-1, 1)
        spread = max((expected.amax(0) - expected.amin(0)).max().item(), 1e-6)
        measures = ["mean"] if len(found) == 1 else ["mean", "std"]
        measures += [] if key in ("fill", "matrix") else ["amin", "amax"]
        for measure in measures:
            value, wanted = (getattr(tensor, measure)(0) for tensor in (found, expected))
            torch.testing.assert_close(value, wanted, atol=0.07 * spread, rtol=0)


def test_draws_of_earlier_versions():
    """Until Keras 3.5 each way is flipped on its own, and there is one contrast for the batch,
    from 1 − f to 1 + f; the range of values is 0..255 until 3.7.
    """
    images = torch.full((400, 3, HEIGHT, WIDTH), 1.0)
    for version, is_joint in (("2.15.0", False), ("3.5.0", False), ("3.6.0", True)):
        flips = ours_of(layers.RandomFlip(), version).draw(images)
        assert bool((flips["across"] == flips["down"]).all()) == is_joint
        contrast = layers.RandomContrast(0.3, value_range=(0, 0.5))
        contrast.factor = 0.3  # as these versions write it
        module = ours_of(contrast, version)
        factors = torch.cat([module.draw(images)["contrast_factor"] for _ in range(100)])
        assert len(factors) == (40_000 if is_joint else 100)
        assert factors.min() == pytest.approx(1.0 if is_joint else 0.7, abs=0.05)
        assert factors.max() == pytest.approx(1.3, abs=0.05)
        assert module(images).max() == 1
    assert ours_of(contrast, "3.8.0")(images).max() == 0.5


@pytest.mark.parametrize("more", [(), pytest.param(MORE, marks=pytest.mark.slow)], ids=len)
def test_they_act_in_training_alone(tmp_path, more):
    """Each image on its own, also in a frozen model; the numbers are those of PyTorch's generator.
    At rest a model predicts as Keras's.
    """
    base = keras.Sequential(
        [
            keras.Input((HEIGHT, WIDTH, 3)),
            layers.RandomFlip("horizontal", name="flip"),
            layers.RandomZoom(0.5, fill_mode="constant", name="zoom"),
            *more,
            layers.Conv2D(2, 3, name="conv"),
        ],
        name="base",
    )
    base.trainable = False
    model = keras.Sequential(
        [base, layers.Flatten(name="flat"), layers.Dense(2, activation="softmax", name="end")]
    )
    randomize(model)
    model.save(tmp_path / "m.keras")
    ours = FromKeras(path=str(tmp_path / "m.keras"), scale="/255")
    assert not ours.omissions
    images = np.repeat(BYTES[:1], 6, axis=0) / np.float32(255)
    expected = np.asarray(jax.jit(lambda x: model(x, training=False))(images))
    np.testing.assert_allclose(ours.predict(to_torch(images)), expected, atol=1e-5)
    seen: dict[str, list[torch.Tensor]] = {}

    def watch(name, value):
        seen.setdefault(name, []).append(value)

    ours.train()
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        ours.network(to_torch(images), watch)
    for name in ("flip", "zoom", *(layer.name for layer in more)):
        first, again, other = seen[f"base/{name}"]
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert first.shape == (6, 3, HEIGHT, WIDTH)
    zoomed = seen["base/zoom"][0]
    assert all(not torch.equal(zoomed[0], other) for other in zoomed[1:])


def test_what_cannot_act_is_named(tmp_path):
    """Here grey images have no hue; Keras would stop in training."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.RandomFlip(name="colours"),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        config = file.attrs["model_config"].replace("RandomFlip", "RandomHue")
        file.attrs["model_config"] = config
    ours = FromKeras(path=str(tmp_path / "m.h5"), scale="/255").train()
    assert ours.omissions == ["the augmentation of RandomHue 'colours'"]
    ours(torch.rand(2, 1, 8, 8))
