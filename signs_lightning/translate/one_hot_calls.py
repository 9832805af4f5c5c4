"""Calls that make one-hot rows of labels."""

from __future__ import annotations

from signs_lightning.translate.array_items import one_hot
from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.numpy_calls import argument, of_unknown
from signs_lightning.translate.values import Place, Value


def _one_hot(labels: Value, classes: Value, place: Place) -> Value:
    if isinstance(labels, ArrayRecord):
        return one_hot(labels, classes, place)
    return of_unknown(labels, "one-hot labels")


def to_categorical(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `keras.utils.to_categorical(…)`."""
    labels = argument(args, kwargs, 0, "y", "x")
    return _one_hot(labels, argument(args, kwargs, 1, "num_classes", "nb_classes"), place)


def tf_one_hot(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `tf.one_hot(…)`."""
    labels = argument(args, kwargs, 0, "indices", "x")
    return _one_hot(labels, argument(args, kwargs, 1, "depth", "num_classes"), place)


def course_one_hot(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `convert_to_one_hot(Y, C)` of the course: a column for each image."""
    found = _one_hot(argument(args, kwargs, 0, "Y"), argument(args, kwargs, 1, "C"), place)
    if isinstance(found, ArrayRecord):
        count = found.shape[0] if found.shape else None
        return found.with_(shape=(found.classes, count))
    return found


def get_dummies(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `pd.get_dummies(…)`, and what a LabelBinarizer makes."""
    return _one_hot(argument(args, kwargs, 0, "data", "y"), None, place)
