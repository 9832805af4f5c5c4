"""What `fit` was called with: data, epochs, batches, callbacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from signs_lightning.keras_io.input_scale_inference import find_scale
from signs_lightning.keras_io.input_scales import RANGES, Scale
from signs_lightning.keras_io.network_plan import Plan
from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.batches import Batches
from signs_lightning.translate.callbacks import CallbackEntries, FitSettings, translate_callbacks
from signs_lightning.translate.data_settings import DataSettings, Setting, data_settings
from signs_lightning.translate.fit_batches import train_batches, validation_batches
from signs_lightning.translate.fit_models import best_files, remember_model
from signs_lightning.translate.fit_steps import set_class_weights, set_steps, whole_number
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.values import (
    NoEffect,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

# Arguments in Keras's order, with defaults.
FIT: dict[str, Any] = {
    "x": None, "y": None, "batch_size": None, "epochs": 1, "verbose": "auto", "callbacks": None,
    "validation_split": 0.0, "validation_data": None, "shuffle": True, "class_weight": None,
    "sample_weight": None, "initial_epoch": 0, "steps_per_epoch": None, "validation_steps": None,
    "validation_batch_size": None, "validation_freq": 1,
}  # fmt: skip
FIT_GENERATOR: dict[str, Any] = {
    "generator": None, "steps_per_epoch": None, "epochs": 1, "verbose": 1, "callbacks": None,
    "validation_data": None, "validation_steps": None, "validation_freq": 1, "class_weight": None,
    "max_queue_size": 10, "workers": 1, "use_multiprocessing": False, "shuffle": True,
    "initial_epoch": 0,
}  # fmt: skip
WITHOUT_EFFECT = ("verbose", "workers", "use_multiprocessing", "max_queue_size", "max_q_size",
                  "nb_worker", "pickle_safe", "validation_batch_size")  # fmt: skip
OLD_NAMES = {"nb_epoch": "epochs"}
KERAS1_EPOCHS = 10  # of its fit


@dataclass(eq=False)
class FitRecord(Record):
    """A call of `fit`, which is also the history that it gives.

    Attributes:
        place: the statement.
        epochs: how many are trained.
        first_epoch: number of the first, from 0.
        data: what is said of the data, scale and augmentation included.
        callbacks: what they become.
        trainer: options of the section `trainer`, without callbacks.
        class_weights: a factor for each class, or None.
        notes: what is to be said, each with its place.
        problems: what reaches the training and cannot be said in a configuration.
        model_config: the model as it is at this moment, as Keras writes it; None where it is not
            known.
        compile_config: what it was compiled with at this moment; None where that is not known.
        before: the model's fit before this one, or None.
        is_recompiled: whether it was compiled since then.
        loaded: how many files of weights were loaded before it.
        flags: of the layers that it trains, by their id.
        best_files: where its callbacks keep the best weights.
        image_shape: (H, W, C) of the images; None where the source does not tell.
    """

    place: Place
    epochs: int = 1
    first_epoch: int = 0
    data: DataSettings = field(default_factory=DataSettings)
    callbacks: CallbackEntries = field(default_factory=CallbackEntries)
    trainer: dict[str, Setting] = field(default_factory=dict)
    class_weights: Setting | None = None
    notes: list[tuple[Place, str]] = field(default_factory=list)
    problems: list[Unknown] = field(default_factory=list)
    model_config: dict[str, Any] | None = None
    compile_config: dict[str, Any] | None = None
    compiled: Any = None
    before: FitRecord | None = None
    is_recompiled: bool = True
    loaded: int = 0
    flags: dict[int, Value] = field(default_factory=dict)
    best_files: list[str] = field(default_factory=list)
    image_shape: tuple[int, int, int] | None = None

    @property
    def number(self) -> int:
        """Which of the model's fits it is, from 1."""
        return 1 if self.before is None else self.before.number + 1

    @property
    def total_epochs(self) -> int:
        """How many epochs the optimizer has seen after it."""
        goes_on = self.before is not None and not self.is_recompiled
        return self.epochs + (self.before.total_epochs if goes_on and self.before else 0)

    @property
    def scale(self) -> Value:
        """What the model is fed, as `FromKeras` names it, or an Unknown."""
        return self.data.scale

    @property
    def all_problems(self) -> list[Unknown]:
        """What reaches the training and cannot be said in a configuration, each once."""
        found = [*self.problems, *self.data.problems, *self.callbacks.problems]
        found += [self.scale] if isinstance(self.scale, Unknown) else []
        return list(dict.fromkeys(found))

    @property
    def all_notes(self) -> list[tuple[Place, str]]:
        """What is to be said, each with its place."""
        found = [*self.data.notes, *self.callbacks.notes, *self.notes]
        found += [note for notes in self.data.file_notes.values() for note in notes]
        return sorted(dict.fromkeys(found))

    def check_scale(self, plan: Plan) -> None:
        """Note what images the model is fed where its first layers say otherwise, or nothing.

        Args:
            plan: the model's.
        """
        if not isinstance(self.scale, str):
            return
        evidence = find_scale(plan, lambda path: {})
        said = RANGES[cast(Scale, self.scale)]
        if evidence.scale is not None and evidence.scale != self.scale:
            text = f"{evidence.because}, and the images are scaled before that, to {said}"
            note = f"{text}: scaled twice, as the source has it"
        elif evidence.scale is None and self.scale == "raw":
            note = f"nothing scales the images: the model is fed {said}"
        else:
            return
        self.notes.append((self.place, note))

    def describe(self) -> str:
        return "the history of fit"

    def attribute(self, name: str, place: Place) -> Value:
        stops = any(entry["class_path"] == "EarlyStopping" for _, entry in self.callbacks.callbacks)
        if name == "epoch" and not stops:
            return list(range(self.first_epoch, self.first_epoch + self.epochs))
        if name in ("history", "params", "model", "on_epoch_end"):
            return NoEffect(f".{name} of {self.describe()}", place)
        return Unknown(f".{name} of {self.describe()}", place)


