"""Short runs in forked processes that have imported everything, their end at a chosen moment, and
their comparison to the last bit.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import matplotlib.backends.backend_agg  # noqa: F401  imported before the forks
import torch
import torchvision.transforms.v2  # noqa: F401
import yaml
from forks import run_and_exit
from PIL import Image
from torch import nn

import signs_lightning.commands.fit_validate_test  # noqa: F401
from signs_lightning import DrawnSigns, DrawnSmiles, HappySequential, SignsFunctional, SignsResNet50
from signs_lightning.__main__ import main

# Operations that change a folder; opening a file to write is another.
WRITES = {"os.rename", "os.link", "os.remove", "os.mkdir"}
EVENTS = "events.out.tfevents"


class DropoutFunctional(SignsFunctional):
    """With random numbers in the network, whose draws a resumed run must repeat."""

    def build(self) -> nn.Module:
        return nn.Sequential(super().build(), nn.Dropout(0.2))


class DropoutSequential(HappySequential):
    """The same for the sequential model."""

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.1), super().build())


class DropoutResNet50(SignsResNet50):
    """The same for ResNet50."""

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.1), super().build())


OWN = (DropoutFunctional, DropoutSequential, DropoutResNet50)


PLATEAU = [
    "--model.lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau",
    "--model.lr_scheduler.patience=0",
    "--model.lr_scheduler.threshold=0.02",
]
COSINE = [
    "--model.lr_scheduler=CosineAnnealingLR",
    "--model.lr_scheduler.T_max=30",
    "--model.lr_interval=step",
]
STEP = ["--model.lr_scheduler=StepLR", "--model.lr_scheduler.step_size=2"]
STOP = [
    "--trainer.callbacks+=EarlyStopping",
    "--trainer.callbacks.monitor=val_loss",
    "--trainer.callbacks.patience=50",
]
# Stops after the second epoch.
STOPS = [*STOP[:2], "--trainer.callbacks.patience=1", "--trainer.callbacks.min_delta=10"]
AVERAGE = ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=0.9"]
RECIPE = [
    "--model.schedule",
    "one_cycle",
    "--model.label_smoothing",
    "0.05",
    "--model.augmentation",
    "[{class_path: torchvision.transforms.v2.RandomAffine, init_args: {degrees: 10, "
    "interpolation: BILINEAR}}, "
    "{class_path: torchvision.transforms.v2.MixUp, init_args: {alpha: 0.2}}]",
]
MODELS = {  # name: its kinds of run, each a model class and options
    "functional": [
        ("SignsFunctional", [*PLATEAU, *STOP]),
        ("DropoutFunctional", [*COSINE, *AVERAGE]),
        (
            "DropoutFunctional",
            [*STEP, *STOPS, "--data.reading", "streamed", "--data.shuffle_buffer", "0.5"],
        ),
        ("SignsFunctional", [*PLATEAU, "--data.num_workers", "2", "--data.reading", "mapped"]),
        ("SignsFunctional", [*RECIPE, *AVERAGE]),
    ],
    "sequential": [
        ("HappySequential", [*COSINE, *STOP]),
        ("DropoutSequential", [*PLATEAU, *AVERAGE, "--data.reading", "resident"]),
    ],
    "resnet50": [
        ("SignsResNet50", ["--model.width", "4", *COSINE, *STOP, *AVERAGE]),
        ("DropoutResNet50", ["--model.width", "4", *PLATEAU]),
        ("SignsResNet50", ["--model.width", "4", *RECIPE, *STOP]),
    ],
}


def drawn_files(folder: Path) -> dict[str, Path]:
    """The training file of each model: 60 hands, 40 faces."""
    folder.mkdir(parents=True, exist_ok=True)
    signs = DrawnSigns(train_size=60, test_size=12).files(folder)[0]
    smiles = DrawnSmiles(train_size=40, test_size=12).files(folder)[0]
    return {"functional": signs, "sequential": smiles, "resnet50": signs}


def fit_command(kind: tuple[str, list[str]], file: Path, epochs: int = 5) -> list[str]:
    """The arguments of a run with five or six steps an epoch and a checkpoint every two."""
    model, options = kind
    data = ["--data.train_file", str(file), "--data.val_fraction", "0.2", "--data.batch_size", "8"]
    rest = [
        "--trainer.max_epochs", str(epochs), "--checkpoint.every_n_steps", "2",
        "--trainer.accelerator", "cpu",
    ]  # fmt: skip
    return ["fit", "--model", model, *options, *data, *rest, "--name", "run"]


@dataclass
class End:
    """When a run is to end early.

    Attributes:
        after: seconds after its start, or after `operation` where that is given.
        operation: number of the operation on its files before which it ends (`after` 0), or after
            which it waits for its end.
        number: of the signal.
    """

    after: float = 0.0
    operation: int | None = None
    number: int = signal.SIGKILL

    def __str__(self) -> str:
        place = "" if self.operation is None else f"operation {self.operation} + "
        return f"{place}{self.after:.4f} s"


@dataclass
class Ended:
    """What a run came to: exit code (negative: the signal), output, seconds, and operations on its
    files.
    """

    code: int
    said: str
    seconds: float
    operations: list[str] = field(default_factory=list)


def run(args: list[str], folder: Path, end: End | None = None) -> Ended:
    """Runs `python -m signs_lightning ARGS` in a fork of this process, in `folder`; temporary files
    go to `folder`/tmp.
    """
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    said = folder / "said.txt"
    said.touch()  # the signal may come before the child makes it
    reader, writer = os.pipe()
    started = time.monotonic()
    process = os.fork()
    if not process:
        os.close(reader)
        _child(args, folder, said, writer, end)
    os.close(writer)
    notes = b""
    deadline = started + end.after if end is not None and end.operation is None else None
    signalled = False
    # Not the pipe's end, which processes that read ahead hold open for a while.
    watch = os.pidfd_open(process)
    over = False
    with open(reader, "rb", buffering=0) as pipe:
        while not over:
            wait = None if deadline is None or signalled else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([reader, watch], [], [], wait)
            if not ready and end is not None:  # the moment has come
                os.kill(process, end.number)
                signalled = True
            over = watch in ready
            if reader in ready:
                notes += pipe.read(65536)
            if end is None or end.operation is None or deadline is not None:
                continue
            if notes.count(b"\n") > end.operation:
                deadline = time.monotonic() + end.after
    os.close(watch)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return Ended(code, said.read_text(), time.monotonic() - started, notes.decode().splitlines())


def _child(args: list[str], folder: Path, said: Path, writer: int, end: End | None) -> NoReturn:
    """Run the command in this new process; never return."""
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(folder)
    os.environ["TMPDIR"] = str(folder / "tmp")
    tempfile.tempdir = None
    logs, count, mine = str(folder), 0, os.getpid()

    def note(event: str, values: tuple[Any, ...]) -> None:
        nonlocal count
        if os.getpid() != mine:
            return  # a worker of the DataLoader
        if event == "open":
            writes = (
                values[2] & (os.O_WRONLY | os.O_RDWR)
                if isinstance(values[2], int)
                else "w" in (values[1] or "")
            )
            if not writes or not isinstance(values[0], str):
                return
        elif event not in WRITES:
            return
        path = os.path.abspath(os.fspath(values[0]))
        if not path.startswith(logs) or path == str(said):
            return
        if end is not None and count == end.operation and not end.after:
            os.kill(mine, end.number)
        os.write(writer, f"{event} {os.path.relpath(path, logs)}\n".encode())
        count += 1

    sys.addaudithook(note)
    run_and_exit(lambda: main(args))


def run_folder(folder: Path) -> Path | None:
    """The newest run folder; None if there is none."""
    found = sorted(
        (folder / "lightning_logs/run").glob("version_*"), key=lambda path: int(path.name[8:])
    )
    return found[-1] if found else None


def resume_command(folder: Path, command: list[str]) -> list[str]:
    """How to go on: with the run folder where it says how, else with the command itself."""
    last = run_folder(folder)
    if last is None or not (
        (last / "config.yaml").exists() or (last / "checkpoints/last.ckpt").exists()
    ):
        return command
    # A class that is not this package's is imported only where the command names it.
    own = next((kind for kind in OWN if kind.__name__ in command), None)
    named = ["--model", f"{own.__module__}.{own.__name__}"] if own else []
    return ["fit", "--ckpt_path", str(last), *named]


def random_end(whole: Ended, rng: random.Random, number: int = signal.SIGKILL) -> End:
    """Half of them at any moment of the run, the others around an operation on its files: before
    it, or within two milliseconds.
    """
    if rng.random() < 0.5:
        return End(rng.uniform(0, whole.seconds), number=number)
    after = 0.0 if rng.random() < 0.5 else rng.uniform(1e-5, 2e-3)
    return End(after, rng.randrange(len(whole.operations)), number)


def differences(ours: Path, theirs: Path) -> list[str]:
    """Where a run folder differs from that of the run which nobody stopped; nothing when they are
    the same to the last bit.
    """
    found = []
    names = [
        {_shape(path, folder) for path in folder.rglob("*") if path.is_file()}
        for folder in (ours, theirs)
    ]
    found += [f"has {name}" for name in sorted(names[0] - names[1])]
    found += [f"lacks {name}" for name in sorted(names[1] - names[0])]
    if found:
        return found
    if (ours / "history.csv").read_bytes() != (theirs / "history.csv").read_bytes():
        found.append("history.csv")
    for name in ("last.ckpt", "best.ckpt"):
        one, two = (
            torch.load(path / "checkpoints" / name, weights_only=True) for path in (ours, theirs)
        )
        found += [
            f"{name}: {place}" for place in _unlike(_without_history(one), _without_history(two))
        ]
    one, two = _scalars(ours), _scalars(theirs)
    found += [
        f"TensorBoard's {tag}: {sorted(one.get(tag, set()) ^ two.get(tag, set()))}"
        for tag in one | two
        if one.get(tag) != two.get(tag)
    ]
    with Image.open(ours / "curves.png") as image:
        image.load()
    return found


def _shape(path: Path, folder: Path) -> str:
    name = str(path.relative_to(folder))
    return name.partition(EVENTS)[0] + EVENTS if EVENTS in name else name


def _without_history(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Without what tells of the resuming itself: commands, what the configuration knows, and
    Lightning's count of scheduler calls.
    """
    callbacks = {key: value for key, value in checkpoint["callbacks"].items() if key != "RunFiles"}
    loop = checkpoint["loops"]["fit_loop"]
    loops = {key: value for key, value in loop.items() if key != "epoch_loop.scheduler_progress"}
    return {
        **{key: value for key, value in checkpoint.items() if key != "config"},
        "callbacks": callbacks,
        "loops": loops,
    }


