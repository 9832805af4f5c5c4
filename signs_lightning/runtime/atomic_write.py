"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from signs_lightning.errors import InputError


def check_output(
    path: Path, option: str = "--output", inputs: Iterable[str | Path | None] = ()
) -> None:
    """Check that a file can be written, before any work is done for it.

    Args:
        path: the file to be written.
        option: the option that names it, for the message.
        inputs: the files and run folders that are read, by any of their names; None is none.

    Raises:
        InputError: its folder does not exist, it is a folder itself or one of the inputs, or its
            name cannot be one.
    """
    folder = path.parent
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(
                f"The name of {option} is too long for a file. Choose a shorter one."
            ) from error
    if not folder.is_dir():
        raise InputError(
            f"The folder {folder} does not exist. Make it, or choose another {option}."
        )
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder. Name a file in it.")
    if path.exists() and any(name and _is_read(path, Path(name)) for name in inputs):
        raise InputError(f"{option} {path} is the file that is read. Name another file.")


def _is_read(path: Path, given: Path) -> bool:
    """Return whether a file is an input, or a checkpoint of an input that is a run folder."""
    try:
        return any(path.samefile(file) for file in (given, *given.glob("checkpoints/*")))
    except (OSError, ValueError):  # what cannot be looked up is reported where it is read
        return False


def make_folder(path: Path) -> None:
    """Make the folder that --output names, and those above it, where they do not exist.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {path} cannot be made ({error}). Choose another --output."
        ) from error


def check_edited(folder: Path, texts: Mapping[str, str], removed: Iterable[Path] = ()) -> None:
    """Check that what people edit is not lost: files that differ from what is to be written.

    Args:
        folder: to be written into.
        texts: of the files to be written, by their names in it.
        removed: files there that are to go.

    Raises:
        InputError: one is there and differs, or is to go.
    """
    lost = [name for name, text in texts.items() if _differs(folder / name, text)]
    lost += [path.name for path in removed]
    if lost:
        names = " and ".join([str(folder / lost[0]), *lost[1:]])
        raise InputError(
            f"{names} exist{'' if lost[1:] else 's'}, with other content than would be written. "
            f"Add `--overwrite true` to replace {'them' if lost[1:] else 'it'}, or name another "
            "place."
        )


def _differs(path: Path, text: str) -> bool:
    try:
        return path.exists() and path.read_bytes() != encode_text(text)
    except OSError:  # nobody knows what is in it
        return True


def encode_text(text: str) -> bytes:
    """Return a text as files here hold it."""
    return text.encode("utf-8", "replace")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` unless an exception is raised.

    Raises:
        InputError: the file cannot be written.
    """
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(descriptor)
        temporary = Path(name)
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes it private
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error}). Choose another place.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
