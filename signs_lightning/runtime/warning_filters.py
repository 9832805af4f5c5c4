"""Filters for warnings of libraries that the user can do nothing about."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from signs_lightning.runtime.terminal import line_width, wrap_words

IGNORED_WARNINGS = (  # about what the user neither caused nor can change
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*does not have many workers.*",
    r".*smaller than the logging interval.*",
    r".*module\(s\) in eval mode at the start of training.*",
    # metrics are summed over processes already
    r".*It is recommended to use `self.log\('.*', \.\.\., sync_dist=True\)`.*",
    r".*Total length of `list` across ranks is zero.*",  # training without validation
    r".*callbacks used to create the checkpoint need to be provided.*",
    # ModelCheckpoint, in a resumed run
    r".*Checkpoint directory .* exists and is not empty.*",
    # OnExceptionCheckpoint, in a run that begins and has no file of it yet
    r".*The last model of the previous `fit` call will be used.*",
    r".*but there is no last checkpoint available\. No checkpoint will be loaded.*",
    # a test with the averaged weights, which is what it is for
    r".*loading a checkpoint outside the 'fit' stage.*",
    # torch.compile: no option sets it, and convolutions, which take the time, use it by default
    r".*TensorFloat32 tensor cores for float32 matrix multiplication available.*",
    # Lightning prepares DDP on a stream of its own: a wait a step, and the same numbers
    r".*AccumulateGrad node's stream does not match.*",
    # SequentialLR of older PyTorch calls itself that way
    r".*The epoch parameter in `scheduler.step\(\)` was not necessary.*",
)
LIGHTNING_LOGGERS = ("lightning.pytorch", "lightning.fabric")


def filter_warnings() -> None:
    """Filter the warnings and log lines of libraries for the rest of the process."""
    for name in LIGHTNING_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", pattern)
    warnings.formatwarning = _one_line
    threading.excepthook = _report_thread_error


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Filter the same warnings and log lines while this lasts, and leave all else as it is."""
    loggers = [logging.getLogger(name) for name in LIGHTNING_LOGGERS]
    chatty = [logger for logger in loggers if logger.level == logging.INFO]  # Lightning's default
    with warnings.catch_warnings():
        for pattern in IGNORED_WARNINGS:
            warnings.filterwarnings("ignore", pattern)
        for logger in chatty:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger in chatty:
                logger.setLevel(logging.INFO)


def _one_line(message: Warning | str, *where: Any, **more: Any) -> str:
    """Return a warning without the line of code that raised it, wrapped for a terminal."""
    return f"{wrap_words(str(message), line_width(sys.stderr))}\n"


def _report_thread_error(args: Any, report: Any = threading.excepthook) -> None:
    """Report a thread's error, unless the main thread will raise it: TensorBoard's."""
    if not type(args.thread).__module__.startswith("tensorboard."):
        report(args)


class _NoWarnings:
    """Ignore all warnings while any thread is in here.

    Threads that each use `warnings.catch_warnings` would restore each other's filters.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters = warnings.catch_warnings(action="ignore")
                self._filters.__enter__()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)


NO_WARNINGS = _NoWarnings()
