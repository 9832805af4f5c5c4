"""The machine that is measured: what it is, whether it is idle, what memory a process owns."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import subprocess
import time
from pathlib import Path

INTERESTING = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "amx_bf16",
    "amx_tile",
)  # what fast arithmetic depends on
PACKAGES = (
    "torch",
    "lightning",
    "torchmetrics",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "numpy",
    "h5py",
)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, object]:
    """Processor, memory and system, in words and numbers."""
    info = _read("/proc/cpuinfo")
    field = {
        name.strip(): value.strip()
        for name, _, value in (line.partition(":") for line in info.splitlines())
    }
    memory = next(
        (
            line.split()[1]
            for line in _read("/proc/meminfo").splitlines()
            if line.startswith("MemTotal")
        ),
        "0",
    )
    flags = field.get("flags", "").split()
    return {
        "processor": field.get("model name", platform.processor() or platform.machine()),
        "instructions": [flag for flag in INTERESTING if flag in flags],
        "cores": cores(),
        "memory_gib": round(int(memory) / 2**20),
        "system": f"{platform.system()} {platform.machine()}",
    }


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself; without that, PyTorch's convolutions take
    some ten times as long as in float32.
    """
    return any(name.endswith("bf16") for name in describe()["instructions"])  # type: ignore[attr-defined]


def versions(python: str) -> dict[str, str]:
    """Versions of Python and of what an interpreter has of the packages measured here."""
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
    """Share of the machine's cores in use over a moment in which the benchmark itself rests, 0..1;
    None where unknown.
    """
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
    """RssAnon of a process and its descendants, bytes: what they own, without files that are
    mapped. 0 where unknown.

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
    """Drops a file from the page cache; False where less than 95% of it could be dropped."""
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
