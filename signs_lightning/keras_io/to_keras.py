"""Writes a model for Keras as the original: layers, input range, softmax."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch

from signs_lightning.errors import InputError
from signs_lightning.keras_io.export_course_configs import course_config
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.graph_parser import read_graph
from signs_lightning.keras_io.input_scales import rescale_inputs
from signs_lightning.keras_io.keras_archive import WEIGHTS
from signs_lightning.keras_io.keras_check import Inputs, KerasCheck, check_with_keras
from signs_lightning.keras_io.layer_context import WeightSpec
from signs_lightning.keras_io.model_graph import Layer, LayerPath
from signs_lightning.keras_io.network_plan import Plan, make_plan
from signs_lightning.keras_io.task_export import unit_of_outputs, with_own_units
from signs_lightning.keras_io.to_keras3_config import Keras3Config
from signs_lightning.keras_io.to_keras_training import KerasTraining, describe_training
from signs_lightning.keras_io.weight_mapping import stored_order
from signs_lightning.keras_io.weights_only import PERMUTATIONS, RANKS, keras_order, keras_tensors
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.stored_images import standardizes
from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.rank_zero_print import rank_zero_print

Format = Literal["keras", "keras-weights", "keras-h5"]
ENDINGS = {"keras": ".keras", "keras-weights": ".weights.h5", "keras-h5": ".h5"}
KERAS_VERSION = "3.6.0"  # the oldest that reads what is written here
MAX_LISTED = 5  # parts of the model that a message names
Weights = list[tuple[Layer, list[WeightSpec], list[np.ndarray]]]  # of each layer


def export_keras(
    model: ImageClassifier,
    path: str | Path,
    format: Format = "keras",
    check: bool = True,
    checkpoint: Mapping[str, Any] | None = None,
) -> KerasCheck | None:
    """Write a model for Keras 3; the file appears whole or not at all.

    Where Keras 3 is installed, it loads the file first, in a process of its own, and the file
    appears only if it gives the same probabilities within 1e-5.

    Args:
        model: one of our three architectures, or a `FromKeras`, which gets its original layers and
            input range.
        path: the file. Keras wants `.keras` for "keras", `.weights.h5` for "keras-weights" and
            `.h5` for "keras-h5".
        format: "keras" is the model (`keras.models.load_model`), "keras-h5" the same in the older
            format, "keras-weights" its weights (`model.load_weights`).
        check: whether Keras is asked, if it is installed.
        checkpoint: the contents of the one that the model was loaded from, so that a training goes
            on in Keras: "keras" then has how it is compiled and its optimizer's state, "keras-h5"
            how it is compiled.

    Returns:
        What came of the comparison; None where Keras was not asked.

    Raises:
        InputError: the model has no counterpart in Keras 3; Keras refuses the file, or gives other
            probabilities; the file has another ending, or cannot be written.

    Examples:
        >>> from pathlib import Path
        >>> from signs_lightning import HappySequential, export_keras
        >>> export_keras(HappySequential(), "happy.h5", format="keras-h5", check=False)
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
    if standardizes(model.hparams.get("scale")):
        raise InputError(
            "The model standardizes its images (scale), and a Keras file has the network alone. "
            "Use --format onnx or torch, whose files do so."
        )
    standardised, model = model, with_own_units(model)
    if isinstance(model, FromKeras):
        config, plan = json.loads(model.hparams["config"]), model.plan
    else:
        config = course_config(model)
        plan = make_plan(config, image_size=model.image_size)
    translated = Keras3Config(config, plan.graph, _ranks(plan))
    if changes := translated.notes.lines():
        more = " …" if len(changes) > MAX_LISTED else ""
        line = f"written for Keras 3: {'; '.join(changes[:MAX_LISTED])}{more}."
        rank_zero_print(printable(line))
    weights = _weights(model, plan, translated)
    if format == "keras-h5":
        _check_legacy(weights)
    training = None
    if checkpoint is not None and format != "keras-weights":
        training = describe_training(
            standardised,
            checkpoint,
            lambda model: _weights(model, plan, translated),
            format == "keras",
        )
    with atomic_write(path) as temporary:
        _write(temporary, format, translated.entry, weights, training)
        if not check:
            return None
        inputs, logits = _draw_example(model, plan)
        unit = unit_of_outputs(model, logits)

        def to_probabilities(logits: np.ndarray) -> np.ndarray:
            values = model.probabilities(torch.tensor(logits)).numpy() / unit
            return values[:, 1:] if model.binary else values

        return check_with_keras(
            temporary,
            json.dumps(translated.entry) if format == "keras-weights" else None,
            inputs,
            to_probabilities(logits),
            to_probabilities if plan.ending.kind == "logits" else np.asarray,
            None if training is None else (training.layers, training.variables, format == "keras"),
        )


def _check_legacy(weights: Weights) -> None:
    """Check that Keras 3 takes the statistics of every Normalization from the older format.

    It applies those of the layers at the top alone (`finalize_state`).
    """
    for layer, specs, _ in weights:
        if layer.class_name == "Normalization" and specs and len(layer.path) > 1:
            raise InputError(
                f"{layer} is adapted to data and inside of another model, where Keras 3 leaves its "
                "statistics out as it reads keras-h5. Choose the format keras."
            )


