"""The names of keras.applications, their arguments, and the inputs of their models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from signs_lightning.translate.applications import (
    densenet,
    efficientnet,
    inception,
    inception_resnet,
    mobilenet,
    mobilenet_v3,
    nasnet,
    resnet,
    vgg,
    xception,
)
from signs_lightning.translate.applications.building import Builder
from signs_lightning.translate.applications.weight_files import weights_file
from signs_lightning.translate.functional_config import source_nodes
from signs_lightning.translate.keras_objects import unknowns_in
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.layer_records import input_layer
from signs_lightning.translate.model_records import connect
from signs_lightning.translate.pretrained import add_pretrained
from signs_lightning.translate.signatures import bind, parse_signatures
from signs_lightning.translate.symbolic_tensors import SymbolicTensor
from signs_lightning.translate.values import NotUnderstoodError, Place, Unknown, Value

TAIL = "classes=1000, classifier_activation='softmax', name=None"
WEIGHTS = "include_top=True, weights='imagenet', input_tensor=None"
USUAL = f"{WEIGHTS}, input_shape=None, pooling=None, {TAIL}"
MOBILE = f"{WEIGHTS}, pooling=None, {TAIL}"
V3 = """input_shape=None, alpha=1.0, minimalistic=False, include_top=True, weights='imagenet',
    input_tensor=None, classes=1000, pooling=None, dropout_rate=0.2,
    classifier_activation='softmax', include_preprocessing=True, name=None"""
SIGNATURES = parse_signatures(f"""
usual({USUAL})
mobilenet(input_shape=None, alpha=1.0, depth_multiplier=1, dropout=0.001, {MOBILE})
mobilenet_v2(input_shape=None, alpha=1.0, {MOBILE})
mobilenet_v3({V3})
nasnet(input_shape=None, {MOBILE})
""")


@dataclass(frozen=True)
class Application:
    """A model of keras.applications.

    Attributes:
        build: makes its layers from the image, with the settings.
        name: of the model; None where it depends on its arguments.
        size: height and width that it takes by default.
        settings: what distinguishes it from others of its family.
        signature: which of `SIGNATURES` it has.
    """

    build: Callable[..., Any]
    name: str | None
    size: int = 224
    settings: tuple[Any, ...] = ()
    signature: str = "usual"


APPLICATIONS = {
    "VGG16": Application(vgg.vgg, "vgg16", settings=((2, 2, 3, 3, 3),)),
    "VGG19": Application(vgg.vgg, "vgg19", settings=((2, 2, 4, 4, 4),)),
    **{
        name: Application(resnet.resnet, name.lower(), settings=(blocks, name.endswith("V2")))
        for depth, blocks in {
            "50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)
        }.items()
        for name in (f"ResNet{depth}", f"ResNet{depth}V2")
    },
    "MobileNet": Application(mobilenet.mobilenet, None, signature="mobilenet"),
    "MobileNetV2": Application(mobilenet.mobilenet_v2, None, signature="mobilenet_v2"),
    **{
        name: Application(mobilenet_v3.mobilenet_v3, name, settings=(name,),
                          signature="mobilenet_v3")
        for name in ("MobileNetV3Small", "MobileNetV3Large")
    },
    "InceptionV3": Application(inception.inception_v3, "inception_v3", 299),
    "InceptionResNetV2": Application(
        inception_resnet.inception_resnet_v2, "inception_resnet_v2", 299
    ),
    "Xception": Application(xception.xception, "xception", 299),
    **{
        f"DenseNet{depth}": Application(densenet.densenet, f"densenet{depth}", settings=(blocks,))
        for depth, blocks in {
            121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)
        }.items()
    },
    **{
        f"EfficientNetB{k}": Application(
            efficientnet.efficientnet, f"efficientnetb{k}", size, (width, depth, dropout)
        )
        for k, (width, depth, size, dropout) in enumerate(efficientnet.SCALES)
    },
    **{
        f"EfficientNetV2{letter}": Application(
            efficientnet.efficientnet_v2, f"efficientnetv2-{letter.lower()}", size,
            (letter, width, depth),
        )
        for letter, (width, depth, size) in efficientnet.SCALES_V2.items()
    },
    "NASNetMobile": Application(
        nasnet.nasnet, "nasnet_mobile", settings=(1056, 4, 32, False), signature="nasnet"
    ),
    "NASNetLarge": Application(
        nasnet.nasnet, "nasnet_large", 331, (4032, 6, 96, True), signature="nasnet"
    ),
}  # fmt: skip


def call(name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return a model of keras.applications; NotImplemented for a function.

    Raises:
        NotUnderstoodError: there is no such model, or it has no such arguments.
    """
    if not name[:1].isupper():
        return NotImplemented
    if name not in APPLICATIONS:
        raise NotUnderstoodError(f"keras.applications.{name}")
    application = APPLICATIONS[name]
    signature = dict(SIGNATURES[application.signature])
    if name.startswith("EfficientNetV2"):
        signature["include_preprocessing"] = True
    kwargs = {k: v for k, v in kwargs.items() if k not in ("backend", "layers", "models", "utils")}
    options = bind(signature, args, kwargs, name)
    known_later = ["input_tensor", "input_shape", "classes"]
    if not name.startswith("EfficientNetB"):  # whose layers depend on them
        known_later.append("weights")
    for key, value in options.items():
        if key not in known_later:
            for unknown in unknowns_in(value):
                raise NotUnderstoodError(f"{name} with {key}={unknown.reason}")
    image, inputs, size = _image(options, application, place)
    result = application.build(Builder(place, options), image, *application.settings)
    model = connect(inputs, [result], _model_name(name, application, options, size), place)
    weights = options["weights"]
    if weights not in (None, "random"):
        own_name = application.name or ""
        file = weights if isinstance(weights, str) and weights != "imagenet" else None
        if weights == "imagenet":
            file = weights_file(name, own_name, options, size)
        shown = weights.reason if isinstance(weights, Unknown) else repr(weights)
        add_pretrained(model, f"{name}(weights={shown:.60})", place, file)
    return model


