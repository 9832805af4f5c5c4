"""Loads a file that is written for Keras with Keras itself, in a process of its own.

Keras is not needed here, and where it is installed, it and its backend would take seconds to
import, threads and a GPU's memory. This module is all that the process imports besides.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.sandbox import run_sandboxed

BACKENDS = ("jax", "tensorflow", "torch")  # the first is what models here are compared with
TOLERANCE = 1e-5  # largest difference of a probability
TOLERANCE_OF_16_BITS = 0.05  # where Keras rounds the weights
MAX_SECONDS = 600.0
# layer of each trained weight, the optimizer's variables, whether the file has these
Training = tuple[list[str], list[np.ndarray], bool]
Inputs = np.ndarray | dict[str, np.ndarray]  # the image, or all inputs by name
SKIP = "--skip_keras_check"


@dataclass(frozen=True)
class KerasCheck:
    """What came of a comparison with Keras.

    Attributes:
        version: of Keras.
        backend: of Keras.
        difference: the largest of a probability.
    """

    version: str
    backend: str
    difference: float

    def __str__(self) -> str:
        return (
            f"checked with Keras {self.version} on {self.backend}: largest difference "
            f"{self.difference:.1g}"
        )


def find_keras() -> tuple[str, str] | None:
    """Return the version of an installed Keras 3 and the backend to run it on, or None."""
    if util.find_spec("keras") is None:
        return None
    try:
        version = metadata.version("keras")
    except metadata.PackageNotFoundError:
        return None
    chosen = os.environ.get("KERAS_BACKEND")
    backends = [name for name in (chosen, *BACKENDS) if name and util.find_spec(name)]
    return (version, backends[0]) if backends and int(version.partition(".")[0]) >= 3 else None


def check_with_keras(
    path: Path,
    config: str | None,
    inputs: Inputs,
    expected: np.ndarray,
    to_probabilities: Callable[[np.ndarray], np.ndarray],
    training: Training | None = None,
) -> KerasCheck | None:
    """Let Keras load a file and predict with it, and compare what it gives.

    Args:
        path: the file, whatever it is called now.
        config: of the model that a file of weights only is loaded into; None for a whole model.
        inputs: what the model takes, such as float32 (N, H, W, C); by name where it is several.
        expected: probabilities (N, K), or (N, 1) of the second of two classes.
        to_probabilities: makes such of what Keras gives, which may be logits.
        training: what Keras is to train on with.

    Returns:
        The comparison, or None where no Keras 3 is installed.

    Raises:
        InputError: Keras refuses the file, or gives other probabilities.
    """
    if (found := find_keras()) is None:
        return None
    version, backend = found
    keras = f"Keras {version} on {backend}"
    refusal, outputs, has_16_bits = run_sandboxed(
        f"{__name__}:predict_with_keras",
        *(str(path), config, inputs, backend, training),
        about=f"The file for {keras}",
        seconds=MAX_SECONDS,
        more_time=f"Add {SKIP} to write it unchecked.",
    )
    ways = (
        f"Nothing was written. Add {SKIP} to write it all the same, or choose an ONNX file (format "
        "onnx)."
    )
    if refusal is not None:
        raise InputError(f"{keras} refuses the file: {shorten(refusal, 300)}. {ways}")
    probabilities = to_probabilities(outputs)
    is_alike = probabilities.shape == expected.shape
    difference = float(np.abs(probabilities - expected).max()) if is_alike else float("nan")
    if not difference <= (TOLERANCE_OF_16_BITS if has_16_bits else TOLERANCE):  # also if it is NaN
        raise InputError(
            f"{keras} gives probabilities that differ by up to {difference:.2g}, expected at most "
            f"{TOLERANCE:g}. {_other_backend(backend)}{ways}"
        )
    return KerasCheck(version, backend, difference)


def _other_backend(backend: str) -> str:
    if backend == BACKENDS[0]:
        return ""
    return (
        f"Keras's backends differ in some layers, and models here are those of {BACKENDS[0]}: "
        f"install it and set KERAS_BACKEND={BACKENDS[0]}. "
    )


def predict_with_keras(
    path: str, config: str | None, inputs: Inputs, backend: str, training: Training | None = None
) -> tuple[str | None, np.ndarray | None, bool]:
    """Return why Keras refuses a file, or what it predicts and whether it has 16-bit weights.

    Args:
        path: the file.
        config: of the model that a file of weights only is loaded into; None for a whole model.
        inputs: what the model takes.
        backend: Keras's.
        training: what Keras is to train on with.
    """
    os.environ |= {
        **{"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"},
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # it predicts once: compiling is slow
    }
    import keras  # optional

    with tempfile.TemporaryDirectory(prefix="signs_lightning-") as folder:
        named = Path(folder) / f"model{_ending(path, config)}"
        os.symlink(os.path.abspath(path), named)
        try:
            if config is None:
                model = keras.models.load_model(named, compile=training is not None)
                if training is not None:
                    _check_training(model, *training)
            else:
                model = keras.models.model_from_json(config)
                model.load_weights(named)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            return reason.rstrip("."), None, False
    has_16_bits = False
    for layer in iterate_layers(model):
        if "16" in str(layer.compute_dtype):
            has_16_bits |= "16" in str(layer.variable_dtype)
            layer.dtype_policy = "float32"
    return None, np.asarray(model.predict(inputs, verbose=0)), has_16_bits


def _check_training(
    model: Any, layers: list[str], variables: list[np.ndarray], has_state: bool
) -> None:
    """Check that Keras trains the same weights in the same order, with the same state.

    Raises:
        ValueError: it does not.
    """
    found = [variable.path.split("/") for variable in model.trainable_variables]
    is_alike = len(found) == len(layers) and all(map(list.__contains__, found, layers))
    if has_state and is_alike:
        own = [np.asarray(variable) for variable in model.optimizer.variables]
        is_alike = len(own) == len(variables) and all(map(np.array_equal, own, variables))
    if not is_alike:
        raise ValueError("it takes the state of the optimizer otherwise than it was written")


def iterate_layers(model: Any) -> Iterator[Any]:
    """Yield the layers of a Keras model and of the models and wrappers in it."""
    for layer in model.layers:
        yield layer
        yield from iterate_layers(layer) if hasattr(layer, "layers") else ()
        yield from (layer.layer,) if hasattr(layer, "layer") else ()


def _ending(path: str, config: str | None) -> str:
    if config is not None:
        return ".weights.h5"
    with open(path, "rb") as file:
        return ".keras" if file.read(2) == b"PK" else ".h5"
