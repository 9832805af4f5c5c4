"""Files that hold a model, described without running anything: Keras files, checkpoints, ONNX; and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signs_lightning.errors import InputError
from signs_lightning.inspect.file_report import MAX_ROWS, VERB, FileReport, TextTable, quoted
from signs_lightning.runtime.os_errors import os_error_message

if TYPE_CHECKING:
    from signs_lightning.keras_io.keras_file import KerasFile

COLUMNS = ("layer", "type", "output shape>", "parameters>")
ANY_SIZE = 224  # pixels for which a model of images of any size is listed


def describe_keras_file(path: Path, report: FileReport) -> None:
    """A Keras file: its layers where it has a config, else its arrays, and whether `import-keras` takes it."""
    from signs_lightning.keras_io.keras_file import open_keras_file

    kinds = {
        "h5": "Keras model (.h5)",
        "keras": "Keras 3 model (.keras)",
        "weights.h5": "Keras 3 weights",
    }
    report.what = "Keras file"
    with open_keras_file(path) as file:
        report.what = (
            kinds[file.kind]
            if file.config is not None or file.kind != "h5"
            else "Keras weights (.h5)"
        )
        report.facts.append(("Keras", file.keras_version or "the file does not say"))
        command = f"{VERB} import-keras {quoted(path)} --output model.ckpt"
        report.commands.append(
            command + (_layers(file, report) if file.config is not None else _arrays(file, report))
        )
    if report.problem:
        report.commands.clear()


def _layers(file: KerasFile, report: FileReport) -> str:
    """Lists the layers of the file's config; returns what `import-keras` needs besides the file."""
    from signs_lightning.keras_io.graph_parser import read_graph
    from signs_lightning.keras_io.scaling import file_weights, find_scale, resolve_scale
    from signs_lightning.keras_io.shape_inference import make_plan
    from signs_lightning.keras_io.weight_mapping import match_weights

    assert file.config is not None  # for the type checker
    graph = read_graph(file.config, file.keras_version)
    height, width, channels = (
        graph.input_shape
        if not graph.channels_first
        else (*graph.input_shape[1:], graph.input_shape[0])
    )
    any_size = height is None or width is None
    size = (height or ANY_SIZE, width or ANY_SIZE, channels or 3)
    try:
        plan = make_plan(file.config, file.keras_version, size)
        finding = find_scale(plan, file_weights(match_weights(plan, file)))
    except InputError as error:  # the layers are worth seeing all the same
        report.problem = f"{file.path}: {error}"
        rows = [("/".join(layer.path), layer.class_name, "", "") for layer in graph.layers.values()]
        report.listings.append(_shown(COLUMNS, rows))
        return ""
    shapes = {step.path: "×".join(map(str, step.shape)) for step in reversed(plan.steps)}
    counts = {
        layer.path: sum(math.prod(weight.shape) for weight in weights)
        for layer, weights in plan.layers()
    }
    rows = [
        (
            "/".join(layer.path),
            layer.class_name,
            shapes.get(layer.path, ""),
            f"{counts[layer.path]:,}",
        )
        for layer, _ in plan.layers()
    ]
    pixels = (
        f"any size; listed for {size[0]}×{size[1]}" if any_size else f"{size[0]}×{size[1]} pixels"
    )
    report.facts += [
        (
            "images",
            f"{pixels}, "
            f"{'RGB' if size[2] == 3 else 'grey' if size[2] == 1 else f'{size[2]} channels'}",
        ),
        ("classes", f"{plan.num_classes}, {'one sigmoid' if plan.binary else 'softmax'}"),
        ("parameters", f"{sum(counts.values()):,}"),
    ]
    report.listings.append(_shown(COLUMNS, rows))
    ask = finding.scale is None and bool(finding.likely)
    line = f"not told, because {finding.because}" if ask else resolve_scale(finding, None)[1]
    report.facts.append(("scale", str(line).removeprefix("scale: ").rstrip(".")))
    return (f" --image_size {ANY_SIZE}" if any_size else "") + (
        f" --scale {finding.likely[0]}" if ask else ""
    )


def _arrays(file: KerasFile, report: FileReport) -> str:
    """Lists the arrays of a file without a config, and which architecture here they fit; returns the option that says so."""
    from signs_lightning.keras_io.architectures import ARCHITECTURES, load_into_architecture

    if file.kind == "h5":
        layers = file.legacy_layers()
    else:
        root = "layers" if file.children("layers") else "_layer_checkpoint_dependencies"
        layers = {name: file.variables(f"{root}/{name}")[1] for name in sorted(file.children(root))}
    stored = [(name, weight) for name, weights in layers.items() for weight in weights]
    rows = [
        (name, weight.name.rpartition("/")[2], "×".join(map(str, weight.shape)))
        for name, weight in stored
    ]
    report.facts.append(("parameters", f"{sum(math.prod(weight.shape) for _, weight in stored):,}"))
    report.listings.append(_shown(("layer", "array", "shape>"), rows))
    try:
        model = load_into_architecture(file)
    except InputError as error:
        report.problem = str(error)
        return ""
    name = next(name for name, kind in ARCHITECTURES.items() if type(model) is kind)
    report.facts.append(("fits", f"{type(model).__name__}, {model.num_classes} classes"))
    return f" --architecture {name}"


