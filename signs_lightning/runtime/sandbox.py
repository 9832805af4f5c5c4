"""A child process for files that may crash or hang the libraries that read them.

HDF5 is written in C, and a damaged or malicious file can make it abort, access a bad address or
never return. In a child process with limits on time and memory that becomes one sentence instead of
the end of the program.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from signs_lightning.errors import InputError
from signs_lightning.runtime.file_read_errors import os_error_message

MAX_SECONDS = 60.0  # by the clock
MAX_MEMORY = 16 * 2**30  # bytes of address space, mapped libraries included
OUTSIDE_SIGNALS = {"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"}  # no library raises them


def run_sandboxed(
    function: str,
    *args: Any,
    about: str = "the file",
    seconds: float = MAX_SECONDS,
    processor_seconds: int | None = None,
    more_time: str = "Try again when the machine is less busy.",
    **kwargs: Any,
) -> Any:
    """Call a function in a new Python process and return what it returns.

    The child imports only the function's module, so a light module starts in a tenth of a second.

    Args:
        function: its module and name, such as "signs_lightning.inspect.examine_file:examine".
        args: its arguments, anything that pickles.
        about: what messages call the file that is read.
        seconds: time limit by the clock; a busy machine or a slow disk can exceed it with a sound
            file, too.
        processor_seconds: limit of the child's own computing time, or None.
        more_time: what to do if the limit by the clock was too short.
        kwargs: its arguments by name.

    Raises:
        InputError: the function's own, with its message; or one that says that the child crashed,
            ran out of time or memory, or failed.
    """
    try:
        work = (function, args, kwargs)
        kind, value = _run_child(about, seconds, processor_seconds, more_time, work)
    except OSError as error:  # in this process, before the child began
        raise os_error_message(error, about) or InputError(
            f"{about} was not read, because no process could be started for it ({error}). The "
            "file may be fine: try again."
        ) from error
    if kind == "refused":
        raise InputError(value)
    if kind == "memory":
        raise InputError(
            f"{about} asks for more memory than there is for it ({value / 2**30:.3g} GiB at most). "
            "Close other programs and try again; do not trust a file that should need little."
        )
    if kind == "failed":
        raise InputError(f"{about} cannot be read ({value}). Fetch or write it again.")
    return value


def _run_child(
    about: str, seconds: float, processor_seconds: int | None, more_time: str, work: tuple[Any, ...]
) -> tuple[str, Any]:
    """Return "value", "refused", "memory" or "failed" from the child, with details."""
    with tempfile.TemporaryDirectory(prefix="signs_lightning-") as folder:  # private to this user
        answer = Path(folder) / "answer"
        paths = [path or os.getcwd() for path in sys.path]  # the child imports from the same places
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "signs_lightning.runtime.sandbox"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # HDF5 and the C library print there what they died of
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )
        request = pickle.dumps((str(answer), about, processor_seconds, *work))
        try:
            process.communicate(request, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{about} was given up after {seconds:g} s. The file may be fine and the machine "
                f"busy, or the file large. {more_time}"
            ) from None
        finally:
            process.kill()
            process.wait()
        if not answer.is_file():
            raise InputError(f"{about} {explain_exit(process.returncode, processor_seconds)}")
        return pickle.loads(answer.read_bytes())


def explain_exit(code: int, processor_seconds: int | None) -> str:
    """Return why a child left no answer, to follow the file's name."""
    cause = f"exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            cause = signal.Signals(-code).name
    if cause == "SIGXCPU":
        limit = f"was given up after {processor_seconds} s of computing: reading it does not end"
        return f"{limit}. Fetch or write it again."
    if code >= 0 or cause in OUTSIDE_SIGNALS:
        return (
            f"was not read to its end: the process that did so was ended from outside ({cause}). "
            "The file may be fine. Look whether there is memory to spare, and room in "
            f"{tempfile.gettempdir()}, then try again."
        )
    return (
        f"crashed the library that reads it (signal {cause}). It is damaged or malicious; "
        "fetch or write it again."
    )


def limit_resources(processor_seconds: int | None) -> int:
    """Limit memory, time and core files of this process; return the memory's bytes."""
    most = MAX_MEMORY
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = min(limit for limit in (MAX_MEMORY, soft, hard) if limit != resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    if processor_seconds is not None:
        limit_processor_time(processor_seconds)
    return most


def limit_processor_time(seconds: int) -> None:
    """End this process by SIGXCPU once it has computed for so long from now on."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        used = math.ceil(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, hard))


def _serve() -> None:
    """Call the function that the parent asks for, and write the answer to a file."""
    request = sys.stdin.buffer.read()  # from the parent process only
    path, about, processor_seconds, function, args, kwargs = pickle.loads(request)
    most = limit_resources(processor_seconds)
    module, _, name = function.partition(":")
    try:
        called = getattr(importlib.import_module(module), name)
        gc.freeze()
        gc.enable()
        value = called(*args, **kwargs)
        answer = pickle.dumps(("value", value))
    except InputError as error:
        answer = pickle.dumps(("refused", str(error)))
    except MemoryError:
        answer = pickle.dumps(("memory", most))
    except Exception as error:
        if refusal := os_error_message(error, getattr(error, "filename", None) or about):
            answer = pickle.dumps(("refused", str(refusal)))
        else:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            answer = pickle.dumps(("failed", reason))
    temporary = Path(f"{path}.writing")
    temporary.write_bytes(answer)
    os.replace(temporary, path)


if __name__ == "__main__":
    gc.disable()  # what is imported stays
    _serve()
    os._exit(0)  # the answer is there, and nothing has to be taken apart
