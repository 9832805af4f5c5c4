"""The run's TensorBoard logger: training and validation in one chart."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard import SummaryWriter


def resume_logger(logger: Logger, folder: Path) -> None:
    """Let a logger write into the run folder that is resumed, if that is its own.

    Args:
        logger: only those with a folder of their own are changed.
        folder: of the run that is resumed.
    """
    if not isinstance(logger, TensorBoardLogger | CSVLogger):
        return
    given = logger._version
    for version in (given, folder.name, folder.parent.name):
        logger._version = version
        if version is not None and Path(logger.log_dir).resolve() == folder.resolve():
            break
    else:
        logger._version = given
        return
    metrics = folder / ExperimentWriter.NAME_METRICS_FILE
    if isinstance(logger, CSVLogger) and metrics.is_file() and is_first_process():
        before = metrics.read_bytes()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Experiment logs directory")
            writer = logger.experiment  # it deletes the metrics that are there
        metrics.write_bytes(before)
        with metrics.open(newline="") as file:
            writer.metrics_keys = list(next(csv.reader(file), []))


class RunLogger(TensorBoardLogger):
    """Write metrics into `train/` and `validation/` under one name, as Keras does.

    The run folder is `save_dir/name/version_N`; N is taken by making the folder, so that two runs
    started together don't share one.

    Args:
        save_dir: parent of the folders of all runs, `lightning_logs`.
        name: what the run is called; a folder of its own.
        version: an existing run folder's name to resume in, or None for a new one.
    """

    def __init__(self, save_dir: str | Path, name: str, version: str | None = None) -> None:
        self.run_name = name  # may change until something is written
        super().__init__(save_dir, name=name, version=version, default_hp_metric=False)
        self._writers: dict[str, SummaryWriter] = {}

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.run_name

    def _get_next_version(self) -> int:
        number = super()._get_next_version()
        while is_first_process():
            try:
                Path(self.root_dir, f"version_{number}").mkdir(parents=True)
                break
            except FileExistsError:
                number += 1
        return number

    def writer(self, part: str) -> SummaryWriter:
        """Return the writer of the part `train` or `validation`."""
        if part not in self._writers:
            self._writers[part] = SummaryWriter(str(Path(self.log_dir, part)))
        return self._writers[part]

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write `val_loss` to the validation part as `loss`, and so on.

        Args:
            metrics: their epoch is the x axis.
            step: of the optimizer; the x axis of what Lightning calls `…_step`.
        """
        values = dict(metrics)
        epoch = int(values.pop("epoch", step or 0))
        for name, value in values.items():
            part = "validation" if name.startswith("val_") else "train"
            x = step if name.endswith("_step") else epoch
            self.writer(part).add_scalar(name.removeprefix("val_"), value, x)

    @rank_zero_only
    def save(self) -> None:
        for writer in self._writers.values():
            writer.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The training part's SummaryWriter, for `experiment.add_image(…)` and such."""
        return self.writer("train")


def is_first_process() -> bool:
    """Return whether this is the process that writes, also before there is a Trainer."""
    return getattr(rank_zero_only, "rank", 0) == 0
