"""The demo: what the page answers agrees with the predict verb, and nothing else of the machine can
be had through it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import csv
import importlib.util
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from browser.running import HOSTILE, Demo, hostile_files, running_demo
from PIL import Image
from task_sets import NAMES, TARGETS, write_sets

from signs_lightning.commands.demo import _credentials, main
from signs_lightning.demo import server as demo_server
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import printable

# EXIF orientation 6.
ON_ITS_SIDE = b"Exif\0\0MM\0*" + bytes(
    [0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0]
)


@pytest.fixture(scope="session")
def checkpoint(small_signs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch on drawn hands from named files, whose class names are an attack on the page."""
    from lightning import Trainer

    from signs_lightning import H5DataModule, SignsFunctional

    folder = tmp_path_factory.mktemp("hostile")
    train, test = hostile_files(small_signs, folder)
    model, data = SignsFunctional(), H5DataModule(train_file=str(train), test_file=str(test))
    trainer = Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(model, data)
    trainer.save_checkpoint(folder / "hostile.ckpt")
    return folder / "hostile.ckpt"


needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="the extra `demo` is not installed"
)


@pytest.fixture(scope="module")
def demo(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("running")
    (folder / "secret.txt").write_text("secret of the working folder")
    with running_demo(folder, "--ckpt_path", checkpoint) as running:
        yield running


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values.squeeze(), mode if channels == 1 else None).resize(
        (width, height)
    )


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([1, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(200)))
        + chunk(b"IEND", b"")
    )


@needs_gradio
@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("as_it_is.png", encoded(noise(64, 64), "PNG")),
        ("wide.jpg", encoded(noise(300, 200), "JPEG")),
        ("turned.jpg", encoded(noise(90, 160), "JPEG", exif=ON_ITS_SIDE)),
        ("see_through.webp", encoded(noise(70, 80, "RGBA"), "WEBP", lossless=True)),
        ("grey.tif", encoded(noise(65, 63, "L"), "TIFF")),
        ("misnamed.txt", encoded(noise(50, 50), "GIF")),
    ],
)  # fmt: skip
def test_page_and_predict_verb_agree(
    name: str, contents: bytes, demo: Demo, checkpoint: Path, cli: Callable, tmp_path: Path
) -> None:
    """The same file through the page and through `predict`, in another process: the same
    probability for every class.
    """
    ours, html = demo.classify(name, contents)
    (tmp_path / name).write_bytes(contents)
    assert cli("predict", "--ckpt_path", checkpoint, "--images", tmp_path / name).code == 0
    with (tmp_path / "predictions.csv").open(newline="") as file:
        row = list(csv.reader(file))[1]
    assert ours is not None
    expected = np.array([float(value) for value in row[3:]])
    given = np.array([ours[printable(class_name)] for class_name in HOSTILE])
    np.testing.assert_allclose(given, expected, atol=1e-6, rtol=0)
    assert max(ours, key=ours.__getitem__) == printable(HOSTILE[int(expected.argmax())])
    assert html.count("<img") == 2  # what the network saw, and Grad-CAM


@needs_gradio
def test_crop_is_what_the_network_saw(demo: Demo, tmp_path: Path) -> None:
    """The first picture on the page is, pixel by pixel, the array that `read_image` gives."""
    from signs_lightning.runtime.image_files import read_image

    contents = encoded(noise(300, 200), "JPEG")
    _, html = demo.classify("wide.jpg", contents)
    (tmp_path / "wide.jpg").write_bytes(contents)
    shown = [
        Image.open(io.BytesIO(base64.b64decode(text)))
        for text in re.findall(r"base64,([^\"]+)", html)
    ]
    np.testing.assert_array_equal(
        np.asarray(shown[0]), read_image(str(tmp_path / "wide.jpg"), (64, 64, 3))
    )
    assert [picture.size for picture in shown] == [(64, 64), (64, 64)]


@needs_gradio
def test_class_names_are_text_everywhere(demo: Demo) -> None:
    """No name out of a file opens a tag or moves a cursor in the HTML that the page inserts."""
    for seed in range(8):  # pictures that fall into several classes
        picture = Image.fromarray(
            np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        )
        probabilities, html = demo.classify("x.png", encoded(picture, "PNG"))
        assert probabilities is not None
        assert set(probabilities) == {printable(name) for name in HOSTILE}
        tags = re.findall(r"<\s*/?\s*([a-zA-Z]+)", html)
        assert set(tags) <= {"div", "figure", "img", "figcaption"}
        assert "onerror=" not in re.sub(r"&lt;.*?&gt;", "", html)
        assert "\x1b" not in html


