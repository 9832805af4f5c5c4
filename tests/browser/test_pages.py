"""What people see in a browser: the demo, the report, TensorBoard. None of them complains, and none
calls anybody.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from references import SIGNS, Reference

from browser.running import HOSTILE, Demo, hostile_files, running_demo
from signs_lightning.__main__ import main
from signs_lightning.runtime.escaping import printable

LABEL = '[data-testid="label-output-value"]'
needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="the extra `demo` is not installed"
)

# What a browser does when a file is dropped on the field.
DROP = """([name, type, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name, {type}));
  const field = document.querySelector("button:has(input[type=file])");
  for (const kind of ["dragenter", "dragover", "drop"])
    field.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


@pytest.fixture(scope="module")
def run_folder(small_signs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on drawn hands, whose class names are an attack on every page."""
    folder = tmp_path_factory.mktemp("browser")
    train, test = hostile_files(small_signs, folder)
    config = Path(__file__).resolve().parents[2] / "configs" / "signs_functional.yaml"
    options = ["--data.train_file", train, "--data.test_file", test, "--trainer.max_epochs", 2]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([str(part) for part in ("fit", "--config", config, *options)]) == 0
    return folder / "lightning_logs" / "signs_functional" / "version_0"


@pytest.fixture(scope="module")
def demo(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo"), "--ckpt_path", run_folder) as running:
        yield running


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def drop(page, name: str, kind: str, contents: bytes) -> None:
    page.wait_for_selector("input[type=file]", state="attached")
    page.evaluate(DROP, [name, kind, base64.b64encode(contents).decode()])


@needs_gradio
@pytest.mark.parametrize("reference", SIGNS, indirect=True)
@pytest.mark.slow
def test_demo_names_the_class_that_keras_names(
    reference: Reference, watch: Callable, tmp_path: Path
) -> None:
    """Two hands of the test file, with Keras's trained weights: the label of each, as Keras says,
    too.
    """
    images, labels = reference.test()
    right = np.flatnonzero(reference.probabilities.argmax(1) == labels)
    chosen = [next(k for k in right if labels[k] == label) for label in (5, 2)]
    resizing = ("--data.resize", "nearest", "--data.fit", "stretch")  # as load_img does it
    trained = reference.folder / "trained.h5"
    with running_demo(tmp_path, "--ckpt_path", trained, *resizing) as demo:
        opened = watch()
        opened.page.goto(demo.url)
        for k in chosen:
            drop(opened.page, f"hand_{k}.png", "image/png", png(images[k]))
            opened.page.wait_for_function(
                "([where, text]) => document.querySelector(where)?.innerText === text",
                arg=[LABEL, str(labels[k])],
            )
            opened.page.get_by_label("Remove Image").click()
            opened.page.wait_for_selector(LABEL, state="detached")
    assert opened.errors == []
    assert opened.foreign == []


@needs_gradio
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
@pytest.mark.slow
def test_demo_shows_class_crop_and_heat(
    width: int, scheme: str, demo: Demo, run_folder: Path, watch: Callable
) -> None:
    """An uploaded picture: the class that the model predicts, as plain text, and two pictures that
    fit the screen.
    """
    from signs_lightning.checkpoints.load_model import load_model

    model, data = load_model(str(run_folder), "demo")
    with h5py.File(data["test_file"]) as file:
        image = file["test_set_x"][3]
    expected = HOSTILE[int(model.predict(torch.from_numpy(image[None])).argmax())]
    opened = watch(width, scheme)
    opened.page.goto(demo.url)
    opened.page.wait_for_selector("input[type=file]", state="attached")
    opened.page.set_input_files(
        "input[type=file]", {"name": "hand.png", "mimeType": "image/png", "buffer": png(image)}
    )
    opened.page.wait_for_selector(".seen img >> nth=1")
    assert opened.page.inner_text(LABEL) == printable(expected)
    rows = opened.page.locator(
        ".confidence-set .label"
    ).all_inner_texts()  # name, line feed, per cent
    assert {row.rpartition("\n")[0] for row in rows} == {printable(name) for name in HOSTILE}
    sizes = opened.page.eval_on_selector_all(
        ".seen img", "images => images.map(i => [i.naturalWidth, i.width])"
    )
    assert [natural for natural, _ in sizes] == [64, 64]
    assert all(100 < shown <= 300 for _, shown in sizes)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.locator("img[src=x]").count() == 0
    assert opened.errors == []
    assert opened.foreign == []


@needs_gradio
@pytest.mark.slow
def test_demo_examples_can_be_clicked(demo: Demo, watch: Callable) -> None:
    opened = watch()
    opened.page.goto(demo.url)
    opened.page.locator(".gallery-item").first.click()
    opened.page.wait_for_selector(".seen img >> nth=1")
    assert opened.page.inner_text(LABEL) in {printable(name) for name in HOSTILE}
    assert opened.errors == []
    assert opened.foreign == []


@needs_gradio
@pytest.mark.slow
def test_demo_answers_other_files_with_a_sentence(demo: Demo, watch: Callable) -> None:
    """A text file, a text file that calls itself a picture, and one that is too large; a picture
    goes through afterwards.
    """
    opened = watch()
    opened.page.goto(demo.url)
    drop(opened.page, "notes.txt", "text/plain", b"buy milk")
    opened.page.wait_for_selector("text=Only image/* allowed")
    drop(opened.page, "notes.png", "image/png", b"buy milk")
    opened.page.wait_for_selector(".unreadable")
    assert "This is not a picture of a kind that can be read here" in opened.page.inner_text(
        ".unreadable"
    )
    assert opened.page.locator(LABEL).count() == 0
    opened.page.get_by_label("Remove Image").click()
    drop(opened.page, "hand.png", "image/png", png(np.zeros((64, 64, 3), np.uint8)))
    opened.page.wait_for_selector(LABEL)
    assert opened.page.locator(".unreadable").count() == 0
    assert opened.errors == []
    assert opened.foreign == []


def test_report_is_one_quiet_page(run_folder: Path, watch: Callable) -> None:
    """Opened as a file: nothing on the console, no request but the page itself, and class names
    stay text.
    """
    assert main(["report", str(run_folder)]) == 0
    opened = watch()
    opened.page.goto((run_folder / "report" / "report.html").as_uri())
    opened.page.wait_for_load_state("networkidle")
    assert opened.page.locator("img").count() > 0
    broken = opened.page.eval_on_selector_all(
        "img", "images => images.filter(i => !i.naturalWidth).length"
    )
    assert broken == 0
    assert opened.page.locator("img[src=x]").count() == 0
    assert HOSTILE[1] in opened.page.inner_text("body")
    assert opened.errors == []
    assert [
        address for address in opened.asked if not address.startswith(("file://", "data:"))
    ] == []
    phone = watch(width=360, scheme="dark")
    phone.page.goto((run_folder / "report" / "report.html").as_uri())
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.slow
def test_tensorboard_stays_on_the_machine(
    run_folder: Path, watch: Callable, tmp_path: Path
) -> None:
    """The charts of a run appear, and every request goes to the loopback."""
    command = [
        sys.executable, "-m", "tensorboard.main", "--logdir", str(run_folder),
        "--host", "127.0.0.1", "--port", "0",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    try:
        url = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
        opened = watch()
        opened.page.goto(url)
        opened.page.wait_for_selector("text=val_loss >> nth=0")
    finally:
        process.terminate()
        process.wait(timeout=120)
        process.stderr.close()
    assert opened.foreign == []
    assert json.dumps(opened.asked).count(url) > 5
