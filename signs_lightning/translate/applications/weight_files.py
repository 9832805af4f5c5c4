"""The files that Keras has the weights of keras.applications in."""

from __future__ import annotations

from typing import Any

# Words at the end of the names for a model with its top, and without.
_TF_KERNELS = "{}_weights_tf_dim_ordering_tf_kernels"
_ALPHAS = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0"}
_MOBILE_SIZES = (128, 160, 192, 224)
CACHE = "~/.keras/models"


def weights_file(name: str, own_name: str, options: dict[str, Any], height: int | None) -> str:
    """Return where Keras keeps the weights of ImageNet once it has fetched them.

    Args:
        name: of the application, such as "VGG16".
        own_name: of its model, such as "vgg16".
        options: its arguments.
        height: of the image, None where that may vary.
    """
    has_top, stem, ending = options["include_top"], own_name, ("", "_no_top")
    if name.startswith("MobileNetV3"):
        size = name.removeprefix("MobileNetV3").lower()
        kind = "_minimalistic" if options["minimalistic"] else ""
        stem = f"weights_mobilenet_v3_{size}{kind}_224_{options['alpha']}_float"
        ending = ("", "_no_top_v2")
    elif name == "MobileNetV2":
        sizes = (96, *_MOBILE_SIZES)
        stem = f"{_TF_KERNELS.format('mobilenet_v2')}_{float(options['alpha'])}_"
        stem += str(height if height in sizes else 224)
    elif name == "MobileNet":
        alpha = _ALPHAS.get(options["alpha"], "2_5")
        stem = f"mobilenet_{alpha}_{height if height in _MOBILE_SIZES else 224}_tf"
    elif name.startswith("EfficientNet"):
        ending = ("", "_notop")
    elif not name.startswith("NASNet"):
        stem, ending = _TF_KERNELS.format(own_name), ("", "_notop")
    return f"{CACHE}/{stem}{ending[0 if has_top else 1]}.h5"
