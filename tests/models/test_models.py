"""The three models: Keras's totals, Keras's outputs from the same weights, and runs that follow
real Keras's.
"""

import math
import warnings
from functools import partial
from typing import Any

import h5py
import keras
import lightning as L
import numpy as np
import pytest
import torch
from keras import layers as kl
from references import read_images
from torch import nn
from torchmetrics.classification import BinaryAUROC, MulticlassAUROC

from signs_lightning import (
    H5DataModule,
    HappySequential,
    ImageClassifier,
    InputError,
    SignsFunctional,
    SignsResNet50,
)
from signs_lightning.callbacks.model_summary import count_parameters
from signs_lightning.models.signs_resnet50 import Bottleneck

# Keras's own get_weights and NumPy 2, which nobody here can put right.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(autouse=True)
def same_everywhere():
    """Sums are added up in one order, whatever the machine, and two test processes don't wait for
    each other's threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


WEIGHTED = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)


def random_bytes(count, height, width, channels=3, seed=0):
    """uint8 (N, H, W, C)"""
    return np.random.default_rng(seed).integers(
        0, 256, (count, height, width, channels), dtype=np.uint8
    )


def trainer(**kwargs):
    return L.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **kwargs,
    )


def data_of(files, **options):
    train_file, val_file = map(str, files)
    return H5DataModule(train_file, val_file, **options)


def copy_weights(model, arrays):
    """Fills the model's layers, in order, with Keras's arrays: kernel, bias; gamma, beta, mean,
    variance.
    """
    arrays = [torch.tensor(np.asarray(array)) for array in arrays]
    with torch.no_grad():
        for layer in (layer for layer in model.network.modules() if isinstance(layer, WEIGHTED)):
            targets: list[torch.Tensor] = list(layer.parameters())
            if isinstance(layer, nn.BatchNorm2d):
                targets += [layer.get_buffer("running_mean"), layer.get_buffer("running_var")]
            for target in targets:
                value = arrays.pop(0)
                if target is layer.weight and value.ndim > 1:
                    # HWIO -> OIHW, (in, out) -> (out, in)
                    value = value.permute(3, 2, 0, 1) if value.ndim == 4 else value.T
                target.copy_(value)  # wants the same shape
                assert target.shape == value.shape
    assert not arrays
    return model


@pytest.mark.parametrize(
    ("model", "total", "trainable"),
    [
        (SignsFunctional, 1_310, 1_310),
        (HappySequential, 37_633, 37_569),
        (SignsResNet50, 23_600_006, 23_546_886),
    ],
)
def test_totals_are_those_keras_prints(model, total, trainable):
    """The numbers of Keras's `summary()` in the course's notebooks."""
    assert count_parameters(model()) == (total, trainable)


@pytest.mark.parametrize(
    ("model", "classes", "size"),
    [
        (SignsFunctional, 6, (64, 64, 3)), (SignsFunctional, 10, (28, 28, 1)),
        (SignsFunctional, 3, (50, 37, 4)), (SignsFunctional, 2, (1, 1, 3)),
        (HappySequential, 2, (64, 64, 3)), (HappySequential, 2, (33, 50, 1)),
        (SignsResNet50, 6, (64, 64, 3)), (SignsResNet50, 4, (37, 37, 1)),
        (SignsResNet50, 11, (130, 70, 2)),
    ],
)  # fmt: skip
def test_outputs_for_any_size_channels_and_classes(model, classes, size):
    options = {"width": 4} if model is SignsResNet50 else {}
    model = model(num_classes=classes, image_size=size, **options)
    logits = model.eval()(torch.rand(2, size[2], *size[:2]))
    assert logits.shape == (2, 1 if model.binary else classes)
    assert model.probabilities(logits).shape == (2, classes)


def test_resnet_refuses_images_that_would_vanish():
    with pytest.raises(
        InputError, match=r"SignsResNet50 needs images of at least 37×37 pixels, these have 36×64\."
    ):
        SignsResNet50(image_size=(36, 64, 3), width=4)


@pytest.mark.parametrize("initializer", ["glorot_uniform", "he_normal"])
def test_the_longer_resnet_trains(initializer):
    """(2, 3, 5, 3) has one block more: 53 weighted layers, and a step reaches every parameter."""
    model = SignsResNet50(identity_blocks=(2, 3, 5, 3), width=4, initializer=initializer)
    main_path = [
        layer
        for name, layer in model.network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(main_path) == 53
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimizer = model.configure_optimizers()
    images, labels = torch.from_numpy(random_bytes(4, 64, 64)), torch.tensor([0, 1, 2, 5])
    model.training_step((images, labels), 0).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name
        assert parameter.isfinite().all(), name


def keras_signs(size, classes=6, activation="softmax"):
    same = {"padding": "same"}
    return keras.Sequential(
        [
            keras.Input(size),
            kl.Conv2D(8, 4, **same), kl.ReLU(), kl.MaxPooling2D(8, strides=8, **same),
            kl.Conv2D(16, 2, **same), kl.ReLU(), kl.MaxPooling2D(4, strides=4, **same),
            kl.Flatten(), kl.Dense(classes, activation),
        ]
    )  # fmt: skip


def keras_happy(size, activation="sigmoid"):
    return keras.Sequential(
        [
            keras.Input(size),
            kl.ZeroPadding2D(3),
            kl.Conv2D(32, 7),
            kl.BatchNormalization(),
            kl.ReLU(),
            kl.MaxPooling2D(2),
            kl.Flatten(),
            kl.Dense(1, activation),
        ]
    )


def keras_resnet(size, classes, width, identity_blocks):
    """ResNet50 out of the course's layers; returns the model and its weighted layers in the order
    they were made.
    """
    made = []
    # The weights are drawn in numpy afterwards: XLA compiles a draw for every shape.
    zeros = {"kernel_initializer": "zeros"}

    def add(layer, x):
        made.append(layer)
        return layer(x)

    def conv_bn(x, filters, kernel, stride=1):
        conv = kl.Conv2D(filters, kernel, strides=stride, padding="same", **zeros)
        return add(kl.BatchNormalization(), add(conv, x))

    def block(x, filters, stride, projection):
        # 'same' equals the course's 'valid' for 1×1 kernels
        main = kl.ReLU()(conv_bn(x, filters, 1, stride))
        main = kl.ReLU()(conv_bn(main, filters, 3))
        main = conv_bn(main, 4 * filters, 1)
        return kl.ReLU()(kl.Add()([main, conv_bn(x, 4 * filters, 1, stride) if projection else x]))

    x = inputs = keras.Input(size)
    x = add(kl.Conv2D(width, 7, strides=2, **zeros), kl.ZeroPadding2D(3)(x))
    x = kl.MaxPooling2D(3, strides=2)(kl.ReLU()(add(kl.BatchNormalization(), x)))
    for stage, identities in enumerate(identity_blocks):
        x = block(x, width * 2**stage, 1 if stage == 0 else 2, projection=True)
        for _ in range(identities):
            x = block(x, width * 2**stage, 1, projection=False)
    x = kl.Flatten()(kl.AveragePooling2D(2)(x))
    return keras.Model(inputs, add(kl.Dense(classes, "softmax", **zeros), x)), made


def randomize(layers, seed=0):
    """Random kernels, biases and moving statistics, so that no term drops out of the comparison;
    returns all arrays.
    """
    rng = np.random.default_rng(seed)
    arrays = []
    for layer in layers:
        weights = [np.array(weight) for weight in layer.get_weights()]
        if weights:
            fan_in = weights[0][..., 0].size
            weights = [
                rng.normal(0, 0.1 if k else fan_in**-0.5, weight.shape)
                for k, weight in enumerate(weights)
            ]
            if len(weights) == 4:  # gamma, beta, mean, variance
                weights[0], weights[3] = (rng.uniform(0.5, 1.5, weights[0].shape) for _ in range(2))
            layer.set_weights(weights)
            arrays += layer.get_weights()
    return arrays


@pytest.mark.parametrize("size", [(64, 64, 3), (50, 37, 3), (35, 90, 1)])
@pytest.mark.parametrize("name", ["signs", "happy"])
def test_probabilities_are_keras_s_at_any_size(name, size):
    """The same random weights in a live Keras model of the course's layers, conv → ReLU → pool."""
    reference = keras_signs(size) if name == "signs" else keras_happy(size)
    model = {"signs": SignsFunctional, "happy": HappySequential}[name](image_size=size)
    copy_weights(model, randomize(reference.layers))
    images = random_bytes(3, *size)
    expected = np.asarray(reference((images / 255).astype(np.float32), training=False))
    actual = model.predict(images)
    if name == "happy":
        actual = actual[:, 1:]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


