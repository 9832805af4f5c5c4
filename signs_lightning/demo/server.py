"""The demo's server: Gradio behind a filter of requests."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from signs_lightning.demo.visitor_limits import (
    KEEP_SECONDS,
    LOGIN_DELAY,
    SWEEP_SECONDS,
    Refusal,
    VisitorLimits,
)

if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_UPLOAD_BYTES = 20 * 2**20  # of one picture
MAX_TEXT_LENGTH = 2**20  # bytes of any other request
MAX_SESSIONS = 500  # visitors whose fields are kept; Gradio's default is 10,000

UPLOAD, FILE = "/gradio_api/upload", "/gradio_api/file="
CALLS = {"/gradio_api/queue/join", "/gradio_api/run/predict"}  # a picture, a click on an example
LOGIN = {"/login", "/login/"}
POSTED = {UPLOAD, *CALLS, *LOGIN}
FETCHED = {
    *("/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/logout"),
    *("/gradio_api/queue/data", "/gradio_api/queue/status", "/gradio_api/upload_progress"),
    *("/gradio_api/app_id", "/gradio_api/info", "/gradio_api/login_check"),
}
HEADERS = {
    # The browser blocks requests to other machines, should Gradio ever make one. Its HTML fields
    # need 'unsafe-eval'.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        "form-action 'self'; object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def configure_gradio(folder: str) -> None:
    """Keep Gradio's files in one folder, and its libraries off the internet.

    To be called before they are imported.
    """
    os.environ.update(
        GRADIO_TEMP_DIR=str(Path(folder, "uploads").resolve()),
        GRADIO_EXAMPLES_CACHE=str(Path(folder, "examples").resolve()),
        GRADIO_ANALYTICS_ENABLED="False",
        GRADIO_ANALYTICS_MAX_EVENTS="100",  # each request counts the earlier ones
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        ORT_DISABLE_TELEMETRY="1",  # onnxruntime's
    )


def serve(
    page: gr.Blocks,
    listener: socket.socket,
    auth: tuple[str, str] | None,
    hosts: list[str],
    address: str,
    root_path: str = "",
) -> None:
    """Serve the page until the process is interrupted.

    Args:
        page: made by `build_page`.
        listener: bound socket.
        auth: user and password that visitors must give.
        hosts: names of this machine that the page answers to, or `*`. On the loopback they are few,
            so that no foreign site can reach the page through a visitor's browser by a name of its
            own (DNS rebinding).
        address: of the page, printed once it answers and Ctrl-C ends it; before, a library's import
            could swallow an interruption.
        root_path: where a proxy has the page: a path such as /signs, or an address with one.
    """
    # optional packages
    import uvicorn
    from fastapi import FastAPI
    from gradio import mount_gradio_app
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from signs_lightning.demo.gradio_page import CSS, THEME

    uploads = Path(os.environ["GRADIO_TEMP_DIR"])
    examples = {path for path in uploads.rglob("*") if path.is_file()}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_delete_old_uploads(page, uploads, examples))
        print(f"{address} (Ctrl-C ends it)", flush=True)
        try:
            yield
        finally:
            sweeping.cancel()

    page.state_session_capacity = MAX_SESSIONS
    app = FastAPI(openapi_url=None, lifespan=lifespan)
    app.add_middleware(RequestFilter, uploads=uploads, root_path=urlsplit(root_path).path)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    mount_gradio_app(
        app,
        page,
        path="/",
        root_path=root_path or None,
        auth=auth,
        allowed_paths=[],
        show_error=False,  # only what is raised as gr.Error is shown
        max_file_size=MAX_UPLOAD_BYTES,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        pwa=False,
        footer_links=[],
        theme=THEME,
        css=CSS,
    )
    limits: Any = {"timeout_graceful_shutdown": 1, "limit_concurrency": 1000}
    config = uvicorn.Config(app, log_level="error", server_header=False, **limits)
    server = uvicorn.Server(config)
    # When it exits, it would log a traceback for each page that is still open.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
    server.run(sockets=[listener])


async def _delete_old_uploads(page: gr.Blocks, folder: Path, keep: set[Path]) -> None:
    """Delete old pictures while the server runs.

    Gradio's own `delete_cache` stops when a picture comes in meanwhile.
    """
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        await asyncio.to_thread(_sweep, folder, keep, time.time() - KEEP_SECONDS)
        for names in getattr(page, "temp_file_sets", []):  # all pictures ever, for `delete_cache`
            names.clear()


def _sweep(folder: Path, keep: set[Path], oldest: float) -> None:
    """Delete old files and folders, and the beginnings of broken uploads."""
    for path in sorted(folder.rglob("*"), reverse=True):  # files before their folder
        try:
            if path not in keep and path.lstat().st_mtime < oldest:
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()
        except OSError:
            continue  # a folder with pictures in it, or deleted meanwhile


class RequestFilter:
    """ASGI middleware that passes only the page's requests, of limited size.

    Gradio serves many addresses that this page does not use (fetching from the internet,
    recordings, shared links, …); they answer 404 here. Once the disk's share or a visitor's is used
    up, pictures are turned away, too, and logins once too many have failed.

    Args:
        app: the application behind the filter.
        uploads: the folder whose files may be fetched.
        root_path: what a proxy may leave in front of the page's own paths.
    """

    def __init__(self, app: ASGIApp, uploads: Path, root_path: str = "") -> None:
        self.app = app
        self.uploads = uploads
        self.root_path = root_path.rstrip("/")
        self.limits = VisitorLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # optional packages
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse

        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)

        headers, path = Headers(scope=scope), scope["path"]
        if self.root_path and path.startswith(f"{self.root_path}/"):
            path = path.removeprefix(self.root_path)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        address = str((scope.get("client") or ("",))[0])

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
                if message["status"] == 401 and path == UPLOAD:  # nothing of it was read
                    self.limits.reserve(address, -int(headers["content-length"]))
                if path in LOGIN and message["status"] < 400:
                    self.limits.forget_login(address)
                elif path in LOGIN:
                    await asyncio.sleep(LOGIN_DELAY)
            await send(message)

        rejection = self._rejection(scope, headers.get("content-length"), address)
        if rejection is None and path in CALLS:
            body = await _read_body(receive)
            receive = _replay(body, receive)
            if not self._names_uploads_only(body):
                rejection = 403, "Only pictures that were uploaded are looked at."
        if rejection is None:
            return await self.app(scope, receive, send_with_headers)
        status, sentence = rejection
        return await PlainTextResponse(sentence, status)(scope, receive, send_with_headers)

    def _rejection(self, scope: Scope, length: str | None, address: str) -> Refusal | None:
        """Return status and sentence for a request that is not passed on."""
        if scope["type"] != "http" or not self._is_known(scope["method"], scope["path"]):
            return 404, "There is nothing here."
        if scope["method"] != "POST":
            return None
        if length is None or not length.isdecimal():
            return 411, "The request does not say how long it is."
        is_upload = scope["path"] == UPLOAD
        most = MAX_UPLOAD_BYTES if is_upload else MAX_TEXT_LENGTH
        # An upload is wrapped in a form.
        if int(length) > most + MAX_TEXT_LENGTH * is_upload:
            return 413, f"The request is too large, expected at most {most // 2**20} MiB."
        if is_upload:
            return self.limits.reserve(address, int(length))
        return self.limits.begin_login(address) if scope["path"] in LOGIN else None

    def _is_known(self, method: str, path: str) -> bool:
        if path.startswith(FILE):
            return method in ("GET", "HEAD") and self._is_upload(path.removeprefix(FILE))
        if method == "POST":
            return path in POSTED
        is_page = path in FETCHED or path.startswith(("/assets/", "/static/"))
        return is_page and method in ("GET", "HEAD")

    def _is_upload(self, path: str) -> bool:
        return os.path.isabs(path) and Path(os.path.abspath(path)).is_relative_to(self.uploads)

    def _names_uploads_only(self, body: bytes) -> bool:
        """Return whether every path in a JSON text is that of an uploaded file.

        Gradio would fetch internet addresses and read other files.
        """
        try:
            values = [json.loads(body)]
        except (ValueError, RecursionError):
            return False
        while values:
            value = values.pop()
            if isinstance(value, dict):
                path = value.get("path")
                if path is not None and not (isinstance(path, str) and self._is_upload(path)):
                    return False
                values += value.values()
            elif isinstance(value, list):
                values += value
        return True


async def _read_body(receive: Receive) -> bytes:
    """Return the body of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body once more, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
