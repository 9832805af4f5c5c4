"""Writes parts of a network that repeat once: blocks as classes, stages as lists."""

from __future__ import annotations

import copy

from signs_lightning.source.block_class import BlockClass
from signs_lightning.source.program import Program
from signs_lightning.source.repeats import find_repeat
from signs_lightning.source.stages import make_stages

MAX_CLASSES = 12
TAKEN = {"Network", "Net"}
# Whether parts mind the names of layers, and are all that have the same beginning; best first.
WAYS = ((True, True), (True, False), (False, False))


def ways_of(program: Program) -> list[Program]:
    """Return a program with its repetitions written once, in every way that may be short."""
    found = []
    for by_names, is_whole in WAYS:
        folded = copy.copy(program)
        folded.statements, folded.modules = list(program.statements), dict(program.modules)
        folded.classes, folded.nodes = [], []
        taken = set(TAKEN)
        while len(folded.classes) < MAX_CLASSES:
            repeat = find_repeat(folded, by_names, is_whole)
            if repeat is None:
                break
            block = BlockClass(folded, repeat, taken)
            taken.add(block.name)
            block.replace()
        make_stages(folded)
        found.append(folded)
    return found