def test_resnet_probabilities_are_keras_s():
    """Width 4, not square, 2×3 positions before Flatten; random statistics in every layer."""
    size, blocks = (130, 190, 3), (2, 3, 5, 2)
    reference, made = keras_resnet(size, 6, 4, blocks)
    model = SignsResNet50(image_size=size, width=4, identity_blocks=blocks)
    copy_weights(model, randomize(made))
    assert count_parameters(model.network)[0] == reference.count_params()
    images = random_bytes(2, *size)
    expected = reference.predict_on_batch((images / 255).astype(np.float32))
    assert expected.std() > 0.01, "the network is not constant"
    np.testing.assert_allclose(model.predict(images), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["signs", pytest.param("happy", marks=pytest.mark.slow)])
def test_a_run_follows_live_keras(name, small_signs, small_smiles):
    """Three epochs of drawn data, not shuffled, from the same weights: each figure of `fit`'s
    history.

    The loss is taken from logits: Keras on JAX would clip probabilities, which on TensorFlow it
    does not.
    """
    train_file, test_file = small_signs if name == "signs" else small_smiles
    keras.utils.set_random_seed(0)
    model: ImageClassifier
    if name == "signs":
        model, reference = SignsFunctional(), keras_signs((64, 64, 3), activation=None)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    else:
        model, reference = HappySequential(), keras_happy((64, 64, 3), activation=None)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0)
    reference.compile("adam", loss, metrics=[accuracy])
    copy_weights(model, [array for layer in reference.layers for array in layer.get_weights()])
    (images, labels), (val_images, val_labels) = read_images(train_file), read_images(test_file)
    scaled, val_scaled = ((x / 255).astype(np.float32) for x in (images, val_images))
    options = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0}
    validation = (val_scaled, val_labels)
    expected = reference.fit(scaled, labels, validation_data=validation, **options).history

    data = H5DataModule(str(train_file), test_file=str(test_file), batch_size=16, shuffle=False)
    trainer(max_epochs=3).fit(model, data)
    assert [row["epoch"] for row in model.history] == [0, 1, 2]
    # Happy's rounding grows: the bias before BatchNorm has a gradient of 1e-9 instead of 0, and
    # Adam makes a full step of it.
    tolerance = {"signs": 1e-5, "happy": 0.02}[name]
    for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
        ours = column(model.history, key)
        np.testing.assert_allclose(ours, expected[key], tolerance, tolerance, err_msg=key)


