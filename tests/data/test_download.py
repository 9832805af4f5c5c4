"""Files at addresses, from a server of our own that behaves as real ones do."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest
from screens import Terminal, plain

from signs_lightning import InputError
from signs_lightning.data import transfer
from signs_lightning.data.download import fetch_once, hide_secrets, is_address, is_fetched

SIZE, HALF = 4_000_000, 2_000_000
CONTENT = np.random.default_rng(0).bytes(SIZE)
OTHER = np.random.default_rng(1).bytes(SIZE)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><html><body>Sign in</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"


class Server(ThreadingHTTPServer):
    """Serves `content`; words in the first folder of the path say how.

    Attributes:
        cache: where the client keeps what comes.
        content: of the file, whatever its name.
        is_cut: whether answers end after `HALF` bytes.
        asked: the Range header of every request.
    """

    daemon_threads = True

    def __init__(self, cache: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cache, self.content, self.is_cut = cache, CONTENT, False
        self.asked: list[str | None] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""

    def wait_for_client(self, size: int) -> None:
        """Return when the client has as many bytes on its disk."""
        for _ in range(2000):
            if any(part.stat().st_size >= size for part in self.cache.rglob(".*.part")):
                return
            time.sleep(0.01)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    """One answer."""

    server: Server

    def do_GET(self) -> None:
        """Answers as the first folder in the address says."""
        how, wanted, content = self.path.split("/")[1], self.headers["Range"], self.server.content
        self.server.asked.append(wanted)
        if how.isdecimal():
            self.send_error(int(how))
            return
        if how == "moved":
            self.send_response(302)
            self.send_header("Location", "/good/elsewhere.h5")
            self.end_headers()
            return
        content = {"html": PAGE, "pointer": POINTER, "empty": b""}.get(how, content)
        if "blob" in self.path:
            content = PAGE
        start = 0
        if wanted and "no_ranges" not in how:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if "no_size" not in how:
            self.send_header("Content-Length", str(len(content) - start))
        if "no_tag" not in how:
            self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        self.end_headers()
        stop = min(start + HALF, len(content)) if self.server.is_cut else len(content)
        self.wfile.write(content[start:stop])
        if stop < len(content):  # what is on its way is lost when the connection is
            self.server.wait_for_client(start + HALF // 2)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGNS_LIGHTNING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(cache: Path) -> Iterator[Server]:
    """Runs until the test is over."""
    with Server(cache) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def names(cache: Path) -> list[str]:
    """All files in the cache but locks."""
    return sorted(p.name for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock")


def cut_off(server: Server, url: str) -> str:
    """Ask for a file that ends half-way; give the message."""
    server.is_cut = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "TRIES", 1)
        with pytest.raises(InputError) as error:
            fetch_once(url)
    server.is_cut = False
    server.asked.clear()
    return str(error.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://host/a.h5", True),
        ("s3://bucket/a.h5", True),
        ("a.h5", False),
        ("/data/https:/a.h5", False),
        ("C:\\data\\a.h5", False),
        ("c://data/a.h5", False),
    ],
)
def test_is_address(value: str, expected: bool) -> None:
    assert is_address(value) == expected


@pytest.mark.slow
def test_fetched_once(server: Server, cache: Path, capfd: pytest.CaptureFixture) -> None:
    """The bytes and the name are the server's, one line says so, and a second call asks nobody."""
    url = server.url("good/train_x.h5")
    path = fetch_once(url, SHA256.upper())
    assert (path.name, path.read_bytes() == CONTENT) == ("train_x.h5", True)
    assert names(cache) == ["train_x.h5"]
    out, err = capfd.readouterr()
    assert out == f"Fetching {url} (4,000,000 bytes) into {path.parent}\n"
    assert err == ""
    assert fetch_once(url) == fetch_once(url, SHA256) == fetch_once(url, ["0" * 64, SHA256]) == path
    assert server.asked == [None]
    assert capfd.readouterr() == ("", "")


