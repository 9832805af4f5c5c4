"""A run's training for Keras 3: compile configuration, and the optimizer's state.

Keras 3 builds the optimizer of an `.h5` without variables (`legacy_h5_format.py`), and a fit then
fails: there the state is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from signs_lightning.keras_io.compiled_optimizer import OPTIMIZERS, CompiledOptimizer
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.layer_context import WeightSpec
from signs_lightning.keras_io.model_ending import ERRORS
from signs_lightning.keras_io.model_graph import Layer
from signs_lightning.keras_io.optimizer_state import SLOTS
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.keras_averaging import AVERAGE, EMA
from signs_lightning.models.keras_clipping import CLIPPING
from signs_lightning.models.keras_run import describe_steps
from signs_lightning.models.keras_schedules import peak_rate
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.rank_zero_print import rank_zero_print

# what a schedule's rate grows with
RATES = ("initial_learning_rate", "end_learning_rate", "warmup_target", "values")
PLAIN = {"loss_scale_factor": None, "gradient_accumulation_steps": None}
Weights = list[tuple[Layer, list[WeightSpec], list[np.ndarray]]]


class NoCounterpartError(Exception):
    """Keras 3 has nothing that trains so; the message says what in a few words."""


@dataclass(frozen=True)
class KerasTraining:
    """How a model trains on in Keras.

    Attributes:
        config: what `compile` was called with, as Keras 3 keeps it in a `.keras`.
        variables: of the optimizer, in Keras's order.
        steps: how many it has made.
        layers: name of the layer of each weight that is trained, in Keras's order.
        notes: what is not written, each as a few words.
    """

    config: dict[str, Any]
    variables: list[np.ndarray]
    steps: int
    layers: list[str]
    notes: list[str]

    def legacy_config(self) -> dict[str, Any]:
        """Return the configuration as an `.h5` has it."""
        optimizer = self.config["optimizer"]
        kept = {"class_name": optimizer["class_name"], "config": optimizer["config"]}
        rest = {key: value for key, value in self.config.items() if key != "optimizer"}
        return rest | {"optimizer_config": kept}


def describe_training(
    model: ImageClassifier,
    checkpoint: Mapping[str, Any],
    weights_of: Callable[[ImageClassifier], Weights],
    has_state: bool,
) -> KerasTraining | None:
    """Return how a model trains on in Keras, and print in a line what is lost.

    Args:
        model: as it was loaded from the checkpoint.
        checkpoint: of its training.
        weights_of: returns the layers that are written, and their weights, of such a model.
        has_state: whether the format takes the optimizer's state.

    Returns:
        The training; None for a model without, or where Keras 3 has no counterpart.
    """
    training = keras_training(model, checkpoint, weights_of)
    if training is None or isinstance(training, str):
        if training is not None:
            line = f"written without its training, as Keras 3 has no counterpart: {training}."
            rank_zero_print(printable(line))
        return None
    notes = list(training.notes)
    if not has_state:
        notes.append("the optimizer's state, which Keras 3 takes from the format keras alone")
    if notes:
        rank_zero_print(printable(f"not written: {'; '.join(notes)}."))
    if has_state:
        progress = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_progress", {})
        epoch = progress.get("current", {}).get("processed")
        call = "fit(…)" if epoch is None else f"fit(…, initial_epoch={epoch})"
        rank_zero_print(f"In Keras, {call} goes on after {describe_steps(training.steps)}.")
    return training


def keras_training(
    model: ImageClassifier,
    checkpoint: Mapping[str, Any],
    weights_of: Callable[[ImageClassifier], Weights],
) -> KerasTraining | str | None:
    """Return how a model trains on in Keras.

    Args:
        model: as it was loaded from the checkpoint.
        checkpoint: of its training.
        weights_of: returns the layers that are written, and their weights, of such a model.

    Returns:
        The training; why Keras has no counterpart of it; or None for a model without training.
    """
    states = checkpoint.get("optimizer_states")
    if not states:
        return None
    try:
        if len(states[0]["param_groups"]) != 1:
            raise NoCounterpartError("several groups of parameters")
        (group,) = states[0]["param_groups"]
        name = _optimizer_name(model, checkpoint)
        optimizer, notes = _optimizer_config(model, checkpoint, group, name)
        config = {"optimizer": optimizer, "loss": _loss_config(model), "loss_weights": None}
        is_regression = model.task_rules.name == "regression"
        tensors, layers = _slots(model, states[0]["state"], name, group, weights_of)
    except NoCounterpartError as reason:
        return str(reason)
    metrics = ["mae"] if is_regression else ["accuracy"]
    config |= {"metrics": metrics, "weighted_metrics": None, "run_eagerly": False}
    config |= {"steps_per_execution": 1, "jit_compile": "auto"}
    if model.hparams.get("class_weights"):
        notes.append("class_weights, which Keras takes as fit(class_weight=…)")
    numbers: list[Any] = [np.int64(group["steps"])]
    if not isinstance(optimizer["config"]["learning_rate"], dict):
        numbers.append(np.float32(group["lr"]))
    last = [np.float32(group["momentum_product"])] if name == "Nadam" else []
    variables = [np.asarray(value) for value in (*numbers, *tensors, *last)]
    return KerasTraining(config, variables, group["steps"], layers, notes)


def _optimizer_name(model: ImageClassifier, checkpoint: Mapping[str, Any]) -> str:
    """Return Keras's name of the optimizer that a checkpoint's state is of."""
    ours = checkpoint.get("signs_lightning", {}).get("training", {}).get("optimizer")
    compiled = _compiled(model)
    if compiled is not None and compiled.kind.__name__ == ours:
        return compiled.name
    names = [name for kind, name, _, _ in OPTIMIZERS.values() if kind.__name__ == ours]
    if not names:
        raise NoCounterpartError(f"the optimizer {ours or 'of an earlier release'}")
    return names[0]


def _compiled(model: ImageClassifier) -> CompiledOptimizer | None:
    return model.compiled.optimizer if isinstance(model, FromKeras) else None


def _optimizer_config(
    model: ImageClassifier, checkpoint: Mapping[str, Any], group: dict[str, Any], name: str
) -> tuple[dict[str, Any], list[str]]:
    """Return an optimizer as Keras 3 writes it, and what is not written of its schedule."""
    if not group.get("eps_in_root", True) or group.get("momentum_decay", 1.0) != 1.0:
        raise NoCounterpartError(f"{name} as Keras before 2.11 computes it")
    # Adam of an earlier release does not tell.
    if group["weight_decay"] and not group.get("decoupled", "keras_eps" not in group):
        raise NoCounterpartError("weight decay that is an L2 penalty")
    defaults = next(own for _, known, _, own in OPTIMIZERS.values() if known == name)
    ours = {"beta_1": "betas", "beta_2": "betas", "epsilon": "eps"}
    values = {key: group[ours.get(key, key)] for key in defaults}
    values |= {key: values[key][k] for k, key in enumerate(("beta_1", "beta_2")) if key in values}
    if "epsilon" in values:
        values["epsilon"] = group.get("keras_eps", group["eps"])
    clipping = {key: group.get(key) for key in CLIPPING}
    rate, notes = group["lr"], []
    training = checkpoint.get("signs_lightning", {}).get("training", {})
    compiled = _compiled(model)
    if isinstance(model, FromKeras) and model.compiled.make_schedule is not None and compiled:
        rate = _schedule_config(compiled, group["initial_lr"])
    elif given := training.get("lr_scheduler") or training.get("schedule"):
        notes.append(f"the schedule {given}: the learning rate stays {rate:.3g}")
    averaging = {key: group.get(key, default) for key, default in EMA.items()}
    config = {"name": name.lower(), "learning_rate": rate, **clipping, **averaging, **PLAIN}
    config |= values
    config["weight_decay"] = group["weight_decay"] or None
    return _entry("keras.optimizers", name, config), notes


def _schedule_config(compiled: CompiledOptimizer, lr: float) -> dict[str, Any]:
    """Return a schedule whose peak is `lr`."""
    name, arguments = compiled.schedule or ("", {})
    factor = lr / peak_rate(arguments)
    if factor != 1 and name == "PolynomialDecay":
        arguments = {"end_learning_rate": 1e-4} | arguments
    config = dict(arguments)
    for key in RATES if factor != 1 else ():
        value = arguments.get(key)
        if value is not None:
            is_list = isinstance(value, list)
            config[key] = [part * factor for part in value] if is_list else value * factor
    return _entry("keras.optimizers.schedules", name, config)


def _loss_config(model: ImageClassifier) -> Any:
    """Return the loss as Keras 3 writes it; labels are whole numbers where Keras takes these."""
    if model.loss is not None:
        raise NoCounterpartError(f"the loss {type(model.loss).__name__}")
    smoothing = model.hparams.get("label_smoothing") or 0.0
    task = model.task_rules.name
    if task == "regression":
        return _error_config(model)
    is_binary, is_sparse, from_logits = model.binary, not smoothing, False
    if isinstance(model, FromKeras):
        smoothing = model.compiled.label_smoothing
        from_logits = model.plan.ending.kind == "logits"
        losses = model.compiled.losses
        is_binary = losses == ["binarycrossentropy"] or (not losses and model.binary)
        is_sparse = losses in ([], ["sparsecategoricalcrossentropy"]) and not smoothing
    if task == "multilabel":
        is_binary = not isinstance(model, FromKeras) or "categorical" not in str(losses)
        is_sparse = False
    name = "BinaryCrossentropy" if is_binary else "CategoricalCrossentropy"
    if is_sparse and not is_binary:
        name, smoothing = f"Sparse{name}", None
    config: dict[str, Any] = {"from_logits": from_logits}
    if smoothing is not None:
        config["label_smoothing"] = smoothing
    return _entry("keras.losses", name, config)


def _error_config(model: ImageClassifier) -> Any:
    """Return the loss of a regression as Keras 3 writes it."""
    if not isinstance(model, FromKeras):
        raise NoCounterpartError("targets that are standardised")
    is_absolute = [ERRORS.get(loss) for loss in model.compiled.losses] == ["absolute"]
    return _entry("keras.losses", f"Mean{'Absolute' if is_absolute else 'Squared'}Error", {})


def _entry(module: str, name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def _slots(
    model: ImageClassifier,
    states: Mapping[int, Mapping[str, Any]],
    name: str,
    group: dict[str, Any],
    weights_of: Callable[[ImageClassifier], Weights],
) -> tuple[list[np.ndarray], list[str]]:
    """Return the tensors of the weights that are trained, and the layers of these weights.

    A model that has a slot's tensors in place of its weights is written like any other.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if len(trained) != len(group["params"]):
        raise NoCounterpartError("an optimizer of other weights than those that are trained")
    start = group.get("initial_accumulator_value", 0.0)  # of a weight that has no gradient
    kept = {slot for state in states.values() for slot in state}
    arrays: dict[str, list[np.ndarray]] = {}
    layers: list[str] = []
    for slot in [slot for part in SLOTS[name] for slot in part if slot in kept]:
        holder = deepcopy(model)
        own = [parameter for parameter in holder.parameters() if parameter.requires_grad]
        for k, parameter in enumerate(own):
            value = states.get(k, {}).get(slot)
            with torch.no_grad():
                if value is not None:
                    parameter.copy_(value)
                elif slot != AVERAGE:  # that of a weight without a gradient is the weight
                    parameter.fill_(start)
        found = [
            (layer.path[-1], values)
            for layer, specs, held in weights_of(holder)
            for spec, values in zip(specs, held, strict=True)
            if spec.trainable and layer.trainable
        ]
        arrays[slot], layers = [values for _, values in found], [layer for layer, _ in found]
        if len(found) != len(trained):
            raise NoCounterpartError("that some layers are frozen, which are not in Keras")
    tensors = []
    for part in SLOTS[name]:
        rows = [arrays[slot] for slot in part if slot in arrays]
        tensors += [values for row in zip(*rows, strict=True) for values in row]
    return tensors, layers
