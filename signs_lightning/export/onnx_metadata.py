"""What an ONNX file says of itself: read, and refused where it is not ours or not safe, before anything in it runs."""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.file_type import describe_non_hdf5, missing_file_message
from signs_lightning.runtime.os_errors import os_error_message

FORMAT_VERSION = 1  # of inputs, outputs and metadata
MAX_FILE = 2 * 2**30  # bytes; no ONNX file can be larger without external data
MAX_VALUE = (
    2**28
)  # elements that a value inside the network may have for one image: 1 GiB of float32
DTYPES = {"FLOAT": "float32", "DOUBLE": "float64"}  # ONNX's names that are not NumPy's in capitals


@dataclass(frozen=True)
class OnnxMetadata:
    """What `export --format onnx` writes into the file beside the network.

    Attributes:
        input_name: of the images.
        image_size: height, width (pixels) and channels of the images.
        num_classes: number of classes K.
        binary: whether the model had one logit and a sigmoid.
        class_names: the K names, None when the model had none.
        model_name: class of the model.
    """

    input_name: str
    image_size: tuple[int, int, int]
    num_classes: int
    binary: bool
    class_names: list[str] | None
    model_name: str


def import_onnx(*packages: str) -> list[Any]:
    """Packages of the extra `onnx`.

    Raises:
        InputError: one of them is not installed.
    """
    os.environ.setdefault(
        "ORT_DISABLE_TELEMETRY", "1"
    )  # onnxruntime reports its use to its makers otherwise
    try:
        return [importlib.import_module(package) for package in packages]
    except ImportError as error:
        raise InputError(
            f"ONNX files need the package {error.name}, which is not installed: pip install "
            "'signs-lightning[onnx]'."
        ) from error


def onnx_error(
    path: Path, found: str, advice: str = "Name a file that `export --format onnx` wrote."
) -> InputError:
    """The sentence about a file that cannot be used."""
    return InputError(f"{path} {found}. {advice}")


def read_onnx_metadata(path: Path) -> tuple[bytes, OnnxMetadata]:
    """Reads an ONNX file and vets it.

    Nothing outside the file is looked at: one that keeps weights elsewhere is refused, and so is
        one whose values could take any
    amount of memory.

    Returns:
        The file's bytes, and what it says of itself.

    Raises:
        InputError: the package onnx is not installed, or the file is missing, damaged, malicious or
            not ours.
    """
    (onnx,) = import_onnx("onnx")
    contents = _read(path)
    try:
        model = onnx.load_model_from_string(contents)
    except Exception as error:  # protobuf's own DecodeError, whichever implementation is installed
        raise onnx_error(
            path, f"is not an ONNX file, or a truncated one ({len(contents):,} bytes)"
        ) from error
    if any(
        tensor.external_data or tensor.data_location == tensor.EXTERNAL
        for tensor in _tensors(model)
    ):
        raise onnx_error(path, "keeps its weights in other files, which are not followed")
    weights = {
        tensor.name for tensor in model.graph.initializer
    }  # old files list them among the inputs
    inputs = [_interface(value) for value in model.graph.input if value.name not in weights]
    outputs = [_interface(value) for value in model.graph.output]
    if (len(inputs), len(outputs)) != (1, 1):
        raise onnx_error(
            path, f"has {len(inputs)} inputs and {len(outputs)} outputs, expected one of each"
        )
    (input_name, *takes), (_, *gives) = inputs[0], outputs[0]
    height, width, channels = _sizes(path, "takes", takes, "uint8", "(N, height, width, channels)")
    (num_classes,) = _sizes(path, "gives", gives, "float32", "(N, K)")
    texts = {entry.key: entry.value for entry in model.metadata_props}
    description = _description(path, texts, input_name, (height, width, channels), num_classes)
    if not _is_bounded(model):
        raise onnx_error(
            path,
            "holds an operator that is unknown, or values that are huge or "
            "of unknown size: refused",
        )
    return contents, description


