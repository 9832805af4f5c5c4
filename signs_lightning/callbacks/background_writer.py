"""One thread that writes files while training goes on."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread


class BackgroundWriter:
    """Do one job at a time on a thread of its own; the next one waits for it.

    The interpreter waits for the thread before it ends.
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def start(self, job: Callable[[], None]) -> None:
        """Begin a job as soon as the one before it is done.

        Args:
            job: called on the thread; what it reads must not change meanwhile.

        Raises:
            Exception: what the job before it has raised.
        """
        self.finish()
        self._thread = Thread(target=self._run, args=(job,), name="checkpoint")
        self._thread.start()

    def finish(self) -> None:
        """Wait for the job that is under way.

        Raises:
            Exception: what a job has raised.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def check(self) -> None:
        """Raise what a job has raised so far; it costs nothing and is raised once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            self._error = error
