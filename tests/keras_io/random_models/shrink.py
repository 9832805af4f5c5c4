"""Makes a failing case smaller, as long as it fails in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from .draw_case import Case
from .model_spec import Layer, Model, Step, prune

SECONDS = 120.0


def shrink(case: Case, fails: Callable[[Case], bool], seconds: float = SECONDS) -> Case:
    """Return the smallest case found that still fails.

    Args:
        case: one that fails.
        fails: whether another one fails in the same way.
        seconds: to stop after.
    """
    end = time.monotonic() + seconds
    found = True
    while found:
        found = False
        for smaller in _smaller_cases(case):
            if time.monotonic() > end:
                return case
            if fails(smaller):
                case, found = smaller, True
                break
    return case


def _smaller_cases(case: Case) -> Iterator[Case]:
    for model in _smaller_models(case.model):
        yield replace(case, model=model)
    if case.policy != "float32":
        yield replace(case, policy="float32")
    if case.version:
        yield replace(case, version="")
    if case.format != "h5":
        yield replace(case, format="h5")


def _smaller_models(model: Model) -> Iterator[Model]:
    """Models with a step, an inner model or an argument less, the largest parts first."""
    for k in range(len(model.steps)):
        layer = model.layers[model.steps[k].layer]
        for taken in dict.fromkeys(model.steps[k].inputs):
            if len(model.steps) > 1:
                yield prune(_without_step(model, k, taken))
        if layer.inner is not None:
            yield prune(_inlined(model, k, layer.inner))
    for k, layer in enumerate(model.layers):
        if layer.inner is not None:
            for inner in _smaller_models(layer.inner):
                yield _with_layer(model, k, replace(layer, inner=inner))
        for key in layer.arguments:
            fewer = {name: value for name, value in layer.arguments.items() if name != key}
            yield _with_layer(model, k, replace(layer, arguments=fewer))
    for k, step in enumerate(model.steps):
        if step.arguments:
            steps = (*model.steps[:k], replace(step, arguments={}), *model.steps[k + 1 :])
            yield replace(model, steps=steps)
    if not model.sequential and model.is_chain:
        yield replace(model, sequential=True)


def _with_layer(model: Model, k: int, layer: Layer) -> Model:
    return replace(model, layers=(*model.layers[:k], layer, *model.layers[k + 1 :]))


def _without_step(model: Model, k: int, taken: int) -> Model:
    """The model where what step k gives is the value that it takes."""

    def moved(value: int) -> int:
        value = taken if value == k + 1 else value
        return value - 1 if value > k + 1 else value

    kept = [step for j, step in enumerate(model.steps) if j != k]
    steps = tuple(replace(s, inputs=tuple(map(moved, s.inputs))) for s in kept)
    if k == len(model.steps) - 1:  # the output: what led to it is the last one then
        steps = steps[:taken]
    return replace(model, steps=steps)


def _inlined(model: Model, k: int, inner: Model) -> Model:
    """The model with the layers of a model inside in its place."""
    start, base, more = model.steps[k].inputs[0], len(model.layers), len(inner.steps) - 1
    layers = [replace(x, arguments=_without_name(x)) for x in inner.layers]
    own = [
        Step(
            base + step.layer,
            tuple(start if value == 0 else value + k for value in step.inputs),
            step.arguments,
        )
        for step in inner.steps
    ]
    later = [
        replace(s, inputs=tuple(v + more if v > k else v for v in s.inputs))
        for s in model.steps[k + 1 :]
    ]
    steps = (*model.steps[:k], *own, *later)
    spec = replace(model, layers=(*model.layers, *layers), steps=steps)
    return replace(spec, sequential=spec.sequential and inner.is_chain)


def _without_name(layer: Layer) -> dict[str, object]:
    return {key: value for key, value in layer.arguments.items() if key != "name"}
