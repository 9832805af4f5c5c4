"""The images that a source tests on: the file that has them, or why none is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.batches import Batches
from signs_lightning.translate.data_checks import share_of
from signs_lightning.translate.data_settings import DataSettings, set_file, source_of
from signs_lightning.translate.values import Place, Value

if TYPE_CHECKING:
    from signs_lightning.translate.read_source import Reading

FILES = ("hdf5", "npz", "keras", "helper")  # origins whose names tell that images are to test on
FIRST = ("train_", "val_")  # options that stand before those of the test
NOT_TAKEN = "the test file is not taken over; `test --data.test_file` names it"


def settle_files(made: DataSettings, reading: Reading, data_files: dict[str, str]) -> None:
    """Add the file that a source tests on; say nothing of where files are that the user names.

    Args:
        made: what a fit of the chosen model says of its data.
        reading: the source.
        data_files: files that the user names, by option, such as "test_file".
    """
    if "test_file" not in data_files:
        record = None if reading.chosen is None else reading.chosen.record
        evaluated = [] if record is None else record.evaluated
        _add_test_file(made, evaluated, reading.interpretation.namespace)
    for option in data_files:
        made.file_notes.pop(option.removesuffix("_file"), None)


def _add_test_file(made: DataSettings, evaluated: list[Any], namespace: dict[str, Value]) -> None:
    """Set the file to test on; say why where there is one that is not taken."""
    calls = [found for call in evaluated if (found := _batches(*call)) is not None]
    used = [array for array in made.used if isinstance(array, ArrayRecord)]
    sources = [_part_of(array) for array in used]
    for place, batches in [*reversed(calls), *reversed(_loaded(namespace))]:
        images: Any = batches.images
        if _part_of(images) not in sources:
            _take(made, place, batches, used)
            return
        if images.rows and all(images.rows != array.rows for array in used):
            text = f"evaluates on a part of its own of {images.name}, which no option names: "
            text += "save it as HDF5, and give it to `test --data.test_file`"
            made.note(place, text)
            return


def _part_of(array: ArrayRecord) -> tuple[Any, ...]:
    """Return what tells the images of one role in a file or data set from others."""
    return (*source_of(array), array.origin.role)


def _batches(
    place: Place, args: list[Value], kwargs: dict[str, Value]
) -> tuple[Place, Batches] | None:
    """Return what `evaluate` was called with, None for what is no array."""
    given = dict(zip(("x", "y"), args, strict=False)) | kwargs
    images = given.get("x", given.get("generator"))
    batches = images if isinstance(images, Batches) else Batches(images, given.get("y"), 32)
    return (place, batches) if isinstance(batches.images, ArrayRecord) else None


def _loaded(namespace: dict[str, Value]) -> list[tuple[Place, Batches]]:
    """Return the images to test on that a source reads whole, with their labels."""
    arrays = [a for a in namespace.values() if isinstance(a, ArrayRecord) and not a.rows]
    arrays = [a for a in arrays if a.origin.role == "test" and a.origin.kind in FILES]
    found = []
    for images in arrays:
        if images.origin.content == "images":
            same = [a for a in arrays if a.is_labels and a.origin.kind == images.origin.kind]
            labels = next((a for a in same if a.origin.file == images.origin.file), None)
            found.append((images.origin.place, Batches(images, labels, 32)))
    return found


def _take(made: DataSettings, place: Place, batches: Batches, used: list[ArrayRecord]) -> None:
    images: Any = batches.images
    train = used[0] if used else images
    if share_of(images) != 1:
        made.note(place, f"tests on a part of {images.name}: {NOT_TAKEN}")
    elif images.unknown is not None or train.unknown is not None:
        made.note(place, f"what is done to {images.name} is not understood: {NOT_TAKEN}")
    elif (images.scale(), images.size) != (train.scale(), train.size):
        other = "size" if images.size != train.size else "scale"
        made.note(place, f"{images.name} has another {other} than {train.name}: {NOT_TAKEN}")
    else:
        before = made.options
        made.options = {}
        set_file(made, "test", batches, place, True)
        files = {k: v for k, v in before.items() if k.startswith(FIRST) and k != "val_fraction"}
        made.options = files | made.options | {k: v for k, v in before.items() if k not in files}