def _model_name(
    name: str, application: Application, options: dict[str, Any], size: int | None
) -> str:
    if options["name"]:
        return str(options["name"])
    if application.name is not None:
        return application.name
    family, sizes = "mobilenetv2", [96, 128, 160, 192, 224]
    if name == "MobileNet":
        family, sizes = "mobilenet", sizes[1:]
    if options["weights"] == "imagenet" and size not in sizes:
        size = 224
    return f"{family}_{options['alpha']:0.2f}_{size}"


def _image(
    options: dict[str, Any], application: Application, place: Place
) -> tuple[SymbolicTensor, list[SymbolicTensor], int | None]:
    """Return the image that the layers take, the model's inputs, and the image's height."""
    image = options["input_tensor"]
    if isinstance(image, SymbolicTensor):
        starts = source_nodes(image)
        shape = image.attribute("shape", place)
        height = None if isinstance(shape, Unknown) else shape[1 if _is_last() else 2]
        return image, [SymbolicTensor(node) for node in starts], height
    if image is not None:
        raise NotUnderstoodError("input_tensor= of something else than a tensor")
    shape = _input_shape(options, application)
    layer = input_layer(shape if isinstance(shape, Unknown) else [None, *shape], None, place)
    tensor = SymbolicTensor(layer.nodes[0])
    is_known = not isinstance(shape, Unknown)
    height = shape[0 if _is_last() else 1] if is_known else None
    return tensor, [tensor], height if isinstance(height, int) else None


def _is_last() -> bool:
    return session().data_format == "channels_last"


def _input_shape(options: dict[str, Any], application: Application) -> Any:
    """Return the shape of an image as `obtain_input_shape` of Keras does."""
    shape = options["input_shape"]
    if isinstance(shape, Unknown):
        return shape
    if shape is not None:
        if not isinstance(shape, list | tuple) or len(shape) != 3:
            raise NotUnderstoodError(f"input_shape={shape!r:.60}")
        return tuple(shape)
    size: int | None = application.size
    fixed = options["include_top"] and application.signature != "mobilenet_v3"
    if not fixed and application.name != "nasnet_mobile":
        size = None
    return (size, size, 3) if _is_last() else (3, size, size)
