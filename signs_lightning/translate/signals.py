"""How a block of statements ends, other than after its last one."""

from __future__ import annotations

from dataclasses import dataclass

from signs_lightning.translate.values import Unknown, Value


@dataclass(frozen=True)
class Break:
    """By `break`."""


@dataclass(frozen=True)
class Continue:
    """By `continue`."""


@dataclass(frozen=True)
class Return:
    """By `return value`."""

    value: Value


@dataclass(frozen=True)
class Uncertain:
    """Perhaps by one of the others, because a condition is unknown.

    Attributes:
        unknown: the condition.
        is_return: whether the function may have ended, and not only the loop.
    """

    unknown: Unknown
    is_return: bool


Signal = Break | Continue | Return | Uncertain
