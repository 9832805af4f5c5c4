"""What a user does with a Keras file: import, test, fine-tune, go on training; and the golden files
of Keras on TensorFlow.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import lightning
import numpy as np
import pytest
import torch
from keras import layers, regularizers
from torch.utils.data import DataLoader, TensorDataset

from signs_lightning.commands.import_keras import main, run
from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.network import KerasNetwork
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.happy_sequential import HappySequential
from signs_lightning.models.signs_functional import SignsFunctional

from .against_keras import images_for, network_of, randomize, to_torch
from .test_models import backbone, happy, resnet, signs


@pytest.mark.parametrize("extension", ["h5", "keras", "weights.h5"])
def test_golden_files(reference, tmp_path, extension):
    """Keras on TensorFlow predicted these images; the checkpoint that import-keras writes gives the
    same probabilities.
    """
    output = tmp_path / "model.ckpt"
    code = run(
        "import-keras", [str(reference.trained(extension, tmp_path)), "--output", str(output)]
    )
    assert code == 0
    ours = HappySequential if reference.binary else SignsFunctional
    model = (ours if extension == "weights.h5" else FromKeras).load_from_checkpoint(
        output, weights_only=True
    )
    images, labels = reference.test()
    probabilities = model.predict(images)
    found = probabilities[:, 1:] if reference.binary else probabilities
    np.testing.assert_allclose(found, reference.probabilities, atol=1e-5, rtol=0)
    assert int((probabilities.argmax(1) == labels).sum()) == reference.correct


@pytest.mark.usefixtures("guarded_forks")
def test_checkpoint_is_like_any_other(tmp_path, capsys):
    """Plain values only, the config instead of the path; it loads where the Keras file is gone."""
    model = signs(32)
    randomize(model)
    model.save(tmp_path / "signs.keras")
    output = tmp_path / "signs.ckpt"
    names = ["zero", "one", "two", "three", "four", "five"]
    arguments = [
        str(tmp_path / "signs.keras"), "--output", str(output), "--scale", "tf", "--class_names",
        *names,
    ]  # fmt: skip
    assert main("import-keras", arguments) == 0
    printed = capsys.readouterr().out
    for row in (
        "(None, 32, 32, 8)",
        "392",
        "528",
        "Conv2D",
        f"Parameters: {model.count_params():,} in all",
    ):
        assert row in printed
    before = from_keras(tmp_path / "signs.keras", scale="tf")
    (tmp_path / "signs.keras").unlink()
    checkpoint = torch.load(output, weights_only=True)
    assert checkpoint["signs_lightning"]["model"] == "FromKeras"
    assert len(checkpoint["signs_lightning"]["history"]["values"]) == 0
    assert "path" not in checkpoint["hyper_parameters"]
    assert str(tmp_path) not in str(checkpoint["hyper_parameters"])
    for loaded in (
        FromKeras.load_from_checkpoint(output, weights_only=True),
        FromKeras(**checkpoint["hyper_parameters"]),
    ):
        loaded.load_state_dict(checkpoint["state_dict"])
        images = to_torch(images_for(model))
        assert torch.equal(loaded.predict(images), before.predict(images))
        assert loaded.class_names == names
        assert (loaded.num_classes, loaded.image_size) == (6, (32, 32, 3))


@pytest.mark.usefixtures("guarded_forks")
def test_arguments_that_do_not_fit(tmp_path):
    """Each is a sentence, and nothing is written; from the verb's own process it comes as it is."""
    signs(32).save(tmp_path / "signs.keras")
    signs(32).save_weights(tmp_path / "signs.weights.h5")
    file, weights, output = (
        str(tmp_path / "signs.keras"),
        str(tmp_path / "signs.weights.h5"),
        str(tmp_path / "a.ckpt"),
    )
    for arguments, sentence in [
        ([file, "--output", output, "--architecture", "signs"], "brings its own model"),
        ([file, "--output", output, "--class_names", "a", "b"], "class_names has 2 names"),
        ([file, "--output", output, "--image_size", "64"], "takes images of 32×32×3"),
        ([file, "--output", str(tmp_path / "nowhere" / "a.ckpt")], "does not exist"),
        ([file, "--output", file], "the file that is read"),
        ([weights, "--output", output, "--scale", "raw"], "weights only"),
        ([weights, "--output", output, "--architecture", "happy"], "do not fit happy"),
    ]:
        with pytest.raises(InputError, match=sentence):
            run("import-keras", arguments)
    with pytest.raises(InputError, match="brings its own model"):
        main("import-keras", [file, "--output", output, "--architecture", "signs"])
    for kept in (
        [file, "--output", str(tmp_path / "nowhere" / "a.ckpt")],
        [file, "--output", file],
    ):
        with pytest.raises(InputError, match=r"does not exist|the file that is read"):
            main("import-keras", kept)
    with pytest.raises(InputError, match="needs a Keras file"):
        FromKeras()
    with pytest.raises(InputError, match="import-keras"):
        FromKeras(path=weights)
    with pytest.raises(InputError, match="has 6 classes"):
        FromKeras(path=file, num_classes=4)
    with pytest.raises(InputError, match="trainable_layers is 9, expected 1 to 3"):
        FromKeras(path=file, trainable_layers=9)
    assert not Path(output).exists()


