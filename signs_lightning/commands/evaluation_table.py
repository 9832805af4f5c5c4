"""The table that `test` prints."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from signs_lightning.models.metrics import Evaluation
from signs_lightning.runtime.escaping import for_terminal


def print_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print precision, recall and F1 of every class, and the accuracy.

    The line of the accuracy is never wrapped.
    """
    console = console or Console()
    table = Table("class")
    for column in ("precision", "recall", "F1", "images"):
        table.add_column(column, justify="right")
    for row in evaluation.per_class():
        figures = (f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        table.add_row(for_terminal(str(row["class"])), *figures, f"{row['images']:,}")
    console.print(table)
    console.print(f"test {evaluation}", soft_wrap=True, highlight=False, markup=False)