def legacy_weights(path):
    """All arrays of a legacy .h5 in Keras's order."""
    with h5py.File(path) as file:
        group = file["model_weights"]
        return [
            group[layer][weight][()]
            for layer in group.attrs["layer_names"]
            for weight in group[layer].attrs["weight_names"]
        ]


def column(rows, key):
    return np.array([row[key] for row in rows])


def test_probabilities_are_those_real_keras_wrote(reference):
    """TensorFlow's Keras predicted these test images with these weights."""
    model = HappySequential() if reference.binary else SignsFunctional()
    copy_weights(model, legacy_weights(reference.folder / "trained.h5"))
    images, labels = reference.test()
    actual = model.predict(images)
    found = actual[:, 1:] if reference.binary else actual
    np.testing.assert_allclose(found, reference.probabilities, rtol=0, atol=1e-5)
    assert (actual.argmax(1) == labels).sum() == reference.correct


# Of loss and validation loss, the largest differences in the first five epochs, in any, and in the
# last one. Rounding grows from step to step: most for signs at the golden files' rate, less in the
# sequential model, where a bias before BatchNorm follows rounding alone.
slow = partial(pytest.param, marks=pytest.mark.slow)
FOLLOWED = [
    ("signs", 0.005, 16, (1e-5, 0.08, 0.08), (1e-4, 0.2, 0.2)),
    ("smiles", 0.001, 16, (2e-3, 2e-3, 0.03), (0.02, 0.02, 0.02)),
    slow("photos of hands", 0.001, 64, (5e-4, 0.03, 0.01), (5e-4, 0.03, 0.03)),
    slow("photos of faces", 0.001, 16, (0.03, 0.03, 0.03), (0.03, 0.03, 0.03)),
]


