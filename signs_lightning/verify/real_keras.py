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

from signs_lightning.keras_io import keras_check
from signs_lightning.runtime.sandbox import run_sandboxed

DROPOUTS = ("Dropout", "SpatialDropout1D", "SpatialDropout2D")  # at rest when their rate is 0
RANDOM = ("Random", "Gaussian", "AlphaDropout", "MixUp", "CutMix", "AugMix", "Spectral")
MAX_TRAINED = 60  # layers: compiling a step of more takes minutes
STEP = 1024.0  # learning rate so large that the step tells gradients to their last digits


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
        weights: after one step of plain SGD without dropout, by layer path, in Keras's order.
        untrained: why no step was made.
    """

    version: str = ""
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    output: np.ndarray | None = None
    parameters: int = 0
    refusal: str | None = None
    weights: dict[str, list[np.ndarray]] = field(default_factory=dict)
    untrained: str = ""


def run_real_keras(
    path: Path, images: np.ndarray, labels: np.ndarray | None, from_logits: bool
) -> KerasRun | None:
    """Let Keras load a file and run it on images.

    Args:
        path: the file.
        images: float32, as the file's model takes them, axes as Keras has them.
        labels: int64 (N,), to train one step on; None for none.
        from_logits: whether the model gives logits.

    Returns:
        What it gave, or why it refuses the file; None where no Keras 3 is installed.

    Raises:
        InputError: its process ended too early.
    """
    if (found := keras_check.find_keras()) is None:
        return None
    version, backend = found
    run: KerasRun = run_sandboxed(
        f"{__name__}:run_keras",
        *(str(path.resolve()), images, labels, from_logits, backend),
        about=str(path),
        seconds=keras_check.MAX_SECONDS,
        more_time="Compare the checkpoint that import-keras makes of it instead.",
    )
    run.version = f"Keras {version} on {backend}"
    return run


def run_keras(
    path: str, images: np.ndarray, labels: np.ndarray | None, from_logits: bool, backend: str
) -> KerasRun:
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
    for layer in keras_check.iterate_layers(model):
        if "16" in str(layer.variable_dtype):
            return KerasRun(refusal="its weights have 16 bits, to which Keras rounds")
        if "16" in str(layer.compute_dtype):
            layer.dtype_policy = "float32"
    outputs, output = _layer_outputs(keras, model, images, backend)
    run = KerasRun(outputs=outputs, output=output, parameters=int(model.count_params()))
    if labels is not None:
        _train(keras, model, images, labels, from_logits, run)
    return run


def _train(
    keras: Any, model: Any, images: np.ndarray, labels: np.ndarray, from_logits: bool, run: KerasRun
) -> None:
    """Train one step of plain SGD without dropout, and keep the weights."""
    layers = list(keras_check.iterate_layers(model))
    kinds = {type(layer).__name__ for layer in layers}
    random = sorted(kind for kind in kinds if kind.startswith(RANDOM))
    weights = model.trainable_weights
    has_penalties = any(getattr(weight, "regularizer", None) for weight in weights)
    has_penalties |= any(getattr(layer, "activity_regularizer", None) for layer in layers)
    if len(layers) > MAX_TRAINED:
        run.untrained = f"for {len(layers)} layers, compiling it would take minutes"
    elif random:
        run.untrained = f"it has layers that are random in training ({', '.join(random)})"
    elif has_penalties or any(getattr(weight, "constraint", None) for weight in weights):
        run.untrained = "it has regularizers or constraints, which plain SGD leaves out here"
    if run.untrained:
        return
    for layer in layers:
        if type(layer).__name__ in DROPOUTS:
            layer.rate = 0.0
    is_binary = model.output_shape[-1] == 1
    losses = keras.losses
    kind = losses.BinaryCrossentropy if is_binary else losses.SparseCategoricalCrossentropy
    try:
        model.compile(keras.optimizers.SGD(STEP), kind(from_logits=from_logits))
        model.train_on_batch(images, labels[:, None] if is_binary else labels)
    except Exception as error:
        run.untrained = f"Keras does not train it ({' '.join(str(error).split())[:100]})"
        return

    def keep(parent: Any, path: tuple[str, ...]) -> None:
        for layer in parent.layers:
            if hasattr(layer, "layers"):
                keep(layer, (*path, layer.name))
            elif layer.weights:
                arrays = [keras.ops.convert_to_numpy(weight) for weight in layer.weights]
                run.weights["/".join((*path, layer.name))] = [np.asarray(a) for a in arrays]

    keep(model, ())


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
