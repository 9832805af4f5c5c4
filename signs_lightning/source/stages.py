"""Puts blocks that follow each other into lists, their repetitions into loops."""

from __future__ import annotations

from typing import Any

from signs_lightning.source.expressions import (
    BlockName,
    Call,
    Code,
    Input,
    Layer,
    Operation,
    Ref,
    Repeated,
)
from signs_lightning.source.program import Module, Program, Statement
from signs_lightning.source.repeats import prefixes


def make_stages(program: Program) -> None:
    """Replace runs of blocks by one `nn.Sequential` each, in place."""
    runs = _runs(program)
    if not runs:
        return
    statements: list[Statement] = []
    renumbered = {value: value for value in range(-len(program.inputs), 1)}
    starts = {run[0]: run for run in runs}
    index = 0
    while index < len(program.statements):
        run = starts.get(index)
        first = program.statements[index]
        inputs = tuple(renumbered[value] for value in first.inputs)
        if run is None:
            statements.append(
                Statement(first.code, inputs, first.shape, first.layer, first.name, first.penalty)
            )
            index += 1
        else:
            members = [program.statements[k] for k in run]
            key = _stage_name([member.name for member in members], program)
            parts = {str(k): member.layer for k, member in enumerate(members)}
            codes = [program.modules[member.layer].code for member in members]
            code = Call(Ref("torch.nn", "Sequential"), tuple(("", c) for c in _loops(codes)))
            program.modules[key] = Module(code, parts=parts)
            call = Call(Layer(), (("", Input(0)),))
            statements.append(Statement(call, inputs, members[-1].shape, key, key))
            index += len(run)
        renumbered[index] = len(statements)
    program.statements = statements


def _is_block(program: Program, statement: Statement) -> bool:
    code = program.modules[statement.layer].code if statement.layer else None
    return isinstance(code, Call) and isinstance(code.function, BlockName)


def _runs(program: Program) -> list[list[int]]:
    """Return the indices of blocks that follow each other, stage by stage."""
    uses: dict[int, int] = {}
    for statement in program.statements:
        for value in statement.inputs:
            uses[value] = uses.get(value, 0) + 1
    chains: list[list[int]] = []
    for k, statement in enumerate(program.statements):
        if not _is_block(program, statement):
            continue
        follows = chains and chains[-1][-1] == k - 1 and statement.inputs == (k,)
        if follows and uses.get(k) == 1:
            chains[-1].append(k)
        else:
            chains.append([k])
    runs: list[list[int]] = []
    for chain in chains:
        groups: dict[str, list[int]] = {}
        for k in chain:
            groups.setdefault(_stage_of(program.statements[k].name), []).append(k)
        split = list(groups.values())
        is_split = len(split) < len(chain) and all(len(g) > 1 for g in split)
        runs += split if is_split and "" not in groups else [chain]
    return [run for run in runs if len(run) > 1]


def _stage_of(name: str) -> str:
    """Return the first beginning of a block's name with a number, such as `conv2`."""
    found = prefixes(name)
    return found[0] if found else ""


def _stage_name(names: list[str], program: Program) -> str:
    stages = {_stage_of(name) for name in names}
    name = next(iter(stages)) if len(stages) == 1 and "" not in stages else "blocks"
    numbered = (name, *(f"{name}_{k}" for k in range(2, 1000)))
    return next(name for name in numbered if name not in program.modules)


def _loops(codes: list[Any]) -> list[Any]:
    """Return calls, those that repeat or count on as loops."""
    entries: list[Any] = []
    index = 0
    while index < len(codes):
        count = _same(codes[index:])
        if count > 1:
            entries.append(Repeated(codes[index], "_", count))
            index += count
            continue
        count = _counting(codes[index:])
        if count > 2:
            entries.append(Repeated(_in_steps(codes[index], codes[index + 1]), "k", count))
            index += count
            continue
        entries.append(codes[index])
        index += 1
    return entries


def _same(codes: list[Any]) -> int:
    count = 1
    while count < len(codes) and codes[count] == codes[0]:
        count += 1
    return count


def _values(code: Any) -> list[Any]:
    return [value for _, value in code.arguments]


def _counting(codes: list[Any]) -> int:
    """Return how many of the first calls have arguments that grow by the same steps."""
    if len(codes) < 3 or codes[0].function != codes[1].function:
        return 1
    steps = _steps(codes[0], codes[1])
    count = 2
    while (
        count < len(codes)
        and codes[count].function == codes[0].function
        and _steps(codes[count - 1], codes[count]) == steps
    ):
        count += 1
    return count if steps is not None else 1


def _steps(first: Any, second: Any) -> list[int] | None:
    pairs = list(zip(_values(first), _values(second), strict=True))
    if not all(type(a) is int and type(b) is int for a, b in pairs):
        return None
    return [b - a for a, b in pairs]


def _in_steps(first: Any, second: Any) -> Any:
    arguments = []
    for (name, value), step in zip(first.arguments, _steps(first, second) or [], strict=True):
        counted = Operation("*", (step, Code("k"))) if step != 1 else Code("k")
        arguments.append((name, Operation("+", (value, counted)) if step else value))
    return Call(first.function, tuple(arguments))
