"""Freed memory stays in the process: the kernel's own count of page faults tells."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from signs_lightning.runtime.malloc_tuning import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(15):
    torch.ones(2**24)  # 64 MiB
before = faults()
for _ in range(10):
    torch.ones(2**24)
print(faults() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_a_tensor_takes_the_place_of_the_one_before() -> None:
    """Ten tensors of 64 MiB, one after the other: 16,384 pages each by default, next to none where
    memory is kept.
    """
    environment = {"PATH": "/usr/bin:/bin"}
    found = {}
    for how in ("default", "kept"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        found[how] = int(done.stdout)
    assert found["kept"] < 500
    # Transparent huge pages may make it far less than 163,840.
    assert found["default"] > 10 * found["kept"]


def test_the_users_own_settings_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tunes malloc by its variables is left alone."""
    from signs_lightning.runtime.malloc_tuning import keep_freed_memory

    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_freed_memory()
