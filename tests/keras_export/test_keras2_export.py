"""Models that Keras 2 wrote, exported: either real Keras 3 loads them and agrees, or they are
refused with a way on that works.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers
from keras_io.against_keras import to_torch

from signs_lightning.__main__ import main
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.errors import InputError
from signs_lightning.keras_io import keras3_layer_arguments, to_keras
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.to_keras import export_keras

# Of LeakyReLU, which Keras 3 still reads.
pytestmark = pytest.mark.filterwarnings("ignore:Argument `alpha` is deprecated")
Config = dict[str, Any]
IMAGES = np.random.default_rng(0).random((2, 8, 8, 3), dtype=np.float32)
ENDINGS = {"keras": ".keras", "keras-h5": ".h5", "keras-weights": ".weights.h5"}
GLOROT = {"class_name": "GlorotUniform", "config": {"seed": None}}


def layer(class_name: str, name: str, **arguments: Any) -> Config:
    own = {"name": name, "trainable": True, "dtype": "float32"}
    return {"class_name": class_name, "config": own | arguments}


def image(*shape: int) -> Config:
    own = {
        "batch_input_shape": [None, *shape],
        "dtype": "float32",
        "sparse": False,
        "ragged": False,
        "name": "image",
    }
    return {"class_name": "InputLayer", "config": own}


def sequential() -> Config:
    """As tf.keras 2.11 spells a model that Keras 3 reads."""
    kernel = {
        "kernel_size": [3, 3],
        "strides": [1, 1],
        "padding": "same",
        "data_format": "channels_last",
    }
    stack = [
        layer(
            "Conv2D",
            "conv",
            filters=4,
            groups=1,
            activation="relu",
            kernel_initializer=GLOROT,
            kernel_constraint=None,
            **kernel,
        ),
        layer(
            "BatchNormalization",
            "norm",
            axis=3,
            momentum=0.9,
            epsilon=1e-3,
            center=True,
            scale=True,
        ),
        layer("LayerNormalization", "layer_norm", axis=[3], epsilon=1e-3),
        layer(
            "DepthwiseConv2D",
            "depthwise",
            depth_multiplier=1,
            activation="linear",
            depthwise_initializer=GLOROT,
            **kernel,
        ),
        layer("ReLU", "relu", max_value=6.0, negative_slope=0.0, threshold=0.0),
        layer(
            "SeparableConv2D",
            "separable",
            filters=4,
            depth_multiplier=1,
            pointwise_initializer=GLOROT,
            **kernel,
        ),
        layer(
            "Conv2DTranspose",
            "transpose",
            filters=2,
            output_padding=None,
            kernel_initializer=GLOROT,
            **kernel,
        ),
        layer("LeakyReLU", "leaky", alpha=0.2),
        layer("Dropout", "dropout", rate=0.5, noise_shape=None, seed=None),
        layer("Flatten", "flatten", data_format="channels_last"),
        layer(
            "Dense",
            "dense",
            units=3,
            activation="softmax",
            kernel_initializer=GLOROT,
            kernel_regularizer=None,
        ),
    ]
    return {
        "class_name": "Sequential",
        "config": {"name": "model", "layers": [image(8, 8, 3), *stack]},
    }


def twin() -> keras.Model:
    """The same model, built by somebody in Keras 3, with names of Keras's own."""
    same = {"padding": "same"}
    stack = [
        layers.Conv2D(4, 3, activation="relu", **same),
        layers.BatchNormalization(momentum=0.9),
        layers.LayerNormalization(),
        layers.DepthwiseConv2D(3, **same),
        layers.ReLU(6.0),
        layers.SeparableConv2D(4, 3, **same),
        layers.Conv2DTranspose(2, 3, **same),
        layers.LeakyReLU(0.2),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]
    return keras.Sequential([keras.Input((8, 8, 3)), *stack])


def functional(inner: Config, calls_from: int = 0) -> Config:
    """image → the model inside → Flatten → Dense, as Keras 2 writes it."""
    node = [[[inner["config"]["name"], calls_from, 0, {}]]]
    entries = [
        image(8, 8, 3) | {"name": "image", "inbound_nodes": []},
        inner | {"name": inner["config"]["name"], "inbound_nodes": [[["image", 0, 0, {}]]]},
        layer("Flatten", "flatten") | {"name": "flatten", "inbound_nodes": node},
        layer("Dense", "dense", units=3, activation="softmax")
        | {"name": "dense", "inbound_nodes": [[["flatten", 0, 0, {}]]]},
    ]
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [["dense", 0, 0]]}
    return {"class_name": "Model", "config": {"name": "outer", "layers": entries, **ends}}


