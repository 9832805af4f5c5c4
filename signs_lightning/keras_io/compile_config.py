"""What a Keras model was compiled with, as far as a fit here trains with it.

It is `compile_config` in `.keras` and `training_config` in `.h5`, in the spelling of any Keras. The
optimizer is read in `compiled_optimizer`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from signs_lightning.keras_io.compiled_objects import (
    arguments_of,
    flatten,
    name_of,
    plain,
    show,
)
from signs_lightning.keras_io.compiled_optimizer import CompiledOptimizer, read_optimizer
from signs_lightning.keras_io.keras_archive import parse_config
from signs_lightning.keras_io.model_ending import (
    ERRORS,
    Ending,
    check_task,
    has_independent_outputs,
    task_of_loss,
)
from signs_lightning.keras_io.network_plan import Plan
from signs_lightning.models.losses import (
    binary_cross_entropies,
    bounded_cross_entropy,
    cross_entropy,
)
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.rank_zero_print import rank_zero_print

CATEGORICAL = ("categoricalcrossentropy", "sparsecategoricalcrossentropy")
BINARY = ("binarycrossentropy",)
LossKind = Literal["categorical", "binary", "squared", "absolute"]
# values of a loss's arguments that change nothing
DEFAULTS: dict[str, tuple[Any, ...]] = {
    "reduction": ("sum_over_batch_size", "auto", "mean", "mean_with_sample_weight", None),
    "axis": (-1,),
    "ignore_class": (None,),
    "from_logits": (False,),
    "label_smoothing": (0, None),
    "dtype": ("float32", None),
}
ACCURACIES = {
    *("accuracy", "acc", "binaryaccuracy", "categoricalaccuracy", "sparsecategoricalaccuracy")
}
DEFAULT_RATE = 0.001  # of `KerasAdam`
MAX_METRICS = 6  # that are named


@dataclass(frozen=True)
class CompileConfig:
    """What is taken from a compile configuration.

    Attributes:
        optimizer: with its learning-rate schedule; None where there is none that can be taken.
        loss: which cross-entropy, or error of a regression; None where none can be taken.
        label_smoothing: of the loss, in 0..1.
        omissions: what is not taken, each as a few words.
    """

    optimizer: CompiledOptimizer | None = None
    loss: LossKind | None = None
    label_smoothing: float = 0.0
    omissions: tuple[str, ...] = ()


class CompiledTraining:
    """How a model from a Keras file trains: as it was compiled, unless told otherwise.

    Args:
        config: as of `read_compile_config`.
        plan: the model's.
        keras_version: that of the file, as far as known.
        given: what takes the place of the file's: arguments of ImageClassifier that are not None.
        as_compiled: False takes nothing from the file.

    Attributes:
        optimizer: the file's; None where another one is used.
        losses: names of the losses of `compile`, in lower case without underscores.
        ending_kind: what ends the model, see `Ending`.
        independent: whether each of several classes has a probability of its own.
        task: "multilabel" where that is given, "regression" also where the loss tells, else None.
        omissions: what of the file is not taken, each as a few words.
        label_smoothing: of the loss, in 0..1.
        by_default: why Keras's Adam trains where nobody said so; else None.
        make_optimizer: makes the file's optimizer; None where another one is used.
        make_schedule: makes the file's learning-rate schedule, to be stepped after every step; None
            where another one is used, or none.
    """

    def __init__(
        self,
        config: dict[str, Any],
        plan: Plan,
        keras_version: Any,
        given: dict[str, Any],
        as_compiled: bool,
    ) -> None:
        self.losses = loss_names(config, plan.ending)
        self.task: str | None = given.get("task") or task_of_loss(plan.ending, self.losses)
        check_task(plan.ending, self.task)
        self.binary = plan.binary and self.task is None
        self.ending_kind = plan.ending.kind
        is_independent = has_independent_outputs(plan.ending, plan.binary, self.losses)
        self.independent = self.task == "multilabel" or (self.task is None and is_independent)
        compiled = CompileConfig()
        if as_compiled:
            kind = plan.binary and self.task != "regression", str(keras_version), self.task
            compiled = read_compile_config(config, plan.ending, *kind)
        self.omissions = compiled.omissions
        has = {name for name, value in given.items() if value is not None}
        self._loss = None if "loss" in has else compiled.loss
        self._own_smoothing = compiled.label_smoothing if self._loss is not None else 0.0
        if "label_smoothing" in has:
            self._own_smoothing = 0.0
        self.label_smoothing: float = given.get("label_smoothing") or self._own_smoothing
        self.optimizer = None if "optimizer" in has else compiled.optimizer
        is_default = as_compiled and self.optimizer is None and "optimizer" not in has
        had = "optimizer" in config or "optimizer_config" in config
        why = "the file's optimizer is not taken over" if had else "the file has no optimizer"
        self.by_default = why if is_default else None
        self.make_optimizer = self.make_schedule = None
        if self.optimizer is not None:
            self.make_optimizer = self.optimizer.make
            if self.optimizer.schedule is not None and not {"lr_scheduler", "schedule"} & has:
                self.make_schedule = self.optimizer.make_schedule

    def cross_entropy(self, logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        """Return a batch's mean loss (), see `losses`; by default that of what ends the model.

        Args:
            logits: of the network; of a regression its values float (N, D).
            labels: as `ImageClassifier.compute_loss` takes them.
            class_weights: float (K,), or None.
        """
        if self.task == "regression":
            return (F.l1_loss if self._loss == "absolute" else F.mse_loss)(logits, labels)
        smoothing = self.label_smoothing
        is_binary = self._loss == "binary" or (self.independent and self._loss is None)
        if is_binary and not self.binary:
            return binary_cross_entropies(
                logits, labels, self.independent, class_weights, smoothing
            )
        if self.ending_kind == "probabilities" and not self.binary:
            return bounded_cross_entropy(logits, labels, class_weights, smoothing)
        if self.independent:  # Keras divides them by their sum
            logits = F.logsigmoid(logits)
        return cross_entropy(logits, labels, self.binary, class_weights, smoothing)

    def describe(self, lr: float | None) -> str | None:
        """Return in a few words what of the file is used, or None.

        Args:
            lr: a learning rate that takes the place of the file's.
        """
        parts = []
        if self.optimizer is not None:
            parts.append(self.optimizer.describe(lr, self.make_schedule is not None))
        if self._loss in ("squared", "absolute"):
            parts.append(f"mean {self._loss} error")
        elif self._loss == "binary" and not self.binary:
            parts.append("binary cross-entropy of each class")
        elif self._loss == "categorical" and self.independent:
            parts.append("cross-entropy of the sigmoids divided by their sum")
        if self._own_smoothing:
            parts.append(f"label smoothing {self._own_smoothing:.6g}")
        return ", ".join(parts) or None

    def print_used(self, verb: str, lr: float | None) -> None:
        """Print in one line what of the file is used, in another what trains in its place.

        Args:
            verb: what the line begins with.
            lr: see `describe`.
        """
        if (how := self.describe(lr)) is not None:
            rank_zero_print(printable(f"{verb} as the file was compiled: {how}."))
        if self.by_default is not None:
            rate = f"{DEFAULT_RATE if lr is None else lr:.6g}"
            rank_zero_print(f"{verb} with Adam(learning_rate={rate}), as {self.by_default}.")


def compile_config_json(config: dict[str, Any]) -> str | None:
    """Return what a checkpoint keeps of a file's compile configuration, as JSON."""
    kept = {"optimizer": config.get("optimizer", config.get("optimizer_config"))}
    kept["loss"] = config.get("loss")
    kept = {key: value for key, value in kept.items() if value is not None}
    return json.dumps(kept) if kept else None


