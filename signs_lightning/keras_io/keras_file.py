"""Opens a Keras file of any kind: config, Keras version, stored weights.

Formats: https://keras.io/guides/serialization_and_saving/ and, for the older ones,
`keras/src/legacy/saving/legacy_h5_format.py`. Only h5py, zipfile and json read; nothing is
unpickled or evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import h5py
import numpy as np

from signs_lightning.data.hdf5_attributes import has_attribute, read_attribute
from signs_lightning.data.hdf5_opening import open_read_only
from signs_lightning.errors import InputError
from signs_lightning.keras_io import hdf5_access as h5
from signs_lightning.keras_io import keras_archive
from signs_lightning.keras_io.file_errors import damaged_file, inconsistent_model, untrusted_file
from signs_lightning.keras_io.keras_archive import MAX_INFLATION, open_archive, parse_config
from signs_lightning.keras_io.output_compile_config import of_output
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.file_guard import check_file_is_safe
from signs_lightning.runtime.file_read_errors import translate_os_errors
from signs_lightning.runtime.file_signatures import describe_non_hdf5, is_zip, missing_file_message

OLD_ROOT = "_layer_checkpoint_dependencies"  # the group "layers" as tf.keras 2.12 called it
UNREADABLE: dict[str, Any] = {"unreadable": True}  # in place of a compile configuration
FREE_BYTES = 64 << 20  # that weights may claim however small their file is


@dataclass(frozen=True)
class StoredWeight:
    """One array of a file, not read yet.

    Attributes:
        name: what the file calls it, such as "conv2d/kernel:0" or "layers/conv2d/vars/0".
        stored_shape: its shape.
        permutation: its axes in Keras 2's order, None where they are so.
        is_turned: whether the first two axes are then to be reversed, as Theano's kernels are.
    """

    name: str
    stored_shape: tuple[int, ...]
    dataset: h5py.Dataset
    permutation: tuple[int, ...] | None = None
    is_turned: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in Keras 2's order."""
        order = self.permutation or range(len(self.stored_shape))
        return tuple(self.stored_shape[axis] for axis in order)

    def read(self) -> np.ndarray:
        """Return the values, float32 (or float64 where stored so); int64 for counts.

        Raises:
            InputError: a value is NaN or infinite, or the bytes cannot be read.
        """
        name = shorten(self.name)
        try:
            values = self.dataset[()]
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise damaged_file(
                f"The weight '{name}' cannot be read ({shorten(str(error), 200)})"
            ) from error
        if values.dtype == h5.BFLOAT16:  # the upper half of a float32
            values = (values.view("<u2").astype("<u4") << 16).view("<f4")
        is_half = values.dtype == np.float16
        values = values.astype(
            np.float32 if is_half else values.dtype.newbyteorder("="), copy=False
        )
        if not np.isfinite(values).all():
            raise InputError(
                f"The weight '{name}' has values that are NaN or infinite: its training diverged. "
                "Save an earlier epoch."
            )
        values = values if self.permutation is None else values.transpose(self.permutation)
        return values[::-1, ::-1].copy() if self.is_turned else values


