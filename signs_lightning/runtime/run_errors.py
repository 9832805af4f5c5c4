"""Sentences for errors that end a run, such as a full disk or too little memory."""

from __future__ import annotations

import errno
import os
import pickle
import re

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from signs_lightning.runtime.file_read_errors import error_number, os_error_message
from signs_lightning.runtime.own_code import is_own_error
from signs_lightning.runtime.process_watch import LOST

FULL = (errno.ENOSPC, errno.EDQUOT)  # no room on the disk
RESTORING = ("checkpoint_connector.py", "migration.py")  # files of Lightning
# what a state of another kind than a fit writes leads Lightning and PyTorch to
MISFITS = (AttributeError, TypeError, ValueError, LookupError, AssertionError, RuntimeError)
PAST_MAX_EPOCHS = re.compile(r"current_epoch=(\d+), but you have set Trainer\(max_epochs=(-?\d+)\)")


def explain_run_error(error: Exception, verb: str) -> str | None:
    """Return a sentence for an error that the user can do something about, or None.

    None also for an error of the user's own code, which is seen best in its traceback, unless disk
    or memory are full.

    Args:
        error: what ended a run.
        verb: fit, validate or test.
    """
    message = str(error).strip()
    is_shortage = error_number(error) in FULL or _is_out_of_memory(error, message)
    if is_own_error(error) and not is_shortage:
        return None  # where it happened says more
    if isinstance(error, MisconfigurationException):
        if match := PAST_MAX_EPOCHS.search(message):
            done = int(match[1]) + 1
            return (
                f"The run has {done} epochs already, more than --trainer.max_epochs {match[2]}. "
                "Give more to resume it."
            )
        if message == "No supported gpu backend found!":
            return "A GPU is asked for, and PyTorch finds none. Add --trainer.accelerator cpu"
        return message
    if message == "SyncBatchNorm layers only work with GPU modules":
        return (
            "PyTorch makes BatchNorm's statistics common to all processes on GPUs alone. Leave out "
            "--trainer.sync_batchnorm, or train on GPUs."
        )
    if error_number(error) in (errno.EMFILE, errno.ENFILE):
        # also from torch, which shares the tensors of workers through files
        return str(os_error_message(error, getattr(error, "filename", None) or "A file"))
    if isinstance(error, OSError):
        return _explain_os_error(error, verb)
    if isinstance(error, ModuleNotFoundError) and "is not installed" in message:
        # Lightning names the package and who needs it
        reason = message.partition(" Requirement")[0].rstrip(". ")
        return f"{reason}. Install it, or leave out what needs it."
    if isinstance(error, pickle.UnpicklingError):  # such as what OnExceptionCheckpoint kept
        return "A checkpoint holds more than weights and plain values, or is damaged: refused."
    if isinstance(error, MISFITS) and _is_restoring(error) and "in loading" not in message:
        return (
            "The checkpoint's state of training cannot be restored: it was damaged or edited, or "
            "callbacks are other ones now. Add --fresh_optimizer true to train its weights anew."
        )
    return _explain_runtime_error(error, message) if isinstance(error, RuntimeError) else None


def _explain_runtime_error(error: RuntimeError, message: str) -> str | None:
    lost = isinstance(error, getattr(torch.distributed, "DistError", ()))
    if lost or "gloo/transport" in message:
        return LOST
    if _is_out_of_memory(error, message):
        return (
            "The memory is not enough for a step of this size. Lower --data.batch_size, or take a "
            "smaller image or model."
        )
    if message.startswith("Early stopping conditioned on metric"):
        return (
            f"{message.partition(' Pass in')[0].rstrip('. ')}. Give EarlyStopping another "
            "`monitor`, or data to validate on, such as --data.val_fraction 0.2."
        )
    if message.startswith("Training spike detected"):
        return (
            f"{message}: SpikeDetection ends the run, whose loss grew more than it allows. Give it "
            "another `atol` or `rtol`, or lower --model.lr."
        )
    if "Error(s) in loading state_dict" in message:
        return (
            "The checkpoint's weights do not fit this model. Leave --model out to use the "
            "checkpoint's own."
        )
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        reason = message.splitlines()[0].rstrip(".")  # mostly: no compiler on this machine
        return f"torch.compile cannot be used here: {reason}. Drop --model.compile."
    return None


def _is_restoring(error: BaseException) -> bool:
    """Return whether an error is raised where Lightning restores a run from its checkpoint."""
    trace, files = error.__traceback__, set()
    while trace is not None:
        files.add(os.path.basename(trace.tb_frame.f_code.co_filename))
        trace = trace.tb_next
    return not files.isdisjoint(RESTORING)


def _is_out_of_memory(error: Exception, message: str) -> bool:
    no_memory = "DefaultCPUAllocator: can't allocate memory" in message
    return no_memory or isinstance(error, torch.OutOfMemoryError)


def _explain_os_error(error: OSError, verb: str) -> str | None:
    if error.errno in FULL:
        return (
            f"There is no room left on the disk ({error.strerror}). Files under their final names "
            "are whole: free some space, then resume with `fit --ckpt_path` and the run folder."
        )
    if verb != "fit":
        return None
    if isinstance(error, PermissionError | NotADirectoryError) or error.errno == errno.EROFS:
        return (
            f"{error.filename} cannot be written: {error.strerror}. Name another place for the "
            "run's folder with --trainer.default_root_dir."
        )
    if isinstance(error, FileNotFoundError):  # missing data files are found before a run begins
        return (
            f"{error.filename} is gone: the run's folder was moved or deleted while it trained. "
            "Begin a new run."
        )
    return None
