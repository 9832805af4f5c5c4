"""Launchers and nodes: whoever starts the processes, and on however many machines, the result is
that of Lightning's own two processes.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TWO_PROCESSES = [
    "--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp",
]  # fmt: skip
TWO_NODES = [
    "--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.num_nodes", "2",
    "--trainer.strategy", "ddp",
]  # fmt: skip
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ADDRESSES = ["10.213.77.1", "10.213.77.2"]


def finish(processes: list[subprocess.Popen], seconds: int = 600) -> list[str]:
    """What each printed on standard output, once all have ended well."""
    outputs = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=seconds)
            assert process.returncode == 0, out + err
            outputs.append(out)
    finally:
        for process in processes:
            process.kill()
    return outputs


def start(command: list[str], folder: Path, **environment: str) -> subprocess.Popen:
    own = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "PL_"))}
    environment = {**own, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **environment}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def data(small_signs: tuple[Path, Path]) -> list[str]:
    return ["--data.train_file", str(small_signs[0]), "--data.test_file", str(small_signs[1])]


def fit(data: list[str]) -> list[str]:
    return [
        "fit", "--model", "SignsFunctional", *data, "--trainer.max_epochs", "2",
        "--data.batch_size", "8",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, data: list[str]) -> dict[str, str]:
    """history.csv and the table of `test` of two processes that Lightning itself starts."""
    folder = tmp_path_factory.mktemp("expected")
    finish([start([sys.executable, "-m", "signs_lightning", *fit(data), *TWO_PROCESSES], folder)])
    return results(folder, [sys.executable, "-m", "signs_lightning"], TWO_PROCESSES)


def results(folder: Path, command: list[str], trainer: list[str]) -> dict[str, str]:
    run = folder / "lightning_logs" / "signs_functional" / "version_0"
    assert not run.with_name("version_1").exists(), "the processes must share a run folder"
    (table,) = finish([start([*command, "test", "--ckpt_path", str(run), *trainer], folder)])
    return {"history": (run / "history.csv").read_text(), "test": table}


@pytest.mark.slow
def test_torchrun(tmp_path: Path, data: list[str], expected: dict[str, str]) -> None:
    """Two processes that torchrun starts, for fit and for test."""
    launch = [
        *TORCHRUN, "--nproc_per_node", "2", "--master_port", free_port(), "-m", "signs_lightning",
    ]  # fmt: skip
    finish([start([*launch, *fit(data), *TWO_PROCESSES], tmp_path)])
    assert results(tmp_path, launch, TWO_PROCESSES) == expected


@pytest.mark.slow
def test_slurm(tmp_path: Path, data: list[str], expected: dict[str, str]) -> None:
    """Two tasks with the variables that srun sets."""
    port = free_port()
    processes = [
        start(
            [sys.executable, "-m", "signs_lightning", *fit(data), *TWO_PROCESSES],
            tmp_path,
            SLURM_JOB_ID="1",
            SLURM_JOB_NAME="signs",
            SLURM_NTASKS="2",
            SLURM_NTASKS_PER_NODE="2",
            SLURM_PROCID=str(rank),
            SLURM_LOCALID=str(rank),
            SLURM_NODEID="0",
            SLURM_NNODES="1",
            SLURM_JOB_NODELIST="localhost",
            SLURM_NODELIST="localhost",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        for rank in range(2)
    ]
    finish(processes)
    assert results(tmp_path, [sys.executable, "-m", "signs_lightning"], TWO_PROCESSES) == expected


@pytest.fixture
def nodes() -> Iterator[list[list[str]]]:
    """Two machines, as network namespaces with a cable between them: what to put before a command
    to run it there.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("two nodes on one machine need root and the program `ip`")
    names, cables = (
        [f"signs{os.getpid()}_{k}" for k in range(2)],
        [f"s{os.getpid()}v{k}" for k in range(2)],
    )

    def ip(*args: str) -> None:
        subprocess.run(["ip", *args], check=True, capture_output=True)

    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip(
                "link", "add", cables[0], "netns", names[0], "type", "veth", "peer", "name",
                cables[1], "netns", names[1],
            )  # fmt: skip
            for name, cable, address in zip(names, cables, ADDRESSES, strict=True):
                ip("-n", name, "addr", "add", f"{address}/24", "dev", cable)
                ip("-n", name, "link", "set", cable, "up")
                ip("-n", name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
        yield [
            ["ip", "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={cable}"]
            for name, cable in zip(names, cables, strict=True)
        ]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.mark.slow
def test_two_nodes(
    tmp_path: Path, data: list[str], expected: dict[str, str], nodes: list[list[str]]
) -> None:
    """Two machines that see each other through a cable only: torchrun on each, for fit and for
    test.
    """

    def launch(*args: str) -> list[str]:
        rendezvous = [
            "--nnodes", "2", "--nproc_per_node", "1", "--master_addr", ADDRESSES[0],
            "--master_port", "29517",
        ]  # fmt: skip
        return finish(
            [
                start(
                    [
                        *node,
                        *TORCHRUN,
                        *rendezvous,
                        "--node_rank",
                        str(rank),
                        "-m",
                        "signs_lightning",
                        *args,
                    ],
                    tmp_path,
                )
                for rank, node in enumerate(nodes)
            ]
        )

    launch(*fit(data), *TWO_NODES)
    run = tmp_path / "lightning_logs" / "signs_functional" / "version_0"
    assert (run / "history.csv").read_text() == expected["history"]
    first, second = launch("test", "--ckpt_path", str(run), *TWO_NODES)
    assert first == expected["test"]
    assert second == ""
