"""Rewrites what older Kerases wrote in a model's config, before it is parsed."""

from __future__ import annotations

from typing import Any

from signs_lightning.keras_io.config_entries import MODELS, Entry
from signs_lightning.keras_io.tf_operations import translate_operation


def translate_config(model: Entry) -> Entry:
    """Return a model's entry with the operations of tf.keras 2 as those of Keras 3.

    So it is in all models inside it. What is malformed stays as it is.
    """
    config: Any = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(layers, list):
        return model
    translated = [_translate_entry(entry) for entry in layers]
    return {**model, "config": translated if layers is config else {**config, "layers": translated}}


def _translate_entry(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    if entry.get("class_name") in MODELS:
        return translate_config(entry)
    return translate_operation(entry)
