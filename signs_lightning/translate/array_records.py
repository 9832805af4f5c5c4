"""Arrays of a notebook whose content is not known: origin, shape, scale, what became of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakSet

from signs_lightning.translate.array_changes import cast, change_in_place, is_move, keeps_pixels
from signs_lightning.translate.array_origins import Origin, Rows
from signs_lightning.translate.array_scales import (
    Number,
    combine,
    plain_numbers,
    scale_name,
)
from signs_lightning.translate.array_shapes import (
    SampleCount,
    Shape,
    ShapeRecord,
    asked,
    broadcast,
    reshaped,
)
from signs_lightning.translate.values import (
    Method,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

OF_NAMES = ("keys", "values", "items", "get")  # of `class_indices`
FLAT = ("flatten", "ravel")
COURSE = ("images", "labels", "images", "labels", "names")  # what five values are
COMPARISONS = {"==", "!=", "<", "<=", ">", ">=", "&", "|"}
STATISTICS = {"mean", "std", "var", "min", "max", "sum", "any", "all", "argmax", "argmin", "item"}
SAME = {"copy", "numpy", "to_numpy", "compute", "view", "to_list", "tolist", "repeat"}
SAME |= {"reset_index", "sort_index", "fillna"}


@dataclass(eq=False)
class ArrayRecord(Record):
    """An array of data.

    Attributes:
        origin: where it comes from.
        shape: its axes, each an int, a SampleCount, an Unknown or None; None for all unknown.
        name: by which facts about it are asked for.
        dtype: NumPy's name; empty where it is not known.
        factor: what the values of the file are multiplied by.
        offset: what is added then.
        mode: "caffe" or "torch" after `preprocess_input`, "" otherwise.
        classes: of one-hot labels: their number, or an Unknown; None where there is a number each.
        rows: which rows of the file it has.
        size: height and width that images were resized to, with the way; None for the file's.
        augmentation: random changes, as entries of a configuration.
        unknown: what happened to it that is not understood, or None.
        is_turned: whether its rows are the columns of flat images.
        memory: the arrays that share its values, itself among them.
    """

    origin: Origin
    shape: Shape | None = None
    name: str = "the data"
    dtype: str = ""
    factor: Number = 1.0
    offset: Number = 0.0
    mode: str = ""
    classes: Any = None
    rows: tuple[Rows, ...] = ()
    size: tuple[int, int, str, str] | None = None
    augmentation: list[dict[str, Any]] = field(default_factory=list)
    unknown: Unknown | None = None
    is_turned: bool = False
    memory: WeakSet[ArrayRecord] = field(default_factory=WeakSet, repr=False)

    def __post_init__(self) -> None:
        self.memory.add(self)

    def describe(self) -> str:
        return self.name

    def with_(self, **changes: Any) -> ArrayRecord:
        """Return a copy with other attributes."""
        return replace(self, **({"memory": WeakSet()} | changes))

    def view(self, **changes: Any) -> ArrayRecord:
        """Return an array with other attributes and the same memory."""
        return self.with_(memory=self.memory, **changes)

    def change(self, operator: str, other: Value, place: Place) -> Value:
        """Do `self operator= other`."""
        return change_in_place(self, operator, other, place)

    def lost(self, reason: str, place: Place, **changes: Any) -> ArrayRecord:
        """Return a copy whose values are not understood."""
        return self.with_(unknown=self.unknown or Unknown(reason, place), **changes)

    @property
    def is_labels(self) -> bool:
        """Whether it holds labels, as far as that is told."""
        return self.origin.content == "labels" or self.classes is not None

    @property
    def _may_be_images(self) -> bool:
        return self.origin.kind != "code" or self.origin.content == "images"

    def taint(self, unknown: Unknown) -> None:
        self.unknown = self.unknown or unknown

    def attribute(self, name: str, place: Place) -> Value:
        if name == "shape":
            known = self.shape is not None and all(isinstance(k, int) for k in self.shape)
            return (
                self.shape
                if known
                else ShapeRecord(self._axes(place), self.name, self.is_labels, self._may_be_images)
            )
        if name == "ndim":
            return Unknown(f"{self.name}.ndim", place) if self.shape is None else len(self.shape)
        if name == "size":
            known = self.shape is not None and all(isinstance(k, int) for k in self.shape)
            return math.prod(self.shape or ()) if known else Unknown(f"{self.name}.size", place)
        if name == "T":
            return self.transposed((), place)
        if name == "dtype":
            return self.dtype or Unknown(f"{self.name}.dtype", place)
        if name == "drop" and self.origin.kind == "csv" and not self.origin.content:
            from signs_lightning.translate.array_items import pixels_of  # it makes arrays itself

            return Method(name, lambda args, kwargs, where: pixels_of(self))
        if self.origin.content == "names" and name in OF_NAMES:
            return Method(name, lambda args, kwargs, where: self)
        if name in ("values", "iloc", "loc"):
            return self
        if name in ("reshape", "astype", "transpose", "squeeze", *FLAT, *STATISTICS, *SAME):
            return Method(name, getattr(self, f"_{name}", _same_or_statistic(self, name)))
        raise NotUnderstoodError(f".{name} of {self.name}")

    def _axes(self, place: Place) -> Shape | None:
        """Return the shape with what is not known as values to ask for."""
        if self.shape is None:
            return None
        axes = []
        for k, axis in enumerate(self.shape):
            if axis is None:
                record = ShapeRecord(None, self.name, self.is_labels)
                axis = record.item(k, place)
            axes.append(axis)
        return tuple(axes)

    def _reshape(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        wanted = args or [value for key, value in kwargs.items() if key in ("newshape", "shape")]
        if len(wanted) == 1 and isinstance(wanted[0], tuple | list | ShapeRecord):
            first = wanted[0]
            wanted = list(first.axes or ()) if isinstance(first, ShapeRecord) else list(first)
        shape = reshaped(self.shape, tuple(wanted))
        is_mixed = self.is_turned and len([k for k in shape if k != 1]) > 1
        if not self.is_labels and (is_mixed or not keeps_pixels(self.shape, shape)):
            return self.lost(f"a reshape of {self.name} that mixes its pixels", place, shape=shape)
        return self.view(shape=shape)

    def _flatten(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return self.with_(shape=reshaped(self.shape, (-1,)))

    _ravel = _flatten

    def _astype(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        return cast(self, args[0] if args else kwargs.get("dtype"), place)

    def _transpose(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        axes = args[0] if len(args) == 1 and isinstance(args[0], tuple | list) else args
        return self.transposed(tuple(axes) or tuple(kwargs.get("axes") or ()), place)

    def _squeeze(self, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        axis = args[0] if args else kwargs.get("axis")
        return self.squeezed(axis)

    def squeezed(self, axis: Any = None) -> ArrayRecord:
        """Return it without axes of length 1, or without one axis."""
        if self.shape is None:
            return self.view()
        if axis is None:
            return self.view(shape=tuple(k for k in self.shape if k != 1))
        kept = list(self.shape)
        del kept[axis]
        return self.view(shape=tuple(kept))

    def transposed(self, axes: tuple[int, ...], place: Place) -> ArrayRecord:
        """Return it with its axes in another order; reversed where none is given."""
        if self.shape is None and not axes:
            return self.view()
        order = axes or tuple(reversed(range(len(self.shape or ()))))
        count = len(order) if self.shape is None else len(self.shape)
        if sorted(order) != list(range(count)):
            raise NotUnderstoodError(f"transposing {self.name} by {order}")
        shape = None if self.shape is None else tuple(self.shape[k] for k in order)
        if not is_move(order):
            return self.lost(f"{self.name} with its axes in the order {order}", place, shape=shape)
        return self.view(shape=shape, is_turned=self.is_turned is not (order == (1, 0)))

    def operate(self, operator: str, other: Value, is_reflected: bool, place: Place) -> Value:
        shape = broadcast(self.shape, getattr(other, "shape", ()))
        if operator in COMPARISONS:
            return self.lost(f"a comparison of {self.name}", place, dtype="bool", shape=shape)
        if operator == "-" and other is None:
            return self.operate("*", -1, False, place)
        number = plain_numbers(other)
        if number is None or operator not in "+-*/" or self.mode:
            what = f" and {other.describe()}" if isinstance(other, Record) else ""
            reason = getattr(other, "reason", None) or f"'{operator}' of {self.name}{what}"
            return self.lost(reason, place, dtype="float64", shape=shape)
        is_divided = operator == "/"
        if is_reflected and is_divided:
            return self.lost(f"{number} / {self.name}", place, dtype="float64", shape=shape)
        factor, offset = self.factor, self.offset
        if is_reflected and operator == "-":
            factor, offset, operator = combine("*", factor, -1), combine("*", offset, -1), "+"
        if operator in "*/":
            factor = combine(operator, factor, number)
        offset = combine(operator, offset, number)
        dtype = self.dtype
        if (is_divided or isinstance(number, float)) and not dtype.startswith("float"):
            dtype = "float64"
        return self.with_(factor=factor, offset=offset, dtype=dtype, shape=shape)

    def apply_layer(self, layer: Any, kwargs: dict[str, Value], place: Place) -> Value:
        """Return what a layer makes of it."""
        from signs_lightning.translate.layers_on_arrays import layer_on_array  # it makes arrays

        return layer_on_array(self, layer, kwargs, place)

    def item(self, index: Value, place: Place) -> Value:
        from signs_lightning.translate.array_items import item_of  # it makes arrays itself

        return item_of(self, index, place)

    def set_item(self, index: Value, value: Value, place: Place) -> None:
        for view in self.memory:
            view.taint(Unknown(f"setting items of {self.name}", place))

    def length(self, place: Place) -> Value:
        if self.origin.content == "names":
            return Unknown(f"len({self.name})", place, "classes")
        first = self.shape[0] if self.shape else None
        return SampleCount(self.name) if first is None else first

    def unpack(self, count: int, place: Place) -> list[Value]:
        """Return as many arrays as there are names for what a function gives."""
        if self.origin.kind != "code":
            raise NotUnderstoodError(f"{count} parts of {self.name}")
        contents = COURSE if count == len(COURSE) else ("",) * count
        return [
            self.with_(name=f"{self.name}_{k}", origin=replace(self.origin, content=content))
            for k, content in enumerate(contents, start=1)
        ]

    def iterate(self, place: Place) -> Iterator[Value]:
        if self.origin.content == "names":
            from signs_lightning.translate.array_items import names_of  # it makes arrays itself

            return names_of(self, place)
        raise NotUnderstoodError(f"a loop over {self.name}")

    def scale(self) -> str | None:
        """Return what the model is fed, as `FromKeras` names it; None where that has no name."""
        return self.mode or scale_name(self.factor, self.offset)


def _same_or_statistic(array: ArrayRecord, name: str) -> Any:
    def perform(args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
        if name in SAME:
            return array.with_()
        return statistic(array, name, place)

    return perform


def statistic(array: ArrayRecord, name: str, place: Place) -> Value:
    """Return a statistic of an array: not understood, but for those that count classes."""
    reason = f"{name} of {array.name}"
    if array.origin.content == "labels" and array.classes is None:
        if name in ("max", "amax"):  # the last class
            classes = asked(reason, place, "classes")
            return classes if isinstance(classes, Unknown) else classes - 1
        if name == "unique":
            names = replace(array.origin, content="names")
            return ArrayRecord(names, None, reason)
    return array.lost(reason, place, shape=None, name=reason)
