"""Records every operation of a network on some images: what it was given, and what it gave."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from signs_lightning.errors import InputError
from signs_lightning.keras_io.network import KerasNetwork
from signs_lightning.models.fused_conv_pool import unfused
from signs_lightning.models.layer_graph import CONTAINERS
from signs_lightning.verify.values import bound_of, difference

ROUNDING = 10.0  # how many times that of float32 is allowed where it is more than the bound
IMAGE = -1  # index of the images, where others are those of calls
DROPOUTS = (
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout"),
    *("feature_alpha_dropout", "bernoulli", "bernoulli_"),
)


@dataclass(frozen=True)
class Value:
    """A tensor among a call's arguments that the images led to: the output of another call."""

    index: int


@dataclass
class Call:
    """One operation.

    Attributes:
        function: what was called.
        name: its name, such as "conv2d".
        args: its arguments; a `Value` where the images led to one.
        kwargs: those by name.
        output: what it gave.
        layer: the layer that it belongs to.
        module: the innermost module that it was made in; None for a network's own `forward`.
    """

    function: Callable[..., Any]
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Tensor
    layer: str = ""
    module: nn.Module | None = None

    @property
    def inputs(self) -> list[int]:
        """Indices of the calls that made its inputs; `IMAGE` for the images."""
        return [value.index for value in _find((self.args, self.kwargs), Value)]

    @property
    def weights(self) -> list[Tensor]:
        """The tensors that it was given beside those that the images led to."""
        return [w.detach() for w in _find((self.args, self.kwargs), Tensor)]


@dataclass
class Trace:
    """All operations of a network on some images.

    Attributes:
        images: what the network was given, float (N, C, H, W).
        calls: in order.
        output: what the network gave.
        kinds: class or function of each layer, in the order in which they gave their outputs.
        modules: of the layers that are modules.
        roundings: how far float32 is off in each call, where that was found out.
    """

    images: Tensor
    calls: list[Call] = field(default_factory=list)
    output: Tensor = field(default_factory=lambda: torch.empty(0))
    kinds: dict[str, str] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)
    roundings: list[float] = field(default_factory=list)

    def value(self, index: int) -> Tensor:
        """Return the output of a call, or the images."""
        return self.images if index == IMAGE else self.calls[index].output

    def bound(self, index: int) -> float:
        """Return by how much another network's output may differ from that of a call."""
        bound = bound_of(self.calls[index].output)
        return max(bound, ROUNDING * self.roundings[index]) if self.roundings else bound

    def calls_of(self, layer: str) -> list[int]:
        """Return the indices of a layer's calls."""
        return [k for k, call in enumerate(self.calls) if call.layer == layer]


def trace_network(
    network: nn.Module, images: Tensor, seed: int = 0, has_dropout: bool = True
) -> Trace:
    """Run a network on images in its present mode, and record its operations.

    Args:
        network: any module; it is not changed.
        images: what it takes.
        seed: of random layers that are active.
        has_dropout: False lets every dropout pass its values.
    """
    trace = Trace(images.clone())
    images = images.clone()  # a network may change what it is given
    recorder = _Recorder(trace, images, has_dropout)
    watch = recorder.close_layer if isinstance(network, KerasNetwork) else None
    with (
        torch.no_grad(), torch.random.fork_rng(devices=[]), unfused(network),
        torch.compiler.set_stance("force_eager"), recorder.hooks(network, watch is None),
    ):  # fmt: skip
        torch.manual_seed(seed)
        with recorder:
            output = network(images, watch) if watch else network(images)
    trace.output = first_tensor(output).detach().clone()
    return trace


def first_tensor(output: Any) -> Tensor:
    """Return the first tensor of what a network gives, which may be a tuple or a dict.

    Raises:
        InputError: there is none.
    """
    found = next(_find(output, Tensor), None)
    if found is None:
        raise InputError(f"The network gives a {type(output).__name__}, expected a tensor (N, K).")
    return found


def find_roundings(trace: Trace, network: nn.Module) -> None:
    """Let a trace know how far float32 is off in each of its calls; nothing without float64."""
    try:
        exact = trace_network(copy.deepcopy(network).double(), trace.images.double())
    except (RuntimeError, TypeError, ValueError):  # a network may insist on float32
        return
    if [call.name for call in exact.calls] == [call.name for call in trace.calls]:
        pairs = zip(exact.calls, trace.calls, strict=True)
        found = [difference(first.output, second.output) for first, second in pairs]
        trace.roundings = [off if off < float("inf") else 0.0 for off in found]


