"""Keras image classifiers and their HDF5 data on PyTorch Lightning.

Importing this package is cheap: torch and Lightning are imported when a name is first used.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signs_lightning.callbacks.trainer import Trainer
    from signs_lightning.data.datamodule import H5DataModule
    from signs_lightning.data.synthetic import DrawnSigns, DrawnSmiles
    from signs_lightning.errors import InputError
    from signs_lightning.keras_io.compare_outputs import first_difference
    from signs_lightning.keras_io.from_keras import FromKeras
    from signs_lightning.keras_io.load_keras import from_keras
    from signs_lightning.keras_io.to_keras import export_keras
    from signs_lightning.models.classifier import ImageClassifier
    from signs_lightning.models.happy_sequential import HappySequential
    from signs_lightning.models.pretrained_resnet50 import PretrainedResNet50
    from signs_lightning.models.signs_functional import SignsFunctional
    from signs_lightning.models.signs_resnet50 import SignsResNet50

__version__ = "0.2.0"
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
    "Trainer",
    "export_keras",
    "first_difference",
    "from_keras",
]

_HOMES = {
    "DrawnSigns": "data.synthetic",
    "DrawnSmiles": "data.synthetic",
    "FromKeras": "keras_io.from_keras",
    "H5DataModule": "data.datamodule",
    "HappySequential": "models.happy_sequential",
    "ImageClassifier": "models.classifier",
    "InputError": "errors",
    "PretrainedResNet50": "models.pretrained_resnet50",
    "SignsFunctional": "models.signs_functional",
    "SignsResNet50": "models.signs_resnet50",
    "Trainer": "callbacks.trainer",
    "export_keras": "keras_io.to_keras",
    "first_difference": "keras_io.compare_outputs",
    "from_keras": "keras_io.load_keras",
}
_RENAMED: dict[str, str] = {}  # old name → new name, for one release


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        new = _RENAMED[name]
        message = f"signs_lightning.{name} is now signs_lightning.{new}"
        message += "; the old name goes with the next release."
        warnings.warn(message, FutureWarning, stacklevel=2)
        name = new
    if name not in _HOMES:
        raise AttributeError(f"module 'signs_lightning' has no attribute '{name}'")
    return getattr(importlib.import_module(f"signs_lightning.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
