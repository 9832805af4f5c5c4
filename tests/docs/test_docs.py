"""The commands and the Python of the documentation run."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from blocks import blocks, pages_with, script, split_words
from PIL import Image

from signs_lightning.__main__ import main

PYTHON = ["python", "-m", "signs_lightning"]
NEEDS = {
    "python -m signs_lightning demo": ["gradio"],
    "timm.create_model": ["timm"],
    "--format onnx": ["onnx", "onnxscript", "onnxruntime"],
}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, small_signs: tuple[Path, Path]) -> Path:
    """Make the files that the pages name: drawn hands, pictures, a run, its Keras file."""
    folder = tmp_path_factory.mktemp("workshop")
    for name, path in zip(("train_signs.h5", "test_signs.h5"), small_signs, strict=True):
        shutil.copy(path, folder / name)
    with h5py.File(small_signs[0]) as file:
        images, labels = file["train_set_x"][()], file["train_set_y"][()]
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / "my_photos" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    (folder / "holiday").mkdir()
    Image.fromarray(images[0]).resize((300, 200)).save(folder / "holiday" / "beach.jpg")
    Image.fromarray(images[1]).save(folder / "hand.png")
    run = "lightning_logs/signs_functional/version_0"
    with contextlib.chdir(folder):
        data = ["--data.train_file", "train_signs.h5", "--data.test_file", "test_signs.h5"]
        assert main(["fit", "--name", "signs_functional", *data, "--trainer.max_epochs", "2"]) == 0
        assert (
            main(["export", "--ckpt_path", run, "--format", "keras-h5", "--output", "my_model.h5"])
            == 0
        )
        write_outputs("my_model.h5", "test_signs.h5", "outputs.npz")
    return folder


def write_outputs(model: str, data: str, output: str) -> None:
    """Write what each layer gives for the test images, in place of Keras."""
    from signs_lightning import from_keras
    from signs_lightning.keras_io.compare_outputs import _outputs

    network = from_keras(model)
    with h5py.File(data) as file:
        images = network.preprocess(torch.from_numpy(file["test_set_x"][()]))
    with torch.inference_mode():
        outputs: dict[str, Any] = {k: values.numpy() for k, values in _outputs(network, images)}
    np.savez(output, **outputs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
@pytest.mark.parametrize("page", pages_with("run", "bash", "python"))
def test_page_runs(
    page: str, workshop: Path, tmp_path: Path, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From top to bottom, as a reader types it, in a folder with the files that it names."""
    if page not in ("tutorial.md", "index.md"):  # these make everything themselves
        shutil.copytree(workshop, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        if match := re.match(r"# (\S+\.(?:yaml|py))\n", block.text):
            Path(match[1]).write_text(block.text)
            sys.modules.pop(Path(match[1]).stem, None)  # another test's of this name
        if block.marker == "run" and block.language == "python":
            exec(compile(cheap(block.text), page, "exec"), names)
        elif block.marker == "run":
            for command in block.commands:
                printed = run(command, cli)
        elif block.marker == "prints":
            assert block.text in printed
    if page == "tutorial.md":
        pictures = Path("lightning_logs/my_photos/version_0/report")
        assert (pictures / "report.html").read_text().count("<img") >= 12
        assert Path("samples.png").is_file()


def cheap(code: str) -> str:
    """Return Python of a page that runs on the CPU and prints nothing."""
    quiet = "accelerator='cpu', logger=False, enable_progress_bar=False, enable_model_summary=False"
    return code.replace("Trainer(", f"Trainer({quiet}, ")


def run(command: str, cli: Callable) -> str:
    """Run one line of a shell and return what it prints; this package runs in this process."""
    for part, packages in NEEDS.items():
        if part in command and not all(importlib.util.find_spec(package) for package in packages):
            pytest.skip(f"{command} needs an extra that is not installed")
    words = split_words(command) if "|" not in command else []
    if words[:3] == PYTHON and words[3] == "demo":
        serve(words)
    elif words[:3] == PYTHON:
        done = cli(*words[3:])
        # 4: `verify` without Keras, which is hidden here
        assert done.code in (0, 4), f"{command}\n{done.out}{done.err}"
        return done.out
    elif words[:1] == ["python"] and words[1].startswith("scripts/"):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert script(words[1])(words[2:]) == 0, command
        return printed.getvalue()
    elif words[:2] == ["python", "-c"]:
        exec(words[2], {})
    else:
        command = re.sub(r"\bpython\b", shlex.quote(sys.executable), command)
        subprocess.run(["bash", "-euo", "pipefail", "-c", command], check=True, capture_output=True)
    return ""


def serve(words: list[str]) -> None:
    """Start the demo on a free port, wait for its address, end it as Ctrl-C does."""
    command = [sys.executable, *words[1:], "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            lines = iter(process.stdout.readline, "")  # the first may say what the data are
            assert any(re.match(r"http://127\.0\.0\.1:\d+ ", line) for line in lines)
            process.send_signal(signal.SIGINT)
            assert process.wait(300) == 130
        finally:
            process.kill()