@needs_gradio
@pytest.mark.parametrize(
    ("name", "contents", "sentence"),
    [
        ("notes.png", b"only text", "not a picture of a kind"),
        ("empty.png", b"", "not a picture of a kind"),
        (
            "drawing.svg",
            b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
            "not a picture of a kind",
        ),
        (
            "program.png",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
            "not a picture of a kind",
        ),
        ("bomb.png", png_header(60_000, 60_000), "more than 50 million pixels"),
        ("just_too_large.png", png_header(7_100, 7_100), "more than 50 million pixels"),
        ("cut.png", encoded(noise(64, 64), "PNG")[:3000], "damaged"),
        ("cut.jpg", encoded(noise(64, 64), "JPEG")[:900], "damaged"),
    ],
)
def test_what_is_no_picture_gets_a_sentence(
    name: str, contents: bytes, sentence: str, demo: Demo
) -> None:
    """Told by content, whatever the name; without a path and without a traceback."""
    probabilities, html = demo.classify(name, contents)
    assert probabilities is None
    assert sentence in html
    assert html.count("<") == 2  # one paragraph
    assert "/" not in html.replace("</p>", "")
    assert "Traceback" not in demo.log.read_text()


@needs_gradio
def test_no_file_of_the_machine_can_be_fetched(demo: Demo, checkpoint: Path) -> None:
    """By address, with dots, encoded or double-encoded, relative, from the working folder, or
    through another Gradio address.
    """
    inside = json.loads(demo.upload("mine.png", encoded(noise(9, 9), "PNG")).body)[0]
    assert demo.get(f"/gradio_api/file={inside}").status == 200
    uploads = str(Path(inside).parents[1])
    targets = [
        *(
            "/etc/passwd",
            "//etc/passwd",
            f"{uploads}/../../../../../../etc/passwd",
            f"{inside}/../../../../../../../etc/passwd",
        ),
        *(
            f"{uploads}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
            f"{uploads}/..%2f..%2f..%2f..%2fetc%2fpasswd",
        ),
        *(
            "secret.txt", "./secret.txt", str(demo.log), str(checkpoint), f"{demo.folder}",
            f"{Path(uploads).parent}/example_0.png",
        ),
        *(
            "file:///etc/passwd",
            "http://192.0.2.1/",
            "https://192.0.2.1/x.png",
            "%2fetc%2fpasswd",
            "/proc/self/environ",
        ),
    ]  # fmt: skip
    for door in (
        "/gradio_api/file=", "/gradio_api/file/", "/file=", "/gradio_api/proxy=", "/static/",
        "/assets/",
    ):  # fmt: skip
        for target in targets:
            answer = demo.get(door + target)
            assert answer.status in (400, 403, 404), (door, target)
            assert b"root:" not in answer.body
            assert b"secret of" not in answer.body
            assert b"Traceback" not in answer.body


@needs_gradio
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "secret.txt", "../secret.txt", "http://192.0.2.1/x.png",
        "data:image/png;base64,AAAA", {"path": "/etc/passwd"},
    ],
)  # fmt: skip
def test_only_uploaded_files_are_looked_at(path: object, demo: Demo) -> None:
    """A request that names another file, or an address in the internet, is refused before Gradio
    touches it.
    """
    before = demo.connections.read_text()
    joined, message = demo.ask(path)
    assert (joined.status, message) == (403, {})
    assert b"Only pictures that were uploaded" in joined.body
    assert demo.connections.read_text() == before


@needs_gradio
@pytest.mark.parametrize("method_and_path", [
    "GET /gradio_api/vibe-code", "GET /monitoring", "GET /monitoring/summary", "GET /docs",
    "GET /openapi.json", "GET /gradio_api/openapi.json", "GET /gradio_api/runs",
    "GET /gradio_api/startup-events", "GET /gradio_api/deep_link?session_hash=x",
    "POST /gradio_api/process_recording", "POST /gradio_api/component_server",
    "POST /gradio_api/run/classify", "POST /gradio_api/call/classify",
    "POST /gradio_api/api/classify", "POST /gradio_api/vibe-edit", "POST /gradio_api/stream/x",
    "POST /gradio_api/queue/data", "POST /", "GET /gradio_api/mcp/sse",
])  # fmt: skip
def test_what_the_page_does_not_need_is_not_served(method_and_path: str, demo: Demo) -> None:
    method, path = method_and_path.split()
    answer = demo.get(path) if method == "GET" else demo.post(path, {"data": [None]})
    assert (answer.status, answer.text) == (404, "There is nothing here.")


