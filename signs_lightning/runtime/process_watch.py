"""Ends a process whose run has lost another one, wherever this one waits.

A process that is killed closes its connections, and whoever waits for it is told. One whose
machine vanished closes none: PyTorch would wait for it for half an hour, or for ever. So every
process has a connection to the first one, of which the system asks from time to time whether the
other end is there. It answers for a process that is slow, or stopped.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import lightning as L
import torch

from signs_lightning.runtime.terminal import print_message
from signs_lightning.runtime.torchrun_restarts import is_started_by_torchrun, share_by_store

LOST = (
    "The connection to another process of this run is lost: that one has ended, for a reason of "
    "its own. Resume with `fit --ckpt_path` and the run folder."
)
WAITING = (
    "Waiting for the others of the {} processes of this run. If one of them has ended, end this "
    "one, too."
)
PATIENCE = 120.0  # seconds before it is said
WELL, GONE = b".", b"!"  # what one end tells the other: it is done; a third one is lost
KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}
GRACE = 15.0  # seconds in which this process may end by itself, with a message of its own
TOKEN = 16  # bytes


class ProcessWatch:
    """This process's connection to the first one of a run, or that one's to all others.

    Args:
        rank: of this process.
        address: at which the others reach the first one.
        share: returns to every process what the first one calls it with.
    """

    def __init__(self, rank: int, address: str, share: Callable[[str], str]) -> None:
        self._others: list[socket.socket] = []
        self._is_over = False
        token = secrets.token_hex(TOKEN // 2)
        if rank == 0:
            listener = _listen_at(address)
            host, port = listener.getsockname()[:2] if listener else ("", 0)
            share(f"{host} {port} {token}")  # also where the others are not to come
            if listener:
                self._start(self._serve, listener, token.encode())
            return
        host, port, token = share("").split(" ")
        if host and (first := _connect(host, int(port))):
            first.sendall(token.encode())
            self._others = [first]
            self._start(self._listen, first)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        threading.Thread(target=target, args=args, name="process watch", daemon=True).start()

    def _serve(self, listener: socket.socket, token: bytes) -> None:
        """Take in the others, until one is lost."""
        while not self._is_over:
            for ready in select.select([listener, *self._others], [], [])[0]:
                if ready is listener:
                    self._take_in(listener.accept()[0], token)
                elif not _ended_well(ready):
                    self._tell(GONE)
                    self._lost()
                    return
                else:
                    self._others.remove(ready)

    def _take_in(self, other: socket.socket, token: bytes) -> None:
        """Keep a connection of one that knows the token."""
        other.settimeout(5)
        with contextlib.suppress(OSError):
            if secrets.compare_digest(other.recv(TOKEN, socket.MSG_WAITALL), token):
                other.settimeout(None)
                _keep_alive(other)
                self._others.append(other)
                return
        other.close()

    def _listen(self, first: socket.socket) -> None:
        if not _ended_well(first):
            self._lost()

    def _lost(self) -> None:
        time.sleep(GRACE)
        if not self._is_over:
            print_message(LOST, sys.stderr)
            sys.stderr.flush()
            os._exit(2)

    def _tell(self, word: bytes) -> None:
        for other in self._others:
            with contextlib.suppress(OSError):
                other.send(word)

    def end(self) -> None:
        """Tell the others that this process is done, and needs them no more."""
        self._is_over = True
        self._tell(WELL)


def _listen_at(address: str) -> socket.socket | None:
    """Listen where this machine reaches an address, or itself; None where that is not possible."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # sends nothing
            return socket.create_server((probe.getsockname()[0], 0), backlog=1024)
    except OSError:
        return None


def _connect(host: str, port: int) -> socket.socket | None:
    try:
        first = socket.create_connection((host, port), timeout=30)
    except OSError:
        return None
    first.settimeout(None)
    _keep_alive(first)
    return first


def _keep_alive(connection: socket.socket) -> None:
    """Let the system find out within 20 seconds that the other end's machine is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _ended_well(other: socket.socket) -> bool:
    """Wait for what the other end says, or for its end."""
    try:
        return other.recv(1) == WELL
    except OSError:
        return False


_watches: list[ProcessWatch] = []  # of this process, one at most


def watch_torchrun() -> None:
    """Watch the processes that torchrun has started, from now on."""
    if is_started_by_torchrun() and not _watches:
        share = functools.partial(share_by_store, "signs_lightning/watch")
        rank, address = int(os.environ["RANK"]), os.environ["MASTER_ADDR"]
        _watches.append(ProcessWatch(rank, address, share))


def watch_from_setup(trainer: L.Trainer) -> None:
    """Watch the processes of a run as soon as they have met, unless they are watched already."""
    if trainer.world_size == 1 or _watches:
        return
    strategy: Any = trainer.strategy
    set_up = strategy.setup_environment

    def set_up_and_watch() -> None:
        waiting = threading.Timer(
            PATIENCE, print_message, [WAITING.format(trainer.world_size), sys.stderr]
        )
        waiting.daemon = True
        waiting.start()
        try:
            set_up()
        finally:
            waiting.cancel()
        if torch.distributed.is_initialized() and not _watches:
            address = os.environ.get("MASTER_ADDR", "")
            _watches.append(ProcessWatch(trainer.global_rank, address, _share_by_broadcast))

    strategy.setup_environment = set_up_and_watch


def end_watch() -> None:
    """Tell the other processes that this one is done, and needs them no more."""
    while _watches:
        _watches.pop().end()


def _share_by_broadcast(text: str) -> str:
    shared = [text]
    torch.distributed.broadcast_object_list(shared)
    return shared[0]
