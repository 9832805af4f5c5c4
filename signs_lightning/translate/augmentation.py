"""Random changes of training images, as entries of a configuration."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.array_records import ArrayRecord
from signs_lightning.translate.values import Place, Unknown, Value

CLASS = "signs_lightning.keras_io.generator_augmentation.GeneratorAugmentation"
V2 = "torchvision.transforms.v2"
# Arguments of ImageDataGenerator that our class takes, with values that change nothing.
TAKEN: dict[str, tuple[Any, ...]] = {
    "rotation_range": (0, None),
    "width_shift_range": (0, None),
    "height_shift_range": (0, None),
    "shear_range": (0, None),
    "zoom_range": (0, None),
    "brightness_range": (None,),
    "channel_shift_range": (0, None),
    "horizontal_flip": (False,),
    "vertical_flip": (False,),
}
FLIPS = {"horizontal_flip": "RandomHorizontalFlip", "vertical_flip": "RandomVerticalFlip"}
OF_TF_IMAGE = {
    "random_flip_left_right": "RandomHorizontalFlip",
    "random_flip_up_down": "RandomVerticalFlip",
}


def generator_augmentation(
    options: dict[str, Value], images: ArrayRecord, place: Place
) -> tuple[list[dict[str, Any]], Unknown | None]:
    """Return what an ImageDataGenerator changes, and what of it cannot be said.

    Args:
        options: its arguments, defaults included.
        images: what it changes, before it rescales them.
        place: the statement that makes it.
    """
    given = {name: options[name] for name in TAKEN if options[name] not in TAKEN[name]}
    if unknown := next((v for v in given.values() if isinstance(v, Unknown)), None):
        return [], unknown
    if not given:
        return [], None
    if set(given) <= set(FLIPS) and all(value is True for value in given.values()):
        return [{"class_path": f"{V2}.{FLIPS[name]}"} for name in given], None
    is_bytes = images.scale() == "raw"
    of_bytes = [name for name in ("brightness_range", "channel_shift_range") if name in given]
    if of_bytes and not is_bytes:
        return [], Unknown(f"{of_bytes[0]} of images that are no bytes any more", place)
    for name, value in given.items():
        if not _is_plain(value):
            return [], Unknown(f"{name} of ImageDataGenerator", place)
    settings = {name: _plain(value) for name, value in given.items()}
    if options["fill_mode"] not in ("nearest", "reflect", "constant"):
        return [], Unknown(f"fill_mode='{options['fill_mode']}' of ImageDataGenerator", place)
    if options["fill_mode"] != "nearest":
        settings["fill_mode"] = options["fill_mode"]
    if options["fill_mode"] == "constant" and options["cval"]:
        factor = images.factor if isinstance(images.factor, float) else 1.0
        settings["fill_value"] = options["cval"] / (255 * factor)
    if options["interpolation_order"] not in (0, 1):
        return [], Unknown("interpolation_order of ImageDataGenerator", place)
    if options["interpolation_order"] == 0:
        settings["interpolation"] = "nearest"
    return [{"class_path": CLASS, "init_args": settings}], None


def _is_plain(value: Value) -> bool:
    parts = value if isinstance(value, list | tuple) else [value]
    return len(parts) <= 2 and all(isinstance(part, bool | int | float) for part in parts)


def _plain(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


def tf_image(name: str, args: list[Value], kwargs: dict[str, Value], place: Place) -> Value:
    """Return what a function of `tf.image` makes of an image; NotImplemented for others.

    Args:
        name: without "tensorflow.image.".
        args: of the call.
        kwargs: of the call.
        place: the statement.
    """
    image = args[0] if args else kwargs.get("image", kwargs.get("images"))
    if not isinstance(image, ArrayRecord):
        return NotImplemented
    if name in OF_TF_IMAGE:
        entry = {"class_path": f"{V2}.{OF_TF_IMAGE[name]}"}
        return image.with_(augmentation=[*image.augmentation, entry])
    if name == "resize":
        return _resized(image, args, kwargs, place)
    if name == "grayscale_to_rgb":
        shape = None if image.shape is None else (*image.shape[:-1], 3)
        return image.with_(shape=shape)
    return image.lost(f"tf.image.{name}", place)


def _resized(
    image: ArrayRecord, args: list[Value], kwargs: dict[str, Value], place: Place
) -> ArrayRecord:
    """Return `tf.image.resize(image, size)`."""
    size = args[1] if len(args) > 1 else kwargs.get("size")
    method = args[2] if len(args) > 2 else kwargs.get("method", "bilinear")
    method = str(getattr(method, "name", method)).rpartition(".")[2].lower()
    pads = kwargs.get("preserve_aspect_ratio", False)
    if not isinstance(size, tuple | list) or len(size) != 2:
        return image.lost("tf.image.resize to an unknown size", place)
    shape = None if image.shape is None else (*image.shape[:-3], *size, image.shape[-1])
    if not all(isinstance(axis, int) for axis in size):
        return image.with_(shape=shape)
    if method != "bilinear" or pads or kwargs.get("antialias"):
        return image.lost(f"tf.image.resize by {method}", place, shape=shape)
    return image.with_(shape=shape, size=(size[0], size[1], "tf-bilinear", "stretch"))
