"""What Lightning calls at every step."""

from __future__ import annotations

import re
from pathlib import Path

import lightning as L
import pytest
from lightning.pytorch.profilers import SimpleProfiler

from signs_lightning import H5DataModule, SignsFunctional, Trainer
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.models.run_callbacks import RUN_CALLBACKS

STEPS = ("batch_start", "batch_end", "backward", "optimizer_step", "zero_grad")


class Given(L.Callback):
    """One of the user's own."""


def test_steps_call_only_what_acts_at_steps(
    small_signs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning's own profiler says which hooks were called: between epochs all callbacks' of a
    run, at steps those of the two that act there, and of one that the user gives.
    """
    monkeypatch.chdir(tmp_path)
    profiler = SimpleProfiler(dirpath=tmp_path, filename="profile")
    trainer = Trainer(max_epochs=1, profiler=profiler, accelerator="cpu", callbacks=[Given()])
    trainer.fit(SignsFunctional(), H5DataModule(str(small_signs[0]), val_fraction=0.2))
    actions = [
        re.fullmatch(r"\[Callback\](\w+).*\.(on_\w+)", k) for k in profiler.recorded_durations
    ]
    called = [action.groups() for action in actions if action]
    at_steps = {name for name, hook in called if hook.endswith(STEPS)}
    between = {name for name, hook in called if hook == "on_train_epoch_end"}
    assert at_steps == {"EpochProgressBar", "RunCheckpoint", "Given"}
    assert {kind.__name__ for kind in RUN_CALLBACKS} < between


def test_every_hook_of_a_batch_is_left_out() -> None:
    """Also those that a later Lightning adds."""
    hooks = {name for name in dir(L.Callback) if name.startswith("on_") and name.endswith(STEPS)}
    assert len(hooks) == 12
    assert {name for name in hooks if getattr(EpochCallback, name) is not None} == set()