@dataclass(frozen=True)
class KerasFile:
    """What a Keras file holds.

    Attributes:
        path: the file.
        kind: "h5" (legacy full model or legacy weights), "weights.h5" (Keras 3) or "keras" (a zip
            of config and weights).
        config: the model as Keras describes it ({"class_name": …, "config": …}), or None for a file
            of weights only.
        keras_version: "2.3.1", "3.15.1", …; None where the file does not say.
        architecture: name of the file that the config was taken from, None where it is this one's.
        outputs: names of the model's outputs, where one of several is taken.
        output: which of them.
        backend: "tensorflow", "theano", …; None where the file does not say.
    """

    path: Path
    kind: Literal["h5", "weights.h5", "keras"]
    config: dict[str, Any] | None
    keras_version: str | None
    _weights: h5py.Group | None
    architecture: str | None = None
    outputs: tuple[str, ...] = ()
    output: int = 0
    backend: str | None = None

    @h5.translate_damage()
    def legacy_layers(self) -> dict[str, list[StoredWeight]]:
        """Return the weights of every layer in the file's order, of kind "h5".

        Raises:
            InputError: a group or an array that the file itself lists is missing, or is not what it
                should be.
        """
        group, layers = self._group(), {}
        for name in h5.get_names(group, "layer_names"):
            if name in layers:
                raise inconsistent_model(
                    f"The layer name '{shorten(name)}' stands twice in {self.path.name}"
                )
            layer = h5.get_member(group, name, h5py.Group)
            layers[name] = [
                StoredWeight(weight, *h5.get_array(layer, weight, f"{name}/{weight}"))
                for weight in h5.get_names(layer, "weight_names")
            ]
        return layers

    @h5.translate_damage()
    def variables(self, path: str) -> tuple[str | None, list[StoredWeight]]:
        """Return a layer's own name and weights, of kinds "weights.h5" and "keras".

        Args:
            path: the layer's group, such as "layers/conv2d_1"; a group that is missing has no
                weights.
        """
        path = path.replace("/", "\\") if self._is_flat else path
        group, path = self._group(), f"{path}/vars"
        if h5.find_group(group, path) is None:
            return None, []
        variables = h5.get_member(group, path, h5py.Group)
        name = read_attribute(variables, "name")
        keys = sorted(variables, key=lambda key: (len(key), key))  # "0", "1", …, "10"
        if keys != [str(k) for k in range(len(keys))]:
            raise inconsistent_model(
                f"'{path}' in {self.path.name} has {shorten(', '.join(keys))}, expected 0, 1, …"
            )
        names = {key: f"{path}/{key}" for key in keys}
        weights = [StoredWeight(n, *h5.get_array(variables, key, n)) for key, n in names.items()]
        return name if isinstance(name, str) else None, weights

    @h5.translate_damage()
    def children(self, path: str) -> list[str]:
        """Return the names of a group's groups, of kinds "weights.h5" and "keras"."""
        group = self._group()
        if self._is_flat:
            start = path.replace("/", "\\") + "\\"
            names = [name.removeprefix(start) for name in group if name.startswith(start)]
            return list(dict.fromkeys(name.split("\\")[0] for name in names))
        if h5.find_group(group, path) is None:
            return []
        names = h5.get_member(group, path, h5py.Group)
        return [name for name in names if isinstance(name, str)]  # bytes where it is no text

    @property
    def _is_flat(self) -> bool:
        """Whether all groups lie at the top, with backslashes, as tf.keras 2.12 on Windows."""
        return any(isinstance(name, str) and "\\" in name for name in self._group())

    @h5.translate_damage()
    def compiled(self) -> tuple[dict[str, Any], bool]:
        """Return the compile configuration, and whether the optimizer's state is there.

        The configuration has optimizer or optimizer_config, loss, metrics, …, of several outputs
        those of the one that is taken; one that cannot be read is `UNREADABLE`.
        """
        if self._weights is None or self.config is None:
            return {}, False
        if self.kind == "keras":
            config = self.config.get("compile_config")
            has_state = h5.find_group(self._weights, "optimizer/vars") is not None
            if not isinstance(config, dict):
                config = {} if config is None else UNREADABLE
            return of_output(config, self.outputs, self.output), has_state
        root, config = self._weights.file, {}
        if has_attribute(root, "training_config"):
            config = UNREADABLE
            with suppress(InputError):
                config = parse_config(h5.get_text(root, "training_config"), self.path.name)
        has_state = "optimizer_weights" in root
        return of_output(config, self.outputs, self.output), has_state

    @h5.translate_damage()
    def optimizer_arrays(self) -> list[StoredWeight]:
        """Return the variables of the optimizer in its order; none where the file has no state."""
        if self.kind == "keras":
            return self.variables("optimizer")[1]
        if h5.find_group(root := self._group().file, "optimizer_weights") is None:
            return []
        group = h5.get_member(root, "optimizer_weights", h5py.Group)
        names = h5.get_names(group, "weight_names")
        return [StoredWeight(name, *h5.get_array(group, name, name)) for name in names]

    def check_inflation(self, shapes: Iterable[tuple[int, ...]]) -> None:
        """Raise an `InputError` if weights of these shapes take far more memory than the file."""
        claimed, size = 4 * sum(map(math.prod, shapes)), self.path.stat().st_size
        if claimed > FREE_BYTES + MAX_INFLATION * size:
            raise untrusted_file(
                f"The weights in {self.path.name} claim to take {claimed:,} bytes, and the file "
                f"has {size:,}"
            )

    def _group(self) -> h5py.Group:
        if self._weights is None:
            raise InputError(
                f"{self.path.name} has a model but no weights. Save it with `model.save` and use "
                "that file."
            )
        return self._weights


