"""`compile` changes the time that training takes, not what it finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import signs_lightning.checkpoints.files
from signs_lightning import SignsFunctional
from signs_lightning.checkpoints.files import load_checkpoint
from signs_lightning.models.run_callbacks import RUN_CALLBACKS


@pytest.mark.parametrize(("device", "mode"), [("cpu", None), ("cuda", "reduce-overhead")])
def test_cuda_graphs_are_for_gpus(
    device: str, mode: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And sizes are fixed on either: a graph is of one size."""
    asked: list[tuple[nn.Module, dict]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: asked.append((self, options)))
    model = SignsFunctional(compile=True)
    trainer: Any = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device(device)),
        callbacks=[kind() for kind in RUN_CALLBACKS],
    )
    model.trainer = trainer
    model.setup("validate")
    assert not asked
    model.setup("fit")
    assert asked == [(model.network, {"mode": mode, "dynamic": False})]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the compiler about itself
def test_compiled_training_follows_plain_training(
    cli: Callable, small_signs: tuple[Path, Path]
) -> None:
    """Two epochs either way: the same losses to rounding, the same keys in the checkpoint, and it
    loads without compiling.
    """
    found = []
    for compiled in ("false", "true"):
        done = cli(
            "fit", "--model", "SignsFunctional", "--model.compile", compiled, "--name", compiled,
            "--trainer.max_epochs", "2", "--data.batch_size", "16",
            "--data.train_file", small_signs[0], "--data.test_file", small_signs[1],
        )  # fmt: skip
        assert done.code == 0, done.err
        found.append(
            load_checkpoint(
                Path("lightning_logs") / compiled / "version_0" / "checkpoints" / "last.ckpt"
            )
        )
    plain, ours = found
    assert list(plain["state_dict"]) == list(ours["state_dict"])
    for a, b in zip(
        plain["signs_lightning"]["history"], ours["signs_lightning"]["history"], strict=True
    ):
        assert a == pytest.approx(b, rel=1e-4)
    model, _ = signs_lightning.checkpoints.files.load_classifier(
        Path("lightning_logs/true/version_0/checkpoints/last.ckpt")
    )
    assert model.network._compiled_call_impl is None


@pytest.mark.slow
def test_a_machine_without_a_compiler(
    cli: Callable, small_signs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.compile's page of explanations becomes a sentence."""
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    done = cli(
        "fit", "--model", "SignsFunctional", "--model.compile", "true", "--trainer.max_epochs", "1",
        "--data.train_file", small_signs[0], "--data.test_file", small_signs[1],
    )  # fmt: skip
    assert done.code == 2
    assert "torch.compile cannot be used here: " in done.err
    assert "Drop --model.compile." in done.err
    assert "Traceback" not in done.err