def _write(
    path: Path,
    format: Format,
    config: dict[str, Any],
    weights: Weights,
    training: KerasTraining | None,
) -> None:
    if format == "keras":
        _write_archive(path, config, weights, training)
        return
    # No other process has the file open, and some disks have no locks.
    with h5py.File(path, "w", locking=False) as file:
        if format == "keras-weights":
            _write_variables(file, weights)
            return
        _write_legacy(file, weights)
        file.attrs["model_config"] = json.dumps(config)
        if training is not None:
            file.attrs["training_config"] = json.dumps(training.legacy_config())
        file.attrs["keras_version"], file.attrs["backend"] = KERAS_VERSION, "torch"


@torch.inference_mode()
def _draw_example(model: ImageClassifier, plan: Plan) -> tuple[Inputs, np.ndarray]:
    """Return two images as Keras takes them, and their logits."""
    height, width, channels = model.image_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, channels, height, width), generator=generator) / 255
    others = [torch.rand(2, *o.shape, generator=generator) for o in plan.graph.other_inputs]
    if isinstance(model, FromKeras):
        scale = model.hparams["scale"]
        images = rescale_inputs(images, scale)
        images = images.round() if scale == "raw" else images  # the model may take bytes
    was_training = model.training
    weight = next(model.network.parameters(), images)
    also = {"others": [value.to(weight) for value in others]} if others else {}
    logits = model.eval().network(images.to(weight), **also)
    model.train(was_training)
    arranged = plan.graph.arrange(images)
    if arranged.dim() == 4 and not plan.graph.channels_first:
        arranged = arranged.permute(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
    inputs: Inputs = arranged.numpy()
    if others:
        named = zip(plan.graph.input_names, [arranged, *others], strict=True)
        inputs = {name.replace("/", "_"): value.numpy() for name, value in named}
    return inputs, logits.cpu().numpy()


def _ranks(plan: Plan) -> dict[LayerPath, int]:
    """Return the number of axes, the batch among them, of what each `x[..., 0]` takes."""
    return {
        path: len(contexts[0].shapes[0] or ()) + 1
        for path, contexts in plan.contexts.items()
        if contexts[0].class_name == "GetItem"
    }


def _weights(model: ImageClassifier, plan: Plan, translated: Keras3Config) -> Weights:
    """Return the weights of each layer of the translated model, in its order."""
    layers = read_graph(translated.entry).layers
    kept = [layer for path, layer in layers.items() if path not in translated.added]
    arrays = _keras_arrays(model, plan)
    return [
        (written, specs, arrays[layer.path])
        for written, (layer, specs) in zip(kept, plan.layers(), strict=True)
    ]


def _keras_arrays(model: ImageClassifier, plan: Plan) -> dict[LayerPath, list[np.ndarray]]:
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


def _write_archive(
    path: Path, config: dict[str, Any], weights: Weights, training: KerasTraining | None
) -> None:
    if training is not None:
        config = config | {"compile_config": training.config}
    date = datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    with zipfile.ZipFile(path, "w") as archive:
        metadata = {"keras_version": KERAS_VERSION, "date_saved": date}
        archive.writestr("metadata.json", json.dumps(metadata))
        archive.writestr("config.json", json.dumps(config))
        # HDF5 seeks, which it can in a file on disk and not in a zip entry.
        with tempfile.TemporaryFile() as stored:
            with h5py.File(stored, "w") as file:
                _write_variables(file, weights)
                for k, values in enumerate([] if training is None else training.variables):
                    file[f"optimizer/vars/{k}"] = values
            stored.seek(0)
            with archive.open(WEIGHTS, "w", force_zip64=True) as entry:
                shutil.copyfileobj(stored, entry)


def _write_variables(file: h5py.File, weights: Weights) -> None:
    """Write a `.weights.h5`: layers/conv2d_1/vars/0, numbered by class."""
    for layer, specs, arrays in weights:
        if layer.weights_path.endswith("/") or not layer.weights_path:  # of `x + 1`, no layer
            continue
        for part in dict.fromkeys(["", *(group for spec in specs for group in spec.groups)]):
            path = f"{layer.weights_path}/{part}".rstrip("/")
            group = file.require_group(f"{path}/vars")
            group.attrs["name"] = part or layer.path[-1]
            held = zip(specs, arrays, strict=True)
            held_here = [values for spec, values in held if part in spec.groups]
            for k, values in enumerate(held_here):
                group.create_dataset(str(k), data=values)
    file.require_group("vars")


def _write_legacy(file: h5py.File, weights: Weights) -> None:
    """Write a group for each layer or model at the top, with all its weights."""
    root = file.create_group("model_weights")
    by_key = {
        (layer.path, spec.keras): values
        for layer, specs, arrays in weights
        for spec, values in zip(specs, arrays, strict=True)
    }
    tops = list(dict.fromkeys(layer.path[0] for layer, _, _ in weights))
    root.attrs["layer_names"] = [name.encode() for name in tops]
    root.attrs["keras_version"], root.attrs["backend"] = KERAS_VERSION, "torch"
    for top in tops:
        group = root.create_group(top)
        inside = [(layer, spec) for layer, specs, _ in weights for spec in specs]
        order = stored_order([item for item in inside if item[0].path[0] == top])
        names = [f"{'/'.join(layer.path)}/{spec.keras}" for layer, spec in order]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name, (layer, spec) in zip(names, order, strict=True):
            group.create_dataset(name, data=by_key[layer.path, spec.keras])
    root.create_group("top_level_model_weights").attrs["weight_names"] = []
