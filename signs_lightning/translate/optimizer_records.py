"""Keras's optimizers of every version, with that version's defaults."""

from __future__ import annotations

from typing import Any

from signs_lightning.translate.keras_objects import ObjectRecord
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.object_arguments import OPTIMIZER_KINDS
from signs_lightning.translate.signatures import bind
from signs_lightning.translate.values import (
    LibraryName,
    NotUnderstoodError,
    Place,
    Record,
    Unknown,
    Value,
)

# Of TensorFlow 1 → Keras's class, and its words for their arguments.
OF_TENSORFLOW1 = {
    "AdamOptimizer": "Adam",
    "GradientDescentOptimizer": "SGD",
    "MomentumOptimizer": "SGD",
}
WORDS = {"lr": "learning_rate", "beta1": "beta_1", "beta2": "beta_2", "use_nesterov": "nesterov"}
WITHOUT_EFFECT = ("name", "jit_compile", "is_legacy_optimizer", "use_locking")


def read_optimizer(spec: Value, place: Place) -> Value:
    """Return the optimizer that `compile` is given, or an `Unknown`.

    Args:
        spec: a name, a class, an object, or a dict that Keras writes.
        place: of the call.
    """
    if isinstance(spec, Unknown):
        return spec
    if isinstance(spec, ObjectRecord) and spec.kind == "optimizers":
        return spec
    try:
        if isinstance(spec, str):
            return make_optimizer(f"keras.optimizers.{spec}", [], {})
        if isinstance(spec, LibraryName) and "optimizers." in spec.name:
            return make_optimizer(spec.name, [], {})
        if isinstance(spec, dict) and isinstance(spec.get("config"), dict):
            return make_optimizer(f"keras.optimizers.{spec.get('class_name')}", [], spec["config"])
    except NotUnderstoodError as error:
        return Unknown(str(error), place)
    what = spec.describe() if isinstance(spec, Record) else repr(spec)[:40]
    return Unknown(f"{what} as the optimizer", place)


def make_optimizer(name: str, args: list[Value], kwargs: dict[str, Value]) -> ObjectRecord:
    """Return `name(*args, **kwargs)`, all arguments and defaults in its config.

    Args:
        name: canonical, such as "keras.optimizers.Adam", "keras.optimizers.legacy.Adam" or
            "tensorflow.train.AdamOptimizer".
        args: positional arguments.
        kwargs: the others.

    Raises:
        NotUnderstoodError: there is no such optimizer, or it has no such arguments.
    """
    current, last = session(), name.rpartition(".")[2]
    kind = _kind(name)
    known = {spelling.lower(): spelling for spelling in OPTIMIZER_KINDS[kind]}
    if last.lower() not in known:
        raise NotUnderstoodError(f"the optimizer {last}")
    class_name = known[last.lower()]
    signature = OPTIMIZER_KINDS[kind][class_name]
    given = {  # the optimizers since Keras 2.11 take no rate from `lr`
        (key if kind == "new" else WORDS.get(key, key)): value
        for key, value in kwargs.items()
        if key not in WITHOUT_EFFECT
    }
    config: dict[str, Any] = bind(signature, args, given, last)
    for key in WITHOUT_EFFECT:
        config.pop(key, None)
    for key, value in config.items():
        if isinstance(value, Record) and not isinstance(value, ObjectRecord | Unknown):
            raise NotUnderstoodError(f"{value.describe()} as {key} of {last}")
    is_keras1 = kind == "multi-backend" and current.release[0] < 2
    if "epsilon" in config and (
        config["epsilon"] is None or (is_keras1 and "epsilon" not in given)
    ):
        config["epsilon"] = 1e-8 if is_keras1 else 1e-7
    if kind in ("tf.keras", "multi-backend"):
        config["is_legacy_optimizer"] = True
    return ObjectRecord("optimizers", OF_TENSORFLOW1.get(class_name, class_name), config)


def _kind(name: str) -> str:
    """Return which table of `OPTIMIZER_KINDS` has an optimizer's arguments."""
    if name.startswith("tensorflow.train."):
        return "tf.train"
    current = session()
    if current.is_multi_backend:
        return "multi-backend"
    is_old = current.has_legacy_optimizers and ".experimental." not in name
    return "tf.keras" if is_old or ".legacy." in name else "new"
