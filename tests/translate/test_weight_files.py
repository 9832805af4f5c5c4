"""The files that keras.applications have their weights in."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from signs_lightning.translate import keras_calls
from signs_lightning.translate.applications.catalog import APPLICATIONS
from signs_lightning.translate.keras_session import session, start_session
from signs_lightning.translate.values import Place

TF = "weights_tf_dim_ordering_tf_kernels"


@pytest.mark.parametrize(
    ("name", "kwargs", "expected"),
    [
        ("VGG16", {}, f"vgg16_{TF}.h5"),
        ("VGG19", {"include_top": False}, f"vgg19_{TF}_notop.h5"),
        ("ResNet50", {"include_top": False}, f"resnet50_{TF}_notop.h5"),
        ("MobileNet", {"alpha": 0.5}, "mobilenet_5_0_224_tf.h5"),
        (
            "MobileNetV2",
            {"include_top": False, "input_shape": (96, 96, 3)},
            f"mobilenet_v2_{TF}_1.0_96_no_top.h5",
        ),
        (
            "MobileNetV3Small",
            {"include_top": False},
            "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        ),
        ("Xception", {"weights": "mine/own.h5"}, "mine/own.h5"),
    ],
)
def test_files_of_applications(name: str, kwargs: dict[str, Any], expected: str) -> None:
    start_session("3.0.0")
    keras_calls.call(f"keras.applications.{name}", [], kwargs, Place(1, 1))
    start = "" if "weights" in kwargs else "~/.keras/models/"
    assert session().pretrained[0].file == start + expected


SLOW = ("VGG16", "ResNet50V2", "MobileNet", "MobileNetV2", "MobileNetV3Large", "Xception")


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined:UserWarning")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else pytest.mark.long)
        for name in APPLICATIONS
        if name != "NASNetLarge"
    ],
)
def test_files_that_keras_fetches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class FetchedError(Exception):
        pass

    def fetch(file_name: str, *args: Any, **kwargs: Any) -> None:
        raise FetchedError(file_name)

    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", fetch)
    with pytest.raises(FetchedError) as fetched:
        getattr(keras.applications, name)(include_top=False)
    start_session("3.0.0")
    keras_calls.call(f"keras.applications.{name}", [], {"include_top": False}, Place(1, 1))
    assert session().pretrained[0].file == f"~/.keras/models/{fetched.value}"
