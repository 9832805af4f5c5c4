"""Restarts by torchrun: an attempt after a failed one goes on in the folder that the failed one wrote into.

`torchrun --standalone --max-restarts 2 --nproc_per_node 2 -m signs_lightning fit …` starts the same
command again when one of its processes ends. Where the command's run lies is kept in torchrun's own
store, which lives as long as torchrun does. (With TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 processes
cannot reach it, and a restart is a new run.)
"""

from __future__ import annotations

import functools
import os
import socket
from datetime import timedelta
from pathlib import Path

from torch.distributed import Store, TCPStore

KEY = "signs_lightning"


def save_for_restart(folder: Path) -> None:
    """Tells a later attempt where this one's configuration and checkpoints are; does nothing without torchrun."""
    store = _store()
    if store is not None:
        store.set(f"{KEY}/folder", str(folder.absolute()))


def restarted_run_folder() -> Path | None:
    """The run folder of an earlier attempt, or None in the first attempt and for one that failed before it had a folder.

    In a later attempt it also gives the processes another place to meet: the addresses that the
        dead ones left in torchrun's store
    would be taken for living (PyTorch's issue 135712).
    """
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    store = _store()
    if store is None or attempt == 0:
        return None
    place = f"{KEY}/port/{attempt}"
    if os.environ["RANK"] == "0":
        with socket.socket() as free:
            free.bind(("", 0))
            store.set(place, str(free.getsockname()[1]))
    os.environ["MASTER_PORT"] = store.get(place).decode()  # waits for the first process
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
    return Path(store.get(f"{KEY}/folder").decode()) if store.check([f"{KEY}/folder"]) else None


@functools.cache
def _store() -> Store | None:
    """torchrun's store, where this process was started by torchrun."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, timeout=timedelta(minutes=5))
