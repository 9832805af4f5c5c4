"""Work on files that may crash or hang the C libraries that read them, done in a process of its own.

HDF5 is written in C, and a damaged or malicious file can make it abort, run into a bad address or
never come back. In a child process with a limit on time and memory that is one sentence instead of
the end of the program.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.runtime.os_errors import os_error_message

MAX_SECONDS = 60.0  # a child may take
MAX_MEMORY = 16 * 2**30  # bytes of address space that it may take, the mapped libraries included


ENDED_FROM_OUTSIDE = {
    "SIGKILL",
    "SIGTERM",
    "SIGINT",
    "SIGHUP",
    "SIGQUIT",
}  # none of them comes from a library that crashes


def run_sandboxed(
    function: str,
    *args: Any,
    about: str = "the file",
    seconds: float = MAX_SECONDS,
    processor_seconds: int | None = None,
    more_time: str = "Try again when the machine is less busy.",
    **kwargs: Any,
) -> Any:
    """Calls a function in a new Python process and gives back what it returns.

    The child imports only the module that the function lies in, so a light module starts in a tenth
    of a second.

    Args:
        function: where it lies, such as "signs_lightning.inspect.file_kinds:examine".
        args: its arguments, anything that pickles.
        about: what messages call the file that is read.
        seconds: time limit by the clock, which passes for sound files, too, on a machine that is
            busy or a disk that is slow.
        processor_seconds: time limit of the child's own computing, which other programs do not use
            up.
        more_time: what to do where the clock's limit was too short.
        kwargs: its arguments by name.

    Returns:
        What the function returned.

    Raises:
        InputError: the function's own, with its message; or one that says that the child crashed,
            ran out of time or memory, or failed.
    """
    try:
        kind, value = _outcome(
            about, seconds, processor_seconds, more_time, (function, args, kwargs)
        )
    except OSError as error:  # of ours, before the child had begun
        raise os_error_message(error, about) or InputError(
            f"{about} was not read, because no process could be started for it ({error}). The "
            "file may be fine: try again."
        ) from error
    if kind == "refused":
        raise InputError(value)
    if kind == "memory":
        raise InputError(
            f"{about} asks for more memory than there is for it ({value / 2**30:.3g} GiB at "
            "most). Close other programs and try again; "
            "do not trust a file that should need little."
        )
    if kind == "failed":
        raise InputError(f"{about} cannot be read ({value}). Fetch or write it again.")
    return value


def _outcome(
    about: str, seconds: float, processor_seconds: int | None, more_time: str, work: tuple[Any, ...]
) -> tuple[str, Any]:
    """Has the child do the work: what became of it ("value", "refused", "memory" or "failed"), and what belongs to that."""
    with tempfile.TemporaryDirectory(prefix="signs_lightning-") as folder:  # private to this user
        answer = Path(folder) / "answer"
        places = [
            place or os.getcwd() for place in sys.path
        ]  # the child finds what this process finds
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "signs_lightning.runtime.sandbox"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # where HDF5 and the C library print what they died of
            env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        )
        try:
            process.communicate(
                pickle.dumps((str(answer), about, processor_seconds, *work)), timeout=seconds
            )
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{about} was given up after {seconds:g} s. The file may be fine and the machine "
                f"busy, or the file large. {more_time}"
            ) from None
        finally:
            process.kill()
            process.wait()
        if not answer.is_file():
            raise InputError(f"{about} {_end(process.returncode, processor_seconds)}")
        return pickle.loads(answer.read_bytes())


def _end(code: int, processor_seconds: int | None) -> str:
    """What became of a child that left no answer, to follow the file's name."""
    cause = f"exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            cause = signal.Signals(-code).name
    if cause == "SIGXCPU":
        return (
            f"was given up after {processor_seconds} s of computing: reading it does not end. "
            "Fetch or write it again."
        )
    if code >= 0 or cause in ENDED_FROM_OUTSIDE:
        return (
            f"was not read to its end: the process that did so was ended from outside ({cause}). "
            "The file may be fine. Look whether there "
            f"is memory to spare, and room in {tempfile.gettempdir()}, then try again."
        )
    return (
        f"crashed the library that reads it (signal {cause}). It is damaged or malicious; "
        "fetch or write it again."
    )


def _limit(processor_seconds: int | None) -> int:
    """Bounds memory and computing of this process and keeps it from writing a core file, where the system has such limits.

    Returns:
        The bytes of memory that it may have.
    """
    most = MAX_MEMORY
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = min(limit for limit in (MAX_MEMORY, soft, hard) if limit != resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        if processor_seconds is not None:
            resource.setrlimit(
                resource.RLIMIT_CPU, (processor_seconds, resource.getrlimit(resource.RLIMIT_CPU)[1])
            )
    return most


def _serve() -> None:
    """The child: reads what to call, calls it, and leaves the answer as one file that appears whole."""
    request = sys.stdin.buffer.read()  # from our parent, nobody else
    place, about, processor_seconds, function, args, kwargs = pickle.loads(request)
    most = _limit(processor_seconds)
    module, _, name = function.partition(":")
    try:
        answer = pickle.dumps(
            ("value", getattr(importlib.import_module(module), name)(*args, **kwargs))
        )
    except InputError as error:
        answer = pickle.dumps(("refused", str(error)))
    except MemoryError:
        answer = pickle.dumps(("memory", most))
    except Exception as error:
        if refusal := os_error_message(error, getattr(error, "filename", None) or about):
            answer = pickle.dumps(("refused", str(refusal)))
        else:
            answer = pickle.dumps(
                ("failed", f"{type(error).__name__}: {error}".partition("\n")[0][:200])
            )
    temporary = Path(f"{place}.writing")
    temporary.write_bytes(answer)
    os.replace(temporary, place)


if __name__ == "__main__":
    _serve()
