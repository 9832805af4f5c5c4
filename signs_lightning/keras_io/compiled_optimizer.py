"""The optimizer and the learning-rate schedule that a Keras model was compiled with."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from signs_lightning.keras_io.compiled_objects import (
    arguments_of,
    name_of,
    show,
    show_value,
)
from signs_lightning.models.keras_adam import KerasAdam
from signs_lightning.models.keras_adam_variants import KerasAdamax, KerasLion, KerasNadam
from signs_lightning.models.keras_averaging import EMA
from signs_lightning.models.keras_clipping import CLIPPING
from signs_lightning.models.keras_optimizers import (
    KerasAdadelta,
    KerasAdagrad,
    KerasRMSprop,
    KerasSGD,
)
from signs_lightning.models.keras_schedules import SCHEDULES, make_keras_schedule, peak_rate

ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
# name in lower case → ours, Keras's name, Keras's learning rate, its other arguments' defaults
OPTIMIZERS: dict[str, tuple[Any, str, float, dict[str, Any]]] = {
    "adam": (KerasAdam, "Adam", 1e-3, ADAM | {"amsgrad": False}),
    "adamw": (KerasAdam, "AdamW", 1e-3, ADAM | {"amsgrad": False, "weight_decay": 0.004}),
    "sgd": (KerasSGD, "SGD", 0.01, {"momentum": 0.0, "nesterov": False}),
    "rmsprop": (
        KerasRMSprop,
        "RMSprop",
        1e-3,
        {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False},
    ),
    "adagrad": (
        KerasAdagrad,
        "Adagrad",
        1e-3,
        {"initial_accumulator_value": 0.1, "epsilon": 1e-7},
    ),
    "adadelta": (KerasAdadelta, "Adadelta", 1e-3, {"rho": 0.95, "epsilon": 1e-7}),
    "adamax": (KerasAdamax, "Adamax", 1e-3, ADAM),
    "nadam": (KerasNadam, "Nadam", 1e-3, ADAM),
    "lion": (KerasLion, "Lion", 1e-3, {"beta_1": 0.9, "beta_2": 0.99}),
}
COMMON: dict[str, Any] = {"weight_decay": None, **dict.fromkeys(CLIPPING)}
OURS = {"epsilon": "eps"}  # Keras's names of arguments that differ
BELOW_1 = {"beta_1", "beta_2"}
UP_TO_1 = {"rho", "momentum", "alpha", "m_mul", "ema_momentum"}
POSITIVE = {"ema_overwrite_frequency", "decay_steps", "first_decay_steps", "decay_rate", "m_mul"}
MAX_NUMBER, MIN_POSITIVE = 1e12, 1e-9
MAX_VALUES = 1000  # of a piecewise schedule
# Arguments that have no effect of their own.
WITHOUT_EFFECT = {
    *("name", "jit_compile", "is_legacy_optimizer", "ema_momentum", "ema_overwrite_frequency"),
    *("loss_scale_factor", "learning_rate", "lr", "decay", "schedule_decay"),
}
MULTI_BACKEND = re.compile(r"(1\.\d+|2\.[0-3])(\.\d+)?")  # versions of Keras outside TensorFlow


@dataclass(frozen=True)
class CompiledOptimizer:
    """An optimizer of Keras, to be made here.

    Attributes:
        kind: our class.
        arguments: of it, learning rate included.
        schedule: Keras's name of a learning-rate schedule, and its arguments; None for none.
        name: Keras's name of the optimizer.
        shown: Keras's arguments that are not its defaults, without the learning rate.
        is_legacy: whether it is that of Keras before 2.11.
    """

    kind: Any
    arguments: dict[str, Any]
    schedule: tuple[str, dict[str, Any]] | None
    name: str
    shown: dict[str, Any]
    is_legacy: bool = False

    def make(self, params: Iterable[Any]) -> Optimizer:
        """Make the optimizer of parameters or parameter groups."""
        return self.kind(params, **self.arguments)

    def make_schedule(self, optimizer: Optimizer) -> LambdaLR:
        """Make the scheduler, to be stepped after every step of the optimizer."""
        name, arguments = self.schedule or ("", {})
        return make_keras_schedule(optimizer, name, arguments)

    def describe(self, lr: float | None, keeps_schedule: bool) -> str:
        """Return `SGD(learning_rate=0.01, momentum=0.9)`.

        Args:
            lr: a learning rate that takes the place of the file's.
            keeps_schedule: whether the schedule is the file's.
        """
        rate = f"{self.arguments['lr'] if lr is None else lr:.6g}"
        if self.schedule is not None and keeps_schedule:
            name, arguments = self.schedule
            values = [f"{key}={show_value(value)}" for key, value in arguments.items()]
            rate = f"{name}({', '.join(values)})" + ("" if lr is None else f" scaled to {rate}")
        shown = [f"{key}={show_value(value)}" for key, value in self.shown.items()]
        return f"{self.name}({', '.join([f'learning_rate={rate}', *shown])})"


def read_optimizer(
    spec: Any, keras_version: str | None
) -> tuple[CompiledOptimizer | None, list[str]]:
    """Return an optimizer, None for one that cannot be taken, and what is not taken of it.

    Args:
        spec: a name, or class and arguments, as any Keras writes them; also inside a
            LossScaleOptimizer, which changes no numbers in float32.
        keras_version: that of the file.
    """
    name = name_of(spec)
    if name.startswith("LossScaleOptimizer") and "inner_optimizer" in arguments_of(spec):
        spec = arguments_of(spec)["inner_optimizer"]
        name = name_of(spec)
    config = arguments_of(spec)
    try:
        kind, name, rate, defaults = OPTIMIZERS[name.removeprefix("Custom>").lower()]
        # Keras 2 always writes its version; it averages otherwise.
        if config.get("use_ema") is True and not (keras_version or "").startswith("2."):
            defaults = defaults | EMA
        return _read(config, kind, name, rate, COMMON | defaults, keras_version)
    except (KeyError, ValueError):  # an unknown one, or arguments that it does not have in Keras
        given = {key: value for key, value in config.items() if key not in WITHOUT_EFFECT}
        rates = {key: config[key] for key in ("learning_rate", "lr") if key in config}
        return None, [f"optimizer {show(spec, rates | given)}"]


def _read(
    config: dict[str, Any],
    kind: Any,
    name: str,
    rate: float,
    defaults: dict[str, Any],
    keras_version: str | None,
) -> tuple[CompiledOptimizer, list[str]]:
    values = {
        key: default if config.get(key) is None else _check(key, config[key], default)
        for key, default in defaults.items()
    }
    if sum(bool(values[key]) for key in CLIPPING) > 1:
        raise ValueError("one gradient cannot be clipped twice")
    arguments = {OURS.get(k, k): v for k, v in values.items() if v is not None}
    if "beta_1" in values:
        arguments["betas"] = (arguments.pop("beta_1"), arguments.pop("beta_2"))
    omissions = [
        f"{show_value(key)} of optimizer {name}"
        for key, value in config.items()
        if key not in WITHOUT_EFFECT | defaults.keys() and value not in (None, False, 0)
    ]
    schedule, spec = None, config.get("learning_rate", config.get("lr"))
    if isinstance(spec, dict):
        schedule = _read_schedule(spec)
        if schedule is None:
            omissions.append(f"learning rate schedule {name_of(spec)} of optimizer {name}")
    elif spec is not None:
        rate = _check("learning_rate", spec, 0.0)
    is_legacy = "decay" in config or "schedule_decay" in config
    is_legacy = is_legacy or config.get("is_legacy_optimizer") is True
    if is_legacy:
        decay = _check("decay", config.get("schedule_decay", config.get("decay")) or 0.0, 0.0)
        arguments |= _legacy_arguments(name, config, arguments, decay)
        if decay and name != "Nadam" and schedule is None:
            settings = {"initial_learning_rate": rate, "decay_steps": 1, "decay_rate": decay}
            schedule = "InverseTimeDecay", settings
    if "clipnorm" in arguments and MULTI_BACKEND.fullmatch(keras_version or ""):
        arguments["global_clipnorm"] = arguments.pop("clipnorm")
    arguments["lr"] = rate if schedule is None else peak_rate(schedule[1])
    shown = {k: v for k, v in values.items() if v is not None and not _is_default(v, defaults[k])}
    if name == "AdamW":  # what it is chosen for
        shown["weight_decay"] = values["weight_decay"]
    return CompiledOptimizer(kind, arguments, schedule, name, shown, is_legacy), omissions


def _is_default(value: Any, default: Any) -> bool:
    """Whether a value is the default, also as the float32 that Keras 2 wrote."""
    if value == default or not isinstance(default, float):
        return value == default
    return math.isclose(value, default, rel_tol=1e-6)


def _legacy_arguments(
    name: str, config: dict[str, Any], arguments: dict[str, Any], decay: float
) -> dict[str, Any]:
    """Return what Keras before 2.11 does otherwise."""
    if name == "RMSprop":
        return {"eps_in_root": bool(arguments["momentum"])}
    if name == "Adagrad":  # Keras outside TensorFlow begins with 0
        start = {} if "initial_accumulator_value" in config else {"initial_accumulator_value": 0.0}
        return {"eps_in_root": False, **start}
    return {"momentum_decay": decay} if name == "Nadam" else {}


def _read_schedule(spec: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the name and arguments of a schedule, or None for one that cannot be taken."""
    name = name_of(spec)
    if name not in SCHEDULES:
        return None
    known = list(inspect.signature(SCHEDULES[name]).parameters.values())[1:]
    config = {key: value for key, value in arguments_of(spec).items() if value is not None}
    try:
        if not config.keys() <= {parameter.name for parameter in known} | {"name"}:
            return None
        arguments = {
            parameter.name: _check(
                parameter.name,
                config[parameter.name],
                parameter.default if isinstance(parameter.default, bool) else 0.0,
            )
            for parameter in known
            if parameter.name in config or parameter.default is inspect.Parameter.empty
        }
        defaults = {parameter.name: parameter.default for parameter in known}
        arguments = {key: value for key, value in arguments.items() if value != defaults[key]}
        bounds = arguments.get("boundaries", [])
        fits = bounds == sorted(bounds)
        fits = fits and ("values" not in arguments or len(arguments["values"]) == len(bounds) + 1)
        fits = fits and arguments.get("t_mul", 1) >= 1
        return (name, arguments) if fits and peak_rate(arguments) > 0 else None
    except (KeyError, ValueError):
        return None


def _check(key: str, value: Any, default: Any) -> Any:
    """Return a value of an argument.

    Raises:
        ValueError: it has another type than its default, or is out of its range.
    """
    if key in ("boundaries", "values"):
        if not isinstance(value, list) or len(value) > MAX_VALUES:
            raise ValueError(key)
        return [_check("", part, 0.0) for part in value]
    if key == "ema_overwrite_frequency" and type(value) is not int:
        raise ValueError(key)
    if isinstance(value, bool) or isinstance(default, bool):
        if isinstance(value, bool) and isinstance(default, bool):
            return value
        raise ValueError(key)
    fits = isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= MAX_NUMBER
    if not fits or (key in BELOW_1 and value >= 1) or (key in UP_TO_1 and value > 1):
        raise ValueError(key)
    if key in POSITIVE and value < MIN_POSITIVE:
        raise ValueError(key)
    return value