@contextmanager
def open_keras_file(path: str | Path) -> Iterator[KerasFile]:
    """Open a file that Keras 1.0 to 3.x wrote: a whole model or weights only.

    Args:
        path: the file; its content, not its name, says which kind it is.

    Raises:
        InputError: it is no such file, or a damaged or a malicious one.
    """
    path = Path(path)
    with translate_os_errors(path):
        if not path.exists():
            raise InputError(missing_file_message(path))
        is_archive = path.is_file() and is_zip(path)
        other_kind = None if is_archive else describe_non_hdf5(path, "model")
    if is_archive:
        check_file_is_safe(path)
        with (
            open_archive(path) as (config, version, stream),
            _open_h5(stream, f"{keras_archive.WEIGHTS} in {path.name}") as root,
        ):
            yield KerasFile(path, "keras", config, version, root)
    elif other_kind is not None:
        raise InputError(f"{path.name} is not a Keras file but {other_kind}")
    else:
        with _open_h5(path, path.name) as root:
            yield _describe_h5(path, root)


@h5.translate_damage()
def _describe_h5(path: Path, root: h5py.File) -> KerasFile:
    if has_attribute(root, "model_config"):
        weights = root if has_attribute(root, "layer_names") else None
        if h5.find_group(root, "model_weights") is not None:
            weights = h5.get_member(root, "model_weights", h5py.Group)
        config = parse_config(h5.get_text(root, "model_config"), path.name)
        version, backend = (_read_text(k, root, weights) for k in ("keras_version", "backend"))
        return KerasFile(path, "h5", config, version, weights, backend=backend)
    if has_attribute(root, "layer_names") or has_attribute(root, "layer_names0"):
        version, backend = (_read_text(k, root) for k in ("keras_version", "backend"))
        return KerasFile(path, "h5", None, version, root, backend=backend)
    if {"layers", OLD_ROOT} & {name.split("\\")[0] for name in root}:
        return KerasFile(path, "weights.h5", None, "3", root)
    names = shorten(", ".join(map(repr, list(root)[:5])), 100) or "nothing"
    raise InputError(
        f"{path.name} is an HDF5 file with {names} in it, not a Keras model: no model_config and "
        "no layer_names. Name a file that Keras's save or save_weights wrote."
    )


def _read_text(attribute: str, *groups: h5py.Group | None) -> str | None:
    """Return an attribute of the first group that has it."""
    holders = (group for group in groups if group and has_attribute(group, attribute))
    return next((h5.get_text(group, attribute) for group in holders), None)


@contextmanager
def _open_h5(file: Path | BinaryIO, name: str) -> Iterator[h5py.File]:
    try:
        root = open_read_only(file) if isinstance(file, Path) else h5py.File(file, "r")
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise damaged_file(
            f"{name} cannot be opened as HDF5 ({shorten(str(error), 150)})"
        ) from error
    with root:
        yield root
