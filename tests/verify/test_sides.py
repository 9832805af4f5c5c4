"""What the verb `verify` compares, and its exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from screens import Terminal

from signs_lightning import SignsFunctional
from signs_lightning.__main__ import main
from signs_lightning.checkpoints.files import load_classifier
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.models.weights_file import save_weights
from signs_lightning.runtime.own_code import import_file

DOCS = Path(__file__).parents[2] / "docs"
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


def test_a_right_port_agrees(signs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network written by hand gives what the checkpoint gives, layer by layer; no line is longer
    than the screen.
    """
    terminal = Terminal(80)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    words = ["verify", "right.py:Net", "--weights", "net.pt", "--against", "signs.ckpt"]
    assert main(words) == 0
    lines = terminal.close()
    assert any(line.startswith("Everything that could be compared") for line in lines)
    assert max(map(len, lines)) <= 79


def test_a_wrong_port_is_named(signs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flattened in another order: the dense layer, and the reason, on the screen and as JSON."""
    words = ["verify", "wrong.py:Net", "--weights", "net.pt", "--against", "signs.ckpt"]
    assert main([*words, "--json", "result.json"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "likely reason: flatten order" in printed
    page = " ".join((DOCS / "verifying.md").read_text().split())
    sentence = (
        "flattens in the order (C, H, W), and its kernel is for (H, W, C). With its values in"
    )
    assert sentence in printed
    assert sentence in page
    result = json.loads(Path("result.json").read_text())
    assert (result["exit_code"], result["agrees"]) == (1, False)
    assert result["first"]["counterpart"] == "head"
    assert result["first"]["reasons"][0]["kind"] == "flatten order"


def test_pixels_of_a_preprocess(signs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A module's own `preprocess` is compared: another scale, and channels in reverse."""
    body = Path("right.py").read_text()
    for text, kind in (("x * 2 - 1", "scale"), ("x.flip(1)", "channel order")):
        lines = [
            "    def preprocess(self, images):",
            "        x = images.permute(0, 3, 1, 2).float() / 255",
            f"        return {text}",
        ]
        Path("other.py").write_text(f"{body}\n" + "\n".join(lines) + "\n")
        words = ["verify", "other.py:Net", "--weights", "net.pt", "--against", "signs.ckpt"]
        assert main(words) == 1
        printed = " ".join(capsys.readouterr().out.split())
        assert f"likely reason: {kind}" in printed
        assert "on the same pixels, all layers agree" in printed


def test_a_loss_that_takes_the_softmax_again(
    signs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Probabilities agree, but `training_step` gives them to a loss of logits."""
    text = (
        Path("right.py").read_text().replace("return self.head(", "return torch.softmax(self.head(")
    )
    text = text.replace(".flatten(1))", ".flatten(1)), 1)").replace(
        "nn.Module", "L.LightningModule"
    )
    step = [
        "    def training_step(self, batch, batch_idx):",
        "        loss = F.cross_entropy(self(batch[0]), batch[1])",
        "        self.log('loss', loss)",
        "        return loss",
    ]
    Path("lit.py").write_text("import lightning as L\n" + text + "\n" + "\n".join(step) + "\n")
    words = ["verify", "lit.py:Net", "--weights", "net.pt", "--against", "signs.ckpt"]
    assert main(words) == 1
    assert "likely reason: softmax twice" in capsys.readouterr().out


def test_formats(signs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An ONNX file gives probabilities alone; safetensors need a network; JSON and page whole."""
    from safetensors.torch import save_file

    weights = torch.load("net.pt", weights_only=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, "net.safetensors")
    words = ["verify", "net.safetensors", "--against", "signs.ckpt"]
    assert main(words) == 2
    assert "--model FILE.py:CLASS" in capsys.readouterr().err
    words += ["--model", "right.py:Net", "--output", "page.html", "--seed", "3"]
    assert main(words) == 0
    page = Path("page.html").read_text()
    assert "Everything that could be compared" in page
    assert "net.safetensors" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.slow
def test_an_onnx_file(signs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its probabilities are compared, and what it hides is said."""
    pytest.importorskip("onnxruntime")
    export = ["export", "--ckpt_path", "signs.ckpt", "--format", "onnx", "--output", "signs.onnx"]
    assert main(export) == 0
    capsys.readouterr()
    assert main(["verify", "signs.onnx", "--against", "signs.ckpt"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "not compared: layers, gradients and training" in printed
    words = ["verify", "wrong.py:Net", "--weights", "net.pt", "--against", "signs.onnx"]
    assert main(words) == 2
    assert "--scale" in capsys.readouterr().err
    assert main([*words, "--scale", "/255"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no.py:Net", "--against", "signs.ckpt"], "no.py does not exist"),
        (["right.py:Nat", "--against", "signs.ckpt"], "has no class Nat. Did you mean 'Net'?"),
        (["right.py:Net", "--weights", "no.pt", "--against", "signs.ckpt"], "no.pt does not exist"),
        (["right.py:Net", "--weights", "signs.ckpt", "--against", "signs.ckpt"], "does not fit"),
        (["signs.ckpt", "--weights", "net.pt", "--against", "signs.ckpt"], "Leave net.pt out"),
        (["right.py:Net", "--against", "wrong.py:Net"], "--image_size"),
        (["right.py:Net", "--against", "wrong.py:Net", "--image_size", "64", "64", "3"], "--scale"),
    ],
)
def test_questions(
    signs: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be done is said in a sentence, with exit code 2."""
    assert main(["verify", *words]) == 2
    assert said in capsys.readouterr().err


def test_each_module_has_its_own_neighbours(signs: Path) -> None:
    """Two versions of a project, each with a `layers.py`, are compared each with its own."""
    for folder, function in (("v1", "F.relu"), ("v2", "F.leaky_relu")):
        Path(folder).mkdir()
        text = f"import torch.nn.functional as F\n\n\ndef act(x):\n    return {function}(x)\n"
        Path(folder, "layers.py").write_text(text)
        body = Path("right.py").read_text().replace("F.relu(", "act(")
        Path(folder, "net.py").write_text(f"from layers import act\n{body}")
    words = ["verify", "v1/net.py:Net", "--weights", "net.pt", "--against_weights", "net.pt"]
    words += ["--image_size", "64", "64", "3", "--scale", "/255", "--against"]
    assert main([*words, "v2/net.py:Net"]) == 1
    assert main([*words, "v1/net.py:Net"]) == 0


@pytest.mark.parametrize(
    "settings", [{"nonsense": 3, "path": "signs.ckpt", "num_classes": 6}, [1], None]
)
def test_settings_of_a_file_are_not_trusted(
    signs: Path, settings: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a class does not take is left out, and no setting names another file."""
    model, _ = load_classifier(signs / "signs.ckpt")
    metadata = {"model": "signs_lightning.models.signs_functional.SignsFunctional"}
    save_weights(Path("signs.safetensors"), model.state_dict(), metadata | {"settings": settings})
    assert main(["verify", "signs.safetensors", "--against", "signs.ckpt"]) == 0


def test_a_network_that_changes_its_input(signs: Path) -> None:
    """What the reference makes of its pixels in place is not what the other one is given."""
    body = Path("right.py").read_text()
    Path("inplace.py").write_text(
        body.replace("        x = F", "        x.mul_(0.5)\n        x = F", 1)
    )
    words = ["verify", "signs.ckpt", "--against", "inplace.py:Net", "--weights", "net.pt"]
    assert main(words) == 1


def test_a_network_that_gives_nan(signs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It differs from one that does not, and nothing can be compared with it."""
    body = Path("right.py").read_text()
    Path("nan.py").write_text(body.replace("return self.head(", "return float('nan') * self.head("))
    words = ["verify", "nan.py:Net", "--weights", "net.pt", "--against"]
    assert main([*words, "signs.ckpt"]) == 1
    assert "shape or by NaN" in " ".join(capsys.readouterr().out.split())
    words = ["verify", "signs.ckpt", "--against", "nan.py:Net", "--weights", "net.pt"]
    assert main(words) == 2
    assert "gives NaN" in capsys.readouterr().err


NORM = """
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.norm, self.head = nn.BatchNorm2d(8), nn.Linear(8, 4)
        nn.init.zeros_(self.norm.weight)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        x = self.a(x)
        x = x + self.norm(self.b(x))
        return self.head(self.drop(x.mean((2, 3))))
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", "Everything that could be compared"),
        ("norm.running_mean", "'norm' ('norm' in port.py:Net) differs first"),
        ("norm.running_var", "the weights themselves differ ('running_var')"),
        ("dropout", "DIFFERS in setting: drop"),
    ],
)
def test_what_outputs_do_not_show(
    change: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Averages of a BatchNorm whose gamma is 0, and the rate of a dropout."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NORM)
    Path("port.py").write_text(NORM.replace("0.3", "0.5" if change == "dropout" else "0.3"))
    state = import_file(Path("net.py"), "Net")().state_dict()
    torch.save(state, "net.pt")
    if change in state:
        state[change] += 1
    torch.save(state, "port.pt")
    words = ["port.py:Net", "--weights", "port.pt", "--against", "net.py:Net"]
    words += ["--against_weights", "net.pt", "--image_size", "16", "16", "3", "--scale", "/255"]
    assert main(["verify", *words]) == bool(change)
    assert said in " ".join(capsys.readouterr().out.split())


def test_without_keras(signs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Our reading of a Keras file agrees, but nothing was checked by Keras: exit code 4."""
    model, _ = load_classifier(signs / "signs.ckpt")
    export_keras(model, "signs.keras", check=False)
    capsys.readouterr()
    words = ["verify", "right.py:Net", "--weights", "net.pt", "--against", "signs.keras"]
    assert main(words) == 4
    printed = " ".join(capsys.readouterr().out.split())
    assert "not checked against Keras" in printed
    assert "not compared: Keras itself" in printed


def test_pictures(signs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Models are compared on the user's own pictures, resized to their size."""
    Image.new("RGB", (90, 70), (200, 120, 40)).save("hand.png")
    words = ["right.py:Net", "--weights", "net.pt", "--against", "signs.ckpt"]
    assert main(["verify", *words, "--images", "hand.png"]) == 0
    assert "1 picture, 64×64×3" in capsys.readouterr().out
    Path("no.png").write_text("no picture")
    assert main(["verify", *words, "--images", "no.png"]) == 2


def test_two_modules(signs: Path) -> None:
    """What the questions ask for works: a size, a scale, and weights for both."""
    words = ["right.py:Net", "--weights", "net.pt", "--against", "right.py:Net"]
    words += ["--against_weights", "net.pt", "--image_size", "64", "64", "3", "--scale", "/255"]
    assert main(["verify", *words]) == 0


def test_errors_of_the_users_code_show_their_traceback(signs: Path) -> None:
    """They are not turned into messages."""
    Path("broken.py").write_text("import no_such_package_of_mine\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_package_of_mine"):
        main(["verify", "broken.py:Net", "--against", "signs.ckpt"])
