"""Datasets by their names, also behind links and in other files, as far as they may be followed.

Links inside a file are always followed, and so are the sources of virtual datasets that lie beside
it or below. Everything else that leads to other files is followed only where the user asks for it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py

from signs_lightning.data.hdf5_external_storage import find_external_storage
from signs_lightning.data.hdf5_opening import open_hdf5, open_read_only
from signs_lightning.data.hdf5_virtual import AssembledDataset, map_virtual
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import shorten

MAX_DEPTH = 4  # of links to links, and of virtual datasets made of virtual ones
MAX_LINKS = 1000  # of a file that are looked behind
FOLLOW = "`--data.follow_links true`"


def open_dataset(
    file: h5py.File, key: str, follow_links: bool = False, depth: int = MAX_DEPTH
) -> h5py.Dataset:
    """Return a dataset, which keeps its file open.

    Args:
        file: where the name begins.
        key: its name, which may pass through links.
        follow_links: whether to follow external links, external storage and virtual datasets whose
            sources lie anywhere.
        depth: how many links, or virtual datasets, may lead to each other.

    Raises:
        InputError: it is not there, it is no dataset, or it leads where it must not.
    """
    dataset: Any = _find(file["/"], key, follow_links, depth)
    is_found = isinstance(dataset, h5py.Dataset)
    if is_found and not dataset.is_virtual and not dataset.external:
        return dataset
    where = f"'{shorten(key)}' in {file.filename}"
    if not is_found:
        raise InputError(f"{where} is no dataset, or is not there. Fetch or write the file again.")
    main = Path(dataset.file.filename)
    if dataset.dtype.hasobject:
        raise InputError(
            f"{where} has values of any length in other files, which are not read. Copy it into a "
            "dataset of its own."
        )
    if dataset.is_virtual:

        def open_source(name: str, source_key: str) -> h5py.Dataset:
            if depth <= 1:
                raise _too_deep(where)
            source = dataset.file
            if name != ".":
                path = _find_file(where, main, name.replace("%%", "%"), follow_links)
                source = _open_root(path).file
            return open_dataset(source, source_key, follow_links, depth - 1)

        return AssembledDataset(dataset, map_virtual(where, dataset, open_source))
    if not follow_links:
        raise InputError(
            f"{where} lies in another file, {shorten(dataset.external[0][0], 200)}. Follow it "
            f"with {FOLLOW}, or copy its values into a dataset of their own."
        )
    return AssembledDataset(dataset, find_external_storage(where, dataset))


def linked_datasets(file: h5py.File, follow_links: bool = False) -> dict[str, h5py.Dataset]:
    """Return the datasets behind soft links, by the names of the links.

    With `follow_links` also those behind external links. A link to a group gives every dataset in
    it. What leads nowhere is left out.

    Raises:
        InputError: an external link is to be followed, and there is nothing behind it.
    """
    datasets: dict[str, h5py.Dataset] = {}
    for name in _list_links(file)[:MAX_LINKS]:
        item = _find(file["/"], name, follow_links, MAX_DEPTH, is_listing=True)
        if isinstance(item, h5py.Dataset):
            datasets[name] = item
        elif isinstance(item, h5py.Group):
            inside: dict[str, h5py.Dataset] = {}
            item.visititems(
                lambda key, value, inside=inside: (
                    inside.update({key: value}) if isinstance(value, h5py.Dataset) else None
                )
            )
            datasets |= {f"{name}/{key}": value for key, value in inside.items()}
    return datasets


def list_external_links(file: h5py.File) -> list[str]:
    """Return the names of the links that lead to other files."""
    names = _list_links(file)
    return [name for name in names if isinstance(file.get(name, getlink=True), h5py.ExternalLink)]


def _list_links(file: h5py.File) -> list[str]:
    """Return the names of all soft and external links."""
    names: list[str] = []

    def note(name: bytes, info: h5py.h5l.LinkInfo) -> None:
        if info.type in (h5py.h5l.TYPE_SOFT, h5py.h5l.TYPE_EXTERNAL):
            names.append(name.decode(errors="surrogateescape"))

    file.id.links.visit(note, info=True)
    return names


def _find(
    group: h5py.Group, path: str, follow_links: bool, depth: int, is_listing: bool = False
) -> h5py.HLObject | None:
    """Return what a path leads to, None where it leads nowhere.

    Args:
        group: where the path begins, if not at the root.
        path: names between slashes.
        follow_links: whether to follow external links.
        depth: how many links may lead to each other.
        is_listing: whether what must not be followed is nothing, instead of an error.
    """
    item: h5py.HLObject = group.file["/"] if path.startswith("/") else group
    for name in path.split("/"):
        if name in ("", "."):
            continue
        link = item.get(name, getlink=True) if isinstance(item, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.HardLink):
            item = item[name]
            continue
        where = f"'{shorten(path)}' in {group.file.filename}"
        if depth <= 1:
            if is_listing:
                return None
            raise _too_deep(where)
        if isinstance(link, h5py.ExternalLink):
            if not follow_links and is_listing:
                return None
            if not follow_links:
                raise InputError(f"{where} lies in another file. Follow it with {FOLLOW}.")
            main = Path(item.file.filename)
            item = _open_root(_find_file(where, main, link.filename, follow_links))
        found = _find(item, link.path, follow_links, depth - 1, is_listing)
        if found is None:
            if isinstance(link, h5py.ExternalLink):
                raise InputError(
                    f"{where} is a link to '{shorten(link.path)}' in {item.file.filename}, where "
                    f"it leads nowhere. Fetch or write the two files again."
                )
            return None
        item = found
    return item


def _open_root(path: Path) -> h5py.Group:
    """Return the root of a file, which stays open with it."""
    with open_hdf5(path):  # says what is wrong with it
        return open_read_only(path)["/"]


def _find_file(where: str, main: Path, name: str, follow_links: bool) -> Path:
    """Return the file of a name, beside a file or below unless links are followed.

    Like HDF5, this looks for a file of an absolute name, where that is missing, beside the other.

    Raises:
        InputError: it is missing, or lies elsewhere.
    """
    folders = list(dict.fromkeys([main.parent, main.resolve().parent]))
    places = [Path(name)] if os.path.isabs(name) else [folder / name for folder in folders]
    if os.path.isabs(name):
        places += [folder / Path(name).name for folder in folders]
    found = next((place for place in places if os.path.exists(place)), None)
    if found is None:
        raise InputError(
            f"{where} lies in the file {shorten(name, 200)}, which is missing. Copy it to "
            f"{shorten(str(places[-1]), 200)}."
        )
    is_beside = any(found.resolve().is_relative_to(folder.resolve()) for folder in folders)
    if not is_beside and not follow_links:
        raise InputError(
            f"{where} lies in {shorten(str(found.resolve()), 200)}, which is not in the folder of "
            f"{main}. Follow it with {FOLLOW}, or copy the file there."
        )
    return found


def _too_deep(where: str) -> InputError:
    return InputError(
        f"{where} leads from link to link more than {MAX_DEPTH - 1} times. Copy it into one file."
    )
