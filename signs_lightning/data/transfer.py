"""One file from the web or another storage, with progress, resumed where it stopped."""

from __future__ import annotations

import errno
import http
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from signs_lightning.runtime.escaping import printable, shorten
from signs_lightning.runtime.progress import BYTES, show_progress

TIMEOUT = 30  # seconds without a byte
TRIES = 3  # as long as each brings the file further
BLOCK = 2**20
WEB = ("http", "https")
HEADERS = {"User-Agent": "signs-lightning", "Accept-Encoding": "identity"}  # bytes as they are
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
CHECK_ADDRESS = "Check the address."
CHECK_NETWORK = "Check the address and the network."
TRY_LATER = "Try again later."
RESUME = "Run the same command again: it resumes there."
LOG_IN = "Fetch the file where you are logged in, with a browser for example, and name its path."


class DownloadError(Exception):
    """A file cannot be fetched; the message says why, without the address.

    Attributes:
        advice: what to do, as a sentence.
    """

    def __init__(self, reason: str, advice: str = TRY_LATER) -> None:
        super().__init__(reason)
        self.advice = advice


class BrokenOffError(DownloadError):
    """An attempt failed half-way, and another one can resume it."""


@dataclass(frozen=True)
class Answer:
    """What a server sends.

    Attributes:
        body: the stream.
        start: the byte of the file that it begins with.
        size: bytes of the whole file, or None where the server does not say.
        version: changes when the file does: its size, and ETag or date where there is one.
    """

    body: Any
    start: int
    size: int | None
    version: str


@dataclass(frozen=True)
class Download:
    """A file on its way from an address into `part`.

    Attributes:
        url: the address; its protocol is one that `fsspec` knows.
        part: the file to write, perhaps with the first bytes in it.
        max_size: more bytes than this are refused.
        is_pinned: whether `part` is resumed only while the file has the size, ETag and date that it
            had when `part` was begun; they stand in a file beside it.
        on_start: called with the first byte and the size in bytes when the file begins to come.
    """

    url: str
    part: Path
    max_size: int | None = None
    is_pinned: bool = False
    on_start: Callable[[int, int | None], None] = lambda start, size: None

    @property
    def pin(self) -> Path:
        """The file that says which version of the file `part` is the beginning of."""
        return self.part.with_name(f"{self.part.name}.version")

    def run(self) -> None:
        """Fetch the file, in several attempts as long as each gets further.

        Raises:
            DownloadError: it cannot be had.
            OSError: `part` cannot be written.
        """
        so_far = self._size()
        for _ in range(TRIES):
            try:
                self._attempt()
                return
            except BrokenOffError:
                before, so_far = so_far, self._size()
                if so_far <= before:
                    raise
        raise BrokenOffError(f"it broke off {TRIES} times, now at {so_far:,} bytes.", RESUME)

    def discard(self) -> None:
        """Delete what has come."""
        self.part.unlink(missing_ok=True)
        self.pin.unlink(missing_ok=True)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _attempt(self) -> None:
        """Make one request, and append what comes to `part`."""
        start = self._size()
        if self.is_pinned and not self.pin.is_file():
            start = 0
        with _open_address(self.url, start) as answer:
            if answer.start not in (0, start):
                self.discard()
                raise DownloadError("its answer to a request for the rest of the file is wrong.")
            is_other = start and self.is_pinned and self.pin.read_text() != answer.version
            if not (is_other and answer.start):
                self._receive(answer)
                return
        self.discard()  # the file was replaced meanwhile
        self._attempt()

    def _receive(self, answer: Answer) -> None:
        so_far, size = answer.start, answer.size
        self._check_size(size)
        free = shutil.disk_usage(self.part.parent).free
        if size is not None and size - so_far > free:
            reason = f"{size - so_far:,} bytes are to come, and there is room for {free:,}"
            raise OSError(errno.ENOSPC, reason)
        if self.is_pinned:
            self.pin.write_text(answer.version)
        self.on_start(so_far, size)
        progress = show_progress("", BYTES, so_far)
        with self.part.open("ab" if so_far else "wb") as file, progress as advance:
            while block := _read(answer.body):
                so_far += len(block)
                self._check_size(so_far, "more than ")
                file.write(block)
                advance(so_far, size or 0)
            file.flush()
            os.fsync(file.fileno())
        if size is not None and so_far < size:
            raise BrokenOffError(
                f"the connection ended after {so_far:,} of {size:,} bytes.", RESUME
            )

    def _check_size(self, size: int | None, more: str = "") -> None:
        if size is not None and self.max_size is not None and size > self.max_size:
            self.discard()
            raise DownloadError(f"it has {more}{size:,} bytes, more than there can be.")


