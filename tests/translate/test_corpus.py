"""Notebooks and scripts in public habits become what Keras says of them, or are refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from corpus import EXPECTED, FOLDER, NOTEBOOKS, translate_with_facts

from signs_lightning.__main__ import main
from signs_lightning.callbacks.model_summary import format_totals
from signs_lightning.translate.read_source import read_source
from signs_lightning.translate.translation import Translation, translate

SMALL = 300_000  # parameters of a model whose file is imported, too
# What is outside the subset, and stands before the width of a Dense layer.
PLANTED = (
    "int(open('width.txt').read()) + ",
    "__import__('mystery').width() + ",
    "eval(input()) + ",
    "not_defined_anywhere() + ",
    "int(__import__('subprocess').check_output('date')) + ",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if k % 2 else []) for k, n in enumerate(EXPECTED)],
)
def test_same_as_keras(name: str) -> None:
    expected = EXPECTED[name]
    made = translate_with_facts(FOLDER / name, expected)
    assert made.is_whole, [*made.not_understood, *made.needed, *made.refusals]
    assert made.model is not None
    trainable, fixed = format_totals(made.model)
    assert trainable + fixed == expected["total"]
    assert trainable == expected["fits"][-1]["trainable"]
    assert made.agrees is not False
    assert len(made.fits) == len(expected["fits"])
    for number, wanted in enumerate(expected["fits"], 1):
        _check_fit(made, number, wanted)


def _check_fit(made: Translation, number: int, wanted: dict[str, Any]) -> None:
    """Compare what a configuration says of a training with what Keras was told."""
    text = made.files["config.yaml" if number == 1 else f"config_{number}.yaml"]
    config = yaml.safe_load(text)
    assert config["data"]["batch_size"] == wanted["batch_size"]
    assert config["trainer"]["max_epochs"] == wanted["epochs"] - wanted["initial_epoch"]
    compiled = made.fits[number - 1].compile_config
    assert compiled is not None
    _check_optimizer(compiled["optimizer"], wanted["optimizer"])
    rate = wanted["optimizer"]["learning_rate"]
    module = config["model"]["class_path"].partition(".")[0]
    if "lr" in config["model"].get("init_args", {}):
        assert config["model"]["init_args"]["lr"] == pytest.approx(rate, rel=1e-6)
    else:  # with a schedule, which the source has
        assert "def make_schedule" in made.files[f"{module}.py"]
    _check_loss(compiled["loss"], wanted["loss"])
    if wanted["trainable"] < SMALL:
        _check_module(made.files[f"{module}.py"], wanted["trainable"])


def _check_optimizer(spec: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert spec["class_name"] == wanted["class_name"]
    given = spec["config"]
    for key, value in wanted.items():
        if key == "class_name":
            continue
        mine = given.get(key, given.get("lr") if key == "learning_rate" else None)
        if isinstance(value, dict):
            assert mine["class_name"] == value["class_name"]
            mine, value = mine["config"], value["config"]
            assert {k: v for k, v in mine.items() if v} == {k: v for k, v in value.items() if v}
        elif not isinstance(value, bool):
            assert mine == pytest.approx(value, rel=1e-6), key
        else:
            assert mine == value


def _check_loss(spec: Any, wanted: dict[str, Any]) -> None:
    name = spec if isinstance(spec, str) else spec["class_name"]
    assert re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() == wanted["name"]
    given = {} if isinstance(spec, str) else spec.get("config", {})
    for key in ("from_logits", "label_smoothing"):
        assert (given.get(key) or 0) == wanted.get(key, 0)


def _check_module(text: str, trainable: int) -> None:
    """Check that the source makes a model with so many parameters that train."""
    names: dict[str, Any] = {"__name__": "model"}
    exec(compile(text, "model.py", "exec"), names)
    model = names["Net"]()
    model.configure_model()
    assert format_totals(model)[0] == trainable
    height, width, channels = model.image_size
    with torch.no_grad():
        logits = model.eval()(torch.zeros(2, channels, height, width))
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        pytest.param(*pair, marks=[pytest.mark.slow] if k % 4 else [])
        for k, pair in enumerate(zip(EXPECTED, cycle(PLANTED), strict=False))
    ],
)
def test_what_is_outside_the_subset_is_named(name: str, planted: str, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree((FOLDER / name).parent, folder)
    path = folder / Path(name).name
    if name == "lenet_package/train.py":
        path = folder / "nets/lenet.py"
    place = _plant(path, planted)
    source = folder / Path(name).name
    made = translate(read_source(source, {}), {})
    found = [finding for finding in made.not_understood if finding.reaches == "model"]
    assert place in {(f.place.cell, f.place.line) for f in found}
    assert not made.files


def _plant(path: Path, planted: str) -> tuple[int, int]:
    """Make the width of the last Dense layer unknown; return its cell and its line."""
    pattern = re.compile(r"\bDense\s*\((?!units|output_dim)(?=\S)(?!.*\bimport\b)")
    content = json.loads(path.read_text()) if path.suffix == ".ipynb" else None
    texts = [path.read_text()] if content is None else []
    texts = texts or ["".join(cell["source"]) for cell in content["cells"]]  # type: ignore[index]
    number = max(k for k, text in enumerate(texts) if pattern.search(text))
    last = list(pattern.finditer(texts[number]))[-1]
    changed = texts[number][: last.end()] + planted + texts[number][last.end() :]
    line = texts[number][: last.end()].count("\n") + 1
    if content is None:
        path.write_text(changed)
        return 0, line
    content["cells"][number]["source"] = changed
    path.write_text(json.dumps(content))
    return number + 1, line


def test_exit_code_and_first_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mnist_cnn.py"
    shutil.copy(FOLDER / path.name, path)
    _, line = _plant(path, PLANTED[0])
    assert main(["translate", str(path), "--output", str(tmp_path / "out")]) == 3
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"Not understood: line {line}: ")
    assert "open" in first
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["TRANSLATION.md"]


@pytest.mark.long
@pytest.mark.skipif("TF_KERAS_PYTHON" not in os.environ, reason="names no Python with tf_keras")
def test_keras_says_the_same_today(tmp_path: Path) -> None:
    script, output = NOTEBOOKS / "make_expected.py", tmp_path / "expected.json"
    subprocess.run([os.environ["TF_KERAS_PYTHON"], script, output], check=True)
    assert json.loads(output.read_text()) == EXPECTED
