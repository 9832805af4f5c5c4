"""Opens a Keras file of any kind and says what is in it: the config, the Keras version, the stored weights.

Formats: https://keras.io/guides/serialization_and_saving/ and, for the older ones,
    `keras/src/legacy/saving/legacy_h5_format.py`.
Only h5py, zipfile and json read; nothing is unpacked to disk, unpickled or evaluated.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import h5py
import numpy as np

from signs_lightning.data.hdf5_checks import check_dataset_header
from signs_lightning.data.hdf5_opening import open_read_only
from signs_lightning.errors import InputError
from signs_lightning.keras_io.hdf5_access import (
    find_group,
    get_array,
    get_member,
    get_names,
    get_text,
    translate_damage,
)
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_type import describe_non_hdf5, is_zip
from signs_lightning.runtime.os_errors import os_error_message, translate_os_errors

MAX_CONFIG_BYTES = (
    64 << 20
)  # the largest of keras.applications, EfficientNetV2L, has a config of 1.2 MB
FREE_BYTES = 64 << 20  # that weights may claim however small their file is
DAMAGED_ZIP = (
    zipfile.BadZipFile,
    NotImplementedError,
    EOFError,
    OSError,
    UnicodeDecodeError,
    zlib.error,
)
MAX_DEPTH = 200  # levels of lists and dicts in a config; a model inside a model adds about four


@dataclass(frozen=True)
class StoredWeight:
    """One array of a file, not read yet.

    Attributes:
        name: what the file calls it, such as "conv2d/kernel:0" or "layers/conv2d/vars/0".
        shape: its shape in Keras's order.
    """

    name: str
    shape: tuple[int, ...]
    dataset: h5py.Dataset

    def read(self) -> np.ndarray:
        """The values, float32 (or float64 where stored so); int64 for counts.

        Raises:
            InputError: a value is NaN or infinite, or the bytes cannot be read.
        """
        name = shorten(self.name)
        check_dataset_header(f"The weight '{name}'", self.dataset)
        try:
            values = self.dataset[()]
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise InputError(
                f"The weight '{name}' cannot be read ({shorten(str(error), 200)}). Fetch or "
                "write the file again."
            ) from error
        values = values.astype(
            np.float32 if values.dtype == np.float16 else values.dtype.newbyteorder("="), copy=False
        )
        if not np.isfinite(values).all():
            raise InputError(
                f"The weight '{name}' has values that are NaN or infinite: its training diverged. "
                "Save an earlier epoch."
            )
        return values


@dataclass(frozen=True)
class KerasFile:
    """What a Keras file holds.

    Attributes:
        path: where it lies.
        kind: "h5" (legacy full model or legacy weights), "weights.h5" (Keras 3) or "keras" (a zip
            of config and weights).
        config: the model as Keras describes it ({"class_name": …, "config": …}), or None for a file
            of weights only.
        keras_version: "2.3.1", "3.15.1", …; None where the file does not say.
    """

    path: Path
    kind: Literal["h5", "weights.h5", "keras"]
    config: dict[str, Any] | None
    keras_version: str | None
    _weights: h5py.Group | None

    @translate_damage()
    def legacy_layers(self) -> dict[str, list[StoredWeight]]:
        """Of kind "h5": the weights of every layer, in the file's order.

        Raises:
            InputError: a group or an array that the file itself lists is missing, or is not what it
                should be.
        """
        group, layers = self._group(), {}
        for name in get_names(group, "layer_names"):
            if name in layers:
                raise InputError(
                    f"The layer name '{shorten(name)}' stands twice in {self.path.name}. Save "
                    "the model again."
                )
            layer = get_member(group, name, h5py.Group)
            layers[name] = [
                StoredWeight(weight, *get_array(layer, weight, f"{name}/{weight}"))
                for weight in get_names(layer, "weight_names")
            ]
        return layers

    @translate_damage()
    def variables(self, path: str) -> tuple[str | None, list[StoredWeight]]:
        """Of kinds "weights.h5" and "keras": a layer's own name, where the file has it, and its weights in order.

        Args:
            path: the layer's group, such as "layers/conv2d_1"; a group that is missing has no
                weights.
        """
        group = self._group()
        if find_group(group, f"{path}/vars") is None:
            return None, []
        variables = get_member(group, f"{path}/vars", h5py.Group)
        name = variables.attrs.get("name")
        names = sorted(variables, key=lambda key: (len(key), key))  # "0", "1", …, "10"
        if names != [str(k) for k in range(len(names))]:
            raise InputError(
                f"'{path}/vars' in {self.path.name} has {shorten(', '.join(names))}, expected "
                "0, 1, …. Save it again."
            )
        weights = [
            StoredWeight(f"{path}/vars/{key}", *get_array(variables, key, f"{path}/vars/{key}"))
            for key in names
        ]
        return name if isinstance(name, str) else None, weights

    @translate_damage()
    def children(self, path: str) -> list[str]:
        """Of kinds "weights.h5" and "keras": the names of the groups in a group, in no particular order."""
        group = self._group()
        return [] if find_group(group, path) is None else list(get_member(group, path, h5py.Group))

    @translate_damage()
    def compiled(self) -> tuple[dict[str, Any], bool]:
        """What the model was compiled with (optimizer or optimizer_config, loss, metrics, …), and whether the optimizer's state is there.

        A configuration that is no such thing counts as none: nothing here depends on it.
        """
        if self._weights is None or self.config is None:
            return {}, False
        if self.kind == "keras":
            config = self.config.get("compile_config")
            return config if isinstance(config, dict) else {}, find_group(
                self._weights, "optimizer/vars"
            ) is not None
        root = self._weights.file
        try:
            config = (
                parse_config(get_text(root, "training_config"), self.path.name)
                if "training_config" in root.attrs
                else {}
            )
        except InputError:
            config = {}
        return config, "optimizer_weights" in root

    def check_inflation(self, shapes: Iterable[tuple[int, ...]]) -> None:
        """Refuses weights, of Keras's shapes, that claim far more memory than the file could hold; before any is taken."""
        claimed, size = 4 * sum(map(math.prod, shapes)), self.path.stat().st_size
        if claimed > FREE_BYTES + 100 * size:  # weights shrink by a few per cent
            raise InputError(
                f"The weights in {self.path.name} claim to take {claimed:,} bytes, and the file "
                f"has {size:,}. Do not trust this file."
            )

    def _group(self) -> h5py.Group:
        if self._weights is None:
            raise InputError(
                f"{self.path.name} has a model but no weights. Save it with "
                "`model.save` and use that file."
            )
        return self._weights


