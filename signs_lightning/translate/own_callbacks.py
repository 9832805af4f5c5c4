"""Callbacks of the source's own that end the training where a figure passes a bound."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from signs_lightning.translate.callback_records import OURS, CallbackRecord
from signs_lightning.translate.classes import Instance
from signs_lightning.translate.functions import Function
from signs_lightning.translate.keras_session import session
from signs_lightning.translate.source_errors import SourceError
from signs_lightning.translate.values import Method, NotUnderstoodError, Place, Unknown, Value

if TYPE_CHECKING:
    from signs_lightning.translate.callbacks import CallbackEntries, FitSettings

# Checks that EarlyStopping may wait: it ends a run by its bound alone.
PATIENCE = 1_000_000
_TURNED = {ast.Gt: ast.Lt, ast.GtE: ast.LtE, ast.Lt: ast.Gt, ast.LtE: ast.GtE}
_PURE = ("print", "str", "round", "float", "int", "format", "get", "join")  # calls that are allowed


class OwnCallback(CallbackRecord):
    """What an instance of a class that derives from Keras's Callback is for Keras."""

    def __init__(self, place: Place) -> None:
        super().__init__("Callback", [], {}, place)

    def attribute(self, name: str, place: Place) -> Value:
        if name == "__init__":
            return Method(name, lambda args, kwargs, at: None)
        raise NotUnderstoodError(f".{name} of a callback")


@dataclass(frozen=True)
class Bound:
    """A bound at which the training ends, at the end of any epoch.

    Attributes:
        figure: Keras's name of the figure that is watched.
        is_above: whether it ends above the bound, else below it.
        threshold: the bound, which the figure, a float32, must pass.
        comparison: as the source has it, such as "accuracy > 0.95".
        is_guarded: whether the source looks first whether Keras has the figure.
    """

    figure: str
    is_above: bool
    threshold: float
    comparison: str
    is_guarded: bool


def translate_own(
    callback: Instance, fit: FitSettings, made: CallbackEntries, place: Place
) -> None:
    """Write a callback of the source that ends the training where a figure passes a bound."""
    method = callback.attribute("on_epoch_end", place) if callback.has_method("on_epoch_end") else 0
    if isinstance(method, Unknown):
        made.problems.append(method)
        return
    try:
        _write(callback, fit, made)
    except (NotUnderstoodError, SourceError) as error:
        made.problems.append(Unknown(str(error), place))


def _write(callback: Instance, fit: FitSettings, made: CallbackEntries) -> None:
    name = callback.cls.name
    for bound in bounds_of(callback):
        monitor = _known_figure(name, bound, fit)
        mode = "max" if bound.is_above else "min"
        settings = {"monitor": monitor, "mode": mode, "stopping_threshold": bound.threshold}
        settings |= {"patience": PATIENCE, "check_finite": False}
        place = callback.base.place
        made.callbacks.append((place, {"class_path": "EarlyStopping", "init_args": settings}))
        said = f"{name} ends the training after an epoch with {bound.comparison}"
        if not bound.comparison.endswith(f" {bound.threshold}"):
            said += f", which is a strict bound of {bound.threshold} in float32"
        made.notes.append((place, said))
        plain = bound.figure.removeprefix("val_")
        if plain not in ("loss", *fit.metrics):
            text = f"{name} watches {bound.figure}, as Keras before 2.3 names it"
            made.notes.append((place, f"{text}; later ones stop with an error"))


def _known_figure(name: str, bound: Bound, fit: FitSettings) -> str:
    """Return our name of the figure that a callback of the source watches.

    Raises:
        NotUnderstoodError: Keras has no such figure, or it is none of ours.
    """
    plain = bound.figure.removeprefix("val_")
    ours, is_validation = OURS.get(plain), bound.figure != plain
    is_spelled = ours == "loss" or plain in fit.metrics
    # Keras before 2.3, and TensorFlow 1, name it so, however it is spelled in `compile`.
    is_old = session().release < (2, 5) and plain == "acc" and not bound.is_guarded
    is_spelled = is_spelled or (is_old and "accuracy" in fit.metrics)
    if ours is None or not is_spelled or (is_validation and not fit.is_validated):
        raise NotUnderstoodError(f"{bound.figure}, which class {name} watches")
    return f"val_{ours}" if is_validation else ours


def bounds_of(callback: Instance) -> list[Bound]:
    """Return the bounds at which a callback of the source ends the training.

    Raises:
        NotUnderstoodError: it does anything else.
    """
    spaces = [callback.attributes, *(cls.namespace for cls in callback.cls.order)]
    hooks = [(name, hook) for space in spaces for name, hook in space.items() if _is_hook(name)]
    hooks = [(name, hook) for name, hook in hooks if not _only_prints(name, hook)]
    if not hooks:
        return []
    if [name for name, _ in hooks] != ["on_epoch_end"]:
        raise NotUnderstoodError(f"{callback.cls.describe()}, a callback of its own")
    method = hooks[0][1]
    if not isinstance(method, Function) or len(method.parameters()) != 3:
        raise NotUnderstoodError(f"on_epoch_end of {callback.cls.describe()}")
    return list(_EpochEnd(callback, method).bounds(method.body))


def _is_hook(name: str) -> bool:
    return name.startswith(("on_", "set_")) or name in ("model", "params", "_model")


def _only_prints(name: str, hook: Value) -> bool:
    return name.startswith("on_") and isinstance(hook, Function) and all(map(_is_idle, hook.body))