@needs_gradio
def test_nobody_jumps_the_queue(demo: Demo) -> None:
    """The address that examples are fetched through does not classify, which goes one picture after
    the other.
    """
    path = json.loads(demo.upload("x.png", encoded(noise(64, 64), "PNG")).body)[0]
    entries = json.loads(demo.get("/config").body)["dependencies"]
    numbers = {entry["api_name"]: entry["id"] for entry in entries}
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
    assert len(numbers) == 2
    for name, number in numbers.items():
        body = {
            "data": data if name == "classify" else [0],
            "fn_index": number,
            "session_hash": "x",
        }
        answer = demo.post("/gradio_api/run/predict", body)
        assert (answer.status == 200) == (name != "classify")
        assert b"confidence" not in answer.body
    data[0]["path"] = "/etc/passwd"
    body = {"data": data, "fn_index": 0, "session_hash": "x"}
    assert demo.post("/gradio_api/run/predict", body).status == 403


@needs_gradio
def test_requests_are_limited_in_size(demo: Demo) -> None:
    """A picture of more than 20 MB, a long JSON text, and a request that hides its length; nothing
    of them is kept.
    """
    with contextlib.suppress(
        urllib.error.URLError
    ):  # or the server hangs up before everything is sent
        assert demo.upload("large.png", bytes(20 * 2**20 + 1)).status == 413
    assert list(demo.folder.rglob("large.png")) == []
    host, port = demo.url.removeprefix("http://").split(":")
    for path, length, status in (
        (b"upload", b"Content-Length: 23000000", b"413"),
        (b"upload", b"Transfer-Encoding: chunked", b"411"),
        (b"queue/join", b"Content-Length: 2000000", b"413"),
    ):
        with socket.create_connection(
            (host, int(port)), timeout=120
        ) as connection:  # refused before the body is sent
            connection.sendall(
                b"POST /gradio_api/"
                + path
                + b" HTTP/1.1\r\nHost: localhost\r\n"
                + length
                + b"\r\n\r\n"
            )
            assert connection.recv(100).split()[1] == status


@needs_gradio
def test_page_answers_to_this_machines_names_only(demo: Demo) -> None:
    """A foreign site that points a name of its own at the loopback gets nothing (DNS rebinding)."""
    assert demo.get("/", headers={"Host": "localhost:7860"}).status == 200
    assert demo.get("/", headers={"Host": "rebound.example"}).status == 400


@needs_gradio
def test_examples_come_from_the_data(demo: Demo, small_signs: tuple[Path, Path]) -> None:
    """Each example is an image of the test file, and every class has one."""
    with h5py.File(small_signs[1]) as file:
        images, labels = file["test_set_x"][()], file["test_set_y"][()].ravel()
    text = demo.get("/config").text
    paths = sorted(
        set(re.findall(r"/[^\"]*/uploads/[^\"]*example_\d+\.png", text.replace("\\u002f", "/")))
    )
    paths = [
        path[path.index("/gradio_api/file=") :] if "/gradio_api/file=" in path else path
        for path in paths
    ]
    fetched = {
        path.rpartition("/")[2]: path if path.startswith("/gradio") else f"/gradio_api/file={path}"
        for path in paths
    }
    assert len(fetched) == 12
    for name, path in fetched.items():
        position = int(re.findall(r"\d+", name)[0])
        np.testing.assert_array_equal(
            np.asarray(Image.open(io.BytesIO(demo.get(path).body))), images[position]
        )
    assert {int(labels[int(re.findall(r"\d+", name)[0])]) for name in fetched} == set(range(6))


