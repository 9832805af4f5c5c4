"""`verify` finds porting bugs in ports that were written by hand, and names layer and reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from signs_lightning.keras_io import keras_check
from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.verify.compare import compare
from signs_lightning.verify.result import Comparison
from signs_lightning.verify.sides import load_side

from . import porting_bugs
from .hand_ports import draw, source_of
from .porting_bugs import BUGS, Outcome, draw_images, judge

FIND_KERAS = keras_check.find_keras  # which the tests hide
QUICK = (porting_bugs.flatten_order, porting_bugs.same_padding, porting_bugs.activation_variant)


@pytest.mark.parametrize("bug", QUICK, ids=lambda bug: bug.__name__)
def test_a_bug_is_explained(bug: porting_bugs.Bug, tmp_path: Path) -> None:
    """Three of the ten kinds, each in a small network."""
    outcome = judge(3, bug, tmp_path, max_layers=8)
    assert outcome.is_found
    assert outcome.is_named, outcome.result.first
    assert outcome.is_explained, outcome.result.first


def test_a_right_port_raises_no_alarm(tmp_path: Path) -> None:
    """Everything is compared of it, a training step among it, and agrees."""
    result = judge(4, None, tmp_path, max_layers=8).result
    assert result.exit_code == 0, result.first
    parts = {row.part for row in result.rows}
    assert {"facts", "layer", "outputs", "training"} <= parts


@pytest.mark.slow
def test_fifty_bugs_and_fifty_right_ports(tmp_path: Path) -> None:
    """All bugs are found and their layers named, at least 40 explained; no alarm on right ports."""
    torch.set_num_threads(1)
    outcomes = [judge(k, BUGS[k % len(BUGS)], tmp_path) for k in range(50)]
    assert {outcome.bug for outcome in outcomes} == {bug.__name__ for bug in BUGS}
    assert [describe(o) for o in outcomes if not o.is_found] == []
    assert [describe(o) for o in outcomes if not o.is_named] == []
    assert sum(outcome.is_explained for outcome in outcomes) >= 40
    counts = [outcome.count for outcome in outcomes]
    assert min(counts) <= 8
    assert max(counts) >= 45
    alarms = [judge(k, None, tmp_path) for k in range(50)]
    assert [describe(o) for o in alarms if o.result.exit_code != 0] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["right", "flatten_order", "norm_epsilon", "scale"])
def test_against_keras_itself(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Keras file is the reference, and Keras computes what its layers give."""
    pytest.importorskip("keras")
    monkeypatch.setattr(keras_check, "find_keras", FIND_KERAS)
    monkeypatch.chdir(tmp_path)
    bug = None if name == "right" else getattr(porting_bugs, name)
    d, planted = porting_bugs.make_port(11, bug, max_layers=12)
    export_keras(d.model, tmp_path / "drawn.keras", "keras", check=False)
    (tmp_path / "port.py").write_text(source_of(d))
    torch.save(d.weights, "port.pt")
    reference = load_side("drawn.keras", scale=d.scale)
    other = load_side("port.py:Net", weights="port.pt")
    result = compare(other, reference, draw_images(d), "drawn images")
    outcome = Outcome(name, planted, len(d.pieces), result)
    assert result.keras.startswith("Keras 3")
    assert result.exit_code == (name != "right"), result.first
    by_keras = [row for row in result.rows if row.part == "keras"]
    assert [row.status for row in by_keras] == ["agrees"] * len(by_keras)
    assert len(by_keras) == (2 if name == "right" else 1)
    if bug is not None:
        assert outcome.is_named, result.first
        assert outcome.is_explained, result.first


def test_the_drawn_networks_differ() -> None:
    """Two seeds give two networks, and one seed gives one."""
    sources = [source_of(draw(seed, max_layers=10)) for seed in (1, 1, 2)]
    assert sources[0] == sources[1] != sources[2]


def describe(outcome: Outcome) -> tuple[str, porting_bugs.Planted, object]:
    result: Comparison = outcome.result
    return outcome.bug, outcome.planted, result.first