@pytest.mark.parametrize(
    ("reference", "lr", "batch_size", "loss", "val_loss"), FOLLOWED, indirect=["reference"]
)
def test_training_follows_real_keras(reference, lr, batch_size, loss, val_loss):
    """From Keras's initial weights, not shuffled, each epoch stays beside the history that
    TensorFlow's Keras wrote.
    """
    model = HappySequential(lr=lr) if reference.binary else SignsFunctional(lr=lr)
    copy_weights(model, legacy_weights(reference.folder / "initial.h5"))
    data: dict[str, Any]
    data = {"train_file": str(reference.train_file), "test_file": str(reference.test_file)}
    if reference.train_count is not None:  # a part of one file
        data = {"train_file": reference.train(), "val_file": reference.test()}
    options: dict[str, Any] = {"batch_size": batch_size, "shuffle": False}
    expected = reference.history
    trainer(max_epochs=len(expected["loss"])).fit(model, H5DataModule(**data, **options))
    for key, (first, most, last) in (("loss", loss), ("val_loss", val_loss)):
        difference = np.abs(column(model.history, key) - expected[key])
        assert difference[:5].max() < first, key
        assert difference.max() < most, key
        assert difference[-1] < last, key
    assert abs(model.history[-1]["accuracy"] - expected["accuracy"][-1]) < loss[-1]


def first_sentence(error):
    return str(error.value).split(". ")[0].removesuffix(".") + "."


def test_a_binary_model_refuses_six_classes(small_signs):
    """Both when asked for six classes and when a Trainer brings six-class data."""
    sentence = (
        "HappySequential tells two classes apart, the data have 6. Use SignsFunctional or "
        "SignsResNet50."
    )
    with pytest.raises(InputError) as error:
        HappySequential(num_classes=6)
    assert str(error.value) == sentence
    with pytest.raises(InputError) as error:
        trainer(max_epochs=1).fit(HappySequential(), data_of(small_signs))
    assert str(error.value) == sentence


def test_what_was_not_given_comes_from_the_data(small_smiles):
    """Two classes with names, resized by the data: the Trainer joins them, and the checkpoint's
    hyperparameters know.
    """
    model = SignsFunctional()
    assert (model.num_classes, model.image_size) == (6, (64, 64, 3))
    assert model.class_names == list("012345")
    data = data_of(small_smiles, image_size=(40, 50))
    trainer(max_epochs=1, limit_train_batches=1).fit(model, data)
    assert (model.num_classes, model.image_size) == (2, (40, 50, 3))
    assert model.class_names == data.class_names
    assert len(model.class_names) == 2
    assert model.hparams["num_classes"] == 2
    assert tuple(model.hparams["image_size"]) == (40, 50, 3)
    # Pooled by 8 and by 4, rounded up: ceil(ceil(40 / 8) / 4) × ceil(ceil(50 / 8) / 4) = 2 × 2.
    assert model.network.get_parameter("fc.weight").shape == (2, 16 * 2 * 2)


def test_data_of_the_same_shape_keep_the_weights():
    model = SignsFunctional()
    network = model.network
    model.adopt(6, (64, 64, 3), list("abcdef"))
    assert model.network is network
    assert model.class_names == list("abcdef")
    model.adopt(6, (64, 64, 3))
    assert model.class_names == list("abcdef")


