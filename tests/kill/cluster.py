"""Runs of several processes, on one machine or on several that are network namespaces, of which one
loses its life, its cable or its disk at a chosen moment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from forks import run_and_exit

from signs_lightning.__main__ import main
from signs_lightning.callbacks import checkpointing
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.callbacks.run_config import SaveRunConfig
from signs_lightning.models.classifier import ImageClassifier

LIMIT = 60  # seconds within which processes end that have lost another one
SLOW = 10.0  # seconds that a slow disk takes
CLONE_NEWNET = 0x40000000


class Machines:
    """Network namespaces with a bridge between them, as machines with cables to a switch.

    Args:
        count: how many.

    Attributes:
        missing: why there are none; "" where they are there.
    """

    def __init__(self, count: int) -> None:
        mark = f"{os.getpid()}"
        self.names = [f"signs{mark}_{k}" for k in range(count)]
        self.hub, self.missing = f"signs{mark}_hub", ""
        self.cables = [f"s{mark}v{k}" for k in range(count)]
        if os.geteuid() != 0 or shutil.which("ip") is None:
            self.missing = "machines are made by root with the program `ip`"
            return
        try:
            self._ip("netns", "add", self.hub)
            self._ip("-n", self.hub, "link", "add", "hub", "type", "bridge")
            self._ip("-n", self.hub, "link", "set", "hub", "up")
            for k, (name, cable) in enumerate(zip(self.names, self.cables, strict=True)):
                self._ip("netns", "add", name)
                self._ip(
                    "link", "add", cable, "netns", name, "type", "veth",
                    "peer", "name", cable, "netns", self.hub,
                )  # fmt: skip
                self._ip("-n", self.hub, "link", "set", cable, "master", "hub", "up")
                self._ip("-n", name, "addr", "add", f"{self.address(k)}/24", "dev", cable)
                self._ip("-n", name, "link", "set", cable, "up")
                self._ip("-n", name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            self.missing = f"no network namespace can be made: {error.stderr.decode().strip()}"
            self.remove()

    @staticmethod
    def _ip(*args: str) -> None:
        subprocess.run(["ip", *args], check=True, capture_output=True)

    @staticmethod
    def address(number: int) -> str:
        return f"10.213.78.{number + 1}"

    def plug(self, number: int, state: str) -> None:
        """Plug a machine's cable in, or pull it out of the switch: `up` or `down`."""
        self._ip("-n", self.hub, "link", "set", self.cables[number], state)

    def enter(self, number: int) -> None:
        """Let this process be on a machine."""
        with open(f"/run/netns/{self.names[number]}") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        os.environ["GLOO_SOCKET_IFNAME"] = self.cables[number]

    def remove(self) -> None:
        for name in [*self.names, self.hub]:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@dataclass
class Cluster:
    """Processes that meet: all on this machine, or one on each of several."""

    count: int
    machines: Machines | None = None

    def __str__(self) -> str:
        return f"{self.count} {'machines' if self.machines else 'processes'}"

    @property
    def options(self) -> list[str]:
        # DDP puts its buckets in another order after a process's first step. Of more than two
        # numbers the sum depends on their order, so a resumed run would differ in its last bits.
        strategy = "ddp" if self.count == 2 else "ddp_find_unused_parameters_true"
        nodes, devices = (self.count, 1) if self.machines else (1, self.count)
        return [
            "--trainer.accelerator", "cpu", "--trainer.strategy", strategy,
            "--trainer.devices", str(devices), "--trainer.num_nodes", str(nodes),
        ]  # fmt: skip

    def enter(self, rank: int, port: int) -> None:
        """Let this process be one of them."""
        node, local = (rank, 0) if self.machines else (0, rank)
        address = Machines.address(0) if self.machines else "127.0.0.1"
        os.environ.update(
            MASTER_ADDR=address, MASTER_PORT=str(port), NODE_RANK=str(node), LOCAL_RANK=str(local)
        )
        if self.machines:
            self.machines.enter(rank)


@dataclass
class Fault:
    """What a run loses.

    Attributes:
        kind: `kill` a process, `vanish` for a machine whose cable is pulled, a `slow` disk, a
            `full` one.
        phase: when: at the start, before the processes have met; in the setup, a training step, the
            validation, or while a checkpoint is written.
        rank: the process, or the one on the machine.
        pages: of 4 KiB that a full disk has.
    """

    kind: str
    phase: str
    rank: int
    pages: int = 20

    @classmethod
    def parse(cls, text: str) -> Fault:
        kind, phase, rank = text.split(":")
        return cls(kind, phase, int(rank))

    def __str__(self) -> str:
        return f"{self.kind}:{self.phase}:{self.rank}"

    @staticmethod
    def happened(ended: list[ClusterEnd]) -> bool:
        return any(end.code for end in ended)


@dataclass
class ClusterEnd:
    """How a process of a run ended: exit code, output, and seconds after the fault."""

    code: int
    said: str = ""
    seconds: float = 0.0


