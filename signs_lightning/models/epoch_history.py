"""One row of metrics for every epoch, with Keras's names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import lightning as L

from signs_lightning.errors import InputError
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.models.packed_history import HistoryPacker
from signs_lightning.models.stochastic_averaging import is_batch_norm_pass
from signs_lightning.runtime.display_table import Displayed, DisplayTable
from signs_lightning.runtime.rank_zero_print import rank_zero_print

if TYPE_CHECKING:
    from signs_lightning.models.curves import CurvesFigure


class History(Displayed, list[dict[str, float | int]]):
    """A run's epochs: a list of dicts of epoch (from 0), loss, accuracy, val_loss and so on.

    It shows itself as a table, whose epochs are counted from 1 as on the screen and in curves.
    """

    def __init__(self, rows: Iterable[dict[str, float | int]] = ()) -> None:
        super().__init__(rows)
        self.packer = HistoryPacker()  # for checkpoints

    def display_parts(self) -> list[str | DisplayTable]:
        if not self:
            return ["No epoch has been trained yet."]
        columns = list(dict.fromkeys(["epoch", *(key for row in self for key in row)]))
        rows = [[_format_figure(key, row.get(key)) for key in columns] for row in self]
        return [DisplayTable(columns, rows)]

    def plot(self, *names: str) -> CurvesFigure:
        """Return a figure of training and validation over the epochs; a notebook shows it.

        Args:
            names: of metrics, side by side; loss and accuracy when omitted.

        Raises:
            InputError: there is no epoch, or no such metric.
        """
        from signs_lightning.models.curves import curve_names, plot_curves  # start-up: matplotlib

        if not self:
            raise InputError("There is no history to plot: no epoch has been trained yet.")
        known = {key.removeprefix("val_") for row in self for key in row} - {"epoch"}
        for name in names:
            if name not in known:
                raise InputError(f"The history has no '{name}', only {', '.join(sorted(known))}.")
        return plot_curves(self, names=names or curve_names(self), dpi=100)


def _format_figure(name: str, value: object) -> str:
    if not isinstance(value, int | float):  # not measured; or a checkpoint that was edited
        return "" if value is None else str(value)
    return f"{value + 1:.0f}" if name == "epoch" else f"{value:.4f}"


def print_resumed(trainer: L.Trainer, model: Any) -> None:
    """Say where a run of our own is resumed."""
    rows, most = model.history, trainer.max_epochs or -1
    done = int(rows[-1]["epoch"]) + 1 if rows else 0
    if int(model.train_totals.count):
        rank_zero_print(f"Resuming in the middle of epoch {done + 1}.")
    elif done >= most > 0:
        rank_zero_print(
            f"The run has {done} epochs already, and --trainer.max_epochs is {most}. Give more to "
            "train on."
        )
    elif done:
        rank_zero_print(f"Resuming after epoch {done}.")


class EpochHistory(EpochCallback):
    """Append each epoch's metrics to `model.history`, and log them.

    A row has epoch (from 0, as Keras counts them), loss and accuracy, and those of validation where
    the epoch was validated.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        pl_module.validation_metrics = {}  # finders of batch size or learning rate leave some

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        pl_module.learning_rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        metrics = pl_module.train_totals.figures()
        pl_module.train_totals.reset()
        if is_batch_norm_pass(trainer):  # trains nothing
            pl_module.validation_metrics = {}
            return
        pl_module.log_dict(metrics, prog_bar=True)
        pl_module.log("learning_rate", pl_module.learning_rate)
        row = {"epoch": trainer.current_epoch, **metrics, **pl_module.validation_metrics}
        pl_module.history.append(row)
        pl_module.validation_metrics = {}
