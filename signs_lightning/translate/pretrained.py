"""Weights that a model is given before it trains, and that its source does not hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from signs_lightning.translate.keras_session import session
from signs_lightning.translate.values import NotUnderstoodError, Place, Unknown

FACT = "weights"
NONE = "none"  # value of the fact for a model that starts untrained


@dataclass(eq=False)
class Pretrained:
    """A file of weights that the source loads.

    Attributes:
        what: the code, such as "VGG16(weights='imagenet')".
        place: of it.
        name: of the model that gets them.
        layers: its layers then, by their id, those of the models inside it, too.
        file: where Keras has the file, or the source names it; None where that is not known.
        by_name: whether only layers of the same name get theirs.
        skips: whether weights of other shapes are left out.
        config: the model then, as Keras writes it; None where it is not known, or not needed.
        paths: its layers then, by their names after those of the models that they lie in.
    """

    what: str
    place: Place
    name: str
    layers: dict[int, Any]
    file: str | None
    by_name: bool = False
    skips: bool = False
    config: dict[str, Any] | None = None
    paths: dict[tuple[str, ...], Any] = field(default_factory=dict)


def is_weights_fact(name: str) -> bool:
    """Return whether a fact tells weights."""
    return name == FACT or name.startswith(f"{FACT}_")


def add_pretrained(
    model: Any,
    what: str,
    place: Place,
    file: str | None,
    by_name: bool = False,
    skips: bool = False,
) -> None:
    """Note that a model, as it is now, gets weights of a file; for the others see `Pretrained`."""
    given = Pretrained(what, place, str(model.name), _layers(model), file, by_name, skips)
    facts = session().facts
    if any(is_weights_fact(name) and value != NONE for name, value in facts.items()):
        try:
            given.config, given.paths = model.config(), layer_paths(model)
        except NotUnderstoodError:
            given.config = None
    session().pretrained.append(given)


def _layers(model: Any) -> dict[int, Any]:
    return {id(layer): layer for layer in model.all_layers() if not hasattr(layer, "inputs")}


def layer_paths(model: Any, start: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the layers of a model by their names after those of the models that they lie in."""
    found: dict[tuple[str, ...], Any] = {}
    for layer in model.as_graph().unique_layers():
        path = (*start, layer.name)
        found |= layer_paths(layer, path) if hasattr(layer, "inputs") else {path: layer}
    return found


def pretrained_of(model: Any, since: int = 0, until: int | None = None) -> list[Pretrained]:
    """Return the files that layers of a model get.

    Args:
        model: the model.
        since: how many files were loaded before; these are left out.
        until: how many were loaded when the model was trained; None for all.
    """
    own = _layers(model).keys()
    return [given for given in session().pretrained[since:until] if own & given.layers.keys()]


def initial(model: Any) -> list[Pretrained]:
    """Return the files that layers of a model get before its first training."""
    return pretrained_of(model, until=model.fits[0].loaded if model.fits else None)


def fact_names(files: Iterable[Pretrained]) -> dict[Pretrained, str]:
    """Return the fact that tells each file: "weights" alone, else with the model's name."""
    files, counts, names = list(files), Counter[str](), {}
    for given in files:
        name = f"{FACT}_{re.sub(r'[^0-9A-Za-z]+', '_', given.name).strip('_').lower()}"
        counts[name] += 1
        names[given] = name if counts[name] == 1 else f"{name}_{counts[name]}"
    return names


def answers(files: list[Pretrained], facts: dict[str, Any]) -> dict[Pretrained, str]:
    """Return what was told of files: "none" or a name; those of which nothing was are missing."""
    found, every = {}, facts.get(FACT)
    for given, name in fact_names(files).items():
        value = facts.get(name)
        if value is None and (len(files) == 1 or every == NONE):
            value = every
        if value is not None:
            found[given] = str(value)
    return found


def unknown_weights(model: Any) -> Iterator[tuple[str, Unknown]]:
    """Yield the weights that a model begins with and that are not told, each with what it is."""
    files = initial(model)
    told, names = answers(files, session().facts), fact_names(files)
    for given in files:
        if given not in told:
            name = FACT if len(files) == 1 else names[given]
            what = f"weights of {given.what}"
            where = f", which Keras has in {given.file}" if given.file else ""
            yield what, Unknown(what + where, given.place, name)
