"""Runs calls on damaged files in forked workers that have imported everything, and says what each
came to.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fuzz.mutations import mutate

OUTCOMES = (
    "worked", "refused", "crash", "hang", "memory", "other exception", "long sentence", "wrote",
)  # fmt: skip
SECONDS = 10.0
MEMORY = 2**30  # bytes beyond what the imports took
BATCH = 100  # inputs of one worker


@dataclass(frozen=True)
class Result:
    """What one input came to: one of `OUTCOMES`, and the sentence, exception or signal."""

    kind: str
    index: int
    seed: str
    outcome: str
    detail: str


def damaged(kind: str, index: int, seed: int, seeds: Path) -> tuple[str, str, bytes]:
    """Input `index` of a kind: the sound file's name, its ending and the damaged bytes."""
    rng = random.Random(f"{seed} {kind} {index}")
    chosen = rng.choice(sorted((seeds / kind).iterdir()))
    return chosen.name, "".join(chosen.suffixes), mutate(kind, chosen, rng)


def run_inputs(
    kind: str, indices: list[int], seed: int, seeds: Path, seconds: float = SECONDS
) -> Iterator[Result]:
    """Results in order. A worker that dies or hangs takes only its own input with it: the next one
    goes on behind.
    """
    while indices:
        done = 0
        for result in _one_worker(kind, indices[:BATCH], seed, seeds, seconds):
            done += 1
            yield result
        indices = indices[done:]


def _one_worker(
    kind: str, indices: list[int], seed: int, seeds: Path, seconds: float
) -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        sys.stdout.flush()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            try:
                _work(kind, indices, seed, seeds, Path(folder), writer)
            finally:
                os._exit(0)
        os.close(writer)
        lines, waiting = os.fdopen(reader, "rb", buffering=0), b""
        current: tuple[int, str] | None = None
        try:
            while True:
                ready, _, _ = select.select([lines], [], [], seconds)
                part = lines.read(65536) if ready else b""
                if not part:
                    break
                *whole, waiting = (waiting + part).split(b"\n")
                for line in whole:
                    message = json.loads(line)
                    if "outcome" in message:
                        current = None
                        yield Result(**message)
                    else:
                        current = message["index"], message["seed"]
        finally:
            if current is not None or waiting:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            lines.close()
        if current is not None:
            hung = ready == []
            cause = f"no answer in {seconds:g} s" if hung else _cause(status)
            yield Result(kind, *current, "hang" if hung else "crash", cause)


def _cause(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.WEXITSTATUS(status)}"


def _work(kind: str, indices: list[int], seed: int, seeds: Path, folder: Path, writer: int) -> None:
    """The worker: announces each input, runs it, and tells the outcome."""
    from fuzz.calls import CALLS

    here, inputs, out = folder / "here", folder / "inputs", folder / "out"
    for place in (here, inputs, out):
        place.mkdir()
    os.chdir(here)
    os.environ["TMPDIR"] = tempfile.tempdir = str(here)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for index in indices:
        name, suffix, content = damaged(kind, index, seed, seeds)
        path = inputs / f"{index}{suffix}"
        path.write_bytes(content)
        _tell(writer, {"index": index, "seed": name})
        outcome, detail = _outcome(CALLS[kind], path, out)
        if left := [place.name for place in (*here.iterdir(), *out.iterdir())]:
            outcome, detail = "wrote", f"{left} ({outcome}: {detail})"
            shutil.rmtree(here, ignore_errors=True)
            here.mkdir()
            os.chdir(here)
        path.unlink()
        _tell(writer, asdict(Result(kind, index, name, outcome, detail)))


def _tell(writer: int, message: dict) -> None:
    line = json.dumps(message).encode() + b"\n"
    while line:
        line = line[os.write(writer, line) :]


def _outcome(call: Callable[[Path, Path], object], path: Path, out: Path) -> tuple[str, str]:
    from signs_lightning.errors import InputError
    from signs_lightning.runtime.image_files import UnreadableImageError

    try:
        call(path, out)
    except (InputError, UnreadableImageError) as error:
        sentence = str(error)
        return (
            "refused" if is_a_sentence(sentence.replace(str(path.parent), "")) else "long sentence"
        ), sentence
    except MemoryError:
        return "memory", traceback.format_exc(limit=-3)
    except BaseException as error:
        return "other exception", f"{type(error).__name__}: {error}"[:500] + traceback.format_exc(
            limit=-4
        )[-1500:]
    return "worked", ""


def is_a_sentence(text: str) -> bool:
    """One line of at most 400 characters, all of which can be shown."""
    return 0 < len(text) <= 400 and text.isprintable()