def parse_compile_config(text: str | None) -> dict[str, Any]:
    """Return what `compile_config_json` wrote, of a checkpoint.

    Raises:
        InputError: it is damaged.
    """
    return {} if text is None else parse_config(text, "the checkpoint's compile_config")


def read_compile_config(
    config: dict[str, Any],
    ending: Ending,
    is_binary: bool,
    keras_version: str | None,
    task: str | None = None,
) -> CompileConfig:
    """Read a compile configuration of any Keras version.

    Args:
        config: with optimizer or optimizer_config, loss, metrics, …; empty where there is none.
        ending: what ends the model.
        is_binary: whether one value tells two classes apart.
        keras_version: that of the file.
        task: of the model.
    """
    optimizer: CompiledOptimizer | None = None
    omissions: list[str] = []
    spec = config.get("optimizer", config.get("optimizer_config"))
    if spec is not None:
        optimizer, omissions = read_optimizer(spec, keras_version)
    losses = _losses(config, ending)
    loss, smoothing = None, 0.0
    if len(losses) == 1:
        loss, smoothing = _read_loss(losses[0], ending, is_binary, task)
    if loss is None:
        omissions += [f"loss {_show_loss(loss_spec)}" for loss_spec in losses]
    omissions += _other_omissions(config, task)
    return CompileConfig(optimizer, loss, smoothing, tuple(omissions))


