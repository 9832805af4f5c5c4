"""Build a translated model without values in its weights, which its source text does not need."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.input_scale_inference import HOW_TO_SAY


def build_model(
    config: dict[str, Any],
    compiled: dict[str, Any],
    scale: Any,
    image_size: tuple[int, int, int] | None,
) -> tuple[FromKeras, list[str]]:
    """Return the model, and what building it said.

    Args:
        config: the model as Keras's `to_json` gives it.
        compiled: its compile configuration.
        scale: what it is trained on, as `FromKeras` names it; anything else is not known.
        image_size: height, width (pixels) and channels, for a model that takes any.

    Raises:
        UnknownScaleError: its scale is not known, and no guess is a good one.
        InputError: it cannot be built.
    """
    with _WithoutWeights(), contextlib.redirect_stdout(io.StringIO()) as printed:
        model = FromKeras(
            config=json.dumps(config),
            compile_config=json.dumps(compiled),
            scale=scale if isinstance(scale, str) else None,  # type: ignore[arg-type]
            image_size=image_size,
        )
    return model, printed.getvalue().replace(HOW_TO_SAY, "--fact scale=…").splitlines()


def input_shape(config: Any) -> list[int | None] | None:
    """Return the shape of the first input that a configuration of a model has, batch included."""
    if isinstance(config, list):
        return next(filter(None, map(input_shape, config)), None)
    if not isinstance(config, dict):
        return None
    if config.get("class_name") == "InputLayer":
        own = config["config"]
        return own.get("batch_shape") or own.get("batchinput_shape")
    return input_shape(list(config.values()))


class _WithoutWeights(TorchFunctionMode):
    """Layers that are made have weights without memory or values, and real constants."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