def record_fit(
    model: Any, args: list[Value], kwargs: dict[str, Value], place: Place, method: str = "fit"
) -> FitRecord:
    """Record a call of `fit` or `fit_generator`, and append it to the model's fits.

    Args:
        model: the model's record.
        args: of the call.
        kwargs: of the call.
        place: the statement.
        method: its name.

    Raises:
        NotUnderstoodError: it has an argument that `fit` does not have.
    """
    kwargs = {OLD_NAMES.get(key, key): value for key, value in kwargs.items()}
    is_generator = method == "fit_generator" or "generator" in kwargs
    given, names = _given(args, kwargs, is_generator)
    record = FitRecord(place)
    record.compiled, record.before = model.compiled, model.fits[-1] if model.fits else None
    record.is_recompiled = record.before is None or record.before.compiled is not model.compiled
    train = train_batches(record, given, is_generator, "batch_size" in names)
    record.image_shape = _image_shape(train)
    remember_model(record, model)
    validation = validation_batches(record, given)
    _set_epochs(record, given, "epochs" in names)
    fraction = _fraction(record, given["validation_split"])
    record.data = data_settings(train, validation, fraction, place)
    _set_batches(record, train, given)
    set_steps(record, given, train, validation)
    set_class_weights(record, given["class_weight"])
    if given["sample_weight"] is not None:
        record.problems.append(Unknown("sample_weight of fit", place))
    settings = FitSettings(
        record.epochs,
        validation is not None or fraction is not None,
        _metrics(record.compile_config),
        _rate(record.compile_config),
        record.first_epoch,
    )
    callbacks = given["callbacks"]
    listed = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    record.callbacks = translate_callbacks([c for c in listed if c is not None], settings, place)
    record.best_files = best_files(listed)
    model.fits.append(record)
    return record


