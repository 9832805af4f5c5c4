"""What `test` prints."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from signs_lightning.models.metrics import Evaluation
from signs_lightning.runtime.escaping import for_terminal


def print_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Prints precision, recall and F1 of every class, and the accuracy with its interval on one line that is never wrapped."""
    console = console or Console()
    table = Table()
    table.add_column("class")
    for column in ("precision", "recall", "F1", "images"):
        table.add_column(column, justify="right")
    for row in evaluation.per_class():
        table.add_row(
            for_terminal(str(row["class"])),
            f"{row['precision']:.3f}",
            f"{row['recall']:.3f}",
            f"{row['f1']:.3f}",
            f"{row['images']:,}",
        )
    console.print(table)
    console.print(f"test {evaluation}", soft_wrap=True, highlight=False, markup=False)
