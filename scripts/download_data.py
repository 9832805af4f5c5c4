"""Download a data set of the course: signs or happy.

    python scripts/download_data.py {signs,happy} [--output DIR]

The files come from the first mirror that has them. A download that broke off resumes where it
stopped. Size and SHA-256 are compared with those of the course's own files; sound copies that
differ in a header byte exist, too, and are accepted with a warning.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.inspect import examine_in_sandbox
from signs_lightning.errors import InputError
from signs_lightning.inspect.file_report import VERB, quote_path
from signs_lightning.runtime.escaping import printable
from signs_lightning.runtime.file_signatures import describe_non_hdf5

TIMEOUT = 30  # seconds without a byte
TRIES = 3  # for each mirror and file, as long as each brings the file further
BLOCK = 2**16


@dataclass(frozen=True)
class Original:
    """A file of the course: name, bytes, SHA-256."""

    name: str
    size: int
    sha256: str


SIGNS = (
    Original("train_signs.h5", 13281872,
             "47480709d99f2ea6ae428ecc491fc6f65ff1d05336736dd859d5565e0ad3cf74"),
    Original("test_signs.h5", 1477712,
             "539fb746ed9e947eb244cfca73f4d1b03f9bf5524d609eeed2cd76ddb1b179be"),
)  # fmt: skip
HAPPY = (
    Original("train_happy.h5", 7379760,
             "65cbc8a1b83b0b8fa76026f37ba6421a8a29f90a223c31799a1d808bc7d19566"),
    Original("test_happy.h5", 1846560,
             "5e23db2f28769de83214dce1411e651489d713f9e1ec5d1ca6a61b6222115add"),
)  # fmt: skip
GITHUB = "https://raw.githubusercontent.com"
COURSE_COPY = ("itsayushthada/Residual-Networks", "e7f3097c4126cc2ab670e057ed24c284cb664e15")
SECOND_COPY = (
    "ironmanciti/ML_Based_BigData_Analysis_Visualization",
    "a5b3434c6a3efab4b981bae6a68f616e17391288",
)
# name → its files, and folders on the web that have them; a commit in the address keeps the content
# from changing
DATA_SETS = {
    "signs": (
        SIGNS,
        [
            f"{GITHUB}/{'/'.join(COURSE_COPY)}/datasets",
            f"{GITHUB}/chaitanya-ct/Hand-gesture/c07a29d6383f0083d00fffb6e5921b71e889c9ec/datasets",
            f"{GITHUB}/{'/'.join(SECOND_COPY)}/datasets",
            f"https://cdn.jsdelivr.net/gh/{'@'.join(COURSE_COPY)}/datasets",
        ],
    ),
    "happy": (
        HAPPY,
        [f"{GITHUB}/LoqmanSamani/deep-learning/f3303a1b197cf671276a935723e142bf07f7faa6/data"],
    ),
}


class DownloadError(Exception):
    """One attempt failed; the message says why, without the address."""


class BrokenOffError(DownloadError):
    """An attempt failed half-way, and another one can resume it."""


CONNECTION_ERRORS = (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException)


def main(args: list[str]) -> int:
    """Download; return 1 when no mirror has a file."""
    parser = CommandParser("download_data", (__doc__ or "").partition("\n")[0])
    parser.prog = "python scripts/download_data.py"
    parser.add_argument(
        "data_set",
        choices=tuple(DATA_SETS),
        help="hand signs (1200 photos), or smiling and other faces (750)",
    )
    parser.add_argument(
        "--output", default=".", metavar="DIR", help="folder of the files (default: this one)"
    )
    parser.add_argument(
        "--url",
        nargs="+",
        metavar="URL",
        help="other mirrors: addresses of folders with the files in them, tried in order",
    )
    options = parser.parse_args(args)
    originals, mirrors = DATA_SETS[options.data_set]
    for url in options.url or []:
        if not re.match(r"https?://[^/\s]+", url):
            raise InputError(f"--url is {url}, expected an http:// or https:// address.")
    output = Path(options.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        # All of them, first.
        provided = [_provide(original, options.url or mirrors, output) for original in originals]
    except OSError as error:
        message = f"{output} cannot be written ({error}). Choose another --output."
        raise InputError(message) from error
    if not all(provided):
        return 1
    train, test = (quote_path(output / original.name) for original in originals)
    print(f"next: {VERB} fit --data.train_file {train} --data.test_file {test}")
    return 0


def _provide(original: Original, mirrors: list[str], output: Path) -> bool:
    """Keep or fetch one file; return whether it is there."""
    path = output / original.name
    if path.is_file() and (_matches(path, original) or _is_sound(path, original)):
        print(f"{printable(str(path))} is already there.")
        return True
    part = output / f".{original.name}.part"
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{original.name}"
        try:
            _fetch(url, part, original)
        except DownloadError as error:
            print(f"{url}: {error}", file=sys.stderr)
            continue
        if path.exists():  # something else under this name, of which `_is_sound` warned
            os.replace(path, path.with_name(f"{path.name}.old"))
        os.replace(part, path)
        print(f"{printable(str(path))}: {path.stat().st_size:,} bytes from {url}")
        return True
    print(
        f"{original.name} can be had from none of {len(mirrors)} mirrors. Name another with --url.",
        file=sys.stderr,
    )
    return False


def _fetch(url: str, part: Path, original: Original) -> None:
    """Download into `part`, from where it stopped, and check what came.

    Raises:
        DownloadError: it cannot be had here, or is not the data.
    """
    before = part.stat().st_size if part.is_file() else 0
    if before and _matches(part, original):
        return
    resumed = before > 0
    for _ in range(TRIES):
        try:
            _transfer(url, part, original)
            break
        except BrokenOffError:
            so_far = part.stat().st_size if part.is_file() else 0
            if so_far <= before:
                raise
            before = so_far
    else:
        raise DownloadError(f"it broke off {TRIES} times; the next attempt resumes it.")
    if resumed and not _matches(part, original):  # perhaps the two halves are of different copies
        part.unlink()
        _transfer(url, part, original)
    if _matches(part, original):
        return
    if (found := describe_non_hdf5(part)) is not None:
        part.unlink()
        raise DownloadError(f"this is not the HDF5 file but {found}")
    if not _is_sound(part, original):
        part.unlink()
        raise DownloadError("this is not the data.")


def _transfer(url: str, part: Path, original: Original) -> None:
    """Make one request and append what comes to `part`.

    Raises:
        BrokenOffError: the connection ended early.
        DownloadError: there is no such file, or no such server.
    """
    start = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "signs-lightning", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            content_range = response.headers.get("Content-Range") or ""
            match = re.match(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
            resumes = response.status == 206 and match is not None and int(match[1]) == start
            if response.status == 206 and not resumes:
                part.unlink(missing_ok=True)
                raise DownloadError("its answer to a request for the rest of the file is wrong.")
            start = start if resumes else 0  # a server that knows no ranges sends everything
            length = response.headers.get("Content-Length") or ""
            total = start + int(length) if length.isdecimal() else None
            if total is not None and total > 2 * original.size:
                raise DownloadError(f"it has {total:,} bytes, expected {original.size:,}.")
            with (
                part.open("ab" if start else "wb") as file,
                _bar(original.name, start, total or original.size) as advance,
            ):
                so_far = start
                while block := response.read(BLOCK):
                    so_far += len(block)
                    if so_far > 2 * original.size:
                        part.unlink()
                        most, size = f"{2 * original.size:,}", f"{original.size:,}"
                        raise DownloadError(f"it has more than {most} bytes, expected {size}.")
                    file.write(block)
                    advance(len(block))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # what is there is longer than the file
            part.unlink()
            _transfer(url, part, original)
            return
        reason = printable(str(error.reason))
        raise DownloadError(f"the server says {error.code} {reason}.") from error
    except urllib.error.URLError as error:
        reason = printable(str(error.reason))
        raise DownloadError(f"the server cannot be reached ({reason}).") from error
    except (*CONNECTION_ERRORS, ValueError) as error:
        reason = printable(str(error)) or type(error).__name__
        raise BrokenOffError(f"the connection failed ({reason}).") from error
    if total is not None and so_far < total:
        raise BrokenOffError(f"the connection ended after {so_far:,} of {total:,} bytes.")


@contextmanager
def _bar(name: str, start: int, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    name_column, speed = TextColumn("{task.description}"), TransferSpeedColumn()
    console = Console(stderr=True)
    columns = (name_column, BarColumn(), DownloadColumn(), speed)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(name, completed=start, total=total)
        yield lambda count: bar.advance(task, count)


def _matches(path: Path, original: Original) -> bool:
    if path.stat().st_size != original.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == original.sha256


def _is_sound(path: Path, original: Original) -> bool:
    """Warn about a file that is not the course's own; return whether it can be used."""
    report = examine_in_sandbox(str(path), {})
    sound = f"it is a sound {report.what}: {dict(report.facts).get('images', '')}."
    verdict = printable(report.problem) or sound
    size, differs = path.stat().st_size, "has another SHA-256 than the course's own"
    if size != original.size:
        differs = f"has {size:,} bytes, expected {original.size:,}"
    print(f"Warning: {original.name} {differs}. Looked at closely, {verdict}", file=sys.stderr)
    return report.data is not None


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        print(printable(str(error)), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Interrupted. The same command resumes where it stopped.", file=sys.stderr)
        sys.exit(130)
