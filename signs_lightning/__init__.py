"""Keras image classifiers and their HDF5 data on PyTorch Lightning, with the same numbers.

Importing this package is cheap: torch and Lightning are imported when a name is first used.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signs_lightning.data.drawn import DrawnSigns, DrawnSmiles
    from signs_lightning.data.module import H5DataModule
    from signs_lightning.errors import InputError
    from signs_lightning.keras_io.compare import first_difference
    from signs_lightning.keras_io.reading import FromKeras, from_keras
    from signs_lightning.keras_io.writing import export_keras
    from signs_lightning.models.classifier import ImageClassifier
    from signs_lightning.models.happy import HappySequential
    from signs_lightning.models.pretrained import PretrainedResNet50
    from signs_lightning.models.resnet50 import SignsResNet50
    from signs_lightning.models.signs import SignsFunctional

__version__ = "0.1.0"
__all__ = [
    "DrawnSigns",
    "DrawnSmiles",
    "FromKeras",
    "H5DataModule",
    "HappySequential",
    "ImageClassifier",
    "InputError",
    "PretrainedResNet50",
    "SignsFunctional",
    "SignsResNet50",
    "export_keras",
    "first_difference",
    "from_keras",
]

_HOMES = {
    "DrawnSigns": "data.drawn",
    "DrawnSmiles": "data.drawn",
    "FromKeras": "keras_io.reading",
    "H5DataModule": "data.module",
    "HappySequential": "models.happy",
    "ImageClassifier": "models.classifier",
    "InputError": "errors",
    "PretrainedResNet50": "models.pretrained",
    "SignsFunctional": "models.signs",
    "SignsResNet50": "models.resnet50",
    "export_keras": "keras_io.writing",
    "first_difference": "keras_io.compare",
    "from_keras": "keras_io.reading",
}
_RENAMED: dict[str, str] = {}  # old name → new name, for one release


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        new = _RENAMED[name]
        warnings.warn(
            f"signs_lightning.{name} is now signs_lightning.{new}; the old name goes with the "
            "next release.",
            FutureWarning,
            stacklevel=2,
        )
        name = new
    if name not in _HOMES:
        raise AttributeError(f"module 'signs_lightning' has no attribute '{name}'")
    return getattr(importlib.import_module(f"signs_lightning.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