class _Recorder(TorchFunctionMode):
    def __init__(self, trace: Trace, images: Tensor, has_dropout: bool) -> None:
        super().__init__()
        self.trace, self.has_dropout = trace, has_dropout
        self.makers: dict[int, int] = {id(images): IMAGE}  # of tensors, by identity
        self.alive: list[Any] = [images]  # so that no identity is used twice
        self.modules: list[tuple[str, nn.Module]] = []  # the running ones, outermost first
        self.leaf: str | None = None  # the running layer
        self.begun = 0  # calls before the running layer of a Keras network

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [_map(part, self._place) for part in (args, kwargs)]
        is_dropped = not self.has_dropout and name_of(func) in DROPOUTS
        output = args[0] if is_dropped else func(*args, **kwargs)
        if next(_find(given, Value), None) is None:
            return output
        for tensor in _find(output, Tensor):
            self._record(func, given, tensor)
        return output

    def _place(self, part: Any) -> Any:
        if isinstance(part, Tensor) and id(part) in self.makers:
            return Value(self.makers[id(part)])
        return part

    def _record(self, func: Any, given: list[Any], output: Tensor) -> None:
        name = name_of(func)
        block, module = self.modules[-1] if self.modules else ("", None)
        layer = self.leaf or self._new_name(f"{block}.{name}" if block else name)
        call = Call(func, name, given[0], given[1], output.detach().clone(), layer, module)
        self.makers[id(output)] = len(self.trace.calls)
        self.alive.append(output)
        self.trace.calls.append(call)
        if self.leaf is None:
            self.trace.kinds[layer] = name

    def _new_name(self, name: str) -> str:
        names, number = self.trace.kinds, 1
        while (name if number == 1 else f"{name} ({number})") in names:
            number += 1
        return name if number == 1 else f"{name} ({number})"

    def close_layer(self, name: str, output: Tensor) -> None:
        """Give the calls since the last layer to one of a Keras network."""
        name = self._new_name(name)
        for call in self.trace.calls[self.begun :]:
            self.trace.kinds.pop(call.layer, None)
            call.layer = name
        self.trace.kinds[name] = "layer"
        self.begun = len(self.trace.calls)

    @contextmanager
    def hooks(self, network: nn.Module, names_layers: bool) -> Iterator[None]:
        """Let modules report their calls."""
        handles = []
        for name, module in network.named_modules():
            if module is network and next(module.children(), None) is not None:
                continue
            enter = partial(self._enter, name or "network", names_layers and is_layer(module))
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, is_leaf: bool, module: nn.Module, args: Any) -> None:
        self.modules.append((name, module))
        if is_leaf and self.leaf is None:
            self.leaf = self._new_name(name)
            self.trace.kinds[self.leaf] = type(module).__name__
            self.trace.modules[self.leaf] = module

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self.modules.pop()
        if self.leaf is not None and self.trace.modules.get(self.leaf) is module:
            self.leaf = None


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of one of PyTorch's functions, such as "conv2d"."""
    return (getattr(function, "__name__", "") or type(function).__name__).strip("_")


class WithoutDropout(TorchFunctionMode):
    """Lets every dropout pass its values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if name_of(func) in DROPOUTS else func(*args, **(kwargs or {}))


def is_layer(module: nn.Module) -> bool:
    """Return whether a module is one layer: without parts, or PyTorch's own."""
    ready_made = type(module).__module__.startswith("torch.nn.") and type(module) not in CONTAINERS
    return ready_made or next(module.children(), None) is None


def _find(part: Any, kind: type) -> Iterator[Any]:
    """Yield all objects of a class in nested lists, tuples and dicts."""
    if isinstance(part, kind):
        yield part
    elif isinstance(part, dict):
        yield from _find(list(part.values()), kind)
    elif isinstance(part, list | tuple):
        for item in part:
            yield from _find(item, kind)


def _map(part: Any, function: Callable[[Any], Any]) -> Any:
    """Return nested lists, tuples and dicts with a function applied to what is in them."""
    if isinstance(part, dict):
        return {key: _map(item, function) for key, item in part.items()}
    if isinstance(part, list | tuple) and type(part) in (list, tuple):
        return type(part)(_map(item, function) for item in part)
    return function(part)