def test_names_in_the_cache(server: Server, cache: Path) -> None:
    """Siblings lie side by side, other folders and queries apart; names lead nowhere else."""
    first = fetch_once(server.url("good/a_x.h5?download=1"))
    assert fetch_once(server.url("good/a_y.h5?download=1")) == first.with_name("a_y.h5")
    others = {fetch_once(server.url(f"good/{name}")) for name in ("a_x.h5", "b/a_x.h5")}
    assert len({path.parent for path in (first, *others)}) == 3
    for name in ("%2e%2e%2f%2e%2e%2fevil.h5", "a%00b.h5", "x" * 300 + ".h5", ""):
        path = fetch_once(server.url(f"good/{name}"))
        assert path.parent.parent == cache / "downloads"
        assert path.read_bytes() == CONTENT
        assert path.suffix == (".h5" if name else "")
    slash, line = (fetch_once(server.url(f"good/{name}")) for name in ("a%2Fb.h5", "a_b.h5"))
    assert slash != line
    assert fetch_once(server.url("moved/a.h5")).name == "a.h5"


@pytest.mark.parametrize("how", ["good", "no_tag"])
def test_resumes_what_was_cut(how: str, server: Server, capfd: pytest.CaptureFixture) -> None:
    """The message says how, and the next call asks for the rest only."""
    url = server.url(f"{how}/a.h5")
    message = cut_off(server, url)
    so_far = int(message.partition("at ")[2].partition(" bytes")[0].replace(",", ""))
    assert message == (
        f"{url}: it broke off 1 times, now at {so_far:,} bytes. Run the same command again: it "
        "resumes there."
    )
    assert HALF // 2 <= so_far <= HALF
    capfd.readouterr()
    assert fetch_once(url).read_bytes() == CONTENT
    assert server.asked == [f"bytes={so_far}-"]
    assert f"(4,000,000 bytes, resumed at {so_far:,})" in capfd.readouterr().out


def test_several_attempts_in_one_call(server: Server) -> None:
    """A server that cuts every answer is asked for the rest as long as more comes."""
    server.is_cut = True
    assert fetch_once(server.url("good/a.h5"), SHA256).read_bytes() == CONTENT
    assert len(server.asked) > 1


def test_a_server_without_ranges(server: Server) -> None:
    """It sends everything again: what was there is not prefixed to it."""
    url = server.url("no_ranges/a.h5")
    cut_off(server, url)
    assert fetch_once(url).read_bytes() == CONTENT
    assert [wanted is not None for wanted in server.asked] == [True]


def test_no_size(server: Server) -> None:
    assert fetch_once(server.url("no_size/a.h5")).read_bytes() == CONTENT


@pytest.mark.parametrize("other", [OTHER, OTHER + b"more", OTHER[:1000]])
def test_a_file_that_changes_meanwhile(other: bytes, server: Server) -> None:
    """Halves of two versions are never joined."""
    url = server.url("good/a.h5")
    cut_off(server, url)
    server.content = other
    assert fetch_once(url).read_bytes() == other
    assert server.asked[-1] is None or len(other) > 1000


def test_a_wrong_half_is_noticed_by_the_checksum(server: Server) -> None:
    """Of the same size and without a tag: begun anew once."""
    url = server.url("no_tag/a.h5")
    cut_off(server, url)
    server.content = OTHER
    assert fetch_once(url, hashlib.sha256(OTHER).hexdigest()).read_bytes() == OTHER


