"""The metadata of an ONNX file, checked before anything in it runs."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.file_read_errors import os_error_message
from signs_lightning.runtime.file_signatures import describe_non_hdf5, missing_file_message
from signs_lightning.runtime.resize_options import FITS, RESIZES, Fit, RememberedResize
from signs_lightning.runtime.value_ranges import RunValues, parse_range

WHOLE = ("uint8", "int8", "uint16", "int16", "int32", "int64")
NUMBERS = (*WHOLE, "float16", "float32", "float64")  # that images may have
FORMAT_VERSION = 1  # of inputs, outputs and metadata
TASK_FORMAT_VERSION = 2  # of a file with a task: no probabilities, as earlier releases think
MAX_FILE = 2 * 2**30  # bytes; no ONNX file can be larger without external data
UNBOUNDED = "holds an operator that is unknown, or values that are huge or of unknown size: refused"
MAX_VALUE = 2**28  # elements of a value inside the network for one image: 1 GiB of float32
OF_TASK = {  # what a task has besides → its name
    "thresholds": "multilabel", "target_mean": "regression", "target_scale": "regression",
}  # fmt: skip
DTYPES = {"FLOAT": "float32", "DOUBLE": "float64"}  # ONNX's names that are not NumPy's in capitals


@dataclass(frozen=True)
class OnnxMetadata:
    """What an exported ONNX file holds beside the network.

    Attributes:
        input_name: of the images.
        other_inputs: shape of one value of each input beside them, by its name.
        image_size: height, width (pixels) and channels of the images.
        num_classes: number of classes K.
        binary: whether the model had one logit and a sigmoid.
        class_names: the K names, None when the model had none.
        model_name: class of the model.
        resizing: how images of another size are resized; as the first files where it does not say.
        run_values: the numbers that it takes; "legacy" of bytes, to which floats are rounded.
        independent: whether each class has a probability of its own.
        task: "multilabel", "regression", or None for one class an image.
        of_task: what that task has besides: thresholds, or target_mean and target_scale.
    """

    input_name: str
    other_inputs: dict[str, tuple[int, ...]]
    image_size: tuple[int, int, int]
    num_classes: int
    binary: bool
    class_names: list[str] | None
    model_name: str
    resizing: tuple[RememberedResize, Fit | None]
    run_values: RunValues
    independent: bool = False
    task: str | None = None
    of_task: dict[str, list[float]] = dataclasses.field(default_factory=dict)


def import_onnx(*packages: str) -> list[Any]:
    """Import packages of the extra `onnx`.

    Raises:
        InputError: one of them is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reports its use otherwise
    try:
        return [importlib.import_module(package) for package in packages]
    except ImportError as error:
        raise InputError(
            f"ONNX files need the package {error.name}, which is not installed: "
            "pip install 'signs-lightning[onnx]'."
        ) from error


def onnx_error(
    path: Path, found: str, advice: str = "Name a file that `export --format onnx` wrote."
) -> InputError:
    """Return the error for a file that cannot be used."""
    return InputError(f"{path} {found}. {advice}")


