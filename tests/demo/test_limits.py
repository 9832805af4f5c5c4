"""What visitors may send and try, and the page behind a proxy that has it under a path."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from browser.running import running_demo
from PIL import Image

from signs_lightning import SignsFunctional
from signs_lightning.checkpoints.new_checkpoint import build_checkpoint
from signs_lightning.demo import server, visitor_limits
from signs_lightning.demo.server import RequestFilter

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="the extra `demo` is not installed"
)


class Visits:
    """Requests to the filter, before a page whose answers have the status `answer`."""

    def __init__(self, uploads: Path) -> None:
        self.answer, self.passed = 200, 0
        self.filter = RequestFilter(self._page, uploads)

    async def _page(self, scope: object, receive: object, send: Callable) -> None:
        self.passed += 1
        await send({"type": "http.response.start", "status": self.answer, "headers": []})

    def post(self, path: str, size: int, address: str = "192.0.2.1") -> int:
        statuses: list[int] = []

        async def note(message: Any) -> None:
            statuses.extend([message["status"]] if "status" in message else [])

        async def nothing() -> dict[str, Any]:
            return {}

        headers = [(b"content-length", str(size).encode())]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        asyncio.run(self.filter(scope | {"client": (address, 1)}, nothing, note))
        return statuses[0]

    def upload(self, address: str = "192.0.2.1") -> int:
        return self.post(server.UPLOAD, server.MAX_UPLOAD_BYTES, address)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(visitor_limits.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(server, "LOGIN_DELAY", 0)
    return now


def test_pictures_have_a_share_of_the_disk(tmp_path: Path, clock: list[float]) -> None:
    """Uploads are refused once the pictures that are still kept fill their share, until the old
    ones are gone: of one visitor, and of all.
    """
    visits = Visits(tmp_path)
    own = visitor_limits.MAX_VISITOR_BYTES // server.MAX_UPLOAD_BYTES
    full = visitor_limits.MAX_STORED_BYTES // server.MAX_UPLOAD_BYTES
    visits.answer = 401  # strangers take no place
    assert {visits.upload() for _ in range(full + 1)} == {401}
    visits.answer = 200
    assert [visits.upload() for _ in range(own)] == [200] * own
    assert visits.upload() == 429
    others = [visits.upload(f"192.0.2.{2 + k // own}") for k in range(full - own)]
    assert others == [200] * (full - own)
    assert visits.upload("192.0.2.99") == 503
    clock[0] = 600.0
    assert visits.upload("192.0.2.99") == 503  # the sweep may not have come by yet
    clock[0] = 780.0
    assert visits.upload("192.0.2.99") == 200
    assert visits.upload() == 200


def test_logins_that_fail_are_counted(tmp_path: Path, clock: list[float]) -> None:
    """Ten of an address and a hundred in all, in ten minutes: then none is tried, not even a right
    one. Those that succeed do not count.
    """
    visits = Visits(tmp_path)
    assert {visits.post("/login", 40) for _ in range(30)} == {200}
    visits.answer = 400
    assert [visits.post("/login", 40) for _ in range(11)] == [400] * 10 + [429]
    visits.answer, before = 200, visits.passed
    assert visits.post("/login/", 40) == 429
    assert visits.passed == before
    assert visits.post("/login", 40, "192.0.2.2") == 200
    visits.answer = 400
    others = [visits.post("/login", 40, f"198.51.100.{k}") for k in range(91)]
    assert others == [400] * 90 + [429]
    visits.answer = 200
    assert visits.post("/login", 40, "192.0.2.3") == 429
    clock[0] = 660.0
    assert visits.post("/login", 40) == 200


class Proxy(BaseHTTPRequestHandler):
    """Passes what is asked for below a path on to the page, without or with the path."""

    protocol_version = "HTTP/1.0"
    target, prefix, strips = "", "/signs", True

    def _pass_on(self) -> None:
        if not self.path.startswith(f"{self.prefix}/"):
            self.send_error(404)
            return
        path = self.path.removeprefix(self.prefix) if self.strips else self.path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection(self.target, timeout=120)
        headers = {**self.headers, "X-Forwarded-For": self.client_address[0]}
        connection.request(self.command, path, body, headers)
        answer = connection.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.read())
        connection.close()

    do_GET = do_POST = _pass_on  # noqa: N815  # http.server's names

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def proxy(target: str, strips: bool) -> Iterator[str]:
    kind = type("Proxy", (Proxy,), {"target": target, "strips": strips})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://localhost:{listening.server_port}/signs"
        listening.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("strips", [True, False])
@pytest.mark.filterwarnings("ignore:unclosed")
def test_behind_a_proxy(strips: bool, tmp_path: Path) -> None:
    """Under a path, with the password: the page names its own addresses below it, a picture gets
    its class, and the eleventh wrong password is not tried.
    """
    torch.save(
        build_checkpoint(SignsFunctional(num_classes=6, image_size=(64, 64, 3)).eval()),
        tmp_path / "model.ckpt",
    )
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    picture = (tmp_path / "x.png").read_bytes()
    options = ("--auth", "guest:sword", "--root_path", "/signs")
    with (
        running_demo(tmp_path, "--ckpt_path", tmp_path / "model.ckpt", *options) as demo,
        proxy(urllib.parse.urlsplit(demo.url).netloc, strips) as address,
    ):
        page = replace(demo, url=address)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        right = page.get("/login", b"username=guest&password=sword", form)
        page.cookie = right.headers["set-cookie"].partition(";")[0]
        assert json.loads(page.get("/config").body)["root"] == address
        assert address in page.get("/").text
        probabilities, _ = page.classify("x.png", picture)
        assert probabilities is not None
        assert sum(probabilities.values()) == pytest.approx(1)
        assert page.get("/../config").status == 404
        wrong = [page.get("/login", b"username=guest&password=x", form) for _ in range(11)]
        assert [answer.status for answer in wrong] == [400] * 10 + [429]
        assert "Too many logins have failed" in wrong[-1].text
