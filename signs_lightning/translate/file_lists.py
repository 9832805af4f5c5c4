"""Lists of files and folders, of which only the data know how many there are."""

from __future__ import annotations

import re

from signs_lightning.translate.array_shapes import asked
from signs_lightning.translate.values import Place, Record, Unknown, Value


class FileList(Record):
    """What `glob.glob` or `os.listdir` gives.

    A question names the pattern, as a source counts folders for its classes and files for its
    steps.

    Args:
        function: that made it, for messages.
        pattern: what it was asked for.
    """

    def __init__(self, function: str, pattern: str) -> None:
        self.function, self.pattern = function, pattern
        self.unknown: Unknown | None = None

    def describe(self) -> str:
        return f"{self.function}({self.pattern!r})"

    def item(self, index: Value, place: Place) -> Value:
        return Unknown(f"items of {self.describe()}", place)

    def length(self, place: Place) -> Value:
        words = re.sub(r"\W+", "_", self.pattern.replace("*", " all ")).strip("_")
        reason = f"how many entries {self.describe()} has"
        return self.unknown or asked(reason, place, f"number_of_{words}")

    def taint(self, unknown: Unknown) -> None:
        self.unknown = self.unknown or unknown


def list_files(function: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `glob.glob(pattern)` or `os.listdir(folder)`."""
    pattern = args[0] if len(args) == 1 and not kwargs else None
    return FileList(function, pattern) if isinstance(pattern, str) else NotImplemented
