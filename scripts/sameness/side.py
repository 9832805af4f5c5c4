"""One side of the comparison: a process that forks itself for every command.

`python side.py TREE` takes one job per line from its standard input, as JSON, and answers it with a
line of JSON: what went wrong, or "".
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 300  # that a command may take
TAIL = 1000  # characters of a failed command's output


def stop_at(step: int, number: int) -> None:
    """Sends this process a signal just before an optimizer step, counted from 1."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    steps = iter(range(1, step + 1))

    def count(*_: Any) -> None:
        if next(steps, None) == step:
            os.kill(os.getpid(), number)

    register_optimizer_step_pre_hook(count)


def in_fork(
    verbs: Callable[[list[str]], int], words: list[str], output: str, stop: list[Any] | None
) -> None:
    """Run a command in this forked process and end the process with its exit code."""
    for stream, ending in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{output}.{ending}", os.O_WRONLY | os.O_CREAT, 0o666), stream)
    if stop:
        stop_at(stop[0], signal.Signals[stop[1]])
    if words[0] == "python":
        exec(words[1], {"Path": Path})
        sys.exit(0)
    sys.exit(verbs(words))


def run(verbs: Callable[[list[str]], int], job: dict[str, Any]) -> str:
    """Run the commands of a job in its folder; return what the first failure printed."""
    os.chdir(job["folder"])
    for number, words in enumerate(job["commands"]):
        output = f"{number}-{words[0]}"
        stop = job["stop"] if words is job["commands"][-1] else None
        # Such a `fit` starts further processes from its own command line.
        if job["processes"] and words[0] == "fit":
            with open(f"{output}.err", "w") as file:
                command = [sys.executable, "-m", "signs_lightning", *words]
                code = subprocess.run(command, stdout=file, stderr=file, timeout=SECONDS).returncode
        else:
            args = (verbs, words, output, stop)
            process = multiprocessing.get_context("fork").Process(target=in_fork, args=args)
            process.start()
            process.join(SECONDS)
            process.kill()
            process.join()
            code = process.exitcode or 0
        codes = {"SIGTERM": 128 + signal.SIGTERM, "SIGKILL": -signal.SIGKILL}
        expected = codes[stop[1]] if stop else 0
        if code != expected:
            text = " ".join(Path(f"{output}.err").read_text(errors="replace")[-TAIL:].split())
            return f"{words[0]} ended with {code}, expected {expected}: {text}"
    return ""


def main() -> None:
    """Imports what commands need, then answers jobs until the standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    import signs_lightning
    from signs_lightning.__main__ import main as verbs

    if not Path(signs_lightning.__file__).resolve().is_relative_to(sys.argv[1]):
        sys.exit(f"imported {signs_lightning.__file__}, expected the package in {sys.argv[1]}")
    with contextlib.suppress(SystemExit):  # all that `fit` needs is imported here, once
        verbs(["fit", "--help_all"])
    for line in sys.stdin:
        print(json.dumps(run(verbs, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
