"""The options that say how data files are read, for the verbs without Lightning's command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def class_names(text: str) -> list[str]:
    """`[cat,dog]` → its parts"""
    return [name.strip() for name in text.strip("[]").split(",")]


def pixels(text: str) -> list[int]:
    """`28,20` or `[28,20]` → height and width"""
    height, width = (int(part) for part in text.strip("[]").split(","))
    return [height, width]


def flag(text: str) -> bool:
    """`true` or `false`"""
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def image_size(text: str) -> tuple[int, int]:
    """`64`, `64,48` or `[64,48]` → height and width in pixels."""
    height, *width = (int(part) for part in text.strip("[]").split(","))
    if len(width) > 1:
        raise ValueError(text)
    return height, (width or [height])[0]


Option = tuple[Callable[[str], Any], str, str]  # type, placeholder, help
READING: dict[str, Option] = {  # by the names of `check_file`'s arguments
    "images_key": (str, "KEY", "dataset of the images, where its name does not tell"),
    "labels_key": (str, "KEY", "dataset of the labels, where its name does not tell"),
    "classes_key": (str, "KEY", "dataset of the class names, where its name does not tell"),
    "labels_file": (str, "FILE", "file of the labels, HDF5 or CSV, where it is another"),
    "label_offset": (int, "N", "added to every label; -1 where they begin at 1"),
    "axes": (str, "AXES", "axes of a stored image: H,W or H,W,C or C,H,W"),
    "follow_links": (flag, "BOOL", "follow HDF5's links and storage that lead out of a file"),
    "value_range": (str, "LOW,HIGH", "numbers that are black and white, or minmax"),
    "row_shape": (pixels, "H,W", "height and width of images in flat rows"),
}
NAMES: dict[str, Option] = {
    "class_names": (class_names, "[A,B]", "names of the classes, where no file lists them")
}
SIZE = "image_size"  # of the verbs that have an option for it
ROLES = ("test", "train", "val")
BY_ROLE = ("images_key", "labels_key", "labels_file")  # these have an option for each role


def add_reading_options(parser: argparse.ArgumentParser, with_names: bool = False) -> None:
    """Add `--data.images_key` and the others.

    Args:
        parser: to add to.
        with_names: whether classes can be named, too: where there is no model that knows them.
    """
    for name, (kind, metavar, text) in (READING | (NAMES if with_names else {})).items():
        flags = [f"--data.{name}"]
        if name in BY_ROLE:
            flags, *others = ([f"--data.{role}_{name}"] for role in ROLES)
            if name != "labels_file":
                flags, others = [f"--data.{name}"], [flags, *others]
            for other in others:  # the same, as messages name it; one of them in --help is enough
                parser.add_argument(*other, dest=name, type=kind, help=argparse.SUPPRESS)
        parser.add_argument(*flags, dest=name, type=kind, metavar=metavar, help=text)


def given_reading_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return those that were given, by the names of `check_file`'s arguments."""
    given = {name: getattr(options, name, None) for name in (*READING, *NAMES, SIZE)}
    return {name: value for name, value in given.items() if value is not None}


def test_data_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return those that were given, by the names of `H5DataModule`'s arguments, for a test file."""
    given = given_reading_options(options)
    of_role = {f"test_{name}": given[name] for name in BY_ROLE if name in given}
    given.pop("labels_file", None)
    return given | of_role  # the keys of a role win over remembered ones
