"""Keras itself on a file of its own, in a process of its own.

This module is all that the process imports besides Keras.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.keras_io.keras_check import MAX_SECONDS, find_keras
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.sandbox import run_sandboxed

NOT_INSTALLED = "Keras 3 is not installed, so nothing was checked against Keras itself"
RANDOM = ("Dropout", "SpatialDropout1D", "SpatialDropout2D")  # at rest when their rate is 0
STEP = 1024.0  # learning rate whose step tells gradients to the last digit


@dataclass
class KerasRun:
    """What Keras itself makes of a file and some images.

    Attributes:
        version: of Keras, with its backend.
        outputs: of each layer by its path ("backbone/conv1" inside a model), axes as Keras has
            them; those of a layer that is called again follow as "conv1 (2)".
        output: of the model.
        parameters: how many it has.
        refusal: why Keras does not read the file.
        weights: after one step of plain SGD, by layer path and name; empty where none was made.
        untrained: why no step was made.
    """

    version: str = ""
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    output: np.ndarray | None = None
    parameters: int = 0
    refusal: str | None = None
    weights: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    untrained: str = ""


def run_real_keras(
    path: Path, images: np.ndarray, labels: np.ndarray | None = None
) -> KerasRun | None:
    """Let Keras load a file and run it on images.

    Args:
        path: the file.
        images: float32, as the file's model takes them, axes as Keras has them.
        labels: int64 (N,), to train one step on; None for none.

    Returns:
        What it gave, or None where no Keras 3 is installed.

    Raises:
        InputError: Keras refuses the file.
    """
    if (found := find_keras()) is None:
        return None
    version, backend = found
    run: KerasRun = run_sandboxed(
        f"{__name__}:run_keras",
        *(str(path.resolve()), images, labels, backend),
        about=str(path),
        seconds=MAX_SECONDS,
    )
    run.version = f"Keras {version} on {backend}"
    if run.refusal is not None:
        raise InputError(
            f"{run.version} refuses {path}: {shorten(run.refusal, 300)}. Export it with this "
            "version of Keras, or compare a checkpoint that import-keras made of it."
        )
    return run


def run_keras(path: str, images: np.ndarray, labels: np.ndarray | None, backend: str) -> KerasRun:
    """Do what `run_real_keras` describes, in this process."""
    os.environ |= {
        **{"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"},
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # it runs once: compiling is slow
    }
    import keras  # optional

    with tempfile.TemporaryDirectory(prefix="signs_lightning-") as folder, open(path, "rb") as file:
        is_archive = file.read(2) == b"PK"
        named = Path(folder) / f"model{'.keras' if is_archive else '.h5'}"
        os.symlink(path, named)
        try:
            model = keras.models.load_model(named, compile=False)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            return KerasRun(refusal=reason.rstrip("."))
    outputs, output = _layer_outputs(keras, model, images, backend)
    return KerasRun(outputs=outputs, output=output, parameters=int(model.count_params()))


def _layer_outputs(
    keras: Any, model: Any, images: np.ndarray, backend: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the outputs of all layers, those of models inside the model among them."""
    outputs: dict[str, Any] = {}
    path: list[str] = []
    call = keras.layers.Layer.__call__

    def recording(layer: Any, *args: Any, **kwargs: Any) -> Any:
        path.append(layer.name)
        try:
            output = call(layer, *args, **kwargs)
        finally:
            names = path[1:]
            path.pop()
        if names:
            name, number = "/".join(names), 2
            while name in outputs:
                name, number = f"{'/'.join(names)} ({number})", number + 1
            outputs[name] = output
        return output

    def run(values: Any) -> tuple[dict[str, Any], Any]:
        outputs.clear()
        output = model(values, training=False)
        return dict(outputs), output

    compiled: Callable[[Any], Any] = run
    if backend == "jax":  # op by op takes ten times as long
        import jax  # optional

        compiled = jax.jit(run)
    keras.layers.Layer.__call__ = recording
    try:
        watched, output = compiled(keras.ops.convert_to_tensor(images))
    finally:
        keras.layers.Layer.__call__ = call
    arrays = {
        name: np.asarray(keras.ops.convert_to_numpy(value))
        for name, value in watched.items()
        if not isinstance(value, list | tuple | dict)
    }
    return arrays, np.asarray(keras.ops.convert_to_numpy(output))
