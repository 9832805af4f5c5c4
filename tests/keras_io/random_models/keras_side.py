"""What Keras makes of a case: the reference outputs, in float32 and float64, and the files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras.src import activations
from keras.src.backend.common import dtypes
from keras.src.initializers import random_initializers

from ..against_keras import randomize
from . import keras2_spelling
from .draw_case import Case
from .model_spec import Model, build

AFTER_LOGITS = {"Softmax", "Activation", "Flatten", "Reshape", "Dropout", "Identity"}
SPREAD = 3.0  # of the logits: probabilities that are not 0 or 1
Arrays = list[np.ndarray]
_compiled: dict[str, Any] = {}


@dataclass
class Outputs:
    """What a model gives for some images.

    Attributes:
        values: probabilities, None where it gives logits.
        logits: those before the softmax or sigmoid, None where they are not watched.
    """

    values: np.ndarray | None
    logits: np.ndarray | None


@contextmanager
def quick_initializers() -> Iterator[None]:
    """Draw new weights with NumPy: XLA would compile a draw for every shape."""
    others, rng = random_initializers.random, np.random.default_rng(0)

    def draw(shape: tuple[int, ...], *args: Any, dtype: Any = None, **kwargs: Any) -> Any:
        return keras.ops.convert_to_tensor(rng.uniform(-0.1, 0.1, shape).astype(dtype or "float32"))

    names = {name: getattr(others, name) for name in dir(others) if not name.startswith("_")}
    names |= dict.fromkeys(("uniform", "normal", "truncated_normal"), draw)
    with patch.object(random_initializers, "random", SimpleNamespace(**names)):
        yield


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build and run models under a dtype policy; "float64" is float64 throughout."""
    with ExitStack() as stack:
        if policy == "float64":
            stack.enter_context(jax.enable_x64(True))
            # Else BatchNormalization computes in float32, whatever its dtype.
            stack.enter_context(patch.dict(dtypes.BIT64_TO_BIT32_DTYPE, float64="float64"))
            stack.enter_context(patch.object(jax.nn, "dot_product_attention", attention))
            keras.config.set_floatx("float64")
        keras.config.set_dtype_policy(policy)
        try:
            yield
        finally:
            keras.config.set_floatx("float32")
            keras.config.set_dtype_policy("float32")


def attention(query: Any, key: Any, value: Any, *, scale: float, **others: Any) -> Any:
    """JAX's attention in the precision of its inputs: its own is float32 within."""
    assert not any(others[name] is not None for name in ("bias", "mask"))
    assert not others["is_causal"]
    weights = jax.nn.softmax(jnp.einsum("nthd,nshd->nhts", query, key) * scale, axis=-1)
    return jnp.einsum("nhts,nshd->nthd", weights, value)


