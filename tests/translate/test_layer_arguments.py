"""The tables of arguments are the signatures of Keras itself."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import pytest

from signs_lightning.translate.layer_arguments import LAYERS
from signs_lightning.translate.object_arguments import OBJECTS, OPTIMIZER_KINDS
from signs_lightning.translate.signatures import REQUIRED, Signature

OF_ALL = {"self", "name", "dtype", "trainable", "autocast", "args", "kwargs"}
OF_ONE_RELEASE = {
    *("lora_rank", "lora_alpha", "quantization_config", "input_axes", "output_axes"),
    *("renorm", "renorm_clipping", "renorm_momentum", "loss_scale_factor"),
}
NOT_OF_KERAS3 = {"ThresholdedReLU"}
TABLES: dict[str, dict[str, Signature]] = {
    "layers": LAYERS,
    "optimizers": OPTIMIZER_KINDS["new"],
    **OBJECTS,
}
NAMES = [(kind, name) for kind, table in TABLES.items() for name in table]


def signature_of(kind: str, name: str) -> dict[str, Any]:
    module: Any = keras
    for part in kind.split("."):
        module = getattr(module, part)
    parameters = inspect.signature(getattr(module, name).__init__).parameters.values()
    return {
        p.name: REQUIRED if p.default is inspect.Parameter.empty else p.default
        for p in parameters
        if p.name not in OF_ALL | OF_ONE_RELEASE
    }


@pytest.mark.parametrize(("kind", "name"), [n for n in NAMES if n[1] not in NOT_OF_KERAS3])
def test_signature_is_that_of_keras(kind: str, name: str) -> None:
    ours = {k: v for k, v in TABLES[kind][name].items() if k not in OF_ONE_RELEASE}
    theirs = signature_of(kind, name)
    if name == "AveragePooling2D":  # Keras 2 has a default there
        theirs["pool_size"] = (2, 2)
    if name == "PReLU":
        theirs["alpha_initializer"] = theirs["alpha_initializer"].lower()
    assert list(ours) == list(theirs)
    assert ours == theirs
