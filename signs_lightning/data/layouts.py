"""How public data sets name the images, labels and class names of each role: a table."""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import h5py
import numpy as np

Role = Literal["train", "val", "test"]
ROLES: dict[Role, tuple[str, ...]] = {  # role → its names in keys, and in files' names
    "train": ("training", "train"),
    "val": ("validation", "valid", "val", "dev"),
    "test": ("testing", "test"),
}
ROLE_OF = {name: role for role, names in ROLES.items() for name in names}
WORDS = {  # placeholder of a layout → what may stand there
    "role": "|".join(ROLE_OF),
    "images": "x|images?|imgs?|pictures?|data|features?|inputs?",
    "labels": "y|labels?|targets?|class(?:es)?|categor(?:y|ies)",
    "stem": ".+",
}


class Layout(NamedTuple):
    """One way of naming the images and the labels of a role, below any group.

    An underscore stands for `_`, `-`, `.` or nothing; upper and lower case are the same.
    """

    images: str
    labels: str


LAYOUTS = (  # the first that a file follows is taken; those without {role} hold one role only
    Layout("{role}_set_x", "{role}_set_y"),  # the course's
    Layout("{images}_{role}", "{labels}_{role}"),  # X_train, images_train
    Layout("{role}_{images}", "{role}_{labels}"),  # train_images, train_img, trainX
    Layout("{role}/{images}", "{role}/{labels}"),  # groups, such as USPS has them
    Layout("{images}/{role}", "{labels}/{role}"),
    Layout("{images}", "{labels}"),
    Layout("x_{stem}", "y_{stem}"),
    Layout("{stem}_x", "{stem}_y"),
)
CLASS_KEYS = r"(?:list_)?classes|(?:class|label|category|target)_?names?|categories"


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """Return a layout's template as a pattern for whole keys."""
    text = template.replace("_", "[-_.]" if "{stem}" in template else "[-_.]?")
    for name, words in WORDS.items():
        text = text.replace(f"{{{name}}}", f"(?P<{name}>{words})")
    return re.compile(f"(?P<group>(?:.*/)?){text}", re.IGNORECASE | re.DOTALL)


def place_key(template: str, key: str) -> tuple[str, str, str] | None:
    """Return group, role and stem of a key that follows a template, else None."""
    match = _pattern(template).fullmatch(key)
    if match is None:
        return None
    found = match.groupdict()
    return found["group"].lower(), guess_role(found.get("role") or ""), found.get("stem") or ""


def guess_role(text: str) -> Role | Literal[""]:
    """Return the role that one of the words of a text names, or ""."""
    words = set(re.findall("[a-z]+", text.lower()))
    return next((role for role, names in ROLES.items() if words.intersection(names)), "")


def key_role(key: str) -> Role | Literal[""]:
    """Return the role that a key of images or labels names, or ""."""
    templates = [template for layout in LAYOUTS for template in layout]
    places = [place for template in templates if (place := place_key(template, key))]
    return next((place[1] for place in places if place[1]), "") or guess_role(key)  # type: ignore


def guess_split(key: str, path: Path) -> str:
    """Return the split that the images' key or else the file's name tells, or ""."""
    return guess_role(key) or guess_role(path.stem)


def can_hold_images(dataset: h5py.Dataset) -> bool:
    """Whether a header says images: three or four axes of numbers, or N picture files."""
    shape, dtype = dataset.shape or (), dataset.dtype
    if h5py.check_vlen_dtype(dtype) == np.uint8 or (dtype.kind == "V" and dtype.names is None):
        return len(shape) in (1, 2)
    return len(shape) in (3, 4) and max(shape[1:]) > 1 and dtype.kind in "iuf"


def possible_counts(images: h5py.Dataset) -> set[int]:
    """Return how many images there may be: the length of the first axis, or of the last."""
    shape = images.shape
    return {shape[0], shape[-1]} if shape else set()


def fits_images(labels: h5py.Dataset, counts: set[int]) -> bool:
    """Whether a header says one label, or one row, for each image."""
    return bool(counts.intersection(labels.shape or ()))


def is_one_per_image(dataset: h5py.Dataset, counts: set[int]) -> bool:
    """Whether a dataset has one integer, truth value or word for each image."""
    is_text = dataset.dtype.kind in "SU" or h5py.check_string_dtype(dataset.dtype) is not None
    return math.prod(dataset.shape or (0,)) in counts and (dataset.dtype.kind in "iub" or is_text)


def is_list_of_numbers(dataset: h5py.Dataset) -> bool:
    """Whether a dataset has one axis, of integers or truth values: no images, of whatever kind."""
    return len(dataset.shape or ()) == 1 and dataset.dtype.kind in "iub"


def is_label_name(key: str) -> bool:
    """Whether a name says labels."""
    return any(place_key(layout.labels, key) for layout in LAYOUTS)


def is_class_list(key: str) -> bool:
    """Whether a name says class names."""
    return re.fullmatch(CLASS_KEYS, key.rpartition("/")[2], re.IGNORECASE) is not None