def loss_names(config: dict[str, Any], ending: Ending) -> list[str]:
    """Return the names of the losses of `compile`, in lower case without underscores."""
    return [plain(name_of(loss)) for loss in _losses(config, ending)]


def _losses(config: dict[str, Any], ending: Ending) -> list[Any]:
    """Return the loss of the model's output; all of them where none can be told to be that."""
    losses: Any = config.get("loss")
    if isinstance(losses, dict) and ending.layer.path[0] in losses:
        losses = losses[ending.layer.path[0]]
    return list(flatten(losses))


def _read_loss(
    spec: Any, ending: Ending, is_binary: bool, task: str | None
) -> tuple[LossKind | None, float]:
    """Return which cross-entropy or error a loss is, and its label smoothing."""
    name, arguments = plain(name_of(spec)), dict(arguments_of(spec))
    if task == "regression":
        kept = {k: v for k, v in arguments.items() if k not in ("name", "fn")}
        is_plain = all(v in DEFAULTS.get(k, ()) for k, v in kept.items())
        return (ERRORS.get(name) if is_plain else None), 0.0
    if name not in (BINARY if is_binary else CATEGORICAL + BINARY):
        return None, 0.0
    smoothing = arguments.pop("label_smoothing", None) or 0.0
    if ending.kind == "logits":
        arguments.pop("from_logits", None)
    is_share = isinstance(smoothing, int | float) and 0 <= smoothing < 1
    known = {"name", "fn"}
    others = {k: v for k, v in arguments.items() if k not in known and v not in DEFAULTS.get(k, ())}
    if others or not is_share:
        return None, 0.0
    return "binary" if name in BINARY else "categorical", float(smoothing)


def _show_loss(spec: Any) -> str:
    arguments = arguments_of(spec).items()
    known = {"name", "fn"}
    return show(
        spec, {k: v for k, v in arguments if k not in known and v not in DEFAULTS.get(k, ())}
    )


def _other_omissions(config: dict[str, Any], task: str | None) -> list[str]:
    omissions = []
    if "unreadable" in config:
        omissions.append("what it was compiled with, which cannot be read")
    metrics = [name_of(m) for k in ("metrics", "weighted_metrics") for m in flatten(config.get(k))]
    known = ACCURACIES | (set(ERRORS) if task == "regression" else set())
    if metrics := [name for name in metrics if plain(name) not in known]:
        more = " …" if len(metrics) > MAX_METRICS else ""
        omissions.append(f"metrics {', '.join(metrics[:MAX_METRICS])}{more}")
    for key in ("loss_weights", "sample_weight_mode"):
        if config.get(key) not in (None, [], {}):
            omissions.append(key)
    return omissions
