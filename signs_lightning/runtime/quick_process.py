"""A process of the command line begins and ends without work that changes nothing.

Importing PyTorch and Lightning makes a million objects, all of which stay. Looking for garbage
among them takes 0.6 s while they are imported, and taking them apart at the end takes 1 s.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import NoReturn

_exit_codes: list[int] = []  # of `leave`


def begin() -> None:
    """Collect no garbage until `end_of_imports`, and let `leave` end this process at once.

    Called before anything else: what is registered first is called last, after all that the
    packages which are imported later do at the end.
    """
    gc.disable()
    atexit.register(_end)
    _leave_working_directory()


def _leave_working_directory() -> None:
    """Import nothing from the working directory but what the command line names.

    `python -m` searches it first: a file in a folder from elsewhere would be taken for a package.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:  # it was deleted
        return
    home = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    if sys.path and sys.path[0] in ("", here):
        del sys.path[0]
        if here == home and home not in sys.path:
            sys.path.append(home)  # of this package, which is not installed


def end_of_imports() -> None:
    """Collect garbage from now on, among what is made from now on."""
    gc.freeze()
    gc.enable()


def leave(code: int) -> NoReturn:
    """End this process with an exit code: threads and what packages registered are waited for."""
    _exit_codes.append(code)
    sys.exit(code)


def _end() -> None:
    """End the process here, if all has been done and no code of the user's own was imported.

    Such code may hold open files, which are written when the interpreter takes it apart.
    """
    from signs_lightning.runtime.own_code import is_own_code_imported  # start-up

    if _exit_codes and not is_own_code_imported():
        gc.collect()  # what the run has left: open files are closed
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            pass  # the interpreter says so
        else:
            os._exit(_exit_codes[0])
    gc.unfreeze()
