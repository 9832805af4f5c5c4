"""Files of Keras 1, of Theano and of tf.keras 2.12, written with h5py and json as these did."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import layers

from signs_lightning.checkpoints.load_model import load_model
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.models.run_callbacks import RUN_CALLBACKS, check_run_callbacks

from .against_keras import images_for, network_of, randomize, to_torch

Weights = dict[str, list[tuple[str, np.ndarray]]]


def write_legacy(
    path: Path, config: dict[str, Any], weights: Weights, version: str, backend: str | None = None
) -> None:
    """A whole model as Keras's `save` writes it to HDF5; `weights` by the name of the layer."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        file.attrs["model_config"] = json.dumps(config).encode()
        for owner in (file, root):
            owner.attrs["keras_version"] = version.encode()
            if backend is not None:
                owner.attrs["backend"] = backend.encode()
        root.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [key.encode() for key, _ in arrays]
            for key, values in arrays:
                group[key] = values


def old_node(*names: str) -> list[Any]:
    return [[[name, 0, 0] for name in names]] if names else []


def keras1_config(ordering: str, size: tuple[int, ...]) -> dict[str, Any]:
    """A functional model in the words of Keras 1.2."""
    conv = {
        "trainable": True, "init": "glorot_uniform", "activation": "relu", "nb_row": 3, "nb_col": 2,
        "subsample": [1, 1], "border_mode": "same", "dim_ordering": ordering, "bias": True,
        "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.1},
        "b_regularizer": None, "activity_regularizer": None, "W_constraint": None,
        "b_constraint": None,
    }  # fmt: skip
    axis = 1 if ordering == "th" else -1
    pooling = {"pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid", "trainable": True}
    dense = {
        "trainable": True, "output_dim": 3, "init": "he_normal", "activation": "softmax",
        "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None,
        "W_constraint": None, "b_constraint": None, "bias": True, "input_dim": None,
    }  # fmt: skip
    entries: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
        ("InputLayer", {"batch_input_shape": [None, *size], "name": "image"}, ()),
        ("ZeroPadding2D", {"padding": [1, 0, 0, 1], "dim_ordering": ordering, "name": "pad"},
         ("image",)),
        ("Convolution2D", conv | {"nb_filter": 4, "name": "conv"}, ("pad",)),
        ("BatchNormalization", {"name": "norm", "trainable": True, "mode": 0, "axis": axis,
                                "momentum": 0.99, "epsilon": 0.001, "beta_init": "zero",
                                "gamma_init": "one", "gamma_regularizer": None}, ("conv",)),
        ("AtrousConvolution2D", conv | {"nb_filter": 5, "atrous_rate": [2, 2], "name": "wide"},
         ("norm",)),
        ("Merge", {"mode": "concat", "concat_axis": axis, "dot_axes": -1, "mode_type": "raw",
                   "output_shape": None, "arguments": {}, "name": "joined"}, ("wide", "norm")),
        ("Merge", {"mode": "mul", "concat_axis": -1, "name": "squared"}, ("joined", "joined")),
        ("MaxPooling2D", pooling | {"dim_ordering": ordering, "name": "pool"}, ("squared",)),
        ("Dropout", {"p": 0.5, "trainable": True, "name": "drop"}, ("pool",)),
        ("Flatten", {"trainable": True, "name": "flat"}, ("drop",)),
        ("Dense", dense | {"name": "end"}, ("flat",)),
    ]  # fmt: skip
    entry = [
        {"class_name": kind, "name": config["name"], "config": config,
         "inbound_nodes": old_node(*inputs) and [old_node(*inputs)[0]]}
        for kind, config, inputs in entries
    ]  # fmt: skip
    config = {
        "name": "model_1", "layers": entry, "input_layers": [["image", 0, 0]],
        "output_layers": [["end", 0, 0]],
    }  # fmt: skip
    return {"class_name": "Model", "config": config}