def _is_idle(node: ast.stmt) -> bool:
    """Return whether a statement prints, or does nothing."""
    if isinstance(node, ast.If):
        return _is_pure(node.test) and all(map(_is_idle, (*node.body, *node.orelse)))
    if not isinstance(node, ast.Expr):
        return isinstance(node, ast.Pass)
    value = node.value
    is_print = isinstance(value, ast.Call) and ast.unparse(value.func) == "print"
    return isinstance(value, ast.Constant) or (is_print and _is_pure(value))


def _is_pure(node: ast.expr) -> bool:
    """Return whether an expression changes nothing, as far as it says."""
    if any(isinstance(part, ast.NamedExpr | ast.Yield | ast.YieldFrom) for part in ast.walk(node)):
        return False
    calls = [part.func for part in ast.walk(node) if isinstance(part, ast.Call)]
    return all(getattr(func, "attr", getattr(func, "id", "")) in _PURE for func in calls)


class _EpochEnd:
    """The statements of `on_epoch_end`, read and not run."""

    def __init__(self, callback: Instance, method: Function) -> None:
        self._callback = callback
        self._method = method
        self._receiver, self._epoch, self._logs = method.parameters()
        self._figures: dict[str, str] = {}  # by the names that they are assigned to

    def bounds(self, body: list[ast.stmt]) -> Iterator[Bound]:
        for node in body:
            if isinstance(node, ast.If):
                stops = self._stops(node.body), self._stops(node.orelse)
                if stops == (True, False):
                    yield self._condition(node.test)
                elif any(stops) or not _is_pure(node.test):
                    raise self._refusal()
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                figure = self._figure(node.value)
                if len(node.targets) > 1 or figure is None:
                    raise self._refusal()
                self._figures[node.targets[0].id] = figure
            elif not _is_idle(node):
                raise self._refusal()

    def _refusal(self) -> NotUnderstoodError:
        return NotUnderstoodError(f"on_epoch_end of {self._callback.cls.describe()}")

    def _stops(self, body: list[ast.stmt]) -> bool:
        """Return whether statements set `self.model.stop_training`, and beside it only print."""
        stop = f"{self._receiver}.model.stop_training = True"
        found = [ast.unparse(node) == stop for node in body]
        if not all(is_stop or _is_idle(node) for node, is_stop in zip(body, found, strict=True)):
            raise self._refusal()
        return any(found)

    def _figure(self, node: ast.expr) -> str | None:
        """Return the figure that an expression is, such as `logs.get('accuracy')`, or None."""
        if isinstance(node, ast.Name):
            return self._figures.get(node.id)
        key: ast.expr | None = None
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == self._logs:
            key = node.slice
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == f"{self._logs}.get":
            key = node.args[0] if len(node.args) == 1 and not node.keywords else None
        is_name = isinstance(key, ast.Constant) and isinstance(key.value, str)
        return key.value if is_name else None  # type: ignore[union-attr]

    def _condition(self, node: ast.expr) -> Bound:
        parts = node.values if isinstance(node, ast.BoolOp) else [node]
        *guards, last = parts
        if isinstance(node, ast.BoolOp) and not isinstance(node.op, ast.And):
            raise self._refusal()
        if not isinstance(last, ast.Compare) or len(last.ops) != 1:
            raise self._refusal()
        left, operator, right = last.left, type(last.ops[0]), last.comparators[0]
        figure = self._figure(left)
        if figure is None:
            left, operator, right = right, _TURNED.get(operator, ast.Eq), left
            figure = self._figure(left)
        if figure is None or operator not in _TURNED:
            raise self._refusal()
        if not all(self._is_guard(guard, figure) for guard in guards):
            raise self._refusal()
        is_above = operator in (ast.Gt, ast.GtE)
        is_strict = operator in (ast.Gt, ast.Lt)
        number = self._number(right)
        threshold = strict_bound(number, is_above, is_strict)
        text = f"{figure} {'>' if is_above else '<'}{'' if is_strict else '='} {number}"
        return Bound(figure, is_above, threshold, text, bool(guards))

    def _is_guard(self, node: ast.expr, figure: str) -> bool:
        """Return whether an expression asks whether Keras has the figure."""
        text = ast.unparse(node)
        if text in (f"{self._logs} is not None", self._logs):
            return True
        is_comparison = isinstance(node, ast.Compare) and text.endswith(" is not None")
        if is_comparison and len(node.ops) == 1:  # type: ignore[attr-defined]
            return self._figure(node.left) == figure  # type: ignore[attr-defined]
        return text in (f"'{figure}' in {self._logs}", f"'{figure}' in {self._logs}.keys()")

    def _number(self, node: ast.expr) -> float:
        """Return the value of an expression that is the same after each epoch."""
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        if names & {self._epoch, self._logs, *self._figures}:
            raise self._refusal()
        value: Any = self._method.evaluate_inside(node, {self._receiver: self._callback})
        is_number = isinstance(value, int | float) and math.isfinite(value)
        if not is_number or isinstance(value, bool):
            raise self._refusal()
        return float(value)


def strict_bound(threshold: float, is_above: bool, is_strict: bool) -> float:
    """Return the bound that a float32 passes, as float32, just where `figure > threshold` says so.

    Args:
        threshold: of the source, compared in float64.
        is_above: whether the comparison is `>` or `>=`, else `<` or `<=`.
        is_strict: whether it is `>` or `<`.
    """
    sign = 1 if is_above else -1
    wanted = sign * threshold
    bound = np.float32(wanted)
    if float(bound) > wanted or (float(bound) == wanted and not is_strict):
        bound = np.nextafter(bound, np.float32(-np.inf))
    elif is_strict or float(bound) < wanted:
        return threshold
    return sign * float(bound)