@contextmanager
def open_keras_file(path: str | Path) -> Iterator[KerasFile]:
    """Opens a file that Keras 2.0 to 3.x wrote: a whole model (`.h5`, `.keras`) or weights only (`.h5`, `.weights.h5`).

    Args:
        path: the file; what it is, is told from its content.

    Raises:
        InputError: it is no such file, or a damaged or a malicious one.
    """
    path = Path(path)
    with translate_os_errors(path):
        if not path.exists():
            raise InputError(
                f"{path} does not exist. Name a Keras file: .h5, .weights.h5 or .keras."
            )
        is_archive = path.is_file() and is_zip(path)
        impostor = None if is_archive else describe_non_hdf5(path)
    if is_archive:
        with _open_archive(path) as file:
            yield file
        return
    if impostor is not None:
        raise InputError(f"{path.name} is not a Keras file but {impostor}")
    with _open_h5(path, path.name) as root:
        yield _describe_h5(path, root)


@translate_damage()
def _describe_h5(path: Path, root: h5py.File) -> KerasFile:
    if "model_config" in root.attrs:
        if find_group(root, "model_weights") is None:
            weights = root if "layer_names" in root.attrs else None
        else:
            weights = get_member(root, "model_weights", h5py.Group)
        config = parse_config(get_text(root, "model_config"), path.name)
        version = next(
            (
                get_text(g, "keras_version")
                for g in (root, weights)
                if g and "keras_version" in g.attrs
            ),
            None,
        )
        return KerasFile(path, "h5", config, version, weights)
    if "layer_names" in root.attrs or "layer_names0" in root.attrs:
        version = get_text(root, "keras_version") if "keras_version" in root.attrs else None
        return KerasFile(path, "h5", None, version, root)
    if "layers" in root or "_layer_checkpoint_dependencies" in root:
        return KerasFile(path, "weights.h5", None, "3", root)
    raise InputError(
        f"{path.name} is an HDF5 file with "
        f"{shorten(', '.join(map(repr, list(root)[:5])), 100) or 'nothing'} "
        "in it, not a Keras model: "
        "no model_config and no layer_names. Name a file that Keras's save or save_weights wrote."
    )


