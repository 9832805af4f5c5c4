"""Download a data set of the course: signs or happy.

    python scripts/download_data.py {signs,happy} [--output DIR]

The files come from the first mirror that has them. A download that broke off resumes where it
stopped. Size and SHA-256 are compared with those of the course's own files; sound copies that
differ in a header byte exist, too, and are accepted with a warning.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.inspect import examine_in_sandbox
from signs_lightning.data.transfer import Download, DownloadError
from signs_lightning.errors import InputError
from signs_lightning.inspect.file_report import VERB
from signs_lightning.runtime.escaping import printable, quote_path
from signs_lightning.runtime.file_signatures import describe_non_hdf5


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
    is_resumed = part.is_file() and part.stat().st_size > 0
    if is_resumed and _matches(part, original):
        return
    download = Download(url, part, max_size=2 * original.size)
    download.run()
    if is_resumed and not _matches(part, original):  # perhaps the halves are of different copies
        download.discard()
        download.run()
    if _matches(part, original):
        return
    if (found := describe_non_hdf5(part)) is not None:
        part.unlink()
        raise DownloadError(f"this is not the HDF5 file but {found}")
    if not _is_sound(part, original):
        part.unlink()
        raise DownloadError("this is not the data.")


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
    return bool(report.data)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        print(printable(str(error)), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Interrupted. The same command resumes where it stopped.", file=sys.stderr)
        sys.exit(130)