def read_onnx_metadata(path: Path) -> tuple[bytes, OnnxMetadata]:
    """Read an ONNX file and check it before it runs.

    Files with weights in other files are rejected, and so are those with values of huge or unknown
    size, which could take any amount of memory.

    Returns:
        The file's bytes, and its metadata.

    Raises:
        InputError: the package onnx is not installed, or the file is missing, damaged, malicious or
            not ours.
    """
    (onnx,) = import_onnx("onnx")
    contents = _read(path)
    try:
        model = onnx.load_model_from_string(contents)
    except Exception as error:  # protobuf's DecodeError, whose module depends on the installation
        raise onnx_error(
            path, f"is not an ONNX file, or a truncated one ({len(contents):,} bytes)"
        ) from error
    if any(t.external_data or t.data_location == t.EXTERNAL for t in _tensors(model)):
        raise onnx_error(path, "keeps its weights in other files, which are not followed")
    weights = {tensor.name for tensor in model.graph.initializer}  # in old files, inputs as well
    inputs = [_interface(value) for value in model.graph.input if value.name not in weights]
    outputs = [_interface(value) for value in model.graph.output]
    if not inputs or len(outputs) != 1:
        raise onnx_error(
            path, f"has {len(inputs)} inputs and {len(outputs)} outputs, expected one of each"
        )
    (input_name, *image), (_, *result) = inputs[0], outputs[0]
    layout = "(N, height, width, channels)"
    texts = {entry.key: entry.value for entry in model.metadata_props}
    run_values = _run_values(path, texts.get("value_range"), str(image[0]))
    height, width, channels = _sizes(path, "takes", image, run_values.dtype, layout)
    (num_classes,) = _sizes(path, "gives", result, "float32", "(N, K)")
    others = {
        name: tuple(_sizes(path, f"takes as '{printable(name)}'", value, "float32", len(value[1])))
        for name, *value in inputs[1:]
    }
    image_size = (height, width, channels)
    metadata = _metadata(path, texts, (input_name, others), image_size, num_classes, run_values)
    if not _is_bounded(model, [name for name, *_ in inputs]):
        raise onnx_error(path, UNBOUNDED)
    return contents, metadata


def _read(path: Path) -> bytes:
    try:
        if not path.exists():
            raise InputError(missing_file_message(path))
        kind = describe_non_hdf5(path, "model")
        if kind is None:
            raise onnx_error(path, "is not an ONNX file but an HDF5 file")
        if not kind.startswith("something else"):  # a kind of file that is known
            raise InputError(f"{path} is not an ONNX file but {kind}")
        if (size := path.stat().st_size) >= MAX_FILE:
            raise onnx_error(path, f"has {size:,} bytes, more than an ONNX file can have")
        return path.read_bytes()
    except OSError as error:
        unreadable = InputError(f"{path} cannot be read ({error}).")
        raise os_error_message(error, path) or unreadable from error


