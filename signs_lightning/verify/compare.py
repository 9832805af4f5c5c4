"""Compares two models on the same images: parameters, pixels, layers, outputs, training."""

from __future__ import annotations

import torch
from torch import Tensor

from signs_lightning.errors import InputError
from signs_lightning.keras_io.axis_order import from_keras_order
from signs_lightning.keras_io.network import KerasNetwork
from signs_lightning.models.layer_graph import count_parameters
from signs_lightning.runtime.escaping import format_shape, shorten
from signs_lightning.verify.layers import (
    compare_layers,
    explain_end,
    explain_pixels,
    make_sides,
)
from signs_lightning.verify.outputs import compare_outputs
from signs_lightning.verify.real_keras import KerasRun, run_real_keras
from signs_lightning.verify.result import Comparison, Row, Status
from signs_lightning.verify.settings import compare_settings
from signs_lightning.verify.sides import Side
from signs_lightning.verify.trace import Trace, find_roundings, trace_network
from signs_lightning.verify.training import compare_training, labels_for
from signs_lightning.verify.values import BOUND, bound_of, difference


def compare(a: Side, b: Side, images: Tensor, about: str) -> Comparison:
    """Compare two models.

    Args:
        a: the one that is verified.
        b: the reference; where a is a Keras file and b is none, a is.
        images: uint8 (N, H, W, C) of the models' size.
        about: what the images are.

    Raises:
        InputError: nothing tells how pixels are prepared, or Keras's process ended too early.
    """
    reference, other = (a, b) if a.kind == "Keras file" != b.kind else (b, a)
    names, kinds = (reference.name, other.name), (reference.kind, other.kind)
    result = Comparison(names, kinds, about, notes=[*reference.notes, *other.notes])
    if not _compare_facts(result, reference, other):
        result.not_compared.append("all else: the models take images of other sizes")
        return result
    pixels = _compare_pixels(result, reference, other, images)
    traces = [
        None if side.network is None else trace_network(side.network, given)
        for side, given in zip((reference, other), pixels, strict=True)
    ]
    raw = [None if trace is None else trace.output for trace in traces]
    if raw[0] is not None and bool(raw[0].isnan().any()):
        raise InputError(
            f"{reference.name} gives NaN on these images, with which nothing can be compared. Look "
            "at its weights, or choose other --images."
        )
    keras_run = _ask_keras(result, reference, other, pixels[0], raw[0])
    if other.kind == "Keras file":
        text = f"Keras itself on {other.name}: it is asked about the reference alone"
        result.not_compared.append(text)
    first, second = traces
    if first is not None:
        _compare_with_keras(result, first, keras_run, reference)
    if first is None or second is None:
        result.not_compared.append("layers, gradients and training: an ONNX file hides its layers")
        explain_end(result, compare_outputs(result, reference, other, images, raw, keras_run))
        return result
    sides = make_sides(reference, other, images, pixels, (first, second))
    compare_layers(result, sides)
    probabilities = compare_outputs(result, reference, other, images, raw, keras_run)
    explain_pixels(result, sides)
    explain_end(result, probabilities, sides)
    compare_settings(result, sides)
    labels = labels_for(first.output, reference, probabilities[0])
    compare_training(result, sides, probabilities[0], labels, keras_run)
    return result


def _compare_facts(result: Comparison, reference: Side, other: Side) -> bool:
    """Compare what needs no images; return whether both take images of one size."""
    sizes = [side.image_size for side in (reference, other)]
    if None not in sizes:
        texts = [format_shape(size or ()) for size in sizes]
        _add_fact(result, "image size", texts, sizes[0] == sizes[1])
    names = [side.class_names for side in (reference, other)]
    if names[0] is None or names[1] is None:
        result.not_compared.append("class names: not known of both")
    else:
        texts = [", ".join(known) for known in (names[0], names[1])]
        _add_fact(result, "class names", texts, names[0] == names[1])
    if reference.network is not None and other.network is not None:
        counts = [count_parameters(side)[0] for side in (reference.network, other.network)]
        _add_fact(result, "parameters", [f"{n:,}" for n in counts], counts[0] == counts[1])
    return None in sizes or sizes[0] == sizes[1]


