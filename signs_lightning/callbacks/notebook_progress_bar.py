"""The progress bar in a cell of a notebook, with or without ipywidgets."""

from __future__ import annotations

import time
from html import escape
from typing import Any

from rich.console import Console

from signs_lightning.callbacks.progress_bar import EpochProgressBar
from signs_lightning.runtime.progress import ProgressLine

REFRESH_SECONDS = 0.25


class NotebookProgressBar(EpochProgressBar):
    """Plain lines for epochs, and above them a bar over the batches until the end."""

    def __init__(self) -> None:
        super().__init__(Console(force_jupyter=False, force_terminal=False))
        self._line = NotebookLine(self.console)


class NotebookLine(ProgressLine):
    """A line of HTML in a cell that is replaced, which every notebook can show."""

    can_be_drawn = True
    _handle: Any = None

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._drawn >= REFRESH_SECONDS

    def draw(self) -> None:
        self._drawn = time.monotonic()
        name, *texts = next(self._texts())
        figures = "  ".join(text for text in texts if text)
        bar = f'<progress value="{self.done}" max="{self.total}"></progress>  ' * bool(self.total)
        self._replace(f"<pre>{escape(name)}  {bar}{escape(figures)}</pre>", f"{name}  {figures}")

    def close(self) -> None:
        if self._handle is not None:
            self._replace("", "")
            self._handle = None

    def _replace(self, html: str, text: str) -> None:
        from IPython.display import display  # optional: it is there in a notebook

        content = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
