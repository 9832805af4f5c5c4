"""Arrays of unknown content: NumPy itself says what shapes, types and values they have."""

from __future__ import annotations

import numpy as np
import pytest
from reading_data import read

from signs_lightning.translate import data_sources
from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.array_shapes import SampleCount
from signs_lightning.translate.constant_arrays import ConstantArray
from signs_lightning.translate.values import Unknown

DATA = """
import numpy as np
from keras.datasets import cifar10
from keras.utils import to_categorical
(x, y), (x_test, y_test) = cifar10.load_data()
"""
EXPRESSIONS = [
    "x / 255.",
    "x.astype('float32') / 255",
    "x.astype(np.float32) / 127.5 - 1",
    "(x - 127.5) / 127.5",
    "1 - x / 255",
    "x * (1. / 255)",
    "x.reshape(40, -1)",
    "x.reshape(x.shape[0], -1).T",
    "x.reshape((40, 6 * 8 * 3))",
    "np.reshape(x, (-1, 8, 6, 3))",
    "np.expand_dims(x, -1)",
    "np.expand_dims(x, axis=0)",
    "x[:10]",
    "x[-10:]",
    "x[5:, ..., np.newaxis]",
    "x[:, :, :, 0]",
    "x[3]",
    "np.transpose(x, (0, 3, 1, 2))",
    "x.transpose(0, 2, 1, 3)",
    "x.T",
    "x.flatten()",
    "y.reshape(-1)",
    "y.ravel()",
    "np.squeeze(y)",
    "y.T",
    "np.eye(6)[y.reshape(-1)]",
    "np.eye(6)[y.reshape(-1)].T",
    "np.concatenate([x, x], axis=-1)",
    "x[np.random.permutation(40)]",
    "np.array(x)",
    "np.zeros((40, 3))",
]
CONSTANTS = [
    "np.prod((64, 64, 3))",
    "int(np.ceil(1080 / 32))",
    "np.array([0.485, 0.456]) * 2",
    "np.arange(5)[1:3]",
    "np.linspace(0, 1, 5)",
    "np.sqrt(16)",
    "(np.array([[1, 2], [3, 4]]) / 2).T",
    "np.array([1, 2, 3]).shape",
    "list(np.arange(2, 8, 2))",
    "np.power(2, 5)",
    "np.pi",
]


