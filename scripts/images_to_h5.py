"""Convert folders of pictures, one for each class, to HDF5 files, and back.

python scripts/images_to_h5.py FOLDER --output DIR --size 64
python scripts/images_to_h5.py --from-h5 train_signs.h5 test_signs.h5 --output FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.data.folder_export import OnProgress, h5_to_folder
from signs_lightning.data.folder_import import folder_to_h5
from signs_lightning.errors import InputError
from signs_lightning.inspect.file_report import VERB, quote_path
from signs_lightning.runtime.escaping import printable

MAX_LISTED = 20  # unreadable pictures that are named on the screen


def main(args: list[str]) -> int:
    """Converts; returns the exit code, 0 also when single pictures were skipped."""
    parser = CommandParser("images_to_h5", (__doc__ or "").partition("\n")[0])
    parser.prog = "python scripts/images_to_h5.py"
    parser.add_argument(
        "folder", nargs="?", metavar="FOLDER", help="holds a folder of pictures for each class"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of what is written")
    parser.add_argument(
        "--size",
        nargs="+",
        type=int,
        default=[64],
        metavar="PIXELS",
        help="height and width, or one number (default 64)",
    )
    parser.add_argument(
        "--channels", type=int, choices=(1, 3), default=3, help="1 for grey, 3 for RGB (default)"
    )
    parser.add_argument(
        "--test_fraction",
        type=float,
        default=0.1,
        metavar="P",
        help="share of the test file (default 0.1)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of split and order (default 0)")
    parser.add_argument(
        "--name", help="train_NAME.h5 and test_NAME.h5; the folder's name by default"
    )
    parser.add_argument(
        "--from-h5",
        nargs="+",
        metavar="H5",
        help="the way back: these files become folders of PNGs",
    )
    options = parser.parse_args(args)
    if (options.folder is None) == (options.from_h5 is None):
        raise InputError("Name either a FOLDER of class folders or files with --from-h5.")
    if options.from_h5:
        return _back([Path(file) for file in options.from_h5], Path(options.output))
    if len(options.size) > 2 or min(options.size) < 1:
        raise InputError(
            f"--size is {' '.join(map(str, options.size))}, expected pixels: one number, or "
            "height and width."
        )
    if not 0 <= options.test_fraction < 1:
        raise InputError(
            f"--test_fraction is {options.test_fraction:g}, expected 0 or more, and less than 1."
        )
    if options.seed < 0:
        raise InputError(f"--seed is {options.seed}, expected 0 or more.")
    if options.name and ("/" in options.name or "\\" in options.name):
        raise InputError(
            f"--name is {options.name}, expected a part of a file's name. The "
            "folder goes to --output."
        )
    size = (options.size[0], options.size[-1], options.channels)
    with _progress("reading") as advance:
        written = folder_to_h5(
            Path(options.folder),
            Path(options.output),
            size,
            options.test_fraction,
            options.seed,
            options.name,
            advance,
        )
    for path, reason in written.unreadable[:MAX_LISTED]:
        print(f"skipped {printable(path)}: {printable(reason)}", file=sys.stderr)
    if len(written.unreadable) > MAX_LISTED:
        print(f"… and {len(written.unreadable) - MAX_LISTED} more", file=sys.stderr)
    shape = "×".join(map(str, size))
    for split, file in written.files.items():
        print(f"{file}: {written.counts[split]}×{shape}, {len(written.class_names)} classes")
    if written.unreadable:
        total = len(written.unreadable) + sum(written.counts.values())
        print(f"{len(written.unreadable)} of {total} pictures cannot be read and were skipped.")
    files = "".join(f" --data.{split}_file {quote_path(p)}" for split, p in written.files.items())
    held_out = "" if len(written.files) > 1 else " --data.val_fraction 0.2"
    print(f"next: {VERB} fit{files}{held_out}")
    return 0


def _back(files: list[Path], output: Path) -> int:
    with _progress("writing") as advance:
        counts, renamed = h5_to_folder(files, output, advance)
    for split, count in counts.items():
        print(f"{output / split if len(counts) > 1 else output}: {count} pictures")
    for name, folder in renamed.items():
        print(f"the class {printable(name)!r} is in the folder {folder}")
    return 0


@contextmanager
def _progress(what: str) -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        print(printable(str(error)), file=sys.stderr)
        sys.exit(2)