def _given(
    args: list[Value], kwargs: dict[str, Value], is_generator: bool
) -> tuple[dict[str, Value], set[str]]:
    """Return all arguments with defaults, and the names of those that are given."""
    names = list(FIT_GENERATOR if is_generator else FIT)
    known = FIT | FIT_GENERATOR if is_generator else FIT
    given = dict(zip(names, args, strict=False)) | kwargs
    old = {key: given.pop(key) for key in ("samples_per_epoch", "nb_val_samples") if key in given}
    unknown = [key for key in given if key not in known and key not in WITHOUT_EFFECT]
    if len(args) > len(names) or unknown:
        raise NotUnderstoodError(f"{unknown[0] if unknown else 'these arguments'} of fit")
    found = FIT | ({"generator": None} if is_generator else {}) | given
    if is_generator and session().release[0] == 1:
        found["steps_per_epoch"] = None
        old.setdefault("samples_per_epoch", given.get("steps_per_epoch"))
    if is_generator:
        found["x"] = found.pop("generator") if found["generator"] is not None else found["x"]
    found |= {f"old_{key}": value for key, value in old.items()}
    return found, set(given)


def _image_shape(train: Batches) -> tuple[int, int, int] | None:
    """Return (H, W, C) of the images of a fit; None where the source does not tell."""
    images = train.images
    if not isinstance(images, ArrayRecord) or images.unknown or train.unknown:
        return None
    shape = images.shape
    if shape is None or len(shape) != 4 or not all(isinstance(axis, int) for axis in shape[1:]):
        return None
    return cast("tuple[int, int, int]", tuple(shape[1:]))


def _set_epochs(record: FitRecord, given: dict[str, Value], is_given: bool) -> None:
    epochs = given["epochs"]
    if not is_given and session().release[0] == 1:
        epochs = KERAS1_EPOCHS
    first = whole_number(record, given["initial_epoch"], "initial_epoch", 0, 0)
    last = whole_number(record, epochs, "epochs", 1, 1)
    record.first_epoch, record.epochs = first, max(0, last - first)
    where = record.place if is_given else None
    comment = "" if not first else f"{last} less the first {first}"
    if record.total_epochs > record.epochs:
        comment = f"{record.total_epochs - record.epochs} of before, and {record.epochs}"
    record.trainer["max_epochs"] = Setting(record.total_epochs, where, comment)
    if not record.epochs:
        record.problems.append(Unknown("no epoch is trained", record.place))


def _fraction(record: FitRecord, value: Value) -> float | None:
    if value in (None, 0, 0.0):
        return None
    if isinstance(value, float) and 0 < value < 1:
        return value
    is_unknown = isinstance(value, Unknown)
    record.problems.append(value if is_unknown else Unknown("validation_split", record.place))
    return None


def _set_batches(record: FitRecord, train: Batches, given: dict[str, Value]) -> None:
    """Set batch size and order."""
    size, place = train.batch_size, record.place
    is_default = not isinstance(given["x"], Batches) and given["batch_size"] is None
    if size is not None:
        size = whole_number(record, size, "batch_size", 1, 32)
        comment = "Keras's default" if is_default else ""
        place = train.place or place
        record.data.options["batch_size"] = Setting(size, None if is_default else place, comment)
    if not train.shuffles:
        record.data.options["shuffle"] = Setting(False, place, "in the order of the file")
    record.notes += [(place, note) for note in train.notes]


def _metrics(config: dict[str, Any] | None) -> tuple[str, ...]:
    """Return the names of metrics that a compile configuration spells."""
    metrics = (config or {}).get("metrics") or []
    listed = metrics if isinstance(metrics, list | tuple) else [metrics]
    return tuple(metric for metric in listed if isinstance(metric, str))


def _rate(config: dict[str, Any] | None) -> float | None:
    """Return the learning rate of a compile configuration, None where it has none."""
    optimizer = (config or {}).get("optimizer") or {}
    arguments = optimizer.get("config", {}) if isinstance(optimizer, dict) else {}
    rate = arguments.get("learning_rate", arguments.get("lr"))
    return float(rate) if isinstance(rate, int | float) else None
