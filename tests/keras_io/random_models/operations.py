"""Arithmetic in functional models, as code of one value or of two."""

from __future__ import annotations

OPERATIONS = (  # that Keras 2 has, too
    *("{0} * 2.0", "{0} + 0.5", "{0} - 1.0", "{0} / 4.0", "1.0 - {0}", "0.5 * {0}", "-{0}"),
    *("keras.ops.relu({0})", "keras.ops.sigmoid({0})", "keras.ops.tanh({0})"),
    *("keras.ops.square({0})", "keras.ops.abs({0})", "keras.ops.maximum({0}, 0.1)"),
)
NEW_OPERATIONS = (
    *("keras.activations.gelu({0})", "keras.ops.silu({0})", "keras.ops.flip({0}, 1)"),
    *("{0} ** 2", "{0}[:, 1:]", "{0}[..., ::-1]", "{0}[:, :2]", "keras.ops.cast({0}, 'float32')"),
    *(
        "keras.ops.clip({0}, -1.0, 1.0)",
        "keras.ops.softmax({0}, axis=-1)",
        "2.0 / (1.0 + {0} ** 2)",
    ),
    *("keras.ops.mean({0}, axis=-1, keepdims=True)", "keras.ops.sum({0}, axis=1, keepdims=True)"),
    *(
        "keras.ops.max({0}, axis=1)",
        "keras.ops.mean({0}, axis=[1, 2])",
        "keras.ops.min({0}, axis=-1)",
    ),
    *("keras.ops.transpose({0}, (0, 2, 1))", "keras.ops.transpose({0}, (0, 2, 3, 1))"),
    *(
        "keras.ops.reshape({0}, (-1, 12))",
        "keras.ops.expand_dims({0}, 1)",
        "keras.ops.squeeze({0}, 1)",
    ),
    *(
        "keras.ops.pad({0}, [[0, 0], [1, 0], [0, 2], [0, 0]])",
        "keras.ops.pad({0}, [[0, 0], [1, 2]])",
    ),
    *(
        "keras.activations.relu({0}, negative_slope=0.1, max_value=2.0)",
        "keras.ops.leaky_relu({0})",
    ),
    *("keras.ops.var({0}, axis=-1, keepdims=True)", "keras.ops.exp(-keras.ops.abs({0}))"),
    *("keras.ops.sqrt(1.0 + keras.ops.square({0}))", "keras.ops.log_softmax({0}, axis=1)"),
)
TWO_OPERATIONS = ("{0} + {1}", "{0} * {1}", "{0} - {1}", "keras.ops.maximum({0}, {1})")
NEW_TWO_OPERATIONS = (
    *("keras.ops.concatenate([{0}, {1}], axis=-1)", "keras.ops.stack([{0}, {1}], axis=1)"),
    *("keras.ops.add({0}, {1})", "keras.ops.matmul({0}, {1})", "{0} / (1.0 + keras.ops.abs({1}))"),
)
