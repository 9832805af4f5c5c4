"""Count the small faults that tests notice, each a changed operator or constant.

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
from typing import Any

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
    """A change of one line: characters `start` to `end` (from 0) become `text`.

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
    """List every change of one operator, number or truth value.

    Annotations, messages of errors and calls of `super` are left out.
    """
    lines = [line.encode() for line in source.splitlines()]
    for node in _code(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            text = str(not node.value) if isinstance(node.value, bool) else repr(node.value + 1)
            yield Mutant(file, node.lineno, node.col_offset, node.end_col_offset or 0, text)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield Mutant(file, node.lineno, node.col_offset, node.operand.col_offset, "")
        pairs: list[tuple[ast.expr, ast.AST, ast.expr]] = []
        if isinstance(node, ast.BinOp):
            pairs = [(node.left, node.op, node.right)]
        elif isinstance(node, ast.BoolOp):
            pairs = [(a, node.op, b) for a, b in zip(node.values, node.values[1:], strict=False)]
        elif isinstance(node, ast.Compare):
            pairs = list(
                zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)
            )
        for left, operator, right in pairs:
            line, start, end = right.lineno, left.end_col_offset or 0, right.col_offset
            if line != left.end_lineno or type(operator) not in OPERATORS:
                continue
            between = lines[line - 1][start:end].decode()
            old = between.strip(" ()")
            if old and between.count(old) == 1:
                yield Mutant(
                    file, line, start, end, between.replace(old, OPERATORS[type(operator)])
                )


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one, without annotations, error texts and cache sizes."""
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
    """Return a seeded choice, the same number from each folder."""
    draw = random.Random(seed)
    picked: list[Mutant] = []
    for k, folder in enumerate(FOLDERS):
        files = sorted((root / "signs_lightning" / folder).glob("*.py"))
        found = [m for f in files for m in mutants_of(str(f.relative_to(root)), f.read_text())]
        share = (count - len(picked)) // (len(FOLDERS) - k)
        picked += draw.sample(found, min(share, len(found)))
    return picked


def tests_naming(root: Path, file: str) -> list[str]:
    """List the test files that import the mutant's module or share its folder first."""
    module, folder = Path(file).stem, Path(file).parent.name
    dotted = ".".join(Path(file).with_suffix("").parts)
    files = sorted((root / "tests").rglob("test_*.py"))

    def is_near(test: Path) -> bool:
        return dotted in test.read_text() or module in test.stem or test.parent.name == folder

    return [str(test.relative_to(root)) for test in files if is_near(test)]


def noticed_by(root: Path, mutant: Mutant, processes: int) -> str | None:
    """Return the first test that fails with the mutant in place, or None."""
    path = root / mutant.file
    source = path.read_text()
    path.write_text(mutant.applied(source))
    try:
        for files in (tests_naming(root, mutant.file), []):
            command = [
                sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                "-n", str(processes),
            ]  # fmt: skip
            command += ["--dist", "loadfile", *files]
            environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
            options: dict[str, Any] = {"cwd": root, "env": environment, "timeout": SECONDS}
            try:
                done = subprocess.run(command, capture_output=True, text=True, **options)
            except subprocess.TimeoutExpired:
                return "time"
            if done.returncode:
                lines = done.stdout.splitlines()
                failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
                return failed[0].split(" - ")[0] if failed else "collection"
        return None
    finally:
        path.write_text(source)


def main(args: list[str] | None = None) -> int:
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
    options = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "copy"
        command = ["git", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        survivors = 0
        mutants = chosen(root, options.mutants, options.seed)
        for number, mutant in enumerate(mutants, 1):
            source = (root / mutant.file).read_text()
            texts = (source, mutant.applied(source))
            before, after = (text.splitlines()[mutant.line - 1].strip() for text in texts)
            print(f"{number:>3} {mutant.file}:{mutant.line}", flush=True)
            print(f"    - {before}\n    + {after}", flush=True)
            if options.list:
                continue
            began = time.perf_counter()
            test = noticed_by(root, mutant, options.processes)
            survivors += test is None
            seconds = time.perf_counter() - began
            print(f"    {'SURVIVED' if test is None else test} ({seconds:.0f} s)", flush=True)
    if not options.list:
        print(f"{len(mutants) - survivors} of {len(mutants)} noticed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
