"""Which images a Keras model takes (0..255, 0..1, -1..1, …): told from its graph where that shows it, asked for elsewhere.

What stands before the first layer with weights is applied to images of 0, of 1 and of 255. For each
value that comes out, this gives the factor and which pixel becomes 0, and these tell bytes (`x /
255`, `x - 120`) from 0..1 (`x * 2 - 1`).
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
from signs_lightning.keras_io import layer_table, modules
from signs_lightning.keras_io.graph_parser import Call, Layer, Value
from signs_lightning.keras_io.keras_file import StoredWeight
from signs_lightning.keras_io.layer_context import LayerContext, WeightSpec
from signs_lightning.keras_io.scales import RANGES, SCALES, Scale
from signs_lightning.keras_io.shape_inference import Path, Plan, keras_shape, run

MAX_VALUES = 2**24  # that one layer may give for an image, while the graph is looked at
BATCH_NORM = {name for name in layer_table.BUILDERS if "BatchNorm" in name}
# The models of keras.applications: the name of the model, that of a layer which no other has, and
# what they are usually fed. The course's ResNet50, whose layers are called res2a_branch2a and so
# on, is none of them.
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
Weights = Callable[
    [Path], Mapping[str, np.ndarray]
]  # a layer's arrays by Keras's names, such as "moving_mean"


@dataclass(frozen=True)
class ScaleEvidence:
    """What a graph tells of the images that its model takes.

    Attributes:
        scale: told by the graph; None where it is not.
        because: what tells it, or what leaves it open, such as "the model begins with Rescaling
            'rescaling'".
        likely: where it has to be asked for, the most likely answers first; empty where nothing
            speaks against "/255".
    """

    scale: Scale | None = None
    because: str = ""
    likely: tuple[Scale, ...] = ()


class UnknownScaleError(InputError):
    """A file does not tell what its images were scaled to, and a guess would often be wrong."""

    def __init__(self, finding: ScaleEvidence) -> None:
        self.finding = finding
        likely = " or ".join(f"`--scale {scale}` ({RANGES[scale]})" for scale in finding.likely)
        super().__init__(
            f"The file does not tell what its images were scaled to: {finding.because}. Say what "
            "the model was trained on, such as "
            f"{likely}; for fit it is `--model.scale {finding.likely[0]}`."
        )


def resolve_scale(finding: ScaleEvidence, given: Scale | None) -> tuple[Scale, str | None]:
    """The scale of a model, and a line about it where there is something to say.

    What is given counts, also against the graph: many a model was trained on images that were
        divided twice.

    Args:
        finding: what the graph tells.
        given: what the user, or a checkpoint, says.

    Raises:
        UnknownScaleError: neither says it, and "/255" would be a guess.
    """
    if given is not None:
        return given, scale_conflict_message(finding, given, "as given")
    if finding.scale is not None:
        return (
            finding.scale,
            f"scale: {finding.scale} ({RANGES[finding.scale]}), because {finding.because}.",
        )
    if finding.likely:
        raise UnknownScaleError(finding)
    return (
        "/255",
        "scale: /255 (0..1) is assumed, because no layer tells; say another one with --scale (for "
        "fit, --model.scale).",
    )


def scale_conflict_message(finding: ScaleEvidence, given: Scale, source: str) -> str | None:
    """The line about a scale that is not the one that the graph tells; None where they agree, or the graph tells none."""
    if finding.scale is None or finding.scale == given:
        return None
    return (
        f"scale: {given} ({RANGES[given]}), {source}, though {finding.because} and so takes "
        f"{finding.scale} "
        f"({RANGES[finding.scale]}): what it predicts is wrong unless it was trained so."
    )


def file_weights(found: list[tuple[Path, WeightSpec, StoredWeight]]) -> Weights:
    """The arrays that `match` found in a file, read when they are asked for."""
    return lambda path: {
        weight.keras: stored.read() for layer, weight, stored in found if layer == path
    }


def find_scale(plan: Plan, weights: Weights) -> ScaleEvidence:
    """What a graph tells of the images that its model takes.

    Args:
        plan: the model, worked out.
        weights: gives the arrays of a layer, asked for a Normalization or BatchNormalization at the
            beginning.
    """
    with torch.device("cpu"), torch.no_grad():
        return _joined(_findings(plan, weights)) or _by_name(plan)


def _findings(plan: Plan, weights: Weights) -> list[ScaleEvidence]:
    found: list[ScaleEvidence] = []
    height, width, channels = plan.image_size
    image = torch.tensor([0.0, 1.0, 255.0]).reshape(3, 1, 1, 1).expand(3, channels, height, width)
    values: dict[int, Tensor] = {
        0: image
    }  # what the images become, before any layer with weights has seen them
    unclear: dict[int, ScaleEvidence] = {}  # by what, where they are not what they were
    for k, (call, step) in enumerate(zip(plan.graph.calls, plan.steps, strict=True), start=1):
        inputs = [value.index for value in call.inputs if isinstance(value, Value)]
        seen = [index for index in inputs if index in values]
        if not seen:
            continue
        doubt = next((unclear[index] for index in seen if index in unclear), None)
        scales = not plan.weights[step.path] or call.layer.class_name == "Normalization"
        if len(seen) < len(inputs) or not scales or step.skip or step.activation is not None:
            if doubt is not None:
                found.append(doubt)
            elif call.layer.class_name in BATCH_NORM:
                found += _by_moving_averages(call.layer, weights(step.path))
            continue
        small = math.prod(step.shape) <= MAX_VALUES
        module = (
            _module(plan, call, [values[index] for index in inputs], weights) if small else None
        )
        if module is None:
            found.append(doubt or _unclear(call.layer))
            continue
        value = run(
            module,
            [values[index] for index in inputs],
            step.other_format,
            not plan.graph.channels_first,
        )
        slope, zero = _line(value)
        if not len(slope):  # nothing of the image is left
            continue
        if (finding := _told(call.layer, module, values[inputs[0]], slope, zero)) is not None:
            found.append(finding)
            continue
        values[k] = value
        if not bool(((slope - 1).abs() < 1e-4).all() and (zero.abs() < 1e-2).all()):
            unclear[k] = doubt or _unclear(call.layer)
    return found


def _joined(found: list[ScaleEvidence]) -> ScaleEvidence | None:
    """What several branches tell; one that tells outweighs those that do not."""
    told = {finding.scale: finding for finding in found if finding.scale is not None}
    if len(told) > 1:
        because = " and ".join(f"{finding.because} ({scale})" for scale, finding in told.items())
        return ScaleEvidence(None, because, tuple(scale for scale in SCALES if scale in told))
    return next(iter(told.values()), found[0] if found else None)


def _unclear(layer: Layer) -> ScaleEvidence:
    return ScaleEvidence(
        None, f"the model begins with {layer}, which suits more than one range", ("raw", "/255")
    )


def _module(plan: Plan, call: Call, inputs: list[Tensor], weights: Weights) -> nn.Module | None:
    """A layer without trained weights, as it stands in the graph; None where the arrays that it needs are not at hand."""
    channels_last = not plan.graph.channels_first
    shapes = iter(keras_shape(value, channels_last) for value in inputs)
    given = tuple(next(shapes) if isinstance(value, Value) else None for value in call.inputs)
    constants = {
        place: value for place, value in enumerate(call.inputs) if not isinstance(value, Value)
    }
    module, needed = layer_table.build(LayerContext(call.layer, given, channels_last, constants))
    stored = weights(call.layer.path) if needed else {}
    for weight in needed:
        if weight.keras not in stored:
            return None
        target = getattr(module, weight.torch)
        target.copy_(torch.from_numpy(np.array(stored[weight.keras])).reshape(target.shape))
    return module.eval()


def _line(value: Tensor) -> tuple[Tensor, Tensor]:
    """What images of 0, 1 and 255 became (3, …) → of each value that depends on them, the factor and the pixel that becomes 0.

    NaN where the three do not lie on a line.
    """
    at_0, at_1, at_255 = value.double().flatten(1)
    slope = at_1 - at_0
    changes = (slope != 0) | (at_255 != at_0)
    slope, at_0, at_255 = slope[changes], at_0[changes], at_255[changes]
    straight = (at_255 - at_0 - 255 * slope).abs() <= 1e-3 * (at_255 - at_0).abs()
    slope = slope.where(straight, torch.nan)
    return slope, -at_0 / slope


def _told(
    layer: Layer, module: nn.Module, before: Tensor, slope: Tensor, zero: Tensor
) -> ScaleEvidence | None:
    """What a layer tells by the factors that come out of it, and by the pixels that become 0."""
    size = slope.abs()
    fits: dict[Scale, Tensor] = {
        # x / 255 and its like, where 0..1 would vanish; or a mean of bytes is taken away
        "raw": ((size > 1 / 1000) & (size < 1 / 25) & (zero.abs() < 256))
        | ((zero > 3) & (zero < 256)),
        # 0..1 is shifted about 0, or turned round, or made bytes
        "/255": (size > 0.4)
        & (((zero > 1e-3) & (zero < 1.05)) | ((zero.abs() < 1e-3) & (size > 200) & (size < 260))),
        "tf": (size > 0.4) & ((zero + 1).abs() < 0.05),  # -1..1 is shifted to begin with 0
    }
    told = [scale for scale, fit in fits.items() if fit.any()]
    if len(told) != 1:
        return None
    because = f"the model begins with {layer}"
    if isinstance(module, modules.Standardize) and not module.invert:
        because += f" of mean {module.mean.mean().item():.3g}"
        if told == ["/255"] and not _possible(module, before):
            return ScaleEvidence(
                None,
                f"{because} and variance {module.variance.mean().item():.3g}, too wide for 0..1",
                ("tf", "raw", "torch"),
            )
    return ScaleEvidence(told[0], because)


def _possible(module: modules.Standardize, before: Tensor) -> bool:
    """Whether numbers between what 0 and what 1 became can have this mean and variance (inequality of Bhatia and Davis)."""
    mean, variance = module.mean.reshape(module.view), module.variance.reshape(module.view)
    if module.channels_last:
        mean, variance = modules.from_keras_order(mean), modules.from_keras_order(variance)
    low, high = before[:1].minimum(before[1:2]), before[:1].maximum(before[1:2])
    return bool((variance <= 1.001 * (mean - low) * (high - mean) + 1e-6).all())


def _by_moving_averages(layer: Layer, stored: Mapping[str, np.ndarray]) -> list[ScaleEvidence]:
    """What a BatchNormalization that sees the pixels first remembers of them.

    Its averages began with a mean of 0 and a variance of 1, so those of 0..1, of -1..1 and of
    "torch" never grow beyond a few.
    """
    if not stored.keys() >= {"moving_mean", "moving_variance"}:
        return []
    mean, variance = (
        stored["moving_mean"].astype(np.float64),
        stored["moving_variance"].astype(np.float64),
    )
    because = f"the model begins with {layer}, whose moving average is {mean.mean():.3g}"
    if mean.max() > 3 or variance.max() > 10:
        bytes_fit = mean.min() >= 0 and bool((variance <= mean * (255 - mean) + 2).all())
        return [
            ScaleEvidence("raw", because)
            if bytes_fit
            else ScaleEvidence(None, because, ("caffe", "raw"))
        ]
    return [ScaleEvidence(None, because, ("tf", "torch", "/255"))] if mean.min() < -1e-3 else []


def _by_name(plan: Plan) -> ScaleEvidence:
    """What to ask for where no layer scales: a network of keras.applications is rarely fed 0..1."""
    graph = plan.graph
    models = [graph.name, *(path[-1] for path in graph.models)]
    names = [path[-1] for path in graph.layers]
    for title, model, layer, scale in FAMILIES:
        found = [name for name in models if re.fullmatch(model, name)] or [
            n for n in names if re.fullmatch(layer, n)
        ]
        if found:
            likely: Scale = scale if plan.image_size[2] == 3 or scale == "tf" else "raw"
            because = (
                f"no layer scales them, and a {title} (here '{found[0]}') is usually not fed 0..1"
            )
            return ScaleEvidence(None, because, (likely, "/255"))
    return ScaleEvidence()
