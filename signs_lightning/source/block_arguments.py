"""The numbers in which the repetitions of a part differ, as arguments of its class."""

from __future__ import annotations

from typing import Any

from signs_lightning.source.expressions import Code, Operation
from signs_lightning.source.names import identifier, unique
from signs_lightning.source.structure import CHANNELS, Number

INPUTS = ("in_channels", "in_features", "channels", "num_features")


class BlockArguments:
    """Finds the arguments of a class.

    Args:
        numbers: of each occurrence, with the names of the arguments that they are.
        owners: which attribute each number belongs to.
        taken: names that no argument may have.
    """

    def __init__(
        self, numbers: list[list[tuple[str, Number]]], owners: list[str], taken: set[str]
    ) -> None:
        self.numbers, self.owners, self.taken = numbers, owners, taken

    def find(self) -> tuple[dict[str, tuple[Number, ...]], list[Any]]:
        """Return the arguments with their values, and what stands for each number."""
        columns = [tuple(v for _, v in column) for column in zip(*self.numbers, strict=True)]
        roles = [role for role, _ in self.numbers[0]]
        channels = [
            c for c, role in zip(columns, roles, strict=True)
            if _is_channels(role) and len(set(c)) > 1 and all(isinstance(v, int) for v in c)
        ]  # fmt: skip
        bases: list[tuple[Number, ...]] = []
        for column in sorted(set(channels), key=lambda c: (sum(c), channels.index(c))):
            if _multiple(column, bases) is None:
                bases.append(column)
        parameters: dict[str, tuple[Number, ...]] = {}
        names: dict[tuple[bool, tuple[Number, ...]], str] = {}
        replaced: list[Any] = []
        last_channels = channels[-1] if channels else None
        for column, role, owner in zip(columns, roles, self.owners, strict=True):
            if len(set(column)) == 1:
                replaced.append(column[0])
                continue
            is_channels = column in bases or _is_channels(role)
            factor = _multiple(column, bases) if is_channels else None
            base = column
            if factor is not None:
                base, times = factor
            key = is_channels, base
            if key not in names:
                has_multiples = any(
                    found is not None and found[0] == base and found[1] > 1
                    for found in (_multiple(c, bases) for c in channels)
                )
                name = self._name(role, owner, is_channels, base, last_channels, has_multiples)
                names[key] = unique_argument(name, owner, {*parameters, *self.taken})
                parameters[names[key]] = base
            code: Any = Code(names[key])
            if factor is not None and times > 1:
                code = Operation("*", (times, code))
            replaced.append(code)
        return parameters, replaced

    def _name(
        self, role: str, owner: str, is_channels: bool, base: tuple[Number, ...],
        last: tuple[Number, ...] | None, has_multiples: bool,
    ) -> str:  # fmt: skip
        if not is_channels:
            return identifier(role) if role else f"{owner}_number"
        is_first = base[0] == next(v for r, v in self.numbers[0] if _is_channels(r))
        if is_first and role in INPUTS:
            return "in_channels"
        if has_multiples:
            return "filters"
        if base == last:
            return "out_channels"
        return f"{owner}_channels"


def unique_argument(name: str, owner: str, taken: set[str]) -> str:
    """Return the name of an argument, with its layer's where another one has it."""
    if name in taken:
        name = name if name.startswith(owner) else f"{owner}_{name}"
    return unique(name, taken)


def _is_channels(role: str) -> bool:
    return role in CHANNELS or role.endswith(("channels", "filters"))


def _multiple(
    column: tuple[Number, ...], bases: list[tuple[Number, ...]]
) -> tuple[tuple[Number, ...], int] | None:
    """Return a base and the factor by which a column is a multiple of it."""
    for base in bases:
        factor = column[0] // base[0] if base[0] else 0
        if factor >= 1 and all(v == factor * b for v, b in zip(column, base, strict=True)):
            return base, int(factor)
    return None
