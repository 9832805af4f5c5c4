"""Lightning's plugin for writing checkpoints, without its temporary folder."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


class DirectCheckpointIO(TorchCheckpointIO):
    """Write checkpoints straight to their path.

    Lightning's own writes into the system's folder for temporary files first, where a killed run
    leaves the file behind, and which may be full or a disk of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, memoryview] | None = None

    @contextmanager
    def holding(self) -> Iterator[dict[str, memoryview]]:
        """Keep the bytes of what is saved meanwhile, by its path, instead of writing them."""
        held: dict[str, memoryview] = {}
        self._held = held
        try:
            yield held
        finally:
            self._held = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        _remove_functions(checkpoint)
        # In memory first: torch.save on a full disk ends in a RuntimeError that doesn't say why.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        if self._held is not None:
            self._held[str(path)] = content.getbuffer()
            return
        write_bytes(content.getbuffer(), Path(path))


def write_bytes(content: memoryview, path: Path) -> None:
    """Write bytes to a file, and make its folder where it lacks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _remove_functions(checkpoint: dict[str, Any]) -> None:
    """Remove the function that SWALR keeps in its state up to PyTorch 2.8."""
    callbacks = checkpoint.get("callbacks", {}).values()
    states = [state.get("scheduler_state") for state in callbacks if isinstance(state, dict)]
    for state in [*states, *checkpoint.get("lr_schedulers", [])]:
        if isinstance(state, dict):
            state.pop("anneal_func", None)
