"""Finds which images a Keras model takes: 0..255, 0..1, -1..1, …

The layers before the first one with weights are applied to images of 0, of 1 and of 255. Each value
that comes out has a factor and a pixel that becomes 0, and these tell bytes (`x / 255`, `x - 120`)
from 0..1 (`x * 2 - 1`). Where no layer shows it, the user is asked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io.axis_order import call_module
from signs_lightning.keras_io.input_scales import RANGES, SCALES, Scale
from signs_lightning.keras_io.layer_table import BATCH_NORMS, build_layer
from signs_lightning.keras_io.model_graph import Call, Layer, LayerPath
from signs_lightning.keras_io.network_plan import Plan, Step, make_context
from signs_lightning.keras_io.norm_modules import Standardize
from signs_lightning.keras_io.weight_mapping import Matches

MAX_VALUES = 2**24  # that one layer may give for an image while the scale is found
# The models of keras.applications: title, pattern of the model's name, that of a layer which no
# other model has, and what they are usually fed. The course's ResNet50, whose layers are called
# res2a_branch2a and so on, is not one of them.
FAMILIES: tuple[tuple[str, str, str, Scale], ...] = (
    ("MobileNet", r"(?i)mobilenet.*", r"conv_dw_1|expanded_conv[_/]depthwise", "tf"),
    ("ResNetV2", r"resnet\d+v2", r"conv2_block1_preact_bn", "tf"),
    ("ResNet", r"resnet\d+", r"conv2_block1_add", "caffe"),
    ("VGG", r"vgg\d+", r"block5_conv1", "caffe"),
    ("Xception", r"xception", r"block2_sepconv1", "tf"),
    ("Inception", r"inception_.*", r"mixed0|mixed_5b", "tf"),
    ("DenseNet", r"densenet\d+", r"conv2_block1_concat", "torch"),
    ("NASNet", r"(?i)nasnet.*", r"stem_conv1", "tf"),
    ("EfficientNet", r"(?i)efficientnet.*", r"block1a_project_conv", "tf"),
)
# Gives a layer's arrays by Keras's names, such as "moving_mean".
Weights = Callable[[LayerPath], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class ScaleEvidence:
    """What a graph shows about the images that its model takes.

    Attributes:
        scale: the scale, None where the graph does not show it.
        because: what shows it, or leaves it open, such as "the model begins with Rescaling
            'rescaling'".
        likely: the most likely scales, first the best, where the user has to be asked; empty where
            nothing contradicts "/255".
    """

    scale: Scale | None = None
    because: str = ""
    likely: tuple[Scale, ...] = ()


HOW_TO_SAY = "--scale (for fit, --model.scale)"


class UnknownScaleError(InputError):
    """A file does not show the scale of its images, and a guess would often be wrong."""

    def __init__(self, evidence: ScaleEvidence) -> None:
        self.evidence = evidence
        likely = " or ".join(f"`--scale {scale}` ({RANGES[scale]})" for scale in evidence.likely)
        super().__init__(
            f"The file does not tell what its images were scaled to: {evidence.because}. Say what "
            f"the model was trained on, such as {likely}; for fit it is `--model.scale "
            f"{evidence.likely[0]}`."
        )


def resolve_scale(evidence: ScaleEvidence, given: Scale | None) -> tuple[Scale, str | None]:
    """Return a model's scale, and a line for the user or None.

    A given scale counts even against the graph: some models were trained on images that were
    divided twice.

    Args:
        evidence: what the graph shows.
        given: what the user, or a checkpoint, says.

    Raises:
        UnknownScaleError: neither gives it, and "/255" would be a guess.
    """
    scale = evidence.scale
    if given is not None:
        return given, scale_conflict_message(evidence, given, "as given")
    if scale is not None:
        return scale, f"scale: {scale} ({RANGES[scale]}), because {evidence.because}."
    if evidence.likely:
        raise UnknownScaleError(evidence)
    return "/255", (
        f"scale: /255 (0..1) is assumed, because no layer tells; say another one with {HOW_TO_SAY}."
    )


def scale_conflict_message(evidence: ScaleEvidence, given: Scale, source: str) -> str | None:
    """Return the line about a scale that contradicts the graph, None if it does not."""
    scale = evidence.scale
    if scale is None or scale == given:
        return None
    return (
        f"scale: {given} ({RANGES[given]}), {source}, though {evidence.because} and so takes "
        f"{scale} ({RANGES[scale]}): what it predicts is wrong unless it was trained so."
    )


def file_weights(matches: Matches) -> Weights:
    """Return access to the matched arrays of a file, which reads them when asked."""
    return lambda path: {w.keras: array.read() for layer, w, array in matches if layer.path == path}


def find_scale(plan: Plan, weights: Weights) -> ScaleEvidence:
    """Return what a graph shows about the images that its model takes.

    Args:
        plan: the model's plan.
        weights: gives the arrays of a layer; only a Normalization or BatchNormalization at the
            beginning is asked for.
    """
    with torch.device("cpu"), torch.no_grad():
        return _combine(_collect(plan, weights)) or _by_name(plan)


def _collect(plan: Plan, weights: Weights) -> list[ScaleEvidence]:
    """Return the evidence of each branch, up to its first layer with trained weights."""
    evidence: list[ScaleEvidence] = []
    height, width, channels = plan.image_size
    channels_last = not plan.graph.channels_first
    pixels = torch.tensor([0.0, 1.0, 255.0]).reshape(3, 1, 1, 1)
    # What the three images have become, before any trained layer.
    values: dict[int, Tensor] = {0: plan.graph.arrange(pixels.expand(3, channels, height, width))}
    changed: dict[int, ScaleEvidence] = {}  # values that are scaled in a way that shows nothing
    for k, (call, step) in enumerate(zip(plan.graph.calls, plan.steps, strict=True), start=1):
        layer, untrained = call.layer, [index for index in step.inputs if index in values]
        if not untrained:
            continue
        unclear = next((changed[index] for index in untrained if index in changed), None)
        if len(untrained) < len(step.inputs) or not _only_scales(plan, layer, step):
            if unclear is not None:
                evidence.append(unclear)
            elif layer.class_name in BATCH_NORMS:
                evidence += _by_moving_averages(layer, weights(step.path))
            continue
        inputs = [values[index] for index in step.inputs]
        is_small = math.prod(step.shape) <= MAX_VALUES
        module = _build_with_weights(call, inputs, channels_last, weights) if is_small else None
        if module is None:
            evidence.append(unclear or _unclear(layer))
            continue
        value = call_module(module, inputs, step.other_format, channels_last)
        slope, zero = _fit_lines(value)
        if not len(slope):  # the value does not depend on the image
            continue
        shown = _by_lines(layer, module, inputs[0], slope, zero)
        if shown is not None:
            evidence.append(shown)
            continue
        values[k] = value
        if not bool(((slope - 1).abs() < 1e-4).all() and (zero.abs() < 1e-2).all()):
            changed[k] = unclear or _unclear(layer)
    return evidence


def _only_scales(plan: Plan, layer: Layer, step: Step) -> bool:
    """Return whether a layer has neither trained weights nor an activation."""
    has_weights = plan.weights[step.path] and layer.class_name != "Normalization"
    return not has_weights and not step.skip and step.activation is None


def _combine(evidence: list[ScaleEvidence]) -> ScaleEvidence | None:
    """Return what several branches show; a scale outweighs what leaves it open."""
    scales = {each.scale: each for each in evidence if each.scale is not None}
    if len(scales) > 1:
        because = " and ".join(f"{each.because} ({scale})" for scale, each in scales.items())
        return ScaleEvidence(None, because, tuple(scale for scale in SCALES if scale in scales))
    return next(iter([*scales.values(), *evidence]), None)


def _unclear(layer: Layer) -> ScaleEvidence:
    because = f"the model begins with {layer}, which suits more than one range"
    return ScaleEvidence(None, because, ("raw", "/255"))


def _build_with_weights(
    call: Call, inputs: list[Tensor], channels_last: bool, weights: Weights
) -> nn.Module | None:
    """Return a layer's module with its weights, None where these are missing."""
    module, specs = build_layer(make_context(call, inputs, channels_last))
    stored = weights(call.layer.path) if specs else {}
    for spec in specs:
        if spec.keras not in stored:
            return None
        target = getattr(module, spec.torch)
        target.copy_(torch.from_numpy(np.array(stored[spec.keras])).reshape(target.shape))
    return module.eval()


