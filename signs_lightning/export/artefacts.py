"""A trained model as one ONNX or torch.export file."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import re
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.torch_version import TorchVersion

import signs_lightning
from signs_lightning.errors import InputError
from signs_lightning.export.compared_images import torch_dtype
from signs_lightning.export.onnx_checks import (
    FORMAT_VERSION,
    MAX_FILE,
    TASK_FORMAT_VERSION,
    UNBOUNDED,
    import_onnx,
)
from signs_lightning.export.onnx_classifier import OnnxClassifier
from signs_lightning.export.output_check import check_outputs, unit_of
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.ready_network import describe_network
from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.value_ranges import RunValues, range_text

MIN_TORCH = "2.7"  # the first whose ONNX exporter takes our networks
OPSET = 18  # of December 2022: written by torch.onnx without converting, read by every runtime
ENDINGS: dict[Literal["onnx", "torch"], str] = {"onnx": ".onnx", "torch": ".pt2"}


class ServingModule(nn.Module):
    """A classifier from bytes to probabilities: scaling, network, softmax.

    Shape:
        images (N, H, W, C) in the numbers that the model was trained on, and any other
        inputs float32 (N, …) → float32 probabilities (N, K)
    """

    def __init__(self, model: ImageClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, *others: Tensor) -> Tensor:
        images = self.model.preprocess(images)
        return self.model.probabilities(self.model.averaged_logits(images, *others))


def check_onnx_packages() -> None:
    """Check that ONNX files can be written here.

    Raises:
        InputError: a package is missing, or PyTorch is too old.
    """
    import_onnx("onnx", "onnxscript", "onnxruntime")
    if TorchVersion(torch.__version__) < MIN_TORCH:
        raise InputError(
            f"ONNX files are written with PyTorch {MIN_TORCH} or newer, and {torch.__version__} is "
            "installed. Install it with `pip install 'signs-lightning[onnx]'`, or use --format "
            "torch."
        )


def export_artefact(
    model: ImageClassifier, path: Path, format: Literal["onnx", "torch"], images: Tensor
) -> float:
    """Write a model as an ONNX file, or as one that `torch.export.load` reads.

    The file is written completely or not at all, and only if it gives the model's probabilities.

    The file takes (N, H, W, C) images of the model's size, N from 1 on, as `images`: uint8 in
    0..255, or the numbers that the model was trained on, as value_range says then. It gives float32
    (N, K) `probabilities`. It carries format_version, model, image_size, binary, resize and, where
    the model has some, fit and class_names: as JSON in ONNX's metadata_props, or in `metadata.json`
    among the extra files of torch.export. Nothing of this package is needed to run it. Inputs
    beside the image are float32 (N, …), and all inputs have
    Keras's names then.

    Args:
        model: any classifier; it is not changed.
        path: the file; one that is there is replaced.
        format: which kind.
        images: (n, H, W, C) of the model's size and numbers, at least 2, that the file is compared
            with the model on.

    Returns:
        The largest difference between a probability of the model and of the file, over a batch of
        one image and larger ones.

    Raises:
        InputError: the network has what the format does not know, is too large for it, gives other
            probabilities there, or the file cannot be written.
    """
    inputs = _all_inputs(model, images)
    expected = model.predict(inputs if len(inputs) > 1 else images, stored=True)
    if format == "onnx":
        check_onnx_packages()
        if sum(tensor.nbytes for tensor in model.network.state_dict().values()) > 0.95 * MAX_FILE:
            raise InputError(
                "The model has more than 2 GB of weights, which no single ONNX file holds. Use "
                "--format torch."
            )
    program = _export_program(model)
    with atomic_write(path) as temporary:
        if format == "onnx":
            temporary.write_bytes(_onnx_bytes(program, model))
            try:
                written = OnnxClassifier(temporary)
            except InputError as error:
                if UNBOUNDED not in str(error):
                    raise
                raise InputError(
                    f"{describe_network(model)} has operators whose sizes an ONNX file would have "
                    "to compute. Use --format torch."
                ) from error
            return check_outputs(
                path,
                lambda part: written.predict(part if len(part) > 1 else next(iter(part.values()))),
                inputs,
                expected,
                unit_of(model),
            )
        module = program.module()
        with torch.inference_mode():
            difference = check_outputs(
                path, lambda part: module(*part.values()), inputs, expected, unit_of(model)
            )
        metadata = {"metadata.json": json.dumps(_metadata(model), indent=2)}
        with temporary.open("wb") as file:
            torch.export.save(program, file, extra_files=metadata)
        return difference


def _export_program(model: ImageClassifier) -> ExportedProgram:
    """Return the graph of `ServingModule`, without places in our code."""
    module = ServingModule(copy.deepcopy(model).cpu().eval().requires_grad_(False))
    # Weights in channels_last would be copied for each file.
    module.to(memory_format=torch.contiguous_format)
    example = torch.zeros(2, *model.image_size, dtype=torch_dtype(model))
    others = [torch.zeros(2, *shape) for shape in model.other_inputs.values()]
    batch = {0: Dim("N", min=1)}
    shapes: Any = (batch, tuple(batch for _ in others)) if others else (batch,)
    arguments = (example, *others)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # where PyTorch cannot follow a graph, it shows all of it
    try:
        hidden = io.StringIO()
        with contextlib.redirect_stdout(hidden), contextlib.redirect_stderr(hidden):
            program = torch.export.export(module, arguments, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # of PyTorch, about the network: it has predicted already
        reason = shorten(str(error).strip().partition("\n")[0], 200).rstrip(".")
        raise InputError(
            f"{describe_network(model)} cannot be exported: {reason or type(error).__name__}. Its "
            "forward may not decide by the values or the number of images."
        ) from error
    finally:
        logging.disable(before)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _metadata(model: ImageClassifier) -> dict[str, Any]:
    names, (resize, fit) = model.hparams.get("class_names"), model.resizing
    values = model.run_values or RunValues()
    task = model.task_rules.name
    of_task = {} if task is None else model.task_rules.remembered(model)
    return {
        "format_version": FORMAT_VERSION if task is None else TASK_FORMAT_VERSION,
        "model": type(model).__name__,
        "image_size": list(model.image_size),
        "binary": model.binary,
        **({"independent": True} if model.independent else {}),
        **({} if task is None else {"task": task, **of_task}),
        "resize": resize,
        **({"fit": fit} if fit else {}),
        **({} if values.are_bytes else {"value_range": list(values.numbers)}),
        **({"class_names": list(names)} if names else {}),
    }


def _onnx_bytes(program: ExportedProgram, model: ImageClassifier) -> bytes:
    """Return the ONNX file of a graph, with our metadata; the graph may change."""
    aten = torch.ops.aten
    for node in program.graph.nodes:
        if node.target is aten.adaptive_avg_pool2d.default and list(node.args[1]) == [1, 1]:
            # The exporter would gather the same mean by indices that the file has to compute.
            node.target, node.args = aten.mean.dim, (node.args[0], [-2, -1], True)
    inputs = [model.image_input, *model.other_inputs] if model.other_inputs else ["images"]
    names: Any = {"input_names": inputs, "output_names": ["probabilities"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own code
        try:
            exported: Any = torch.onnx.export(
                program, **names, opset_version=OPSET, dynamo=True, optimize=True, verbose=False
            )
        except torch.onnx.OnnxExporterError as error:
            operators = sorted(set(re.findall(r"aten\.\w+", str(error))))
            unknown = ", ".join(operators) or str(error).partition("\n")[0]
            raise InputError(
                f"The network has what ONNX has no counterpart for ({unknown}). Use --format torch."
            ) from error
    file = exported.model_proto
    height, width, channels = model.image_size
    file.producer_name, file.producer_version = "signs_lightning", signs_lightning.__version__
    stored = model.run_values or RunValues()
    file.doc_string = (
        f"{type(model).__name__}: {inputs[0]} {stored.dtype} (N, {height}, {width}, {channels}) in "
        f"{range_text(stored.numbers)} → "
        f"probabilities float32 (N, {model.num_classes})"
    )
    for key, value in _metadata(model).items():
        entry = file.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    graph = file.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    for part in (*graph.node, *values, *graph.initializer, graph):
        del part.metadata_props[:]  # places in our code
    for value in values:
        sizes = value.type.tensor_type.shape.dim
        if sizes and sizes[0].dim_param:
            sizes[0].dim_param = "N"  # the exporter calls it s34 or the like
    return file.SerializeToString()


def _all_inputs(model: ImageClassifier, images: Tensor) -> dict[str, Tensor]:
    """Return images and random values for the inputs beside them, by the inputs' names."""
    generator = torch.Generator().manual_seed(0)
    return {model.image_input: images} | {
        name: torch.rand(len(images), *shape, generator=generator)
        for name, shape in model.other_inputs.items()
    }
