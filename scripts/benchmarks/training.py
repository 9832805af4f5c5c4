"""Measure epochs and whole processes of the three models.

Against Keras, a plain Lightning port and a hand-written loop.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import has_bf16
from benchmarks.measure import ROOT, SCRIPTS, Bench, Task

CONFIGS = {
    "functional": "signs_functional",
    "sequential": "happy_sequential",
    "resnet50": "signs_resnet50",
}
PROCESS_EPOCHS = {"functional": 100, "sequential": 10, "resnet50": 2}
# Without callbacks, for the time of an epoch alone.
KERAS_EPOCHS = {"functional": 20, "sequential": 4}
# The loss of ResNet50 rises at first.
QUICK_EPOCHS = {"functional": 2, "sequential": 2, "resnet50": 5}
RIVALS = SCRIPTS / "benchmarks" / "rivals"
Files = tuple[Path, Path]


def ours(model: str, epochs: int, files: tuple[Path, Path | None], *more: str) -> list[str]:
    """The command line as anyone types it, with the callback that takes the times."""
    train_file, test_file = files
    return [
        sys.executable, "-m", "signs_lightning", "fit",
        f"--config={ROOT}/configs/{CONFIGS[model]}.yaml", *more, f"--data.train_file={train_file}",
        *([f"--data.test_file={test_file}"] if test_file else []), f"--trainer.max_epochs={epochs}",
        "--trainer.callbacks+=benchmarks.clock.EpochClock",
    ]  # fmt: skip


def rival(
    script: str,
    model: str,
    epochs: int,
    files: tuple[Path, Path | None],
    *more: str,
    python: str = "",
) -> list[str]:
    """A rival's command."""
    train_file, test_file = files
    return [
        python or sys.executable,
        str(RIVALS / f"{script}.py"),
        f"--model={model}",
        f"--epochs={epochs}",
        f"--train_file={train_file}",
        *([f"--test_file={test_file}"] if test_file else []),
        *more,
    ]


def data(bench: Bench) -> dict[str, Files]:
    """Return the training and test file of each model.

    The photos of signs where they lie beside the checkout, else drawn pictures.
    """
    from signs_lightning import DrawnSigns, DrawnSmiles

    photos = ROOT.parent / "shared" / "datasets" / "signs"
    signs, smiles = (
        (DrawnSigns(96, 24), DrawnSmiles(96, 24)) if bench.quick else (DrawnSigns(), DrawnSmiles())
    )
    hands = (photos / "train_signs.h5", photos / "test_signs.h5")
    if bench.quick or not all(file.is_file() for file in hands):
        hands = signs.files(bench.scratch)
    return {"functional": hands, "sequential": smiles.files(bench.scratch), "resnet50": hands}


def tasks(bench: Bench, files: dict[str, Files]) -> list[Task]:
    """What is measured in one repeat, in this order.

    One process of ours, of the port and of the loop gives both the epoch's and the whole process's
    time. Keras on TensorFlow has one with its users' callbacks and, where epochs are short enough
    for these to show, one without; its epochs end before its callbacks do their work.
    """
    found: list[Task] = []

    def add(
        contestant: str,
        model: str,
        kind: str,
        command: list[str],
        precision: str = "fp32",
        **env: str,
    ) -> None:
        if bench.is_chosen(contestant):
            labels = {
                "part": "training",
                "subject": model,
                "precision": precision,
                "contestant": contestant,
            }
            found.append(Task({**labels, "kind": kind}, command, env))

    for model in bench.models:
        epochs = QUICK_EPOCHS[model] if bench.quick else PROCESS_EPOCHS[model]
        add("signs_lightning", model, "both", ours(model, epochs, files[model]))
        for backend, python in keras_interpreters(bench).items():
            twice = backend == "tensorflow" and model in KERAS_EPOCHS
            if twice:
                number = QUICK_EPOCHS[model] if bench.quick else KERAS_EPOCHS[model]
                command = rival("keras_fit", model, number, files[model], python=python)
                add(f"keras_{backend}", model, "epoch", command, KERAS_BACKEND=backend)
            command = rival("keras_fit", model, epochs, files[model], "--callbacks", python=python)
            add(
                f"keras_{backend}",
                model,
                "process" if twice else "both",
                command,
                KERAS_BACKEND=backend,
            )
        add("lightning_port", model, "both", rival("lightning_port", model, epochs, files[model]))
        add("hand_written", model, "both", rival("hand_written", model, epochs, files[model]))
        if model != "resnet50" or not (has_bf16() or bench.quick):
            continue
        config = f"--config={ROOT}/configs/bf16.yaml"
        add("signs_lightning", model, "both", ours(model, epochs, files[model], config), "bf16")
        for backend, python in keras_interpreters(bench).items():
            if backend == "tensorflow":
                command = rival("keras_fit", model, epochs, files[model], "--bf16", python=python)
                add("keras_tensorflow", model, "epoch", command, "bf16", KERAS_BACKEND=backend)
        add(
            "hand_written",
            model,
            "both",
            rival("hand_written", model, epochs, files[model], "--bf16"),
            "bf16",
        )
    return found


def keras_interpreters(bench: Bench) -> dict[str, str]:
    """Keras's backends that are installed, each with the interpreter that has it."""
    found = {}
    for backend, python in (("tensorflow", bench.keras_python), ("torch", sys.executable)):
        if bench.is_chosen(f"keras_{backend}") and _has(python, "keras", backend):
            found[backend] = python
    return found


def _has(python: str, *modules: str) -> bool:
    code = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"
    return subprocess.run([python, "-c", code, *modules], capture_output=True).returncode == 0


def measure(bench: Bench) -> None:
    """Measures everything, interleaved."""
    files = data(bench)
    planned = tasks(bench, files)
    for python, module in (
        () if bench.quick else ((sys.executable, "lightning"), (bench.keras_python, "keras"))
    ):  # from disk once, for all
        subprocess.run(
            [python, "-c", f"import {module}"], capture_output=True, env=bench.environment()
        )
    bench.interleaved(planned, lambda found: show(found))


def epoch_seconds(found: dict[str, Any]) -> float | None:
    """Return the median epoch of a process without the first, which is slower."""
    return median(found["epoch_seconds"][1:]) if len(found.get("epoch_seconds", [])) > 1 else None


def show(found: dict[str, Any]) -> str:
    """A result in a line."""
    seconds = epoch_seconds(found)
    epoch = f"{seconds:.3f} s an epoch, " if seconds else ""
    return (
        f"{epoch}{found['process_seconds']:.1f} s the process, "
        f"{found['peak_bytes'] / 2**20:.0f} MiB of its own"
    )
