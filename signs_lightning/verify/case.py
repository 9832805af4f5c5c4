"""A place where two networks part, and what is tried there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from signs_lightning.verify.blame import Found
from signs_lightning.verify.result import Reason
from signs_lightning.verify.trace import DROPOUTS, IMAGE, Trace, Value
from signs_lightning.verify.values import best_difference, bound_of

INF = float("inf")
SLACK = 3.0  # how many bounds may be left of a difference that vanishes
ARGUMENTS = {  # of PyTorch's functions, in order
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv_transpose2d": (
        *("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    ),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "prelu": ("input", "weight"),
    "linear": ("input", "weight", "bias"),
    "batch_norm": (
        *("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    ),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "avg_pool2d": (
        *("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
        "divisor_override",
    ),
}
PASSING = {"pad", "clone", "contiguous", "to", "detach", "float", "double", *DROPOUTS}


@dataclass(frozen=True)
class Case:
    """Two traces and the first call of the reference that the other lacks.

    Attributes:
        reference: the trace that is right.
        other: the other one.
        found: where the reference's values are in the other.
        pairs: the other's call for each call with weights of the reference.
        names: what messages call both.
        images: uint8 (N, H, W, C), from which both were given their pixels.
        index: the call.
    """

    reference: Trace
    other: Trace
    found: Found
    pairs: dict[int, int]
    names: tuple[str, str]
    images: Tensor
    index: int

    @property
    def partner(self) -> int | None:
        """The other's call with the same weights."""
        return self.pairs.get(self.index)

    @property
    def there(self) -> str:
        """The reference's short name."""
        return Path(self.names[0]).name

    @property
    def here(self) -> str:
        """The other side's short name."""
        return Path(self.names[1]).name


def bind(trace: Trace, index: int) -> dict[str, Any]:
    """Return a call's arguments by their names, tensors filled in."""
    call = trace.calls[index]
    names = ARGUMENTS[call.name]
    given = dict(zip(names, call.args, strict=False)) | call.kwargs
    return {
        key: trace.value(part.index).clone() if isinstance(part, Value) else part
        for key, part in given.items()
    }


def before_padding(trace: Trace, index: int) -> int:
    """Return the value that a call is applied to, before it was padded or dropped."""
    inputs = trace.calls[index].inputs
    source = inputs[0] if inputs else IMAGE
    while source != IMAGE and trace.calls[source].name in PASSING and trace.calls[source].inputs:
        source = trace.calls[source].inputs[0]
    return source


def consumers(trace: Trace, index: int) -> list[int]:
    """Return the calls that take the output of a call."""
    return [k for k, call in enumerate(trace.calls) if index in call.inputs]


@torch.no_grad()
def attempt(
    kind: str, text: str, tried: str, reference: Tensor, make: Callable[[], Tensor]
) -> Reason | None:
    """Return a reason if what is made is the reference's value, else None.

    Args:
        kind: the porting bug.
        text: what each side does.
        tried: what is made, to follow "With".
        reference: the value that should come out.
        make: makes it; may fail where shapes do not fit.
    """
    try:
        value = make()
    except (RuntimeError, ValueError, TypeError, IndexError):
        return None
    left = best_difference(reference, value)
    if not left <= SLACK * bound_of(reference):
        return None
    return Reason(kind, text, f"With {tried} the difference vanishes ({left:.1g} is left).")
