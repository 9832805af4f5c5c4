"""The table that `test` prints."""

from __future__ import annotations

from rich.console import Console

from signs_lightning.models.metrics import Evaluation
from signs_lightning.models.task_metrics import TaskEvaluation
from signs_lightning.runtime.escaping import for_terminal
from signs_lightning.runtime.terminal import new_console, new_table, print_wrapped


def print_evaluation(
    evaluation: Evaluation | TaskEvaluation, console: Console | None = None
) -> None:
    """Print precision, recall and F1 of every class, and the accuracy; or a task's figures.

    Args:
        evaluation: of a test.
        console: where to print; the standard output when omitted.
    """
    console = console or new_console()
    if not isinstance(evaluation, Evaluation):
        table = new_table(*evaluation.header)
        for cells in evaluation.cells():
            table.add_row(*map(for_terminal, cells))
        console.print(table)
        print_wrapped(console, f"test {evaluation}")
        return
    table = new_table("class", "precision>", "recall>", "F1>", "images>")
    for row in evaluation.per_class():
        figures = (f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        table.add_row(for_terminal(str(row["class"])), *figures, f"{row['images']:,}")
    console.print(table)
    print_wrapped(console, f"test {evaluation}")
