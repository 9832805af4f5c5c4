"""The cells of a source, one after the other."""

from __future__ import annotations

import ast
import posixpath
from typing import TYPE_CHECKING

from signs_lightning.translate.cells import Cell
from signs_lightning.translate.findings import NOT_UNDERSTOOD, UNDERSTOOD, Finding
from signs_lightning.translate.interpretation import Interpretation
from signs_lightning.translate.limits import LimitError
from signs_lightning.translate.scopes import Module, Scope
from signs_lightning.translate.statements import first_line, run_statement
from signs_lightning.translate.values import Place, Unknown

if TYPE_CHECKING:
    from signs_lightning.translate.interpreter import Interpreter


def run_all(interpreter: Interpreter, cells: list[Cell]) -> Interpretation:
    """Interpret cells, one after the other."""
    module = Module("__main__")
    scope = Scope(module)
    interpreter.is_python2 = any(cell.is_python2 for cell in cells)
    for cell in cells:
        if cell.tree is None:
            _note_unread(interpreter, cell, scope)
            continue
        for number, node in enumerate(cell.tree.body, 1):
            interpreter.raised = None
            _run_bounded(interpreter, node, scope)
            if interpreter.raised is not None:
                _end_cell(interpreter, cell.tree.body[number:], interpreter.raised, scope)
                break
    return Interpretation(
        interpreter.findings,
        module.variables,
        interpreter.imports,
        interpreter.effects.everything,
        interpreter.unread_trainings,
        interpreter.trainings,
        interpreter.budget.reason,
    )


def _end_cell(
    interpreter: Interpreter, rest: list[ast.stmt], raised: Unknown, scope: Scope
) -> None:
    """Do as if the statements after one that raises an exception may have run or not."""
    is_end = raised.reason.startswith("it raises SystemExit")
    if rest and not is_end and interpreter.havoc(list(rest), scope, raised):
        interpreter.findings.add_unknown(raised)


def _run_bounded(interpreter: Interpreter, node: ast.stmt, scope: Scope) -> None:
    if not interpreter.budget.reason:
        try:
            run_statement(interpreter, node, scope)
            return
        except LimitError:
            interpreter.kinds = [set()]
            interpreter.depth = interpreter.statement_depth = 0
    reason = f"the source takes {interpreter.budget.reason}"
    unknown = Unknown(reason, interpreter.place(node, scope))
    interpreter.findings.add(Finding(unknown.place, NOT_UNDERSTOOD, first_line(node), reason))
    everything = interpreter.effects.everything
    if not everything or everything[-1].reason != reason:
        everything.append(unknown)


def _note_unread(interpreter: Interpreter, cell: Cell, scope: Scope) -> None:
    place = Place(cell.number, 1)
    text = next((line for line in cell.text.splitlines() if line.strip()), "")
    if cell.problem in ("%%writefile", "%%file"):
        _write(interpreter, cell.text)
    if cell.problem.startswith("%%"):
        interpreter.findings.add(Finding(place, UNDERSTOOD, text, f"{cell.problem} is not Python"))
    else:
        reason = f"the cell does not parse ({cell.problem})"
        interpreter.findings.add(Finding(place, NOT_UNDERSTOOD, text, reason))
        if interpreter.is_python2:  # which may have run it
            interpreter.effects.havoc_text(cell.text, scope, Unknown(reason, place))


def _write(interpreter: Interpreter, text: str) -> None:
    """Keep the text of a file that a cell writes, for imports that follow."""
    head, _, body = text.lstrip().partition("\n")
    *options, name = head.split()[1:] or [""]
    key = posixpath.normpath(name.strip("'\""))
    interpreter.written[key] = (interpreter.written.get(key, "") if "-a" in options else "") + body