def backbone(class_name: str = "Model") -> Config:
    entries = [
        image(8, 8, 3) | {"name": "image", "inbound_nodes": []},
        layer("Conv2D", "conv", filters=4, kernel_size=[3, 3])
        | {"name": "conv", "inbound_nodes": [[["image", 0, 0, {}]]]},
        layer("BatchNormalization", "norm", axis=-1)
        | {"name": "norm", "inbound_nodes": [[["conv", 0, 0, {}]]]},
    ]
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [["norm", 0, 0]]}
    return {"class_name": class_name, "config": {"name": "backbone", "layers": entries, **ends}}


def nested_twin() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()]
    )
    inner = keras.Model(inner.inputs[0], inner.outputs[0])
    start = keras.Input((8, 8, 3))
    return keras.Model(start, layers.Dense(3, activation="softmax")(layers.Flatten()(inner(start))))


def model_of(config: Config, version: str = "2.11.0") -> FromKeras:
    """Random weights, moving averages included."""
    torch.manual_seed(0)
    model = FromKeras(config=json.dumps(config | {"keras_version": version})).eval()
    with torch.no_grad():
        for name, tensor in model.network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.rand_like(tensor) + 0.5
                    if "running_var" in name
                    else tensor + torch.randn_like(tensor) / 4
                )
    return model


def difference(theirs: keras.Model, ours: FromKeras) -> float:
    return float(
        np.abs(
            np.asarray(theirs(IMAGES, training=False)) - ours.predict(to_torch(IMAGES)).numpy()
        ).max()
    )


def loaded(ours: FromKeras, folder: Path, format: Any) -> keras.Model:
    path = folder / f"model{ENDINGS[format]}"
    export_keras(ours, path, format)
    return keras.models.load_model(path, compile=False)


def version_1_norms(config: Config) -> None:
    config["config"]["layers"][2]["class_name"] = "BatchNormalizationV1"


def no_name(config: Config) -> None:
    del config["config"]["name"]


def with_modules(config: Config) -> None:
    """The `.keras` format of tf.keras 2.13."""
    config |= {"module": "tf_keras.src.engine.sequential", "registered_name": "Sequential"}
    for entry in config["config"]["layers"]:
        entry |= {
            "module": "tf_keras.layers",
            "registered_name": None,
            "build_config": {"input_shape": [None, 8, 8, 3]},
        }


READ = {
    "plain": sequential,
    "BatchNormalizationV1": lambda: changed(version_1_norms),
    "no name": lambda: changed(no_name),
    "modules": lambda: changed(with_modules),
    "model in a model": lambda: functional(backbone()),
    "Sequential of a model": lambda: {
        "class_name": "Sequential",
        "config": {
            "name": "outer",
            "layers": [
                backbone("Functional"),
                layer("Flatten", "flatten"),
                sequential()["config"]["layers"][-1],
            ],
        },
    },
}


def changed(change: Callable[[Config], None]) -> Config:
    config = sequential()
    change(config)
    return config


@pytest.mark.parametrize("name", READ)
def test_keras_3_reads_it(tmp_path, name):
    config = READ[name]()
    ours = model_of(config, "2.13.1" if name == "modules" else "2.11.0")
    for format in ("keras", "keras-h5"):
        assert difference(loaded(ours, tmp_path, format), ours) < 1e-5
    theirs = (
        nested_twin()
        if config["class_name"] == "Model"
        else None
        if "Sequential" in name
        else twin()
    )
    if theirs is not None:
        export_keras(ours, tmp_path / "model.weights.h5", "keras-weights")
        theirs.load_weights(tmp_path / "model.weights.h5")
        assert difference(theirs, ours) < 1e-5


def argument(name: str, **arguments: Any) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        next(e for e in config["config"]["layers"] if e["config"]["name"] == name)["config"].update(
            arguments
        )

    return change


def first_layer_shape(config: Config) -> None:
    del config["config"]["layers"][0]
    argument("conv", batch_input_shape=[None, 8, 8, 3])(config)


def bare_list(config: Config) -> None:
    first_layer_shape(config)
    config["config"] = config["config"]["layers"]


def rename(config: Config) -> None:
    config["config"]["layers"][1]["config"]["name"] = "block/conv"


def drop_argument(config: Config) -> None:
    """Keras 1's name of Dropout's rate."""
    own = next(e for e in config["config"]["layers"] if e["config"]["name"] == "dropout")["config"]
    own["p"] = own.pop("rate")


