"""scripts/download_data.py, against servers of our own that behave as real ones do."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from signs_lightning import InputError

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "download_data.py"
HALF = 1_000_000
PAGE = b"<!DOCTYPE html><html><head><title>404</title></head></html>"
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 13272064\n"
)


def data(split: str) -> bytes:
    """A small file in the course's schema, 2 MB of noise."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        rng = np.random.default_rng(len(split))
        file[f"{split}_set_x"] = rng.integers(0, 256, (12, 240, 240, 3), dtype=np.uint8)
        file[f"{split}_set_y"] = np.arange(12) % 3
        file["list_classes"] = np.arange(3)
    return buffer.getvalue()


TRAIN, TEST = data("train"), data("test")
FILES = {"train_signs.h5": TRAIN, "test_signs.h5": TEST}


class Server(ThreadingHTTPServer):
    """Serves `FILES` below any folder; the folder's name says how.

    Attributes:
        asked: (folder, file, Range header) of every request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, str | None]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    """One answer."""

    server: Server

    def do_GET(self) -> None:
        """Answers as the folder in the address says."""
        _, how, name = self.path.split("/")
        wanted = self.headers["Range"]
        self.server.asked.append((how, name, wanted))
        content = FILES.get(name, b"")
        if how == "missing" or not content:
            self.send_error(404)
            return
        content = {
            "html": PAGE,
            "pointer": POINTER,
            "huge": bytes(10**7),
            "other": bytes(len(content)),
        }.get(how, content)
        if how == "copy":
            content = copy_of(content)
        start = 0
        if wanted and how not in ("no_ranges", "no_ranges_breaks", "html"):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            if how == "lies":
                start += 1
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = len(content)
        if "breaks" in how and (how != "breaks_once" or start == 0):
            stop = start if how == "breaks_at_once" else min(start + HALF, len(content) - 1)
        self.wfile.write(content[start:stop])
        self.wfile.flush()
        if stop < len(content):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def copy_of(content: bytes) -> bytes:
    """The same data with another checksum: HDF5 does not mind a byte behind its end."""
    return content + b"\0"


@pytest.fixture
def server() -> Iterator[Server]:
    """Runs until the test is over."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, for files of our own instead of the course's."""
    spec = importlib.util.spec_from_file_location("download_data", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "download_data", module)  # where its dataclass looks for it
    spec.loader.exec_module(module)
    originals = tuple(
        module.Original(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in FILES.items()
    )
    monkeypatch.setitem(module.DATA_SETS, "signs", (originals, ["http://127.0.0.1:9/nobody"]))
    return module


@pytest.fixture
def download(
    script: ModuleType, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture
) -> Callable:
    """Downloads from the given folders of the server; gives the exit code, and what was printed."""

    def run(*folders: str) -> tuple[int, str, str]:
        urls = [f"http://127.0.0.1:{server.server_port}/{folder}" for folder in folders]
        code = script.main(["signs", "--output", str(tmp_path), "--url", *urls])
        return code, *capsys.readouterr()

    return run


def assert_complete(folder: Path) -> None:
    """Both files are whole, and nothing else lies there."""
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_whole_files(download: Callable, server: Server, tmp_path: Path) -> None:
    """Fetched once; a second call finds them."""
    code, out, err = download("good")
    assert (code, err) == (0, "")
    assert_complete(tmp_path)
    assert f"{len(TRAIN):,} bytes from http" in out
    assert f"next: python -m signs_lightning fit --data.train_file {tmp_path}/train_signs.h5" in out
    assert server.asked == [("good", "train_signs.h5", None), ("good", "test_signs.h5", None)]
    code, out, err = download("good")
    assert (code, err, out.count("is already there.")) == (0, "", 2)
    assert len(server.asked) == 2


def test_resumes_what_broke_off(download: Callable, server: Server, tmp_path: Path) -> None:
    """The server closes in between: the next request asks for the rest only."""
    assert download("breaks_once")[0] == 0
    assert_complete(tmp_path)
    (*_, first), (*_, second) = server.asked[:2]
    assert first is None
    assert second is not None
    # What was on its way is lost when the connection is.
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= HALF


def test_resumes_in_another_call(download: Callable, server: Server, tmp_path: Path) -> None:
    """What came is kept, also from one mirror to another."""
    (tmp_path / ".train_signs.h5.part").write_bytes(TRAIN[:1000])
    assert download("missing", "good")[0] == 0
    assert_complete(tmp_path)
    assert ("good", "train_signs.h5", "bytes=1000-") in server.asked


def test_a_server_without_ranges(download: Callable, server: Server, tmp_path: Path) -> None:
    """It sends everything again: what was there is not prefixed to it."""
    (tmp_path / ".train_signs.h5.part").write_bytes(TRAIN[:1000])
    assert download("no_ranges")[0] == 0
    assert_complete(tmp_path)
    assert server.asked[0] == ("no_ranges", "train_signs.h5", "bytes=1000-")


def test_a_server_without_ranges_that_breaks_off(download: Callable, tmp_path: Path) -> None:
    """It never gets further than half: given up, and the next mirror has it."""
    code, _, err = download("no_ranges_breaks", "good")
    assert code == 0
    assert_complete(tmp_path)
    assert f" of {len(TRAIN):,} bytes." in err


@pytest.mark.parametrize(
    ("part", "how"),
    [
        (bytes(1000), "good"),
        (TRAIN + b"more", "good"),
        (TRAIN, "good"),
        (TRAIN[:1000], "lies"),
        (b"", "good"),
    ],
    ids=["of another file", "too long", "complete", "another range than asked for", "empty"],
)
def test_odd_remains(part: bytes, how: str, download: Callable, tmp_path: Path) -> None:
    """Whatever an earlier attempt left, the file is whole in the end."""
    (tmp_path / ".train_signs.h5.part").write_bytes(part)
    assert download(how, "good")[0] == 0
    assert_complete(tmp_path)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("html", "this is not the HDF5 file but an HTML page (59 bytes)"),
        (
            "pointer",
            f"this is not the HDF5 file but a git-lfs pointer ({len(POINTER)} bytes of text)",
        ),
        ("missing", "the server says 404 Not Found."),
        ("huge", "it has 10,000,000 bytes, more than there can be."),
        ("other", "this is not the HDF5 file but something else"),
        ("breaks_at_once", f"the connection ended after 0 of {len(TRAIN):,} bytes."),
    ],
)
def test_what_is_not_the_file(how: str, sentence: str, download: Callable, tmp_path: Path) -> None:
    """A sentence with the address; the next mirror is tried, and nothing of it stays."""
    code, _, err = download(how, "good")
    assert code == 0
    assert f"/{how}/train_signs.h5: {sentence}" in err
    assert len(err.splitlines()) == 2
    assert_complete(tmp_path)