def _add_fact(result: Comparison, name: str, texts: list[str], is_same: bool) -> None:
    status: Status = "agrees" if is_same else "differs"
    detail = texts[0] if is_same else f"{texts[0]} against {texts[1]}"
    result.rows.append(Row("facts", name, status=status, detail=detail))


def _compare_pixels(
    result: Comparison, reference: Side, other: Side, images: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what each network is given, and compare it where both prepare it themselves."""
    made = [
        None if side.prepare is None else side.prepare(images.clone())
        for side in (reference, other)
    ]
    first, second = made
    if first is None or second is None:
        given = second if first is None else first
        if given is None:
            raise InputError(
                "Neither side tells how pixels are prepared. Give the module a method "
                "`preprocess`, or add --scale."
            )
        without = reference if first is None else other
        text = f"pixels: {without.name} prepares none, so it was given the other side's"
        if without.network is None:
            text = f"pixels: {without.name} hides what it makes of images"
        result.not_compared.append(text)
        return given, given
    ranges = (f"{float(x.min()):.3g} to {float(x.max()):.3g}" for x in (first, second))
    detail = " against ".join(dict.fromkeys(ranges))
    bound = bound_of(first)
    result.add("pixels", "as prepared", difference(first, second), bound, detail=detail)
    return first, second


def _ask_keras(
    result: Comparison, reference: Side, other: Side, pixels: Tensor, output: Tensor | None
) -> KerasRun | None:
    """Let Keras run the file of the reference, where it is one."""
    network = reference.network
    if reference.kind != "Keras file":
        return None
    if reference.keras_file is None or not isinstance(network, KerasNetwork) or output is None:
        result.not_compared.append(f"Keras itself: {reference.name} has weights alone")
        return None
    inputs = network.plan.graph.arrange(pixels)
    if not network.plan.graph.channels_first and inputs.dim() == 4:
        inputs = inputs.permute(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
    has_labels = other.network is not None and not getattr(reference.model, "independent", False)
    labels = labels_for(output, reference).numpy() if has_labels else None
    from_logits = network.plan.ending.kind == "logits"
    array = inputs.float().contiguous().numpy()
    run = run_real_keras(reference.keras_file, array, labels, from_logits)
    refusal = "Keras 3 is not installed"
    if run is not None:
        result.keras = run.version
        if run.refusal is None:
            return run
        refusal = f"{run.version} refuses {reference.name} ({shorten(run.refusal, 150)})"
    result.is_unchecked, result.keras = True, refusal
    result.not_compared.append(f"Keras itself: {refusal}")
    return None


def _compare_with_keras(
    result: Comparison, trace: Trace, run: KerasRun | None, reference: Side
) -> None:
    """Compare our reading of a file with Keras, and let Keras's values be the reference's."""
    network = reference.network
    if run is None or not isinstance(network, KerasNetwork):
        return
    ending = network.plan.ending.call
    behind = set() if ending is None else {step.path for step in network.plan.steps[ending:]}
    theirs: dict[int, Tensor] = {}
    for name in trace.kinds:
        calls, output = trace.calls_of(name), run.outputs.get(name)
        if output is not None and calls and tuple(name.split("/")) not in behind:
            value = torch.from_numpy(output)
            value = value if network.plan.graph.channels_first else from_keras_order(value)
            theirs[calls[-1]] = value.to(trace.calls[calls[-1]].output.dtype).contiguous()
    offs = {k: difference(value, trace.calls[k].output) for k, value in theirs.items()}
    if any(not off <= trace.bound(k) for k, off in offs.items()):
        find_roundings(trace, network)
    bad, worst = "", 0.0
    for k, value in theirs.items():
        share = offs[k] / trace.bound(k)
        worst = max(worst, BOUND * share)
        bad = bad or ("" if share <= 1 else trace.calls[k].layer)
        if value.shape == trace.calls[k].output.shape:
            trace.calls[k].output = value
    detail = f"{len(theirs)} layers" if not bad else f"from layer '{bad}' on"
    result.add("keras", "our reading", worst, BOUND, detail=detail)
