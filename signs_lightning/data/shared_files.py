"""Files that serve for two roles of a run, by whatever name."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path

from signs_lightning.data.file_roles import RoleFiles
from signs_lightning.data.folder_cache import find_role_folder
from signs_lightning.data.hdf5_image_set import find_images_key
from signs_lightning.data.layouts import Role
from signs_lightning.data.paths import identify_files
from signs_lightning.errors import InputError


def find_shared_images(files: RoleFiles, first: Role, second: Role) -> str | None:
    """Return the name of the first file whose same images two roles take, or None."""
    names = _identify_role(files, first)
    for identity, name in _identify_role(files, second).items():
        if identity not in names:
            continue
        keys = set()
        for role in (first, second) if os.path.isfile(name) else ():
            with contextlib.suppress(InputError):  # reported where the role is opened
                keys.add(find_images_key(Path(name), files.keys(role)))
        if len(keys) < 2:
            other = names[identity]
            return name if name == other else f"{name}, which is {other} under another name,"
    return None


def _identify_role(files: RoleFiles, role: Role) -> dict[tuple[int, int], str]:
    """Return device and inode → name of a role's files, and of its folders of pictures."""
    names = list(identify_files(files.files[role]).values())
    with contextlib.suppress(InputError):
        places = [find_role_folder(Path(x), role) if os.path.isdir(x) else x for x in names]
        return identify_files(places)
    return {}


def warn_of_shared_files(files: RoleFiles, stage: str, is_split: bool) -> None:
    """Warn of figures from images that trained the model or chose its checkpoint.

    Args:
        files: the files of the run.
        stage: what is being set up: "fit", "validate", "test" or "predict".
        is_split: whether validation is a part of the training file.
    """
    validated: Role = "test" if files.files["val"] is None else "val"
    no_meaning = "the test figures mean nothing"
    chosen_by = "the test figures are of images that chose the checkpoint"
    pairs: list[tuple[Role, Role, str, str]] = []
    if stage in ("fit", "validate") and not is_split:
        consequence = "the validation figures mean nothing"
        pairs.append(("train", validated, "training and for validation", consequence))
    if stage in ("test", "predict") or (stage == "fit" and (is_split or validated == "val")):
        pairs.append(("train", "test", "training and for the test", no_meaning))
        pairs.append(("val", "test", "validation and for the test", chosen_by))
    for first, second, purposes, consequence in pairs:
        if name := find_shared_images(files, first, second):
            warnings.warn(f"{name} serves for {purposes}: {consequence}.", stacklevel=4)