def run_cluster(
    cluster: Cluster, args: list[str], folder: Path, fault: Fault | None
) -> list[ClusterEnd]:
    """Run `python -m signs_lightning ARGS` in all processes, in forks of this one."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    reader, writer = os.pipe()
    disk = _small_disk(folder, fault)
    pids = []
    for rank in range(cluster.count):
        pid = os.fork()
        if not pid:
            _child(cluster, args, folder, rank, port, fault, writer)
        pids.append(pid)
    os.close(writer)
    try:
        return _wait(cluster, pids, folder, fault, reader)
    finally:
        os.close(reader)
        if cluster.machines and fault is not None and fault.kind == "vanish":
            cluster.machines.plug(fault.rank, "up")
        if disk is not None:
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            _move_from_disk(disk)


def _small_disk(folder: Path, fault: Fault | None) -> Path | None:
    """Mount a disk that will be full: the run folder of the first process, or another's folder for
    temporary files.
    """
    if fault is None or fault.kind != "full":
        return None
    disk = folder / ("lightning_logs" if fault.rank == 0 else f"tmp{fault.rank}")
    disk.mkdir()
    size = f"size={fault.pages * 4}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=True)
    if fault.rank:
        with contextlib.suppress(OSError):
            (disk / "rest").write_bytes(bytes(fault.pages * 4096))
    return disk


def _move_from_disk(disk: Path) -> None:
    """Put what is on a mounted disk into the folder below it."""
    copy = disk.with_name(f"{disk.name}.copy")
    shutil.copytree(disk, copy)
    subprocess.run(["umount", str(disk)], check=True)
    disk.rmdir()
    copy.rename(disk)


def _wait(
    cluster: Cluster, pids: list[int], folder: Path, fault: Fault | None, reader: int
) -> list[ClusterEnd]:
    """Wait for all processes; end those that are there after the limit."""
    ends: dict[int, ClusterEnd] = {}
    since, started = None, time.monotonic()
    os.set_blocking(reader, False)
    while len(ends) < len(pids):
        time.sleep(0.02)
        now = time.monotonic()
        if since is None and _is_told(reader):
            since = now
            if cluster.machines and fault is not None and fault.kind == "vanish":
                cluster.machines.plug(fault.rank, "down")
        for rank, pid in enumerate(pids):
            if rank not in ends and (status := os.waitpid(pid, os.WNOHANG))[0]:
                code = os.waitstatus_to_exitcode(status[1])
                ends[rank] = ClusterEnd(code, seconds=now - (since or now))
                if code and since is None:
                    since = now
        if (since is not None and now - since > LIMIT + 5) or now - started > 300:
            for rank, pid in enumerate(pids):
                if rank not in ends:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    ends[rank] = ClusterEnd(-signal.SIGKILL, seconds=LIMIT + 5)
    for rank, end in ends.items():
        end.said = (folder / f"said{rank}.txt").read_text()
    return [ends[rank] for rank in range(len(pids))]


def _is_told(reader: int) -> bool:
    try:
        return bool(os.read(reader, 1))
    except BlockingIOError:
        return False


def _child(
    cluster: Cluster,
    args: list[str],
    folder: Path,
    rank: int,
    port: int,
    fault: Fault | None,
    writer: int,
) -> NoReturn:
    """Run the command in this new process; never return."""
    output = os.open(folder / f"said{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(folder)
    temporary = folder / f"tmp{rank}"
    temporary.mkdir(exist_ok=True)
    os.environ["TMPDIR"], tempfile.tempdir = str(temporary), None

    def program() -> int:
        cluster.enter(rank, port)
        if fault is not None and fault.rank == rank:
            _arm(fault, writer)
        return main(args)

    run_and_exit(program)


def _arm(fault: Fault, writer: int) -> None:
    """Let the fault happen in this process when its phase comes."""
    done: list[bool] = []

    def happen() -> None:
        if done or fault.kind == "full":
            return
        done.append(True)
        if fault.kind == "slow":
            time.sleep(SLOW)
            return
        os.write(writer, b"x")
        if fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.5)  # until the cable is out

    def before(owner: Any, name: str, is_due: Callable[..., bool]) -> None:
        original = getattr(owner, name)

        def patched(*args: Any, **kwargs: Any) -> Any:
            if is_due(*args):
                happen()
            return original(*args, **kwargs)

        setattr(owner, name, patched)

    def in_second_epoch(model: Any, *rest: Any) -> bool:
        return model.trainer.current_epoch == 1

    if fault.phase == "start":
        happen()
    elif fault.phase == "setup":
        before(SaveRunConfig, "setup", lambda *args: True)
    elif fault.phase == "step":
        before(ImageClassifier, "training_step", in_second_epoch)
    elif fault.phase == "validation":
        before(ImageClassifier, "validation_step", in_second_epoch)
    elif fault.rank == 0:  # while the thread writes
        before(checkpointing, "_sync", _Second())
    else:  # before it waits for the first one
        before(RunCheckpoint, "_save", _Second())


@dataclass
class _Second:
    """Due at the third call."""

    calls: list[int] = field(default_factory=list)

    def __call__(self, *args: Any) -> bool:
        self.calls.append(1)
        return len(self.calls) == 3
