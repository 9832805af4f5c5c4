"""What the benchmark does on a GPU, tried out on the CPU: its plan, its forks, its checks."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import pytest

CONTESTANTS = ("signs_lightning", "hand_written")
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


def test_some_ways_of_training_can_be_chosen(gpu_session):
    gpu_session.ways = {"64-bf16-compiled", "64-tf32"}
    labels = [
        step.labels["subject"] + " " + step.labels["precision"]
        for pixels in gpu_session.sizes
        for precision in ("bf16", "tf32")
        for step in gpu_session.training_steps(pixels, precision, "hand_written")
    ]
    assert labels == ["resnet50 64×64 bf16, compiled", "resnet50 64×64 tf32"]


def measured(run, precision, contestant, seconds):
    """One measurement of ResNet50, 1,000 images an epoch."""
    labels = {"run": run, "part": "gpu", "subject": "resnet50 64×64", "precision": precision}
    epochs = {"epoch_seconds": [9.0, seconds], "steps_seconds": [9.0, seconds]}
    return {**labels, "contestant": contestant, "images": 1000, **epochs}


def test_a_later_run_replaces_what_it_measured_on_the_same_card():
    """Precision by precision, since there may be no time for all; each card has its own tables,
    and what is missing is said.
    """
    from benchmarks import gpu_table

    runs = [("1", "H200"), ("2", "H100"), ("3", "H100")]
    rows = [
        measured("1", "tf32", "signs_lightning", 1.0),
        measured("1", "tf32", "hand_written", 2.0),
        *(measured("2", p, c, 0.5) for p in ("bf16", "bf16, compiled") for c in CONTESTANTS),
        *(measured("3", "bf16, compiled", c, 0.25) for c in CONTESTANTS),
    ]
    record = {"runs": [{"run": k, "machine": {"gpu": gpu}} for k, gpu in runs]}
    text = gpu_table.gpu({**record, "measurements": rows})
    assert "| 64×64, bf16 | 2,000 | 2,000 | 2,000 | 1.00× |" in text
    assert "| 64×64, bf16, compiled | 4,000 | 4,000 | 4,000 | 1.00× |" in text
    assert text.count("| 64×64, tf32 | 1,000 | 1,000 | 500 | 2.00× |") == 1
    assert "Taken 1 time, the loop after ours. Not measured: 64×64 tf32; 64×64 tf32" in text


def test_a_comparison_of_profiles_counts_what_waits():
    """And leaves out the mark around the whole step that Lightning's order of calls makes."""
    from benchmarks.step_profile import compare

    step = {"step_seconds": 0.01, "kernel_seconds": 0.005, "kernels": 3.0}
    operators = [["Optimizer.step#KerasAdam.step", 1, 9.0, 0.0], ["aten::add", 2, 0.1, 0.0]]
    ours = {**step, "operators": [*operators, ["cudaStreamSynchronize", 2.0, 0.1, 0.0]]}
    text = compare(ours, {**step, "operators": operators[1:]})
    assert "a step waits for the GPU 2 times in ours, 0 in the loop" in text
    assert "Optimizer" not in text


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
