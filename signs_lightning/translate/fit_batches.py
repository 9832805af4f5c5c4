"""What a fit trains and validates on, as batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.batches import Batches
from signs_lightning.translate.values import Record, Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.translate.fit_records import FitRecord


def train_batches(
    record: FitRecord, given: dict[str, Value], is_generator: bool, has_size: bool
) -> Batches:
    """Return what is trained on as batches."""
    x, y, place = given["x"], given["y"], record.place
    if isinstance(x, Batches):
        if x.batch_size is None:
            record.problems.append(Unknown("a tf.data.Dataset without .batch", place))
        return x
    if isinstance(x, list | tuple) and len(x) == 1:
        x = x[0]
    if not isinstance(x, ArrayRecord | Unknown):
        described = x.describe() if isinstance(x, Record) else str(getattr(x, "name", x))[:40]
        x = Unknown(f"{described} to train on", place)
        record.problems.append(x)
    elif isinstance(x, Unknown) and y is None:  # a data set or generator, whose batches it has
        record.problems.append(x)
    elif is_generator:
        record.problems.append(Unknown("a generator of the source's own", place))
    size = given["batch_size"] if has_size and given["batch_size"] is not None else 32
    shuffles = given["shuffle"]
    if shuffles not in (True, False, None):
        record.problems.append(Unknown(f"shuffle={shuffles!r:.20} of fit", place))
    return Batches(x, y, size, shuffles is not False)


def validation_batches(record: FitRecord, given: dict[str, Value]) -> Batches | None:
    """Return what is validated on as batches, None for nothing."""
    data = given["validation_data"]
    if data is None or isinstance(data, Batches):
        return data
    if isinstance(data, list | tuple) and len(data) in (2, 3):
        return Batches(data[0], data[1], 32)
    if isinstance(data, Unknown):
        return Batches(data, None, 32)
    record.problems.append(Unknown("validation_data of fit", record.place))
    return None
