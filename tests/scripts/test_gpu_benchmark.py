"""What the benchmark does on a GPU, tried out on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CONTESTANTS = ("signs_lightning", "hand_written")
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The benchmark's modules can be imported."""
    monkeypatch.syspath_prepend(str(SCRIPTS))


def measured(run, precision, contestant, seconds):
    """One measurement of ResNet50, 1,000 images an epoch."""
    labels = {"run": run, "part": "gpu", "subject": "resnet50 64×64", "precision": precision}
    epochs = {"epoch_seconds": [9.0, seconds], "steps_seconds": [9.0, seconds]}
    return {**labels, "contestant": contestant, "images": 1000, **epochs}


def test_a_later_run_replaces_what_it_measured_on_the_same_card():
    """Precision by precision, since there may be no time for all; each card has its own tables."""
    from benchmarks import gpu_table

    rows = [
        measured("1", "tf32", "signs_lightning", 1.0),
        measured("1", "tf32", "hand_written", 2.0),
        *(measured("2", p, c, 0.5) for p in ("bf16", "bf16, compiled") for c in CONTESTANTS),
        *(measured("3", "bf16, compiled", c, 0.25) for c in CONTESTANTS),
    ]
    machine = {"processor": "P", "instructions": []}
    runs = [
        {"run": k, "machine": {**machine, "gpu": gpu}}
        for k, gpu in (("1", "H200"), ("2", "H100"), ("3", "H100"))
    ]
    text = "\n".join(gpu_table.gpu({"runs": runs, "measurements": rows}))
    assert "| 64×64, bf16 | 2,000 | 2,000 | 2,000 | 1.00× |" in text
    assert "| 64×64, bf16, compiled | 4,000 | 4,000 | 4,000 | 1.00× |" in text
    assert text.count("| 64×64, tf32 | 1,000 | 1,000 | 500 | 2.00× |") == 1


def test_a_comparison_of_profiles_counts_what_waits():
    """And leaves out the mark around the whole step that Lightning's order of calls makes."""
    from benchmarks.step_profile import compare

    step = {"step_seconds": 0.01, "kernel_seconds": 0.005, "kernels": 3.0}
    operators = [["Optimizer.step#KerasAdam.step", 1, 9.0, 0.0], ["aten::add", 2, 0.1, 0.0]]
    ours = {**step, "operators": [*operators, ["cudaStreamSynchronize", 2.0, 0.1, 0.0]]}
    text = compare(ours, {**step, "operators": operators[1:]})
    assert "a step waits for the GPU 2 times in ours, 0 in the loop" in text
    assert "Optimizer" not in text


def run(tmp_path, ways):
    """A quick run on the CPU: its measurements by subject and contestant, and its page."""
    from benchmark import main

    options = ["--quick", "--parts=gpu", "--device=cpu", "--threads=1", f"--ways={ways}"]
    main([*options, f"--scratch={tmp_path}", f"--output={tmp_path / 'docs'}"])
    rows = json.loads((tmp_path / "docs" / "benchmarks.json").read_text())["measurements"]
    assert [row for row in rows if "failed" in row] == []
    found = {(row["subject"], row["contestant"]): row for row in rows}
    return found, (tmp_path / "docs" / "benchmarks.md").read_text()


@pytest.mark.slow
def test_ceilings_and_the_functional_model(tmp_path):
    found, page = run(tmp_path, "ceilings,functional")
    for contestant in CONTESTANTS:
        assert found["functional", contestant]["after_first_step_seconds"] > 0
    flops = found["ceilings", "card"]["flops"]
    assert flops["224×224"] > flops["64×64"] > 1e8
    assert "| hand-written loop |" in page


@pytest.mark.slow
@pytest.mark.parametrize("way", ["64-tf32", "64-bf16-profile"])
def test_resnet50(tmp_path, way):
    """Images per second, and steps under the profilers, which name what both contestants call."""
    found, page = run(tmp_path, way)
    profile = way.endswith("profile")
    for contestant in CONTESTANTS:
        row = found["profile of resnet50 64×64" if profile else "resnet50 64×64", contestant]
        assert row["parameters"] == 23_600_006
    assert ("aten::" if profile else "| 64×64, tf32 |") in page
