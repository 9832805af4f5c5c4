"""Find where two folders differ in which the same commands were run.

Tables, tensors and arrays are compared bit by bit, exported models by their output.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

Renamed = list[tuple[str, str]]  # a part of a tensor's name in BASE, and what it is called here
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
FOUND = re.compile(
    r"^(?:(?:Training|Validation|Test): |(?:Training|Validating|Testing) on |Validation ).*",
    re.MULTILINE,
)


def differences(base: Path, here: Path, renamed: Renamed) -> list[str]:
    """Return one text for each file that differs or is missing: where and how much."""
    found: list[str] = []
    seen: set[str] = set()
    for ending, compare in KINDS.items():
        names = {
            path.relative_to(folder).as_posix()
            for folder in (base, here)
            for path in folder.rglob(f"*{ending}")
        }
        for name in sorted(names - seen, reverse=True):  # last.ckpt before best.ckpt
            lacking = [
                side
                for side, folder in (("BASE", base), ("what is here", here))
                if not (folder / name).exists()
            ]
            where = (
                f"missing in {lacking[0]}"
                if lacking
                else compare(base / name, here / name, renamed)
            )
            found += [f"{name}: {where}"] if where else []
        seen |= names
    return found if seen else ["nothing was written that could be compared"]


def of_tables(base: Path, here: Path, _: Renamed) -> str:
    """The first row and column of a CSV file that differ."""
    if base.read_bytes() == here.read_bytes():
        return ""
    one, two = (
        list(csv.reader(path.read_text(encoding="utf-8").splitlines())) for path in (base, here)
    )
    if one[:1] != two[:1]:
        return (
            f"columns {','.join(one[0]) if one else ''} in BASE, "
            f"{','.join(two[0]) if two else ''} here"
        )
    for before, after in zip(one, two, strict=False):
        for column, old, new in zip(one[0], before, after, strict=False):
            if old != new:
                return f"{one[0][0]} {before[0]}, column {column}: {old} in BASE, {new} here"
    return (
        f"{len(one)} lines in BASE, {len(two)} here"
        if len(one) != len(two)
        else "other bytes, the same values"
    )


def of_checkpoints(base: Path, here: Path, renamed: Renamed) -> str:
    """Compare two checkpoints: the tensor that differs most, and what one side lacks.

    That is tensors, or state of callbacks that BASE kept.
    """
    before, after = (
        torch.load(path, map_location="cpu", weights_only=True) for path in (base, here)
    )
    for checkpoint in (before, after):  # history.csv is compared; up to format 5 it was no tensor
        checkpoint.get("signs_lightning", {}).pop("history", None)
    lost = sorted(before.get("callbacks", {}).keys() - after.get("callbacks", {}).keys())
    if lost:
        return f"the callback '{lost[0]}' of BASE has no state here"
    one, two = dict(_tensors(before)), dict(_tensors(after))
    for old, new in renamed:
        one = {name.replace(old, new): tensor for name, tensor in one.items()}
    if one.keys() != two.keys():
        name = sorted(one.keys() ^ two.keys())[0]
        return (
            f"{name} is only in {'BASE' if name in one else 'what is here'} "
            f"({len(one.keys() ^ two.keys())} such tensors)"
        )
    unlike = {
        name: where for name in one if (where := of_arrays(one[name].numpy(), two[name].numpy()))
    }
    if not unlike:
        return ""
    most = max(unlike, key=lambda name: _distance(one[name].numpy(), two[name].numpy()))
    return (
        f"{len(unlike)} of {len(one)} tensors, the first {next(iter(unlike))}, most {most}: "
        f"{unlike[most]}"
    )


def of_arrays(one: np.ndarray, two: np.ndarray) -> str:
    """Compare two arrays: shape, type or largest difference; "" if bitwise equal."""
    if (one.shape, one.dtype) != (two.shape, two.dtype):
        return f"{one.dtype} {one.shape} in BASE, {two.dtype} {two.shape} here"
    return "" if one.tobytes() == two.tobytes() else f"largest difference {_distance(one, two):.3g}"


def _distance(one: np.ndarray, two: np.ndarray) -> float:
    if one.shape != two.shape:
        return float("inf")
    gap = np.abs(one.astype("f8") - two.astype("f8"))
    return float(np.where(np.isnan(gap), np.inf, gap).max(initial=0))


def _tensors(value: Any, place: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor of nested values and its place, `state_dict/0.weight`."""
    if isinstance(value, torch.Tensor):
        yield place, value
    elif isinstance(value, dict | list | tuple):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(part, f"{place}/{key}" if place else str(key))


def of_outputs(base: Path, here: Path, _: Renamed) -> str:
    """The probabilities that two exported models give for the same random images."""
    one, two = (
        _run_onnx(path) if path.suffix == ".onnx" else _run_torch(path) for path in (base, here)
    )
    return of_arrays(one, two)


def _images(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, height, width, channels), dtype=np.uint8)


def _run_onnx(path: Path) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    return np.asarray(session.run(None, {source.name: _images(*source.shape[1:])})[0])


def _run_torch(path: Path) -> np.ndarray:
    program = torch.export.load(path)
    height, width, channels = program.example_inputs[0][0].shape[1:]
    with torch.inference_mode():
        return program.module()(torch.from_numpy(_images(height, width, channels))).numpy()


def of_figures(base: Path, here: Path, _: Renamed) -> str:
    """The numbers in what a command printed, whatever the words around them.

    The line on what was found in a file is left out: earlier commits have none. A number that has
    more digits in one of them is the same as far as the other goes.
    """
    texts = (FOUND.sub("", path.read_text()) for path in (base, here))
    one, two = map(NUMBER.findall, texts)
    pairs = zip(one, two, strict=False)
    first = next((pair for pair in pairs if not _are_printed_alike(*pair)), None)
    if first is not None:
        return f"printed {first[0]} in BASE, {first[1]} here"
    return f"{len(one)} printed numbers in BASE, {len(two)} here" if len(one) != len(two) else ""


def _are_printed_alike(one: str, two: str) -> bool:
    """Whether two numbers can be the same one, printed to as many decimals as each has."""
    decimals = [len(number.partition(".")[2]) for number in (one, two)]
    if decimals[0] == decimals[1] or "e" in one + two:
        return one == two
    return abs(float(one) - float(two)) <= sum(0.5 * 10.0**-n for n in decimals)


KINDS: dict[str, Callable[[Path, Path, Renamed], str]] = {  # in the order in which they are told of
    "history.csv": of_tables,
    ".ckpt": of_checkpoints,
    ".csv": of_tables,
    ".npy": lambda base, here, _: of_arrays(np.load(base), np.load(here)),
    ".onnx": of_outputs,
    ".pt2": of_outputs,
    "-test.out": of_figures,
}
