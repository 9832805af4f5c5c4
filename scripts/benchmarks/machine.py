"""Describe the machine: what it is, whether it is idle, a process's memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

# What fast arithmetic depends on.
INTERESTING = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
PACKAGES = (
    "torch", "lightning", "torchmetrics", "keras", "tensorflow", "tensorflow-cpu", "numpy", "h5py",
)  # fmt: skip


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """Processor, memory and system, in words and numbers."""
    info = _read("/proc/cpuinfo")
    field = {
        name.strip(): value.strip()
        for name, _, value in (line.partition(":") for line in info.splitlines())
    }
    memory = re.findall(r"MemTotal:\s+(\d+)", _read("/proc/meminfo")) or ["0"]
    flags = field.get("flags", "").split()
    return {
        "processor": field.get("model name", platform.processor() or platform.machine()),
        "instructions": [flag for flag in INTERESTING if flag in flags],
        "cores": cores(),
        "memory_gib": round(int(memory[0]) / 2**20),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": gpu_name(),
    }


def gpu_name() -> str | None:
    """Return the name of the first NVIDIA GPU, None without one."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return names.partition("\n")[0].strip() or None


def has_bf16() -> bool:
    """Return whether the processor has bfloat16 instructions.

    Without them, PyTorch's convolutions take some ten times as long as in float32.
    """
    return any(name.endswith("bf16") for name in describe()["instructions"])


def versions(python: str) -> dict[str, str]:
    """Return the versions of Python and of the packages measured here."""
    code = (
        "import importlib.metadata as m, platform, sys\n"
        "print('python', platform.python_version())\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: pass\n"
    )
    done = subprocess.run(
        [python, "-c", code, *PACKAGES], capture_output=True, text=True, check=True
    )
    found = (line.partition(" ") for line in done.stdout.splitlines())
    return {name: version for name, _, version in found}


def busy_share(seconds: float = 0.3) -> float | None:
    """Return the share of the cores in use now, 0..1; None where unknown."""
    before = _processor_times()
    time.sleep(seconds)
    after = _processor_times()
    if before is None or after is None or sum(after) == sum(before):
        return None
    idle = after[3] + after[4] - before[3] - before[4]
    return round(1 - idle / (sum(after) - sum(before)), 3)


def _processor_times() -> list[int] | None:
    line = _read("/proc/stat").partition("\n")[0].split()
    return [int(value) for value in line[1:9]] if line else None


def own_memory(process: int) -> int:
    """Return the RssAnon of a process and its descendants in bytes; 0 where unknown.

    It is what they own, without files that are mapped.

    What a forked child still shares with its parent is counted twice.
    """
    lines = _read(f"/proc/{process}/status").splitlines()
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)
    children = [
        int(child)
        for thread in Path(f"/proc/{process}/task").glob("*")
        for child in _read(f"{thread}/children").split()
    ]
    return kilobytes * 1024 + sum(own_memory(child) for child in children)


def forget(path: Path) -> bool:
    """Drop a file from the page cache; return False if over 5% of it stays."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # dirty pages stay otherwise
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return resident_share(path) < 0.05


def resident_share(path: Path) -> float:
    """Share of a file's pages that are in the page cache, 0..1, as mincore tells."""
    pages = -(-path.stat().st_size // mmap.PAGESIZE)
    found = (ctypes.c_ubyte * pages)()
    library = ctypes.CDLL(None, use_errno=True)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        start = ctypes.c_char.from_buffer(mapped)
        try:
            code = library.mincore(
                ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(mapped)), found
            )
        finally:
            del start  # else the map cannot be closed
    return 1.0 if code else sum(page & 1 for page in bytes(found)) / pages


def remember(path: Path) -> None:
    """Reads a file once, so that it is in the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(2**24):
            pass


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
