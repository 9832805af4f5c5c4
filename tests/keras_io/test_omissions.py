"""What a Keras file has and is not taken over: one line names all of it, and the predictions are
Keras's all the same.
"""

from __future__ import annotations

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from signs_lightning.commands.import_keras import run
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras

from .against_keras import randomize

LINE = "not taken over: "


def compiled(model: keras.Model, **options: object) -> keras.Model:
    model.compile(
        **{"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
        | options
    )
    return model


@keras.saving.register_keras_serializable("mine")
class Mine(keras.constraints.Constraint, keras.regularizers.Regularizer):
    def __call__(self, x):
        return x

    def get_config(self):
        return {}


def everything() -> keras.Model:
    image = keras.Input((8, 8, 3))
    value = keras.Sequential(
        [layers.RandomFlip(name="flip"), layers.RandomZoom(0.1)], name="augment"
    )(image, training=True)
    value = layers.Conv2D(4, 3, kernel_constraint=Mine(), bias_constraint="non_neg", name="conv")(
        value
    )
    value = layers.ActivityRegularization(l2=0.1, name="activity")(
        layers.BatchNormalization(name="norm")(value)
    )
    value = layers.Dropout(0.2, seed=7, name="drop")(layers.Flatten()(value))
    value = layers.Dense(5, activity_regularizer=Mine(), dtype="mixed_float16", name="hidden")(
        value
    )
    model = keras.Model(image, layers.Dense(3, activation="softmax", name="end")(value))
    randomize(model)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    return compiled(
        model,
        optimizer=keras.optimizers.SGD(schedule, momentum=0.9, clipnorm=1.0),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["accuracy", keras.metrics.AUC(), "top_k_categorical_accuracy"],
        loss_weights=[2.0],
    )


USED = (
    "fit trains as the file was compiled: SGD(learning_rate=ExponentialDecay("
    "initial_learning_rate=0.1, decay_steps=10, decay_rate=0.9), clipnorm=1, momentum=0.9), "
    "label smoothing 0.1."
)
NAMED = [
    "training=True of RandomFlip 'augment/flip' and 1 more",
    "kernel_constraint mine>Mine of Conv2D 'conv'",
    "the seed of Dropout 'drop'",
    "activity_regularizer mine>Mine of Dense 'hidden'",
    "dtype mixed_float16 (computed in float32, from which Keras's own probabilities differ by up "
    "to 0.003) of Dense 'hidden'",
    "metrics AUC, top_k_categorical_accuracy",
    "loss_weights",
]
TAKEN = "The optimizer's state is taken over: `fit` goes on after 5 steps."


@pytest.mark.parametrize("extension", ["h5", "keras"])
def test_everything_is_named(extension, tmp_path, capsys):
    """In one line of import-keras; what the model predicts is Keras's, as far as float16 goes."""
    model = everything()
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    model.optimizer.build(model.trainable_variables)  # its state, without compiling a step
    model.optimizer.iterations.assign(5)
    model.save(tmp_path / f"model.{extension}")
    run(
        "import-keras",
        [str(tmp_path / f"model.{extension}"), "--output", str(tmp_path / "model.ckpt")],
    )
    said = capsys.readouterr().out.splitlines()
    assert said.count(USED) == 1
    (line,) = [line for line in said if line.startswith(LINE)]
    for item in NAMED:
        assert item in line
    assert line.count(";") == len(NAMED) - 1
    assert said.count(TAKEN) == 1
    # Keras would flip, when it predicts, too.
    plain = keras.Sequential([keras.Input((8, 8, 3)), *model.layers[2:]])
    ours = from_keras(tmp_path / f"model.{extension}")
    assert isinstance(ours, FromKeras)
    assert "the optimizer's state" in ours.omissions  # of a model that is made from the file itself
    expected = np.asarray(plain(images.astype("float32") / 255, training=False))
    np.testing.assert_allclose(ours.predict(images), expected, atol=3e-3)


@pytest.mark.parametrize("extension", ["h5", "keras"])
def test_nothing_is_said_of_nothing(extension, tmp_path, capsys):
    """A model that was not compiled; one compiled as a fit here does it has its optimizer's state
    at most.
    """
    for model, said in (
        (
            keras.Sequential(
                [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3, activation="softmax")]
            ),
            False,
        ),
        (
            compiled(
                keras.Sequential(
                    [
                        keras.Input((8, 8, 3)),
                        layers.Flatten(),
                        layers.Dense(3, activation="softmax"),
                    ]
                )
            ),
            True,
        ),
        (
            compiled(
                keras.Sequential(
                    [
                        keras.Input((8, 8, 3)),
                        layers.Flatten(),
                        layers.Dense(1, activation="sigmoid"),
                    ]
                ),
                loss=keras.losses.BinaryCrossentropy(),
                metrics=["acc", keras.metrics.BinaryAccuracy()],
            ),
            True,
        ),
    ):
        path = tmp_path / f"model.{extension}"
        model.save(path)
        ours = from_keras(path)
        assert isinstance(ours, FromKeras)
        assert set(ours.omissions) <= ({"the optimizer's state"} if said else set())
        capsys.readouterr()
        ours.print_omissions()
        assert capsys.readouterr().out.startswith(LINE) == bool(ours.omissions)


def test_compile_configurations_of_keras_2(tmp_path):
    """Wrapped functions, old names of arguments; one that is damaged stops nobody."""
    keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3, activation="softmax")]
    ).save(tmp_path / "m.h5")
    wrapped = (
        '[[{"class_name": "MeanMetricWrapper", "config": {"name": "acc", "fn": '
        '"sparse_categorical_accuracy"}}]]'
    )
    for text, found in (
        (
            f'{{"optimizer_config": {{"class_name": "Adam", "config": {{"lr": 0.01, "decay": '
            f'0.0}}}}, "metrics": {wrapped}, '
            '"loss": {"end": "sparse_categorical_crossentropy"}, "sample_weight_mode": "temporal"}',
            ["sample_weight_mode"],
        ),
        ('{"loss": "mse", "optimizer_config": "x\\u001b"}', ["optimizer x\\x1b", "loss mse"]),
        ("{broken", ["what it was compiled with, which cannot be read"]),
        ("[1]", ["what it was compiled with, which cannot be read"]),
    ):
        with h5py.File(tmp_path / "m.h5", "r+") as file:
            file.attrs["training_config"] = text
        assert from_keras(tmp_path / "m.h5").omissions == found
