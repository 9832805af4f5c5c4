"""Names of old versions of Keras for tf_keras, which is Keras 2."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

PLACES = (
    *("layers", "models", "optimizers", "datasets", "utils", "applications", "preprocessing"),
    *("preprocessing.image", "callbacks", "initializers", "backend", "losses", "regularizers"),
    "applications.mobilenet",
)
OLD_LAYERS = ("layers.core", "layers.convolutional", "layers.normalization")
KERAS1 = {"border_mode": "padding", "subsample": "strides", "output_dim": "units"}


def install(is_old: bool) -> Any:
    """Make tf_keras importable by the names that Keras had before it.

    Args:
        is_old: whether optimizers take `lr` and `decay`, as before TensorFlow 2.11.
    """
    keras = importlib.import_module("tf_keras.api._v2.keras")  # as tensorflow.keras is
    if is_old:
        for name in ("Adam", "SGD", "RMSprop"):
            setattr(keras.optimizers, name, getattr(keras.optimizers.legacy, name))
    for start in ("keras", "tensorflow.python.keras", "tensorflow.keras"):
        sys.modules[start] = keras
        for place in PLACES:
            module = importlib.import_module(f"{keras.__name__}.{place}")
            sys.modules[f"{start}.{place}"] = module
        for name in ("mnist", "cifar10", "fashion_mnist"):
            sys.modules[f"{start}.datasets.{name}"] = getattr(keras.datasets, name)
    layers: Any = ModuleType("layers")
    vars(layers).update(vars(keras.layers))
    layers.Convolution2D = _convolution
    layers.Dense, layers.MaxPooling2D = _renamed("Dense"), _renamed("MaxPooling2D")
    for place in OLD_LAYERS:
        sys.modules[f"keras.{place}"] = layers
    np_utils: Any = ModuleType("np_utils")
    np_utils.to_categorical = keras.utils.to_categorical
    sys.modules["keras.utils.np_utils"] = keras.utils.np_utils = np_utils
    keras.utils.plot_model = lambda *args, **settings: None
    keras.preprocessing.image_dataset_from_directory = keras.utils.image_dataset_from_directory
    return keras


def _renamed(name: str) -> Any:
    def make(*args: Any, **settings: Any) -> Any:
        keras: Any = sys.modules["keras"]
        settings = {KERAS1.get(key, key): value for key, value in settings.items()}
        settings.pop("dim_ordering", None)
        return getattr(keras.layers, name)(*args, **settings)

    return make


def _convolution(filters: int, *sizes: int, **settings: Any) -> Any:
    return _renamed("Conv2D")(filters, sizes, **settings)
