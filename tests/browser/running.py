"""A demo in a process of its own, with a record of every connection that it tries to open, and a
visitor without a browser.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from forks import Fork

from signs_lightning.__main__ import main

# Class names.
HOSTILE = [
    "<img src=x onerror=alert(1)>", "**bold**", "a\x1b[31mred", "=1+1", "{{value}}", "</script>",
]  # fmt: skip


def watched(args: list[str]) -> int:
    """Runs the command line, with a hook that notes in a file whom the process looks up or connects
    to; stderr goes into another file.
    """
    connections, errors, *rest = args
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    log = os.open(connections, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    whom = {"socket.connect": 1, "socket.getaddrinfo": 0}

    def note(event: str, values: tuple[Any, ...]) -> None:
        if event in whom:
            os.write(log, f"{values[whom[event]]}\n".encode())

    sys.addaudithook(note)
    return main(rest)


@dataclass
class Reply:
    """Status and body of an answer."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


@dataclass
class Demo:
    """A running demo."""

    process: Fork
    url: str
    folder: Path  # where its temporary folder lies
    log: Path  # what it printed on stderr
    connections: Path  # whom it tried to reach, a line each
    cookie: str = ""

    def get(
        self, path: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """A GET, or a POST where there are data; the path goes out as it is, dots included."""
        cookie = {"Cookie": self.cookie} if self.cookie else {}
        request = urllib.request.Request(self.url + path, data, cookie | (headers or {}))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as answer:
                return Reply(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.read(), dict(error.headers))

    def post(self, path: str, value: Any) -> Reply:
        """A POST of a value as JSON."""
        return self.get(path, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def upload(self, name: str, contents: bytes) -> Reply:
        """A picture, sent as the page sends it."""
        head = f'--seam\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
        body = head.encode() + b"Content-Type: image/png\r\n\r\n" + contents + b"\r\n--seam--\r\n"
        return self.get(
            "/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=seam"}
        )

    def ask(self, path: object, **more: Any) -> tuple[Reply, dict[str, Any]]:
        """The answers to "which class is this file": to the request, and the last message of the
        queue.
        """
        entries = json.loads(self.get("/config").body)["dependencies"]
        number = next(entry["id"] for entry in entries if entry["api_name"] == "classify")
        session = secrets.token_hex(6)
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}, **more}]
        joined = self.post(
            "/gradio_api/queue/join", {"data": data, "fn_index": number, "session_hash": session}
        )
        if joined.status != 200:
            return joined, {}
        lines = self.get(f"/gradio_api/queue/data?session_hash={session}").text.splitlines()
        messages = [json.loads(line.removeprefix("data: ")) for line in lines if line]
        return joined, next(
            message for message in messages if message["msg"] == "process_completed"
        )

    def classify(self, name: str, contents: bytes) -> tuple[dict[str, float] | None, str]:
        """Probabilities by class name (None where there are none) and the HTML beside them."""
        path = json.loads(self.upload(name, contents).body)[0]
        _, message = self.ask(path)
        assert message["success"], message
        label, html = message["output"]["data"]
        confidences = (label or {}).get("confidences")
        return confidences and {entry["label"]: entry["confidence"] for entry in confidences}, html

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ends it by a signal; returns the exit code."""
        self.process.signal(number)
        return self.process.wait(120).code


def hostile_files(files: tuple[Path, Path], folder: Path) -> tuple[Path, Path]:
    """Copies of training and test file whose class names are `HOSTILE`."""
    for file in files:
        shutil.copy(file, folder)
        with h5py.File(folder / file.name, "r+") as copy:
            del copy["list_classes"]
            copy["list_classes"] = np.array([name.encode() for name in HOSTILE])
    return folder / files[0].name, folder / files[1].name


@contextmanager
def running_demo(folder: Path, *args: object, **environment: str) -> Iterator[Demo]:
    """A demo on a free port of the loopback, ended afterwards."""
    # A proxy that does not exist: what ignores the rule to stay on the machine would fail, and show
    # in the record.
    temporary = tempfile.mkdtemp(dir=folder)
    environment = {"TMPDIR": temporary, "http_proxy": "http://192.0.2.1:9", **environment}
    log, connections = folder / "stderr.txt", folder / "connections.txt"
    process = Fork([connections, log, "demo", "--port", "0", *args], folder, watched, environment)
    try:
        address = None  # a line on the scale of a Keras file may come first
        while address is None and process.poll() is None:
            time.sleep(0.02)
            address = re.search(r"^(https?://\S+).*\n", process.printed[0], re.MULTILINE)
        assert address is not None, f"the demo did not start: {log.read_text()}"
        yield Demo(process, address[1], Path(temporary), log, connections)
    finally:
        process.kill()
