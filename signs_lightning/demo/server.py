"""The demo's server: Gradio behind a guard that lets through only what the page needs."""

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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_UPLOAD_BYTES = 20 * 2**20  # of one picture
MAX_STORED_BYTES = 2**30  # bytes of pictures kept at a time
MAX_TEXT_LENGTH = 2**20  # bytes of any other request
KEEP_SECONDS = 600  # that a picture stays on the disk
SWEEP_SECONDS = 60  # between looks for old ones

UPLOAD, FILE = "/gradio_api/upload", "/gradio_api/file="
CALLS = {"/gradio_api/queue/join", "/gradio_api/run/predict"}  # a picture, a click on an example
POSTED = {UPLOAD, *CALLS, "/login", "/login/"}
FETCHED = {
    *("/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/logout"),
    *("/gradio_api/queue/data", "/gradio_api/queue/status", "/gradio_api/upload_progress"),
    *("/gradio_api/app_id", "/gradio_api/info", "/gradio_api/login_check"),
}
# The browser refuses whatever would leave the machine, should Gradio ever ask for it. Its HTML
# fields need 'unsafe-eval'.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src "
        "'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
        "worker-src 'self' blob:; "
        "form-action 'self'; object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def configure_gradio(folder: str) -> None:
    """Keeps Gradio's files in one folder, and libraries from calling home; to be called before they are imported."""
    os.environ.update(
        GRADIO_TEMP_DIR=str(Path(folder, "uploads").resolve()),
        GRADIO_EXAMPLES_CACHE=str(Path(folder, "examples").resolve()),
        GRADIO_ANALYTICS_ENABLED="False",
        # requests that it keeps count of; each request recounts them
        GRADIO_ANALYTICS_MAX_EVENTS="100",
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        ORT_DISABLE_TELEMETRY="1",  # onnxruntime's
    )