def _unlike(one: Any, two: Any, place: str = "") -> list[str]:
    """Places where two nested values differ; tensors to the last bit."""
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        same = (
            one.dtype == two.dtype
            and one.shape == two.shape
            and one.numpy().tobytes() == two.numpy().tobytes()
        )
        return [] if same else [place]
    if isinstance(one, dict) and isinstance(two, dict):
        if one.keys() != two.keys():
            return [f"{place} keys {sorted(map(str, one.keys() ^ two.keys()))}"]
        return [line for key in one for line in _unlike(one[key], two[key], f"{place}/{key}")]
    if isinstance(one, list | tuple) and isinstance(two, list | tuple) and len(one) == len(two):
        return [
            line
            for k, pair in enumerate(zip(one, two, strict=True))
            for line in _unlike(*pair, f"{place}/{k}")
        ]
    return (
        []
        if one == two or (one != one and two != two)
        else [f"{place}: {one!r} instead of {two!r}"]
    )


def _scalars(folder: Path) -> dict[str, set[tuple[int, float]]]:
    """What TensorBoard's charts show: of each tag the points; a point that was written twice lies
    on itself.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    points: dict[str, set[tuple[int, float]]] = {}
    for path in folder.rglob(f"{EVENTS}*"):
        events = EventAccumulator(str(path), {"scalars": 0}).Reload()
        for tag in events.Tags()["scalars"]:
            points.setdefault(f"{path.parent.name}/{tag}", set()).update(
                (e.step, e.value) for e in events.Scalars(tag)
            )
    return points


def halves(folder: Path) -> list[str]:
    """Files under their final names that are not whole."""
    checks: dict[str, Callable[[Path], Any]] = {
        "config.yaml": lambda path: yaml.safe_load(path.read_text())["model"]["class_path"],
        "run.yaml": lambda path: yaml.safe_load(path.read_text())["made_with"][0]["versions"],
        "history.csv": lambda path: [
            float(line.split(",")[4]) for line in path.read_text().splitlines()[1:]
        ],
        "curves.png": lambda path: Image.open(path).load(),
        "checkpoints/last.ckpt": lambda path: torch.load(path, weights_only=True)["state_dict"],
        "checkpoints/best.ckpt": lambda path: torch.load(path, weights_only=True)["state_dict"],
    }
    found = []
    for name, check in checks.items():
        if (folder / name).exists():
            try:
                check(folder / name)
            except Exception as error:
                found.append(f"{name} is half ({type(error).__name__})")
    return found
