"""Arguments and images of every rival.

Needs h5py and NumPy only, so that any interpreter can import it.
"""

from __future__ import annotations

import argparse

import h5py
import numpy as np

BATCH_SIZES = {"functional": 64, "sequential": 16, "resnet50": 32}  # as the course trains them
CLASSES = {"functional": 6, "sequential": 2, "resnet50": 6}


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that all rivals have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", choices=list(BATCH_SIZES), required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--train_file", required=True)
    parser.add_argument(
        "--test_file", help="validated on after each epoch; no validation when omitted"
    )
    parser.add_argument("--batch_size", type=int, help="the course's when omitted")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 where it is safe")
    return parser


def read(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Read uint8 images (N, H, W, C) and int64 labels (N,) of a training file."""
    with h5py.File(path, "r") as file:
        kind = "train" if "train_set_x" in file else "test"
        return file[f"{kind}_set_x"][()], file[f"{kind}_set_y"][()].astype(np.int64).reshape(-1)
