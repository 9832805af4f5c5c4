"""Modules, functions and numbers of a built network, as the expressions that make them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from signs_lightning.errors import InputError
from signs_lightning.keras_io import attention_layers as attention
from signs_lightning.keras_io import modules, norm_modules, random_layers, resizing_layers
from signs_lightning.keras_io.random_layer import RandomLayer
from signs_lightning.models import layers
from signs_lightning.models.pretrained_resnet50 import ImageNetInput
from signs_lightning.source.expressions import Call, Ref, call
from signs_lightning.source.references import reference

MAX_NUMBERS = 4096  # of a constant that is written into the source


def expression(value: Any) -> Any:
    """Return the expression of a number, a tensor, a function, a module, or several of them."""
    match value:
        case bool() | int() | float() | str() | None:
            return value
        case nn.Module():
            return constructor(value)
        case Tensor():
            return constant(value)
        case partial():
            positional = [expression(part) for part in value.args]
            named = {name: expression(part) for name, part in value.keywords.items()}
            return call(Ref("functools", "partial"), expression(value.func), *positional, **named)
        case tuple():
            return tuple(map(expression, value))
        case list():
            return list(map(expression, value))
        case set():
            return frozenset(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: expression(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return Call(reference(type(value)), tuple(fields.items()))
    return reference(value)


def constant(value: Tensor) -> Call:
    """Return `torch.tensor(…)` of a small tensor of floats.

    Raises:
        InputError: it is too large.
    """
    if value.numel() > MAX_NUMBERS:
        raise InputError(
            f"The model has a constant of {value.numel():,} numbers, and source holds up to "
            f"{MAX_NUMBERS:,}. Export another format, such as onnx."
        )
    if not value.is_floating_point():
        return call(Ref("torch", "tensor"), value.tolist())
    numbers = value.detach().cpu().float().numpy()
    return call(Ref("torch", "tensor"), _short(numbers))


def _short(numbers: Any) -> Any:
    """Return float32 numbers as the shortest Python ones that give them again."""
    if numbers.ndim:
        return [_short(part) for part in numbers]
    return float(str(np.float32(numbers)))


def constructor(module: nn.Module) -> Any:
    """Return the expression that makes a module like this one, but for its weights.

    Raises:
        InputError: it is of a class that is not known.
    """
    kind = type(module)
    if kind not in CONSTRUCTORS:
        raise InputError(
            f"The model has a {kind.__name__}, which cannot be written as source. Export another "
            "format, such as onnx."
        )
    return CONSTRUCTORS[kind](module)


def _from_attributes(module: Any, positional: int = 0, **given: Any) -> Call:
    """Return a call of a module's class with its attributes of the arguments' names.

    Args:
        module: the module.
        positional: how many arguments are given by position.
        given: arguments that are no attributes.
    """
    kind, arguments = type(module), []
    by_name = False
    for k, parameter in enumerate(inspect.signature(kind).parameters.values()):
        name = parameter.name
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = given[name] if name in given else getattr(module, name)
        if parameter.default is not inspect.Parameter.empty and value == parameter.default:
            by_name = True
            continue
        by_name = by_name or k >= positional
        arguments.append((name if by_name else "", expression(value)))
    return Call(reference(kind), tuple(arguments))


def _by_attributes(positional: int = 0, **reads: Callable[[Any], Any]) -> Callable[[Any], Call]:
    """Return a constructor's writer; `reads` find the arguments that are no attributes."""

    def write(module: Any) -> Call:
        given = {name: read(module) for name, read in reads.items()}
        return _from_attributes(module, positional, **given)

    return write


def _single(value: Any) -> Any:
    """Return `3` for `(3, 3)`."""
    if isinstance(value, tuple) and len(set(value)) == 1:
        return value[0]
    return value


def _window(name: str) -> Callable[[Any], Any]:
    return lambda module: _single(getattr(module, name))


def _has_bias(module: Any) -> bool:
    return module.bias is not None


def _convolution(module: Any) -> Call:
    given = {name: _single(getattr(module, name)) for name in ("kernel_size", "stride", "dilation")}
    given |= {"bias": _has_bias(module), "device": None, "dtype": None}
    if type(module) is nn.Conv2d:
        given["padding"] = _single(module.padding)
    return _from_attributes(module, 3, **given)


def _pooling(module: Any) -> Call:
    given = {"kernel_size": _single(module.kernel_size)}
    stride = _single(module.stride)
    given["stride"] = None if stride == given["kernel_size"] else stride
    if hasattr(module, "dilation"):
        given["dilation"] = _single(module.dilation)
    return _from_attributes(module, 1, **given)


def _keras_momentum(module: Any) -> float:
    """Return Keras's momentum, of which PyTorch keeps 1 minus it."""
    momentum = round(1 - module.momentum, 12)
    return momentum if 1 - momentum == module.momentum else 1 - module.momentum


def plain_batch_norm(module: Any) -> Call | None:
    """Return a BatchNorm of images as the plain class; None where it lacks gamma or beta."""
    if not all(isinstance(part, nn.Parameter) for part in (module.weight, module.bias)):
        return None
    arguments: list[tuple[str, Any]] = [("", module.num_features)]
    given = {"momentum": _keras_momentum(module), "eps": module.eps}
    given["biased_variance"] = module.biased_variance
    defaults = inspect.signature(layers.KerasBatchNorm2d).parameters
    arguments += [(name, v) for name, v in given.items() if v != defaults[name].default]
    return Call(reference(layers.KerasBatchNorm2d), tuple(arguments))


