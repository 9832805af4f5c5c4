"""Lists what a Keras file has and a model here does without.

None of it changes what the model predicts in float32; what Keras predicts in 16 bits is not that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from signs_lightning.keras_io.constraints import read_constraints
from signs_lightning.keras_io.keras_file import KerasFile
from signs_lightning.keras_io.layer_table import is_different_in_training
from signs_lightning.keras_io.model_graph import Layer
from signs_lightning.keras_io.network_plan import Plan
from signs_lightning.keras_io.random_layers import AUGMENTATION, is_active
from signs_lightning.keras_io.regularizers import read_regularization
from signs_lightning.runtime.escaping import shorten

# How far Keras's own probabilities were from those of the same model in float32.
BY_16_BITS = {"mixed_float16": 3e-3, "float16": 9e-3, "mixed_bfloat16": 0.14}


def find_omissions(file: KerasFile, plan: Plan, training: Iterable[str]) -> list[str]:
    """Return what is in the file and not used here, each as a few words.

    Args:
        file: the open file.
        plan: its model's.
        training: what it was compiled with and is not taken, each as a few words.
    """
    graph = plan.graph
    layers: dict[str, list[Layer]] = {}  # by what of them is omitted
    for layer in graph.layers.values():
        for omission in _of_layer(layer):
            layers.setdefault(omission, []).append(layer)
    for omission, layer in [*read_regularization(plan).unknown, *read_constraints(plan).unknown]:
        layers.setdefault(omission, []).append(layer)
    for layer in graph.layers.values():
        if layer.class_name in AUGMENTATION and not all(map(is_active, plan.contexts[layer.path])):
            layers.setdefault("the augmentation", []).append(layer)
    for call in graph.calls:
        if call.training is True and is_different_in_training(call.layer):
            layers.setdefault("training=True", []).append(call.layer)
    omissions = []
    for omission, (first, *others) in layers.items():
        more = f" and {len(others)} more" if others else ""
        omissions.append(f"{omission} of {shorten(str(first))}{more}")
    omissions += training
    return omissions + (["the optimizer's state"] if file.compiled()[1] else [])


def _of_layer(layer: Layer) -> Iterator[str]:
    config = layer.config
    if layer.wrapper is not None:
        yield "the normalization in training"
    if config.get("seed") is not None:
        yield "the seed"
    if config.get("lora_rank") is not None:
        yield "lora_rank"
    if layer.class_name == "SyncBatchNormalization" or config.get("synchronized") is True:
        yield "synchronized"
    dtype = config.get("dtype")
    if isinstance(dtype, dict) and isinstance(dtype.get("config"), dict):
        dtype = dtype["config"].get("name")
    if isinstance(dtype, str) and dtype != "float32":
        more = ""
        if dtype in ("bfloat16", *BY_16_BITS):
            more = ", from which Keras's own probabilities differ"
            more += f" by up to {BY_16_BITS[dtype]:g}" if dtype in BY_16_BITS else ""
        yield f"dtype {shorten(dtype)} (computed in float32{more})"