def _tensors(message: Any) -> Iterator[Any]:
    """Yield every TensorProto in a protobuf message, at any depth."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _tensors(part)


def _interface(value: Any) -> tuple[str, str, list[Any]]:
    """Return name, dtype and shape of an input or output; an open size is its name."""
    from onnx import TensorProto  # optional package

    tensor = value.type.tensor_type
    names = {number: name for name, number in TensorProto.DataType.items()}
    dtype = names.get(tensor.elem_type, f"type {tensor.elem_type}")
    shape = [
        size.dim_value if size.HasField("dim_value") else size.dim_param or "?"
        for size in tensor.shape.dim
    ]
    return value.name, DTYPES.get(dtype, dtype.lower()), shape


def _sizes(path: Path, verb: str, value: list[Any], expected: str, layout: str | int) -> list[int]:
    """Return the sizes besides the batch, which alone must be open; `layout` may be their rank."""
    dtype, shape = value
    if isinstance(layout, int):
        layout = f"(N{', size' * max(layout - 1, 1)})"
    batch, *sizes = shape or ["?"]
    is_open = not isinstance(batch, int)
    is_fixed = len(sizes) == layout.count(",") and all(isinstance(n, int) and n > 0 for n in sizes)
    if dtype != expected or not is_open or not is_fixed:
        text = printable(", ".join(map(str, shape)))
        raise onnx_error(path, f"{verb} {dtype} ({text}), expected {expected} {layout}")
    return sizes


def _run_values(path: Path, text: str | None, dtype: str) -> RunValues:
    """Return the numbers that a file takes: bytes, or those that its metadata name."""
    if text is None:
        return RunValues("legacy")
    try:
        found = parse_range(json.loads(text))
    except (ValueError, RecursionError, InputError):
        found = None
    if not isinstance(found, tuple) or dtype not in NUMBERS:
        raise onnx_error(path, "carries metadata on values that are none: it was damaged")
    return RunValues(found, dtype)


def _metadata(
    path: Path,
    texts: dict[str, str],
    inputs: tuple[str, dict[str, tuple[int, ...]]],
    image_size: tuple[int, int, int],
    num_classes: int,
    run_values: RunValues,
) -> OnnxMetadata:
    """Return the metadata, compared with the network's own input and output."""
    version = texts.get("format_version")
    if version is None:
        raise onnx_error(path, "was not written by this project (it carries no format_version)")
    is_task = version == str(TASK_FORMAT_VERSION) and "task" in texts
    if version != str(FORMAT_VERSION) and not is_task:
        raise onnx_error(
            path,
            f"has the format {printable(version[:20])}, expected {FORMAT_VERSION}",
            "Update signs_lightning, or export the model again.",
        )
    keys = ("class_names", "image_size", "binary", "independent")
    try:
        names, size, binary, independent = (json.loads(texts.get(key, "null")) for key in keys)
        of_task = {key: json.loads(texts[key]) for key in OF_TASK if is_task and key in texts}
    except (ValueError, RecursionError) as error:
        raise onnx_error(
            path, "carries metadata that are not JSON: it was damaged or edited"
        ) from error
    is_list = isinstance(names, list) and len(names) == num_classes
    has_names = is_list and all(isinstance(name, str) for name in names)
    is_sound = all(_is_numbers(values, num_classes) for values in of_task.values())
    task = texts.get("task") if is_task else None
    is_sound = is_sound and task in ((*OF_TASK.values(),) if is_task else (None,))
    is_sound = is_sound and isinstance(binary, bool) and (num_classes == 2 or not binary)
    if not is_sound or not (has_names or names is None) or size != list(image_size):
        raise onnx_error(
            path,
            f"carries metadata that do not fit its own {'×'.join(map(str, image_size))} images "
            f"and {num_classes} classes: it was damaged or edited",
        )
    resize, fit = texts.get("resize", "legacy"), texts.get("fit")
    if not ((resize in RESIZES and fit in FITS) or resize in ("legacy", "unknown")):
        raise onnx_error(path, "carries metadata on resizing that are none: it was damaged")
    resizing: Any = resize, fit if resize in RESIZES else None
    name = texts.get("model", "")
    independent = independent is True
    return OnnxMetadata(
        *inputs, image_size, num_classes, binary, names, name, resizing, run_values, independent,
        task, of_task,
    )  # fmt: skip


def _is_numbers(values: Any, count: int) -> bool:
    """Whether a value of the metadata is a list of so many finite numbers."""
    is_list = isinstance(values, list) and len(values) == count
    return is_list and all(type(x) in (int, float) and math.isfinite(x) for x in values)


def _is_bounded(model: Any, inputs: list[str]) -> bool:
    """Return whether every value has a known, moderate size; changes the model.

    A network that computes sizes (`ConstantOfShape`, `Loop`, …) could ask for any memory,
    already when it is loaded.
    """
    import onnx  # optional package

    graph = model.graph
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if model.functions or any(part.HasField("g") or part.graphs for part in attributes):
        return False
    for tensor in [tensor for tensor in graph.initializer if math.prod(tensor.dims) > 1024]:
        # Their values contain no sizes, and inference would copy them.
        try:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        except UnicodeDecodeError:
            return False
        graph.input.append(info)
        graph.initializer.remove(tensor)
    for value in graph.input:
        if value.name in inputs:
            value.type.tensor_type.shape.dim[0].dim_value = 1  # one image
    del graph.value_info[:]  # the file's own claims about sizes
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except Exception:  # of onnx's C++ side: an operator or a shape that it does not know
        return False
    elements = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        if (tensor := value.type.tensor_type).HasField("shape"):
            sizes = [d.dim_value if d.HasField("dim_value") else math.inf for d in tensor.shape.dim]
            elements[value.name] = math.prod(sizes)
    names = [name for node in graph.node for name in node.output if name]
    return all(elements.get(name, math.inf) <= MAX_VALUE for name in (*names, *inputs))