@needs_gradio
@pytest.mark.slow
def test_onnx_file_has_no_overlay(checkpoint: Path, cli: Callable, tmp_path: Path) -> None:
    """An exported model gives the checkpoint's probabilities; without Grad-CAM, which needs
    gradients, and without examples.
    """
    pytest.importorskip("onnxruntime")
    done = cli(
        "export", "--ckpt_path", checkpoint, "--format", "onnx",
        "--output", tmp_path / "model.onnx",
    )  # fmt: skip
    assert done.code == 0, done.err
    picture = encoded(noise(64, 64), "PNG")
    with running_demo(tmp_path, "--ckpt_path", tmp_path / "model.onnx") as demo:
        probabilities, html = demo.classify("x.png", picture)
        assert "example_0.png" not in demo.get("/config").text
        stops_cleanly(demo, signal.SIGINT)
    assert html.count("<img") == 1
    (tmp_path / "x.png").write_bytes(picture)
    assert cli("predict", "--ckpt_path", checkpoint, "--images", tmp_path / "x.png").code == 0
    with (tmp_path / "predictions.csv").open(newline="") as file:
        expected = [float(value) for value in list(csv.reader(file))[1][3:]]
    assert probabilities is not None
    given = [probabilities[printable(name)] for name in HOSTILE]
    np.testing.assert_allclose(given, expected, atol=1e-5, rtol=0)


@needs_gradio
def test_password(checkpoint: Path, tmp_path: Path) -> None:
    """Without the password nothing can be sent, asked or fetched; with it everything works. Every
    network is warned of.
    """
    with running_demo(
        tmp_path, "--ckpt_path", checkpoint, "--auth", "guest:sword:fish", "--host", "0.0.0.0"
    ) as demo:
        assert "Every machine that reaches this one" in demo.log.read_text()
        assert demo.url.startswith("http://localhost:")
        picture = encoded(noise(64, 64), "PNG")
        assert demo.upload("x.png", picture).status == 401
        for path in (
            "/config",
            "/gradio_api/info",
            "/gradio_api/queue/data?session_hash=x",
            "/gradio_api/queue/status",
        ):
            assert demo.get(path).status == 401
        body = {"data": [None], "fn_index": 0, "session_hash": "x"}
        assert demo.post("/gradio_api/queue/join", body).status == 401
        assert b"example_0.png" not in demo.get("/").body
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert demo.get("/login", b"username=guest&password=sword", form).status == 400
        answer = demo.get("/login", b"username=guest&password=sword%3Afish", form)
        demo.cookie = answer.headers["set-cookie"].partition(";")[0]
        assert demo.classify("x.png", picture)[0] is not None
        stops_cleanly(demo, signal.SIGTERM)


def stops_cleanly(demo: Demo, number: int) -> None:
    """Ended by a signal while a page waits: no traceback, nothing left in the temporary folder,
    nobody called meanwhile.
    """
    printed = demo.log.read_text()
    assert any(demo.folder.iterdir())
    port = int(demo.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=120) as waiting:
        waiting.sendall(
            b"GET /gradio_api/upload_progress?upload_id=x HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        assert demo.stop(number) == 130
    assert list(demo.folder.iterdir()) == []
    assert demo.log.read_text().removeprefix(printed).strip() == ""
    called = demo.connections.read_text().splitlines()
    assert [line for line in called if not re.search(r"127\.0\.0\.1|0\.0\.0\.0", line)] == []


def test_help_is_light() -> None:
    """Neither PyTorch nor Gradio is imported for `--help`."""
    code = (
        "import sys; from signs_lightning.commands.demo import main\n"
        "try: main('demo', ['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'gradio', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "--auth" in finished.stdout
    assert finished.stdout.splitlines()[-1] == "[]"


def test_missing_gradio_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'signs-lightning\[demo\]'"):
        main("demo", ["--ckpt_path", "model.ckpt"])


@needs_gradio
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "70000"], "--port is 70000, expected a number from 0 to 65535."),
        (["--host", "no such host"], "--host no such host is no address of a machine."),
        (["--host", "192.0.2.1"], "The page cannot listen at 192.0.2.1"),
        (["--auth", "guest"], "--auth is incomplete, expected USER:PASSWORD"),
        (["--auth", ":x"], "--auth is incomplete"),
        (["--root_path", "signs"], "--root_path is 'signs', expected a path such as /signs"),
        (["--root_path", "ftp://x/y"], "--root_path is 'ftp://x/y', expected a path"),
        (["--root_path", "/a?b"], "--root_path is '/a?b', expected a path"),
    ],
)
def test_options_that_cannot_be_used(
    options: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(InputError) as caught:
        main("demo", ["--ckpt_path", "nothing.ckpt", *options])
    assert str(caught.value).startswith(sentence)


def test_password_can_be_prompted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a user alone is enough, so that the password is in no list of processes."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"answer to {prompt}")
    assert _credentials("guest") == ("guest", "answer to Password for guest: ")
    assert _credentials("guest:sword:fish") == ("guest", "sword:fish")


@needs_gradio
def test_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError) as caught:
        main("demo", ["--ckpt_path", "nothing.ckpt", "--port", str(taken.getsockname()[1])])
    assert str(caught.value).endswith("is taken by another program. Name another one with --port.")


