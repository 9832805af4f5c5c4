"""Work on files that may crash or hang the C libraries that read them, done in a process of its own.

HDF5 is written in C, and a damaged or malicious file can make it abort, run into a bad address or never come back. In a child process with
a limit on time and memory that is one sentence instead of the end of the program.
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

SECONDS = 60.0  # a child may take
MEMORY = 16 * 2**30  # bytes of address space that it may take, the mapped libraries included


def run_guarded(function: str, *args: Any, about: str = "the file", seconds: float = SECONDS, **kwargs: Any) -> Any:
    """Calls a function in a new Python process and gives back what it returns.

    The child imports only the module that the function lies in, so a light module starts in a tenth of a second.

    Args:
        function: where it lies, such as "signs_lightning.inspect.kinds:examine".
        args: its arguments, anything that pickles.
        about: what messages call the file that is read.
        seconds: time limit.
        kwargs: its arguments by name.

    Returns:
        What the function returned.

    Raises:
        InputError: the function's own, with its message; or one that says that the child crashed, ran out of time or memory, or failed.
    """
    with tempfile.TemporaryDirectory(prefix="signs_lightning-") as folder:  # private to this user
        answer = Path(folder) / "answer"
        request = pickle.dumps((str(answer), function, args, kwargs))
        places = [place or os.getcwd() for place in sys.path]  # the child finds what this process finds
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "signs_lightning.guarded"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # where HDF5 and the C library print what they died of
            env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        )
        try:
            process.communicate(request, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{about} was given up after {seconds:g} s: reading it did not end. "
                "It is damaged, or larger than this time allows."
            ) from None
        finally:
            process.kill()
            process.wait()
        if not answer.is_file():
            raise InputError(
                f"{about} crashed the library that reads it ({_cause(process.returncode)}). "
                "It is damaged or malicious; fetch or write it again."
            )
        kind, value = pickle.loads(answer.read_bytes())
    if kind == "refused":
        raise InputError(value)
    if kind == "memory":
        raise InputError(
            f"{about} asks for more than {MEMORY / 2**30:g} GiB of memory. It is damaged or malicious; fetch or write it again."
        )
    if kind == "failed":
        raise InputError(f"{about} cannot be read ({value}). Fetch or write it again.")
    return value


def _cause(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _limit() -> None:
    """Bounds the memory of this process and keeps it from writing a core file; nothing where the system has no such limits."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard), hard))


def _serve() -> None:
    """The child: reads what to call, calls it, and leaves the answer as one file that appears whole."""
    place, function, args, kwargs = pickle.loads(sys.stdin.buffer.read())  # from our parent, nobody else
    _limit()
    module, _, name = function.partition(":")
    try:
        answer = pickle.dumps(("value", getattr(importlib.import_module(module), name)(*args, **kwargs)))
    except InputError as error:
        answer = pickle.dumps(("refused", str(error)))
    except MemoryError:
        answer = pickle.dumps(("memory", None))
    except Exception as error:
        answer = pickle.dumps(("failed", f"{type(error).__name__}: {error}".partition("\n")[0][:200]))
    temporary = Path(f"{place}.writing")
    temporary.write_bytes(answer)
    os.replace(temporary, place)


if __name__ == "__main__":
    _serve()
