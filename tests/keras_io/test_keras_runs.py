"""A training that Keras began goes on here: against Keras's own, without a break."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from signs_lightning.data.synthetic import DrawnSigns, DrawnSmiles

pytestmark = pytest.mark.usefixtures("guarded_forks")

BATCH, EPOCHS = 16, 2  # 60 images: 4 steps an epoch
FIT: tuple[Any, ...] = ("fit", "--data.batch_size", BATCH, "--data.shuffle", "false")


def classifier() -> keras.Model:
    """A frozen layer, BatchNorm, a constraint and a penalty, in a model inside the model, too."""
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(4, 3, kernel_constraint="non_neg", name="conv"),
            layers.BatchNormalization(momentum=0.9, name="norm"),
        ],
        name="inner",
    )
    image = keras.Input((64, 64, 3))
    value = layers.Conv2D(4, 8, strides=8, trainable=False, name="frozen")(image)
    value = layers.Flatten()(layers.ReLU()(inner(value)))
    value = layers.Dense(6, activation="softmax", kernel_regularizer="l2", name="end")(value)
    return keras.Model(image, value)


def images(file: Path) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(file) as data:
        return data["train_set_x"][:] / np.float32(255), data["train_set_y"][:].ravel()


def history(version: int) -> list[dict[str, str]]:
    path = Path(f"lightning_logs/run/version_{version}/history.csv")
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, small_signs) -> dict[str, Any]:
    """Adam's files after two epochs, and the losses of these and the next four."""
    folder = tmp_path_factory.mktemp("begun")
    keras.utils.set_random_seed(1)
    model = classifier()
    model.compile(
        keras.optimizers.Adam(0.003, clipnorm=1.0),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    x, y = images(small_signs[0])
    options: dict[str, Any] = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    log = keras.callbacks.CSVLogger(folder / "log.csv")
    losses = model.fit(x, y, epochs=EPOCHS, callbacks=[log], **options).history["loss"]
    for extension in ("keras", "h5"):
        model.save(folder / f"m.{extension}")
    more = model.fit(x, y, epochs=3 * EPOCHS, initial_epoch=EPOCHS, **options).history["loss"]
    return {"folder": folder, "losses": losses + more}


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["keras", "h5"])
def test_two_epochs_go_on_after_two_of_keras(cli, begun, small_signs, extension):
    """The losses are those of a run that Keras made alone."""
    data = ("--data.train_file", small_signs[0], "--data.test_file", small_signs[1])
    done = cli("import-keras", begun["folder"] / f"m.{extension}", "--output", "m.ckpt")
    assert "`fit` goes on after 8 steps." in done.out, done.err
    run = ("--ckpt_path", "m.ckpt", *data, "--trainer.max_epochs", 2 * EPOCHS, "--name", "run")
    done = cli(*FIT, *run)
    assert "Training goes on where Keras stopped: 2 epochs (8 steps) are done." in done.out
    rows = history(0)
    assert [row["epoch"] for row in rows] == ["2", "3"]
    losses = [float(row["loss"]) for row in rows]
    np.testing.assert_allclose(losses, begun["losses"][EPOCHS : 2 * EPOCHS], atol=1e-5)
    # and back again
    run_folder = Path("lightning_logs/run/version_0")
    export = ("export", "--ckpt_path", run_folder, "--format", "keras", "--output", "back.keras")
    done = cli(*export)
    assert "In Keras, fit(…, initial_epoch=4) goes on after 16 steps." in done.out, done.err
    assert "checked with Keras" in done.out
    model = keras.models.load_model("back.keras")
    x, y = images(small_signs[0])
    more = model.fit(
        x, y, BATCH, shuffle=False, verbose=0, initial_epoch=2 * EPOCHS, epochs=3 * EPOCHS
    )
    np.testing.assert_allclose(more.history["loss"], begun["losses"][2 * EPOCHS :], atol=1e-4)
    assert int(model.optimizer.iterations) == 24


def fit(cli, files, *options):
    data = ("--data.train_file", files[0], "--data.test_file", files[1], "--name", "run")
    return cli(*FIT, "--ckpt_path", "m.ckpt", *data, "--trainer.max_epochs", 4, *options)


FRESH = ("--fresh_optimizer", "true")


