"""What the class of a part that repeats computes, in a sentence."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from signs_lightning.source.expressions import Call, text

MOST = 4  # convolutions that are named one by one
ENDINGS = {  # by the beginning of the class's name
    "InvertedResidual": " added to the input",
    "ResidualBlock": " added to the input",
    "ProjectionBlock": " in paths that are added",
    "DenseBlock": " joined to the input",
    "ConcatBlock": " in paths that are joined",
}


def sentence_of(name: str, codes: list[Any]) -> str:
    """Return such as `A 1×1 and a 3×3 convolution, added to the input.`

    Args:
        name: of the class.
        codes: of its layers, in their order.
    """
    kinds = [text(code.function).rpartition(".")[2] for code in codes if isinstance(code, Call)]
    convolutions = [code for code in codes if isinstance(code, Call) and "Conv" in text(code)]
    sizes = list(map(_size, convolutions))
    if len(sizes) > MOST:
        said = f"{len(sizes)} convolutions"
    elif sizes:
        said = f"{_joined([f'a {size}'.rstrip() for size in sizes])} convolution"
    else:
        said = _joined([kind for kind, _ in groupby(kinds)]) or "operations without weights"
    ending = next((end for start, end in ENDINGS.items() if name.startswith(start)), "")
    return f"{said[0].upper()}{said[1:]}{',' if ending else ''}{ending}."


def _size(code: Call) -> str:
    """Return `depthwise 3×3`, as far as it is the same in all repetitions."""
    named = dict(code.arguments)
    given = [value for name, value in code.arguments if not name]
    size = named.get("kernel_size", given[2] if len(given) > 2 else None)
    sizes = (size, size) if isinstance(size, int) else size
    words = ["depthwise"] if named.get("groups", 1) != 1 else []
    if isinstance(sizes, tuple) and all(isinstance(part, int) for part in sizes):
        words.append("×".join(map(str, sizes)))
    return " ".join(words)


def _joined(words: list[str]) -> str:
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), *words[-1:]])
