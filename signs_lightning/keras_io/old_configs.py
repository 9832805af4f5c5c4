"""Rewrites what older Kerases wrote in a model's config, before it is parsed."""

from __future__ import annotations

from typing import Any

from signs_lightning.keras_io.config_entries import MODELS, Entry
from signs_lightning.keras_io.keras1_configs import is_keras1, translate_keras1
from signs_lightning.keras_io.tf_operations import translate_operation


def translate_config(model: Entry) -> Entry:
    """Return a model's entry in the words of Keras 2, with the operations of Keras 3.

    What Keras 1 wrote becomes Keras 2's, and TensorFlow's functions in tf.keras 2 become operations
    of Keras 3, also in the models inside it. What is malformed stays as it is.
    """
    return _translate_model(model, is_keras1(model))


def _translate_model(model: Entry, keras1: bool) -> Entry:
    config: Any = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(layers, list):
        return model
    translated = [_translate_entry(entry, keras1) for entry in layers]
    return {**model, "config": translated if layers is config else {**config, "layers": translated}}


def _translate_entry(entry: Any, keras1: bool) -> Any:
    if not isinstance(entry, dict):
        return entry
    if entry.get("class_name") in MODELS:
        return _translate_model(entry, keras1)
    return translate_keras1(entry) if keras1 else translate_operation(entry)
