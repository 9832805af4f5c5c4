"""Compares written source with the model that it was written from, in a process of its own.

Both see the same images in float64: outputs, gradients, and all weights after a step of training.
"""

from __future__ import annotations

import copy
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.models.keras_adam import KerasAdam
from signs_lightning.models.model_with_preprocessing import ImageModel
from signs_lightning.runtime.sandbox import run_sandboxed

TOLERANCE = 1e-9  # of each tensor's largest value
NOISE = 1e-6  # of the largest value of all gradients, below which one is rounding
IMAGES = 4  # that both see
MAX_SECONDS = 600.0
WHOLE = "signs_lightning"  # what standalone source does without


def compare_source(
    model: ImageModel, names: dict[str, str], source: Path, weights: Path, standalone: bool
) -> float:
    """Check that source gives what its model gives.

    Args:
        model: the model.
        names: of parameters and buffers in the source, by those in the model.
        source: the file, whatever it is called now.
        weights: its safetensors file.
        standalone: whether it must do without this package.

    Returns:
        The largest difference, as a share of a tensor's largest value.

    Raises:
        InputError: the source does not run, or gives something else.
    """
    reference = weights.with_name(f"{weights.name}.reference")
    inputs = draw_inputs(model)
    try:
        with one_thread():
            values = evidence(model, inputs)
        pairs = [(_renamed(key, names), value) for key, value in values.items()]
        renamed = {key: value for key, value in pairs if key is not None}
        save_file({key: value.contiguous().clone() for key, value in renamed.items()}, reference)
        kind, what = run_sandboxed(
            f"{__name__}:compare_in_child",
            *(str(source), str(weights), str(reference), inputs, standalone),
            about="The source",
            seconds=MAX_SECONDS,
        )
    finally:
        reference.unlink(missing_ok=True)
    if kind != "same":
        raise InputError(
            f"Nothing was written, because the source {what}. This is a mistake of the export: "
            "please report it with the model. Another format, such as onnx, may do."
        )
    return what


def _renamed(key: str, names: dict[str, str]) -> str | None:
    """Return what the source calls a value; None for a tensor that it does without."""
    kind, _, name = key.partition(" ")
    if not name:
        return key
    return f"{kind} {names[name]}" if name in names else None


def draw_inputs(model: ImageModel) -> list[Tensor]:
    """Return float64 images in 0..1 and the inputs beside them."""
    generator = torch.Generator().manual_seed(0)
    height, width, channels = model.image_size
    shapes = [(channels, height, width), *model.other_inputs.values()]
    return [torch.rand(IMAGES, *s, generator=generator, dtype=torch.float64) for s in shapes]


def evidence(model: Any, inputs: list[Tensor]) -> dict[str, Tensor]:
    """Return what a classifier gives in float64, and what a step of training makes of it.

    Args:
        model: any classifier; it is not changed.
        inputs: float64 images and what is beside them.
    """
    model = copy.deepcopy(model).double()
    values: dict[str, Tensor] = {}
    with torch.no_grad():
        values["outputs"] = model.eval()(*inputs)
    model.train()
    labels = torch.arange(len(inputs[0])) % model.num_classes
    torch.manual_seed(0)  # of Dropout
    is_keras = isinstance(model, FromKeras)
    with model.network.count_activities() if is_keras else nullcontext():
        loss = model.compute_loss(model(*inputs), labels, training=True)
    loss.backward()
    values["loss"] = loss.detach().reshape(1)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name, parameter in parameters.items():
        gradient = parameter.grad
        values[f"gradient {name}"] = torch.zeros_like(parameter) if gradient is None else gradient
    values = {key: value.detach().clone() for key, value in values.items()}
    if parameters:
        optimizer = (model.optimizer or KerasAdam)(list(parameters.values()))
        for group in optimizer.param_groups if model.hparams.get("lr") is not None else []:
            group["lr"] = model.hparams["lr"]
        for name, setting in optimizer.param_groups[0].items():
            if isinstance(setting, int | float):
                values[f"optimizer.{name}"] = torch.tensor([float(setting)], dtype=torch.float64)
        optimizer.step()
        with torch.no_grad():
            if is_keras:
                model.network.apply_constraints()
            elif hasattr(model, "constrain"):
                model.constrain()
    for name, tensor in model.state_dict().items():
        values[f"trained {name}"] = tensor.double()
    return values


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: several add up in another order, which deep networks amplify."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare_in_child(
    source: str, weights: str, reference: str, inputs: list[Tensor], standalone: bool
) -> tuple[str, Any]:
    """Import source and compare it; return "same" and the difference, or what is wrong."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        try:
            net = load_class(source, standalone)
            found = evidence(net(weights=weights), inputs)
        except InputError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            return "failed", f"does not run ({reason})"
    with safe_open(reference, framework="pt") as file:
        expected = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return compare_evidence(found, expected)


def compare_evidence(found: dict[str, Tensor], expected: dict[str, Tensor]) -> tuple[str, Any]:
    """Return "same" and the largest difference, or "different" and what differs."""
    if odd := sorted(found.keys() ^ expected.keys()):
        return "different", f"has other parameters than the model ({odd[0]})"
    largest = 0.0
    scales = dict.fromkeys(("gradient", "trained"), 0.0)
    for key, value in expected.items():
        kind = key.partition(" ")[0]
        if kind in scales and value.numel():
            scales[kind] = max(scales[kind], float(value.abs().max()))
    for key, value in expected.items():
        kind, _, name = key.partition(" ")
        if found[key].shape != value.shape:
            shapes = f"{tuple(found[key].shape)}, not {tuple(value.shape)}"
            return "different", f"gives {key} of shape {shapes}"
        if not value.numel():
            continue
        scale = max(float(value.abs().max()), NOISE * scales.get(kind, 0.0), 1e-30)
        is_equal = torch.equal(found[key], value) or torch.equal(
            torch.nan_to_num(found[key]), torch.nan_to_num(value)
        )
        difference = 0.0 if is_equal else float((found[key] - value).abs().max()) / scale
        if not difference <= TOLERANCE:
            what = {"gradient": f"the gradient of {name}", "trained": f"{name} after a step"}
            share = f"{difference:.1g} of its largest value, expected at most {TOLERANCE:g}"
            return "different", f"gives another {what.get(kind, kind)} (by {share})".replace(
                "another the", "another"
            )
        largest = max(largest, difference)
    return "same", largest


def load_class(path: str, standalone: bool = False, name: str = "Net") -> Any:
    """Return a class of a source file, which is imported under no public name.

    Args:
        path: the file.
        standalone: whether this package cannot be imported meanwhile.
        name: of the class.
    """
    loader = importlib.machinery.SourceFileLoader("written_source", path)
    spec = importlib.util.spec_from_loader("written_source", loader)
    if spec is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["written_source"] = module  # dataclasses look there
    with _without_package() if standalone else nullcontext():
        loader.exec_module(module)
    return getattr(module, name)


class _Blocker:
    """Lets nothing of this package be imported."""

    def find_spec(self, name: str, *args: Any) -> None:
        if name.partition(".")[0] == WHOLE:
            raise ImportError(f"{name} is imported by source that should stand alone")


@contextmanager
def _without_package() -> Iterator[None]:
    hidden = {name: module for name, module in sys.modules.items() if name.startswith(WHOLE)}
    for name in hidden:
        del sys.modules[name]
    blocker: Any = _Blocker()
    sys.meta_path.insert(0, blocker)
    try:
        yield
    finally:
        sys.meta_path.remove(blocker)
        sys.modules.update(hidden)