@contextmanager
def _open_archive(path: Path) -> Iterator[KerasFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, path.name)
            config = parse_config(_entry(archive, "config.json", path.name), path.name)
            metadata = parse_config(_entry(archive, "metadata.json", path.name), path.name)
            version = metadata.get("keras_version")
            if version is not None and not isinstance(version, str):
                raise InputError(
                    f"keras_version in {path.name} is {shorten(repr(version))}, expected text "
                    "such as '3.15.1'."
                )
            with (
                _weights_stream(archive, path.name) as stream,
                _open_h5(stream, f"model.weights.h5 in {path.name}") as root,
            ):
                yield KerasFile(path, "keras", config, version, root)
    except DAMAGED_ZIP as error:
        if refusal := os_error_message(error, path):
            raise refusal from error
        reason = shorten(str(error) or type(error).__name__, 100)
        raise InputError(
            f"{path.name} is a damaged zip archive ({reason}). Fetch or write the file again."
        ) from error


def _check_entries(archive: zipfile.ZipFile, name: str) -> None:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    for entry in entries:
        parts = entry.filename.replace("\\", "/").split("/")
        if entry.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise InputError(
                f"{name} has an entry {shorten(repr(entry.filename))} that points outside the "
                "archive. Do not trust this file."
            )
        if entry.flag_bits & 1:
            raise InputError(
                f"{name} is encrypted ({shorten(entry.filename)}). Save it without a password."
            )
        if entry.file_size > max(
            MAX_CONFIG_BYTES, 100 * entry.compress_size
        ):  # weights shrink by a few per cent
            raise InputError(
                f"{name} has an entry {shorten(repr(entry.filename))} of "
                f"{entry.compress_size:,} bytes that claims to unpack to "
                f"{entry.file_size:,}: a zip bomb. Do not trust this file."
            )
    if len(set(names)) < len(names):
        raise InputError(
            f"{name} has two entries of one name ({shorten(max(names, key=names.count))}). Save "
            "the model again."
        )
    if missing := {"config.json", "metadata.json", "model.weights.h5"} - set(names):
        raise InputError(
            f"{name} is a zip archive without {', '.join(sorted(missing))}: not a .keras file. "
            "Name a Keras file."
        )


def _entry(archive: zipfile.ZipFile, entry: str, name: str) -> bytes:
    size = archive.getinfo(entry).file_size
    if size > MAX_CONFIG_BYTES:
        raise InputError(
            f"{entry} in {name} has {size:,} bytes, expected at most "
            f"{MAX_CONFIG_BYTES:,}. Do not trust it."
        )
    return archive.read(entry)


def _weights_stream(archive: zipfile.ZipFile, name: str) -> BinaryIO:
    entry = archive.getinfo("model.weights.h5")
    if entry.compress_type == zipfile.ZIP_STORED:  # as Keras writes it: read in place
        return archive.open(entry)  # type: ignore[return-value]  # seekable, unlike typeshed's IO[bytes] of a zip
    return BytesIO(
        archive.read(entry)
    )  # HDF5 jumps about, which would unpack a deflated entry again and again


@contextmanager
def _open_h5(file: Path | BinaryIO, name: str) -> Iterator[h5py.File]:
    try:
        root = open_read_only(file) if isinstance(file, Path) else h5py.File(file, "r")
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{name} cannot be opened as HDF5 ({shorten(str(error), 150)}). Fetch "
            "or write the file again."
        ) from error
    with root:
        yield root


def parse_config(content: str | bytes, name: str) -> dict[str, Any]:
    """JSON text of a file → dict, refusing what is too deep to be a model.

    Raises:
        InputError: not JSON, not a dict, or nested deeper than any model.
    """
    try:
        config = json.loads(content)
    except RecursionError:
        raise InputError(
            f"The config of {name} is nested too deeply for a model. Do not trust this file."
        ) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"The config of {name} is not JSON ({error}). Fetch or write the file again."
        ) from error
    level: list[Any] = [config]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise InputError(
            f"The config of {name} is nested more than {MAX_DEPTH} levels deep. "
            "Do not trust this file."
        )
    if not isinstance(config, dict):
        raise InputError(
            f"The config of {name} is a {type(config).__name__}, expected an object with "
            "'class_name'."
        )
    return config
