"""What has to hold on a GPU, beside its speed: each function checks one thing and hands over what
it found, with `ok` and a sentence; `device` is "cuda", or "cpu" where that is tried out.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from benchmarks.marks import hand_over
from benchmarks.measure import ROOT
from signs_lightning import DrawnSigns, ImageClassifier


def command_line(*args: object) -> None:
    """Run `python -m signs_lightning ARGS` in this process."""
    from signs_lightning.__main__ import main

    if code := main([str(arg) for arg in args]):
        raise SystemExit(code)


def _fit(config: str, device: str, name: str, *more: object) -> Path:
    """Train on 96 drawn hands; return the run's folder."""
    train_file, test_file = DrawnSigns(96, 24).files(Path())
    command_line(
        *("fit", f"--config={ROOT}/configs/{config}.yaml", "--name", name),
        *("--data.train_file", train_file.resolve(), "--data.test_file", test_file.resolve()),
        *("--trainer.accelerator", "gpu" if device == "cuda" else "cpu"),
        *("--trainer.devices", 1, *more),
    )
    return Path("lightning_logs") / name / "version_0"


def _parts(value: Any, name: str = "") -> dict[str, Any]:
    """The leaves of nested dictionaries and lists, by their path."""
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, part in items for k, v in _parts(part, f"{name}/{key}").items()}
    return {name: value}


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if "second" not in k} for row in csv.DictReader(file)]


def resume(device: str, config: str = "signs_resnet50_course") -> None:
    """A run resumed under `deterministic` is the whole one's to the last bit."""
    flags = ("--trainer.deterministic", "true")
    whole = _fit(config, device, "whole", *flags, "--trainer.max_epochs", 2)
    part = _fit(config, device, "part", *flags, "--trainer.max_epochs", 1)
    command_line("fit", "--ckpt_path", part, "--trainer.max_epochs", 2)
    found = []
    for run in (whole, part):
        content = torch.load(
            run / "checkpoints" / "last.ckpt", weights_only=True, map_location="cpu"
        )
        found.append(_parts([content["state_dict"], content["optimizer_states"]]))
    tensors = [key for key, value in found[0].items() if isinstance(value, torch.Tensor)]
    differ = [
        key
        for key in tensors
        if key not in found[1] or not torch.equal(found[0][key], found[1][key])
    ]
    same_rows = _rows(whole) == _rows(part)
    hand_over(
        {
            "ok": not differ and same_rows and len(tensors) > 4,
            "text": f"{config}: {len(tensors)} tensors of weights and optimizer, {differ} of "
            f"them different; history {'equal' if same_rows else 'different'}",
        }
    )


def onnx(device: str) -> None:
    """An exported file gives the model's probabilities, on the GPU's provider if there is one."""
    import onnxruntime

    from signs_lightning.checkpoints.load_model import load_model

    run = _fit("signs_functional", device, "exported", "--trainer.max_epochs", 2)
    command_line("export", "--ckpt_path", run, "--format", "onnx", "--output", "model.onnx")
    known = onnxruntime.get_available_providers()
    gpu = [name for name in known if name in ("CUDAExecutionProvider", "TensorrtExecutionProvider")]
    images = np.random.default_rng(0).integers(0, 256, (32, 64, 64, 3), dtype=np.uint8)
    model, _ = load_model(str(run), "export")
    expected = cast(ImageClassifier, model).to(device).predict(images)
    texts, ok = [], True
    for provider in [*gpu[:1], "CPUExecutionProvider"]:
        session = onnxruntime.InferenceSession("model.onnx", providers=[provider])
        (found,) = session.run(None, {session.get_inputs()[0].name: images})[:1]
        difference = float(np.abs(found - np.asarray(expected)).max())
        ok = ok and difference < 1e-5
        texts.append(f"{provider} {difference:.1e} from the model")
    if not gpu:
        texts.append(f"no provider of a GPU here: {', '.join(known)}")
    hand_over({"ok": ok, "text": "; ".join(texts)})


class Backend(Callback):
    """Write down through what processes speak to each other."""

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        name = torch.distributed.get_backend()
        Path("backend.txt").write_text(f"{name}, {torch.distributed.get_world_size()} process")


def nccl(device: str) -> None:
    """One process trains over NCCL as one without it does."""
    flags = ("--trainer.max_epochs", 2, "--trainer.deterministic", "true")
    alone = _fit("signs_functional", device, "alone", *flags)
    ddp = ("--trainer.strategy", "ddp", "--trainer.callbacks+=benchmarks.gpu_checks.Backend")
    other = _fit("signs_functional", device, "ddp", *flags, *ddp)
    pairs = [
        (float(a["loss"]), float(b["loss"]))
        for a, b in zip(_rows(alone), _rows(other), strict=True)
    ]
    apart = max(abs(a - b) for a, b in pairs)
    backend = Path("backend.txt").read_text()
    right = backend.startswith("nccl" if device == "cuda" else "gloo")
    hand_over({"ok": right and apart < 1e-3, "text": f"{backend}; losses {apart:.1e} apart"})


def tests(device: str, log: Path) -> None:
    """Run tests/gpu, or where there is no GPU the tests that collect it, with their output."""
    gpu = {"SIGNS_LIGHTNING_TEST_GPU": "0"} if device == "cuda" else {}
    environment = {**os.environ, **gpu}
    options = ["-q", "-s", "-rA", "-p", "no:cacheprovider", "-p", "no:benchmark", "--durations=20"]
    with log.open("wb") as output:
        code = subprocess.run(
            [sys.executable, "-m", "pytest", "tests/gpu", *options],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        ).returncode
    lines = log.read_text(errors="replace").strip().splitlines()
    bad = [line[:300] for line in lines if line.startswith(("FAILED", "ERROR", "SKIPPED"))]
    text = "; ".join([lines[-1] if lines else "nothing printed", *bad])
    hand_over({"ok": code == 0, "text": f"exit code {code}; {text}"})
