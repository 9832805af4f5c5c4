"""What ends a run from outside, in a sentence: a full disk, a folder that is gone, a lost connection, no compiler."""

from __future__ import annotations

import errno
import re

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from signs_lightning.runtime.os_errors import error_number, os_error_message

RESUME_HINT = "`fit --ckpt_path` and the run folder"


def explain_run_error(error: Exception, verb: str) -> str | None:
    """The sentence for an error that the user can do something about; None for any other.

    Args:
        error: what ended a run.
        verb: fit, validate or test.
    """
    message = str(error).strip()
    if isinstance(error, MisconfigurationException):
        over = re.search(
            r"current_epoch=(\d+), but you have set Trainer\(max_epochs=(-?\d+)\)", message
        )
        if over:
            return (
                f"The run is in epoch {int(over[1]) + 1} already, past --trainer.max_epochs "
                f"{over[2]}. Give more to go on."
            )
        return message
    if error_number(error) in (
        errno.EMFILE,
        errno.ENFILE,
    ):  # also of torch, which shares tensors of workers through files
        return f"{os_error_message(error, getattr(error, 'filename', None) or 'A file')}"
    if isinstance(error, OSError):
        return _of_the_system(error, verb)
    if (
        isinstance(error, ModuleNotFoundError) and "is not installed" in message
    ):  # Lightning names the package and who needs it
        return (
            f"{message.partition(' Requirement')[0].rstrip('. ')}. Install it, or leave out "
            "what needs it."
        )
    if not isinstance(error, RuntimeError):
        return None
    if (
        isinstance(error, getattr(torch.distributed, "DistError", ()))
        or "gloo/transport" in message
    ):
        return (
            "The connection to another process of this run is lost: that one has ended, for a "
            "reason of its own. "
            f"Go on with {RESUME_HINT}."
        )
    if (
        isinstance(error, torch.OutOfMemoryError)
        or "DefaultCPUAllocator: can't allocate memory" in message
    ):
        return (
            "The memory is not enough for a step of this size. Lower --data.batch_size, or "
            "take a smaller image or model."
        )
    if message.startswith("Early stopping conditioned on metric"):
        return (
            f"{message.partition(' Pass in')[0].rstrip('. ')}. Give EarlyStopping another "
            "`monitor`, or data to validate on, such as "
            "--data.val_fraction 0.2."
        )
    if "Error(s) in loading state_dict" in message:
        return (
            "The checkpoint's weights do not fit this model. Leave --model out to use the "
            "checkpoint's own."
        )
    if type(error).__module__.startswith(
        ("torch._dynamo", "torch._inductor")
    ):  # no compiler on this machine, mostly
        reason = message.splitlines()[0].rstrip(".")
        return f"torch.compile cannot be used here: {reason}. Drop --model.compile."
    return None


def _of_the_system(error: OSError, verb: str) -> str | None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"There is no room left on the disk ({error.strerror}). Files under their final names "
            "are whole: free some space, "
            f"then go on with {RESUME_HINT}."
        )
    if verb == "fit" and (
        isinstance(error, PermissionError | NotADirectoryError) or error.errno == errno.EROFS
    ):
        return (
            f"{error.filename} cannot be written: {error.strerror}. Name another place for the "
            "run's folder with "
            "--trainer.default_root_dir."
        )
    if verb == "fit" and isinstance(
        error, FileNotFoundError
    ):  # data files are found missing before a run begins
        return (
            f"{error.filename} is gone: the run's folder was moved or deleted while it "
            "trained. Begin a new run."
        )
    return None
