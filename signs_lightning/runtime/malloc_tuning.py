"""Keep freed memory in the process instead of fetching it anew in every step."""

from __future__ import annotations

import ctypes
import os
import platform

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # glibc's names for mallopt, see mallopt(3)


def keep_freed_memory() -> bool:
    """Set glibc's malloc so that it returns no memory to the operating system.

    PyTorch asks malloc for every tensor. By default a tensor of some MB is a mapping of its own, so
    that in each step the kernel zeroes thousands of pages before the network can use them.

    Returns:
        Whether it was done: only on Linux with glibc, and unless the user has set `MALLOC_…`
        variables.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26, MMAP_MAX: 0}
    return sum(mallopt(*setting) for setting in settings.items()) == len(settings)  # 1 for success
