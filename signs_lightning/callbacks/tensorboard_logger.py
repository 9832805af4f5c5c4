"""The run's TensorBoard logger: training and validation as two runs, as Keras writes them, so that one chart shows both."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard import SummaryWriter


def resume_logger(logger: Logger, folder: Path) -> None:
    """Lets a logger with a folder of its own go on in that of the run that is resumed, if it is one of its versions."""
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
    if isinstance(logger, CSVLogger) and metrics.is_file() and _is_first_process():
        before = metrics.read_bytes()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Experiment logs directory")
            writer = logger.experiment  # it deletes the figures that are there
        metrics.write_bytes(before)
        with metrics.open(newline="") as file:
            writer.metrics_keys = list(next(csv.reader(file), []))


class RunLogger(TensorBoardLogger):
    """Writes `loss` of training and of validation under one name into `train/` and `validation/` of the run folder.

    The run folder is `save_dir/name/version_N`; N is taken by making the folder, so that two runs
    started together don't share one.

    Args:
        save_dir: parent of the folders of all runs, `lightning_logs`.
        name: what the run is called; a folder of its own.
        version: an existing run folder's name to go on in, or None for a new one.
    """

    def __init__(self, save_dir: str | Path, name: str, version: str | None = None) -> None:
        super().__init__(save_dir, name=name, version=version, default_hp_metric=False)
        self._writers: dict[str, SummaryWriter] = {}

    def _get_next_version(self) -> int:
        number = super()._get_next_version()
        while _is_first_process():
            try:
                Path(self.root_dir, f"version_{number}").mkdir(parents=True)
                break
            except FileExistsError:
                number += 1
        return number

    def writer(self, part: str) -> SummaryWriter:
        """The writer of the part `train` or `validation`."""
        if part not in self._writers:
            self._writers[part] = SummaryWriter(str(Path(self.log_dir, part)))
        return self._writers[part]

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """`val_loss` goes to the validation part as `loss`, everything else to the training part.

        The x axis is the epoch; of what is logged by step, which Lightning calls `…_step`, it is
        the step.
        """
        values = dict(metrics)
        epoch = int(values.pop("epoch", step or 0))
        for name, value in values.items():
            part = "validation" if name.startswith("val_") else "train"
            x = step if name.endswith("_step") else epoch
            self.writer(part).add_scalar(name.removeprefix("val_"), value, x)

    @rank_zero_only
    def log_final(self, params: dict[str, Any], metrics: dict[str, float]) -> None:
        """Hyperparameters with the run's final metrics, for TensorBoard's HPARAMS page."""
        from torch.utils.tensorboard.summary import hparams

        texts = {
            key: value if isinstance(value, int | float | bool) else str(value)
            for key, value in params.items()
        }
        writer = self.writer("train")._get_file_writer()
        for summary in hparams(texts, metrics):
            writer.add_summary(summary)
        for name, value in metrics.items():
            self.writer("train").add_scalar(name, value, 0)

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
    def experiment(self) -> Any:
        """The training part's SummaryWriter, for `logger.experiment.add_image(…)` and the like."""
        return self.writer("train") if _is_first_process() else _NoWriter()


def _is_first_process() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0


class _NoWriter:
    """What other processes than the first get: takes every call, writes nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None
