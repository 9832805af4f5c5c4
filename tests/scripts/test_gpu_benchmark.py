"""What the benchmark does on a GPU, tried out on the CPU: its plan, its forks, its checks."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The benchmark's modules can be imported."""
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture
def gpu_session(tmp_path):
    """What is measured on a GPU, at its smallest and on the CPU."""
    from benchmarks.gpu import Session
    from benchmarks.measure import Bench, Record

    record = Record(tmp_path / "benchmarks.json")
    record.begin()
    bench = Bench(record, tmp_path, threads=1, repeats=1, quick=True, models=("functional",))
    return Session(bench, device="cpu", limit=10_000)


def test_what_is_planned_for_a_gpu(gpu_session):
    """Both contestants train in both precisions, with and without torch.compile, and one of these
    is profiled.
    """
    steps = [
        step.labels["subject"] + " " + step.labels["precision"]
        for pixels in gpu_session.sizes
        for precision in ("bf16", "tf32")
        for step in gpu_session.training_steps(pixels, precision, "hand_written")
    ]
    ways = ("bf16", "bf16, compiled", "tf32", "tf32, compiled")
    expected = [f"resnet50 {size} {way}" for size in ("64×64", "224×224") for way in ways]
    assert steps == [*expected[:1], "profile of resnet50 64×64 bf16", *expected[1:]]


@pytest.mark.slow
def test_commands_of_the_gpu_part_on_the_cpu(gpu_session, tmp_path):
    """Ceilings, the functional model in processes of its own, and the page that says so."""
    from benchmarks import gpu_table

    gpu_session.measure()
    record = json.loads((tmp_path / "benchmarks.json").read_text())
    found = {(row["subject"], row["contestant"]): row for row in record["measurements"]}
    assert [row for row in found.values() if "failed" in row] == []
    assert found["functional", "signs_lightning"]["after_first_step_seconds"] > 0
    assert found["functional", "hand_written"]["after_first_step_seconds"] > 0
    flops = found["ceilings", "card"]["flops"]
    assert flops["224×224"] > flops["64×64"] > 1e8
    assert "| hand-written loop |" in gpu_table.gpu(record)


@pytest.mark.slow
def test_a_fork_trains_and_profiles(gpu_session, monkeypatch):
    """One fork takes two steps, the second under the profilers, which name what both contestants
    call; the functional model stands for ResNet50.
    """
    from benchmarks import files, gpu, training
    from benchmarks.gpu_results import images_per_second
    from benchmarks.step_profile import compare

    ours, rival = training.ours, training.rival
    monkeypatch.setattr(training, "ours", lambda _, *args: ours("functional", *args))
    monkeypatch.setattr(training, "rival", lambda name, _, *args: rival(name, "functional", *args))
    files.write(gpu_session.data(64), 96, 64, "contiguous")
    for contestant in (gpu.OURS, gpu.LOOP):
        steps = gpu_session.training_steps(64, "bf16", contestant)[:2]
        plain, profiled = gpu_session.fork(steps).results(timeout=300)
        assert "failed" not in plain, plain
        assert "failed" not in profiled, profiled
        assert plain["parameters"] == 1_310
        assert (images_per_second(plain) or 0) > 0
        gpu_session.keep([profiled])
    text = compare(gpu_session.profiles[gpu.OURS], gpu_session.profiles[gpu.LOOP])
    assert "aten::" in text
    assert "clock.py" in text or "layers.py" in text or "module.py" in text


@pytest.mark.slow
@pytest.mark.parametrize("check", ["resume", "onnx", "nccl"])
def test_checks_hold_on_the_cpu(gpu_session, check):
    """What is checked on a GPU holds here, too; resumed is the functional model."""
    from benchmarks import gpu_checks
    from benchmarks.forked import Step

    config = {"config": "signs_functional"} if check == "resume" else {}
    call = partial(getattr(gpu_checks, check), "cpu", **config)
    (found,) = gpu_session.fork([Step({}, call)]).results(timeout=300)
    assert found["ok"], found


def test_a_fork_that_fails_says_why(gpu_session):
    """What came before the failure is kept, and what took too long is ended; a process that imports
    everything anew does the same.
    """
    from benchmarks.forked import Step
    from benchmarks.marks import hand_over

    steps = [
        Step({"name": "good"}, lambda: hand_over({"images": 3})),
        Step({"name": "bad"}, lambda: [].pop()),
    ]
    good, bad = gpu_session.fork(steps).results(timeout=100)
    assert good["images"] == 3
    assert "pop from empty list" in bad["failed"]
    gpu_session.method = "spawn"
    (anew,) = gpu_session.fork([Step({}, partial(hand_over, {"images": 3}))]).results(timeout=100)
    assert anew["images"] == 3
    gpu_session.method = "fork"
    (late,) = gpu_session.fork([Step({}, lambda: time.sleep(1000))]).results(timeout=0.1)
    assert "it took too long" in late["failed"]