def test_a_wrong_checksum(server: Server, cache: Path) -> None:
    """Refused with both sums, and nothing is kept; a file that is there already stays."""
    url = server.url("good/a.h5")
    with pytest.raises(InputError) as error:
        fetch_once(url, "0" * 64)
    assert f"{url} has the SHA-256 {SHA256}, expected {'0' * 64}." in str(error.value)
    assert names(cache) == []
    path = fetch_once(url, SHA256)
    with pytest.raises(InputError) as error:
        fetch_once(url, "1" * 64)
    assert str(error.value) == (
        f"{path}, which was fetched earlier, has the SHA-256 {SHA256}, expected {'1' * 64}. "
        "Correct --data.sha256, or delete the file to fetch it again."
    )
    path.unlink()
    assert fetch_once(url, SHA256) == path
    with pytest.raises(InputError, match=r"--data\.sha256 is abc, expected the 64 hexadecimal"):
        fetch_once(url, "abc")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("404/a.h5", "the server says 404 Not Found. Check the address."),
        ("403/a.h5", "the server says 403 Forbidden. Fetch the file where you are logged in"),
        ("401/a.h5", "the server says 401 Unauthorized. Fetch the file where you are logged in"),
        ("503/a.h5", "the server says 503 Service Unavailable. Try again later."),
        ("html/a.h5", f"the server sent no data file but an HTML page ({len(PAGE)} bytes)"),
        ("pointer/a.h5", "the server sent no data file but a git-lfs pointer"),
        ("empty/a.h5", "the server sent no data file but an empty file (0 bytes)"),
        ("o/r/blob/main/a.h5?x=1", "/o/r/raw/main/a.h5?…"),
    ],
)
def test_what_cannot_be_had(address: str, sentence: str, server: Server, cache: Path) -> None:
    """A sentence with the address, without its query; nothing is kept."""
    url = server.url(address)
    with pytest.raises(InputError) as error:
        fetch_once(url)
    assert str(error.value).startswith(f"{hide_secrets(url)}: ")
    assert sentence in str(error.value)
    assert names(cache) == []


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:9/a.h5", ": the server cannot be reached (Connection refused). Check"),
        ("http://nobody.invalid/a.h5", ": the server cannot be reached ("),
        ("https:///a.h5", " names no server. Check the address."),
        ("htps://host/a.h5", ": no protocol is called htps://. Name a file, or an address"),
        ("memory://gone.h5", ": the server says 404 Not Found. Check the address."),
        ("file:///gone/a.h5", "No such file: /gone/a.h5. Check the path."),
    ],
)
@pytest.mark.usefixtures("cache")
def test_no_such_server(url: str, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        fetch_once(url)
    assert sentence in str(error.value)


@pytest.mark.usefixtures("cache")
def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names it."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"a package is missing for it: Install s3fs.*Install it"):
        fetch_once("s3://bucket/a.h5")


def test_secrets_are_not_shown() -> None:
    assert hide_secrets("https://me:word@host/a.h5?token=x#y") == "https://host/a.h5?…"


def test_other_protocols(cache: Path, tmp_path: Path) -> None:
    """What fsspec reads; a file:// address is the file itself."""
    import fsspec

    with fsspec.open("memory://folder/a.h5", "wb") as file:
        file.write(CONTENT)
    url = "memory://folder/a.h5"
    path = fetch_once(url, SHA256)
    assert path.read_bytes() == CONTENT
    part = path.with_name(".a.h5.part")
    pin = path.with_name(".a.h5.part.version")
    path.unlink()
    part.write_bytes(CONTENT[:-1])
    found = fsspec.filesystem("memory").info("/folder/a.h5")
    pin.write_text(f"{SIZE} {found['created']}")
    assert fetch_once(url).read_bytes() == CONTENT
    (tmp_path / "ä b.h5").write_bytes(CONTENT)
    assert fetch_once((tmp_path / "ä b.h5").as_uri(), SHA256) == tmp_path / "ä b.h5"
    assert names(cache) == ["a.h5"]


def test_several_at_once(server: Server, cache: Path) -> None:
    """Four ask, one fetches; a file is locked against threads as it is against processes."""
    url = server.url("good/a.h5")
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(fetch_once, [url] * 4, [SHA256] * 4))
    assert {path.read_bytes() == CONTENT for path in paths} == {True}
    assert (len(set(paths)), server.asked, names(cache)) == (1, [None], ["a.h5"])


