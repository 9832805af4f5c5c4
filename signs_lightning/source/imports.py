"""The imports that expressions need, sorted as ruff sorts them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from signs_lightning.source.expressions import Ref, walk
from signs_lightning.source.layout import INDENT, MAX_WIDTH

STANDARD = {
    *("builtins", "collections", "collections.abc", "dataclasses", "functools", "itertools"),
    *("json", "math", "pathlib", "typing", "bisect", "operator", "contextlib"),
}


def import_lines(nodes: Iterable[Any]) -> list[str]:
    """Return the imports that expressions need, sorted as ruff sorts them."""
    modules: dict[str, set[str]] = {}
    plain: set[str] = set()
    for node in nodes:
        for part in walk(node):
            if not isinstance(part, Ref):
                continue
            match part.module:
                case "torch.nn.functional":
                    plain.add("import torch.nn.functional as F")
                case "torch.nn":
                    modules.setdefault("torch", set()).add("nn")
                case "torch" if part.name.partition(".")[0] == "Tensor":
                    modules.setdefault("torch", set()).add("Tensor")
                case "torch" | "math":
                    plain.add(f"import {part.module}")
                case "builtins":
                    pass
                case line if line.startswith("import "):
                    plain.add(line)
                case module:
                    modules.setdefault(module, set()).add(part.name.partition("[")[0])
    blocks = []
    for is_standard in (True, False):
        lines = sorted(line for line in plain if (line.split()[1] in STANDARD) == is_standard)
        for module in sorted(modules):
            if (module in STANDARD) == is_standard:
                lines += _from_line(module, modules[module])
        if lines:
            blocks.append(lines)
    return [line for k, block in enumerate(blocks) for line in ([""] if k else []) + block]


def _from_line(module: str, names: set[str]) -> list[str]:
    ordered = sorted(names, key=_import_order)
    line = f"from {module} import {', '.join(ordered)}"
    if len(line) <= MAX_WIDTH:
        return [line]
    return [f"from {module} import (", *(f"{INDENT}{name}," for name in ordered), ")"]


def _import_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as isort sorts them."""
    if name.isupper() and len(name) > 1:
        return 0, name
    return (1 if name[:1].isupper() else 2), name.lower()
