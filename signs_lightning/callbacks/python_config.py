"""config.yaml of a run that was begun in Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import yaml

from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.data.paths import ARRAYS
from signs_lightning.models.classifier import OBJECTS, ImageClassifier
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.runtime.format_migrations import FORMAT_VERSION


class SavePythonConfig(EpochCallback):
    """Write what `fit --config` needs to run again, and keep it in checkpoints.

    A run with what no configuration can name is left without: arrays, a class of one's own, a model
    that was trained before, or an optimizer, a callback or a logger that is an object.

    Args:
        options: arguments of the Trainer that the user gave.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = {key: value for key, value in options.items() if value is not None}
        self.config: dict[str, Any] | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder = trainer.log_dir  # on every process, because the first one tells the others
        self.config = self._describe(trainer, pl_module)
        is_fast = getattr(trainer, "fast_dev_run", False)
        if self.config is None or folder is None or is_fast or not trainer.is_global_zero:
            return
        path = Path(folder) / "config.yaml"
        if path.exists():  # as the run began
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        part = path.with_name("config.writing")
        part.write_text(f"format_version: {FORMAT_VERSION}\n{text}", encoding="utf-8")
        os.replace(part, path)

    def _describe(self, trainer: L.Trainer, model: Any) -> dict[str, Any] | None:
        data: Any = getattr(trainer, "datamodule", None)
        kind, start = type(model), trainer.ckpt_path
        # Not a Keras file's model, whose weights are the file's, nor a network that is an object.
        is_known = kind.__module__.startswith("signs_lightning.models.")
        if not is_known or kind is ImageClassifier or type(data) is not H5DataModule:
            return None
        is_trained = bool(model.history) and not start
        if is_trained or any(getattr(model, name, None) for name in OBJECTS):
            return None
        stored = {key: value for key, value in data.state_dict().items() if value is not None}
        if ARRAYS in stored.values():
            return None
        seed = os.environ.get("PL_GLOBAL_SEED")
        config = {
            "seed_everything": False if seed is None else int(seed),
            "name": trainer.loggers[0].name,
            "trainer": self.options,
            "model": {
                "class_path": kind.__name__,
                "init_args": {k: v for k, v in model.hparams.items() if v is not None},
            },
            "data": {key: value for key, value in stored.items() if key != "fingerprints"},
            **({"ckpt_path": str(start)} if start else {}),
        }
        try:
            plain: dict[str, Any] = yaml.safe_load(yaml.safe_dump(_plain(config), sort_keys=False))
        except yaml.YAMLError:  # an object among them
            return None
        return plain

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: Any, checkpoint: Any) -> None:
        if self.config is not None:
            checkpoint["config"] = self.config


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, Path):
        return str(value)
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
