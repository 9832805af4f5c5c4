"""Sources with data, read as text, for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from interpreting import cell

from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.source.write_source import write_text
from signs_lightning.translate.config_text import config_name, write_config
from signs_lightning.translate.fit_records import FitRecord
from signs_lightning.translate.interpreter import run_cells
from signs_lightning.translate.keras_session import session, start_session
from signs_lightning.translate.known_libraries import KnownLibraries
from signs_lightning.translate.values import Value

MODEL = """
import h5py
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers, callbacks
from tensorflow.keras.preprocessing.image import ImageDataGenerator

model = keras.Sequential([layers.Flatten(input_shape=(64, 64, 3)),
                          layers.Dense(6, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
"""
ARRAYS = """
x, y = [h5py.File("train_signs.h5")[key][:] for key in ("train_set_x", "train_set_y")]
x_test, y_test = [h5py.File("test_signs.h5")[key][:] for key in ("test_set_x", "test_set_y")]
"""


def read(
    source: str, facts: dict[str, Any] | None = None, version: str = "2.15.0"
) -> dict[str, Value]:
    """Return the names that a source for a version of Keras binds."""
    start_session(version, facts)
    return run_cells([cell(source)], KnownLibraries(), facts or {}).namespace


def fits_of(source: str, facts: dict[str, Any] | None = None) -> list[FitRecord]:
    """Return the trainings of a source behind a model and arrays of the course."""
    read(MODEL + ARRAYS + source, facts)
    return session().models[-1].fits


def fit_of(source: str, facts: dict[str, Any] | None = None) -> FitRecord:
    """Return the only training of a source, in which nothing is unknown."""
    (fit,) = fits_of(source, facts)
    assert fit.all_problems == []
    return fit


def problems_of(source: str) -> str:
    """Return why the only training of a source is not understood."""
    (fit,) = fits_of(source)
    return "; ".join(problem.reason for problem in fit.all_problems)


def values_of(fit: FitRecord) -> dict[str, Any]:
    """Return the options of data and trainer that a training has."""
    settings = fit.data.options | fit.trainer
    return {name: setting.value for name, setting in settings.items()}


def write(fits: list[FitRecord], folder: Path) -> list[str]:
    """Write models and configurations of trainings, and return the texts of the latter."""
    folder.mkdir()
    texts = []
    for fit in fits:
        module = "model" if fit.before is None else f"model_{fit.number}"
        model = FromKeras(
            config=json.dumps(fit.model_config),
            compile_config=json.dumps(fit.compile_config),
            scale=fit.scale,
        )
        (folder / f"{module}.py").write_text(write_text(model).text)
        texts.append(write_config(None, fit, module))
        (folder / config_name(fit.number)).write_text(texts[-1])
    return texts
