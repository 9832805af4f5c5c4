"""Calls of libraries that load arrays, change them, or train on them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from signs_lightning.translate import numpy_calls, one_hot_calls
from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.array_scales import MODES
from signs_lightning.translate.array_shapes import SampleCount
from signs_lightning.translate.augmentation import tf_image
from signs_lightning.translate.batches import from_tensor_slices, zipped
from signs_lightning.translate.callback_records import CallbackRecord
from signs_lightning.translate.constant_arrays import ConstantArray
from signs_lightning.translate.data_sources import (
    COURSE_HELPERS,
    KERAS_SETS,
    LabelEncoder,
    course_helper,
    keras_set,
    load_array,
    open_file,
    read_table,
    split,
)
from signs_lightning.translate.file_lists import list_files
from signs_lightning.translate.image_generators import GeneratorRecord, dataset_from_directory
from signs_lightning.translate.library_names import is_installed_package
from signs_lightning.translate.values import Place, Unknown, Value

Call = Callable[[list[Value], dict[str, Value], Place], Value]
GENERATOR = re.compile(r"keras\.(legacy\.)?preprocessing\.image\.ImageDataGenerator")
FOLDER = re.compile(r"keras\.(utils|preprocessing)\.image_dataset_from_directory")
CALLBACK = re.compile(r"(?:keras|livelossplot)\.callbacks\.(?:\w+\.)*(\w+)")
PROGRESS = re.compile(  # callbacks of other packages that show how the training goes
    r"keras_tqdm\.(?:\w+\.)?TQDM(?:Notebook)?Callback|tqdm\.keras\.TqdmCallback"
    r"|tensorflow_addons\.callbacks\.TQDMProgressBar"
)
PREPROCESSING = re.compile(r"keras\.applications\.(?:(\w+)\.)?preprocess_input")
HELPER = re.compile(r"(?i)(data|images|imgs|pictures|samples)")  # in the names of functions
SET = re.compile(r"keras\.datasets\.(\w+)\.load_data")
# Modules whose functions are NumPy's under the same names.
LIKE_NUMPY = ("numpy.", "tensorflow.math.", "tensorflow.experimental.numpy.", "keras.backend.",
              "keras.ops.", "math.", "tensorflow.", "jax.numpy.")  # fmt: skip
FUNCTIONS: dict[str, Call] = {
    "h5py.File": open_file,
    "numpy.load": load_array,
    "glob.glob": partial(list_files, "glob"),
    "os.listdir": partial(list_files, "os.listdir"),
    "pandas.read_csv": read_table,
    "pandas.get_dummies": one_hot_calls.get_dummies,
    "tensorflow.one_hot": one_hot_calls.tf_one_hot,
    "keras.backend.one_hot": one_hot_calls.tf_one_hot,
    "keras.ops.one_hot": one_hot_calls.tf_one_hot,
    "tensorflow.image.convert_image_dtype": numpy_calls.convert_dtype,
    "tensorflow.data.Dataset.from_tensor_slices": from_tensor_slices,
    "tensorflow.data.Dataset.zip": zipped,
    "sklearn.preprocessing.LabelEncoder": lambda args, kwargs, place: LabelEncoder(False),
    "sklearn.preprocessing.LabelBinarizer": lambda args, kwargs, place: LabelEncoder(True),
    "sklearn.preprocessing.OneHotEncoder": lambda args, kwargs, place: LabelEncoder(True),
    **dict.fromkeys(
        ("sklearn.model_selection.train_test_split", "sklearn.cross_validation.train_test_split"),
        split,
    ),
    **dict.fromkeys(
        ("keras.utils.to_categorical", "keras.utils.np_utils.to_categorical"),
        one_hot_calls.to_categorical,
    ),
}
# Methods of numbers that hold arrays, as functions of Python.
ROUNDING = {"builtins.int": "int", "builtins.round": "round", "math.ceil": "ceil"}
ROUNDING |= {"math.floor": "floor", "numpy.ceil": "ceil", "numpy.floor": "floor"}


def call(name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return what a call of a library's name gives; NotImplemented where it is not known here.

    Args:
        name: in the canonical spelling.
        args: of the call.
        kwargs: of the call.
        place: the statement.

    Raises:
        NotUnderstoodError: it is known, and these arguments are not.
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name](args, kwargs, place)
    first = args[0] if args else None
    if name in ROUNDING and isinstance(first, SampleCount):
        return first.rounded(ROUNDING[name])
    if GENERATOR.fullmatch(name):
        return GeneratorRecord(args, kwargs, place)
    if FOLDER.fullmatch(name):
        return dataset_from_directory(args, kwargs, place)
    if match := CALLBACK.fullmatch(name):
        return CallbackRecord(match[1], args, kwargs, place)
    if PROGRESS.fullmatch(name):
        return CallbackRecord("ProgbarLogger", args, kwargs, place)
    if (match := SET.fullmatch(name)) and match[1] in KERAS_SETS:
        return keras_set(match[1], place)
    if match := PREPROCESSING.fullmatch(name):
        return preprocess(match[1] or "imagenet_utils", args, kwargs, place)
    if name.startswith("tensorflow.image."):
        return tf_image(name.removeprefix("tensorflow.image."), args, kwargs, place)
    short = name.rpartition(".")[2]
    if short in COURSE_HELPERS and not args:
        return course_helper(short, place)
    if short == "convert_to_one_hot":
        return one_hot_calls.course_one_hot(args, kwargs, place)
    if HELPER.search(short) and not is_installed_package(name):
        return numpy_calls.from_code(f"{short}(), which is not in the source", place)
    return _like_numpy(name, args, kwargs, place)


def _like_numpy(name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return what a function gives that is NumPy's by its name."""
    prefix = next((prefix for prefix in LIKE_NUMPY if name.startswith(prefix)), None)
    if prefix is None:
        return NotImplemented
    values = [*args, *kwargs.values()]
    if prefix != "numpy." and not _has_arrays(values):
        is_of_numbers = all(isinstance(value, int | float) for value in values) and values
        if not is_of_numbers or prefix == "keras.backend.":
            return NotImplemented
    return numpy_calls.call(name.removeprefix(prefix), args, kwargs, place)


