"""Labelled pictures of every class, the first thing to look at in a data set."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.data.hdf5_storage_readers import ImageReader
from signs_lightning.runtime.atomic_write import atomic_write
from signs_lightning.runtime.display import to_grey_or_rgb
from signs_lightning.runtime.escaping import shorten

MAX_CLASSES = 48  # in one picture of samples
MAX_PIXELS = 160  # height and width of a sample in it


def draw_data_samples(path: str, options: dict[str, Any], output: str, per_class: int = 8) -> int:
    """Draw the first pictures of every class of a data file, as a PNG.

    Args:
        path: the HDF5 file.
        options: how it is read, see `check_file`, as far as it was given.
        output: the PNG.
        per_class: pictures of each class.

    Returns:
        The number of classes that are drawn: all, or the first `MAX_CLASSES`.

    Raises:
        InputError: the file cannot be used, or the PNG cannot be written.
    """
    images = check_file(path, **options).as_bytes()
    classes = min(images.num_classes, MAX_CLASSES)
    indices = [np.flatnonzero(images.labels == k)[:per_class] for k in range(classes)]
    chosen = np.concatenate(indices)
    reader = ImageReader(images)
    pictures = np.stack([_reduce(reader.read(index, index + 1)[0]) for index in chosen.tolist()])
    counts = np.bincount(images.labels, minlength=images.num_classes)[:classes]
    names = images.class_names or [str(k) for k in range(classes)]
    titles = [f"{name} ({count})" for name, count in zip(names, counts, strict=False)]
    columns = 1 if classes < 4 else 2
    per_class = min(per_class, max(4, int(counts.max())))  # no empty paper
    draw_samples(pictures, images.labels[chosen], titles, Path(output), per_class, columns)
    return classes


def _reduce(picture: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 1 or 3), scaled down where it is larger than it is drawn."""
    picture = to_grey_or_rgb(picture)
    height, width, channels = picture.shape
    if max(height, width) <= MAX_PIXELS:
        return picture
    scale = MAX_PIXELS / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
    return np.asarray(image.resize(size, Image.Resampling.BOX)).reshape(size[1], size[0], channels)


def draw_samples(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: list[str],
    path: Path,
    per_class: int = 8,
    columns: int = 1,
) -> None:
    """Draw the first pictures of each class in a row of its own, as a PNG.

    Args:
        images: uint8 (N, H, W, C) in 0..255, C of 1 or 3.
        labels: int64 (N,) in 0..K-1.
        class_names: the K names.
        path: the PNG to write; it appears whole or not at all.
        per_class: pictures in a row.
        columns: classes side by side.
    """
    rows = -(-len(class_names) // columns)
    aspect = min(max(images.shape[2] / images.shape[1], 0.4), 2.5)
    width = 0.75 * per_class * aspect  # inches of a row
    figure = Figure(figsize=(columns * (width + 0.4), 0.95 * rows), dpi=96, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.04)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()  # the last one may be left over
    for k, (name, axes) in enumerate(zip(class_names, grid.flat, strict=False)):
        chosen = images[labels == k][:per_class]
        strip = np.full((images.shape[1], per_class * images.shape[2], 3), 255, np.uint8)
        if len(chosen):
            filled = np.concatenate(list(chosen), axis=1)  # (H, n * W, C)
            strip[:, : filled.shape[1]] = filled
        axes.imshow(strip, interpolation="lanczos")
        title = shorten(name, int(width / 0.075))
        axes.set_title(title, fontsize=9, loc="left", pad=2, parse_math=False)  # names may have a $
    with atomic_write(path) as temporary, warnings.catch_warnings():
        # A font may lack a script; a box is drawn then.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(temporary, format="png")