def batches(count: int = 24, size: int = 32, classes: int = 6) -> DataLoader:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)
    return DataLoader(TensorDataset(images, torch.arange(count) % classes), batch_size=8)


def trainer(folder: Path, epochs: int = 2) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        accelerator="cpu",
    )


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec")
@pytest.mark.filterwarnings("ignore:.*in eval mode at the start of training")
def test_fine_tuning_the_last_layers(tmp_path):
    """Frozen layers do not move, nor do the averages of their BatchNorm; the last ones do, and so
    does the saved model.
    """
    model = resnet(40, 6, 2, (1, 1, 1, 1))
    randomize(model)
    model.save(tmp_path / "net.keras")
    ours = FromKeras(path=str(tmp_path / "net.keras"), trainable_layers=3, lr=0.01)
    (tmp_path / "net.keras").unlink()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    run = trainer(tmp_path)
    run.fit(ours, batches(size=40), batches(size=40))
    run.save_checkpoint(tmp_path / "tuned.ckpt")
    moved = {
        name.split(".")[1]
        for name, value in ours.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == {
        layer.name for layer in [layer for layer in model.layers if layer.weights][-3:]
    }
    again = FromKeras.load_from_checkpoint(tmp_path / "tuned.ckpt", weights_only=True)
    images = to_torch(images_for(model))
    assert torch.equal(again.predict(images), ours.predict(images))
    assert len(ours.history) == 2


def test_frozen_in_keras_stays_frozen(tmp_path):
    """A frozen backbone, called with training=False, as the transfer-learning guide has it."""
    inner = backbone()
    inner.trainable = False
    image = keras.Input((8, 8, 3))
    value = layers.BatchNormalization(name="own")(inner(image, training=False))
    model = keras.Model(image, layers.Dense(2, activation="softmax")(layers.Flatten()(value)))
    randomize(model)
    model.save(tmp_path / "frozen.keras")
    network = network_of(from_keras(tmp_path / "frozen.keras").train())
    assert not network.get_submodule("backbone.norm").training
    assert network.get_submodule("own").training
    trained = {
        name.split(".")[0]
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }
    assert trained == {"own", network.names[network.plan.steps[-1].path]}


RANDOM_LAYERS = [
    lambda: layers.Dropout(0.4),
    lambda: layers.Dropout(0.4, noise_shape=(None, 1, 1, 16)),
    lambda: layers.SpatialDropout2D(0.4),
    lambda: layers.AlphaDropout(0.4),
    lambda: layers.AlphaDropout(0.4, noise_shape=(None, 6, 1, 16)),
    lambda: layers.GaussianDropout(0.4),
    lambda: layers.GaussianNoise(0.7),
]


def test_freezing_puts_only_batch_norm_to_sleep(tmp_path):
    """In training, BatchNorm normalises with its moving averages, and random layers are as random
    as they are in Keras.
    """
    image = keras.Input((6, 6, 16))
    norm = layers.BatchNormalization(name="norm")(image)
    noisy = [make() for make in RANDOM_LAYERS]
    outputs = [layer(norm) for layer in noisy]
    inner = keras.Model(image, layers.Concatenate()(outputs), name="inner")
    randomize(inner)

    def save(path: Path, **flags: bool) -> Path:
        image = keras.Input((6, 6, 16))
        value = layers.Flatten()(inner(image, **flags))
        keras.Model(image, layers.Dense(2, activation="softmax")(value)).save(path)
        return path

    trained = save(tmp_path / "trained.keras")
    norm_layer = inner.get_layer("norm")
    norm_layer.trainable = False
    one_layer = save(tmp_path / "layer.keras")
    inner.trainable = False
    whole_model = save(tmp_path / "model.keras")
    # Which Keras 3 overrides while it trains.
    in_inference = save(tmp_path / "inference.keras", training=False)

    images = np.ones((400, 6, 6, 16), np.float32)
    watched = keras.Model(inner.inputs[0], [norm, *outputs])
    normalised, *theirs = (np.asarray(value) for value in watched(images, training=True))
    for path, trainable_layers in [
        (trained, 1),
        (one_layer, None),
        (whole_model, None),
        (in_inference, None),
    ]:
        ours = FromKeras(path=str(path), scale="/255", trainable_layers=trainable_layers).train()
        seen: dict[str, np.ndarray] = {}
        torch.manual_seed(0)
        ours.network(
            to_torch(images),
            lambda name, value, seen=seen: seen.update({name: value.detach().numpy()}),
        )
        np.testing.assert_allclose(seen["inner/norm"].transpose(0, 2, 3, 1), normalised, atol=1e-5)
        for layer, expected in zip(noisy, theirs, strict=True):
            found = seen[f"inner/{layer.name}"]
            assert found.std() == pytest.approx(expected.std(), rel=0.05), layer.name
            assert found.mean() == pytest.approx(
                expected.mean(), abs=0.05 * float(expected.std())
            ), layer.name
            assert (found == 0).mean() == pytest.approx((expected == 0).mean(), abs=0.03), (
                layer.name
            )


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("biased", [True, False])
def test_batch_norm_of_a_step_is_keras_own(tmp_path, biased, axis):
    """Two steps in training mode: outputs and moving averages as Keras 3 has them, the variance
    with `biased_variance` only.

    Without it the variance is the formula of tf.keras 2. There are few values a channel, so that
    the third decimal tells the two apart.
    """
    model = keras.Sequential(
        [
            keras.Input((2, 3, 4)),
            layers.BatchNormalization(axis=axis, momentum=0.8, name="norm"),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    randomize(model)
    model.save(tmp_path / "norm.keras")
    ours = FromKeras(
        path=str(tmp_path / "norm.keras"), biased_variance=biased, scale="/255"
    ).train()
    theirs, norm = model.get_layer("norm"), ours.network.get_submodule("norm")
    others = tuple(k for k in range(4) if k != axis % 4)
    variance = np.asarray(theirs.moving_variance, np.float64)
    for seed in (1, 2):
        images = images_for(model, 2, seed)
        expected = np.asarray(model(images, training=True))
        actual = ours.probabilities(ours(to_torch(images))).detach()
        np.testing.assert_allclose(actual, expected, atol=1e-5)
        np.testing.assert_allclose(norm.get_buffer("running_mean"), theirs.moving_mean, atol=1e-6)
        added = images.astype(np.float64).var(others, ddof=0 if biased else 1)
        variance = 0.8 * variance + 0.2 * added
        np.testing.assert_allclose(norm.get_buffer("running_var"), variance, atol=1e-6)
    running_variance = norm.get_buffer("running_var").numpy()
    difference = np.abs(running_variance - np.asarray(theirs.moving_variance))
    assert difference.max() < 1e-6 if biased else difference.min() > 1e-4


# What tf_keras 2.21 and TensorFlow 2.21 made of a moving variance of 1 in one step with a momentum
# of 0.5, for the images below.
TF_KERAS = {
    "first": [0.5629734992980957, 0.568300187587738],
    "last": [0.5613754987716675, 0.5740411877632141],
    "middle": [0.571014404296875, 0.531219482421875, 0.568359375],
    "rows": [0.5562608242034912, 0.56787109375],
    "sync": [0.5562608242034912, 0.56787109375],
    "flat": [
        *(0.53125, 0.60986328125, 0.51220703125, 0.51220703125, 0.60986328125, 0.53125),
        *(0.50048828125, 0.55908203125, 0.5078125, 0.50439453125, 0.52392578125, 0.5),
    ],
}


def test_moving_variance_is_that_of_the_files_keras(tmp_path):
    """A step in training: Keras 3 takes the biased variance; tf.keras the unbiased one where it
    runs a fused kernel, for images; Keras before it always. `biased_variance` overrides it.
    """
    images = (np.arange(24).reshape(2, 2, 3, 2) ** 2 % 17 / 16).astype(np.float32)
    image = keras.Input((2, 3, 2))
    norm = functools.partial(layers.BatchNormalization, momentum=0.5)
    rows = layers.Reshape((6, 2))(image)
    outputs = {
        "first": norm(axis=1, name="first")(image),
        "last": norm(name="last")(image),
        "middle": norm(axis=2, name="middle")(image),
        "sync": norm(name="sync")(image),
        "rows": norm(name="rows")(rows),
        "flat": norm(name="flat")(layers.Flatten()(image)),
    }
    joined = layers.Concatenate()([layers.Flatten()(value) for value in outputs.values()])
    model = keras.Model(image, layers.Dense(2, activation="softmax")(joined))
    model.get_layer("sync").synchronized = True  # Keras on JAX neither makes nor runs it
    model.save(tmp_path / "m.h5")
    model.get_layer("sync").synchronized = False

    def variances(version, **options):
        with h5py.File(tmp_path / "m.h5", "r+") as file:
            file.attrs["keras_version"] = version
        ours = FromKeras(path=str(tmp_path / "m.h5"), scale="/255", **options).train()
        ours(to_torch(images))
        return {
            name: ours.network.get_submodule(name).get_buffer("running_var") for name in outputs
        }

    for name, found in variances("2.15.0").items():
        np.testing.assert_allclose(found, TF_KERAS[name], atol=1e-6, err_msg=name)
    unbiased = variances("2.2.4")
    for name, found in variances("2.15.0", biased_variance=False).items():
        np.testing.assert_allclose(found, unbiased[name], err_msg=name)
    assert abs(float(unbiased["flat"][0]) - TF_KERAS["flat"][0]) > 0.01
    model(images, training=True)
    for found in (variances(keras.__version__), variances("2.15.0", biased_variance=True)):
        for name, values in found.items():
            expected = model.get_layer(name).moving_variance
            np.testing.assert_allclose(values, expected, atol=1e-6, err_msg=name)


def test_a_layer_at_rest_in_one_of_its_calls(tmp_path):
    """In a file of Keras 2 the other call trains it; a frozen layer rests in both."""
    image = keras.Input((2, 3, 2))
    norm = layers.BatchNormalization(momentum=0.5, name="norm")
    values = [layers.Flatten(name="first")(norm(image, training=False))]
    values.append(layers.Flatten(name="second")(norm(image)))
    joined = layers.Concatenate()(values[::-1])
    model = keras.Model(image, layers.Dense(2, activation="softmax")(joined))
    randomize(model)
    images, weights = images_for(model, 4), norm.get_weights()
    resting, training = (np.asarray(norm(images, training=mode)) for mode in (False, True))
    norm.set_weights(weights)
    for trainable in (True, False):
        norm.trainable = trainable
        model.save(tmp_path / "m.h5")
        with h5py.File(tmp_path / "m.h5", "r+") as file:
            file.attrs["keras_version"] = "2.15.0"
        ours = FromKeras(path=str(tmp_path / "m.h5"), scale="/255").train()
        seen: dict[str, torch.Tensor] = {}
        ours.network(to_torch(images), seen.__setitem__)
        for name, expected in (("first", resting), ("second", training if trainable else resting)):
            found = seen[name].detach().numpy()
            np.testing.assert_allclose(found, expected.reshape(4, -1), atol=1e-5)
        assert ours.network.get_submodule("norm").training == trainable


@pytest.mark.parametrize("extension", ["h5", "keras"])
def test_regularizers_count_in_the_loss(tmp_path, extension):
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(2, 3, kernel_regularizer=regularizers.L2(0.1), bias_regularizer="l1"),
            layers.SeparableConv2D(
                4, 2, depthwise_regularizer=regularizers.L1(0.2), pointwise_regularizer="l2"
            ),
            layers.BatchNormalization(gamma_regularizer=regularizers.L1L2(0.1, 0.3)),
            layers.Flatten(),
            layers.Dense(2, activation="softmax", kernel_regularizer=regularizers.L1L2(0.01, 0.02)),
        ]
    )
    randomize(model)
    model.save(tmp_path / f"penalty.{extension}")
    ours = from_keras(tmp_path / f"penalty.{extension}")
    expected = float(sum(np.asarray(loss) for loss in model.losses))
    assert network_of(ours).regularization_loss().item() == pytest.approx(expected, rel=1e-5)
    images, labels = images_for(model, 4), torch.tensor([0, 1, 1, 0])
    logits = ours(to_torch(images))
    loss = ours.compute_loss(logits, labels)
    assert loss.item() == pytest.approx(
        ImageClassifier.compute_loss(ours, logits, labels).item() + expected, rel=1e-5
    )
    frozen = FromKeras(path=str(tmp_path / f"penalty.{extension}"), trainable_layers=1)
    network = network_of(frozen)
    dense = network.get_parameter(f"{network.names[network.plan.steps[-1].path]}.weight")
    only_dense = 0.01 * dense.abs().sum() + 0.02 * dense.square().sum()
    assert network.regularization_loss().item() == pytest.approx(only_dense.item(), rel=1e-5)


@pytest.mark.parametrize(
    "initializer", ["glorot_uniform", "he_normal", "lecun_uniform", "random_normal", "zeros"]
)
def test_a_new_network_is_drawn_as_keras_draws(tmp_path, initializer):
    """A checkpoint without weights is a network as Keras would begin with: same spread, zero
    biases.
    """
    model = keras.Sequential(
        [
            keras.Input((8, 8, 16)),
            layers.Conv2D(64, 3, kernel_initializer=initializer, name="conv"),
            layers.DepthwiseConv2D(
                3, depth_multiplier=4, depthwise_initializer=initializer, name="depthwise"
            ),
            layers.Flatten(),
            layers.Dense(2, activation="softmax", kernel_initializer=initializer, name="dense"),
        ]
    )
    model.save(tmp_path / "new.keras")
    torch.manual_seed(0)
    network = KerasNetwork(network_of(from_keras(tmp_path / "new.keras")).plan)
    for name in ("conv", "depthwise", "dense"):
        theirs = np.asarray(model.get_layer(name).weights[0])
        ours = network.get_parameter(f"{name}.weight").detach()
        assert ours.std().item() == pytest.approx(theirs.std(), rel=0.08)
        assert ours.abs().max().item() == pytest.approx(np.abs(theirs).max(), rel=0.3)
        assert not network.get_parameter(f"{name}.bias").any()


def test_data_of_other_classes_are_refused(tmp_path):
    signs(32).save(tmp_path / "signs.keras")
    ours = from_keras(tmp_path / "signs.keras")
    with pytest.raises(InputError, match="made for 6 classes, the data have 4"):
        ours.adopt(4, (32, 32, 3), list("abcd"))
    ours.adopt(6, (32, 32, 3), list("abcdef"))
    assert ours.class_names == list("abcdef")


@pytest.mark.parametrize("make", [happy, signs])
def test_weights_go_through_bit_by_bit(tmp_path, make):
    model = make()
    randomize(model)
    model.save(tmp_path / "model.keras")
    ours = network_of(from_keras(tmp_path / "model.keras")).keras_weights()
    theirs: dict[tuple[str, ...], list[np.ndarray]]
    theirs = {(layer.name,): [np.asarray(w) for w in layer.weights] for layer in model.layers}
    assert ours.keys() == theirs.keys()
    for path, arrays in ours.items():
        assert all(np.array_equal(a, b) for a, b in zip(arrays, theirs[path], strict=True))


@pytest.mark.slow
def test_needs_no_keras(tmp_path):
    """The verb works where keras, jax and tensorflow cannot be imported."""
    happy(16).save(tmp_path / "happy.keras")
    script = (
        "import sys\n"
        "for name in ('keras', 'jax', 'tensorflow', 'tf_keras'): sys.modules[name] = None\n"
        "from signs_lightning.commands.import_keras import main\n"
        f"sys.exit(main('import-keras', [{str(tmp_path / 'happy.keras')!r}, '--output', "
        f"{str(tmp_path / 'a.ckpt')!r}]))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "a.ckpt").stat().st_mode & 0o777 == 0o666 & ~int(_umask(), 8)


def _umask() -> str:
    return subprocess.run(["sh", "-c", "umask"], capture_output=True, text=True).stdout.strip()
