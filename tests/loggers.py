"""A logger without a folder of its own, as those of web services are."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.loggers.logger import DummyLogger


class Elsewhere(DummyLogger):
    """Writes nothing here; its folder is the working directory."""

    @property
    def save_dir(self) -> str:
        return "."

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        pass
