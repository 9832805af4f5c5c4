"""Weights in a safetensors file: written and read with the names of a model's state_dict."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import list_names, shorten
from signs_lightning.runtime.file_read_errors import os_error_message
from signs_lightning.runtime.file_signatures import missing_file_message

METADATA = "signs_lightning"  # key of our JSON among a file's metadata
# Arguments that no file may set: they name other files, or are no plain values.
NOT_OF_FILES = {"self", "path", "architecture", "weights", "optimizer", "lr_scheduler", "loss"}
NOT_OF_FILES |= {"metrics", "augmentation", "network", "args", "kwargs"}


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and a JSON object as a safetensors file.

    Args:
        path: the file; one that is there is replaced.
        state: the tensors by their names.
        metadata: plain values.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    # safetensors writes no two tensors that share memory.
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    save_file(tensors, path, {METADATA: json.dumps(metadata), "format": "pt"})


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a safetensors file, and the JSON object of `save_weights`.

    Raises:
        InputError: it is no such file, or cannot be read.
    """
    if not Path(path).exists():
        raise InputError(missing_file_message(Path(path)))
    try:
        with open(path, "rb"):  # its errors tell what is wrong; those of safetensors do not
            pass
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = json.loads((file.metadata() or {}).get(METADATA, "{}"))
    except OSError as error:
        message = os_error_message(error, path)
        raise message or InputError(f"{path} cannot be read ({error}).") from error
    except (SafetensorError, ValueError, RecursionError) as error:
        reason = shorten(str(error).partition("\n")[0], 100)
        raise InputError(
            f"{path} is no safetensors file ({reason}), expected one of `export --format "
            "safetensors` or `--format source`. Name that, or write it again."
        ) from error
    return tensors, metadata if isinstance(metadata, dict) else {}


def load_weights(model: nn.Module, path: str | Path, advice: str | None = None) -> None:
    """Load a safetensors file into a model that has the same names and shapes.

    Args:
        model: the model.
        path: the file.
        advice: what a message tells to do.

    Raises:
        InputError: the file cannot be read, or its tensors are not the model's.
    """
    tensors, _ = read_weights(path)
    if advice is None:
        advice = f"Name the file that was exported with {type(model).__name__}, or leave "
        advice += "--model.weights out"
    check_weights(model, tensors, path, advice)
    with torch.no_grad():
        model.load_state_dict(tensors)


def check_weights(
    model: nn.Module, tensors: Mapping[str, Tensor], path: str | Path, advice: str
) -> None:
    """Check that tensors have a model's names, shapes and kinds of numbers.

    Args:
        model: the model, which may be without memory.
        tensors: by their names.
        path: their file, for the message.
        advice: what a message tells to do.

    Raises:
        InputError: they have not.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in tensors]
    unknown = [name for name in tensors if name not in expected]
    if missing or unknown:
        parts = [f"lacks {list_names(missing, most=3)}"] if missing else []
        parts += [f"has {list_names(unknown, most=3)} too many"] if unknown else []
        raise InputError(
            f"{path} holds the weights of another model: it {' and '.join(parts)}. {advice}."
        )
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise InputError(
                f"{path} has {name} of shape {tuple(tensors[name].shape)}, {type(model).__name__} "
                f"one of {tuple(tensor.shape)}. {advice}."
            )
        kind, floats = tensors[name].dtype, tensor.is_floating_point()
        if kind.is_complex or kind.is_floating_point != floats:
            raise InputError(
                f"{path} has {name} as {str(kind).removeprefix('torch.')}, expected "
                f"{'floats' if floats else 'whole numbers'}. Write the file again from a model in "
                "float32."
            )


def make_model(
    kind: Any, metadata: Mapping[str, Any], given: Mapping[str, Any], path: str | Path
) -> Any:
    """Make the model with the settings that a file has for its class, or that are given.

    Args:
        kind: the class, which the user names.
        metadata: the JSON object of the file.
        given: settings that go before those of the file.
        path: the file, for the message.

    Raises:
        InputError: the class does not take them.
    """
    stored = metadata.get("settings")
    name = str(metadata.get("model", ""))
    is_same = name == f"{kind.__module__}.{kind.__name__}"
    settings = stored if is_same and isinstance(stored, dict) else {}
    initializers = [vars(base).get("__init__") for base in kind.__mro__[:-1]]
    known = {n for init in initializers if init for n in inspect.signature(init).parameters}
    kept = {k: v for k, v in settings.items() if k in known and k not in NOT_OF_FILES}
    try:
        return kind(**{name: _tuple(value) for name, value in {**kept, **given}.items()})
    except (TypeError, ValueError, RuntimeError) as error:  # of PyTorch: a size that it cannot have
        reason = shorten(str(error).partition("\n")[0].rstrip("."), 200)
        raise InputError(
            f"{path} has settings that {kind.__name__} does not take ({reason}). Name the class "
            "that it was exported from."
        ) from error


def _tuple(value: Any) -> Any:
    """Return a list of numbers as the tuple that JSON made a list of."""
    is_numbers = isinstance(value, list) and all(type(part) is int for part in value)
    return tuple(value) if is_numbers and value else value
