"""Keeps freed memory in the process, so that training on a CPU doesn't fetch it from the operating system anew in every step."""

from __future__ import annotations

import ctypes
import os
import platform

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # glibc's names for mallopt, see mallopt(3)


def keep_freed_memory() -> bool:
    """Tells glibc's malloc to neither map large tensors one by one nor give the end of the heap back.

    PyTorch asks malloc for every tensor. By default a tensor of some MB is a mapping of its own:
        each step the kernel hands out
    zeroed pages by the thousand, which the network's own work waits for.

    Returns:
        Whether it was done: only on Linux with glibc, and not where the user has set `MALLOC_…`
            variables himself.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26, MMAP_MAX: 0}
    return sum(mallopt(name, value) for name, value in settings.items()) == len(
        settings
    )  # each gives 1 when it is taken
