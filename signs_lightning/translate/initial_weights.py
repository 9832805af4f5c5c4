"""The weights that a translated model begins with, read from the files that its source loads."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from signs_lightning.errors import InputError, did_you_mean
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.graph_parser import read_graph
from signs_lightning.keras_io.keras_file import KerasFile, open_keras_file
from signs_lightning.keras_io.layer_context import WeightSpec
from signs_lightning.keras_io.model_graph import LayerPath
from signs_lightning.keras_io.weight_mapping import Matches, match_weights
from signs_lightning.source.write_source import weights_metadata
from signs_lightning.translate import tensor_shapes
from signs_lightning.translate.pretrained import (
    FACT,
    NONE,
    Pretrained,
    answers,
    fact_names,
    initial,
    is_weights_fact,
    layer_paths,
)

SEED = 0  # of the layers that no file has
MADE_WITH = ("config", "compile_config", "scale", "image_size")
TRANSLATED = "is_translated"  # in the metadata of files of weights that are written here


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights is to hold: tensors by their names, and plain values."""

    state: dict[str, Tensor]
    metadata: dict[str, Any]


def check_facts(record: Any, facts: dict[str, Any]) -> None:
    """Check that every file of weights that was told is one that the source loads.

    Raises:
        InputError: it is not, so that nothing would load it.
    """
    files = initial(record)
    names = list(fact_names(files).values())
    known = [FACT, *names] if len(files) == 1 else names
    for name, value in facts.items():
        if not is_weights_fact(name) or name in known or (name == FACT and value == NONE):
            continue
        if not files:
            raise InputError(
                f"--fact {name}={value} is of no use: the model gets no weights of a file before "
                "its first training. Leave it out."
            )
        several = f", which would be one file for {len(files)} models" if name == FACT else ""
        raise InputError(
            f"--fact is '{name}={value}'{several}; expected one of: {', '.join(known)}."
            f"{did_you_mean(name, known)}"
        )


def _load_files(model: FromKeras, record: Any, facts: dict[str, Any]) -> list[str]:
    """Load the files that a model begins with into it.

    Args:
        model: as its first training begins, newly initialized.
        record: the model in the source.
        facts: what was told of the files.

    Returns:
        What is to be said of each.

    Raises:
        InputError: a file cannot be read, or does not fit the part of the model that it is for.
    """
    places: dict[int, LayerPath] = {id(layer): path for path, layer in layer_paths(record).items()}
    said, loaded = [], set()
    files = initial(record)
    for given, value in answers(files, facts).items():
        if value == NONE:
            continue
        with open_keras_file(value) as file:
            count = 0
            for layer, weight, stored in _matches(given, file):
                path = places.get(id(given.paths[layer.path]))
                if path is not None and path in model.plan.weights:
                    model.network.load_keras(path, weight, stored.read())
                    loaded.add(path)
                    count += 1
        said.append(f"{given.place}: weights of {given.what}: {count} arrays of {value}")
    left = [
        str(layer) for layer, specs in model.plan.layers() if specs and layer.path not in loaded
    ]
    if said and left:
        shown = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        said.append(f"random values, drawn once, in the layers that no file has: {shown}")
    return said


def initial_state(
    model: FromKeras, names: dict[str, str], record: Any, facts: dict[str, Any]
) -> tuple[WeightsFile | None, list[str]]:
    """Return the weights that a model begins with, and what is to be said of them.

    Args:
        model: as its first training begins, which may be without values in its weights.
        names: of its parameters and buffers in the file that is written.
        record: the model in the source.
        facts: what was told of the files.

    Returns:
        None for a model that starts untrained.
    """
    told = answers(initial(record), facts)
    said = [
        f"{given.place}: weights of {given.what}: none, as --fact tells; it starts untrained"
        for given, value in told.items()
        if value == NONE
    ]
    if all(value == NONE for value in told.values()):
        return None, said
    arguments = {key: model.hparams[key] for key in MADE_WITH}
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(SEED)
        filled = FromKeras(**arguments)
    said += _load_files(filled, record, facts)
    state = {names[name]: value for name, value in filled.state_dict().items() if name in names}
    return WeightsFile(state, {TRANSLATED: True, **weights_metadata(filled), "names": names}), said


def _matches(given: Pretrained, file: KerasFile) -> Matches:
    """Return the arrays of a file with the layers of the model that the source loads them into."""
    name = f"the model '{given.name}' of {given.place}"
    if given.config is None:
        raise InputError(f"{name} is not known where it gets the weights of {file.path.name}.")
    graph = read_graph(given.config)
    weights: dict[LayerPath, list[WeightSpec]] = {}
    for path, layer in given.paths.items():
        weights[path] = [spec for spec, _ in tensor_shapes.layer_weights(layer)]
    plan: Any = SimpleNamespace(
        whole=None, graph=graph, layers=lambda: [(x, weights[p]) for p, x in graph.layers.items()]
    )
    try:
        if given.by_name or given.skips:
            return _some_matches(plan, replace(file, architecture=name), given)
        return match_weights(plan, replace(file, architecture=name))
    except InputError as error:
        raise InputError(f"{error} It is named for {given.what}, {given.place}.") from error


def _some_matches(plan: Any, file: KerasFile, given: Pretrained) -> Matches:
    """Do so with `by_name=True` or `skip_mismatch=True`, of a legacy file.

    Raises:
        InputError: the file is no such file, or the layers that are meant are not known.
    """
    if file.kind != "h5":
        raise InputError(
            f"{file.path.name} is no legacy .h5 file, which by_name= and skip_mismatch= are for."
        )
    stored = {name for name, arrays in file.legacy_layers().items() if arrays}
    tops = {layer.path[0] for layer, specs in plan.layers() if specs}
    if not given.by_name and stored != tops:
        raise InputError(
            f"The layers of {file.path.name} have other names than those of "
            f"{file.architecture}, so that skip_mismatch= does not tell which is which."
        )
    matches: Matches = []
    for top in sorted(tops & stored):
        layers = [pair for pair in plan.layers() if pair[0].path[0] == top]
        part: Any = SimpleNamespace(whole=None, graph=plan.graph, layers=lambda own=layers: own)
        matches += match_weights(part, replace(file, architecture=None), given.skips)
    return matches