class Reference:
    """Keras's model of a case, in one precision.

    Args:
        case: the case.
        policy: of dtypes.
    """

    def __init__(self, case: Case, policy: str = "float32") -> None:
        self.case, self.policy = case, policy
        keras.utils.clear_session(free_memory=False)
        with self.scope():
            built = build(case.model)
            self.model = built.model
            self.dense = logits_step(case.model)
            self.watched = self.model
            if self.dense is not None:
                value = self.model.layers[self.dense].input if case.model.sequential else None
                if value is None:
                    value = built.values[case.model.steps[self.dense].inputs[0]]
                self.watched = keras.Model(self.model.inputs, [value, self.model.outputs[0]])

    @contextmanager
    def scope(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(quick_initializers())
            stack.enter_context(precision(self.policy))
            if self.case.version:
                formula = {"hard_sigmoid": keras2_spelling.hard_sigmoid}
                stack.enter_context(patch.dict(activations.ALL_OBJECTS_DICT, formula))
            yield

    def randomize(self, images: np.ndarray) -> None:
        """Draw weights, and scale those of the last layer so that no probability is 0 or 1."""
        with self.scope():
            randomize(self.model, self.case.seed)
        if self.dense is None:
            self._scale_last(images)
            return
        with self.scope():
            kernel, *_ = self._dense_layer().weights
            logits = self(images).logits
            assert logits is not None
            if logits.shape[-1] > 1 and not gives_sigmoids(self.case.model):
                logits = logits - logits.mean(-1, keepdims=True)
            spread = np.abs(logits).max()
            if np.isfinite(spread) and spread > 1e-6:
                kernel.assign(np.asarray(kernel) * min(SPREAD / spread, 1e6))

    def _scale_last(self, images: np.ndarray) -> None:
        kernels = [w for w in self.model.weights if w.name == "kernel"]
        for _ in range(8):
            values = self(images).values
            if values is None or not kernels or not (values > 0.999).any():
                return
            with self.scope():
                kernels[-1].assign(np.asarray(kernels[-1]) / 4)

    def _dense_layer(self) -> keras.layers.Dense:
        return next(
            layer for layer in reversed(self.model.layers) if isinstance(layer, keras.layers.Dense)
        )

    def __call__(self, images: np.ndarray) -> Outputs:
        with self.scope():
            outputs = run(self.watched, images.astype(self.policy))
            if self.dense is None:
                return Outputs(outputs, None)
            features, values = outputs
            logits = features.astype("float64") @ np.asarray(self._dense_layer().kernel, "float64")
            if self._dense_layer().use_bias:
                logits += np.asarray(self._dense_layer().bias, "float64")
            return Outputs(None if gives_logits(self.case.model) else values, logits)

    def weights(self) -> Arrays:
        return [np.asarray(weight.value) for weight in self.model.weights]

    def set_weights(self, weights: Arrays) -> None:
        with self.scope():
            for weight, values in zip(self.model.weights, weights, strict=True):
                weight.assign(values)
            for layer in self.model._flatten_layers():
                if isinstance(layer, keras.layers.Normalization):
                    layer.finalize_state()  # it computes with a copy of its weights


def run(model: keras.Model, images: np.ndarray) -> Any:
    """Run a model; one of the same operations is not compiled again."""

    def call(trainable: list[Any], fixed: list[Any], images: Any) -> Any:
        return model.stateless_call(trainable, fixed, images, training=False)[0]

    arguments = (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
        images,
    )
    return jax.tree.map(np.asarray, compiled(call, *arguments)(*arguments))


def compiled(function: Any, *arguments: Any) -> Any:
    lowered = jax.jit(function, keep_unused=True).lower(*arguments)
    text = lowered.as_text()
    if text not in _compiled:
        _compiled[text] = lowered.compile()
    return _compiled[text]


def forget_compiled() -> None:
    """Give back the memory of what was compiled."""
    _compiled.clear()
    jax.clear_caches()


def logits_step(model: Model) -> int | None:
    """The step of the last Dense, where only a function of its own values follows it."""
    for k in reversed(range(len(model.steps))):
        layer = model.layers[model.steps[k].layer]
        calls = sum(step.layer == model.steps[k].layer for step in model.steps)
        if layer.class_name == "Dense" and calls == 1:
            is_last = layer.arguments.get("activation") in (None, "softmax", "sigmoid")
            return k if is_last else None
        if layer.class_name not in AFTER_LOGITS or model.steps[k].inputs != (k,):
            return None
    return None


def gives_logits(model: Model) -> bool:
    """Whether a model gives no probabilities."""
    first = logits_step(model)
    after = [] if first is None else [model.layers[s.layer] for s in model.steps[first:]]
    return first is not None and not any(
        layer.class_name == "Softmax" or layer.arguments.get("activation") for layer in after
    )


def gives_sigmoids(model: Model) -> bool:
    """Whether a model gives each class a probability of its own, or one of two."""
    last = logits_step(model)
    layer = None if last is None else model.layers[model.steps[last].layer]
    return layer is not None and layer.arguments.get("activation") == "sigmoid"


def images_of(case: Case) -> np.ndarray:
    """Four images, float32: two in 0..1 and two in 0..255."""
    rng = np.random.default_rng(case.seed)
    images = rng.random((4, *case.model.shape), dtype=np.float32)
    images[2:] = np.floor(images[2:] * 256)
    return images


def save(case: Case, model: keras.Model, folder: Path) -> tuple[Path, Path | None]:
    """Save a model as the case says; return the file, and the JSON beside it."""
    path, architecture = folder / f"model.{case.format}", folder / "model.json"
    if case.version:
        whole = folder / "model.h5"
        keras2_spelling.write_h5(whole, model, case.version, Random(case.seed))
        if case.format == "h5":
            return whole, None
        weights = folder / "weights.h5"
        keras2_spelling.split_h5(whole, weights, architecture)
        return weights, architecture
    if case.format != "weights.h5":
        model.save(path)
        return path, None
    model.save_weights(path)
    architecture.write_text(model.to_json())
    return path, architecture


def is_finite(outputs: Outputs) -> bool:
    return all(np.isfinite(v).all() for v in (outputs.values, outputs.logits) if v is not None)


def size_of(model: keras.Model) -> int:
    return sum(math.prod(weight.shape) for weight in model.weights)
