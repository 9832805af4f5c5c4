"""The compile configuration of one of several outputs: its own loss and metrics."""

from __future__ import annotations

from typing import Any

BY_OUTPUT = ("loss", "metrics", "weighted_metrics")


def of_output(config: dict[str, Any], outputs: tuple[str, ...], output: int) -> dict[str, Any]:
    """Return a compile configuration with the loss and metrics of one output.

    Keras keeps them as one for all outputs, as a list with one for each, or as a dict by the names
    of the outputs.

    Args:
        config: the configuration of all outputs.
        outputs: their names.
        output: which is meant.
    """
    if len(outputs) < 2:
        return config
    own = {key: _pick(config[key], outputs, output) for key in BY_OUTPUT if key in config}
    # The weight of the only loss that is left changes nothing but its size.
    return config | own | {"loss_weights": None}


def _pick(value: Any, outputs: tuple[str, ...], output: int) -> Any:
    if isinstance(value, list) and len(value) == len(outputs):
        return value[output]
    if not isinstance(value, dict) or "class_name" in value:
        return value
    name = outputs[output]
    return value.get(name, value.get(name.partition("/")[0].partition(":")[0]))