def test_waits_for_another(server: Server, capfd: pytest.CaptureFixture) -> None:
    """Whoever waits says so, and takes what the other one fetched."""
    url = server.url("good/a.h5")
    path = fetch_once(url)
    path.unlink()
    with path.with_name(".a.h5.lock").open() as lock, ThreadPoolExecutor(1) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = pool.submit(fetch_once, url)
        while "is being fetched by another process" not in capfd.readouterr().err:
            assert not waiting.done()
        path.write_bytes(b"from the other one")
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert waiting.result().read_bytes() == b"from the other one"
    assert server.asked == [None]


def test_a_disk_without_locks(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetched all the same, into a file of its own until it is whole."""

    def refuse(*args: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert fetch_once(server.url("good/a.h5")).read_bytes() == CONTENT
    cut_off(server, server.url("good/b.h5"))
    assert names(cache) == ["a.h5"]


def test_a_full_disk(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is fetched, and where it is found out in between."""
    url = server.url("good/a.h5")
    usage = type("Usage", (), {"free": 1000})
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: usage)
        with pytest.raises(InputError) as error:
            fetch_once(url)
    assert "(4,000,000 bytes are to come, and there is room for 1,000). Free some" in str(
        error.value
    )

    def fail(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(InputError, match=r"does not fit on the disk of .* \(No space left"):
            fetch_once(url)
    assert fetch_once(url).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary folder takes its place."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("SIGNS_LIGHTNING_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = fetch_once(server.url("good/a.h5"))
    assert path.parents[2].name.startswith("signs_lightning-")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    assert not is_fetched(server.url("good/b.h5"))
    with pytest.raises(InputError, match=r"cannot be kept anywhere \(.*Not a directory"):
        fetch_once(server.url("good/a.h5"))


def test_progress_on_a_terminal(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar on the standard error, with size and speed."""
    terminal = Terminal(80)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("signs_lightning.runtime.progress.REDRAW_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    fetch_once(server.url("good/a.h5"))
    assert terminal.close() == []
    assert re.search(r"━ 4\.0/4\.0 MB 0:00 left [\d.]+ MB/s", plain(terminal.octets))


def test_it_is_a_data_file(server: Server) -> None:
    """What was fetched opens."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["x"] = np.arange(3)
    server.content = buffer.getvalue()
    with h5py.File(fetch_once(server.url("good/a.h5"))) as file:
        assert file["x"][:].tolist() == [0, 1, 2]


@pytest.mark.usefixtures("guarded_forks")
@pytest.mark.slow
def test_commands(server: Server, cache: Path, cli: Callable) -> None:
    """An address is looked at, refused for its checksum, and trained on."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["x"] = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
        file["y"] = np.arange(12) % 3
    server.content = buffer.getvalue()
    url = server.url("good/train.h5?download=1")
    result = cli("inspect", url)
    assert (result.code, "12 of 64×64 pixels, RGB" in result.out) == (0, True)
    options = ("--data.val_fraction=0.25", "--trainer.max_epochs=1", "--trainer.accelerator=cpu")
    fit = ("fit", "--data.train_file", url, *options)
    result = cli(*fit, "--data.sha256", "0" * 64)
    assert result.code == 2
    found = hashlib.sha256(server.content).hexdigest()
    assert f"has the SHA-256 {found}, expected {'0' * 64}. Correct --data.sha256" in result.err
    result = cli(*fit, "--data.sha256", found)
    assert result.code == 0, result.err
    assert server.asked == [None]
    (copy,) = cache.rglob("train.h5")
    assert cli("inspect", copy).code == 0
    # What a checkpoint remembers is read from the cache, and fetched on the user's word only.
    again = ("validate", "--ckpt_path", "lightning_logs/signs_functional/version_0")
    assert cli(*again).code == 0
    copy.unlink()
    result = cli(*again)
    assert result.code == 2
    assert f"remembers {hide_secrets(url)}, which was never fetched here." in result.out
    assert "Name it again with --data.train_file to do so." in result.out
    for verb in ("report", "export --format torch --output m.pt2 --ckpt_path"):
        cli(*verb.split(), again[-1])
    assert server.asked == [None]
    assert cli(*again, "--data.train_file", url).code == 0
    assert len(server.asked) == 2
