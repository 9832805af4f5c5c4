"""What feeds a model batch by batch: generators of Keras and data sets of TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from signs_lightning.translate.array_origins import Origin, Rows
from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.array_shapes import SampleCount, asked
from signs_lightning.translate.numpy_calls import argument
from signs_lightning.translate.values import (
    LibraryName,
    Method,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

AS_IT_IS = {"prefetch", "cache", "with_options", "as_numpy_iterator", "ignore_errors"}
WITHOUT_EFFECT = {"reset", "on_epoch_end", "set_processing_attrs", "close"}
STEPS = ("shuffle", "batch", "repeat", "map", "take", "skip", "unbatch", "filter", "shard",
         "interleave", "concatenate", "enumerate", "padded_batch", "cardinality",
         "apply")  # fmt: skip


@dataclass(eq=False)
class Batches(Record):
    """Images and labels in batches, or one by one before `.batch`.

    Attributes:
        images: the images; an Unknown where they are not understood.
        labels: their labels; None where there are none.
        batch_size: images in a batch; None before they are batched.
        shuffles: whether each epoch has another order.
        drops_last: whether a last batch that is not full is left out.
        repeats: whether it goes on after the last image.
        is_generator: whether it is a generator of Keras, and no data set of TensorFlow.
        place: where it is batched, or None.
        unknown: what happened to it that is not understood, or None.
        notes: what is to be said of it.
    """

    images: Value
    labels: Value = None
    batch_size: Value = None
    shuffles: bool = False
    drops_last: bool = False
    repeats: bool = False
    is_generator: bool = False
    place: Place | None = None
    unknown: Unknown | None = None
    notes: list[str] = field(default_factory=list)

    def describe(self) -> str:
        return "a generator" if self.is_generator else "a tf.data.Dataset"

    def taint(self, unknown: Unknown) -> None:
        self.unknown = self.unknown or unknown

    def lost(self, reason: str, place: Place) -> Batches:
        """Return a copy that is not understood."""
        return replace(self, unknown=self.unknown or Unknown(reason, place))

    def attribute(self, name: str, place: Place) -> Value:
        images, labels = self.images, self.labels
        if name in AS_IT_IS:
            return Method(name, lambda args, kwargs, where: self)
        if name in WITHOUT_EFFECT:
            return Method(name, lambda args, kwargs, where: None)
        if name in ("__next__", "next", "__getitem__"):
            return Method(name, lambda args, kwargs, where: (images, labels))
        if name in STEPS and not self.is_generator:
            step = getattr(self, f"_{name}", None)
            return Method(name, step or (lambda args, kwargs, where: self.lost(name, where)))
        if name in ("n", "samples"):
            return SampleCount(getattr(images, "name", "the data"))
        if name in ("batch_size", "num_classes", "class_indices", "class_names", "classes"):
            return self._fact(name, place)
        if name in ("image_shape", "target_size") and isinstance(images, ArrayRecord):
            shape = images.attribute("shape", place)
            part = slice(1, None) if name == "image_shape" else slice(1, 3)
            return shape[part] if isinstance(shape, tuple) else shape.item(part, place)
        if name in ("filenames", "filepaths") and isinstance(images, ArrayRecord):
            origin = replace(images.origin, content="paths")
            return ArrayRecord(origin, (SampleCount(images.name),), name)
        if name in (
            "labels",
            "filenames",
            "filepaths",
            "element_spec",
            "index_array",
            "file_paths",
        ):
            return Unknown(f".{name} of {self.describe()}", place)
        raise NotUnderstoodError(f".{name} of {self.describe()}")

    def _fact(self, name: str, place: Place) -> Value:
        if name == "batch_size":
            return self.batch_size
        if name == "num_classes":
            known = getattr(self.labels, "classes", None)
            return known if isinstance(known, int) else asked(f".{name}", place, "classes")
        origin = getattr(self.images, "origin", Origin("", place))
        content = "labels" if name == "classes" else "names"
        return ArrayRecord(replace(origin, content=content), None, name)

    def _shuffle(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        again = kwargs.get("reshuffle_each_iteration", True)
        if again is not None and again is not True:
            return self.lost("shuffle(reshuffle_each_iteration=…)", place)
        notes = list(self.notes)
        if self.batch_size is not None:
            notes.append("shuffles whole batches in Keras, and images here")
        return replace(self, shuffles=True, notes=notes)

    def _batch(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        if self.batch_size is not None:
            return self.lost("batches of batches", place)
        size = argument(args, kwargs, 0, "batch_size")
        drops = argument(args, kwargs, 1, "drop_remainder", default=False)
        return replace(self, batch_size=size, drops_last=drops is True, place=place)

    def _repeat(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        count = argument(args, kwargs, 0, "count")
        if count in (None, -1):
            return replace(self, repeats=True)
        return self if count == 1 else self.lost(f"repeat({count})", place)

    def _unbatch(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return replace(self, batch_size=None, drops_last=False)

    def _map(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        function = argument(args, kwargs, 0, "map_func")
        given = [self._element(self.images)]
        if self.labels is not None:
            given.append(self._element(self.labels))
        try:
            found = call_function(function, given, place)
        except NotUnderstoodError as error:
            return self.lost(f"map: {error}", place)
        if isinstance(found, tuple | list) and len(found) == 2:
            images, labels = (self._whole(part) for part in found)
            return replace(self, images=images, labels=labels)
        if isinstance(found, Unknown):
            return self.lost(found.reason, found.place)
        if isinstance(found, ArrayRecord) and self.labels is None:
            return replace(self, images=self._whole(found))
        return self.lost("map of a function that does not give images and labels", place)

    def _apply(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return call_function(argument(args, kwargs, 0, "transformation_func"), [self], place)

    def _element(self, array: Value) -> Value:
        """Return what a function of `map` is given."""
        if self.batch_size is not None or not isinstance(array, ArrayRecord):
            return array
        return array.with_(shape=None if array.shape is None else array.shape[1:])

    def _whole(self, array: Value) -> Value:
        if self.batch_size is not None or not isinstance(array, ArrayRecord):
            return array
        return array.with_(shape=None if array.shape is None else (None, *array.shape))

    def _take(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return self._part("first", argument(args, kwargs, 0, "count"), place)

    def _skip(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return self._part("last", argument(args, kwargs, 0, "count"), place)

    def _part(self, how: str, count: Value, place: Place) -> Value:
        """Return the first or last images."""
        images = self.images
        if not isinstance(images, ArrayRecord):
            return self
        number = images.shape[0] if images.shape else None
        share = None
        if isinstance(count, int) and isinstance(number, int) and number:
            size = self.batch_size if isinstance(self.batch_size, int) else 1
            share = min(1.0, count * size / number)
            share = share if how == "first" else 1 - share
        parts = []
        for array in (images, self.labels):
            if isinstance(array, ArrayRecord):
                array = array.with_(rows=(*array.rows, Rows(how, share, place)))
            parts.append(array)
        return replace(self, images=parts[0], labels=parts[1])

    def _cardinality(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return self.length(place)

    def length(self, place: Place) -> Value:
        array = self.images
        if not isinstance(array, ArrayRecord):
            return Unknown("the number of batches", place)
        count = array.shape[0] if array.shape and isinstance(array.shape[0], int) else None
        if self.batch_size is None:
            return SampleCount(array.name) if count is None else count
        if count is None or not isinstance(self.batch_size, int):
            batches = SampleCount(array.name).operate("/", self.batch_size, False, place)
            return batches.rounded("ceil") if isinstance(batches, SampleCount) else batches
        return count // self.batch_size if self.drops_last else -(-count // self.batch_size)

    def item(self, index: Value, place: Place) -> Value:
        return (self.images, self.labels)

    def iterate(self, place: Place) -> Iterator[Value]:
        raise NotUnderstoodError(f"a loop over {self.describe()}")


def call_function(function: Value, args: list[Value], place: Place) -> Value:
    """Return what a function of the source or of a library gives.

    Raises:
        NotUnderstoodError: it is not known.
    """
    if isinstance(function, LibraryName):
        from signs_lightning.translate.data_calls import call  # which knows this module

        found = call(function.name, args, {}, place)
        if found is NotImplemented:
            raise NotUnderstoodError(function.name)
        return found
    if isinstance(function, Record):
        return function.call(args, {}, place)
    raise NotUnderstoodError("this function")


def from_tensor_slices(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `tf.data.Dataset.from_tensor_slices(…)`."""
    tensors = argument(args, kwargs, 0, "tensors")
    pair = tensors if isinstance(tensors, tuple | list) else (tensors, None)
    if len(pair) != 2:
        raise NotUnderstoodError("a tf.data.Dataset of other than images and labels")
    # It copies them: what changes in place later does not reach it.
    copies = [part.with_() if isinstance(part, ArrayRecord) else part for part in pair]
    return Batches(copies[0], copies[1])


def zipped(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `tf.data.Dataset.zip((images, labels))`."""
    parts: Any = args[0] if len(args) == 1 else args
    parts = parts if isinstance(parts, tuple | list) else ()
    if len(parts) != 2 or not all(isinstance(part, Batches) for part in parts):
        raise NotUnderstoodError("tf.data.Dataset.zip of these")
    images, labels = parts
    if images.shuffles or labels.shuffles:
        return images.lost("images and labels that are shuffled before they are paired", place)
    return replace(images, labels=labels.images, unknown=images.unknown or labels.unknown)