def serve(
    page: gr.Blocks, listener: socket.socket, auth: tuple[str, str] | None, hosts: list[str]
) -> None:
    """Serves the page until the process is told to stop.

    Args:
        page: made by `build_page`.
        listener: bound socket.
        auth: user and password that visitors must give.
        hosts: names of this machine that the page answers to, or `*`. On the loopback they are few,
            so that no foreign site can reach the page through a visitor's browser by a name of its
            own (DNS rebinding).
    """
    import uvicorn
    from fastapi import FastAPI
    from gradio import mount_gradio_app
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from signs_lightning.demo.page import CSS, THEME

    uploads = Path(os.environ["GRADIO_TEMP_DIR"])
    examples = {path for path in uploads.rglob("*") if path.is_file()}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_keep_swept(page, uploads, examples))
        try:
            yield
        finally:
            sweeping.cancel()

    page.state_session_capacity = (
        500  # visitors whose fields the server remembers; 10,000 by default
    )
    app = FastAPI(openapi_url=None, lifespan=lifespan)
    app.add_middleware(RequestFilter, uploads=uploads)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    mount_gradio_app(
        app,
        page,
        path="/",
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
    config = uvicorn.Config(
        app,
        log_level="error",
        server_header=False,
        timeout_graceful_shutdown=1,
        limit_concurrency=1000,
    )
    server = uvicorn.Server(config)
    # On the way out it would complain of the pages that are still open, with a traceback for each.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
    server.run(sockets=[listener])


async def _keep_swept(page: gr.Blocks, folder: Path, keep: set[Path]) -> None:
    """Deletes pictures of former visitors while the server runs. Gradio's own `delete_cache` gives up when a picture comes in meanwhile."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        await asyncio.to_thread(_sweep, folder, keep, time.time() - KEEP_SECONDS)
        for names in getattr(
            page, "temp_file_sets", []
        ):  # Gradio's lists of all pictures ever, for `delete_cache`
            names.clear()


def _sweep(folder: Path, keep: set[Path], oldest: float) -> None:
    """Removes files that are older, whole or the beginnings of uploads that broke off, and old folders without any."""
    for path in sorted(
        folder.rglob("*"), reverse=True
    ):  # what is in a folder comes before the folder
        try:
            if path not in keep and path.lstat().st_mtime < oldest:
                path.rmdir() if path.is_dir() else path.unlink()
        except OSError:
            continue  # a folder with pictures in it, or gone by now


class RequestFilter:
    """ASGI middleware: the page's own requests and no others, none too large, and no pictures once the disk's share is used up.

    Gradio serves many addresses that this page has no use for (fetching from the internet,
    recordings, shared links, …); they answer 404 here.

    Args:
        app: what is guarded.
        uploads: the folder whose files may be fetched.
    """

    def __init__(self, app: ASGIApp, uploads: Path) -> None:
        self.app = app
        self.uploads = uploads
        self.stored: dict[
            int, int
        ] = {}  # minute → bytes of the pictures that came in then and may still be on the disk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse

        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)

        headers = Headers(scope=scope)

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
                if message["status"] == 401 and scope["path"] == UPLOAD:
                    self._book(-int(headers["content-length"]))  # nothing of it was read
            await send(message)

        refused = self._refusal(scope, headers.get("content-length"))
        if refused is None and scope["path"] in CALLS:
            body = await _whole(receive)
            receive = _again(body, receive)
            if not self._names_uploads_only(body):
                refused = 403, "Only pictures that were uploaded are looked at."
        if refused is None:
            return await self.app(scope, receive, send_with_policy)
        status, sentence = refused
        return await PlainTextResponse(sentence, status)(scope, receive, send_with_policy)

    def _refusal(self, scope: Scope, length: str | None) -> tuple[int, str] | None:
        """Status and sentence for a request that does not go through."""
        if scope["type"] != "http" or not self._is_known(scope["method"], scope["path"]):
            return 404, "There is nothing here."
        if scope["method"] != "POST":
            return None
        if length is None or not length.isdecimal():
            return 411, "The request does not say how long it is."
        upload = scope["path"] == UPLOAD
        if int(length) > (MAX_UPLOAD_BYTES + MAX_TEXT_LENGTH if upload else MAX_TEXT_LENGTH):
            return (
                413,
                f"The request is too large, expected at most {MAX_UPLOAD_BYTES // 2**20} MB.",
            )
        if upload and not self._book(int(length)):
            return 503, "Too many pictures came in the last minutes. Try again in ten minutes."
        return None

    def _book(self, size: int) -> bool:
        """Counts the bytes of a picture among those on the disk; False where there is no place for it."""
        minute, kept = int(time.monotonic() // 60), (KEEP_SECONDS + 2 * SWEEP_SECONDS) // 60
        self.stored = {
            then: stored for then, stored in self.stored.items() if then >= minute - kept
        }
        if sum(self.stored.values()) + size > MAX_STORED_BYTES:
            return False
        self.stored[minute] = self.stored.get(minute, 0) + size
        return True

    def _is_known(self, method: str, path: str) -> bool:
        if path.startswith(FILE):
            return method in ("GET", "HEAD") and self._is_upload(path.removeprefix(FILE))
        if method == "POST":
            return path in POSTED
        return method in ("GET", "HEAD") and (
            path in FETCHED or path.startswith(("/assets/", "/static/"))
        )

    def _is_upload(self, path: str) -> bool:
        return os.path.isabs(path) and Path(os.path.abspath(path)).is_relative_to(self.uploads)

    def _names_uploads_only(self, body: bytes) -> bool:
        """Whether every path in a JSON text is that of an uploaded file. Gradio would fetch internet addresses and read other files."""
        try:
            open_ends = [json.loads(body)]
        except (ValueError, RecursionError):
            return False
        while open_ends:
            value = open_ends.pop()
            if isinstance(value, dict):
                path = value.get("path")
                if path is not None and not (isinstance(path, str) and self._is_upload(path)):
                    return False
                open_ends += value.values()
            elif isinstance(value, list):
                open_ends += value
        return True


async def _whole(receive: Receive) -> bytes:
    """A request's whole body."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was already received once more, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
