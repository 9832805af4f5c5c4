"""Processes that watch each other: who ends when one of them does."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forks import Fork

from signs_lightning.runtime import process_watch
from signs_lightning.runtime.process_watch import LOST, ProcessWatch


def watcher(rank: int, file: Path) -> Callable[[list[str]], int]:
    """A process that watches and is done when its file `end` appears."""

    def share(text: str) -> str:
        if rank == 0:
            file.with_name("writing").write_text(text)
            os.replace(file.with_name("writing"), file)
        while not file.exists():
            time.sleep(0.005)
        return file.read_text()

    def program(args: list[str]) -> int:
        process_watch.GRACE = 0.05
        watch = ProcessWatch(rank, "127.0.0.1", share)
        file.with_name(f"there{rank}").touch()
        while not file.with_name(f"end{rank}").exists():
            time.sleep(0.005)
        watch.end()
        return 0

    return program


@pytest.fixture
def three(tmp_path: Path) -> list[Fork]:
    """Three that have met, and somebody else at the first one's door."""
    forks = [Fork([], tmp_path, watcher(rank, tmp_path / "shared")) for rank in range(3)]
    while not all((tmp_path / f"there{rank}").exists() for rank in range(3)):
        time.sleep(0.005)
    host, port, _ = (tmp_path / "shared").read_text().split()
    with socket.create_connection((host, int(port))) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n")
    return forks


@pytest.mark.parametrize("lost", [0, 2])
def test_a_process_is_lost(three: list[Fork], lost: int) -> None:
    """Killed: the others end with the sentence, also those that have no connection to it."""
    three[lost].signal(signal.SIGKILL)
    for rank, fork in enumerate(three):
        done = fork.wait(30)
        assert done.code == (-9 if rank == lost else 2), done
        assert done.err.split() == ([] if rank == lost else LOST.split())


def test_processes_are_done_one_after_another(three: list[Fork], tmp_path: Path) -> None:
    """In any order: nobody is missed."""
    for rank in (1, 0, 2):
        (tmp_path / f"end{rank}").touch()
        assert three[rank].wait(30).code == 0
        time.sleep(0.2)
        late = [fork for other, fork in enumerate(three) if not (tmp_path / f"end{other}").exists()]
        assert all(fork.poll() is None for fork in late)
