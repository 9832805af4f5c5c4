"""Tries porting bugs on a layer with weights: padding, kernel layout, flatten order, epsilon."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from signs_lightning.models.layers import pair
from signs_lightning.verify.blame import image_of
from signs_lightning.verify.case import Case, attempt, before_padding, bind
from signs_lightning.verify.result import Reason
from signs_lightning.verify.values import (
    bound_of,
    channels_first_rows,
    channels_last_rows,
    difference,
)

MAX_PADDINGS = 400  # that are tried on one layer
EPSILONS = (1e-5, 1e-3, 1e-4, 1e-6, 1e-7, 1e-2, 1e-8, 1e-12, 0.0)
Padding = tuple[int, int, int, int]  # left, right, top, bottom


def reasons_of_weighted_layer(case: Case) -> Iterator[Reason]:
    """Yield what explains a layer with weights whose output differs."""
    name, partner = case.reference.calls[case.index].name, case.partner
    if partner is None:
        return
    if name == "conv2d" and case.other.calls[partner].name == "conv2d":
        yield from _of_conv(case, partner)
    elif name == "linear" and case.other.calls[partner].name == "linear":
        yield from _of_linear(case, partner)
    elif name == "batch_norm":
        yield from _of_batch_norm(case, partner)
    yield from _of_weights(case, partner)


def _of_conv(case: Case, partner: int) -> Iterator[Reason]:
    expected = case.reference.calls[case.index].output
    given = bind(case.other, partner)
    weight: Tensor = given["weight"]
    shape = bind(case.reference, case.index)["weight"].shape
    own = given | {"input": given["input"]}
    for tried, candidate in _kernels(weight, tuple(shape)):
        text = f"the kernel of {case.here} has other axes than that of {case.there}"
        if "reversed channels" in tried:
            text = f"the kernel of {case.here} is for channels in reverse (BGR for RGB)"
        kind = "channel order" if "reversed channels" in tried else "kernel layout"
        reason = attempt(kind, text, tried, expected, lambda w=candidate: F.conv2d(
            **own | {"weight": w}))  # type: ignore[misc]  # fmt: skip
        if reason is not None:
            yield reason
            return
    source = case.other.value(before_padding(case.other, partner))
    yield from try_paddings(
        case, source, expected, given,
        lambda padded: F.conv2d(**given | {"input": padded, "padding": 0}),
    )  # fmt: skip


def _kernels(weight: Tensor, shape: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    """Yield kernels (out, in, H, W) that a wrong conversion may have made this one of."""
    out, inner, height, width = shape
    for order in itertools.permutations(range(4)):
        permuted = weight.permute(order)
        if tuple(permuted.shape) != shape:
            continue
        if order != (0, 1, 2, 3):
            yield f"the kernel's axes in the order {order}", permuted
        yield f"the kernel flipped, axes {order}", permuted.flip(2, 3)
    if inner == 3:
        yield "the kernel's reversed channels", weight.flip(1)
    if weight.numel() != out * inner * height * width:
        return
    # (H, W, in, out) that was reshaped instead of permuted
    raw = weight.reshape(height, width, inner, out)
    yield "the kernel read as (H, W, in, out) and permuted", raw.permute(3, 2, 0, 1)
    if inner == 1:  # depthwise: (H, W, C, M) or (M, C, H, W) -> (C · M, 1, H, W)
        for multiplier in (m for m in range(1, out + 1) if out % m == 0):
            channels = out // multiplier
            raw = weight.reshape(height, width, channels, multiplier).permute(2, 3, 0, 1)
            yield "the depthwise kernel read as (H, W, C, M)", raw.reshape(shape)
            turned = weight.reshape(multiplier, channels, height, width).transpose(0, 1)
            yield "the depthwise kernel read as (M, C, H, W)", turned.reshape(shape)


def try_paddings(
    case: Case, source: Tensor, expected: Tensor, given: dict[str, Any], apply: Any,
    value: float = 0.0, is_pooling: bool = False,
) -> Iterator[Reason]:  # fmt: skip
    """Yield the padding of the other's layer that gives the reference's output.

    Args:
        case: the place.
        source: what the other's layer is applied to, (N, C, H, W) before it is padded.
        expected: the reference's output.
        given: arguments of the other's layer: stride, dilation, and a kernel.
        apply: runs the layer on what is padded.
        value: to pad with.
        is_pooling: whether the layer is one.
    """
    if source.dim() != 4 or expected.dim() != 4:
        return
    kernel = pair(given["kernel_size"]) if is_pooling else tuple(given["weight"].shape[2:])
    stride = pair(given.get("stride") or (kernel if is_pooling else 1))
    dilation = pair(given.get("dilation") or 1)
    choices: list[list[tuple[int, int]]] = []
    for k in range(2):
        reach = (kernel[k] - 1) * dilation[k] + 1
        least = (expected.shape[2 + k] - 1) * stride[k] + reach - source.shape[2 + k]
        totals = range(least, least + stride[k])
        choices.append([(a, t - a) for t in totals for a in range(max(t, 0) + 1)])
    is_square = choices[0] == choices[1]
    combined = [(c, c) for c in choices[0]] if is_square else itertools.product(*choices)
    for rows, columns in itertools.islice(combined, MAX_PADDINGS):
        padding: Padding = (*columns, *rows)
        text = (
            f"{case.there} has {rows[0]} rows above and {rows[1]} below, {columns[0]} columns "
            f"left and {columns[1]} right, {case.here} has others"
        )
        reason = attempt(
            "'same' padding", text, "that padding", expected,
            lambda p=padding: apply(F.pad(source, p, value=value)),  # type: ignore[misc]
        )  # fmt: skip
        if reason is not None:
            yield reason
            return


def _of_linear(case: Case, partner: int) -> Iterator[Reason]:
    expected = case.reference.calls[case.index].output
    given = bind(case.other, partner)
    weight, rows = given["weight"], given["input"]
    if (order := class_order(expected, case.other.calls[partner].output)) is not None:
        yield class_order_reason(case.here, order)
        return
    image = image_of(case.other, partner, is_input=True)
    image = image or image_of(case.reference, case.index, is_input=True)
    for make, first, second in (
        (channels_last_rows, "(C, H, W)", "(H, W, C)"),
        (channels_first_rows, "(H, W, C)", "(C, H, W)"),
    ):
        if image is None or rows.dim() != 2:
            break
        reason = attempt(
            "flatten order",
            f"{case.here} flattens in the order {first}, and its kernel is for {second}",
            f"its values in the order {second}", expected,
            lambda m=make: F.linear(**given | {"input": m(rows, image)}),  # type: ignore[misc]
        )  # fmt: skip
        if reason is not None:
            yield reason
            return
    for tried, candidate in (
        ("the kernel transposed", weight.T),
        ("the kernel read as (in, out) and transposed", weight.reshape(weight.shape[::-1]).T),
    ):
        text = f"the kernel of {case.here} is (in, out), and PyTorch's is (out, in)"
        reason = attempt("kernel layout", text, tried, expected, lambda w=candidate: F.linear(
            **given | {"weight": w}))  # type: ignore[misc]  # fmt: skip
        if reason is not None:
            yield reason
            return


def class_order(expected: Tensor, given: Tensor) -> list[int] | None:
    """Return which column of the expected each given one is, None if not another order."""
    if expected.shape != given.shape or expected.dim() != 2 or expected.shape[1] < 2:
        return None
    bound, order = bound_of(expected), []
    for column in given.T:
        off = (expected.T.double() - column.double()).abs().amax(1)
        if not float(off.min()) <= bound:
            return None
        order.append(int(off.argmin()))
    is_other = sorted(order) == list(range(len(order))) and order != sorted(order)
    return order if is_other else None


def class_order_reason(here: str, order: list[int]) -> Reason:
    """Return the reason for outputs in another order of the classes."""
    shown = ", ".join(map(str, order[:12])) + (", …" if len(order) > 12 else "")
    text = f"the outputs of {here} are the reference's classes {shown}"
    return Reason("class order", text, "With the classes in that order the difference vanishes.")


def _of_batch_norm(case: Case, partner: int) -> Iterator[Reason]:
    expected = case.reference.calls[case.index].output
    own = bind(case.reference, case.index)
    if case.other.calls[partner].name == "batch_norm":
        given = bind(case.other, partner)
        if given.get("training"):
            reason = attempt(
                "BatchNorm in training mode",
                f"{case.here} normalizes with the batch, {case.there} with moving averages",
                "moving averages", expected,
                lambda: F.batch_norm(**given | {"training": False}),
            )  # fmt: skip
            if reason is not None:
                yield reason
        eps = own.get("eps", 1e-5)
        text = f"{case.here} has epsilon {given.get('eps', 1e-5):g}, {case.there} {eps:g}"
        reason = attempt("BatchNorm's epsilon", text, f"epsilon {eps:g}", expected, lambda:
                         F.batch_norm(**given | {"eps": eps}))  # fmt: skip
        if reason is not None:
            yield reason
        return
    output, epsilon = case.other.calls[partner].output, own.get("eps", 1e-5)
    for eps in EPSILONS:
        reason = attempt(
            "BatchNorm's epsilon",
            f"{case.here} has epsilon {eps:g}, {case.there} {epsilon:g}",
            f"epsilon {eps:g} there", output,
            lambda e=eps: F.batch_norm(**own | {"eps": e}),  # type: ignore[misc]
        )  # fmt: skip
        if reason is not None:
            yield reason
            return


def _of_weights(case: Case, partner: int) -> Iterator[Reason]:
    """Yield that weights differ, where the order of their values does not explain it."""
    sides = [
        [w for w in trace.calls[k].weights if w.numel() > 1]
        for trace, k in ((case.reference, case.index), (case.other, partner))
    ]
    if len(sides[0]) != len(sides[1]):
        return
    for first, second in zip(*sides, strict=True):
        if sorted(first.shape) != sorted(second.shape):
            return
        off = difference(first.flatten().sort()[0], second.flatten().sort()[0])
        if off > bound_of(first):
            yield Reason("", f"the weights themselves differ, by up to {off:.2g}")
            return