def test_no_mirror_has_it(download: Callable, tmp_path: Path) -> None:
    """Exit code 1, every attempt with its reason, no file."""
    code, out, err = download("missing", "html")
    assert (code, out) == (1, "")
    for name in FILES:
        assert f"/missing/{name}: the server says 404" in err
        assert f"/html/{name}: this is not the HDF5 file but an HTML page" in err
        assert f"{name} can be had from none of 2 mirrors." in err
    assert list(tmp_path.iterdir()) == []


def test_nobody_answers(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The built-in mirrors cannot be reached: a sentence each."""
    assert script.main(["signs", "--output", str(tmp_path)]) == 1
    assert "/nobody/train_signs.h5: the server cannot be reached (" in capsys.readouterr().err


def test_a_copy_that_differs(download: Callable, tmp_path: Path) -> None:
    """A sound data set with another checksum is kept, with a warning and what the doctor says."""
    code, _, err = download("copy")
    assert code == 0
    assert f"Warning: train_signs.h5 has {len(TRAIN) + 1:,} bytes, expected {len(TRAIN):,}" in err
    assert "it is a sound HDF5 data set: 12 of 240×240 pixels, RGB." in err
    assert (tmp_path / "train_signs.h5").read_bytes() == copy_of(TRAIN)


def test_something_else_lies_there(download: Callable, tmp_path: Path) -> None:
    """It is not lost: it stands aside as .old."""
    (tmp_path / "train_signs.h5").write_bytes(POINTER)
    code, _, err = download("good")
    assert code == 0
    assert "is a git-lfs pointer" in err
    assert (tmp_path / "train_signs.h5").read_bytes() == TRAIN
    assert (tmp_path / "train_signs.h5.old").read_bytes() == POINTER


@pytest.mark.parametrize("url", ["file:///etc", "ftp://a/b", "example.com/data", "http://"])
def test_other_addresses(url: str, script: ModuleType, tmp_path: Path) -> None:
    """Web addresses only."""
    with pytest.raises(InputError, match="expected an http:// or https:// address"):
        script.main(["signs", "--output", str(tmp_path), "--url", url])


@pytest.mark.slow
def test_the_facts(shared: Path) -> None:
    """Names, sizes and checksums are those of the course's own files, where these are at hand."""
    spec = importlib.util.spec_from_file_location("download_data_facts", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["download_data_facts"] = module
    spec.loader.exec_module(module)
    for original, folder in ((module.SIGNS[1], "signs"), (module.HAPPY[1], "happy")):
        content = (shared / "datasets" / folder / original.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (
            original.size,
            original.sha256,
        )
    facts = (shared / "keras_facts.md").read_text()
    for original in (*module.SIGNS, *module.HAPPY):
        assert original.sha256 in facts
    assert all(f"{original.size:,}" in facts for original in (module.SIGNS[0], module.HAPPY[0]))


def test_the_script(server: Server, tmp_path: Path) -> None:
    """As a command, with files that are not the course's: both are warned of and kept; help and a
    wrong name.
    """
    command = [sys.executable, str(SCRIPT)]
    url = f"http://127.0.0.1:{server.server_port}/good/"
    done = subprocess.run(
        [*command, "signs", "--output", "new/data", "--url", url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Warning: ") == 2
    assert_complete(tmp_path / "new" / "data")
    done = subprocess.run(
        [*command, "sings"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