def test_sweep_removes_what_is_old(tmp_path: Path) -> None:
    """Pictures, uploads that broke off and empty folders go once they are old; young files and the
    examples stay.
    """
    for name in (
        "old_part",
        "young_part",
        "old/picture.png",
        "young/picture.png",
        "example/picture.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name in ("old_part", "old/picture.png", "example/picture.png", "old", "example"):
        os.utime(tmp_path / name, (0, 0))
    demo_server._sweep(tmp_path, {tmp_path / "example" / "picture.png"}, oldest=1000)
    os.utime(tmp_path / "old", (0, 0))  # as it will be ten minutes later
    demo_server._sweep(tmp_path, {tmp_path / "example" / "picture.png"}, oldest=1000)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["example/picture.png", "young/picture.png", "young_part"]
    assert not (tmp_path / "old").exists()


def test_sweep_goes_on_while_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture goes in its turn, and so does Gradio's list of them."""
    monkeypatch.setattr(demo_server, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(demo_server, "KEEP_SECONDS", -1)
    page: Any = SimpleNamespace(temp_file_sets=[set()])

    async def visits() -> None:
        sweeping = asyncio.create_task(demo_server._delete_old_uploads(page, tmp_path, set()))
        for number in range(3):
            (tmp_path / f"{number}.png").write_bytes(b"x")
            page.temp_file_sets[0].add(f"{number}.png")
            while list(tmp_path.iterdir()) or page.temp_file_sets[0]:
                await asyncio.sleep(0.01)
        sweeping.cancel()

    asyncio.run(asyncio.wait_for(visits(), timeout=120))


@needs_gradio
@pytest.mark.slow
def test_load_test_counts(demo: Demo) -> None:
    """A short load test of a few clients: every request is answered, and the server's memory is
    read.
    """
    script = Path(__file__).resolve().parents[2] / "scripts" / "load_test.py"
    options = [
        "--url", demo.url, "--pid", str(demo.process.pid), "--clients", "3", "--seconds", "1",
    ]  # fmt: skip
    command = [sys.executable, str(script), *options]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert re.search(r"failed\W+0\b", finished.stdout)
    assert re.search(r"memory by quarters\W+([\d,]+, ){4}[\d,]+ MiB", finished.stdout)


@needs_gradio
@pytest.mark.slow
@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_model_of_a_task(task: str, cli: Callable, tmp_path: Path) -> None:
    """Each label's own probability, or the numbers in their units: what `predict` writes."""
    train, test = write_sets(tmp_path, task, (40, 9))
    done = cli(
        "fit", "--model", "SignsFunctional", "--model.task", task, "--name", "run",
        "--data.train_file", train, "--data.test_file", test, "--trainer.max_epochs", 1,
    )  # fmt: skip
    assert done.code == 0, done.err
    run, picture = tmp_path / "lightning_logs/run/version_0", encoded(noise(40, 40), "PNG")
    (tmp_path / "x.png").write_bytes(picture)
    assert cli("predict", run, tmp_path / "x.png").code == 0
    with (tmp_path / "predictions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    with running_demo(tmp_path, "--ckpt_path", run) as demo:
        ours, html = demo.classify("x.png", picture)
    if task == "multilabel":
        assert ours is not None
        expected = {name: float(row[f"p({name})"]) for name in NAMES}
        assert ours == pytest.approx(expected, abs=1e-6)
        assert html.count("<img") == 2
    else:
        assert ours is None
        for name in TARGETS:
            assert f"<td>{name}</td><td>{float(row[f'value({name})']):.6g}</td>" in html
        assert html.count("<img") == 1
