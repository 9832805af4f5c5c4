"""How many small faults the tests notice: one operator or constant of the package is changed at a
time.

    python scripts/mutation_score.py --mutants 30 --seed 0

Works in a copy of the tracked files. Each mutant meets the tests that name its module first, then
the rest of the default tier, until one fails; those that survive are to be looked at, and are
either a hole in the tests or the same program (an equivalent mutant).
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("models", "data", "keras_io")
SECONDS = 900.0  # that the tests of one mutant may take; a mutant that hangs has been noticed
OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "//",
    ast.Pow: "*",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.And: "or",
    ast.Or: "and",
}


@dataclass(frozen=True)
class Mutant:
    """A change of one line: the characters from `start` to `end` (0 is the line's first) become
    `text`.

    Attributes:
        file: path below the project's root.
        line: line number, from 1.
        start: byte offset of the first changed character in the line, in UTF-8.
        end: byte offset behind the last one.
        text: what stands there instead.
    """

    file: str
    line: int
    start: int
    end: int
    text: str

    def applied(self, source: str) -> str:
        """The file's text with the change."""
        lines = source.splitlines(keepends=True)
        line = lines[self.line - 1].encode()
        lines[self.line - 1] = (line[: self.start] + self.text.encode() + line[self.end :]).decode()
        return "".join(lines)


def mutants_of(file: str, source: str) -> Iterator[Mutant]:
    """Every change of one operator, number or truth value outside annotations, messages of errors
    and calls of `super`.
    """
    lines = [line.encode() for line in source.splitlines()]
    for node in _code(ast.parse(source)):
        if isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
            text = str(not node.value) if isinstance(node.value, bool) else repr(node.value + 1)
            yield Mutant(file, node.lineno, node.col_offset, node.end_col_offset or 0, text)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield Mutant(file, node.lineno, node.col_offset, node.operand.col_offset, "")
        pairs: list[tuple[ast.AST, ast.AST, ast.AST]] = []
        if isinstance(node, ast.BinOp):
            pairs = [(node.left, node.op, node.right)]
        elif isinstance(node, ast.BoolOp):
            pairs = [(a, node.op, b) for a, b in zip(node.values, node.values[1:], strict=False)]
        elif isinstance(node, ast.Compare):
            pairs = list(
                zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)
            )
        for left, operator, right in pairs:
            line, start, end = left.end_lineno, left.end_col_offset, right.col_offset  # type: ignore[attr-defined]
            if line != right.lineno or type(operator) not in OPERATORS:  # type: ignore[attr-defined]
                continue
            between = lines[line - 1][start:end].decode()
            old = between.strip(" ()")
            if old and between.count(old) == 1:
                yield Mutant(
                    file, line, start, end, between.replace(old, OPERATORS[type(operator)])
                )


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one, less what changes no result: annotations, texts of errors, sizes of
    caches.
    """
    yield node
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "type_params"} or isinstance(
            node, ast.Raise
        ):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _code(child)


def chosen(root: Path, count: int, seed: int) -> list[Mutant]:
    """A seeded choice, the same number from each folder as far as that goes."""
    draw, picked = random.Random(seed), []
    for k, folder in enumerate(FOLDERS):
        files = sorted((root / "signs_lightning" / folder).glob("*.py"))
        found = [m for f in files for m in mutants_of(str(f.relative_to(root)), f.read_text())]
        share = (count - len(picked)) // (len(FOLDERS) - k)
        picked += draw.sample(found, min(share, len(found)))
    return picked


def tests_naming(root: Path, file: str) -> list[str]:
    """The test files that import the mutant's module or lie in a folder of its name; the rest comes
    after them.
    """
    module, folder = Path(file).stem, Path(file).parent.name
    dotted = ".".join(Path(file).with_suffix("").parts)
    files = sorted((root / "tests").rglob("test_*.py"))
    near = [
        p for p in files if dotted in p.read_text() or module in p.stem or p.parent.name == folder
    ]
    return [str(path.relative_to(root)) for path in near]


def noticed_by(root: Path, mutant: Mutant, processes: int) -> str | None:
    """The first test that fails with the mutant in place, or None."""
    path = root / mutant.file
    source = path.read_text()
    path.write_text(mutant.applied(source))
    try:
        for files in (tests_naming(root, mutant.file), []):
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                "-n",
                str(processes),
            ]
            try:
                done = subprocess.run(
                    [*command, "--dist", "loadfile", *files],
                    cwd=root,
                    env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
                    capture_output=True,
                    text=True,
                    timeout=SECONDS,
                )
            except subprocess.TimeoutExpired:
                return "time"
            if done.returncode:
                failed = [
                    line
                    for line in done.stdout.splitlines()
                    if line.startswith(("FAILED", "ERROR"))
                ]
                return failed[0].split(" - ")[0] if failed else "collection"
        return None
    finally:
        path.write_text(source)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--mutants", type=int, default=30, metavar="N", help="how many (default 30)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the choice (default 0)"
    )
    parser.add_argument(
        "--processes", type=int, default=2, metavar="N", help="of pytest at a time (default 2)"
    )
    parser.add_argument("--list", action="store_true", help="only print the changes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "copy"
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        survivors = 0
        mutants = chosen(root, options.mutants, options.seed)
        for number, mutant in enumerate(mutants, 1):
            before = (root / mutant.file).read_text().splitlines()[mutant.line - 1].strip()
            after = (
                mutant.applied((root / mutant.file).read_text())
                .splitlines()[mutant.line - 1]
                .strip()
            )
            print(
                f"{number:>3} {mutant.file}:{mutant.line}\n    - {before}\n    + {after}",
                flush=True,
            )
            if options.list:
                continue
            began = time.perf_counter()
            test = noticed_by(root, mutant, options.processes)
            survivors += test is None
            print(
                f"    {'SURVIVED' if test is None else test} ({time.perf_counter() - began:.0f} s)",
                flush=True,
            )
    if not options.list:
        print(f"{len(mutants) - survivors} of {len(mutants)} noticed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