def test_weights_that_are_loaded_are_copied():
    """Two models do not train each other; and numbers of another width become the model's own."""
    first, second = SignsFunctional(), SignsFunctional()
    before = {name: value.clone() for name, value in first.state_dict().items()}
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(1)
    for name, value in first.state_dict().items():
        assert torch.equal(value, before[name])
    second.load_state_dict({name: value.double() for name, value in before.items()})
    assert {parameter.dtype for parameter in second.parameters()} == {torch.float32}


def loaded():
    model = SignsFunctional()
    model.load_state_dict(SignsFunctional().state_dict())
    return model


@pytest.mark.parametrize(
    ("make", "data", "sentence"),
    [
        (
            loaded,
            (4, (64, 64, 3), list("abcd")),
            "The model was made for 6 classes, the data have 4.",
        ),
        (
            lambda: SignsFunctional(num_classes=3),
            (4, (64, 64, 3)),
            "The model was made for 3 classes, the data have 4.",
        ),
        (loaded, (6, (64, 64, 1)), "The model takes images of 3 channels, the data have 1."),
        (loaded, (6, (48, 64, 3)), "The model takes 64×64 images, the data have 48×64."),
        (
            lambda: SignsFunctional(image_size=(50, 37, 3)),
            (6, (64, 64, 3)),
            "The model takes 50×37 images, the data have 64×64.",
        ),
        (
            lambda: SignsFunctional(class_names=list("abcdef")),
            (6, (64, 64, 3), list("fedcba")),
            "The model was made for the classes a, b, c, d, e, f, the data have f, e, d, c, b, a.",
        ),
    ],
    ids=["classes", "given classes", "channels", "size", "given size", "names"],
)
def test_other_data_are_refused_and_the_network_is_kept(make, data, sentence):
    model = make()
    network = model.network
    with pytest.raises(InputError) as error:
        model.adopt(*data)
    assert first_sentence(error) == sentence
    assert model.network is network


@pytest.mark.parametrize(("size", "flag"), [((64, 64, 3), "64"), ((50, 37, 3), "[50,37]")])
def test_another_size_is_refused_with_the_flag_that_resizes(size, flag):
    with pytest.raises(InputError, match="image_size") as error:
        SignsFunctional(image_size=size).adopt(6, (99, 98, 3))
    assert f"`--data.image_size {flag}`" in str(error.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"class_weights": [1.0] * 6, "loss": nn.CrossEntropyLoss()},
            "class_weights and loss are both given.",
        ),
        (
            {"class_weights": [1.0, 2.0], "num_classes": 6},
            "class_weights has 2 values, expected one for each of 6 classes.",
        ),
        (
            {"class_names": ["a", "b"], "num_classes": 3},
            "class_names has 2 names, expected one for each of 3 classes.",
        ),
    ],
    ids=["loss twice", "weights", "names"],
)
def test_options_that_contradict_each_other(options, sentence):
    with pytest.raises(InputError) as error:
        SignsFunctional(**options)
    assert first_sentence(error) == sentence


@pytest.mark.parametrize(("classes", "given"), [(3, 3), (8, 8), (6, 3), (3, 6)])
def test_class_weights_are_compared_with_the_data(classes, given):
    """As many as the data have classes, whatever the model was until then; the weights are those of
    the loss.
    """
    model = SignsFunctional(class_weights=[1.0 + k for k in range(given)])
    network = model.network
    if classes != given:
        with pytest.raises(InputError) as error:
            model.adopt(classes, (64, 64, 3))
        message = f"class_weights has {given} values, expected one for each of {classes} classes."
        assert first_sentence(error) == message
        assert model.network is network
        return
    model.adopt(classes, (64, 64, 3))
    logits, labels = torch.zeros(classes, classes, dtype=torch.float64), torch.arange(classes)
    expected = sum(1.0 + k for k in range(classes)) * math.log(classes) / classes
    assert model.compute_loss(logits, labels, training=True).item() == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_bytes_become_channels_last_floats_in_0_to_1(dtype):
    images = random_bytes(2, 64, 64)
    result = SignsFunctional().to(dtype).preprocess(torch.from_numpy(images))
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=torch.channels_last)
    expected = images.transpose(0, 3, 1, 2).astype(np.float64) / 255
    np.testing.assert_allclose(
        result.double().numpy(), expected, rtol=0, atol=4e-3 if dtype == torch.bfloat16 else 1e-7
    )


