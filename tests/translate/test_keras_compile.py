"""What a model is compiled with has the defaults of its version of Keras."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras_models import PLACE, Wrapped

from signs_lightning.keras_io.compiled_optimizer import read_optimizer
from signs_lightning.translate.keras_session import session, start_session
from signs_lightning.translate.model_notes import unconnected_layers
from signs_lightning.translate.optimizer_records import make_optimizer
from signs_lightning.translate.values import LibraryName, NotUnderstoodError, Unknown

OPTIMIZERS = ["Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion"]


def compiled(version: str, *args: Any, activation: str = "softmax", **kwargs: Any) -> Any:
    start_session(version)
    k = Wrapped(LibraryName("keras"))
    model = k.Sequential([k.layers.Dense(3, activation=activation, input_shape=(4,))])
    args = tuple(make(k) if callable(make) and not isinstance(make, str) else make for make in args)
    model.compile(*args, **{key: v(k) if callable(v) else v for key, v in kwargs.items()})
    return model.record


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_of_keras3(name: str) -> None:
    config = compiled("3.0.0", name.lower(), "mse").compile_config()["optimizer"]
    theirs = getattr(keras.optimizers, name)().get_config()
    theirs.pop("name")
    assert config["class_name"] == name
    assert config["config"] == pytest.approx(theirs)


# Learning rate, other arguments: keras 1.2.2, 2.2.4 and tf.keras 2.4, optimizers.py.
@pytest.mark.parametrize(
    ("version", "name", "expected"),
    [
        ("1.2.2", "Adam", {"learning_rate": 0.001, "epsilon": 1e-8, "decay": 0.0}),
        ("2.2.4", "Adam", {"learning_rate": 0.001, "epsilon": 1e-7, "decay": 0.0}),
        ("2.2.4", "Adagrad", {"learning_rate": 0.01, "epsilon": 1e-7}),
        ("2.2.4", "Adadelta", {"learning_rate": 1.0, "rho": 0.95}),
        ("2.2.4", "Adamax", {"learning_rate": 0.002}),
        ("2.2.4", "Nadam", {"learning_rate": 0.002, "schedule_decay": 0.004}),
        ("2.4.0", "Adadelta", {"learning_rate": 0.001, "decay": 0.0}),
        ("2.4.0", "Nadam", {"learning_rate": 0.001, "decay": 0.004}),
        ("2.15.0", "RMSprop", {"learning_rate": 0.001, "rho": 0.9, "weight_decay": None}),
    ],
)
def test_defaults_of_older_kerases(version: str, name: str, expected: dict[str, Any]) -> None:
    config = compiled(version, name, "mse").compile_config()["optimizer"]
    assert {key: config["config"][key] for key in expected} == expected
    optimizer, omissions = read_optimizer(config, version)
    assert optimizer is not None
    assert not omissions
    assert optimizer.arguments["lr"] == expected["learning_rate"]
    assert optimizer.is_legacy == (version != "2.15.0")


def test_old_words_and_decay() -> None:
    model = compiled("2.2.4", lambda k: k.optimizers.SGD(0.1, 0.9, 1e-6, nesterov=True), "mse")
    config = model.compile_config()["optimizer"]["config"]
    assert (config["learning_rate"], config["momentum"], config["decay"]) == (0.1, 0.9, 1e-6)
    model = compiled("2.4.0", lambda k: k.optimizers.Adam(lr=0.01, decay=0.1), "mse")
    optimizer, _ = read_optimizer(model.compile_config()["optimizer"], "2.4.0")
    assert optimizer is not None
    assert optimizer.schedule is not None
    assert optimizer.schedule[1]["decay_rate"] == 0.1


def test_optimizer_of_tensorflow1() -> None:
    start_session("2.4.0")
    tensorflow = Wrapped(LibraryName("tensorflow"))
    optimizer = tensorflow.train.AdamOptimizer(0.01, beta1=0.8).record
    config = optimizer.entry()["config"]
    assert optimizer.class_name == "Adam"
    assert (config["learning_rate"], config["beta_1"], config["epsilon"]) == (0.01, 0.8, 1e-8)


def test_schedule_and_loss_objects() -> None:
    model = compiled(
        "3.0.0",
        optimizer=lambda k: k.optimizers.Adam(
            k.optimizers.schedules.ExponentialDecay(0.1, decay_steps=10, decay_rate=0.9)
        ),
        loss=lambda k: k.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["accuracy"],
    )
    theirs = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    theirs.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)),
        keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
    )
    expected = theirs.get_compile_config()
    config = model.compile_config()
    ours, rate = (c["optimizer"]["config"]["learning_rate"] for c in (config, expected))
    rate["config"].pop("name")
    assert (ours["class_name"], ours["config"]) == (rate["class_name"], rate["config"])
    loss = expected["loss"]["config"]
    assert config["loss"]["config"] == {k: v for k, v in loss.items() if k not in ("name", "dtype")}
    assert config["metrics"] == ["accuracy"]


def test_learning_rate_is_changed() -> None:
    model = compiled("2.4.0", "adam", "mse")
    Wrapped(model).optimizer.lr = 0.5
    assert model.compile_config()["optimizer"]["config"]["learning_rate"] == 0.5


def test_lr_sets_no_rate_in_keras3() -> None:
    """Keras 3 keeps such an attribute, and goes on at its own rate."""
    theirs = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    theirs.compile("adam", "mse")
    theirs.optimizer.lr = 0.5
    assert float(theirs.optimizer.learning_rate) == pytest.approx(0.001)
    model = compiled("3.0.0", "adam", "mse")
    with pytest.raises(NotUnderstoodError, match="sets no rate"):
        Wrapped(model).optimizer.lr = 0.5
    assert model.compile_config()["optimizer"]["config"]["learning_rate"] == 0.001


def test_lr_gives_no_rate_since_keras_2_11() -> None:
    """tf_keras 2.21 warns of `SGD(lr=0.1)`, and takes 0.01."""
    start_session("2.15.0")
    with pytest.raises(NotUnderstoodError, match="lr"):
        make_optimizer("keras.optimizers.SGD", [], {"lr": 0.1})
    legacy = make_optimizer("keras.optimizers.legacy.SGD", [], {"lr": 0.1})
    assert legacy.config["learning_rate"] == 0.1


def test_unknown_loss_is_kept() -> None:
    unknown = Unknown("focal_loss()", PLACE)
    model = compiled("3.0.0", "adam", unknown)
    assert model.compiled.unknowns == [("the loss", unknown)]


@pytest.mark.parametrize(
    ("activation", "from_logits", "said"),
    [
        ("softmax", True, "from_logits=True takes"),
        (None, False, "is missing"),
        ("softmax", False, None),
        (None, True, None),
    ],
)
def test_says_what_loss_and_ending_are(activation: Any, from_logits: bool, said: str) -> None:
    compiled(
        "3.0.0",
        "adam",
        lambda k: k.losses.CategoricalCrossentropy(from_logits=from_logits),
        activation=activation,
    )
    notes = [text for text, _ in session().notes]
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]


def test_says_which_layers_are_never_connected() -> None:
    compiled("3.0.0", "adam", "mse")
    k = Wrapped(LibraryName("keras"))
    k.layers.Dense(0, name="lost")
    assert [text for text, _ in unconnected_layers(session())] == [
        "Dense 'lost' is made and never connected"
    ]
    assert "units=0" in session().notes[-1][0]


@pytest.mark.parametrize(
    ("version", "strides", "said"),
    [
        ("2.2.4", (1, 1), "a kernel of 3×3, as keras without"),
        ("2.15.0", (3, 3), "strides of 3, as Keras since 2.4"),
        ("1.2.2", (1, 1), None),
    ],
)
def test_says_how_three_numbers_are_read(
    version: str, strides: tuple[int, int], said: str | None
) -> None:
    start_session(version)
    layer = Wrapped(LibraryName("keras")).layers.Conv2D(32, 3, 3)
    assert layer.record.entry()["config"]["kernel_size"] == [3, 3]
    assert tuple(layer.record.entry()["config"]["strides"]) == strides
    notes = [text for text, _ in session().notes]
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]
