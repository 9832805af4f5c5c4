"""The code cells of a notebook, or a script as one cell, parsed and never run."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import quote_path
from signs_lightning.runtime.file_signatures import is_hdf5, is_zip, missing_file_message
from signs_lightning.translate.magic_lines import (
    cell_magic,
    is_python,
    with_print_calls,
    without_magic,
)

_FILE_BYTES = 100 * 2**20
_NOTEBOOK_CHARACTERS = 20 * 2**20  # without pictures
_CODE_CHARACTERS = 500_000
CELL_LINES = 10**6  # line numbers of cell n start at n times this
_PICTURE = re.compile(r'("image/(?:png|jpeg|gif)"|"png"|"jpeg")\s*:\s*(?:"[^"\\]*(?:\\.[^"\\]*)*")')
_PARSER_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)


@dataclass(frozen=True)
class Output:
    """A stored output of a cell: its text, as "text" or "html"."""

    kind: str
    text: str


@dataclass(frozen=True)
class Cell:
    """A code cell.

    Attributes:
        number: from 1, of the code cells; 0 for a script.
        text: its source as stored.
        tree: what is interpreted; its line numbers start at `number` times `CELL_LINES`. None if
            it does not parse or is not Python.
        problem: why it has no tree.
        outputs: what it stored when it was run.
        is_python2: whether it only parses, or is said to run, as Python 2.
    """

    number: int
    text: str
    tree: ast.Module | None
    problem: str = ""
    outputs: tuple[Output, ...] = field(default=())
    is_python2: bool = False


def read_cells(path: Path) -> list[Cell]:
    """Return the cells of a .ipynb or .py file.

    Raises:
        InputError: if it cannot be read, is neither, or is too large.
    """
    data = _read_bytes(path)
    if path.suffix.lower() == ".ipynb":
        return _notebook_cells(path, data)
    text = _decode(data)
    if text.lstrip().startswith("{") and '"cells"' in text:
        return _notebook_cells(path, data)
    _check_code(path, len(text))
    cell = _parsed(0, text)
    if cell.tree is None:
        raise InputError(
            f"{path} is not Python: {cell.problem}; expected a Keras notebook (.ipynb) or script "
            "(.py). Correct the line, or give another file."
        )
    return [cell]


def parse_module(text: str) -> ast.Module | None:
    """Return the tree of a sibling module, or None if it does not parse."""
    return None if len(text) > _CODE_CHARACTERS else _parsed(0, text).tree


def read_module(path: Path) -> ast.Module | None:
    """Return the tree of the module beside a source, or None if there is none that parses."""
    try:
        return parse_module(_decode(_read_bytes(path)))
    except InputError:
        return None


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.exists():
            raise InputError(missing_file_message(path))
        if not path.is_file():
            raise InputError(f"{path} is no file, expected a Keras notebook or script.")
        if path.stat().st_size > _FILE_BYTES:
            raise InputError(
                f"{path} has more than {_FILE_BYTES // 2**20} MiB, expected a notebook or script. "
                "Clear its outputs and save it again."
            )
        if is_hdf5(path) or is_zip(path):
            command = (
                f"python -m signs_lightning import-keras {quote_path(path)} --output model.ckpt"
            )
            raise InputError(
                f"{path} is no notebook (.ipynb) or script (.py). A Keras file becomes a "
                f"checkpoint with `{command}`."
            )
        return path.read_bytes()
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a file that can.") from None


def _decode(data: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return data.decode("latin-1")


def _check_code(path: Path, characters: int) -> None:
    if characters > _CODE_CHARACTERS:
        raise InputError(
            f"{path} has {characters:,} characters of code, expected at most "
            f"{_CODE_CHARACTERS:,}. Give a file with the model and its training alone."
        )


def _notebook_cells(path: Path, data: bytes) -> list[Cell]:
    text = _PICTURE.sub(r'\1: ""', data.decode("utf-8-sig", "replace"))
    if len(text) > _NOTEBOOK_CHARACTERS:
        raise InputError(
            f"{path} has more than {_NOTEBOOK_CHARACTERS // 2**20} MiB of text. "
            "Clear its outputs and save it again."
        )
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is no notebook: it is not JSON ({str(error)[:80]}). Save it again in Jupyter."
        ) from None
    entries = _entries(content)
    if entries is None:
        raise InputError(
            f"{path} is no notebook: it has no list of cells. Save it again in Jupyter."
        )
    codes = [entry for entry in entries if entry.get("cell_type") == "code"]
    sources = [_joined(entry.get("source", entry.get("input"))) for entry in codes]
    _check_code(path, sum(map(len, sources)))
    is_python2 = _is_python2(content.get("metadata"))
    return [
        _parsed(number, source, _outputs(entry.get("outputs")), is_python2)
        for number, (entry, source) in enumerate(zip(codes, sources, strict=True), 1)
    ]


def _entries(content: Any) -> list[dict[str, Any]] | None:
    """Return the cells of nbformat 4, or of the worksheets of nbformat 3."""
    if not isinstance(content, dict):
        return None
    groups = [content.get("cells")]
    if isinstance(content.get("worksheets"), list):
        groups = [sheet.get("cells") for sheet in content["worksheets"] if isinstance(sheet, dict)]
    lists = [group for group in groups if isinstance(group, list)]
    if not lists:
        return None
    return [entry for group in lists for entry in group if isinstance(entry, dict)]


def _joined(source: Any) -> str:
    if isinstance(source, list):
        return "".join(part for part in source if isinstance(part, str))
    return source if isinstance(source, str) else ""


def _is_python2(metadata: Any) -> bool | None:
    """Return whether a notebook says that it ran in Python 2; None if it does not say."""
    if not isinstance(metadata, dict):
        return None
    language, kernel = metadata.get("language_info"), metadata.get("kernelspec")
    version = language.get("version") if isinstance(language, dict) else None
    name = kernel.get("name") if isinstance(kernel, dict) else None
    if str(version)[:2] in ("2.", "3."):
        return str(version).startswith("2.")
    return True if name == "python2" else None


def _outputs(stored: Any) -> tuple[Output, ...]:
    found = []
    for output in stored if isinstance(stored, list) else ():
        if not isinstance(output, dict):
            continue
        data = output.get("data")
        data = data if isinstance(data, dict) else {}
        for kind, part in (
            ("text", output.get("text")),
            ("text", data.get("text/plain")),
            ("html", output.get("html")),
            ("html", data.get("text/html")),
        ):
            if text := _joined(part):
                found.append(Output(kind, text))
    return tuple(found)


def _parsed(
    number: int, text: str, outputs: tuple[Output, ...] = (), is_python2: bool | None = None
) -> Cell:
    magic, _ = cell_magic(text)
    if not is_python(magic):
        return Cell(number, text, None, f"%%{magic}", outputs, is_python2 is True)
    problem = ""
    for candidate, is_old in _candidates(text):
        if is_old and is_python2 is False:
            continue  # it ended in an error there
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as invalid escapes in its texts
                tree = ast.parse(candidate)
                _keep_lines(tree, text, candidate)
                _join_lines(tree, candidate)
                ast.increment_lineno(tree, number * CELL_LINES)
        except _PARSER_ERRORS as error:
            problem = problem or _described(error)
            continue
        return Cell(number, text, tree, "", outputs, is_python2 is True or is_old)
    return Cell(number, text, None, problem, outputs, is_python2 is True)


def _keep_lines(tree: ast.Module, text: str, candidate: str) -> None:
    """Give each statement that was read as another one the line that the cell has, as `written`."""
    if candidate == text:
        return
    lines = [[line.strip() for line in one.expandtabs().splitlines()] for one in (text, candidate)]
    own = [a if a != b else "" for a, b in zip(*lines, strict=False)]
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.lineno <= len(own) and own[node.lineno - 1]:
            node.written = own[node.lineno - 1]  # type: ignore[attr-defined]


def _join_lines(tree: ast.Module, candidate: str) -> None:
    """Give statements that share a line all of it, as `written`; they have one finding."""
    lines: dict[int, list[ast.stmt]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            lines.setdefault(node.lineno, []).append(node)
    source = candidate.encode().splitlines() if any(len(x) > 1 for x in lines.values()) else []
    for number, nodes in lines.items():
        if len(nodes) > 1 and not any(hasattr(node, "written") for node in nodes):
            start = min(node.col_offset for node in nodes)
            last = max((node.end_lineno or number, node.end_col_offset or 0) for node in nodes)
            parts = source[number - 1 : last[0]]
            parts[-1] = parts[-1][: last[1]]
            text = b" ".join([parts[0][start:], *parts[1:]]).decode(errors="replace")
            for node in nodes:
                node.written = text  # type: ignore[attr-defined]


def _candidates(text: str) -> list[tuple[str, bool]]:
    """Return ways to read a cell, with whether each is Python 2."""
    plain = without_magic(text)
    return [(text, False), (plain, False), (with_print_calls(plain.expandtabs()), True)]


def _described(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    return type(error).__name__
