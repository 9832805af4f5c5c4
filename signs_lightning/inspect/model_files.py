"""Checkpoints and ONNX models, described without running them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError, UnnamedModelError
from signs_lightning.inspect.file_report import MAX_ROWS, FileReport
from signs_lightning.runtime.display import predict_option
from signs_lightning.runtime.escaping import format_shape, quote_path
from signs_lightning.runtime.file_read_errors import os_error_message
from signs_lightning.runtime.terminal import format_figures


def describe_checkpoint(path: Path, report: FileReport) -> None:
    """Describe a checkpoint of this project, or another file's tensors.

    Raises:
        InputError: it is no checkpoint of this project.
    """
    from signs_lightning.checkpoints.files import (  # start-up time: brings torch
        checkpoint_config,
        load_checkpoint,
    )
    from signs_lightning.checkpoints.own_model import OwnModel  # start-up time

    report.what = "PyTorch file"
    try:
        content = load_checkpoint(path)
        config = checkpoint_config(content, path)
    except InputError:
        _list_tensors(path, report)
        raise
    report.what = "checkpoint"
    model, data = config["model"], config.get("data") or {}
    arguments = model["init_args"]
    report.facts.insert(0, ("model", str(model["class_path"])))
    task = arguments.get("task")
    outputs = {"multilabel": "labels", "regression": "targets"}.get(str(task), "classes")
    if task is not None:
        report.add_fact("task", task)
    if names := arguments.get("class_names"):
        report.add_fact(outputs, f"{len(names)} ({', '.join(map(str, names))})")
    elif arguments.get("num_classes"):
        report.add_fact(outputs, arguments["num_classes"])
    if size := arguments.get("image_size"):
        report.add_fact("images", format_shape(size))
    count = sum(tensor.numel() for tensor in content["state_dict"].values())
    report.add_fact("parameters", f"{count:,} with moving averages and other state")
    history, steps = content["signs_lightning"].get("history") or [], content.get("global_step", 0)
    epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    report.add_fact("trained", f"{epochs}, {steps} steps" if steps else "elsewhere")
    if history:
        row = {key: value for key, value in history[-1].items() if isinstance(value, float)}
        report.add_fact("last epoch", format_figures(row))
    for key, value in data.items():
        if value is not None:
            is_list = isinstance(value, list)
            report.add_fact(f"data.{key}", ", ".join(map(str, value)) if is_list else value)
    option = predict_option(size[2] if size else 3)
    try:
        OwnModel().require(model["class_path"], content["signs_lightning"].get("network"), path)
    except UnnamedModelError as error:
        option = f"{option} {error.options}"
    report.suggest(f"predict {quote_path(path)} {option}")
    has_file = "train_file" in data or "test_file" in data
    file_option = "" if has_file else " --data.test_file FILE.h5"
    own = option.partition(" --model")
    report.suggest(f"{_evaluating_verb(data)} {quote_path(path)}{file_option}{own[1]}{own[2]}")


def _evaluating_verb(data: Mapping[str, Any]) -> str:
    """Return `validate` for a run that has validation images and no test images, else `test`."""
    has_tests = data.get("test_file") or data.get("file") or not data.get("train_file")
    has_validation = data.get("val_file") or data.get("val_fraction")
    return "validate" if has_validation and not has_tests else "test"


def _list_tensors(path: Path, report: FileReport) -> None:
    """List the tensors of a PyTorch file that loads without running code."""
    import torch  # start-up time

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # the error that the caller raises says what it is
        return
    entries = content.get("state_dict", content) if isinstance(content, dict) else {}
    rows = [
        (str(name), format_shape(value.shape), str(value.dtype).removeprefix("torch."))
        for name, value in entries.items()
        if isinstance(value, torch.Tensor)
    ]
    if rows:
        report.what = "PyTorch weights"
        report.add_table(("tensor", "shape>", "type"), rows)


def describe_onnx(path: Path, report: FileReport) -> None:
    """Describe an ONNX model: its writer, inputs, outputs and metadata.

    Raises:
        InputError: it is damaged, or was not exported by this project.
    """
    # optional package, and start-up time
    from signs_lightning.export.onnx_checks import import_onnx, read_onnx_metadata

    report.what = "ONNX model"
    (onnx,) = import_onnx("onnx")
    try:
        # Names in the file may lead anywhere, so external data are not loaded.
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own DecodeError, whichever implementation is installed
        if translated := os_error_message(error, path):
            raise translated from error
        raise InputError(
            f"{path} is a damaged ONNX model, or something else ({error}). Export it again."
        ) from error
    opsets = ", ".join(
        f"{opset.domain or 'ai.onnx'} {opset.version}" for opset in model.opset_import
    )
    writer = f"{model.producer_name} {model.producer_version}".strip()
    report.add_fact("written by", writer or "the file does not say")
    report.add_fact("operators", f"{len(model.graph.node)} nodes, opset {opsets or 'none'}")
    for entry in model.metadata_props[:MAX_ROWS]:
        value = entry.value if len(entry.value) < 400 else f"{entry.value[:400]} …"
        report.add_fact(entry.key, value)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    rows = [("input", *_describe_port(value, onnx)) for value in inputs]
    rows += [("output", *_describe_port(value, onnx)) for value in model.graph.output]
    report.add_table(("", "name", "type", "shape"), rows)
    _, metadata = read_onnx_metadata(path)  # refuses foreign and damaged models
    report.suggest(f"predict {quote_path(path)} {predict_option(metadata.image_size[2])}")


def _describe_port(value: Any, onnx: Any) -> tuple[str, str, str]:
    """Return name, element type and shape; an axis may have a name, such as N."""
    tensor = value.type.tensor_type
    axes = [
        axis.dim_param or (axis.dim_value if axis.HasField("dim_value") else "?")
        for axis in tensor.shape.dim
    ]
    return value.name, onnx.TensorProto.DataType.Name(tensor.elem_type).lower(), format_shape(axes)
