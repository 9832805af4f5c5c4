"""Which task a model has, by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from signs_lightning.errors import InputError
from signs_lightning.models.single_label import SingleLabel

if TYPE_CHECKING:
    from signs_lightning.models.classifier import ImageClassifier

Task = Literal["multilabel", "regression"]
TaskRules = Any  # SingleLabel, Multilabel or Regression


def restore_task(model: ImageClassifier, arguments: dict[str, Any]) -> None:
    """Give a model of a task what its checkpoint was trained with: units, thresholds.

    Args:
        model: whose weights are replaced by the checkpoint's.
        arguments: the checkpoint's `hyper_parameters`.

    Raises:
        InputError: the checkpoint is of another task.
    """
    before, now = arguments.get("task"), model.task_rules.name
    if before != now:
        raise InputError(
            f"The checkpoint is of a model whose task is {before or 'to tell single classes'}, and "
            f"--model.task is {now or 'not given'}. Leave it as it was, or train a new model."
        )
    if now is None:
        return
    given = {name: arguments.get(name) for name in ("target_mean", "target_scale")}
    if model.hparams.get("thresholds") is None:
        given["thresholds"] = arguments.get("thresholds")
    model.hparams.update({name: value for name, value in given.items() if value is not None})
    model.task_rules.restore(model)


def refuse_task(model: Any, what: str, way_out: str) -> None:
    """Check that a model tells single classes, where nothing else is supported.

    Args:
        model: an `ImageModel`, or an exported one.
        what: that does not know tasks, as a subject.
        way_out: a sentence that says what to do instead.

    Raises:
        InputError: it has a task.
    """
    name = model.task_rules.name
    if name is not None:
        raise InputError(f"{what} does not know the task {name}, which the model has. {way_out}")


def count_outputs(model: Any) -> str:
    """Return such as "6 classes", "4 labels" or "1 target": what a model gives for an image."""
    count = model.num_classes
    kind = {"multilabel": "label", "regression": "target"}.get(model.task_rules.name or "")
    if kind is None:
        return f"{count} classes"
    return f"{count} {kind}{'' if count == 1 else 's'}"


def find_task(name: str | None) -> TaskRules:
    """Return what a model of a task does with its logits; None is one class an image."""
    if name == "multilabel":
        from signs_lightning.models.multilabel import Multilabel  # start-up: its metrics

        return Multilabel()
    if name == "regression":
        from signs_lightning.models.regression import Regression  # start-up: its metrics

        return Regression()
    return SingleLabel()
