"""A model of ours as a file that Keras loads: the original's layers, input range and softmax or sigmoid."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np

from signs_lightning.errors import InputError
from signs_lightning.keras_io.architectures import PERMUTATIONS, RANKS, keras_order, keras_tensors
from signs_lightning.keras_io.course_configs import course_config
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.graph_parser import read_graph
from signs_lightning.keras_io.keras3_config import (
    check_keras3_config,
    keras3_config,
    rename_classes,
)
from signs_lightning.keras_io.shape_inference import Path as LayerPath
from signs_lightning.keras_io.shape_inference import Plan, make_plan
from signs_lightning.keras_io.weight_mapping import stored_order
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.runtime.atomic_write import atomic_write

Format = Literal["keras", "keras-weights", "keras-h5"]
KERAS_VERSION = "3.6.0"  # the oldest that reads what is written here
Arrays = dict[LayerPath, list[np.ndarray]]


def export_keras(model: ImageClassifier, path: str | Path, format: Format = "keras") -> None:
    """Writes a model for Keras 3; the file appears whole or not at all.

    Args:
        model: one of our three architectures, or a `FromKeras`, whose original layers and input
            range come back.
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
    endings = dict(zip(get_args(Format), (".keras", ".weights.h5", ".h5"), strict=True))
    if format not in endings:
        raise InputError(f"format is '{format}', expected one of {', '.join(endings)}.")
    if not path.name.endswith(endings[format]):
        raise InputError(
            f"Keras reads '{format}' from a file that ends in {endings[format]}, {path.name} does "
            "not. Rename it."
        )
    config = (
        json.loads(model.hparams["config"])
        if isinstance(model, FromKeras)
        else course_config(model)
    )
    keras = next(iter(read_graph(config).layers.values())).keras
    if format != "keras-weights":
        check_keras3_config(config, keras, wrapped=format == "keras")
    config = rename_classes(config)
    plan = make_plan(config, image_size=model.image_size)
    arrays = (
        dict(model.network.keras_weights())
        if isinstance(model, FromKeras)
        else _architecture_weights(model, plan)
    )
    with atomic_write(path) as temporary:
        if format == "keras":
            _write_archive(temporary, keras3_config(config, keras, wrapped=True), plan, arrays)
            return
        with h5py.File(
            temporary, "w", locking=False
        ) as file:  # our own, maybe on a disk without locks
            (_write_variables if format == "keras-weights" else _write_legacy)(file, plan, arrays)
            if format == "keras-h5":
                file.attrs["model_config"] = json.dumps(keras3_config(config, keras, wrapped=False))
                file.attrs["keras_version"], file.attrs["backend"] = KERAS_VERSION, "torch"


def _architecture_weights(model: ImageClassifier, plan: Plan) -> Arrays:
    """Our layers have no names of Keras's: both sides list the layers of a kind in one order."""
    modules: dict[str, list[Any]] = {kind: [] for kind in RANKS.values()}
    for module in keras_order(model.network):
        tensors = [tensor.detach().cpu().numpy() for tensor in keras_tensors(module)]
        modules[RANKS[tensors[0].ndim]].append(
            [tensor.transpose(np.argsort(PERMUTATIONS[tensor.ndim])) for tensor in tensors]
        )
    return {
        layer.path: modules[RANKS[len(weights[0].shape)]].pop(0) if weights else []
        for layer, weights in plan.layers()
    }


def _write_archive(path: Path, config: dict[str, Any], plan: Plan, arrays: Arrays) -> None:
    metadata = {
        "keras_version": KERAS_VERSION,
        "date_saved": datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps(metadata))
        archive.writestr("config.json", json.dumps(config))
        with (
            tempfile.TemporaryFile() as weights
        ):  # on disk, for HDF5 jumps about and a zip entry cannot
            with h5py.File(weights, "w") as file:
                _write_variables(file, plan, arrays)
            weights.seek(0)
            with archive.open("model.weights.h5", "w", force_zip64=True) as entry:
                shutil.copyfileobj(weights, entry)


def _write_variables(file: h5py.File, plan: Plan, arrays: Arrays) -> None:
    """`.weights.h5`: layers/conv2d_1/vars/0, numbered by class."""
    for layer, weights in plan.layers():
        if (
            layer.weights_path.endswith("/") or not layer.weights_path
        ):  # `x + 1` is no layer to Keras 3
            continue
        group = file.require_group(f"{layer.weights_path}/vars")
        group.attrs["name"] = layer.path[-1]
        for k, values in enumerate(arrays[layer.path] if weights else []):
            group.create_dataset(str(k), data=values)
    file.require_group("vars")


def _write_legacy(file: h5py.File, plan: Plan, arrays: Arrays) -> None:
    """A group for each layer at the top, with all weights of a model that lies there."""
    root = file.create_group("model_weights")
    values = {
        (layer.path, weight.keras): array
        for layer, weights in plan.layers()
        for weight, array in zip(weights, arrays[layer.path], strict=True)
    }
    tops = list(dict.fromkeys(layer.path[0] for layer, _ in plan.layers()))
    root.attrs["layer_names"] = [name.encode() for name in tops]
    root.attrs["keras_version"], root.attrs["backend"] = KERAS_VERSION, "torch"
    for top in tops:
        group = root.create_group(top)
        wanted = stored_order(
            [
                (layer, w)
                for layer, weights in plan.layers()
                if layer.path[0] == top
                for w in weights
            ]
        )
        names = [f"{'/'.join(layer.path)}/{weight.keras}" for layer, weight in wanted]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name, (layer, weight) in zip(names, wanted, strict=True):
            group.create_dataset(name, data=values[layer.path, weight.keras])
    root.create_group("top_level_model_weights").attrs["weight_names"] = []
