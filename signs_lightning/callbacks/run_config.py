"""config.yaml: the configuration in the run folder, and in every checkpoint."""

from __future__ import annotations

import enum
import os
import warnings
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace, get_loader
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.trainer import Trainer

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.models.plain_arguments import plain_arguments
from signs_lightning.runtime.format_migrations import FORMAT_VERSION, migrate_config
from signs_lightning.runtime.own_code import object_path
from signs_lightning.runtime.torchrun_restarts import save_for_restart

# what the parser writes for a default that is no plain value, such as a torch.device
UNKNOWN = "Unable to serialize instance"


def remove_unknown_defaults(value: Any) -> Any:
    """Return a configuration without defaults that are no plain values."""
    if isinstance(value, dict):
        return {k: remove_unknown_defaults(v) for k, v in value.items() if not _is_unknown(v)}
    if isinstance(value, list):
        return [remove_unknown_defaults(part) for part in value if not _is_unknown(part)]
    return value


def _is_unknown(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(UNKNOWN)


def _with_given_values(dumped: Any, given: Any) -> Any:
    """Return what the parser wrote, with texts and mappings as they were given.

    Where an option takes several types, such as a function or a text, the parser writes a value as
    if it were of the first of them.
    """
    if isinstance(dumped, dict) and isinstance(given, Namespace):
        values = vars(given)
        return {key: _with_given_values(part, values.get(key)) for key, part in dumped.items()}
    if isinstance(dumped, list) and isinstance(given, list) and len(dumped) == len(given):
        return [_with_given_values(*pair) for pair in zip(dumped, given, strict=True)]
    return given if isinstance(dumped, str) and isinstance(given, str | dict) else dumped


def _with_plain_enums(value: Any) -> Any:
    """Replace members of text enumerations, which the parser cannot write."""
    if isinstance(value, Namespace):
        return Namespace(**{key: _with_plain_enums(part) for key, part in vars(value).items()})
    if isinstance(value, list):
        return [_with_plain_enums(part) for part in value]
    return value.value if isinstance(value, enum.Enum) and isinstance(value, str) else value


class ConfigParser(LightningArgumentParser):
    """Read configurations of earlier formats as well, and no later ones."""

    def parse_string(
        self, content: str, path: str | os.PathLike = "", *args: Any, **kwargs: Any
    ) -> Any:
        """Parse a configuration whose names are brought up to date; all go through this."""
        return super().parse_string(_up_to_date(content, str(path)), path, *args, **kwargs)


def _up_to_date(content: str, path: str) -> str:
    try:
        config = get_loader("yaml")(content)
    except (yaml.YAMLError, ValueError, RecursionError):  # the parser says what is wrong with it
        return content
    if not isinstance(config, dict):
        return content
    current = migrate_config(config, path or "The configuration")
    # as it was typed, if possible
    return content if current == config else yaml.safe_dump(current, sort_keys=False)


class SaveRunConfig(EpochCallback, SaveConfigCallback):
    """Write the configuration into the run folder and into every checkpoint."""

    plain_config: dict[str, Any] | None = None  # until the run is set up

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        directory = trainer.log_dir  # on every process, because the first one tells the others
        plain_arguments(pl_module.hparams, type(pl_module).__name__)  # before it is trained
        writes = stage == "fit" and directory is not None and trainer.loggers
        self.folder = Path(str(directory)) if writes else None
        self.is_written_late = False
        if self.folder is not None and self._is_own(self.config.get("ckpt_path")):
            self.config = self._as_begun(self.config.clone(), self.folder / "config.yaml")
        # Once, because the parser takes seconds over it.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=rf"\s*{UNKNOWN}")
            config = _with_plain_enums(self.config)
            self.text = self.parser.dump(config, skip_none=False, skip_validation=True)
        written = yaml.safe_load(self.text)
        self.plain_config = remove_unknown_defaults(_with_given_values(written, config))
        if self.plain_config != written:
            self.text = yaml.safe_dump(self.plain_config, sort_keys=False, allow_unicode=True)
        if self.folder is not None and trainer.is_global_zero:
            # An existing one is replaced only when all checks have let the run resume there.
            self.is_written_late = (self.folder / "config.yaml").exists()
            if not self.is_written_late:
                self._write(self.folder)
            save_for_restart(self.folder)

    def _is_own(self, path: str | None) -> bool:
        """Whether a checkpoint is of this very run, and not one that it began from."""
        if not path or self.folder is None:
            return False
        return self.folder.resolve() in Path(str(path)).resolve().parents

    def _as_begun(self, config: Any, written: Path) -> Any:
        """Return a resumed run's configuration as that of its beginning.

        It names the file that weights came from at first, and no checkpoint of its own.
        """
        first = keras_file = None
        try:
            before = yaml.safe_load(written.read_text(encoding="utf-8"))
            first, keras_file = before.get("ckpt_path"), before["model"]["init_args"].get("path")
        except (OSError, ValueError, yaml.YAMLError, RecursionError):
            pass  # gone, or edited by hand
        except (AttributeError, LookupError, TypeError):
            pass  # likewise
        config.ckpt_path = None if self._is_own(first) else first
        if keras_file and "path" in config.model.init_args:
            config.model.init_args.path = keras_file
        return config

    def _write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / "config.writing"
        # The parser leaves out of what it writes all options that --help does not show.
        part.write_text(f"format_version: {FORMAT_VERSION}\n{self.text}", encoding="utf-8")
        os.replace(part, folder / "config.yaml")

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self.is_written_late and self.folder is not None:
            self._write(self.folder)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: Any) -> None:
        if self.plain_config is not None:
            checkpoint["config"] = self.plain_config
        if not isinstance(pl_module, ImageClassifier):  # which says more of itself
            kind = type(pl_module)
            name = object_path(kind) or kind.__name__
            checkpoint["signs_lightning"] = {"format_version": FORMAT_VERSION, "model": name}
            checkpoint["hyper_parameters"] = plain_arguments(pl_module.hparams, kind.__name__)
