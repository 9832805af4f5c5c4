"""Lets two processes of a run end many times, and looks at how they end.

    python tests/kill/ends.py --count 500
    python tests/kill/ends.py --count 500 --end python
    python tests/kill/ends.py --count 500 --end open

Each run trains two steps over gloo in forks of this process, which end as processes of the command
line do; every second run has torchrun's variables and a store in a process of its own, as torchrun
has it. With `--verb`, each is a `fit` of the command line. With `--end python`, the interpreter is
taken apart at the end; with `open`, so is the process group, which nobody has closed. The exit code
is 1 where a process ended otherwise than with 0.
"""

from __future__ import annotations

import sys

from signs_lightning.runtime import quick_process

if __name__ == "__main__" and "--end" not in sys.argv:
    quick_process.begin()  # before the imports, as the command line does

import argparse
import os
import shutil
import signal
import socket
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from signs_lightning import DrawnSigns, H5DataModule, SignsFunctional
from signs_lightning.__main__ import main as signs_lightning_main
from signs_lightning.commands.fit_validate_test import close_process_group
from signs_lightning.runtime.warning_filters import filter_warnings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def keep_group_open() -> None:
    """Let nothing close the run's process group; Lightning closes groups of its own."""
    close = torch.distributed.destroy_process_group

    def close_others(group: Any = None) -> None:
        if group is not None:
            close(group)

    torch.distributed.destroy_process_group = close_others


def variables(rank: int, port: int, by_torchrun: bool) -> dict[str, str]:
    """What Lightning, or torchrun, tells a process about its place."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    if not by_torchrun:
        return {**place, "NODE_RANK": "0"}
    return {
        **place,
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "none",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def train(args: list[str], own_process: bool) -> int:
    """Run the command line, or without arguments a Trainer, closed as `fit` closes it."""
    if args:
        return signs_lightning_main(args, own_process)
    if own_process:
        quick_process.end_of_imports()
    filter_warnings()
    model = SignsFunctional(num_classes=4, image_size=(8, 8, 3))
    images = np.zeros((16, 8, 8, 3), np.uint8), np.arange(16) % 4
    data = H5DataModule(train_file=images, batch_size=4)
    options: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 2,
        "strategy": "ddp",
        "logger": False,
    }
    L.Trainer(max_epochs=1, enable_progress_bar=False, enable_checkpointing=False, **options).fit(
        model, data
    )
    close_process_group()
    return 0


def end_two(args: list[str], folder: Path, by_torchrun: bool, end: str) -> list[tuple[int, str]]:
    """Run two processes to their end; of each the exit code and what it said."""
    port, store = free_port(), 0
    pids: list[int] = []
    folder.mkdir()
    if by_torchrun:
        store = os.fork()
        if not store:
            kept = torch.distributed.TCPStore("127.0.0.1", port, None, True, wait_for_workers=False)
            while kept:
                signal.pause()
    for rank in range(2):
        pid = os.fork()
        if not pid:
            output = os.open(folder / f"{rank}.txt", os.O_WRONLY | os.O_CREAT, 0o666)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(folder)
            os.environ.update(variables(rank, port, by_torchrun))
            if end == "open":
                keep_group_open()
            code = train(args, own_process=end == "quick")
            if end == "quick":
                quick_process.leave(code)
            sys.exit(code)
        pids.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    if store:
        os.kill(store, signal.SIGKILL)
        os.waitpid(store, 0)
    said = [(folder / f"{rank}.txt").read_text() for rank in range(2)]
    shutil.rmtree(folder)
    return list(zip(codes, said, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--verb", action="store_true", help="through the command line")
    parser.add_argument("--end", choices=("quick", "python", "open"), default="quick")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scratch = Path(tempfile.mkdtemp(prefix="ends."))
    owner, counts = os.getpid(), Counter[int]()
    try:
        file = DrawnSigns(train_size=16, test_size=8).files(scratch)[0]
        args = [
            "fit", "--model", "SignsFunctional", "--data.train_file", str(file),
            "--data.val_fraction", "0.25", "--trainer.max_epochs", "1",
            "--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp",
        ]  # fmt: skip
        for number in range(options.count):
            for code, said in end_two(
                args if options.verb else [], scratch / "run", number % 2 == 1, options.end
            ):
                if code:
                    print(f"run {number}: exit code {code} and\n{said}", flush=True)
                counts[code] += 1
    finally:
        if os.getpid() == owner:  # not in the forks, which come by here at their end
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"{options.end}: {options.count} runs; exit codes {dict(counts)}", flush=True)
    return 1 if set(counts) != {0} else 0


if __name__ == "__main__":
    sys.exit(main())
