"""Check that the working tree gives an earlier commit's figures, to the last bit.

    python scripts/same_as.py BASE

BASE is checked out into a temporary folder. Both trees run the same commands on the CPU, one thread
each, side by side: every configuration, way of reading, two processes, interrupted and resumed
runs, imports, exports. Compared are history.csv and the CSV files of `predict` byte for byte, every
tensor of the checkpoints, and the outputs of exported models. Runs of BASE are resumed, tested and
exported by the working tree. It prints one line a comparison; the exit code is 1 when something
differs, or fails in either tree.

The commands are public ones, so modules and functions may be renamed. Renamed tensors in
checkpoints and renamed configurations are given by `--renamed OLD=NEW`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sameness.cases import Case, all_cases, write_data
from sameness.compare import Renamed, differences

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = (ROOT / "tests/golden", ROOT.parent / "shared/golden")
SHOWN = 2  # differing files that a line names


def options(args: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Compares the working tree with an earlier commit, to the last bit."
    )
    parser.add_argument("base", metavar="BASE", help="the commit to compare with, such as HEAD~1")
    parser.add_argument(
        "--quick", action="store_true", help="some of the comparisons, in under a minute"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="WORD",
        help="comparisons whose name has it, and those that they need",
    )
    parser.add_argument(
        "--renamed",
        nargs="+",
        default=[],
        metavar="OLD=NEW",
        help="part of a tensor's name, or of a configuration's path, in BASE and here",
    )
    found = parser.parse_args(args)
    pairs = [word.partition("=") for word in found.renamed]
    if not all(old and new for old, _, new in pairs):
        parser.error(f"--renamed {' '.join(found.renamed)}: expected OLD=NEW")
    found.renamed = [(old, new) for old, _, new in pairs]
    return found


class Side:
    """One tree, and the process that runs its commands (sameness/side.py)."""

    def __init__(self, tree: Path, folder: Path, places: dict[str, Path], renamed: Renamed) -> None:
        self.tree, self.folder, self.places, self.renamed = tree, folder, places, renamed
        folder.mkdir()
        env = os.environ | {"PYTHONPATH": str(tree), "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
        env |= {"SIGNS_LIGHTNING_CACHE": str(folder / "cache"), "TMPDIR": str(folder)}
        env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.log = folder / "errors.txt"
        with self.log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "scripts/sameness/side.py"), str(tree)],
                cwd=folder,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # so that Ctrl-C reaches this script alone, which ends them
            )

    def place(self, name: str) -> Path:
        """The folder of a case."""
        return self.folder / re.sub(r"\W+", "_", name)

    def start(self, case: Case, before: Path | None) -> None:
        """Begins a case, in a folder of its own that may be a copy of an earlier one's."""
        if before is not None:
            shutil.copytree(before, self.place(case.name))
        else:
            self.place(case.name).mkdir()
        commands = [self._words(command) for command in case.commands]
        job = {"folder": str(self.place(case.name)), "commands": commands}
        line = json.dumps(job | {"stop": case.stop, "processes": case.processes})
        with contextlib.suppress(BrokenPipeError):  # `answer` says why
            print(line, file=self.process.stdin, flush=True)

    def _words(self, command: str) -> list[str]:
        """A command's words, or "python" and its code, with this side's folders in them."""
        words = ["python", command[7:]] if command.startswith("python\n") else shlex.split(command)
        for name, folder in self.places.items():
            words = [word.replace(f"{{{name}}}", str(folder)) for word in words]
        return [self._in_tree(word) for word in words]

    def _in_tree(self, word: str) -> str:
        """Replace a leading {tree} by this side's tree."""
        if not word.startswith("{tree}/"):
            return word
        return f"{self.tree}/{moved(word.removeprefix('{tree}/'), self.renamed, self.tree)}"

    def answer(self) -> str:
        """Waits for the end of the case; what went wrong, or ""."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        return " ".join(self.log.read_text()[-1000:].split()) or "its process ended"

    def end(self) -> None:
        """Ends the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def moved(path: str, renamed: Renamed, tree: Path) -> str:
    """A configuration's path in a tree: as in BASE, or as it is called since."""
    for old, new in renamed:
        if not (tree / path).exists():
            path = path.replace(old, new)
    return path


def configurations(tree: Path) -> dict[str, str]:
    """The text of each configuration of a model that needs no download, by path."""
    found = {
        path.relative_to(tree).as_posix(): path.read_text()
        for path in sorted((tree / "configs").rglob("*.yaml"))
    }
    trained = {name: text for name, text in found.items() if "\nmodel:" in text}
    return {name: text for name, text in trained.items() if "Pretrained" not in text}


