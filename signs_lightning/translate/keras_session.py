"""What the Keras objects of one notebook share: the version of Keras, names, facts and notes."""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from signs_lightning.keras_io.config_entries import snake_case
from signs_lightning.translate.values import Place


@dataclass
class Session:
    """What one translation knows beside the values of its variables.

    Attributes:
        version: of Keras, as `keras_release` assumes it.
        facts: what the user told, by name.
        data_format: of layers that do not say theirs.
        counts: how often a name was given, by its stem.
        layers: all that were made, in order.
        models: all that were made, in order.
        pretrained: files of weights that models get, in order.
        trained: by the id of a layer, the model that trained it, and where.
        read_late: functions that Keras runs again when it trains, with what they read when it built
            the model, what they are of, and where.
        notes: what is to be said of the model, each with its place.
    """

    version: str = "3.0.0"
    facts: dict[str, Any] = field(default_factory=dict)
    data_format: str = "channels_last"
    counts: Counter[str] = field(default_factory=Counter)
    layers: list[Any] = field(default_factory=list)
    models: list[Any] = field(default_factory=list)
    pretrained: list[Any] = field(default_factory=list)
    trained: dict[int, tuple[Any, Place]] = field(default_factory=dict)
    read_late: list[tuple[Any, dict[str, Any], str, Place]] = field(default_factory=list)
    notes: list[tuple[str, Place]] = field(default_factory=list)

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    @property
    def is_multi_backend(self) -> bool:
        """Whether it is Keras before it became a part of TensorFlow."""
        return self.release < (2, 4)

    @property
    def has_legacy_optimizers(self) -> bool:
        """Whether its optimizers are those of Keras before 2.11."""
        return self.release < (2, 11)

    def auto_name(self, class_name: str) -> str:
        """Return the name that Keras gives to a layer or model without one."""
        stem = snake_case(class_name)
        from_one = self.is_multi_backend
        if self.release[0] < 3:
            stem = {"functional": "model", "input_layer": "input"}.get(stem, stem)
            from_one = from_one or stem == "input"
        if self.release[0] < 2:
            stem = class_name.lower().replace("conv2d", "convolution2d")
            stem = {"functional": "model", "inputlayer": "input"}.get(stem, stem)
        return self.number(stem, from_one)

    def number(self, stem: str, from_one: bool = False) -> str:
        """Return a stem with the number of its earlier uses, none for the first."""
        self.counts[stem] += 1
        number = self.counts[stem] - (not from_one)
        return f"{stem}_{number}" if number else stem

    def note(self, text: str, place: Place) -> None:
        """Keep what is to be said, once."""
        if (text, place) not in self.notes:
            self.notes.append((text, place))


_session: ContextVar[Session | None] = ContextVar("keras_session", default=None)


def start_session(version: str = "3.0.0", facts: dict[str, Any] | None = None) -> Session:
    """Begin a translation; all Keras objects that are made from now on are its."""
    session = Session(version, facts or {})
    _session.set(session)
    return session


def session() -> Session:
    """Return the current translation's, which begins here where none has begun."""
    return _session.get() or start_session()
