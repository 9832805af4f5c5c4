"""How images of another size are resized: the options, and what a model remembers of them."""

from __future__ import annotations

from typing import Literal, get_args

from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

Resize = Literal["bilinear", "nearest", "bicubic", "lanczos", "tf-bilinear"]
Fit = Literal["stretch", "crop", "pad"]
# What a model remembers: "legacy" is the way of the first checkpoint formats, "unknown" that of a
# Keras file, which does not tell.
RememberedResize = Literal[Resize, "legacy", "unknown"]
RESIZES, FITS = get_args(Resize), get_args(Fit)
DEFAULT_RESIZE: Resize = "bilinear"
DEFAULT_FIT: Fit = "crop"


def check_resizing(resize: object, fit: object) -> None:
    """Check what a model is made with, or options that are given in Python.

    Raises:
        InputError: one of them has no meaning.
    """
    expected = {"resize": get_args(RememberedResize), "fit": FITS}
    for name, value in (("resize", resize), ("fit", fit)):
        if value is not None and value not in expected[name]:
            raise InputError(
                f"{name} is '{shorten(str(value))}', expected one of {', '.join(expected[name])}."
            )


def choose_resizing(
    remembered: tuple[RememberedResize | None, Fit | None], resize: Resize | None, fit: Fit | None
) -> tuple[RememberedResize | None, Fit | None]:
    """Return what options make of what a model remembers; None is not decided.

    Raises:
        InputError: one has no meaning; or only one is given for a model from Keras, whose file
            tells neither.
    """
    check_resizing(resize, fit)
    before, before_fit = remembered
    if resize is None and fit is None:
        return remembered
    if before == "unknown" and (resize is None or fit is None):
        raise unknown_resize("Only one of --data.resize and --data.fit is given")
    if before in ("legacy", "unknown"):
        before = before_fit = None
    return resize or before or DEFAULT_RESIZE, fit or before_fit or DEFAULT_FIT


def describe_resizing(
    image_size: tuple[int, int, int], resize: RememberedResize | None, fit: Fit | None
) -> str:
    """Return the line of a run whose images are resized."""
    height, width, _ = image_size
    how = "stretched, antialiased" if fit is None else f"--data.resize {resize} --data.fit {fit}"
    return f"Images are resized to {height}×{width} pixels: {how}."


def unknown_resize(found: str) -> InputError:
    """Return the question how a model from Keras resizes, after what makes it necessary."""
    return InputError(
        f"{found}, and the Keras file that the model came from does not tell how its images were "
        "resized. Add `--data.resize nearest --data.fit stretch` if by keras.utils.load_img or "
        "flow_from_directory, `--data.resize tf-bilinear --data.fit stretch` if by "
        "keras.utils.image_dataset_from_directory."
    )