def as_keras3(ordering: str, size: tuple[int, ...]) -> keras.Model:
    """The same model, built with Keras 3."""
    data_format = "channels_first" if ordering == "th" else "channels_last"
    axis = 1 if ordering == "th" else -1
    options: dict[str, Any] = {"padding": "same", "activation": "relu", "data_format": data_format}
    image = keras.Input(size)
    padded = layers.ZeroPadding2D(((1, 0), (0, 1)), data_format=data_format)(image)
    conv = layers.Conv2D(4, (3, 2), name="conv", **options)(padded)
    norm = layers.BatchNormalization(axis=axis, name="norm")(conv)
    wide = layers.Conv2D(5, (3, 2), name="wide", dilation_rate=2, **options)(norm)
    joined = layers.Concatenate(axis=axis)([wide, norm])
    squared = layers.Multiply()([joined, joined])
    value = layers.MaxPooling2D(2, data_format=data_format)(squared)
    value = layers.Flatten(data_format="channels_last")(value)
    return keras.Model(image, layers.Dense(3, activation="softmax", name="end")(value))


@pytest.mark.parametrize("ordering", ["th", pytest.param("tf", marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", ["tensorflow", "theano"])
def test_keras_1(ordering, backend, tmp_path, capsys):
    """A kernel lies as (filters, channels, rows, columns) in th, and turned on Theano."""
    size = (2, 6, 7) if ordering == "th" else (6, 7, 2)
    model = as_keras3(ordering, size)
    randomize(model)
    end, names = (":0" if backend == "tensorflow" else ""), ("gamma", "beta", "running_mean")
    weights: Weights = {"pad": [], "image": []}
    for name in ("conv", "norm", "wide", "end"):
        arrays = [np.asarray(weight) for weight in model.get_layer(name).get_weights()]
        keys = (*names, "running_std") if name == "norm" else ("W", "b")
        if name in ("conv", "wide"):
            kernel = arrays[0][::-1, ::-1] if backend == "theano" else arrays[0]
            arrays[0] = kernel.transpose(3, 2, 0, 1) if ordering == "th" else kernel
        weights[name] = [
            (f"{name}_{key}{end}", array) for key, array in zip(keys, arrays, strict=True)
        ]
    write_legacy(tmp_path / "m.h5", keras1_config(ordering, size), weights, "1.2.2")
    ours = from_keras(tmp_path / "m.h5", scale="/255")
    assert isinstance(ours, FromKeras)
    line = "kernels: turned by 180 degrees, because Keras 1 wrote the file on Theano"
    assert (line in capsys.readouterr().out) == (backend == "theano")
    images = images_for(model)
    found = ours.predict(to_torch(images, ordering == "th")).numpy()
    np.testing.assert_allclose(found, model(images), atol=1e-5, rtol=0)
    squares = sum(
        float(np.square(model.get_layer(name).get_weights()[0]).sum()) for name in ("conv", "wide")
    )
    penalty = network_of(ours).regularization_loss().item()
    assert penalty == pytest.approx(0.1 * squares, rel=1e-5)
    again = FromKeras(**ours.hparams)
    again.load_state_dict(ours.state_dict())
    assert torch.equal(again.predict(to_torch(images, ordering == "th")), torch.from_numpy(found))


def test_keras_1_sequential(tmp_path):
    """A bare list of layers, the shape in the first one; what Keras 2 has no layer for is named."""
    first = {
        "trainable": True, "name": "first", "batch_input_shape": [None, 12], "input_dim": 12,
        "output_dim": 4, "init": "uniform", "activation": "tanh", "bias": False,
    }  # fmt: skip
    end = {"name": "end", "output_dim": 2, "activation": "softmax", "bias": True}
    config = {
        "class_name": "Sequential",
        "config": [
            {"class_name": "Dense", "config": first},
            {"class_name": "Dense", "config": end},
        ],
    }
    rng = np.random.default_rng(0)
    kernels = [rng.normal(size=shape).astype("float32") for shape in ((12, 4), (4, 2), (2,))]
    weights = {"first": [("first_W", kernels[0])], "end": list(zip("Wb", kernels[1:], strict=True))}
    write_legacy(tmp_path / "m.h5", config, weights, "1.1.0")
    ours = from_keras(tmp_path / "m.h5", scale="/255", image_size=(2, 2, 3))
    images = rng.random((3, 2, 2, 3), dtype="float32")
    logits = np.tanh(images.reshape(3, 12) @ kernels[0]) @ kernels[1] + kernels[2]
    powers = np.exp(logits)
    found = ours.predict(to_torch(images)).numpy()
    np.testing.assert_allclose(found, powers / powers.sum(1, keepdims=True), atol=1e-5, rtol=0)
    maxout = {"class_name": "MaxoutDense", "config": {"name": "maxout", "output_dim": 3}}
    norm = {"class_name": "BatchNormalization", "config": {"name": "norm", "mode": 2, "axis": -1}}
    config["config"] = [config["config"][0], maxout, norm, config["config"][1]]
    write_legacy(tmp_path / "m.h5", config, weights, "1.1.0")
    with pytest.raises(
        InputError, match="MaxoutDense 'maxout', mode 2 of BatchNormalization 'norm'"
    ):
        from_keras(tmp_path / "m.h5", scale="/255", image_size=(2, 2, 3))


def test_a_theano_file_of_keras_2(tmp_path, capsys):
    """Kernels of convolutions are turned, those of depthwise ones are not."""
    model = keras.Sequential(
        [
            keras.Input((6, 7, 2)),
            layers.Conv2D(4, (3, 2), name="conv"),
            layers.SeparableConv2D(3, 2, name="separable"),
            layers.Conv2DTranspose(2, (2, 3), name="transpose"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="end"),
        ]
    )
    randomize(model)
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        for name in ("conv", "transpose"):
            kernel = next(iter(file[f"model_weights/{name}"].values()))[f"{name}/kernel"]
            kernel[...] = kernel[...][::-1, ::-1]
        for owner in (file, file["model_weights"]):
            owner.attrs["backend"] = b"theano"
    ours = from_keras(tmp_path / "m.h5", scale="/255")
    expected = "kernels: turned by 180 degrees, because the file's backend is theano."
    assert expected in capsys.readouterr().out
    images = images_for(model)
    found = ours.predict(to_torch(images)).numpy()
    np.testing.assert_allclose(found, model(images), atol=1e-5, rtol=0)


def nested_model() -> keras.Model:
    """A functional model with two of one class inside, and classes with several layers."""
    inner = [
        keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                layers.Conv2D(2, 3, padding="same", name=f"conv_{name}_{k}"),
                layers.Dropout(0.5),
                layers.Conv2D(2, 1, name=f"conv_{name}_again_{k}"),
            ],
            name=f"{name}_{k}",
        )
        for name in ("inner",)
        for k in range(2)
    ]
    image = keras.Input((6, 6, 2))
    turned = keras.Sequential([layers.RandomFlip()], name="augment")(image)
    value = layers.BatchNormalization(name="first")(inner[1](inner[0](turned)))
    value = layers.Flatten()(layers.BatchNormalization(name="second")(value))
    value = layers.Dense(4, activation="relu", name="dense_a")(
        layers.Dense(4, name="dense_b")(value)
    )
    return keras.Model(image, layers.Dense(3, activation="softmax", name="dense_c")(value))


def as_tf_keras_2_12(path: Path, on_windows: bool) -> None:
    """Rewrites a `.keras` as 2.12 wrote it: a layer with weights counts twice in its class."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    source, buffer = h5py.File(io.BytesIO(entries["model.weights.h5"])), io.BytesIO()
    with source, h5py.File(buffer, "w") as target:

        def visit(name: str, item: Any) -> None:
            if not isinstance(item, h5py.Dataset) or not name.startswith("layers/"):
                return
            *groups, _, number = name.split("/")
            for k, group in enumerate(groups):
                kind, _, count = group.rpartition("_")
                if group == "layers":
                    groups[k] = "_layer_checkpoint_dependencies"
                elif count.isdigit():
                    shift = 1 if kind == "sequential" else 0  # `augment` has no weights
                    groups[k] = f"{kind}_{2 * int(count) - shift}"
            separator = "\\" if on_windows else "/"
            target[f"{separator.join(groups)}/vars/{number}"] = item[()]

        source.visititems(visit)
    entries["model.weights.h5"] = buffer.getvalue()
    entries["metadata.json"] = b'{"keras_version": "2.12.0", "date_saved": ""}'
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f".\\{name}" if on_windows else name, content)


@pytest.mark.parametrize("on_windows", [False, True])
def test_the_groups_of_tf_keras_2_12(on_windows, tmp_path):
    model = nested_model()
    randomize(model)
    model.save(tmp_path / "m.keras")
    as_tf_keras_2_12(tmp_path / "m.keras", on_windows)
    ours = from_keras(tmp_path / "m.keras", scale="/255")
    images = images_for(model)
    expected = np.asarray(model(images, training=False))
    np.testing.assert_allclose(ours.predict(to_torch(images)), expected, atol=1e-5, rtol=0)


def test_the_groups_of_another_model(tmp_path):
    """One that lacks, fewer layers of a class than the config has: both are refused."""
    model = nested_model()
    model.save(tmp_path / "m.keras")
    as_tf_keras_2_12(tmp_path / "m.keras", False)
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO(entries["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        del file["_layer_checkpoint_dependencies/dense_2"]
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        for name, content in (entries | {"model.weights.h5": buffer.getvalue()}).items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match="weights of 2 layers 'dense', expected 3"):
        from_keras(tmp_path / "m.keras", scale="/255")


def small_model() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="end"),
        ]
    )


@pytest.mark.parametrize("policy", ["bfloat16", "float16"])
def test_weights_of_16_bits(policy, tmp_path):
    """The weights as they are stored, in a float32 model: what Keras gives for that."""
    plain = small_model()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = small_model()
        randomize(model)
    finally:
        keras.config.set_dtype_policy(before)
    plain.set_weights([np.asarray(w, dtype="float32") for w in model.weights])
    images = images_for(plain)
    for extension in ("keras", "h5"):  # Keras itself writes bfloat16 to both, and reads the first
        model.save(tmp_path / f"m.{extension}")
        ours = from_keras(tmp_path / f"m.{extension}", scale="/255")
        found = ours.predict(to_torch(images)).numpy()
        np.testing.assert_allclose(found, plain(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("extension", ["keras", "h5"])
def test_a_model_without_weights(extension, tmp_path):
    """It predicts and summarizes, also as a checkpoint; it cannot be trained."""
    image = keras.Input((4, 4, 3))
    value = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, layers.Softmax()(value))
    model.save(tmp_path / f"m.{extension}")
    ours = from_keras(tmp_path / f"m.{extension}")
    pixels = (images_for(model) * 255).astype("uint8")
    expected = model(pixels.astype("float32"))
    np.testing.assert_allclose(ours.predict(pixels), expected, atol=1e-5, rtol=0)
    save_checkpoint(ours, tmp_path / "m.ckpt")
    again, _ = load_model(str(tmp_path / "m.ckpt"), "predict")
    np.testing.assert_allclose(again.predict(pixels), expected, atol=1e-5, rtol=0)
    assert network_of(ours).totals() == (0, 0)
    assert ours.compute_loss(ours(ours.preprocess(torch.from_numpy(pixels))), torch.tensor([0, 1]))
    trainer = SimpleNamespace(callbacks=[kind() for kind in RUN_CALLBACKS])
    with pytest.raises(InputError, match="no weights to train"):
        check_run_callbacks(trainer, ours)
