"""Data files at addresses, such as https://…: fetched once, into the cache."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from signs_lightning.data.transfer import WEB, Download, DownloadError
from signs_lightning.errors import InputError
from signs_lightning.runtime.cache_folders import cache_folders, lock_file
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.file_read_errors import translate_os_errors
from signs_lightning.runtime.file_signatures import describe_non_hdf5, missing_file_message
from signs_lightning.runtime.terminal import print_message

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # a drive of Windows is one letter
LOCAL = ("file", "local")
NO_FILES = ("an HTML page", "a git-lfs pointer", "an empty file")  # what is sent instead of one
MAX_NAME = 120  # characters of a file's name in the cache
OTHER_CACHE = "set the environment variable SIGNS_LIGHTNING_CACHE to a folder on another disk"


def is_address(value: str | Path) -> bool:
    """Whether a file is named by an address, such as `https://…` or `s3://…`."""
    return SCHEME.match(str(value)) is not None


def fetch_once(url: str, sha256: str | Sequence[str] | None = None) -> Path:
    """Return the local copy of a file, which is fetched when it is first asked for.

    The copy has the file's own name, and files that lie side by side on the web do so in the cache.
    A download that was cut is resumed. Of several processes one fetches, and the others wait.
    A copy is used until it is deleted, whatever happens on the web.

    Args:
        url: of any protocol that `fsspec` knows; `file://` is read where it lies.
        sha256: of the file, as 64 hexadecimal digits; one of them where several are given.

    Raises:
        InputError: it cannot be fetched, or has another checksum.
    """
    expected = _checksums(sha256)
    _check_protocol(url)
    if urlsplit(url).scheme in LOCAL:
        from urllib.request import url2pathname  # start-up: brings http.client and ssl

        path = Path(url2pathname(urlsplit(url).path))
        if not path.exists():
            raise InputError(missing_file_message(path))
        return _verify(path, expected)
    folder_name, name = _cache_name(url)
    first_error: OSError | None = None
    for root in cache_folders():
        folder = root / "downloads" / folder_name
        try:
            if (folder / name).is_file():
                return _verify(folder / name, expected)
            folder.mkdir(parents=True, exist_ok=True)
            waiting = f"{hide_secrets(url)} is being fetched by another process: waiting for it."
            with lock_file(folder / f".{name}.lock", waiting) as is_locked:
                return _fetch(url, folder / name, expected, is_locked)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise InputError(
                    f"{hide_secrets(url)} does not fit on the disk of {folder} ({error.strerror}). "
                    f"Free some space and run the same command again, or {OTHER_CACHE}."
                ) from error
            first_error = first_error or error
    raise InputError(
        f"{hide_secrets(url)} cannot be kept anywhere ({first_error}). To choose a place, "
        "set the environment variable SIGNS_LIGHTNING_CACHE to a folder."
    )


def is_fetched(url: str) -> bool:
    """Whether a local copy of an address is there, so that nothing need be fetched."""
    if urlsplit(url).scheme in LOCAL:
        return True
    folder_name, name = _cache_name(url)
    roots = cache_folders(make=False)
    return any((root / "downloads" / folder_name / name).is_file() for root in roots)


def hide_secrets(url: str) -> str:
    """Return an address for messages, without password and query, which may hold keys."""
    parts = urlsplit(url)
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return printable(shown) + ("?…" if parts.query else "")


def _checksums(sha256: str | Sequence[str] | None) -> list[str]:
    """Return the checksums in lower case.

    Raises:
        InputError: one of them is none.
    """
    given = [] if sha256 is None else [sha256] if isinstance(sha256, str) else list(sha256)
    for checksum in given:
        if not re.fullmatch("[0-9a-fA-F]{64}", checksum):
            raise InputError(
                f"--data.sha256 is {checksum}, expected the 64 hexadecimal digits that "
                "`sha256sum FILE` prints."
            )
    return [checksum.lower() for checksum in given]


def _check_protocol(url: str) -> None:
    import fsspec  # start-up time

    protocol = urlsplit(url).scheme
    if protocol not in fsspec.available_protocols():
        raise InputError(
            f"{hide_secrets(url)}: no protocol is called {protocol}://. Name a file, or an address "
            "such as https://…"
        )
    if protocol in WEB and not urlsplit(url).hostname:
        raise InputError(f"{hide_secrets(url)} names no server. Check the address.")


def _cache_name(url: str) -> tuple[str, str]:
    """Return the names of folder and file in the cache.

    The folder's is a checksum of the address without the file's name, so that siblings share it.
    """
    parts = urlsplit(url)
    parent, _, last = parts.path.rpartition("/")
    last = unquote(last)
    name = re.sub(r"[^\w.+ -]", "_", last).lstrip(".")
    key = urlunsplit((parts.scheme.lower(), parts.netloc, parent, parts.query, ""))
    if name != last or len(name) > MAX_NAME:  # other addresses may lead to the same name
        key = url
    return hashlib.sha256(key.encode()).hexdigest()[:16], name[-MAX_NAME:] or "file"


def _fetch(url: str, path: Path, expected: list[str], is_locked: bool) -> Path:
    """Fetch a file and check it, unless another process has just done so."""
    if path.is_file():
        return _verify(path, expected)
    shown = hide_secrets(url)
    # Without a lock other processes may write, too.
    name = f".{path.name}.part" if is_locked else f".{path.name}.{uuid.uuid4().hex}.part"

    def on_start(start: int, size: int | None) -> None:
        total = "a file of unknown size" if size is None else f"{size:,} bytes"
        resumed = f", resumed at {start:,}" if start else ""
        # Not on rank 0 only: whichever process has the lock fetches, and it alone.
        print_message(f"Fetching {shown} ({total}{resumed}) into {path.parent}")

    one = Download(url, path.with_name(name), is_pinned=True, on_start=on_start)
    try:
        is_resumed = one.part.is_file()
        one.run()
        found = _digest(one.part) if expected else ""
        if expected and found not in expected and is_resumed:  # the halves may be of two versions
            one.discard()
            one.run()
            found = _digest(one.part)
        if reason := _why_useless(one.part, url):
            reason = f"{shown}: the server sent no data file but {reason}"
        elif expected and found not in expected:
            reason = (
                f"{shown} has the SHA-256 {found}, expected {' or '.join(expected)}. It is not "
                "kept: check the address and --data.sha256."
            )
        if reason:
            one.discard()
            raise InputError(reason)
        os.replace(one.part, path)
        one.discard()
    except DownloadError as error:
        raise InputError(f"{shown}: {error} {error.advice}") from error
    finally:
        if not is_locked:  # nobody will find it again
            one.discard()
    return path


def _why_useless(path: Path, url: str) -> str:
    """Return what was sent instead of a file, and what to do, or ""."""
    kind = describe_non_hdf5(path) or ""
    if not kind.startswith(NO_FILES):
        return ""
    if "/blob/" in url:  # the page that shows a file, as GitHub, GitLab and Hugging Face have it
        raw = "resolve" if "huggingface.co/" in url else "raw"
        return f"{kind} Perhaps it is {hide_secrets(url).replace('/blob/', f'/{raw}/', 1)}"
    return kind


def _verify(path: Path, expected: list[str]) -> Path:
    """Return a file that is there already, if its checksum is an expected one."""
    if expected:
        with translate_os_errors(path):
            found = _digest(path)
        if found not in expected:
            raise InputError(
                f"{path}, which was fetched earlier, has the SHA-256 {found}, expected "
                f"{' or '.join(expected)}. Correct --data.sha256, or delete the file to fetch it "
                "again."
            )
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
