"""Optimizers, losses and metrics as a compile configuration names them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from signs_lightning.runtime.escaping import shorten

WRAPPERS = ("MeanMetricWrapper", "LossFunctionWrapper", "function")
UNSET = (None, False, 0)


def flatten(value: Any) -> Iterator[Any]:
    """Yield the losses or metrics, names or dicts, of nested lists and dicts."""
    if isinstance(value, list) or (isinstance(value, dict) and "class_name" not in value):
        for part in value if isinstance(value, list) else value.values():
            yield from flatten(part)
    elif value is not None:
        yield value


def name_of(spec: Any) -> str:
    """Return the name in `"mse"` or `{"class_name": "AUC"}`, or a wrapped function's."""
    if isinstance(spec, dict):
        name, arguments = spec.get("class_name"), arguments_of(spec)
        if name in WRAPPERS:
            name = arguments.get("name", name)
        if name in (*WRAPPERS, None) and isinstance(spec.get("config"), str):
            name = spec["config"]
        return shorten(str(name))
    return shorten(str(spec))


def arguments_of(spec: Any) -> dict[str, Any]:
    """Return what an object is made with; empty for a mere name."""
    config = spec.get("config") if isinstance(spec, dict) else None
    return config if isinstance(config, dict) else {}


def plain(name: str) -> str:
    """Return a name in lower case without underscores."""
    return name.replace("_", "").lower()


def show(spec: Any, arguments: dict[str, Any]) -> str:
    """Return `Adam(beta_1=0.8)`: a name and those arguments that are set."""
    shown = [f"{shorten(k)}={show_value(v)}" for k, v in arguments.items() if v not in UNSET]
    return name_of(spec) + (f"({', '.join(shown)})" if shown else "")


def show_value(value: Any) -> str:
    """Return a number to six digits, an object's name, or another value's beginning."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return name_of(value) if isinstance(value, dict) else shorten(str(value), 30)