@pytest.mark.slow
def test_epochs_are_asked_for_and_join(cli, begun, small_signs):
    """Where steps are no whole number of epochs; Keras's history and ours have each epoch once."""
    assert cli("import-keras", begun["folder"] / "m.keras", "--output", "m.ckpt").code == 0
    other = ("--data.batch_size", 20)  # 3 steps an epoch
    done = fit(cli, small_signs, *other)
    assert done.code == 2
    assert "8 steps, which are no whole number of epochs of 3 steps here" in done.err
    assert not Path("lightning_logs").exists()
    log = ("--history", begun["folder"] / "log.csv")
    done = fit(cli, small_signs, *other, *log, "--start_epoch", 2)
    assert done.code == 0, done.err
    assert "Resuming after" not in done.out  # which is what a run of our own says
    rows = history(0)
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert [float(row["loss"]) for row in rows[:2]] == begun["losses"][:2]
    # resumed, it goes on by itself
    done = cli("fit", "--ckpt_path", "lightning_logs/run/version_0", "--trainer.max_epochs", 5)
    assert done.code == 0, done.err
    assert [row["epoch"] for row in history(0)] == ["0", "1", "2", "3", "4"]
    assert history(0)[:4] == rows
    # of a run that knows more epochs, those that are done
    done = fit(cli, small_signs, *other, *log, "--start_epoch", 1)
    assert [row["epoch"] for row in history(1)] == ["0", "1", "2", "3"]
    assert float(history(1)[0]["loss"]) == begun["losses"][0]
    assert "Training goes on where Keras stopped: 1 epoch (8 steps) are done." in done.out


@pytest.mark.slow
def test_what_does_not_fit_is_a_sentence(cli, begun, small_signs):
    """And a new optimizer then trains, from epoch 0, in a folder of its own."""
    assert cli("import-keras", begun["folder"] / "m.keras", "--output", "m.ckpt").code == 0
    cases: tuple[tuple[list[Any], str], ...] = (
        (["--data.batch_size", 20], "Add --start_epoch N"),
        (["--trainer.max_epochs", 2], "Keras has trained 2 epochs"),
        (["--model.trainable_layers", 1], "Keras trained 6 weights of this model, and 2 are"),
        (["--model.optimizer", "torch.optim.SGD"], "begun with optimizer KerasAdam"),
        (["--model.schedule", "cosine"], "cannot be resumed with schedule cosine"),
    )
    for number, (options, message) in enumerate(cases):
        done = fit(cli, small_signs, *options)
        assert done.code == 2, options
        assert message in done.err
        assert "--fresh_optimizer true" in done.err
        done = fit(cli, small_signs, *options, *FRESH, "--name", f"fresh{number}")
        assert done.code == 0, done.err
        path = Path(f"lightning_logs/fresh{number}/version_0/history.csv")
        assert path.read_text().splitlines()[1].startswith("0,")
    done = fit(cli, small_signs, *FRESH, "--start_epoch", 3)
    assert "--start_epoch and --fresh_optimizer true are both given" in done.err
    done = cli(*FIT, "--data.drawn", "DrawnSigns", "--history", "log.csv")
    assert "--history is for a checkpoint that import-keras made" in done.err


def test_as_many_other_weights_are_refused(cli, small_signs):
    """Two Dense layers of one shape, of which Keras trains the first, and `fit` the second."""
    image = keras.Input((64, 64, 3))
    value = layers.Dense(6, name="first")(layers.GlobalMaxPooling2D()(layers.Conv2D(6, 8)(image)))
    model = keras.Model(image, layers.Dense(6, activation="softmax", name="second")(value))
    for layer in model.layers:
        layer.trainable = layer.name == "first"
    model.compile(keras.optimizers.SGD(momentum=0.9), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(8)
    model.save("m.keras")
    done = cli("import-keras", "m.keras", "--output", "m.ckpt", "--scale", "/255")
    assert "`fit` goes on after 8 steps." in done.out, done.err
    done = fit(cli, small_signs, "--model.trainable_layers", 1)
    assert done.code == 2
    assert "Keras trained 2 weights of this model, and 2 others are trained now" in done.err


@keras.saving.register_keras_serializable("mine")
class Slow(keras.optimizers.SGD):
    """An optimizer of one's own."""


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["keras", "h5"])
def test_what_cannot_go_on_is_named(cli, small_signs, extension):
    """By import-keras, and by fit, which then trains anew."""
    mine = Slow(0.01)
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01))
    for optimizer, reason in (
        (mine, "Slow(learning_rate=0.01) has no counterpart here"),
        (scaled, "its loss was scaled, for layers of 16 bits"),
        (keras.optimizers.Ftrl(), "optimizer Ftrl"),
    ):
        model = classifier()
        model.compile(optimizer, "sparse_categorical_crossentropy")
        optimizer.build(model.trainable_variables)
        for variable in optimizer.variables:
            if "iteration" in variable.path:
                variable.assign(4)
        model.save(f"m.{extension}")
        done = cli("import-keras", f"m.{extension}", "--output", "m.ckpt")
        assert done.code == 0, done.err
        (line,) = [x for x in done.out.splitlines() if x.startswith("not taken over: ")]
        assert "the optimizer's state (" in line
        assert reason in line
        done = fit(cli, small_signs)
        assert done.code == 2
        assert done.err.startswith("The training cannot go on where Keras stopped: ")
        assert reason in done.err
        assert fit(cli, small_signs, *FRESH).code == 0
    assert cli("test", "--ckpt_path", "m.ckpt", "--data.test_file", small_signs[1]).code == 0


