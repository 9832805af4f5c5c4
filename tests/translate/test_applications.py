"""The models of keras.applications have Keras's layers, names, configs and totals."""

from __future__ import annotations

import json
from typing import Any

import keras
import pytest
from keras_models import Wrapped, keras_meaning, keras_totals, meaning

from signs_lightning.translate import keras_calls
from signs_lightning.translate.applications.catalog import APPLICATIONS
from signs_lightning.translate.keras_session import start_session
from signs_lightning.translate.model_summary import summarize
from signs_lightning.translate.values import LibraryName, NotUnderstoodError, Place

PLACE = Place(1, 1)
OWN_LAYER = {"InceptionResNetV2"}  # a layer of its own there is an addition here
WAYS: list[dict[str, Any]] = [
    {"classes": 7},
    {"include_top": False, "input_shape": (96, 96, 3)},
    {"include_top": False, "input_shape": (97, 101, 3), "pooling": "avg"},
    {"include_top": False, "pooling": "max"},
]
SOME = [  # that Keras builds in half a minute
    ("VGG16", 0), ("ResNet50", 2), ("MobileNetV2", 1), ("InceptionV3", 1), ("Xception", 2),
    ("DenseNet121", 1), ("EfficientNetB0", 1), ("MobileNetV3Small", 0),
]  # fmt: skip


def make(name: str, **kwargs: Any) -> Any:
    start_session("3.0.0")
    return keras_calls.call(f"keras.applications.{name}", [], kwargs, PLACE)


def check(name: str, **kwargs: Any) -> None:
    keras.backend.clear_session()
    expected = getattr(keras.applications, name)(weights=None, **kwargs)
    model = make(name, weights=None, **kwargs)
    summary = summarize(model)
    assert (summary.total, summary.trainable) == keras_totals(expected)
    if name in OWN_LAYER:
        return
    assert json.loads(json.dumps(meaning(model.config()))) == keras_meaning(expected)
    shapes = {layer.name: layer.output.shape for layer in expected.layers}
    rows = {row.name: row.shape for row in summary.rows}
    assert {key: rows[key] for key in shapes} == shapes


@pytest.mark.slow
def test_mobilenet() -> None:
    check("MobileNet", include_top=False, input_shape=(32, 32, 3), pooling="avg", alpha=0.25)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        pytest.param(name, way, marks=pytest.mark.slow if (name, way) in SOME else pytest.mark.long)
        for name in APPLICATIONS
        for way in range(len(WAYS))
    ],
)
def test_application(name: str, way: int) -> None:
    check(name, **WAYS[way])


@pytest.mark.slow
@pytest.mark.parametrize("is_scaled", [False, True])
def test_layers_on_a_tensor_begin_at_its_inputs(is_scaled: bool) -> None:
    def build(library: Any) -> Any:
        image = library.Input((64, 64, 3))
        start = library.layers.Rescaling(1 / 127.5, offset=-1)(image) if is_scaled else image
        return library.applications.VGG16(weights=None, include_top=False, input_tensor=start)

    keras.backend.clear_session()
    expected = build(keras)
    start_session("3.0.0")
    model = build(Wrapped(LibraryName("keras"))).record
    assert json.loads(json.dumps(meaning(model.config()))) == keras_meaning(expected)


# Totals of keras.applications with 1,000 classes, as its documentation and summaries have them.
@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("VGG16", 138_357_544),
        ("ResNet50", 25_636_712),
        ("MobileNetV2", 3_538_984),
        ("EfficientNetB0", 5_330_571),
    ],
)
def test_published_totals(name: str, total: int) -> None:
    assert summarize(make(name, weights=None)).total == total


def test_weights_of_imagenet_are_asked_for() -> None:
    model = make("ResNet50", include_top=False, input_shape=(64, 64, 3))
    assert [unknown.fact for _, unknown in model.unknowns] == ["weights"]
    model.set_trainable(False)
    assert summarize(model).trainable == 0


def test_unknown_argument_is_refused() -> None:
    with pytest.raises(NotUnderstoodError, match="argument dropout"):
        make("VGG16", dropout=0.5)


def test_resnet50_by_release() -> None:
    """Names and totals of keras_applications 1.0.8, which Keras 2.2.4 takes, and of Keras 3."""
    for version, names in (
        ("2.2.4", {"res5c_branch2c", "bn5c_branch2c", "res2a_branch1", "pool1_pad", "fc1000"}),
        ("2.15.0", {"conv5_block3_3_conv", "conv5_block3_3_bn", "conv2_block1_0_conv"}),
    ):
        start_session(version)
        model = keras_calls.call("keras.applications.ResNet50", [], {"weights": None}, PLACE)
        layers = {layer.name: layer for layer in model.layers}
        assert names <= layers.keys()
        assert summarize(model).total == 25_636_712
        norm = next(x for x in model.layers if x.class_name == "BatchNormalization")
        assert norm.config["epsilon"] == (1e-3 if version == "2.2.4" else 1.001e-5)


@pytest.mark.parametrize(
    ("name", "old", "new", "total"),
    [("MobileNet", 87, 86, 3_228_864), ("MobileNetV2", 155, 154, 2_257_984)],
)
def test_mobilenets_by_release(name: str, old: int, new: int, total: int) -> None:
    """As tutorials print them, by whose numbers layers are frozen: 87 and 155 before TF 2.4."""
    for version, count in (("2.2.4", old), ("2.15.0", new)):
        start_session(version)
        given = {"weights": None, "include_top": False, "input_shape": (96, 96, 3)}
        model = keras_calls.call(f"keras.applications.{name}", [], given, PLACE)
        assert len(model.layers) == count
        assert summarize(model).total == total


def test_efficientnet_divides_weights_of_imagenet_since_keras_2_9() -> None:
    for version, weights, count in (("2.8.0", "imagenet", 1), ("2.9.0", "imagenet", 2),
                                    ("2.9.0", None, 1)):  # fmt: skip
        start_session(version)
        kwargs = {"weights": weights, "include_top": False, "input_shape": (32, 32, 3)}
        model = keras_calls.call("keras.applications.EfficientNetB0", [], kwargs, PLACE)
        assert [layer.class_name for layer in model.layers].count("Rescaling") == count
