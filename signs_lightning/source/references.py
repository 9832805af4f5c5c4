"""Functions and classes by the names that they are imported by."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.source.expressions import Ref

# Functions of PyTorch by identity: compiled ones do not tell their public names.
PUBLIC = {id(value): Ref("torch", name) for name, value in vars(torch).items() if callable(value)}
PUBLIC |= {
    id(value): Ref("torch.nn.functional", name)
    for name, value in vars(F).items()
    if callable(value) and name[0] != "_" and id(value) not in PUBLIC
}
PUBLIC |= {id(getattr(F, name)): Ref("torch.nn.functional", name) for name in ("relu", "softplus")}
PUBLIC[id(Tensor.detach)] = Ref("torch", "Tensor.detach")


def reference(value: Any) -> Ref:
    """Return the name that a function or class is imported by.

    Raises:
        InputError: it has none.
    """
    if id(value) in PUBLIC:
        return PUBLIC[id(value)]
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "<lambda>")
    if not isinstance(module, str) or not name.isidentifier():
        raise InputError(
            f"The model has {str(value)[:60]!r}, which cannot be written as source. Export another "
            "format, such as onnx."
        )
    if module.startswith("torch.nn.modules."):
        module = "torch.nn"
    return Ref(module, name)