def _read(path: Path) -> bytes:
    try:
        if not path.exists():
            raise InputError(missing_file_message(path))
        found = describe_non_hdf5(path)
        if found is None:
            raise onnx_error(path, "is not an ONNX file but an HDF5 file")
        if not found.startswith(
            "something else"
        ):  # than what is known not to be what its name says
            raise InputError(f"{path} is not an ONNX file but {found}")
        if (size := path.stat().st_size) >= MAX_FILE:
            raise onnx_error(path, f"has {size:,} bytes, more than an ONNX file can have")
        return path.read_bytes()
    except OSError as error:
        raise os_error_message(error, path) or InputError(
            f"{path} cannot be read ({error})."
        ) from error


def _tensors(message: Any) -> Iterator[Any]:
    """Every TensorProto in a protobuf message, however deep it lies."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _tensors(part)


def _interface(value: Any) -> tuple[str, str, list[Any]]:
    """Name, dtype and shape of a graph's input or output; a size that is open is its name."""
    from onnx import TensorProto

    tensor = value.type.tensor_type
    names = {number: name for name, number in TensorProto.DataType.items()}
    dtype = names.get(tensor.elem_type, f"type {tensor.elem_type}")
    shape = [
        size.dim_value if size.HasField("dim_value") else size.dim_param or "?"
        for size in tensor.shape.dim
    ]
    return value.name, DTYPES.get(dtype, dtype.lower()), shape


def _sizes(path: Path, verb: str, found: Sequence[Any], dtype: str, layout: str) -> list[int]:
    """The sizes besides the batch, of what the network takes or gives; the batch must be open, the others fixed."""
    kind, (batch, *sizes) = found[0], found[1] or ["?"]
    fixed = len(sizes) == layout.count(",") and all(
        isinstance(size, int) and size > 0 for size in sizes
    )
    if kind != dtype or not fixed or isinstance(batch, int):
        shape = printable(", ".join(map(str, found[1])))
        raise onnx_error(path, f"{verb} {kind} ({shape}), expected {dtype} {layout}")
    return sizes


def _description(
    path: Path,
    texts: dict[str, str],
    input_name: str,
    image_size: tuple[int, int, int],
    num_classes: int,
) -> OnnxMetadata:
    """The metadata, compared with the network's own input and output."""
    if "format_version" not in texts:
        raise onnx_error(path, "was not written by this project (it carries no format_version)")
    if texts["format_version"] != str(FORMAT_VERSION):
        raise onnx_error(
            path,
            f"has the format {printable(texts['format_version'][:20])}, expected {FORMAT_VERSION}",
            "Update signs_lightning, or export the model again.",
        )
    try:
        names, size, binary = (
            json.loads(texts.get(key, "null")) for key in ("class_names", "image_size", "binary")
        )
    except (ValueError, RecursionError) as error:
        raise onnx_error(
            path, "carries metadata that are not JSON: it was damaged or edited"
        ) from error
    listed = (
        isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        and len(names) == num_classes
    )
    sound = isinstance(binary, bool) and (num_classes == 2 or not binary)
    if not sound or not (listed or names is None) or size != list(image_size):
        raise onnx_error(
            path,
            f"carries metadata that do not fit its own {'×'.join(map(str, image_size))} images "
            f"and {num_classes} classes: "
            "it was damaged or edited",
        )
    return OnnxMetadata(input_name, image_size, num_classes, binary, names, texts.get("model", ""))


def _is_bounded(model: Any) -> bool:
    """Whether every value's size is known before the network runs, and none is huge; changes the model.

    A network whose sizes are computed (`ConstantOfShape`, `Loop`, …) could ask for any amount of
    memory, already when it is loaded.
    """
    import onnx

    graph = model.graph
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if model.functions or any(
        attribute.HasField("g") or attribute.graphs for attribute in attributes
    ):
        return False
    for tensor in [tensor for tensor in graph.initializer if math.prod(tensor.dims) > 1024]:
        # Their values tell no sizes, and inference would copy them.
        graph.input.append(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
        graph.initializer.remove(tensor)
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1  # one image
    del graph.value_info[:]  # what the file itself says of them
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except Exception:  # of onnx's C++ side: an operator or a shape that it does not know
        return False
    sizes = {
        value.name: [
            size.dim_value if size.HasField("dim_value") else math.inf for size in tensor.shape.dim
        ]
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if (tensor := value.type.tensor_type).HasField("shape")
    }
    computed = [name for node in graph.node for name in node.output if name]
    return all(
        math.prod(sizes.get(name, [math.inf])) <= MAX_VALUE
        for name in [*computed, graph.input[0].name]
    )
