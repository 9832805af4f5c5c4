"""The command line in forks of this process, which has imported PyTorch and Lightning already: a
process of its own in no time.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import io
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NoReturn, TextIO

import signs_lightning.commands.fit_validate_test  # noqa: F401  imported once, before the forks
from signs_lightning import __main__
from signs_lightning.__main__ import main
from signs_lightning.runtime import sandbox


@dataclass(frozen=True)
class Finished:
    """A command's exit code (negative: the signal that ended it) and what it printed."""

    code: int
    out: str
    err: str


class Fork:
    """A process that runs `python -m signs_lightning ARGS` in a folder; its signals are those of a
    process that a shell starts.

    Attributes:
        pid: its number.
    """

    def __init__(
        self,
        args: Iterable[object],
        folder: Path,
        program: Callable[[list[str]], int] = main,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._files = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115  see `kill`
        self._code: int | None = None
        self._said: tuple[str, str] | None = None
        self.pid = _fork()
        if not self.pid:
            _child([str(arg) for arg in args], folder, program, environment or {}, *self._files)

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float = 300) -> Finished:
        """Waits for its end; one that does not come is an error, and the process is killed."""
        deadline = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        late = self.poll() is None
        self.kill()
        assert not late, f"still running after {seconds} seconds:\n{''.join(self.printed)}"
        assert self._code is not None
        return Finished(self._code, *self.printed)

    @property
    def printed(self) -> tuple[str, str]:
        """What it has printed so far, on either stream."""
        if self._said is not None:
            return self._said
        # `pread`, because the child shares the files' position.
        numbers = [file.fileno() for file in self._files]
        out, err = (os.pread(number, os.fstat(number).st_size, 0) for number in numbers)
        return out.decode(), err.decode()

    def kill(self) -> None:
        """Ends it if it runs still; what it printed stays to be read."""
        self.signal(signal.SIGKILL)
        while self.poll() is None:
            time.sleep(0.001)
        self._said = self.printed
        for file in self._files:
            file.close()


def _fork() -> int:
    """`os.fork`, which filelock refuses for the moment in which another thread takes or gives back
    a lock.
    """
    for _ in range(100):
        try:
            return os.fork()
        except RuntimeError:
            time.sleep(0.05)
    return os.fork()


class GuardedFork:
    """Stands for `subprocess.Popen` in `runtime.sandbox`: a child that has PyTorch already."""

    returncode: int

    def __init__(self, command: list[str], **options: Any) -> None:
        pass  # what it is to do comes with `communicate`

    def communicate(self, request: bytes, timeout: float) -> None:
        def serve(args: list[str]) -> int:
            sys.stdin = SimpleNamespace(buffer=io.BytesIO(request))
            sandbox._serve()
            return 0

        self.returncode = Fork([], Path.cwd(), serve).wait(timeout).code

    def kill(self) -> None:
        pass  # it has ended

    def wait(self) -> None:
        pass


def _child(
    args: list[str],
    folder: Path,
    program: Callable[[list[str]], int],
    environment: dict[str, str],
    out: IO[bytes],
    err: IO[bytes],
) -> NoReturn:
    """Run the program in this new process; never return."""

    def run() -> int:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        # Not pytest's streams.
        sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
        sys.argv = [__main__.__file__, *args]
        os.chdir(folder)
        os.environ.update(environment)
        _as_python_begins()
        return program(args)

    gc.freeze()  # what the parent made is not looked through again
    run_and_exit(run)


def run_and_exit(program: Callable[[], int]) -> NoReturn:
    """Run a program in a fork and end it as Python does; unwinding would run the parent's code."""
    code = 99
    try:
        code = program()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """As Python's own, which pytest has replaced by a list."""
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


def _as_python_begins() -> None:
    """Signals, warnings, logging and exit functions as they are before a program's first line, not
    as pytest has set them.
    """
    faulthandler.disable()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    atexit._clear()
    tempfile.tempdir = None
    warnings.showwarning = _show
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    logging.root.handlers.clear()
    for logger in list(logging.root.manager.loggerDict.values()):
        for handler in getattr(logger, "handlers", []):
            if type(handler) is logging.StreamHandler:
                # setStream would flush a stream that a test has closed.
                handler.stream = sys.stderr
