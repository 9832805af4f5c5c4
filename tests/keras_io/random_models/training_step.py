"""One step of SGD on a case's model: by Keras in float64, and here in float64 and float32.

Random layers are left out of both, for their draws differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import jax
import keras
import numpy as np
import torch

from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.network import KerasNetwork

from . import our_side
from .draw_case import Case
from .keras2_spelling import RENAMED
from .keras_side import Outputs, Reference, gives_logits, gives_sigmoids
from .layer_arguments import RANDOM_LAYERS
from .model_spec import Layer, Model

RATE = 0.01
PENALTY = "ActivityRegularization"
RATES = {"rate": 0.0, "dropout": 0.0, "stddev": 0.0}
Arrays = dict[tuple[str, ...], list[np.ndarray]]  # by layer, each as in Keras


@dataclass
class Trained:
    """What a step gives: the loss, the gradients, and all weights after it."""

    loss: float
    gradients: Arrays
    weights: Arrays


def without_randomness(case: Case) -> Case:
    """Return the case with no dropout, noise or augmentation."""
    return replace(case, model=_calm(case.model, bool(case.version)), policy="float32")


def _calm(model: Model, is_old: bool) -> Model:
    layers = []
    for number, layer in enumerate(model.layers):
        is_shared = sum(step.layer == number for step in model.steps) > 1
        named = {k: v for k, v in layer.arguments.items() if k in ("name", "trainable")}
        if layer.class_name in RANDOM_LAYERS:
            layer = Layer("Identity", named)
        elif layer.class_name == "SpectralNormalization":  # it divides the kernel in training
            inner = layer.arguments["layer"]
            layer = Layer(inner.function.split(".")[-1], {**inner.arguments, **named})
        elif layer.inner is not None:
            layer = replace(layer, inner=_calm(layer.inner, is_old))
        # Keras 2 divided penalties of outputs by the number of images; of a layer that is called
        # twice, Keras 3 on JAX counts the last alone, and on TensorFlow and PyTorch all.
        if is_old or is_shared:
            others = {k: v for k, v in layer.arguments.items() if k != "activity_regularizer"}
            layer = replace(layer, arguments=others)
            layer = Layer("Identity", named) if layer.class_name == PENALTY else layer
        if "keras.ops.cast" in layer.code:  # to float32, also in a step in float64
            layer = Layer("Identity")
        calm = {key: RATES.get(key, value) for key, value in layer.arguments.items()}
        layers.append(replace(layer, arguments=calm))
    steps = model.steps
    if is_old:  # which kept `training=False` in training, and Keras 3 does not
        steps = tuple(replace(step, arguments={}) for step in steps)
    return replace(model, layers=tuple(layers), steps=steps)


def labels_of(outputs: Outputs) -> np.ndarray:
    """Return labels int64 (N,): the two most probable classes in turn."""
    values = outputs.logits if outputs.values is None else outputs.values
    assert values is not None
    if values.shape[1] == 1:
        values = np.concatenate(
            [(0.5 if outputs.values is not None else 0.0) * 2 - values, values], 1
        )
    order = np.argsort(-values, axis=1)
    return order[np.arange(len(order)), np.arange(len(order)) % 2]


def _check_probabilities(values: np.ndarray, labels: np.ndarray) -> None:
    """Check those of the labels in training; Keras cuts its loss off where they are 0 or 1."""
    chosen = values if values.shape[1] == 1 else values[np.arange(len(labels)), labels]
    if not ((chosen > 1e-6) & (chosen < 1 - 1e-6)).all():
        raise ValueError("probabilities are 0 or 1")


def moved(arrays: Iterable[np.ndarray], share: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Return arrays in float64, each value larger or smaller by a share of itself."""
    return [a.astype("float64") * (1 + share * rng.choice([-1.0, 1.0], a.shape)) for a in arrays]


