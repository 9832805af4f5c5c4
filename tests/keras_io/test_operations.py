"""Operations in a functional graph, `-x` or `keras.ops.mean(x)`, of Keras 3 and of tf.keras 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from keras import layers, ops

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations
from signs_lightning.keras_io.compare_outputs import first_difference
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.stateless_layers import l2_normalize
from signs_lightning.keras_io.tf_operations import translate_operation

from .against_keras import assert_same, randomize, to_torch

GOLDEN = Path(__file__).parents[1] / "golden" / "tf_operations.npz"

WEIGHTS = np.arange(1, 7, dtype="float32").reshape(3, 2) / 6
# Each takes a value of shape (4, 5, 3).
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "negative": lambda x: -x,
    "power": lambda x: x**2,
    "power_of": lambda x: 2.0**x,
    "absolute": lambda x: abs(x - 0.5),
    "difference": lambda x: 1 - x,
    "quotient": lambda x: x / 255.0,
    "reciprocal": lambda x: 2 / (x + 1),
    "floored": lambda x: x // 0.3,
    "remainder": lambda x: (x - 0.5) % 0.3,
    "vector": lambda x: x * np.array([1, 2, 3], "float32"),
    "column": lambda x: x + np.array([[1], [2], [3], [4], [5]], "float32"),
    "maximum": lambda x: ops.maximum(0.5, x),
    "minimum": lambda x: ops.minimum(x, 0.5),
    "no_nan": lambda x: ops.divide_no_nan(x, np.array([2, 0, 1], "float32")),
    "by_name": lambda x: keras.src.ops.numpy.Subtract()(x, x2=2.0),
    "sum_of_two": lambda x: ops.add(x, x[:, ::-1]),
    "broadcast": lambda x: x * ops.mean(x, axis=[1, 2], keepdims=True),
    "condition": lambda x: ops.where(x > 0.5, x, 0.25) + ops.cast(x[:, ::-1] <= 0.3, "float32"),
    "exp_log": lambda x: ops.log(ops.exp(x) + ops.sqrt(x + 1) + ops.square(x)),
    "rounded": lambda x: ops.round(x * 7, 1) + ops.floor(x * 3) + ops.sign(x - 0.5),
    "clip": lambda x: ops.clip(x, 0.2, 0.7),
    "cast": lambda x: ops.cast(x, "float32"),
    "stopped": lambda x: ops.stop_gradient(x),
    "mean": lambda x: ops.mean(x, axis=[1, 2]),
    "mean_of_rows": lambda x: ops.mean(x, 1),
    "mean_of_channels": lambda x: ops.mean(x, -1, keepdims=True),
    "maximum_of": lambda x: ops.max(x, axis=2),
    "minimum_of": lambda x: ops.amin(x, axis=(1, 3), keepdims=True),
    "sum": lambda x: ops.sum(x, axis=-2),
    "variance": lambda x: ops.var(x, axis=1) + ops.std(x, axis=1),
    "logsumexp": lambda x: ops.logsumexp(x, axis=2),
    "softmax": lambda x: ops.softmax(x),
    "softmax_of_rows": lambda x: keras.activations.softmax(x, axis=1),
    "softmax_of_pixels": lambda x: ops.softmax(x, axis=(1, 2)),
    "log_softmax": lambda x: keras.activations.log_softmax(x),
    "normalize": lambda x: ops.normalize(x, axis=-1),
    "reshape": lambda x: ops.reshape(x, (-1, 20, 3)),
    "reshape_and_infer": lambda x: ops.reshape(x, (-1, 2, 10, 3))[..., 1:],
    "transpose": lambda x: ops.transpose(x, (0, 3, 1, 2)),
    "swapaxes": lambda x: ops.swapaxes(x, 1, -1),
    "moveaxis": lambda x: ops.moveaxis(x, -1, 1),
    "expand_dims": lambda x: ops.expand_dims(x, 1),
    "expand_a_row": lambda x: ops.mean(ops.expand_dims(ops.mean(x, 1), -1), 2),
    "squeeze": lambda x: ops.squeeze(x[:, :1], 1),
    "squeeze_all": lambda x: ops.squeeze(x[:, :1, :, 2:]),
    "slices": lambda x: x[:, 1:3, ::-1, 0],
    "ellipsis": lambda x: x[..., ::-1],
    "new_axis": lambda x: x[:, 0, None, :, None],
    "row": lambda x: x[:, -1],
    "take": lambda x: ops.take(x, [2, 1, 0, 0], axis=-1),
    "take_one": lambda x: ops.take(x, 1, axis=2),
    "concatenate": lambda x: ops.concatenate([x, x + 1.0], -1),
    "concatenate_rows": lambda x: ops.concatenate([x, x[:, :1]], axis=1),
    "stack": lambda x: ops.stack([x[..., 2], x[..., 1]], axis=-1),
    "stack_five": lambda x: ops.stack([x, x], 2),
    "flip": lambda x: ops.flip(x, (1, 3)),
    "pad": lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1), (1, 0)), constant_values=2.0),
    "pad_reflect": lambda x: ops.pad(x, ((0, 0), (3, 1), (2, 4), (0, 0)), mode="reflect"),
    "pad_symmetric": lambda x: ops.pad(x, ((0, 0), (3, 4), (0, 1), (1, 0)), mode="symmetric"),
    "repeat": lambda x: ops.repeat(x, 2, axis=1),
    "tile": lambda x: ops.tile(x, [1, 2, 1, 3]),
    "matmul": lambda x: ops.matmul(x, ops.swapaxes(x, 2, 3)),
    "matmul_of_constant": lambda x: x @ WEIGHTS,
    "einsum": lambda x: ops.einsum("bhwc,bhwd->bcd", x, x),
    "relu": lambda x: keras.activations.relu(x - 0.5),
    "relu_with_arguments": lambda x: keras.activations.relu(x, 0.1, 0.8, 0.3),
    "gelu": lambda x: keras.activations.gelu(x - 0.5) + ops.gelu(x - 0.5, approximate=True),
    "leaky": lambda x: ops.leaky_relu(x - 0.5, 0.3),
    "elu": lambda x: ops.elu(x - 0.5, 0.5) + ops.celu(x - 0.5, 0.7) + ops.selu(x - 0.5),
    "shrink": lambda x: ops.hard_shrink(x - 0.5, 0.2) + ops.soft_shrink(x - 0.5, 0.1),
    "smooth": lambda x: ops.silu(x) + ops.sigmoid(x) + ops.tanh(x) + ops.softplus(x),
    "hard": lambda x: ops.hard_sigmoid(4 * x - 2) + ops.hard_silu(x) + ops.relu6(x * 9),
    "thresholds": lambda x: ops.threshold(x, 0.5, 0.1) + ops.squareplus(x, 2),
    "resized": lambda x: ops.image.resize(x, (8, 3), interpolation="nearest"),
    "grey": lambda x: ops.image.rgb_to_grayscale(x),
    "pools": lambda x: ops.max_pool(x, 2, 2) + ops.average_pool(x, (2, 2), (2, 2)),
}


def joined(image: Any, values: dict[str, Any]) -> keras.Model:
    """A classifier of all values, each of which is compared by its Flatten."""
    flat = [layers.Flatten(name=f"{name}.")(value) for name, value in values.items()]
    total = layers.Concatenate(name="joined")(flat)
    return keras.Model(image, layers.Dense(3, activation="softmax", name="end")(total))


@pytest.mark.slow
def test_operations_of_keras_3(tmp_path):
    """With constants on either side, arguments by position and by name, axes of every rank."""
    image = keras.Input((4, 5, 3))
    x = layers.Rescaling(1.0, name="image")(image)
    model = joined(image, {name: function(x) for name, function in OPERATIONS.items()})
    randomize(model)
    assert_same(model, tmp_path)


def as_in_2_3(value: Any) -> Any:
    """A config without what tf.keras wrote from 2.13 on: modules, and arrays in a dict."""
    if isinstance(value, list):
        return [as_in_2_3(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "__numpy__":
        return value["config"]["value"]
    return {k: as_in_2_3(v) for k, v in value.items() if k not in ("module", "registered_name")}


@pytest.mark.parametrize("kind", ["functions", "nodes"])
def test_operations_of_tf_keras(kind):
    """TFOpLambda and SlicingOpLambda of 2.4 to 2.15, TensorFlowOpLayer of 2.2 and 2.3."""
    golden = np.load(GOLDEN)
    keys = [key for key in golden if key.startswith(f"{kind}/")]
    outputs = {key.removeprefix(f"{kind}/"): golden[key] for key in keys}
    assert len(outputs) > 25
    config = json.loads(str(golden[kind]))
    for written in [config] if kind == "functions" else [config, as_in_2_3(config)]:
        model = FromKeras(config=json.dumps(written), scale="/255").eval()
        difference = first_difference(model, outputs, to_torch(golden["images"]))
        assert difference is None, str(difference)


@pytest.mark.parametrize("mode", ["tf", "caffe", "torch"])
def test_preprocess_input_of_tf_keras(mode, capsys):
    """Its functions in the graph say that the model takes bytes."""
    golden = np.load(GOLDEN)
    model = FromKeras(config=str(golden[f"preprocess_{mode}"])).eval()
    assert capsys.readouterr().out.startswith("scale: raw (0..255), because the model begins with")
    outputs = {"flat": golden[f"preprocess_{mode}/flat"]}
    difference = first_difference(model, outputs, to_torch(golden["images"] * 255))
    assert difference is None, str(difference)


def test_what_operations_are_refused(tmp_path):
    """All of them by name, also in a legacy file, where Keras 3 writes no modules."""
    image = keras.Input((4, 4, 3))
    value = ops.argmax(image, axis=-1, keepdims=True)
    value = layers.Flatten()(ops.cumsum(ops.max(image, axis=1, initial=0.0), axis=1) * value)
    model = keras.Model(image, layers.Dense(2, activation="softmax")(value))
    for extension in ("keras", "h5"):
        model.save(tmp_path / f"m.{extension}")
        with pytest.raises(InputError) as caught:
            from_keras(tmp_path / f"m.{extension}")
        for part in ("Argmax 'argmax", "initial of Max 'max", "Cumsum 'cumsum"):
            assert part in str(caught.value)


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "mean of the batch": (lambda x: ops.mean(x, axis=(0, 1)), "Mean 'mean.*has axis"),
    "mean of all": (lambda x: ops.mean(x) + x, "Mean 'mean.*has axis None"),
    "fixed batch": (lambda x: ops.reshape(x, (2, -1)), "Reshape 'reshape.*has shape"),
    "moved batch": (lambda x: ops.transpose(x, (3, 1, 2, 0)), "Transpose 'transp.*has axes"),
    "part of a batch": (lambda x: x[1:, :], "GetItem 'get_item.*has key"),
    "integers": (lambda x: ops.cast(ops.cast(x, "int32"), "float32"), "Cast 'cast.*has dtype"),
    "ranks": (lambda x: x + ops.mean(x, axis=1), "Add 'add.*joins shapes"),
    "constant": (lambda x: x + np.ones((2, 1, 1, 1), "float32"), "constant of shape"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_arguments_are_refused(case, tmp_path):
    """What depends on the number of images in a batch, and whole numbers, by the operation."""
    function, message = REFUSED[case]
    image = keras.Input((4, 4, 3))
    value = layers.Flatten()(function(image))
    keras.Model(image, layers.Activation("softmax")(value)).save(tmp_path / "m.keras")
    with pytest.raises(InputError, match=message):
        from_keras(tmp_path / "m.keras")


@pytest.mark.parametrize(
    ("kind", "layer", "key", "value"),
    [
        ("functions", "tf.compat.v1.transpose", "perm", 0.5),
        ("functions", "tf.compat.v1.pad", "paddings", [[0, 0], [2**40, 0], [0, 0], [0, 0]]),
        ("functions", "tf.tile", "multiples", [1, 2**20, 2**20, 3]),
        ("nodes", "tf_op_layer_mean", "constants", {"0": [1]}),
        ("nodes", "tf_op_layer_tile", "constants", {"9" * 5000: 1}),
    ],
)
def test_hostile_arguments(kind, layer, key, value):
    """What no Keras writes is an error like any other, before memory is taken."""
    config = json.loads(str(np.load(GOLDEN)[kind]))
    entry = next(e for e in config["config"]["layers"] if e["name"] == layer)
    (entry["config"] if kind == "nodes" else entry["inbound_nodes"][0][3])[key] = value
    with pytest.raises(InputError):
        FromKeras(config=json.dumps(config), scale="/255")


def test_what_hides_its_inputs_is_refused_by_name(tmp_path):
    """A mask and a dynamic shape: nothing is said of a file that is sound."""
    image = keras.Input((6, 6, 3))
    masked = layers.Masking()(layers.Reshape((6, 18))(image))
    end = layers.Dense(3, activation="softmax")
    keras.Model(image, end(layers.LSTM(3)(masked))).save(tmp_path / "m.keras")
    with pytest.raises(InputError, match=r"not know: .*Masking 'masking.*LSTM 'lstm"):
        from_keras(tmp_path / "m.keras")
    shape = ["shape", 0, 0]
    functions = {"shape": "compat.v1.shape", "size": "__operators__.getitem", "rows": "reshape"}
    entries: list[dict[str, Any]] = [
        {"class_name": "TFOpLambda", "name": name, "config": {"name": name, "function": function}}
        for name, function in functions.items()
    ]
    image = {"name": "image", "batch_input_shape": [None, 4, 4, 3]}
    dense = {"name": "end", "units": 3, "activation": "softmax"}
    nodes: list[Any] = [["image", 0, 0, {}], [*shape, {"slice_spec": 0}],
                        ["image", 0, 0, {"shape": [["size", 0, 0], 48]}]]  # fmt: skip
    for entry, node in zip(entries, nodes, strict=True):
        entry["inbound_nodes"] = [node]
    entries.insert(0, {"class_name": "InputLayer", "name": "image", "config": image,
                       "inbound_nodes": []})  # fmt: skip
    entries.append({"class_name": "Dense", "name": "end", "config": dense,
                    "inbound_nodes": [[["rows", 0, 0, {}]]]})  # fmt: skip
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [["end", 0, 0]]}
    config = {"class_name": "Functional", "config": {"name": "m", "layers": entries, **ends}}
    with pytest.raises(InputError, match=r"compat\.v1\.shape of TFOpLambda 'shape'.*reshape of"):
        FromKeras(config=json.dumps(config))


def test_sizes_of_a_split_are_the_places_between_its_parts():
    """`tf.split(x, [1, 2, 3])` is `ops.split(x, [1, 3])`, as Keras 3 writes that."""
    image = keras.Input((4, 4, 6), name="image")
    model = keras.Model(image, keras.ops.split(image, [1, 3], axis=-1))
    expected = model.get_config()["layers"][1]
    node = ["image", 0, 0, {"num_or_size_splits": [1, 2, 3], "axis": -1, "num": None}]
    config = {"name": expected["config"]["name"], "function": "split"}
    entry = {"class_name": "TFOpLambda", "config": config, "inbound_nodes": [node]}
    found = translate_operation(entry)
    keys = ("module", "class_name", "config")
    assert {key: found[key] for key in keys} == {key: expected[key] for key in keys}


def test_gradients_behind_normalized_zeros_are_keras_s():
    """A ReLU in front has given the zeros: its gradient there is 0 and not NaN."""
    x = np.array([[0.1, 0.0, -2.0], [1.0, 2.0, 4.0]], np.float32)
    weights = np.array([[1.0, 2.0, 3.0], [1.0, -1.0, 0.5]], np.float32)
    stack = keras.Sequential([layers.ReLU(threshold=0.3), layers.UnitNormalization()])
    expected = jax.grad(lambda values: (stack(values) * weights).sum())(jnp.asarray(x))
    ours = torch.tensor(x, requires_grad=True)
    positive = activations.rectifier("ReLU", {"threshold": 0.3}, axis=-1)(ours)
    (l2_normalize(positive, [1], 1e12) * torch.tensor(weights)).sum().backward()
    assert ours.grad is not None
    np.testing.assert_allclose(ours.grad.numpy(), np.asarray(expected), rtol=1e-5)