def _fit_lines(value: Tensor) -> tuple[Tensor, Tensor]:
    """Return factor and zero pixel of each value that depends on the image.

    They are NaN where the results of the three images do not lie on a line.

    Args:
        value: float (3, …), the results of images of 0, 1 and 255.
    """
    at_0, at_1, at_255 = value.double().flatten(1)
    slope = at_1 - at_0
    changes = (slope != 0) | (at_255 != at_0)
    slope, at_0, at_255 = slope[changes], at_0[changes], at_255[changes]
    is_straight = (at_255 - at_0 - 255 * slope).abs() <= 1e-3 * (at_255 - at_0).abs()
    slope = slope.where(is_straight, torch.nan)
    return slope, -at_0 / slope


def _by_lines(
    layer: Layer, module: nn.Module, before: Tensor, slope: Tensor, zero: Tensor
) -> ScaleEvidence | None:
    """Return what factors and zero pixels show of the images, None if nothing."""
    size, distance = slope.abs(), zero.abs()
    divides_bytes = (size > 1 / 1000) & (size < 1 / 25) & (distance < 256)  # 0..1 would vanish
    subtracts_bytes = (zero > 3) & (zero < 256)
    shifts_or_flips = (zero > 1e-3) & (zero < 1.05)
    makes_bytes = (distance < 1e-3) & (size > 200) & (size < 260)
    fits: dict[Scale, Tensor] = {
        "raw": divides_bytes | subtracts_bytes,
        "/255": (size > 0.4) & (shifts_or_flips | makes_bytes),
        "tf": (size > 0.4) & ((zero + 1).abs() < 0.05),  # -1..1 is shifted to begin with 0
    }
    scales = [scale for scale, fit in fits.items() if fit.any()]
    if len(scales) != 1:
        return None
    because = f"the model begins with {layer}"
    if isinstance(module, Standardize) and not module.invert:
        because += f" of mean {module.mean.mean().item():.3g}"
        if scales == ["/255"] and not _is_possible(module, before):
            because += f" and variance {module.variance.mean().item():.3g}, too wide for 0..1"
            return ScaleEvidence(None, because, ("tf", "raw", "torch"))
    return ScaleEvidence(scales[0], because)


