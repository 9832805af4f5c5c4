"""Writes a model for Keras as the original: layers, input range, softmax."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.keras_io.export_course_configs import course_config
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.graph_parser import read_graph
from signs_lightning.keras_io.keras3_config_checks import check_keras3_config
from signs_lightning.keras_io.keras_archive import WEIGHTS
from signs_lightning.keras_io.model_graph import LayerPath
from signs_lightning.keras_io.network_plan import Plan, make_plan
from signs_lightning.keras_io.to_keras3_config import keras3_config, rename_classes
from signs_lightning.keras_io.weight_mapping import stored_order
from signs_lightning.keras_io.weights_only import PERMUTATIONS, RANKS, keras_order, keras_tensors
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.atomic_write import atomic_write

Format = Literal["keras", "keras-weights", "keras-h5"]
ENDINGS = {"keras": ".keras", "keras-weights": ".weights.h5", "keras-h5": ".h5"}
KERAS_VERSION = "3.6.0"  # the oldest that reads what is written here
Arrays = dict[LayerPath, list[np.ndarray]]


def export_keras(model: ImageClassifier, path: str | Path, format: Format = "keras") -> None:
    """Write a model for Keras 3; the file appears whole or not at all.

    Args:
        model: one of our three architectures, or a `FromKeras`, which gets its original layers and
            input range.
        path: the file. Keras wants `.keras` for "keras", `.weights.h5` for "keras-weights" and
            `.h5` for "keras-h5".
        format: "keras" is the model (`keras.models.load_model`), "keras-h5" the same in the older
            format, "keras-weights" its weights (`model.load_weights`).

    Raises:
        InputError: the model has no counterpart in Keras, or came from Keras 2 with what Keras 3
            does not read; the file has another ending, or cannot be written.

    Examples:
        >>> from pathlib import Path
        >>> from signs_lightning import HappySequential, export_keras
        >>> export_keras(HappySequential(), "happy.h5", format="keras-h5")
        >>> Path("happy.h5").is_file()
        True
    """
    path = Path(path)
    if format not in ENDINGS:
        raise InputError(f"format is '{format}', expected one of {', '.join(ENDINGS)}.")
    if not path.name.endswith(ENDINGS[format]):
        raise InputError(
            f"Keras reads '{format}' from a file that ends in {ENDINGS[format]}, {path.name} does "
            "not. Rename it."
        )
    is_from_keras = isinstance(model, FromKeras)
    config = json.loads(model.hparams["config"]) if is_from_keras else course_config(model)
    keras = next(iter(read_graph(config).layers.values())).keras
    if format != "keras-weights":
        check_keras3_config(config, keras, wrapped=format == "keras")
    config = rename_classes(config)
    plan = make_plan(config, image_size=model.image_size)
    arrays = _keras_arrays(model, plan)
    with atomic_write(path) as temporary:
        if format == "keras":
            _write_archive(temporary, keras3_config(config, keras, wrapped=True), plan, arrays)
            return
        # No other process has the file open, and some disks have no locks.
        with h5py.File(temporary, "w", locking=False) as file:
            if format == "keras-weights":
                _write_variables(file, plan, arrays)
                return
            _write_legacy(file, plan, arrays)
            file.attrs["model_config"] = json.dumps(keras3_config(config, keras, wrapped=False))
            file.attrs["keras_version"], file.attrs["backend"] = KERAS_VERSION, "torch"


def _keras_arrays(model: ImageClassifier, plan: Plan) -> Arrays:
    """Return the weights of each layer; those of our architectures by kind and order."""
    if isinstance(model, FromKeras):
        return dict(model.network.keras_weights())
    arrays: dict[str, list[list[np.ndarray]]] = {kind: [] for kind in RANKS.values()}
    for module in keras_order(model.network):
        tensors = [tensor.detach().cpu().numpy() for tensor in keras_tensors(module)]
        permuted = [values.transpose(np.argsort(PERMUTATIONS[values.ndim])) for values in tensors]
        arrays[RANKS[tensors[0].ndim]].append(permuted)
    return {
        layer.path: arrays[RANKS[len(weights[0].shape)]].pop(0) if weights else []
        for layer, weights in plan.layers()
    }


def _write_archive(path: Path, config: dict[str, Any], plan: Plan, arrays: Arrays) -> None:
    date = datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    with zipfile.ZipFile(path, "w") as archive:
        metadata = {"keras_version": KERAS_VERSION, "date_saved": date}
        archive.writestr("metadata.json", json.dumps(metadata))
        archive.writestr("config.json", json.dumps(config))
        # HDF5 seeks, which it can in a file on disk and not in a zip entry.
        with tempfile.TemporaryFile() as weights:
            with h5py.File(weights, "w") as file:
                _write_variables(file, plan, arrays)
            weights.seek(0)
            with archive.open(WEIGHTS, "w", force_zip64=True) as entry:
                shutil.copyfileobj(weights, entry)


def _write_variables(file: h5py.File, plan: Plan, arrays: Arrays) -> None:
    """Write a `.weights.h5`: layers/conv2d_1/vars/0, numbered by class."""
    for layer, weights in plan.layers():
        if layer.weights_path.endswith("/") or not layer.weights_path:  # of `x + 1`, no layer
            continue
        for part in dict.fromkeys(["", *(group for weight in weights for group in weight.groups)]):
            path = f"{layer.weights_path}/{part}".rstrip("/")
            group = file.require_group(f"{path}/vars")
            group.attrs["name"] = part or layer.path[-1]
            held = zip(weights, arrays[layer.path], strict=True)
            held_here = [values for weight, values in held if part in weight.groups]
            for k, values in enumerate(held_here):
                group.create_dataset(str(k), data=values)
    file.require_group("vars")


def _write_legacy(file: h5py.File, plan: Plan, arrays: Arrays) -> None:
    """Write a group for each layer or model at the top, with all its weights."""
    root = file.create_group("model_weights")
    specs = [(layer, weight) for layer, weights in plan.layers() for weight in weights]
    keys = [(layer.path, weight.keras) for layer, weight in specs]
    in_order = [values for layer, _ in plan.layers() for values in arrays[layer.path]]
    by_key = dict(zip(keys, in_order, strict=True))
    tops = list(dict.fromkeys(layer.path[0] for layer, _ in plan.layers()))
    root.attrs["layer_names"] = [name.encode() for name in tops]
    root.attrs["keras_version"], root.attrs["backend"] = KERAS_VERSION, "torch"
    for top in tops:
        group = root.create_group(top)
        order = stored_order([spec for spec in specs if spec[0].path[0] == top])
        names = [f"{'/'.join(layer.path)}/{weight.keras}" for layer, weight in order]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name, (layer, weight) in zip(names, order, strict=True):
            group.create_dataset(name, data=by_key[layer.path, weight.keras])
    root.create_group("top_level_model_weights").attrs["weight_names"] = []