@pytest.mark.parametrize("size", [(64, 64), (30, 100), (200, 17), (1, 1)])
def test_resizing_keeps_what_must_stay(size):
    """A constant image stays constant, values stay within the image's own, a horizontal ramp stays
    one.
    """
    model = SignsFunctional(image_size=(32, 48, 3))
    color = np.broadcast_to(np.array([0, 77, 255], np.uint8), (1, *size, 3)).copy()
    result = model.preprocess(torch.from_numpy(color)).numpy()
    assert result.shape == (1, 3, 32, 48)
    expected = np.array([0, 77 / 255, 1], np.float32)[:, None, None]
    np.testing.assert_allclose(result, np.broadcast_to(expected, result.shape), rtol=0, atol=1e-6)
    noise = random_bytes(1, *size)
    result = model.preprocess(torch.from_numpy(noise)).numpy()
    assert noise.min() / 255 - 1e-6 <= result.min()
    assert result.max() <= noise.max() / 255 + 1e-6
    row = np.arange(size[1]) * (255 / max(size[1] - 1, 1))
    ramp = np.broadcast_to(row[None, None, :, None], (1, *size, 3))
    result = model.preprocess(torch.from_numpy(ramp.astype(np.uint8))).numpy()
    assert (np.diff(result, axis=3) >= -1e-6).all()
    # A value half-way may be rounded up or down.
    np.testing.assert_allclose(np.diff(result, axis=2), 0, atol=1 / 255 + 1e-6)


def test_shrinking_by_a_whole_factor_is_the_triangle_filter():
    """Antialiased bilinear by 2 weighs each column and then each row (1, 3, 3, 1)/8, rounded to
    bytes; compared away from the border, in numpy.
    """
    images = random_bytes(1, 64, 64)
    result = SignsFunctional(image_size=(32, 32, 3)).preprocess(torch.from_numpy(images)).numpy()[0]
    x = images[0].transpose(2, 0, 1).astype(np.float64)

    def halve(x):  # rows 2k−1 … 2k+2 around row k of the result, k = 1 … 30
        x = sum(w / 8 * x[:, 1 + i : 1 + i + 60 : 2] for i, w in enumerate((1, 3, 3, 1)))
        return np.floor(x + 0.5)

    expected = halve(halve(x.transpose(0, 2, 1)).transpose(0, 2, 1))
    np.testing.assert_allclose(result[:, 1:-1, 1:-1], expected / 255, rtol=0, atol=1e-6)


def test_floats_of_a_plain_loader_pass_through():
    """Without a data module whose files have such numbers, floats are prepared."""
    images, model = torch.rand(2, 3, 64, 64), SignsFunctional()
    model.trainer = L.Trainer(logger=False, enable_checkpointing=False, barebones=True)
    assert model.batch_images(images) is images


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("model", [SignsFunctional, HappySequential])
def test_predict_takes_bytes_or_floats_as_array_or_tensor(model, training):
    """Four spellings of the same images, any batch size: the same probabilities, and the model's
    mode is kept. The answer is what the images are.
    """
    torch.manual_seed(0)
    model = model().train(training)
    images = random_bytes(7, 64, 64)
    floats = (images.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model.predict(images)
    assert model.training is training
    assert expected.shape == (7, model.num_classes)
    assert (type(expected), expected.dtype) == (np.ndarray, np.float32)
    np.testing.assert_allclose(expected.sum(1), np.ones(7), rtol=0, atol=1e-6)
    spellings = [torch.from_numpy(images), floats, torch.from_numpy(floats)]
    others = [model.predict(value) for value in spellings]
    others += [model.predict(images, size) for size in (1, 3, 7)]
    assert [type(other) for other in others[:3]] == [torch.Tensor, np.ndarray, torch.Tensor]
    for other in others:
        np.testing.assert_allclose(other, expected, rtol=0, atol=1e-6)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["read-only", "reversed", "float64"])
