"""Numbers of a fit: steps of an epoch, weights of classes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.array_shapes import SampleCount
from signs_lightning.translate.batches import Batches
from signs_lightning.translate.data_checks import label_problem
from signs_lightning.translate.data_settings import Setting
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.values import Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.keras_io.from_keras import FromKeras
    from signs_lightning.translate.fit_records import FitRecord

MAX_NUMBER = 10**6
MAX_CLASSES = 100_000


def whole_number(record: FitRecord, value: Value, name: str, least: int, default: int) -> int:
    """Return a whole number, noting as a problem what is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_NUMBER:
        return value
    is_unknown = isinstance(value, Unknown)
    record.problems.append(value if is_unknown else Unknown(f"{name} of fit", record.place))
    return default


def set_steps(
    record: FitRecord, given: dict[str, Value], train: Batches, validation: Batches | None
) -> None:
    """Set how much of the data an epoch has, where that is not all of it."""
    size = train.batch_size if isinstance(train.batch_size, int) else None
    steps = given["steps_per_epoch"]
    if steps is None and isinstance(number := given.get("old_samples_per_epoch"), int) and size:
        steps = math.ceil(number / size)
    if isinstance(steps, float) and steps >= 1:
        steps = math.floor(steps)
    count = _count(train.images)
    if steps is None and train.repeats:
        record.problems.append(Unknown("an endless epoch: repeat() without steps", record.place))
    limit = _limit(record, steps, size, count, "train")
    if limit is None and train.drops_last and size and (count is None or count % size):
        limit = None if count is None else count // size
        if limit is None:
            note = "the last, smaller batch is left out in Keras (drop_remainder), and trained here"
            record.notes.append((record.place, note))
    if limit is not None:
        record.trainer["limit_train_batches"] = Setting(limit, record.place, "steps_per_epoch")
    steps = given["validation_steps"]
    number = given.get("old_nb_val_samples")
    if steps is None and isinstance(number, int) and validation is not None:
        steps = math.ceil(number / validation.batch_size) if validation.is_generator else None
    if steps is not None and validation is not None:
        val_size = validation.batch_size if isinstance(validation.batch_size, int) else None
        limit = _limit(record, steps, val_size, _count(validation.images), "val")
        if limit is not None:
            record.trainer["limit_val_batches"] = Setting(limit, record.place, "validation_steps")
    every = given["validation_freq"]
    if every not in (1, None):
        every = whole_number(record, every, "validation_freq", 1, 1)
        record.trainer["check_val_every_n_epoch"] = Setting(every, record.place)


def _count(images: Value) -> int | None:
    shape = images.shape if isinstance(images, ArrayRecord) else None
    return shape[0] if shape and isinstance(shape[0], int) else None


def _limit(
    record: FitRecord, steps: Value, size: int | None, count: int | None, role: str
) -> int | float | None:
    """Return how many batches an epoch has, or which share of all; None for all of them."""
    place = record.place
    if steps is None or steps == -1:
        return None
    if isinstance(steps, SampleCount):
        share = (size or 0) * steps.share / steps.divisor
        if math.isclose(share, 1):
            if steps.rounding == "floor" and role == "train":
                note = "an epoch leaves out its last, smaller batch in Keras, and not here"
                record.notes.append((place, f"steps_per_epoch: {note}"))
            return None
        if 0 < share < 1:
            return round(share, 6)
        record.problems.append(Unknown(f"an epoch of {share:.3g} times the data", place))
        return None
    if isinstance(steps, Unknown):
        record.problems.append(steps)
        return None
    number = whole_number(record, steps, "steps", 1, 1)
    if count is not None and size:
        whole = math.ceil(count / size)
        if number > whole:
            record.problems.append(Unknown(f"an epoch of {number} steps of {whole}", place))
        return None if number >= whole else number
    note = f"{number} steps: where the data have fewer batches, an epoch here is shorter"
    record.notes.append((place, note))
    return number


def set_class_weights(record: FitRecord, weights: Value) -> None:
    """Keep `class_weight` as a list; `stops_in_keras` makes it one of the model's classes."""
    if weights is None or weights == {}:
        return
    unknown = Unknown("class_weight of fit", record.place)
    if isinstance(weights, Unknown):
        record.problems.append(weights)
        return
    if not isinstance(weights, dict) or not all(isinstance(k, int) for k in weights):
        record.problems.append(unknown)
        return
    values = list(weights.values())
    fits = all(isinstance(v, int | float) and math.isfinite(v) and v >= 0 for v in values)
    if not fits or not all(0 <= k < MAX_CLASSES for k in weights):
        wrong = next((v for v in values if isinstance(v, Unknown)), unknown)
        record.problems.append(wrong)
        return
    factors = [float(weights.get(k, 1.0)) for k in range(max(weights) + 1)]
    if len(factors) > len(weights) and session().release[0] < 3:
        record.problems.append(Unknown("class_weight without some classes", record.place))
    record.class_weights = Setting(factors, record.place)


def stops_in_keras(record: FitRecord, model: FromKeras) -> list[str]:
    """Return why Keras does not train the model so, and give each of its classes a factor."""
    width = 1 if model.binary else model.num_classes
    found = [
        _fit_class_weights(record, model.num_classes),
        label_problem(record.data.labels, model.compiled.losses, width),
    ]
    return [text for text in found if text]


def _fit_class_weights(record: FitRecord, classes: int) -> str:
    """Give each class a factor: what Keras 3 leaves out counts once, and Keras 2 stops at it."""
    if record.class_weights is None:
        return ""
    factors = record.class_weights.value
    if len(factors) < classes and session().release[0] < 3:
        return f"class_weight has {len(factors)} of the model's {classes} classes"
    factors = (factors + [1.0] * classes)[:classes]
    record.class_weights = replace(record.class_weights, value=factors)
    return ""
