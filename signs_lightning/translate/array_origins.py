"""Where the arrays of a source come from, and which rows of it they have."""

from __future__ import annotations

from dataclasses import dataclass

from signs_lightning.translate.values import Place, Value


@dataclass(frozen=True)
class Origin:
    """Where an array comes from.

    Attributes:
        kind: "hdf5", "npz", "csv", "folder", "keras" (its data sets), "helper" (of the course),
            "code" (a function that is not at hand, or a loop), "random", or "" for none of these.
        place: the statement that reads it.
        file: path of the file or folder; a name of keras.datasets or of the helper.
        key: dataset in the file.
        role: "train", "val", "test", or "" where that is not told.
        content: "images", "labels", "names", or "".
    """

    kind: str
    place: Place
    file: Value = None
    key: str = ""
    role: str = ""
    content: str = ""


@dataclass(frozen=True)
class Rows:
    """Which of the rows of a file an array has.

    Attributes:
        how: "random" for a shuffled split, "first" or "last" for a share at an end, "some" else.
        share: of the rows of before, None where it is not known.
        place: the statement that chooses them.
        is_stratified: whether each class has its share.
    """

    how: str
    share: float | None
    place: Place
    is_stratified: bool = False

    def is_other(self, rows: Rows) -> bool:
        """Return whether these certainly are another share than others taken likewise."""
        shares = (self.share, rows.share)
        return None not in shares and self.share != rows.share