def _check_norms(model: keras.Model) -> None:
    """Check that no LayerNormalization has one value to normalize, which gives beta exactly.

    Keras computes x / d - x / d + beta, and of beta only the digits remain that x / d has.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.LayerNormalization):
            axes = [layer.axis] if isinstance(layer.axis, int) else layer.axis
            for node in layer._inbound_nodes:
                shape = node.input_tensors[0].shape
                if math.prod(shape[axis] for axis in axes) == 1:
                    raise ValueError("normalizes single values")


def keras_step(reference: Reference, images: np.ndarray, labels: np.ndarray) -> Any:
    """Train Keras's model for a step; return the loss, gradients and weights by variable.

    Raises:
        ValueError: the probability of a label is 0 or 1, or a layer normalizes single values.
    """
    model, spec, losses = reference.model, reference.case.model, keras.losses
    _check_norms(model)
    count, is_logits = model.output_shape[-1], gives_logits(spec)
    is_binary = count == 1 or gives_sigmoids(spec)
    kind = losses.BinaryCrossentropy if is_binary else losses.SparseCategoricalCrossentropy
    with reference.scope():
        model.compile(keras.optimizers.SGD(RATE), kind(from_logits=is_logits))
        model.optimizer.build(model.trainable_variables)
        one_hot = labels[:, None] if count == 1 else np.eye(count)[labels]
        targets = one_hot.astype(images.dtype) if is_binary else labels

        def step(trainable: Any, fixed: Any, optimizer: Any, x: Any, y: Any) -> Any:
            function = jax.value_and_grad(model.compute_loss_and_updates, has_aux=True)
            (loss, aux), gradients = function(
                trainable, fixed, [], x, y, None, training=True, optimizer_variables=optimizer
            )
            trained, _ = model.optimizer.stateless_apply(optimizer, gradients, trainable)
            return loss, aux[1], gradients, trained, aux[2]

        states = (
            [v.value for v in model.trainable_variables],
            [v.value for v in model.non_trainable_variables],
            [v.value for v in model.optimizer.variables],
        )
        loss, outputs, gradients, trained, fixed = jax.tree.map(
            np.asarray, jax.jit(step)(*states, images, targets)
        )
    if not is_logits:
        _check_probabilities(outputs, labels)
    after = dict(zip(map(id, model.trainable_variables), trained, strict=True))
    after |= dict(zip(map(id, model.non_trainable_variables), fixed, strict=True))
    if reference.case.version in ("2.0.9", "2.1.6", "2.3.1"):  # each has its own moving variance
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                after[id(layer.moving_variance)] = None
    elif reference.case.version:
        after |= _unbiased_variances(model, after, len(images))
    return float(loss), dict(zip(map(id, model.trainable_variables), gradients, strict=True)), after


def _unbiased_variances(
    model: keras.Model, after: dict[int, np.ndarray], count: int
) -> dict[int, Any]:
    """What tf.keras makes of moving variances: unbiased where the batch is of rank 4, as Keras's
    fused kernel is.
    """
    unbiased: dict[int, Any] = {}
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            if len(layer._inbound_nodes) > 1:  # each call has its share
                unbiased[id(layer.moving_variance)] = None
                continue
            shape = layer._inbound_nodes[-1].input_tensors[0].shape
            if len(shape) in (4, 5) and layer.axis in (-1, 1, len(shape) - 1):
                size = count * math.prod(shape[1:]) // shape[layer.axis]
                old, new = np.asarray(layer.moving_variance), after[id(layer.moving_variance)]
                unbiased[id(layer.moving_variance)] = new + (new - old * layer.momentum) / (
                    size - 1
                )
    return unbiased


def by_layer(reference: Reference, network: KerasNetwork, values: dict[int, np.ndarray]) -> Arrays:
    """Return values of Keras's variables, those there are, by our layers."""
    arrays = {}
    for layer, weights in network.plan.layers():
        if not weights:
            continue
        owner = reference.model
        for name in layer.path:
            own = name.removeprefix(RENAMED)
            owner = next(inner for inner in owner.layers if inner.name == own)
        kept = [values[id(weight)] for weight in owner.weights if id(weight) in values]
        if kept:
            arrays[layer.path] = kept
    return arrays


def our_step(case: Case, model: FromKeras, images: np.ndarray, labels: np.ndarray) -> Trained:
    """Train our model for a step."""
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=RATE)
    with model.network.count_activities():
        logits = model(our_side.to_torch(case, images, model))
        loss = model.compute_loss(logits, torch.from_numpy(labels), training=True)
    loss.backward()
    network, gradients = model.network, {}
    for layer, weights in network.plan.layers():
        own = []
        for weight in weights:
            parameter = network.parameter(layer.path, weight)
            if isinstance(parameter, torch.nn.Parameter) and parameter.requires_grad:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                shape = [weight.shape[axis] for axis in weight.permutation]
                permuted = gradient.numpy().reshape(shape)
                own.append(permuted.transpose(np.argsort(weight.permutation)))
        if own:
            gradients[layer.path] = own
    optimizer.step()
    network.apply_constraints()
    trained = {path: arrays for path, arrays in network.keras_weights().items() if arrays}
    return Trained(float(loss.detach()), gradients, trained)


def largest_difference(ours: Arrays, theirs: Arrays) -> tuple[float, str]:
    """Return the largest difference in units of its tensor's largest value, and where it is."""
    if ours.keys() != theirs.keys():
        odd = ours.keys() ^ theirs.keys()
        return float("inf"), f"layers {sorted(odd)}"
    every = [
        np.abs(a).max(initial=0) for arrays in theirs.values() for a in arrays if a is not None
    ]
    floor = max(max(every, default=0.0) * 1e-5, 1e-30)
    worst = (0.0, "")
    for path, arrays in theirs.items():
        for k, (a, b) in enumerate(zip(ours[path], arrays, strict=True)):
            if b is None:
                continue
            if a.shape != b.shape:
                return float("inf"), f"shape {a.shape} of {path} {k}"
            scale = max(np.abs(b).max(initial=0), floor)
            off = np.abs(a.astype("float64") - b).max(initial=0) / scale
            off = float("inf") if np.isnan(off) else float(off)
            worst = max(worst, (off, f"{'/'.join(path)} {k}"))
    return worst
