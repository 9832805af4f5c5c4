"""Brings kernels that Keras 1 or Theano stored into the order of Keras 2 on TensorFlow.

Theano's convolution turns the kernel by 180 degrees, TensorFlow's does not; Keras 2.0 to 2.3 turned
the kernels of the other one on loading (`_need_convert_kernel` and
`preprocess_weights_for_loading`), tf.keras and Keras 3 do not any more.
"""

from __future__ import annotations

from dataclasses import replace

from signs_lightning.keras_io.keras_file import KerasFile, StoredWeight
from signs_lightning.keras_io.layer_context import WeightSpec
from signs_lightning.keras_io.model_graph import Layer

Matches = list[tuple[Layer, WeightSpec, StoredWeight]]
TURNED = {"Conv2D", "Conv2DTranspose"}  # not depthwise kernels, which Theano stored turned
FROM_THEANO_ORDER = (2, 3, 1, 0)  # (filters, channels, H, W) -> (H, W, channels, filters)


def restore_kernels(matches: Matches, file: KerasFile) -> Matches:
    """Return the arrays of a file, those of older kernels as Keras 2 on TensorFlow has them."""
    if file.kind != "h5":
        return matches
    is_turned = _theano_evidence(matches, file) is not None
    restored: Matches = []
    for layer, weight, stored in matches:
        if weight.keras == "kernel" and layer.class_name in TURNED and len(stored.shape) == 4:
            is_first = layer.config.get("data_format") == "channels_first"
            order = FROM_THEANO_ORDER if layer.keras == 1 and is_first else None
            stored = replace(stored, permutation=order, is_turned=is_turned)
        restored.append((layer, weight, stored))
    return restored


def describe_kernels(matches: Matches, file: KerasFile | None) -> str | None:
    """Return the line on kernels that were turned, None where there are none."""
    if file is None or not any(stored.is_turned for _, _, stored in matches):
        return None
    return f"kernels: turned by 180 degrees, because {_theano_evidence(matches, file)}."


def _theano_evidence(matches: Matches, file: KerasFile) -> str | None:
    """Return what shows that Theano stored the kernels, None where TensorFlow did.

    Keras 1 did not write its backend, but TensorFlow's names of variables end in `:0`.
    """
    if file.backend is not None:
        return "the file's backend is theano" if file.backend == "theano" else None
    is_keras1 = any(layer.keras == 1 for layer, _, _ in matches)
    if not is_keras1 or any(stored.name.endswith(":0") for _, _, stored in matches):
        return None
    return "Keras 1 wrote the file on Theano: the names of its weights do not end in :0"