def _torch_batch_norm(module: Any) -> Call:
    given = {"eps": module.eps, "momentum": module.momentum, "affine": module.affine}
    defaults = {"eps": 1e-5, "momentum": 0.1, "affine": True}
    named = {name: value for name, value in given.items() if value != defaults[name]}
    return call(Ref("torch.nn", "BatchNorm2d"), module.num_features, **named)


def _axis_batch_norm(module: Any) -> Call:
    scale, center = (isinstance(part, nn.Parameter) for part in (module.weight, module.bias))
    return _from_attributes(
        module, 4, channels=module.num_features, momentum=_keras_momentum(module), scale=scale,
        center=center,
    )  # fmt: skip


def _linear(module: Any) -> Call:
    arguments: list[tuple[str, Any]] = [("", module.in_features), ("", module.out_features)]
    if module.bias is None:
        arguments.append(("bias", False))
    return Call(Ref("torch.nn", "Linear"), tuple(arguments))


def _axis_linear(module: Any) -> Call:
    return _from_attributes(module, 2, bias=_has_bias(module))


def _apply(module: Any) -> Call:
    constants = {
        int(name.removeprefix("constant")): expression(value)
        for name, value in module.named_buffers(recurse=False)
    }
    arguments = [expression(module.function)]
    if constants:
        arguments.append({position: constants[position] for position in sorted(constants)})
    return call(reference(modules.Apply), *arguments)


def _gamma_beta(module: Any) -> dict[str, Any]:
    return {"scale": module.weight is not None, "center": module.bias is not None}


def _sequence(module: nn.Module) -> Call:
    return call(Ref("torch.nn", "Sequential"), *map(constructor, module.children()))


def _attention(module: Any) -> Call:
    scale = None if module.scale is None else tuple(module.scale.shape)
    has_weight = module.concat_score_weight is not None
    return _from_attributes(module, scale_shape=scale, has_concat_weight=has_weight)


def _multi_head(module: Any) -> Call:
    inner = (module.query, module.value, module.key)
    sizes = (*(part.in_features for part in inner), module.attention_output.out_features)
    return _from_attributes(
        module, sizes=sizes, value_dim=module.value.out_features // module.heads,
        bias=_has_bias(module.query), gate=module.gate is not None,
    )  # fmt: skip


CONSTRUCTORS: dict[type[nn.Module], Callable[[Any], Any]] = {
    nn.ModuleList: lambda m: list(map(constructor, m)),
    nn.Conv2d: _convolution,
    layers.Conv2dSame: _convolution,
    nn.Linear: _linear,
    modules.AxisLinear: _axis_linear,
    nn.MaxPool2d: _pooling,
    nn.AvgPool2d: _pooling,
    layers.MaxPool2dSame: _pooling,
    layers.AvgPool2dSame: _pooling,
    layers.KerasBatchNorm2d: plain_batch_norm,
    norm_modules.AxisBatchNorm: _axis_batch_norm,
    nn.BatchNorm2d: _torch_batch_norm,
    nn.Sequential: _sequence,
    nn.AdaptiveAvgPool2d: _by_attributes(1, output_size=_window("output_size")),
    **dict.fromkeys(
        (nn.Dropout, nn.Dropout2d, nn.AlphaDropout), lambda m: call(reference(type(m)), m.p)
    ),
    nn.ReLU: _by_attributes(),
    nn.Flatten: _by_attributes(),
    nn.Identity: lambda _: call(Ref("torch.nn", "Identity")),
    layers.FlattenNHWC: _by_attributes(),
    ImageNetInput: _by_attributes(1),
    modules.Apply: _apply,
    modules.Reordered: _by_attributes(1),
    modules.SeparableConv2d: _by_attributes(2),
    modules.ConvTranspose2dKeras: _by_attributes(5, bias=_has_bias),
    modules.KerasPReLU: _by_attributes(1, shape=lambda m: tuple(m.weight.shape)),
    modules.ScaleAndShift: _by_attributes(2),
    modules.SharedDropout: _by_attributes(2),
    modules.SharedAlphaDropout: _by_attributes(2),
    modules.GaussianNoise: _by_attributes(1),
    modules.GaussianDropout: _by_attributes(1),
    norm_modules.AxisLayerNorm: lambda m: _from_attributes(m, 2, **_gamma_beta(m)),
    norm_modules.AxisGroupNorm: lambda m: _from_attributes(m, 2, **_gamma_beta(m)),
    norm_modules.RMSNorm: _by_attributes(2, shape=lambda m: tuple(m.weight.shape)),
    norm_modules.Standardize: _by_attributes(2),
    attention.ScoredAttention: _attention,
    attention.MultiHeadAttention: _multi_head,
    resizing_layers.SeparableResize: _by_attributes(2),
    resizing_layers.NearestResize: _by_attributes(2),
    resizing_layers.RandomCrop: _by_attributes(2),
    RandomLayer: _by_attributes(2),
    random_layers.ChosenLayers: _by_attributes(),
    random_layers.MixedChains: _by_attributes(),
}
