"""Measure epochs and whole processes of the three models, ours and every rival's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, SCRIPTS, Bench, Task, describe

CONFIGS = {
    "functional": "signs_functional",
    "sequential": "happy_sequential",
    "resnet50": "signs_resnet50",
}
PROCESS_EPOCHS = {"functional": 100, "sequential": 10, "resnet50": 2}
# Keras's without callbacks, for the time of an epoch alone, where that is short.
KERAS_EPOCHS = {"functional": 20, "sequential": 4}
QUICK_EPOCHS = {"functional": 2, "sequential": 2, "resnet50": 5}  # ResNet50's loss rises at first
# Name: Keras's backend, and options. XLA compiles on TensorFlow unless that is refused.
KERAS: dict[str, tuple[str, list[str]]] = {
    "keras_tensorflow": ("tensorflow", []),
    "keras_tensorflow_no_jit": ("tensorflow", ["--no_jit"]),
    "keras_jax": ("jax", []),
    "keras_torch": ("torch", []),
}


def ours(model: str, epochs: int, files: tuple[Any, Path | None], *more: str) -> list[str]:
    """The command line as anyone types it, with the callback that takes the times."""
    train_file, test_file = files
    return [
        sys.executable, "-m", "signs_lightning", "fit",
        f"--config={ROOT}/configs/{CONFIGS[model]}.yaml", *more, f"--data.train_file={train_file}",
        *([f"--data.test_file={test_file}"] if test_file else []), f"--trainer.max_epochs={epochs}",
        "--trainer.callbacks+=benchmarks.clock.EpochClock",
    ]  # fmt: skip


def rival(
    script: str, model: str, epochs: int, files: tuple[Any, Path | None], *more: str
) -> list[str]:
    """A rival's command."""
    train_file, test_file = files
    return [
        sys.executable, f"{SCRIPTS}/benchmarks/rivals/{script}.py", f"--model={model}",
        f"--epochs={epochs}", f"--train_file={train_file}",
        *([f"--test_file={test_file}"] if test_file else []), *more,
    ]  # fmt: skip


def data(bench: Bench) -> dict[str, tuple[Path, Path]]:
    """Return the training and test file of each model.

    The photos of signs where they lie beside the checkout, else drawn pictures.
    """
    from signs_lightning import DrawnSigns, DrawnSmiles

    photos = ROOT.parent / "shared" / "datasets" / "signs"
    hands = (photos / "train_signs.h5", photos / "test_signs.h5")
    size = (96, 24) if bench.quick else ()
    if bench.quick or not all(file.is_file() for file in hands):
        hands = DrawnSigns(*size).files(bench.scratch)
    smiles = DrawnSmiles(*size).files(bench.scratch)
    return {"functional": hands, "sequential": smiles, "resnet50": hands}


def has(python: str, *modules: str) -> bool:
    """Whether an interpreter has these modules."""
    code = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"
    return subprocess.run([python, "-c", code, *modules], capture_output=True).returncode == 0


def tasks(bench: Bench, model: str, files: tuple[Path, Path], precision: str) -> list[Task]:
    """What is measured of a model in one repeat.

    One process of ours, of the port and of the loop gives both the epoch's and the whole process's
    time. Keras has one with its users' callbacks and, where epochs are short enough for these to
    show, one without; its epochs end before its callbacks do their work.
    """
    found: list[Task] = []

    def add(name: str, kind: str, command: list[str], backend: str = "") -> None:
        labels = {"part": "training", "subject": model, "precision": precision}
        environment = {"KERAS_BACKEND": backend} if backend else {}
        if bench.is_chosen(name):
            found.append(Task({**labels, "contestant": name, "kind": kind}, command, environment))

    epochs = (QUICK_EPOCHS if bench.quick else PROCESS_EPOCHS)[model]
    flags = ["--bf16"] if precision == "bf16" else []
    config = [f"--config={ROOT}/configs/bf16.yaml"] if flags else []
    add("signs_lightning", "both", ours(model, epochs, files, *config))
    for name, (backend, more) in KERAS.items():
        python = bench.keras_python if backend == "tensorflow" else sys.executable
        if not bench.is_chosen(name) or not has(python, "keras", backend):
            continue

        def command(number: int, *some: str, python: str = python, more: Any = more) -> list[str]:
            return [python, *rival("keras_fit", model, number, files, *some, *flags, *more)[1:]]

        is_short = model in KERAS_EPOCHS
        if is_short:
            number = epochs if bench.quick else KERAS_EPOCHS[model]
            add(name, "epoch", command(number), backend)
        add(name, "process" if is_short else "both", command(epochs, "--callbacks"), backend)
    for script in ("lightning_port", "hand_written"):
        add(script, "both", rival(script, model, epochs, files, *flags))
    return found


def measure(bench: Bench) -> None:
    """Measure everything, model by model."""
    files = data(bench)
    has_bf16 = any(name.endswith("bf16") for name in describe()["instructions"])
    for model in bench.models:
        bench.in_turn(tasks(bench, model, files[model], "fp32"))
        if model == "resnet50" and (has_bf16 or bench.quick):
            # Without such instructions it takes some ten times as long as in float32.
            bench.in_turn(tasks(bench, model, files[model], "bf16"))
