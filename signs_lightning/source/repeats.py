"""Finds parts of a network that repeat: one input, one result, and the same structure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache

from signs_lightning.source.program import Program, Statement
from signs_lightning.source.structure import split, with_defaults

MAX_STATEMENTS = 90  # of a part
OVERHEAD = 7.0  # lines that a class has besides its layers
MIN_MODULES = 2  # of a part that becomes a class
# Digits that are no numbers: `conv2d`, `max_pooling2d`.
DIMENSIONS = re.compile(r"\d+d$", re.IGNORECASE)


@dataclass(frozen=True)
class Repeat:
    """A part that occurs several times.

    Attributes:
        starts: index of the first statement of each occurrence.
        length: how many statements it has.
    """

    starts: tuple[int, ...]
    length: int


@cache  # names are asked for many times
def prefixes(name: str) -> list[str]:
    """Return the beginnings of a layer's name that have a number: `conv2`, `conv2_block1`."""
    tokens = re.split(r"[/_.]", name)
    found = []
    for k in range(1, len(tokens)):
        part = "_".join(tokens[:k])
        if any(re.search(r"\d", t) and not DIMENSIONS.search(t) for t in tokens[:k]):
            found.append(part)
    return found


def common_prefix(names: Sequence[str]) -> str:
    """Return the longest beginning with a number that all names share; "" for none."""
    if not names:
        return ""
    shared = [p for p in prefixes(names[0]) if all(p in prefixes(name) for name in names[1:])]
    return shared[-1] if shared else ""


def find_repeat(program: Program, by_names: bool, is_whole: bool) -> Repeat | None:
    """Return the part whose repetitions take most of the lines; None where none is worth a class.

    Args:
        program: the network.
        by_names: whether a part must not cross the beginnings of names that have a number.
        is_whole: whether it must be all that such a beginning is shared by.
    """
    statements = program.statements
    keys = _statement_keys(program)
    last_uses = _last_uses(statements)
    found: dict[Hashable, list[int]] = defaultdict(list)
    lengths: dict[Hashable, int] = {}
    for start in range(len(statements)):
        identity: Hashable = None
        outside: set[int] = set()
        latest = 0  # last use of a value inside, but that of the newest statement
        for stop in range(start, min(start + MAX_STATEMENTS, len(statements))):
            key = keys[stop]
            if key is None:
                break
            number = stop + 1
            references = []
            for value in statements[stop].inputs:
                if value > start:
                    references.append(number - value)
                else:
                    outside.add(value)
                    references.append(0)
            if len(outside) > 1:
                break
            identity = hash((identity, key, tuple(references)))
            if stop > start:
                latest = max(latest, last_uses.get(stop, 0))
            if len(outside) == 1 and latest <= number and stop > start:
                found[identity, stop - start].append(start)
                lengths[identity, stop - start] = stop - start + 1
    best, best_score = None, 0.0
    for key, starts in found.items():
        if len(starts) < 2:
            continue
        repeat = Repeat(_apart(starts, lengths[key]), lengths[key])
        score = _score(program, repeat, by_names, is_whole)
        if score > best_score:
            best, best_score = repeat, score
    return best


def _apart(starts: list[int], length: int) -> tuple[int, ...]:
    """Return the occurrences that do not overlap."""
    kept: list[int] = []
    for start in starts:
        if not kept or start >= kept[-1] + length:
            kept.append(start)
    return tuple(kept)


def _last_uses(statements: Sequence[Statement]) -> dict[int, int]:
    uses = {len(statements): len(statements) + 1}
    for k, statement in enumerate(statements, start=1):
        uses |= dict.fromkeys(statement.inputs, k) if k <= len(statements) else {}
    uses[len(statements)] = len(statements) + 1
    return uses


def _statement_keys(program: Program) -> list[Hashable]:
    """Return the structure of each statement; None for one that stays where it is."""
    counts = program.counts()
    made: dict[str, Hashable] = {}
    keys: list[Hashable] = []
    for statement in program.statements:
        if statement.penalty is not None or counts[statement.layer] > 1:
            keys.append(None)
            continue
        code, _ = split(statement.code)
        module: Hashable = None
        if statement.layer:
            if statement.layer not in made:
                full = with_defaults(program.modules[statement.layer].code)
                made[statement.layer] = split(full)[0]
            module = made[statement.layer]
        keys.append((code, module))
    return keys


def _score(program: Program, repeat: Repeat, by_names: bool, is_whole: bool) -> float:
    """Return how many lines the repetitions of a part save; 0 where it makes no class."""
    first = program.statements[repeat.starts[0] : repeat.starts[0] + repeat.length]
    modules = sum(bool(s.layer) for s in first)
    if modules < MIN_MODULES or len(repeat.starts) < 2:
        return 0.0
    for start in repeat.starts if by_names else ():
        stop = start + repeat.length
        inside = program.statements[start:stop]
        named = [s.name for s in inside if prefixes(s.name)]
        shared = common_prefix(named)
        if named and not (shared and all(prefixes(s.name) for s in inside if s.layer)):
            return 0.0
        beside = program.statements[max(start - 1, 0) : start] + program.statements[stop : stop + 1]
        if is_whole and named and any(shared in prefixes(s.name) for s in beside):
            return 0.0
    body = 1.7 * modules + 0.4 * (len(first) - modules)
    count = len(repeat.starts)
    saved = (count - 1) * body - count - OVERHEAD
    # A class that begins with a mere function takes what belongs to the one before it.
    begins_oddly = 0.97 if not first[0].layer else 1.0
    return saved * begins_oddly
