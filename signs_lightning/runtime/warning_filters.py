"""What libraries say on a run's screen: silenced where the user can do nothing about it, short where it stays."""

from __future__ import annotations

import logging
import threading
import warnings
from typing import Any

IGNORED_WARNINGS = (  # said by libraries, about what the user neither caused nor can change
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*does not have many workers.*",
    r".*smaller than the logging interval.*",
    r".*module\(s\) in eval mode at the start of training.*",
    # figures are summed over processes already
    r".*It is recommended to use `self.log\('.*', \.\.\., sync_dist=True\)`.*",
    r".*Total length of `list` across ranks is zero.*",  # training without validation
    r".*callbacks used to create the checkpoint need to be provided.*",
    # ModelCheckpoint, in a run that goes on
    r".*Checkpoint directory .* exists and is not empty.*",
    # a test with the averaged weights, which is what it is for
    r".*loading a checkpoint outside the 'fit' stage.*",
    # SequentialLR of older PyTorch, of itself
    r".*The epoch parameter in `scheduler.step\(\)` was not necessary.*",
)


def filter_warnings() -> None:
    """Silences what libraries say about things that the user can do nothing about."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", pattern)
    warnings.formatwarning = _one_line
    threading.excepthook = _except_tensorboard


def _one_line(message: Warning | str, *where: Any, **more: Any) -> str:
    """A warning without the place in the code that gave it, which is no use to who reads it on a screen."""
    return f"{message}\n"


def _except_tensorboard(args: Any, report: Any = threading.excepthook) -> None:
    """What its writing thread meets, a full disk, is raised again by the next call from the main thread, and reported there."""
    if not type(args.thread).__module__.startswith("tensorboard."):
        report(args)
