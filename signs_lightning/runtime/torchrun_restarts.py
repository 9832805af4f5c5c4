"""Restarts by torchrun: a new attempt resumes the run of the one that failed.

`torchrun --standalone --max-restarts 2 --nproc_per_node 2 -m signs_lightning fit …` starts the same
command again when one of its processes ends. The run folder is kept in torchrun's own store, which
lives as long as torchrun does. (With TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 processes cannot reach
it, and a restart is a new run.)
"""

from __future__ import annotations

import functools
import os
import socket
from datetime import timedelta
from pathlib import Path

from torch.distributed import Store, TCPStore

FOLDER, PORT = "signs_lightning/folder", "signs_lightning/port"  # keys in the store


def save_for_restart(folder: Path) -> None:
    """Tell later attempts where the run folder is; do nothing without torchrun."""
    store = _store()
    if store is not None:
        store.set(FOLDER, str(folder.absolute()))


def restarted_run_folder() -> Path | None:
    """Return the run folder of an earlier attempt, or None if there is none.

    In a later attempt it also gives the processes another port to meet at: the addresses that the
    dead ones left in torchrun's store would be taken for living (PyTorch's issue 135712).
    """
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    store = _store()
    if store is None or attempt == 0:
        return None
    key = f"{PORT}/{attempt}"
    if os.environ["RANK"] == "0":
        with socket.socket() as free:
            free.bind(("", 0))
            store.set(key, str(free.getsockname()[1]))
    os.environ["MASTER_PORT"] = store.get(key).decode()  # waits for the first process
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
    return Path(store.get(FOLDER).decode()) if store.check([FOLDER]) else None


def is_started_by_torchrun() -> bool:
    """Return whether this process was started by torchrun, and reaches its store."""
    return _store() is not None


def share_by_store(name: str, text: str) -> str:
    """Return to every process of this attempt what the first one calls it with."""
    store = _store()
    if store is None:
        raise RuntimeError("there is no torchrun")
    key = f"{name}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if os.environ["RANK"] == "0":
        store.set(key, text)
    return store.get(key).decode()  # waits for the first process


@functools.cache
def _store() -> Store | None:
    """Return torchrun's store if this process was started by torchrun."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, timeout=timedelta(minutes=5))