DTYPE = {"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}}
SCALE = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "dtype": "float32"},
}
POLICY = {"class_name": "Policy", "config": {"name": "float32"}}
LEAKY = {
    "class_name": "LeakyReLU",
    "config": {"name": "leaky", "trainable": True, "dtype": "float32", "alpha": 0.0},
}
# name → what Keras 2 wrote, what the message names, the formats that are refused
REFUSED: dict[str, tuple[Callable[[Config], None], str, tuple[str, ...]]] = {
    "first layer's shape": (
        first_layer_shape,
        "batch_input_shape of Conv2D 'conv'",
        ("keras", "keras-h5"),
    ),
    "bare list": (bare_list, "batch_input_shape of Conv2D 'conv'", ("keras", "keras-h5")),
    "axis as a list": (
        argument("norm", axis=[3]),
        r"axis \[3\] of BatchNormalization 'norm'",
        ("keras",),
    ),
    "groups of depthwise": (
        argument("depthwise", groups=1),
        "groups of DepthwiseConv2D 'depthwise'",
        ("keras", "keras-h5"),
    ),
    "groups of separable": (
        argument("separable", groups=1),
        "groups of SeparableConv2D",
        ("keras", "keras-h5"),
    ),
    "groups of transposed": (
        argument("transpose", groups=1),
        "groups of Conv2DTranspose",
        ("keras", "keras-h5"),
    ),
    "kernel of separable": (
        argument("separable", kernel_initializer=GLOROT),
        "kernel_initializer of Sep",
        ("keras", "keras-h5"),
    ),
    "initializer's dtype": (
        argument("dense", kernel_initializer=DTYPE),
        "kernel_initializer of Dense",
        ("keras", "keras-h5"),
    ),
    "scaling's dtype": (
        argument("conv", kernel_initializer=SCALE),
        "kernel_initializer of Conv2D",
        ("keras", "keras-h5"),
    ),
    "own initializer": (
        argument("conv", kernel_initializer="mine"),
        "kernel_initializer of Conv2D",
        ("keras", "keras-h5"),
    ),
    "own constraint": (
        argument("conv", kernel_constraint={"class_name": "Mine", "config": {}}),
        "kernel_constraint",
        ("keras", "keras-h5"),
    ),
    "fused": (argument("norm", fused=True), "fused of BatchNormalization", ("keras", "keras-h5")),
    "NumPy's number": (
        argument("leaky", alpha={"type": "ndarray", "value": 0.2}),
        "alpha of LeakyReLU",
        ("keras", "keras-h5"),
    ),
    "layer as activation": (
        argument("conv", activation=LEAKY),
        "activation 'LeakyReLU' of Conv2D",
        ("keras", "keras-h5"),
    ),
    "policy": (argument("dense", dtype=POLICY), "dtype of Dense", ("keras", "keras-h5")),
    "slash in a name": (rename, "the / in the name of Conv2D 'block/conv'", ("keras", "keras-h5")),
    "p of Dropout": (drop_argument, "p of Dropout", ("keras", "keras-h5")),
}


@pytest.fixture(scope="module")
def theirs() -> keras.Model:
    return twin()


@pytest.mark.parametrize("name", REFUSED)
def test_what_keras_3_refuses_is_refused_with_a_way_on(tmp_path, monkeypatch, theirs, name):
    change, message, formats = REFUSED[name]
    ours = model_of(changed(change))
    for format in ("keras", "keras-h5"):
        if format not in formats:
            assert difference(loaded(ours, tmp_path, format), ours) < 1e-5
            (tmp_path / f"model{ENDINGS[format]}").unlink()
            continue
        way = (
            "Choose the format keras-h5"
            if len(formats) == 1
            else r"\(format keras-weights\).*\(format onnx\)"
        )
        with pytest.raises(InputError, match=f"{message}.*{way}"):
            export_keras(ours, tmp_path / f"model{ENDINGS[format]}", format)
        assert list(tmp_path.iterdir()) == []
    export_keras(ours, tmp_path / "model.weights.h5", "keras-weights")
    theirs.load_weights(tmp_path / "model.weights.h5")
    assert difference(theirs, ours) < 1e-5
    monkeypatch.setattr(to_keras, "check_keras3_config", lambda *args, **kwargs: None)
    for format in formats:  # and it is true that Keras does
        with pytest.raises((TypeError, ValueError, AttributeError)):
            loaded(ours, tmp_path, format)


