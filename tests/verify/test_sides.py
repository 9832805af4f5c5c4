"""What the verb `verify` compares, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from signs_lightning import SignsFunctional
from signs_lightning.__main__ import main
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint

NET = """
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 4)
        self.second = nn.Conv2d(8, 16, 2)
        self.head = nn.Linear(64, 6)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.first(F.pad(x, (1, 2, 1, 2)))), 8)
        x = F.max_pool2d(F.relu(self.second(F.pad(x, (0, 1, 0, 1)))), 4)
        return self.head(FLATTEN)
"""
RIGHT, WRONG = "x.permute(0, 2, 3, 1).flatten(1)", "x.flatten(1)"


@pytest.fixture
def signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint, and the same network written by hand, right and with a bug."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = SignsFunctional(num_classes=6, image_size=(64, 64, 3)).eval()
    save_checkpoint(model, tmp_path / "signs.ckpt")
    names = ("first.weight", "first.bias", "second.weight", "second.bias", "head.weight")
    state = model.network.state_dict().values()
    weights = dict(zip((*names, "head.bias"), state, strict=True))
    torch.save(weights, "net.pt")
    for name, flatten in (("right", RIGHT), ("wrong", WRONG)):
        Path(f"{name}.py").write_text(NET.replace("FLATTEN", flatten))
    return tmp_path


def test_a_right_port_agrees(signs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network written by hand gives what the checkpoint gives, layer by layer."""
    words = ["verify", "right.py:Net", "--weights", "net.pt", "--against", "signs.ckpt"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "Everything that could be compared" in printed
    assert max(map(len, printed.splitlines())) <= 79


def test_a_wrong_port_is_named(signs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flattened in another order: the dense layer, and the reason, on the screen and as JSON."""
    words = ["verify", "wrong.py:Net", "--weights", "net.pt", "--against", "signs.ckpt"]
    assert main([*words, "--json", "result.json"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "likely reason: flatten order" in printed
    result = json.loads(Path("result.json").read_text())
    assert (result["exit_code"], result["agrees"]) == (1, False)
    assert result["first"]["counterpart"] == "head"
    assert result["first"]["reasons"][0]["kind"] == "flatten order"