def test_predict_takes_the_arrays_that_numpy_makes(kind):
    """A read-only array (a mapped file), a view with a negative step, and `images / 255`, which is
    float64.
    """
    model, images = SignsFunctional(), random_bytes(2, 64, 64)
    given, same = {
        "read-only": (images.copy(), images),
        "reversed": (images[..., ::-1], images[..., ::-1].copy()),
        "float64": (images.transpose(0, 3, 1, 2) / 255, images),
    }[kind]
    if kind == "read-only":
        given.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(model.predict(given), model.predict(same), rtol=0, atol=1e-6)


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 3.0, 0.1, 2.0, 7.0]])
def test_the_loss_of_many_classes_is_keras_s(weights):
    """Live Keras's train_on_batch with class_weight, on logits that an identity layer hands
    through.
    """
    rng = np.random.default_rng(0)
    logits, labels = 3 * rng.standard_normal((20, 6)).astype(np.float32), rng.integers(0, 6, 20)
    actual = SignsFunctional(class_weights=weights).compute_loss(
        torch.tensor(logits), torch.tensor(labels), training=True
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert actual.item() == pytest.approx(keras_loss(logits, labels, loss, weights), rel=1e-5)


@pytest.mark.parametrize("weights", [None, [0.25, 4.0]])
def test_the_loss_of_two_classes_is_keras_s(weights):
    rng = np.random.default_rng(1)
    logits, labels = 3 * rng.standard_normal((20, 1)).astype(np.float32), rng.integers(0, 2, 20)
    actual = HappySequential(class_weights=weights).compute_loss(
        torch.tensor(logits), torch.tensor(labels), training=True
    )
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    expected = keras_loss(logits, labels[:, None], loss, weights)
    assert actual.item() == pytest.approx(expected, rel=1e-5)


def test_class_weights_are_for_training_as_in_keras():
    """Live Keras's validation loss while it trains with class_weight, at a learning rate of 0."""
    rng = np.random.default_rng(2)
    logits, labels = 3 * rng.standard_normal((20, 6)).astype(np.float32), rng.integers(0, 6, 20)
    model = keras.Sequential(
        [keras.Input((6,)), kl.Dense(6, kernel_initializer="identity", use_bias=False)]
    )
    model.compile(
        keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    weights = [1.0, 0.5, 3.0, 0.1, 2.0, 7.0]
    validation, by_class = (logits, labels), dict(enumerate(weights))
    theirs = model.fit(logits, labels, validation_data=validation, class_weight=by_class, verbose=0)
    ours = SignsFunctional(class_weights=weights, label_smoothing=0.0).compute_loss(
        torch.tensor(logits), torch.tensor(labels)
    )
    assert ours.item() == pytest.approx(theirs.history["val_loss"][0], rel=1e-5)


def keras_loss(logits, labels, loss, weights):
    """The loss that Keras reports for a batch before its step."""
    width = logits.shape[1]
    model = keras.Sequential(
        [keras.Input((width,)), kl.Dense(width, kernel_initializer="identity", use_bias=False)]
    )
    model.compile("sgd", loss)
    by_class = dict(enumerate(weights)) if weights else None
    return float(model.train_on_batch(logits, labels, class_weight=by_class))


def test_a_loss_of_one_s_own_gets_logits_and_labels():
    """Label smoothing by its formula in numpy; a binary model hands over (N,) logits and float
    labels.
    """
    rng = np.random.default_rng(2)
    logits, labels = rng.standard_normal((9, 6)), rng.integers(0, 6, 9)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = 0.9 * np.eye(6)[labels] + 0.1 / 6
    model = SignsFunctional(loss=nn.CrossEntropyLoss(label_smoothing=0.1))
    actual = model.compute_loss(torch.tensor(logits), torch.tensor(labels))
    assert actual.item() == pytest.approx(-(targets * log_p).sum(1).mean(), rel=1e-9)

    binary = HappySequential(loss=nn.MSELoss())
    actual = binary.compute_loss(torch.tensor(logits[:, :1]), torch.tensor(labels % 2))
    assert actual.item() == pytest.approx(((logits[:, 0] - labels % 2) ** 2).mean(), rel=1e-9)


@pytest.mark.parametrize("name", ["signs", "happy"])
def test_further_metrics_are_computed_over_the_whole_file(name, small_signs, small_smiles):
    """AUROC of validation and of test over uneven batches, against pairs counted in numpy from
    `predict`.
    """
    files = small_signs if name == "signs" else small_smiles
    metric = MulticlassAUROC(6) if name == "signs" else BinaryAUROC()
    model = (SignsFunctional if name == "signs" else HappySequential)(metrics=[metric])
    data = H5DataModule(str(files[0]), test_file=str(files[1]), batch_size=5)
    runner = trainer(max_epochs=1)
    runner.fit(model, data)
    val = model.history[-1][f"val_{type(metric).__name__}"]
    (result,) = runner.test(model, data, verbose=False)
    images, labels = read_images(files[1])
    probabilities = model.predict(images).astype(np.float64)

    def auroc(scores, positive):
        pairs = scores[positive][:, None] - scores[~positive][None]
        return (pairs > 0).mean() + (pairs == 0).mean() / 2

    if name == "signs":
        expected = np.mean([auroc(probabilities[:, k], labels == k) for k in range(6)])
    else:
        expected = auroc(probabilities[:, 1], labels == 1)
    assert val == pytest.approx(expected, abs=1e-6)
    assert result[f"test_{type(metric).__name__}"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("lr", "expected"), [(None, 1e-3), (0.02, 0.02)])
def test_the_learning_rate_is_keras_s_unless_given(lr, expected):
    optimizer = SignsFunctional(lr=lr).configure_optimizers()
    assert type(optimizer).__name__ == "KerasAdam"
    assert [group["lr"] for group in optimizer.param_groups] == [expected]


@pytest.mark.parametrize(("interval", "per_epoch"), [("epoch", 0.5), ("step", 0.5**4)])
def test_a_scheduler_steps_as_often_as_asked(interval, per_epoch, small_signs):
    """60 images in batches of 15 are 4 steps; each step, or each epoch, halves the rate."""
    model = SignsFunctional(
        lr=0.01,
        lr_scheduler=lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.5),
        lr_interval=interval,
    )
    runner = trainer(max_epochs=2)
    runner.fit(model, data_of(small_signs, batch_size=15))
    lr = runner.optimizers[0].param_groups[0]["lr"]
    assert lr == pytest.approx(0.01 * per_epoch**2, rel=1e-9)


def test_stochastic_depth():
    """In training a share of the images goes by a block's convolutions, and the others' results are
    divided by the rest's share; evaluation is the plain sum.
    """
    torch.manual_seed(0)
    block = Bottleneck(8, 2, 1, projection=False, momentum=0.0, drop=0.25)
    images = torch.randn(400, 8, 3, 3)
    found, whole = block(images).clone(), block.main(images)
    is_dropped = (found == images.relu()).flatten(1).all(dim=1)
    torch.testing.assert_close(found[~is_dropped], (images + whole / 0.75).relu()[~is_dropped])
    assert abs(is_dropped.float().mean() - 0.25) < 0.08  # 3.7 standard deviations
    plain = (block.eval().main(images) + images).relu()
    torch.testing.assert_close(block(images), plain)
    model = SignsResNet50(width=4, stochastic_depth=0.8)
    drops = [layer.drop for layer in model.modules() if isinstance(layer, Bottleneck)]
    assert drops == pytest.approx([0.05 * k for k in range(1, 17)])
    with pytest.raises(InputError, match=r"stochastic_depth is 1, expected 0 to less than 1\."):
        SignsResNet50(width=4, stochastic_depth=1)
