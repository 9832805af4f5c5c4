"""Images per second out of HDF5, and the memory that it takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks import files
from benchmarks.machine import forget, remember
from benchmarks.measure import SCRIPTS, Bench, Task

# Pixels: numbers of images; the smaller one is read for its memory.
SIZES = {64: (200_000, 20_000), 224: (10_000,)}
QUICK_SIZES = {64: (512, 256)}
QUICK_LAYOUTS = ("contiguous", "gzip, 64 images")
LARGE_LAYOUTS = ("contiguous", "chunked, 64 images", "gzip, 64 images")  # of 224×224
CONTESTANTS = (
    "signs_lightning", "per_sample_0", "per_sample_2", "blocks", "inflate_1", "inflate_all",
)  # fmt: skip
SCRIPT = SCRIPTS / "benchmarks" / "readers.py"


def command(contestant: str, path: Path, bench: Bench) -> list[str]:
    """A reader's process."""
    seconds = 0.2 if bench.quick else 3
    return [
        sys.executable,
        str(SCRIPT),
        contestant,
        str(path),
        f"--seconds={seconds}",
        f"--threads={bench.threads}",
    ]


def tasks(bench: Bench, path: Path, labels: dict[str, Any], only_memory: bool) -> list[Task]:
    """List what is measured of one file in one repeat: cached, then from the disk."""

    def warm() -> dict[str, Any]:
        remember(path)
        return {}

    def cold() -> dict[str, Any]:
        return {"dropped_from_cache": forget(path)}

    found = []
    for cache, before in (("warm", warm), ("cold", cold)):
        for contestant in CONTESTANTS:
            if contestant.startswith("inflate") and (
                "gzip" not in labels["layout"] or cache == "cold"
            ):
                continue
            if contestant == "per_sample_2" and cache == "cold":
                continue
            if only_memory and (contestant != "signs_lightning" or cache == "cold"):
                continue
            if bench.is_chosen(contestant):
                found.append(
                    Task(
                        {**labels, "contestant": contestant, "cache": cache},
                        command(contestant, path, bench),
                        {},
                        before,
                    )
                )
    return found


def measure(bench: Bench) -> None:
    """Measures each file in turn; only one of them is on the disk at a time."""
    for size, counts in (QUICK_SIZES if bench.quick else SIZES).items():
        for layout in (
            QUICK_LAYOUTS if bench.quick else LARGE_LAYOUTS if size > 64 else files.LAYOUTS
        ):
            for count in counts:
                path = bench.scratch / "reading.h5"
                try:
                    print(f"writing {count:,} images of {size}×{size}, {layout}", flush=True)
                    share = round(files.write(path, count, size, layout), 3)
                    labels = {
                        "part": "reading",
                        "subject": f"{size}×{size}",
                        "layout": layout,
                        "images": count,
                    }
                    bench.interleaved(
                        tasks(bench, path, labels | {"stored": share}, count < max(counts)), show
                    )
                finally:
                    path.unlink(missing_ok=True)


def show(found: dict[str, Any]) -> str:
    """A result in a line."""
    memory = (
        f", {found['peak_bytes'] / 2**20:.0f} MiB of its own at most, "
        f"{found['bytes_before'] / 2**20:.0f} before it"
    )
    return f"{found['images_read'] / found['seconds']:,.0f} images/s{memory}"