def _is_possible(module: Standardize, before: Tensor) -> bool:
    """Return whether 0..1 can have a layer's mean and variance.

    That is the inequality of Bhatia and Davis, with the range that 0..1 has before the layer.
    """
    mean, variance = module.statistics()
    low, high = before[:1].minimum(before[1:2]), before[:1].maximum(before[1:2])
    return bool((variance <= 1.001 * (mean - low) * (high - mean) + 1e-6).all())


def _by_moving_averages(layer: Layer, stored: Mapping[str, np.ndarray]) -> list[ScaleEvidence]:
    """Return what the averages of a BatchNormalization show of the pixels it was fed.

    They began with a mean of 0 and a variance of 1, so those of 0..1, of -1..1 and of "torch" never
    grow beyond a few.
    """
    if not stored.keys() >= {"moving_mean", "moving_variance"}:
        return []
    names = ("moving_mean", "moving_variance")
    mean, variance = (stored[name].astype(np.float64) for name in names)
    because = f"the model begins with {layer}, whose moving average is {mean.mean():.3g}"
    if mean.max() > 3 or variance.max() > 10:
        if mean.min() >= 0 and bool((variance <= mean * (255 - mean) + 2).all()):
            return [ScaleEvidence("raw", because)]
        return [ScaleEvidence(None, because, ("caffe", "raw"))]
    return [ScaleEvidence(None, because, ("tf", "torch", "/255"))] if mean.min() < -1e-3 else []


def _by_name(plan: Plan) -> ScaleEvidence:
    """Return what to ask for if no layer scales and the model is a known one."""
    graph = plan.graph
    models = [graph.name, *(path[-1] for path in graph.models)]
    layers = [path[-1] for path in graph.layers]
    for title, model, layer, scale in FAMILIES:
        names = [name for name in models if re.fullmatch(model, name)]
        names += [name for name in layers if re.fullmatch(layer, name)]
        if names:
            likely: Scale = scale if plan.image_size[2] == 3 or scale == "tf" else "raw"
            a_family = f"a {title} (here '{names[0]}')"
            because = f"no layer scales them, and {a_family} is usually not fed 0..1"
            return ScaleEvidence(None, because, (likely, "/255"))
    return ScaleEvidence()