def _read(body: Any) -> bytes:
    """Return the next bytes, or none where the stream has ended, also too early."""
    import aiohttp  # start-up time

    with _translate_errors():
        try:
            block: bytes = body.read(BLOCK)
        except aiohttp.ClientPayloadError:  # fewer bytes than announced
            return b""
        return block


@contextmanager
def _open_address(url: str, start: int) -> Iterator[Answer]:
    """Ask for a file from a byte on, and close the stream in the end.

    Raises:
        DownloadError: there is no such file, or no such server.
    """
    opener = _open_web if urlsplit(url).scheme.lower() in WEB else _open_storage
    with _translate_errors():
        answer = opener(url, start)
    try:
        yield answer
    finally:
        answer.body.close()


def _open_web(url: str, start: int) -> Answer:
    import aiohttp  # start-up time
    import fsspec

    limits = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT)
    # trust_env: proxies, and names and passwords in ~/.netrc
    client = {"timeout": limits, "trust_env": True}
    storage = fsspec.filesystem(urlsplit(url).scheme.lower(), client_kwargs=client)
    headers = HEADERS | ({"Range": f"bytes={start}-"} if start else {})
    try:
        # A block size of 0 asks for a stream; any size spares the question for it.
        body = storage.open(url, "rb", block_size=0, size=1, headers=headers)
    except aiohttp.ClientResponseError as error:
        if error.status == 416 and start:  # `part` is longer than the file: from byte 0
            return _open_web(url, 0)
        raise
    received = body.r.headers
    size: int | None = None
    first = 0
    if body.r.status == 206:
        match = CONTENT_RANGE.match(received.get("Content-Range", ""))
        first = int(match[1]) if match else -1
        size = int(match[2]) if match and match[2] != "*" else None
    elif "Content-Encoding" not in received and received.get("Content-Length", "").isdecimal():
        size = int(received["Content-Length"])
    version = received.get("ETag") or received.get("Last-Modified") or ""
    return Answer(body, first, size, f"{size} {version}")


def _open_storage(url: str, start: int) -> Answer:
    import fsspec  # start-up time

    storage, path = fsspec.core.url_to_fs(url)
    found = storage.info(path)
    if found.get("type") == "directory":
        raise DownloadError("it is a folder.", "Name a file in it.")
    size = found.get("size")
    names = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "created")
    version = next((found[name] for name in names if found.get(name)), "")
    start = start if size is None or start < size else 0
    body = storage.open(path, "rb")
    if start:
        body.seek(start)
    return Answer(body, start, size, f"{size} {version}")


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise a `DownloadError` for what fsspec and the libraries below it raise."""
    import aiohttp  # start-up time

    try:
        yield
    except DownloadError:
        raise
    except FileNotFoundError as error:
        raise DownloadError("the server says 404 Not Found.", CHECK_ADDRESS) from error
    except PermissionError as error:
        raise DownloadError("the server does not allow it.", LOG_IN) from error
    except aiohttp.ClientResponseError as error:
        known = {status.value: status.phrase for status in http.HTTPStatus}
        reason = f"the server says {error.status} {known.get(error.status, error.message)}".strip()
        advice = LOG_IN if error.status in (401, 403, 407) else TRY_LATER
        advice = CHECK_ADDRESS if error.status in (400, 405, 410) else advice
        raise DownloadError(f"{printable(reason)}.", advice) from error
    except aiohttp.InvalidURL as error:
        raise DownloadError("this is no address.", CHECK_ADDRESS) from error
    except aiohttp.ClientConnectorError as error:
        # A number from the resolver is negative, and not the system's.
        number = error.os_error.errno or 0
        reason = os.strerror(number) if number > 0 else error.os_error.strerror or str(error)
        raise DownloadError(
            f"the server cannot be reached ({shorten(reason, 200)}).", CHECK_NETWORK
        ) from error
    except TimeoutError as error:
        raise BrokenOffError(f"no byte came for {TIMEOUT} seconds.", RESUME) from error
    except (aiohttp.ClientError, ConnectionError) as error:
        reason = shorten(str(error), 200).rstrip(".") or type(error).__name__
        raise BrokenOffError(f"the connection failed ({reason}).", RESUME) from error
    except ImportError as error:  # fsspec names the package, in words of its own
        reason = shorten(str(error), 200).rstrip(".")
        raise DownloadError(f"a package is missing for it: {reason}.", "Install it.") from error
    except Exception as error:  # of a storage's own library
        reason = shorten(str(error).partition("\n")[0], 200).rstrip(".") or type(error).__name__
        raise DownloadError(f"it cannot be read ({reason}).", CHECK_NETWORK) from error