@pytest.mark.slow
def test_a_run_of_our_own_begins_anew(cli, small_signs):
    """With its weights, in a new folder, and with another optimizer."""
    data = ("--data.train_file", small_signs[0], "--data.test_file", small_signs[1])
    done = cli(*FIT, *data, "--name", "run", "--trainer.max_epochs", 2)
    assert done.code == 0, done.err
    run = ("--ckpt_path", "lightning_logs/run/version_0", "--trainer.max_epochs", 1)
    other = ("--model.optimizer", "torch.optim.SGD", "--model.lr", 0.0)
    done = cli("fit", *run, *other)
    assert done.code == 2
    assert "add --fresh_optimizer true" in done.err
    done = cli("fit", *run, *other, *FRESH)
    assert done.code == 0, done.err
    assert [row["epoch"] for row in history(1)] == ["0"]
    assert history(1)[0]["val_loss"] == history(0)[1]["val_loss"]  # with a learning rate of 0


def functional() -> keras.Model:
    """The course's functional model."""
    image = keras.Input((64, 64, 3))
    value = image
    for filters, size, window in ((8, 4, 8), (16, 2, 4)):
        value = layers.ReLU()(layers.Conv2D(filters, size, padding="same")(value))
        value = layers.MaxPooling2D(window, window, padding="same")(value)
    return keras.Model(image, layers.Dense(6, activation="softmax")(layers.Flatten()(value)))


def sequential() -> keras.Model:
    """The course's sequential model."""
    return keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            layers.ZeroPadding2D(3),
            layers.Conv2D(32, 7),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


# Largest difference of a loss: in the first epoch after the change, in the first five, in any.
BOUNDS = {"functional": (1e-4, 5e-4, 0.03), "sequential": (0.02, 0.02, 0.02)}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("functional", marks=pytest.mark.slow),
        pytest.param("sequential", marks=pytest.mark.long),  # five minutes
    ],
)
def test_twenty_epochs_after_twenty_are_forty(cli, kind, tmp_path):
    """On drawn pictures, from Keras to here and from here to Keras, against Keras's own forty."""
    drawn: Any = {"functional": DrawnSigns, "sequential": DrawnSmiles}[kind]
    files = drawn(train_size=120, test_size=12).files(tmp_path)
    x, y = images(files[0])
    options: dict[str, Any] = {"batch_size": 32, "shuffle": False, "verbose": 0}
    keras.utils.set_random_seed(1)
    model = {"functional": functional, "sequential": sequential}[kind]()
    start = model.get_weights()
    loss = f"{'sparse_categorical' if kind == 'functional' else 'binary'}_crossentropy"

    def compiled() -> keras.Model:
        model.set_weights(start)
        model.compile(keras.optimizers.Adam(0.001), loss, metrics=["accuracy"])
        return model

    compiled().save("begun.keras")
    losses = model.fit(x, y, epochs=40, **options).history["loss"]
    compiled().fit(x, y, epochs=20, **options)
    model.save("half.keras")
    data = ("--data.train_file", files[0], "--data.test_file", files[1], "--name", "run")
    train = ("fit", "--data.batch_size", 32, "--data.shuffle", "false", *data)
    for name, epochs in (("half", 40), ("begun", 20)):
        assert cli("import-keras", f"{name}.keras", "--output", f"{name}.ckpt").code == 0
        done = cli(*train, "--ckpt_path", f"{name}.ckpt", "--trainer.max_epochs", epochs)
        assert done.code == 0, done.err
    ours = [float(row["loss"]) for row in history(0)]
    run = "lightning_logs/run/version_1/checkpoints/last.ckpt"
    done = cli("export", "--ckpt_path", run, "--format", "keras", "--output", "back.keras")
    assert "fit(…, initial_epoch=20)" in done.out, done.err
    back = keras.models.load_model("back.keras")
    theirs = back.fit(x, y, initial_epoch=20, epochs=40, **options).history["loss"]
    for found in (ours, theirs):
        assert len(found) == 20
        differences = np.abs(np.subtract(found, losses[20:]))
        first, five, most = BOUNDS[kind]
        assert differences[0] <= first
        assert differences[:5].max() <= five
        assert differences.max() <= most
