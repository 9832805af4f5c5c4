"""Drawn hands and faces: two small data sets in the course's HDF5 layout.

Nothing is downloaded: the files are drawn on first use, in about three seconds each set, and the
same seed always gives the same pictures.
"""

import os
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from signs_lightning.data.drawing_primitives import Picture
from signs_lightning.data.hdf5_attributes import read_attribute
from signs_lightning.data.hdf5_opening import open_read_only
from signs_lightning.data.synthetic_images import draw_face, draw_hand
from signs_lightning.runtime.cache_folders import cache_folders
from signs_lightning.runtime.file_guard import trust_own_file

FORMAT_VERSION = 1  # part of the file names: raise it whenever the same seed gives other pictures

Classes = npt.NDArray[np.generic]
Draw = Callable[[int, np.random.Generator], Picture]


@dataclass(frozen=True)
class DrawnSigns:
    """Drawn hands that show 0 to 5 fingers, which is the class.

    Each class has 180 training and 20 test images. What varies: which fingers, how far they spread
    and bend, left or right hand, skin, sleeve, rotation, size, place, light and shadow, background
    (plain, gradient or blurred clutter), brightness and pixel noise.

    Args:
        train_size: number of training images; the classes are balanced up to one image.
        test_size: number of test images, none of which is a training image.
        seed: another seed draws other pictures.

    Shape:
        images uint8 (N, 64, 64, 3) in 0..255, RGB; labels int64 (N,) in 0..5; class names int64
        (6,)

    Examples:
        >>> from pathlib import Path
        >>> import h5py
        >>> from signs_lightning import DrawnSigns
        >>> train_file, test_file = DrawnSigns(train_size=12, test_size=6).files(Path("drawn"))
        >>> with h5py.File(train_file) as file:
        ...     file["train_set_x"].shape
        (12, 64, 64, 3)
    """

    train_size: int = 1080
    test_size: int = 120
    seed: int = 0

    def files(self, folder: Path | None = None) -> tuple[Path, Path]:
        """Return the training and the test file, drawn on first use.

        Args:
            folder: of the files; the cache when omitted.
        """
        sizes = self.train_size, self.test_size
        return _files("signs", draw_hand, np.arange(6, dtype=np.int64), sizes, self.seed, folder)


@dataclass(frozen=True)
class DrawnSmiles:
    """Drawn faces, not smiling (0) or smiling (1).

    Each class has 300 training and 75 test images. What varies: mouth (closed or open, more or less
    curved), hair, skin, beard, eyes, gaze, brows, glasses, clothes; tilt, size, place, light and
    shadow, background, brightness and pixel noise. The arguments are as for `DrawnSigns`.

    Shape:
        images uint8 (N, 64, 64, 3) in 0..255, RGB; labels int64 (N,) in 0..1; class names bytes
        (2,)

    Examples:
        >>> from pathlib import Path
        >>> import h5py
        >>> from signs_lightning import DrawnSmiles
        >>> train_file, test_file = DrawnSmiles(train_size=4, test_size=2).files(Path("drawn"))
        >>> with h5py.File(test_file) as file:
        ...     file["list_classes"][:].tolist()
        [b'not smiling', b'smiling']
    """

    train_size: int = 600
    test_size: int = 150
    seed: int = 0

    def files(self, folder: Path | None = None) -> tuple[Path, Path]:
        """Return the training and the test file, drawn on first use.

        Args:
            folder: of the files; the cache when omitted.
        """
        names, sizes = np.array([b"not smiling", b"smiling"]), (self.train_size, self.test_size)
        return _files("smiles", draw_face, names, sizes, self.seed, folder)


def _files(
    name: str, draw: Draw, classes: Classes, sizes: tuple[int, int], seed: int, folder: Path | None
) -> tuple[Path, Path]:
    """Return the training and the test file, in the first folder that takes them."""
    if min(sizes) < len(classes):
        raise ValueError(
            f"train_size and test_size must be at least {len(classes)}, one image per class; "
            f"got {sizes}"
        )
    first_error: OSError | None = None
    for place in cache_folders() if folder is None else (Path(folder),):
        try:
            train, test = (
                _file(place, name, split, draw, classes, size, seed)
                for split, size in enumerate(sizes)
            )
            return train, test
        except OSError as error:
            first_error = first_error or error
    raise first_error or OSError("no folder to write to")


def _file(
    folder: Path, name: str, split: int, draw: Draw, classes: Classes, size: int, seed: int
) -> Path:
    """Return the file if it is whole, else write it and rename it into place."""
    kind = ("train", "test")[split]
    path = folder / f"drawn_{name}_{kind}_{size}_seed{seed}_v{FORMAT_VERSION}.h5"
    if _is_whole(path, kind):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    # A name of its own: other processes may be writing the same file.
    temporary = folder / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:  # a folder without permission fails before drawing
            labels = np.arange(size, dtype=np.int64) % len(classes)
            labels = np.random.default_rng([split, 0, seed]).permutation(labels)
            rngs = (np.random.default_rng([split, i, seed]) for i in range(1, size + 1))
            images = np.stack([draw(int(y), rng) for y, rng in zip(labels, rngs, strict=True)])
            content = BytesIO()
            with h5py.File(content, "w") as h5:  # contiguous: any image can be read alone
                h5[f"{kind}_set_x"] = images
                h5[f"{kind}_set_y"] = labels
                h5["list_classes"] = classes
                h5.attrs["crc32"] = _checksum(images, labels)
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        trust_own_file(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _checksum(images: Picture, labels: np.ndarray) -> int:
    return zlib.crc32(labels.tobytes(), zlib.crc32(images.tobytes()))


def _is_whole(path: Path, kind: str) -> bool:
    try:
        with open_read_only(path) as h5:
            checksum = _checksum(h5[f"{kind}_set_x"][:], h5[f"{kind}_set_y"][:])
            return bool(checksum == read_attribute(h5, "crc32"))
    except Exception:  # absent or damaged: HDF5 raises many kinds of errors
        return False