CALLS = {
    "calls from 1": (lambda: functional(backbone(), 1), "calls of Model 'backbone' counted from 1"),
    "no shape": (
        lambda: {
            "class_name": "Sequential",
            "config": {
                "name": "outer",
                "layers": [
                    {
                        "class_name": "Sequential",
                        "config": {"name": "features", "layers": [backbone("Functional")]},
                    },
                    {
                        "class_name": "Sequential",
                        "config": {"name": "head", "layers": sequential()["config"]["layers"][-2:]},
                    },
                ],
            },
        },
        "a Sequential without an input shape",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_models_in_models_that_keras_3_refuses(tmp_path, monkeypatch, name):
    make, message = CALLS[name]
    ours = model_of(make())
    for format in ("keras", "keras-h5"):
        with pytest.raises(InputError, match=message):
            export_keras(ours, tmp_path / f"model{ENDINGS[format]}", format)
    assert list(tmp_path.iterdir()) == []
    if name == "calls from 1":
        export_keras(ours, tmp_path / "model.weights.h5", "keras-weights")
        again = nested_twin()
        again.load_weights(tmp_path / "model.weights.h5")
        assert difference(again, ours) < 1e-5
    monkeypatch.setattr(to_keras, "check_keras3_config", lambda *args, **kwargs: None)
    for format in ("keras", "keras-h5"):
        with pytest.raises(ValueError, match=r"."):
            loaded(ours, tmp_path, format)


def test_axes_that_keras_drops_from_the_older_format(tmp_path):
    """Keras 3 itself reads `axis=[1, 2]` from its own `.h5` as -1; so we do not write it there,
    whoever wrote the model.
    """
    for version in ("2.11.0", "3.15.1"):
        ours = model_of(changed(argument("layer_norm", axis=[1, 2])), version)
        with pytest.raises(
            InputError,
            match=r"axis \[1, 2\] of LayerNormalization 'layer_norm'. Choose the format keras\.",
        ):
            export_keras(ours, tmp_path / "model.h5", "keras-h5")
        assert difference(loaded(ours, tmp_path, "keras"), ours) < 1e-5


def test_the_verb_ends_with_2_and_prints_no_line_for_keras(tmp_path, capsys):
    """hard_sigmoid, which is another function in Keras 3; the ways that the message names work."""
    ours = model_of(changed(argument("depthwise", activation="hard_sigmoid")))
    save_checkpoint(ours, tmp_path / "old.ckpt")
    before = sorted(tmp_path.iterdir())
    for format in ("keras", "keras-h5"):
        arguments = [
            "export",
            "--ckpt_path",
            str(tmp_path / "old.ckpt"),
            "--output",
            str(tmp_path / f"a{ENDINGS[format]}"),
        ]
        assert main([*arguments, "--format", format]) == 2
        printed = capsys.readouterr()
        assert "Keras 2's hard_sigmoid of DepthwiseConv2D 'depthwise'" in printed.err
        assert "load_model" not in printed.out
        assert sorted(tmp_path.iterdir()) == before
    for format, ending in (("keras-weights", ".weights.h5"), ("onnx", ".onnx")):
        arguments = [
            "export",
            "--ckpt_path",
            str(tmp_path / "old.ckpt"),
            "--output",
            str(tmp_path / f"a{ending}"),
        ]
        assert main([*arguments, "--format", format]) == 0
    theirs = twin()  # in which it is spelled out
    line = [layers.Rescaling(0.2, 0.5), layers.ReLU(1.0)]
    theirs = keras.Sequential(
        [keras.Input((8, 8, 3)), *theirs.layers[:4], *line, *theirs.layers[4:]]
    )
    theirs.load_weights(tmp_path / "a.weights.h5")
    assert difference(theirs, ours) < 1e-5


def test_the_table_of_arguments_is_keras_own():
    """Nothing stands in it that Keras does not take; what every layer takes comes from the class
    they all derive from.
    """
    for name, arguments in keras3_layer_arguments.LAYERS.items():
        parameters = inspect.signature(getattr(keras.layers, name).__init__).parameters
        aliases = {"alpha"} if name == "LeakyReLU" else {"activity_regularizer"}
        assert arguments <= set(parameters) | aliases, name
    for kind, classes in keras3_layer_arguments.OBJECTS.items():
        for name, known in classes.items():
            own = getattr(getattr(keras, f"{kind}s"), name)
            assert set(known.split()) <= set(inspect.signature(own.__init__).parameters), name
        for short in keras3_layer_arguments.SHORT_NAMES.get(kind, ()):
            assert keras.initializers.get(short) is not None
