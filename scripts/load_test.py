"""Send the demo page many visitors at once.

Reports how many requests fail, how long they take, and whether the server's memory stays flat.

    python scripts/load_test.py --ckpt_path F              # starts a demo of its own on a free port
    python scripts/load_test.py --url http://127.0.0.1:7860 --pid 1234

Each client sends a picture as the page does, waits for the answer, and sends the next one. Needs
the extra `demo`.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

SIZES = ((64, 64), (320, 240), (640, 480), (1280, 960))  # width and height of the pictures (pixels)


@dataclass
class Figures:
    """What the clients measured."""

    seconds: list[float] = field(default_factory=list)  # of each request, from upload to answer
    failures: list[str] = field(default_factory=list)


def pictures(seed: int) -> list[bytes]:
    """JPEG files of smooth noise, one of each size."""
    rng = np.random.default_rng(seed)
    files = []
    for size in SIZES:
        noise = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        noise.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


async def ask(client: httpx.AsyncClient, number: int, session: str, picture: bytes) -> None:
    """Upload a picture and wait for its class, as the page does."""
    # Bytes behind the end of a JPEG are ignored; they make every file a new one, as visitors'
    # pictures are.
    files = {"files": ("picture.jpg", picture + secrets.token_bytes(16), "image/jpeg")}
    uploaded = await client.post("/gradio_api/upload", files=files)
    uploaded.raise_for_status()
    data = [{"path": uploaded.json()[0], "meta": {"_type": "gradio.FileData"}}]
    body = {"data": data, "fn_index": number, "session_hash": session}
    joined = await client.post("/gradio_api/queue/join", json=body)
    joined.raise_for_status()
    query = {"session_hash": session}
    async with client.stream("GET", "/gradio_api/queue/data", params=query) as lines:
        lines.raise_for_status()
        async for line in lines.aiter_lines():
            message = json.loads(line.removeprefix("data: ")) if line else {}
            if message.get("msg") == "process_completed":
                if not message["success"] or not message["output"]["data"][0].get("confidences"):
                    raise ValueError(f"no class came back: {message['output']}")
                return
    raise ValueError("the answer broke off")


async def visit(url: str, number: int, seed: int, until: float, figures: Figures) -> None:
    """One client, which asks again and again until the time is over."""
    session, files, turn = secrets.token_hex(6), pictures(seed), seed
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                await ask(client, number, session, files[turn % len(files)])
                figures.seconds.append(time.monotonic() - began)
            except (httpx.HTTPError, ValueError, KeyError) as error:
                figures.failures.append(f"{type(error).__name__}: {error}"[:200])
            turn += 1


async def measure(
    url: str, pid: int | None, clients: int, seconds: float
) -> tuple[Figures, list[float]]:
    """The clients' figures, and the server's resident memory (MiB) once a second."""
    config = httpx.get(f"{url}/config", trust_env=False).raise_for_status().json()
    entries = config["dependencies"]
    number = next(entry["id"] for entry in entries if entry["api_name"] == "classify")
    await visit(url, number, 0, time.monotonic() + 2, warm := Figures())
    if warm.failures:
        raise SystemExit(f"The demo does not answer: {warm.failures[0]}")
    figures, memory, until = Figures(), [], time.monotonic() + seconds
    visits = asyncio.gather(*(visit(url, number, seed, until, figures) for seed in range(clients)))
    while not visits.done():
        memory += [resident(pid)] if pid else []
        await asyncio.sleep(1)
    await visits
    return figures, memory


def resident(pid: int) -> float:
    """Resident memory of a process in MiB (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def report(figures: Figures, memory: list[float], clients: int, seconds: float) -> None:
    """Prints the table."""
    table = Table(title=f"{clients} clients, {seconds:g} seconds", show_header=False)
    table.add_row("answered", f"{len(figures.seconds):,}")
    table.add_row("failed", f"{len(figures.failures):,}")
    if figures.seconds:
        median, slow = np.percentile(figures.seconds, [50, 99])
        table.add_row("answers a second", f"{len(figures.seconds) / seconds:.1f}")
        table.add_row("median", f"{median:.2f} s")
        table.add_row("99th percentile", f"{slow:.2f} s")
    if memory:
        quarters = [memory[k * (len(memory) - 1) // 4] for k in range(5)]
        table.add_row("memory by quarters", ", ".join(f"{mib:,.0f}" for mib in quarters) + " MiB")
    console = Console()
    console.print(table)
    for failure in figures.failures[:3]:
        console.print(failure, markup=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    served = parser.add_mutually_exclusive_group(required=True)
    served.add_argument(
        "--ckpt_path", metavar="F", help="model of a demo that is started for the test"
    )
    served.add_argument("--url", help="of a running demo")
    parser.add_argument("--pid", type=int, help="process of the running demo, to read its memory")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    demo = None
    try:
        if options.ckpt_path:
            command = [
                sys.executable, "-m", "signs_lightning", "demo", "--ckpt_path", options.ckpt_path,
                "--port", "0",
            ]  # fmt: skip
            demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert demo.stdout is not None
            words = demo.stdout.readline().split()
            if not words:
                return demo.wait()
            options.url, options.pid = words[0], demo.pid
        figures, memory = asyncio.run(
            measure(options.url, options.pid, options.clients, options.seconds)
        )
    finally:
        if demo is not None:
            demo.send_signal(signal.SIGINT)
            demo.wait()
    report(figures, memory, options.clients, options.seconds)
    return 1 if figures.failures else 0


if __name__ == "__main__":
    sys.exit(main())