def _has_arrays(values: list[Value]) -> bool:
    return any(
        isinstance(value, ArrayRecord | ConstantArray | SampleCount)
        or (isinstance(value, list | tuple) and _has_arrays(list(value)))
        for value in values
    )


def attribute(name: str, place: Place) -> Value:
    """Return the value of a library's name that is read; NotImplemented where it is not known."""
    constants: dict[str, Any] = {"numpy.pi": 3.141592653589793, "numpy.e": 2.718281828459045}
    constants |= {"numpy.newaxis": None, "tensorflow.newaxis": None}
    constants |= {"tensorflow.data.AUTOTUNE": -1, "tensorflow.data.experimental.AUTOTUNE": -1}
    return constants.get(name, NotImplemented)


def preprocess(module: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return `preprocess_input` of an array; NotImplemented for tensors of a model.

    Args:
        module: of keras.applications, such as "vgg16".
        args: of the call.
        kwargs: of the call.
        place: the statement.
    """
    array = args[0] if args else kwargs.get("x")
    if not isinstance(array, ArrayRecord):
        return array if isinstance(array, Unknown) else NotImplemented
    mode = kwargs.get("mode", MODES.get(module))
    if mode == "raw":
        return array.with_()
    if mode == "tf":
        return array.operate("/", 127.5, False, place).operate("-", 1.0, False, place)
    if mode in ("caffe", "torch") and array.scale() == "raw":
        return array.with_(mode=mode, dtype="float32")
    return array.lost(f"preprocess_input of images scaled to {array.scale()}", place)