@pytest.fixture(autouse=True)
def small_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let cifar10 have 40 images of 8×6 pixels."""
    monkeypatch.setitem(data_sources.KERAS_SETS, "cifar10", (40, 10, (8, 6, 3), (1,)))


# What is no image of the file any more.
PARTS_OR_TURNED = {"x[:, :, :, 0]", "x.transpose(0, 2, 1, 3)", "x.T"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_arrays_have_numpys_shapes_types_and_values(expression: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 8, 6, 3), dtype=np.uint8)
    y = rng.integers(0, 6, (40, 1), dtype=np.uint8)
    wanted = eval(expression, {"np": np, "x": x, "y": y})
    found = read(f"{DATA}found = {expression}\nshape = found.shape")
    assert found["shape"] == wanted.shape
    record = found["found"]
    assert isinstance(record, ArrayRecord)
    assert (record.unknown is not None) is (expression in PARTS_OR_TURNED)
    assert record.dtype == wanted.dtype.name
    if wanted.shape == x.shape and "perm" not in expression:
        assert np.allclose(x * record.factor + record.offset, wanted, atol=1e-6)


@pytest.mark.parametrize("expression", CONSTANTS)
def test_constants_are_computed_by_numpy(expression: str) -> None:
    wanted = eval(expression, {"np": np})
    found = read(f"import numpy as np\nfound = {expression}")["found"]
    values = found.values if isinstance(found, ConstantArray) else found
    assert np.array_equal(np.asarray(values), np.asarray(wanted))


@pytest.mark.parametrize(
    "expression",
    ["np.zeros(10**9) + 1", "np.arange(10**12)", "np.array([1] * 9000).reshape(-1, 1) * "
     "np.array([1] * 9000)", "np.linspace(0, 1, 10**9)", "np.array([2**61]) ** 2**40"],
)  # fmt: skip
def test_large_arrays_are_never_made(expression: str) -> None:
    found = read(f"import numpy as np\nfound = {expression}")["found"]
    assert not isinstance(found, ConstantArray) or found.values.size <= 10_000


@pytest.mark.parametrize(
    ("expression", "scale"),
    [
        ("x", "raw"),
        ("x / 255", "/255"),
        ("x.astype('float32') * (1/255.)", "/255"),
        ("(x.astype('float32') - 127.5) / 127.5", "tf"),
        ("x / 255 * 2 - 1", "tf"),
        ("(x / 255 - [0.485, 0.456, 0.406]) / np.array([0.229, 0.224, 0.225])", "torch"),
        ("keras.applications.vgg16.preprocess_input(x)", "caffe"),
        ("keras.applications.mobilenet_v2.preprocess_input(x)", "tf"),
        ("keras.applications.densenet.preprocess_input(x)", "torch"),
        ("keras.applications.efficientnet.preprocess_input(x)", "raw"),
        ("keras.layers.Rescaling(1. / 255)(x)", "/255"),
        ("keras.layers.Rescaling(scale=1. / 127.5, offset=-1)(x)", "tf"),
        ("x / 256", None),
        ("x / 255 / 255", None),
    ],
)
def test_scales_have_their_names(expression: str, scale: str | None) -> None:
    found = read(f"{DATA}import keras\nfound = {expression}")["found"]
    assert found.unknown is None
    assert found.scale() == scale


@pytest.mark.parametrize(
    "expression",
    ["(x - x.mean()) / x.std()", "x ** 2", "x > 3", "np.where(x > 3, 1, 0)", "x % 2", "255 / x",
     "np.concatenate([x, x_test])", "x + np.random.rand(40, 8, 6, 3)",
     "keras.applications.vgg16.preprocess_input(x / 255)", "x[:, :, 1:4]",
     "keras.layers.Rescaling(x.max())(x)", "keras.layers.RandomFlip()(x)"],
)  # fmt: skip
def test_other_changes_are_kept_as_not_understood(expression: str) -> None:
    found = read(f"{DATA}import keras\nfound = {expression}")["found"]
    assert isinstance(found, Unknown) or found.unknown is not None


def test_setting_items_is_kept_as_not_understood() -> None:
    assert read(f"{DATA}x[0] = 7")["x"].unknown is not None


FILE = """
import h5py
import numpy as np
f = h5py.File("data/train_signs.h5", "r")
x, y, names = np.array(f["train_set_x"][:]), f["train_set_y"][...], f["list_classes"]
one_hot = np.eye(len(names))[y.reshape(-1)]
"""


def test_datasets_of_files_keep_their_origin() -> None:
    found = read(FILE)
    x, y = found["x"], found["y"]
    assert (x.origin.file, x.origin.key) == ("data/train_signs.h5", "train_set_x")
    assert (x.origin.role, x.origin.content) == ("train", "images")
    assert (y.origin.key, y.origin.content) == ("train_set_y", "labels")


def test_what_only_the_data_know_is_asked_for_by_name() -> None:
    source = f"{FILE}a, b, c, d = x.shape[1:], one_hot.shape[1], len(names), x.shape[1]"
    found = read(source)
    asked = [getattr(found[name], "fact", None) for name in "abcd"]
    assert asked == ["input_shape", "classes", "classes", "input_shape"]
    told = read(source, {"input_shape": (64, 32, 3), "classes": 6})
    assert [told[name] for name in "abcd"] == [(64, 32, 3), 6, 6, 64]


def test_the_largest_label_tells_the_classes() -> None:
    source = f"{FILE}a, b = y.max() + 1, len(np.unique(y))"
    assert [read(source)[name].fact for name in "ab"] == ["classes"] * 2
    told = read(source, {"classes": 6})
    assert (told["a"], told["b"]) == (6, 6)


def test_numbers_of_images_are_kept_as_quotients() -> None:
    found = read(f"{FILE}a, b = len(x) // 32, int(np.ceil(x.shape[0] / 16))")
    assert found["a"] == SampleCount("train_set_x", 32, "floor")
    assert found["b"] == SampleCount("train_set_x", 16, "ceil")


def test_helpers_of_the_course_give_arrays() -> None:
    source = """
from cnn_utils import *
import numpy as np
X_train, Y_train, X_test, Y_test, classes = load_signs_dataset()
Y = convert_to_one_hot(Y_train, 6).T
shape = Y.shape[1]
"""
    found = read(source)
    assert found["Y"].classes == found["shape"] == 6
    assert found["X_test"].origin.key == "test_set_x"
