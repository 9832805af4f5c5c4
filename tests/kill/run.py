"""Interrupts short runs at random moments, goes on with them, and compares their ends with that of
a run which nobody stopped.

    python tests/kill/run.py

The exit code is 1 when a single one ends otherwise. Full disks are small tmpfs, which only root can
mount; elsewhere they are left out.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch

from kill.runs import (
    MODELS,
    End,
    Ended,
    differences,
    drawn_files,
    fit_command,
    halves,
    random_end,
    resume_command,
    run,
    run_folder,
)

AGAIN = 0.3  # share of resumed runs that are interrupted, too


@dataclass
class Trial:
    """A kind of run: its command, and the run that nobody stopped."""

    model: str
    command: list[str]
    whole: Ended
    folder: Path  # the whole run's


@dataclass
class Table:
    """What became of the interrupted runs."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, word: str) -> None:
        self.counts[word] += 1

    def fail(self, text: str) -> None:
        self.failures.append(text)
        print(text, flush=True)


def trials(models: list[str], files: dict[str, Path], scratch: Path) -> list[Trial]:
    """Runs every kind of run once to its end."""
    found = []
    for model in models:
        for number, kind in enumerate(MODELS[model]):
            folder = scratch / f"whole_{model}_{number}"
            command = fit_command(kind, files[model])
            whole = run(command, folder)
            if whole.code:
                raise SystemExit(f"{' '.join(command)}\n{whole.said}")
            finished = run_folder(folder)
            assert finished is not None
            found.append(Trial(model, command, whole, finished))
    return found


def compared(ended: Ended, folder: Path, trial: Trial) -> list[str]:
    """Return what differs between a run's end and the uninterrupted run, one line each."""
    last = run_folder(folder)
    if ended.code or last is None:
        return [f"exit code {ended.code}: {ended.said}"]
    return differences(last, trial.folder)


def interrupted(
    trial: Trial, folder: Path, rng: random.Random, number: int, table: Table, name: str
) -> None:
    """One run, interrupted until chance lets it go, and its comparison."""
    args = trial.command
    moments: list[End] = []
    while not moments or rng.random() < AGAIN:
        end = random_end(trial.whole, rng, number)
        ended = run(args, folder, end)
        if ended.code == 0:  # it was over before the signal came
            if moments:
                break
            shutil.rmtree(folder, ignore_errors=True)
            continue
        moments.append(end)
        table.add("interrupted" if len(moments) == 1 else "interrupted again")
        # -15: before the training began, when nothing can be lost.
        if number == signal.SIGTERM and ended.code != -number:
            said = "Asked to end (SIGTERM)." in ended.said
            if ended.code != 143 or "Traceback" in ended.said or not said:
                table.fail(f"{name}: exit code {ended.code} and\n{ended.said}")
        elif ended.code != -number:
            table.fail(f"{name}: exit code {ended.code} at {end} and\n{ended.said}")
        last = run_folder(folder)
        if last is not None:
            for half in halves(last):
                table.fail(f"{name}: {half} after {end}")
        args = resume_command(folder, trial.command)
        if args is trial.command:
            table.add("before there was a run folder: begun again")
    else:
        ended = run(args, folder)
    unlike = compared(ended, folder, trial)
    # Python's own empty folders vanish with the processes that read ahead, which notice their
    # parent's end some seconds later.
    left = [path.name for path in (folder / "tmp").iterdir() if not path.name.startswith("pymp-")]
    unlike += [f"left {file} among the temporary files" for file in left]
    table.add("the same to the last bit" if not unlike else "different")
    for line in unlike:
        table.fail(
            f"{name} ({trial.folder.parents[2].name}, {', '.join(map(str, moments))}): {line}"
        )


def full_disk(trial: Trial, folder: Path, rng: random.Random, table: Table, name: str) -> None:
    """One run on a disk that fills up somewhere, then on the same disk with room."""
    need = sum(path.stat().st_size for path in trial.folder.rglob("*") if path.is_file()) + 3 * 4096
    need += (trial.folder / "checkpoints/last.ckpt").stat().st_size
    pages = rng.randrange(1, need // 4096)
    folder.mkdir(parents=True)
    (folder / "lightning_logs").mkdir()
    disk = folder / "lightning_logs"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={pages * 4}k", "tmpfs", str(disk)], check=True
    )
    try:
        ended = run(trial.command, folder)
        while ended.code == 0 and pages > 1:  # it had room enough
            subprocess.run(["umount", str(disk)], check=True)
            pages = rng.randrange(1, pages)
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={pages * 4}k", "tmpfs", str(disk)], check=True
            )
            ended = run(trial.command, folder)
        if ended.code:
            table.add("stopped by the full disk")
            lines = [line for line in ended.said.splitlines() if "no room left" in line]
            if (
                ended.code != 2
                or len(lines) != 1
                or "Traceback" in ended.said
                or "Exception ignored" in ended.said
            ):
                table.fail(f"{name} ({pages} pages): exit code {ended.code} and\n{ended.said}")
            last = run_folder(folder)
            for half in halves(last) if last is not None else []:
                table.fail(f"{name} ({pages} pages): {half}")
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        args = resume_command(folder, trial.command)
        if args is trial.command:
            table.add("before there was a run folder: begun again")
        ended = run(args, folder)
        unlike = compared(ended, folder, trial)
        table.add("the same to the last bit" if not unlike else "different")
        for line in unlike:
            table.fail(f"{name} ({trial.folder.parents[2].name}, {pages} pages): {line}")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def can_mount(scratch: Path) -> bool:
    """Whether this process may mount a tmpfs."""
    point = scratch / "mount"
    point.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(point)], capture_output=True
        )
    except OSError:
        return False
    return done.returncode == 0 and subprocess.run(["umount", str(point)]).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="runs ended by SIGKILL")
    parser.add_argument("--terms", type=int, default=20, help="runs ended by SIGTERM")
    parser.add_argument("--disks", type=int, default=20, help="runs on a disk that fills up")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(options.seed)
    bad = 0
    # A TemporaryDirectory would vanish at the end of each fork.
    scratch = Path(tempfile.mkdtemp(prefix="kill."))
    try:
        kinds = trials(options.models.split(","), drawn_files(scratch / "data"), scratch)
        for what, count in (
            ("SIGKILL", options.kills),
            ("SIGTERM", options.terms),
            ("full disk", options.disks),
        ):
            if count and what == "full disk" and not can_mount(scratch):
                print("full disk: left out, because this process may not mount a tmpfs")
                continue
            table = Table()
            for number in range(count):
                trial, folder = kinds[number % len(kinds)], scratch / f"{what}_{number}"
                if what == "full disk":
                    full_disk(trial, folder, rng, table, f"{what} {number}")
                else:
                    interrupted(
                        trial, folder, rng, getattr(signal, what), table, f"{what} {number}"
                    )
                shutil.rmtree(folder, ignore_errors=True)
            if count:
                print(
                    f"{what}: {count} runs; "
                    + ", ".join(f"{n} {word}" for word, n in sorted(table.counts.items()))
                )
            bad += len(table.failures)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
