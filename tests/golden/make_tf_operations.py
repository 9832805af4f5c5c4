"""tf.keras 2 writes TensorFlow's functions in a graph, and computes them for two images.

    TF_USE_LEGACY_KERAS=1 python make_tf_operations.py

writes tf_operations.npz beside this file: the images, two models as `to_json` gives them, and what
every branch of them gives. The first is as tf.keras 2.4 to 2.15 write it (TFOpLambda,
SlicingOpLambda), the second as 2.2 and 2.3 do (TensorFlowOpLayer). It needs tensorflow and
tf_keras, nothing of this project.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tf_keras.src.applications.imagenet_utils import preprocess_input
from tf_keras.src.engine.base_layer import TensorFlowOpLayer

K = keras.backend
SHAPE = (4, 5, 3)
VECTOR = np.array([1, 2, 3], "float32")
MATRIX = np.arange(1, 7, dtype="float32").reshape(3, 2) / 6
PADDINGS = [[0, 0], [1, 2], [0, 1], [1, 0]]
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "negative": lambda x: -x,
    "power": lambda x: x**2,
    "power_of": lambda x: 2.0**x,
    "absolute": lambda x: abs(x - 0.5) + tf.abs(0.5 - x),
    "arithmetic": lambda x: tf.add(tf.multiply(x, 2.0), y=tf.subtract(1.0, x)),
    "quotient": lambda x: tf.divide(x, 255.0) + 2.0 / (x + 1.0),
    "floored": lambda x: x // 0.3,
    "remainder": lambda x: (x - 0.5) % 0.3,
    "vector": lambda x: x * VECTOR - tf.constant(VECTOR) + x * [1.0, 2.0, 3.0],
    "no_nan": lambda x: tf.math.divide_no_nan(x, [2.0, 0.0, 1.0]),
    "extremes": lambda x: tf.maximum(0.5, x) * tf.minimum(x, 0.7),
    "bias": lambda x: tf.nn.bias_add(x, VECTOR) + K.bias_add(x, K.constant(VECTOR)),
    "add_n": lambda x: tf.add_n([x, x[:, ::-1]]),
    "broadcast": lambda x: x * tf.reduce_mean(x, axis=[1, 2], keepdims=True),
    "functions": lambda x: tf.exp(x) + tf.math.log(x + 1) + tf.sqrt(x) + tf.square(x),
    "rounded": lambda x: tf.floor(x * 3) + tf.sign(x - 0.5) + tf.round(x * 5),
    "clip": lambda x: tf.clip_by_value(x, 0.2, 0.7) + K.clip(x, 0.3, 0.9),
    "cast": lambda x: tf.cast(x, tf.float32) + K.cast(x, "float32"),
    "identity": lambda x: tf.identity(tf.stop_gradient(x)),
    "mean": lambda x: tf.reduce_mean(x, axis=[1, 2]),
    "mean_of_rows": lambda x: tf.reduce_mean(x, 1),
    "mean_of_channels": lambda x: K.mean(x, axis=-1, keepdims=True),
    "maximum_of": lambda x: tf.reduce_max(x, axis=2) + tf.reduce_min(x, 2),
    "sum": lambda x: K.sum(x, axis=-2),
    "deviation": lambda x: tf.math.reduce_std(x, axis=1) + K.var(x, axis=1),
    "logsumexp": lambda x: tf.reduce_logsumexp(x, axis=2),
    "softmax": lambda x: tf.nn.softmax(x) + keras.activations.softmax(x, axis=1),
    "log_softmax": lambda x: tf.nn.log_softmax(x, axis=2),
    "normalize": lambda x: tf.math.l2_normalize(x, axis=-1) + K.l2_normalize(x, 1),
    "reshape": lambda x: tf.reshape(x, [-1, 20, 3]),
    "reshape_and_infer": lambda x: K.reshape(x, (-1, 2, 10, 3))[..., 1:],
    "transpose": lambda x: tf.transpose(x, [0, 3, 1, 2]),
    "permute": lambda x: K.permute_dimensions(x, (0, 2, 3, 1)),
    "expand_dims": lambda x: tf.expand_dims(x, 1),
    "expand_last": lambda x: K.expand_dims(tf.reduce_mean(x, 1), -1),
    "squeeze": lambda x: tf.squeeze(x[:, :1], [1]) + K.squeeze(x[:, :1], 1),
    "squeeze_all": lambda x: tf.squeeze(x[:, :1, :, 2:]),
    "slices": lambda x: x[:, 1:3, ::-1, 0],
    "ellipsis": lambda x: x[..., ::-1],
    "new_axis": lambda x: x[:, 0, tf.newaxis],
    "gather": lambda x: tf.gather(x, [2, 1, 0, 0], axis=-1),
    "concat": lambda x: tf.concat([x, x + 1.0], -1),
    "concatenate": lambda x: K.concatenate([x, x[:, :1]], axis=1),
    "stack": lambda x: tf.stack([x[..., 2], x[..., 1], x[..., 0]], axis=-1),
    "stack_five": lambda x: tf.stack([x, x], 2),
    "reverse": lambda x: tf.reverse(x, [1, -1]),
    "pad": lambda x: tf.pad(x, PADDINGS, constant_values=2.0),
    "pad_reflect": lambda x: tf.pad(x, [[0, 0], [3, 1], [2, 4], [0, 0]], "REFLECT"),
    "pad_symmetric": lambda x: tf.pad(x, [[0, 0], [3, 4], [0, 1], [1, 0]], "SYMMETRIC"),
    "pad_pixels": lambda x: K.spatial_2d_padding(x, ((1, 0), (0, 2))),
    "repeat": lambda x: tf.repeat(x, 2, axis=1),
    "tile": lambda x: tf.tile(x, [1, 2, 1, 3]),
    "matmul": lambda x: tf.matmul(x, tf.transpose(x, [0, 1, 3, 2])),
    "matmul_of_constant": lambda x: x @ MATRIX,
    "matmul_turned": lambda x: tf.matmul(x, MATRIX.T, transpose_b=True),
    "relu": lambda x: tf.nn.relu(x - 0.5) + K.relu(x - 0.6) + tf.nn.relu6(x * 9),
    "leaky": lambda x: tf.nn.leaky_relu(x - 0.5, 0.1) + tf.nn.leaky_relu(x - 0.5),
    "gelu": lambda x: keras.activations.gelu(x - 0.5) + tf.nn.gelu(x - 0.5, approximate=True),
    "elu": lambda x: tf.nn.elu(x - 0.5) + keras.activations.elu(x - 0.5, 0.5) + tf.nn.selu(x - 0.5),
    "smooth": lambda x: tf.nn.swish(x) + tf.sigmoid(x) + tf.tanh(x) + tf.nn.softplus(x),
    "named": lambda x: keras.activations.mish(x) + keras.activations.hard_sigmoid(x * 4 - 2),
    "resized": lambda x: tf.image.resize(x, (8, 3)) + tf.image.resize(x, [8, 3], "nearest"),
    "grey": lambda x: tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(x)),
    "pools": lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME") + tf.nn.avg_pool2d(x, 2, 2, "SAME"),
    "pool": lambda x: K.pool2d(x, (2, 2), (1, 1), pool_mode="avg"),
}
# Operations of TensorFlow's graph, and their inputs beside the value.
NODES: dict[str, Callable[[Any], Any]] = {
    "mul": lambda x: tf.multiply(x, VECTOR),
    "sub": lambda x: tf.subtract(1.0, x),
    "div": lambda x: tf.divide(x, 255.0),
    "bias": lambda x: tf.nn.bias_add(x, VECTOR),
    "neg": tf.negative,
    "pow": lambda x: tf.pow(x, 2.0),
    "floormod": lambda x: tf.math.floormod(x, 0.3),
    "abs": tf.abs,
    "log1p": tf.math.log1p,
    "mean": lambda x: tf.reduce_mean(x, axis=[1, 2]),
    "max": lambda x: tf.reduce_max(x, axis=-1, keepdims=True),
    "sum": lambda x: tf.reduce_sum(x, axis=1),
    "reshape": lambda x: tf.reshape(x, [-1, 20, 3]),
    "transpose": lambda x: tf.transpose(x, [0, 3, 1, 2]),
    "expand": lambda x: tf.expand_dims(x, 1),
    "tile": lambda x: tf.tile(x, [1, 2, 1, 3]),
    "reverse": lambda x: tf.reverse(x, [-1]),
    "pad": lambda x: tf.pad(x, PADDINGS),
    "pad_two": lambda x: tf.pad(x, PADDINGS, constant_values=2.0),
    "pad_reflect": lambda x: tf.pad(x, [[0, 0], [3, 1], [2, 4], [0, 0]], "REFLECT"),
    "pad_symmetric": lambda x: tf.pad(x, [[0, 0], [3, 4], [0, 1], [1, 0]], "SYMMETRIC"),
    "softmax": tf.nn.softmax,
    "relu": lambda x: tf.nn.relu(x),
    "leaky": lambda x: tf.nn.leaky_relu(x, 0.1),
    "cast": lambda x: tf.raw_ops.Cast(x=x, DstT=tf.float32),
    "slices": lambda x: x[:, 1:3, ::-1, 0],
    "ellipsis": lambda x: x[..., ::-1],
    "new_axis": lambda x: x[:, tf.newaxis, 1:],
}


def as_layer(name: str, function: Callable[[Any], Any], value: Any) -> Any:
    """The last operation of a function as the layer that tf.keras 2.2 made of it."""
    with tf.Graph().as_default():
        image = tf.compat.v1.placeholder(tf.float32, [None, *SHAPE], name="image")
        operation = function(image).op
        constants = {
            index: tf.get_static_value(taken)
            for index, taken in enumerate(operation.inputs)
            if taken is not image
        }
        node = operation.node_def.SerializeToString()
    return TensorFlowOpLayer(node, name, constants)(value)


def main() -> None:
    images = np.random.default_rng(3).random((2, *SHAPE), dtype="float32")
    arrays: dict[str, Any] = {"images": images}
    for kind, functions in (("functions", FUNCTIONS), ("nodes", NODES)):
        image = keras.Input(SHAPE)
        flat = []
        for name, function in functions.items():
            value = function(image) if kind == "functions" else as_layer(name, function, image)
            flat.append(keras.layers.Flatten(name=f"{name}.")(value))
        joined = keras.layers.Concatenate(name="joined")(flat)
        total = keras.Model(image, keras.layers.Activation("softmax", name="end")(joined))
        arrays[kind] = np.array(total.to_json())
        outputs = keras.Model(image, flat).predict(images, verbose=0)
        for name, output in zip(functions, outputs, strict=True):
            arrays[f"{kind}/{name}."] = output
    for mode in ("tf", "caffe", "torch"):
        image = keras.Input(SHAPE)
        value = keras.layers.Flatten(name="flat")(preprocess_input(image, mode=mode))
        total = keras.Model(image, keras.layers.Activation("softmax", name="end")(value))
        arrays[f"preprocess_{mode}"] = np.array(total.to_json())
        model = keras.Model(image, value)
        arrays[f"preprocess_{mode}/flat"] = model.predict(images * 255, verbose=0)
    np.savez_compressed(Path(__file__).with_name("tf_operations.npz"), **arrays)


if __name__ == "__main__":
    main()