def keras_files(golden: Path | None) -> list[str]:
    """The Keras files in the folder of golden files, such as `signs/trained.keras`."""
    files = sorted(golden.glob("s*/*")) if golden else []
    return [f"{file.parent.name}/{file.name}" for file in files if file.suffix in (".h5", ".keras")]


@contextlib.contextmanager
def checked_out(base: str, folder: Path) -> Iterator[Path]:
    """A work tree of the commit, which git forgets afterwards."""
    git = ["git", "-C", str(ROOT), "worktree"]
    try:
        add = [*git, "add", "--detach", str(folder), base]
        done = subprocess.run(add, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"git cannot check out {base}: {done.stderr.strip().splitlines()[-1]}")
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], capture_output=True)


def chosen(cases: list[Case], quick: bool, word: str) -> list[Case]:
    """The cases that are asked for, and those that they need."""
    asked = [case for case in cases if word in case.name and (case.quick or not quick)]
    if not asked:
        names = "; ".join(case.name for case in cases)
        sys.exit(f"--only {word}: no comparison has that in its name; there are {names}")
    needed = {case.after for case in asked} | {cases[0].name}
    return [case for case in cases if case in asked or case.name in needed]


def compare(
    base: Side, here: Side, cases: list[Case], data: Path, renamed: Renamed
) -> Counter[str]:
    """Runs the cases on both sides, one after the other, and prints a line for each."""
    counts: Counter[str] = Counter()
    broken: set[str] = set()  # cases that failed, so that later ones cannot begin from them
    for number, case in enumerate(cases):
        if case.after in broken:
            continue
        for side in (base, here):
            first = side if case.own else base
            side.start(case, first.place(case.after) if case.after else None)
        answers = {"BASE": base.answer(), "what is here": here.answer()}
        failed = [f"{name} failed: {why}" for name, why in answers.items() if why]
        broken |= {case.name} if failed else set()
        found = failed or differences(base.place(case.name), here.place(case.name), renamed)
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        counts["differ" if found else "equal"] += 1
        result = f"differs: {'; '.join(found[:SHOWN])}{more}" if found else "equal"
        print(f"{case.name:<50} {result}", flush=True)
        if number == 0:
            if failed:
                break
            write_data(base.place(case.name), data)
        if case.name not in {later.after for later in cases[number:]}:
            # ResNet50's checkpoints have 283 MB each.
            shutil.rmtree(base.place(case.name))
            shutil.rmtree(here.place(case.name))
    return counts


def main(args: list[str] | None = None) -> int:
    """Compares; returns 1 when anything differs."""
    asked = options(args)
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    golden = next((folder for folder in GOLDEN if (folder / "signs").is_dir()), None)
    onnx = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
    with contextlib.ExitStack() as stack:
        scratch = tempfile.TemporaryDirectory(prefix="same_as-")
        folder = Path(stack.enter_context(scratch)).resolve()
        tree = stack.enter_context(checked_out(asked.base, folder / "tree"))
        places = {"data": folder / "data", "golden": golden or folder}
        sides = []
        for name, place in (("base", tree), ("here", ROOT)):
            sides.append(Side(place, folder / name, places, asked.renamed))
            stack.callback(sides[-1].end)
        theirs, ours = configurations(tree), configurations(ROOT)
        lost = [name for name in theirs if moved(name, asked.renamed, ROOT) not in ours]
        new = ours.keys() - {moved(name, asked.renamed, ROOT) for name in theirs}
        common = {name: text for name, text in theirs.items() if name not in lost}
        cases = chosen(all_cases(common, keras_files(golden), onnx), asked.quick, asked.only)
        counts = compare(sides[0], sides[1], cases, places["data"], asked.renamed)
    for name in lost:
        print(f"{name:<50} differs: it is not here; say how it is called with --renamed OLD=NEW")
    skipped = [(name, "BASE has none") for name in sorted(new)]
    if not golden:
        skipped.append(("golden Keras files", "neither tests/golden nor ../shared/golden is here"))
    if not onnx:
        skipped.append(("exporting to ONNX", "install the extra 'onnx'"))
    for name, why in skipped:
        print(f"{name:<50} skipped: {why}")
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    differing, seconds = counts["differ"] + len(lost), time.monotonic() - started
    print(f"{counts['equal']} equal, {differing} differ: {seconds:.0f} s, {cpu:.0f} s of CPU time")
    return 1 if differing else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