def _shown(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> TextTable:
    return TextTable(columns, rows[:MAX_ROWS], more=max(0, len(rows) - MAX_ROWS))


def describe_checkpoint(path: Path, report: FileReport) -> None:
    """A checkpoint of ours by what it remembers, any other PyTorch file by its tensors; nothing in it is run."""
    from signs_lightning.checkpoints.files import checkpoint_config, load_checkpoint

    report.what = "PyTorch file"
    try:
        content = load_checkpoint(path)
        config = checkpoint_config(content, path)
    except InputError:
        _tensors(path, report)
        raise
    report.what = "checkpoint"
    model = config["model"]
    arguments = model["init_args"]
    names, size = arguments.get("class_names"), arguments.get("image_size")
    if names:
        report.facts.append(("classes", f"{len(names)} ({', '.join(map(str, names))})"))
    elif arguments.get("num_classes"):
        report.facts.append(("classes", str(arguments["num_classes"])))
    if size:
        report.facts.append(("images", "×".join(map(str, size))))
    count = sum(tensor.numel() for tensor in content["state_dict"].values())
    report.facts.insert(0, ("model", str(model["class_path"])))
    report.facts.append(("parameters", f"{count:,} with moving averages and other state"))
    history, steps = content["signs_lightning"].get("history") or [], content.get("global_step", 0)
    epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    report.facts.append(("trained", f"{epochs}, {steps} steps" if steps else "elsewhere"))
    if history:
        report.facts.append(
            (
                "last epoch",
                "  ".join(f"{key} {_figure(value)}" for key, value in history[-1].items()),
            )
        )
    for key, value in (config.get("data") or {}).items():
        if value is not None:
            report.facts.append(
                (
                    f"data.{key}",
                    ", ".join(map(str, value)) if isinstance(value, list) else str(value),
                )
            )
    report.commands.append(f"{VERB} predict --ckpt_path {quoted(path)} --images PICTURE")
    if any(key in (config.get("data") or {}) for key in ("train_file", "test_file")):
        report.commands.append(f"{VERB} test --ckpt_path {quoted(path)}")
    else:
        report.commands.append(f"{VERB} test --ckpt_path {quoted(path)} --data.test_file FILE.h5")


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tensors(path: Path, report: FileReport) -> None:
    """The tensors of a PyTorch file that is none of ours, where it loads without running code."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # whatever it is: the refusal that follows says so
        return
    found = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = [
        (str(name), value) for name, value in found.items() if isinstance(value, torch.Tensor)
    ]
    rows = [
        (name, "×".join(map(str, value.shape)), str(value.dtype).removeprefix("torch."))
        for name, value in tensors
    ]
    if rows:
        report.what = "PyTorch weights"
        report.listings.append(_shown(("tensor", "shape>", "type"), rows))


def describe_onnx(path: Path, report: FileReport) -> None:
    """An ONNX model: what wrote it, what goes in and out, and the metadata that our export writes."""
    from signs_lightning.export.onnx_metadata import import_onnx, read_onnx_metadata

    report.what = "ONNX model"
    (onnx,) = import_onnx("onnx")
    try:
        model = onnx.load(
            str(path), load_external_data=False
        )  # names in the file may lead anywhere
    except Exception as error:  # protobuf's own DecodeError, whichever implementation is installed
        if refusal := os_error_message(error, path):
            raise refusal from error
        raise InputError(
            f"{path} is a damaged ONNX model, or something else ({error}). Export it again."
        ) from error
    opsets = ", ".join(
        f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import
    )
    report.facts.append(
        (
            "written by",
            f"{model.producer_name} {model.producer_version}".strip() or "the file does not say",
        )
    )
    report.facts.append(("operators", f"{len(model.graph.node)} nodes, opset {opsets or 'none'}"))
    for entry in model.metadata_props[:MAX_ROWS]:
        report.facts.append(
            (entry.key, entry.value if len(entry.value) < 400 else f"{entry.value[:400]} …")
        )
    weights = {tensor.name for tensor in model.graph.initializer}
    rows = [
        ("input", *_port(value, onnx)) for value in model.graph.input if value.name not in weights
    ]
    rows += [("output", *_port(value, onnx)) for value in model.graph.output]
    report.listings.append(_shown(("", "name", "type", "shape"), rows))
    read_onnx_metadata(path)  # refuses what is not of this project, or not sound
    report.commands.append(f"{VERB} predict --ckpt_path {quoted(path)} --images PICTURE")


def _port(value: Any, onnx: Any) -> tuple[str, str, str]:
    """Name, element type and shape of an input or output; an axis without a number has a name, such as N."""
    tensor = value.type.tensor_type
    axes = [
        axis.dim_param or (str(axis.dim_value) if axis.HasField("dim_value") else "?")
        for axis in tensor.shape.dim
    ]
    return value.name, onnx.TensorProto.DataType.Name(tensor.elem_type).lower(), "×".join(axes)


def describe_picture(path: Path, report: FileReport) -> bool:
    """Whether the file is a picture; describes it then."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(path) as image:
                image.verify()
                report.facts += [
                    ("format", f"{image.format}, {image.mode}"),
                    ("pixels", f"{image.width}×{image.height}"),
                ]
    except Exception:  # no picture, whatever Pillow has to say
        return False
    report.what = "picture"
    report.commands.append(f"{VERB} predict --ckpt_path RUN_FOLDER --images {quoted(path)}")
    return True
