"""A run that was really begun, to plant things in."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

REACHING = {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec"}
REACHING |= {"os.posix_spawn", "os.spawn"}
CANARY = "evil"  # a module that nothing may import
Change = Callable[[Any], Any]
watched: list[list[str]] = []  # what happened, since an audit hook stays for good


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if watched and event in REACHING:
        watched[-1].append(f"{event} {args!r}")
    if watched and event == "import" and str(args[0]).partition(".")[0] == CANARY:
        watched[-1].append(f"import {args[0]}")


sys.addaudithook(_watch)


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What reached out of this process: sockets, programs, imports of the canary, loads of more
    than weights.
    """
    load, found = torch.load, []

    def noting(*args: Any, **options: Any) -> Any:
        if options.get("weights_only") is not True:
            found.append(f"torch.load {options}")
        return load(*args, **options)

    monkeypatch.setattr(torch, "load", noting)
    watched.append(found)
    yield found
    watched.pop()


@pytest.fixture(scope="session")
def begun(
    small_signs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The checkpoint of a run of one epoch, with a ModelCheckpoint, and its configuration."""
    from signs_lightning.__main__ import main

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("begun"))
        kept = {"class_path": "ModelCheckpoint", "init_args": {"monitor": "loss"}}
        config = {
            "model": {"class_path": "SignsFunctional", "init_args": {"lr": 0.01}},
            "trainer": {"max_epochs": 1, "accelerator": "cpu", "callbacks": [kept]},
            "data": {"train_file": str(small_signs[0]), "val_fraction": 0.2, "batch_size": 24},
        }
        Path("hands.yaml").write_text(yaml.safe_dump(config))
        assert main(["fit", "--config", "hands.yaml"]) == 0
        run = Path("lightning_logs/hands/version_0")
        checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
        return {
            "checkpoint": checkpoint,
            "config": yaml.safe_load((run / "config.yaml").read_text()),
        }


@pytest.fixture
def plant(begun: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Writes the run folder RUN with something planted in its checkpoint or its config.yaml; one
    with a changed config.yaml has no checkpoint.
    """

    def write(checkpoint: Change | None = None, config: Change | None = None) -> Path:
        run = tmp_path / "RUN"
        shutil.rmtree(run, ignore_errors=True)
        (run / "checkpoints").mkdir(parents=True)
        contents = _copy(begun)
        if checkpoint is not None:
            checkpoint(contents["checkpoint"])
        if config is None:
            torch.save(contents["checkpoint"], run / "checkpoints/last.ckpt")
        text = None if config is None else config(contents["config"])
        if not isinstance(text, str):
            text = yaml.safe_dump(contents["config"])
        (run / "config.yaml").write_text(text)
        return run

    return write


def _copy(value: Any) -> Any:
    """A copy that leaves tensors as they are."""
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return [_copy(part) for part in value] if isinstance(value, list) else value


@pytest.fixture
def contents(tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """Tells what every file and link below the working directory holds."""

    def read() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in sorted(tmp_path.rglob("*")):
            if path.is_symlink():
                found[str(path)] = os.readlink(path)
            else:
                found[str(path)] = path.read_bytes() if path.is_file() else None
        return found

    return read
