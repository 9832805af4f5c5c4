"""The graph of a network's layers, as Keras's `summary` and `plot_model` show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.fused_conv_pool import unfused

Path = tuple[str, ...]
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # these group layers and are no block
MERGES = {"add": "Add", "sub": "Subtract", "mul": "Multiply", "cat": "Concatenate"}
MERGES |= {"maximum": "Maximum"}
SAME_VALUE = {"clone", "contiguous", "detach", "to"}


@dataclass(frozen=True)
class LayerNode:
    """One layer, or one block of layers.

    Attributes:
        path: the names of its blocks, and its own.
        kind: its class, such as Conv2dSame; an operation that is no layer has Keras's class or the
            function's name.
        shape: of the output, in Keras's order (height, width, channels), without the batch.
        parameters: number of its parameters as Keras counts, BatchNorm's moving averages included.
    """

    path: Path
    kind: str
    shape: tuple[int, ...]
    parameters: int

    @property
    def keras_shape(self) -> str:
        """The shape as Keras writes it, `(None, 64, 64, 3)`."""
        return str((None, *self.shape))


@dataclass
class LayerGraph:
    """Layers and their calls; a layer called twice is one node, as in Keras.

    Attributes:
        image: the path of the input.
        nodes: all layers, the input first; the others in the order in which `summary` lists them.
        blocks: the blocks that the layers' paths name: those of our networks, and models inside a
            Keras model.
        edges: from layer to layer, in the order of the calls.
        separator: between the names of a path.
        has_other_inputs: whether there are inputs beside the image; they come right after it.
    """

    image: Path
    nodes: dict[Path, LayerNode]
    blocks: dict[Path, LayerNode] = field(default_factory=dict)
    edges: list[tuple[Path, Path]] = field(default_factory=list)
    separator: str = "/"
    has_other_inputs: bool = False

    def folded(self) -> LayerGraph:
        """Return the graph with every outermost block as one node."""
        short = {path: path[:1] if path[:1] in self.blocks else path for path in self.nodes}
        nodes = {short[path]: node for path, node in self.nodes.items()}
        nodes |= {path: block for path, block in self.blocks.items() if path in nodes}
        edges = {
            (short[a], short[b]): None for a, b in self.edges if short[a] != short[b] or a == b
        }
        blocks = {path: block for path, block in self.blocks.items() if path in nodes}
        ends = self.separator, self.has_other_inputs
        return LayerGraph(self.image, nodes, blocks, list(edges), *ends)

    def name(self, path: Path) -> str:
        """Return the full name of a layer."""
        return self.separator.join(path)


def layer_graph(model: ImageClassifier) -> LayerGraph:
    """Return the graph of a model's network with all blocks open.

    A network with a method `layer_graph`, such as one from a Keras file, has its own. Any other one
    is run on a black image in eval mode, and the calls of its layers and the operations between
    them are recorded; the model is not changed.
    """
    own = getattr(model.network, "layer_graph", None)
    if own is not None:
        return own()
    with unfused(model.network):
        return _of_calls(model)


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Return the numbers of all and of trainable parameters, as Keras counts them.

    BatchNorm's moving averages count as not trainable.
    """
    parameters = sum(p.numel() for p in module.parameters())
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    averages = ("running_mean", "running_var")
    buffers = (b.numel() for name, b in module.named_buffers() if name.split(".")[-1] in averages)
    return parameters + sum(buffers), trainable


def _of_calls(model: ImageClassifier) -> LayerGraph:
    height, width, channels = model.image_size
    image = ("image",) if not hasattr(model.network, "image") else ("image_",)
    graph = LayerGraph(
        image, {image: LayerNode(image, "InputLayer", model.image_size, 0)}, separator="."
    )
    recorder = _Recorder(graph, _paths(model.network))
    # Modules have their own modes: part of a network may be frozen in eval mode.
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        # A compiled network runs uncompiled here.
        with torch.no_grad(), torch.compiler.set_stance("force_eager"), recorder.hooks():
            # (N, C, H, W), one black image
            pixels = torch.zeros(1, channels, height, width, device=model.device).to(model.dtype)
            recorder.remember(pixels, image)
            with recorder:
                model(pixels)
    finally:
        for module, training in modes.items():
            module.training = training
    graph.edges = list(recorder.edges)
    return graph


def _paths(network: nn.Module) -> dict[nn.Module, Path]:
    """Return the path of every layer and every block."""
    if _is_layer(network):
        return {network: ("network",)}
    paths: dict[nn.Module, Path] = {}

    def visit(parent: nn.Module, block: Path, prefix: str) -> None:
        for name, module in parent.named_children():
            if module in paths:
                continue
            if type(module) in CONTAINERS:
                visit(module, block, f"{prefix}{name}.")
                continue
            paths[module] = (*block, prefix + name)
            if not _is_layer(module):
                visit(module, paths[module], "")

    visit(network, (), "")
    return paths


def _is_layer(module: nn.Module) -> bool:
    """Return whether a module is one node: without parts, or PyTorch's own."""
    ready_made = type(module).__module__.startswith("torch.nn.") and type(module) not in CONTAINERS
    return ready_made or next(module.children(), None) is None


class _Recorder(TorchFunctionMode):
    """Records which layer made which tensor, and the operations between layers."""

    def __init__(self, graph: LayerGraph, paths: dict[nn.Module, Path]) -> None:
        super().__init__()
        self.graph, self.paths = graph, paths
        self.makers: dict[int, Path] = {}  # of tensors, by identity
        self.alive: list[Tensor] = []  # so that no identity is used twice
        self.block: list[Path] = [()]
        self.inside: nn.Module | None = None  # the running layer, whose operations are not recorded
        self.inputs: list[Path] = []  # the layers that made its input
        self.edges: dict[tuple[Path, Path], None] = {}

    def remember(self, value: Any, path: Path) -> None:
        for tensor in _tensors(value):
            self.makers[id(tensor)] = path
            self.alive.append(tensor)

    def add(self, path: Path, kind: str, inputs: list[Path], output: Any, parameters: int) -> None:
        shape = _keras_order(next(_tensors(output)))
        self.graph.nodes[path] = LayerNode(path, kind, shape, parameters)
        self.edges |= dict.fromkeys((maker, path) for maker in inputs)
        self.remember(output, path)

    def makers_of(self, *values: Any) -> list[Path]:
        return [self.makers[id(tensor)] for tensor in _tensors(values) if id(tensor) in self.makers]

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Let layers and blocks report their calls."""
        handles = []
        for module in self.paths:
            before, after = (self.enter_block, self.leave_block)
            if _is_layer(module):
                before, after = (self.enter, self.leave)
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self.inside is None:
            self.inside = module
            self.inputs = self.makers_of(args, kwargs)  # now: a layer may change its input in place

    def leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self.inside is not module:
            return
        self.inside = None
        if isinstance(module, nn.Identity):
            if self.inputs:
                self.remember(output, self.inputs[0])
        elif next(_tensors(output), None) is not None:
            kind, parameters = type(module).__name__, count_parameters(module)[0]
            self.add(self.paths[module], kind, self.inputs, output, parameters)

    def enter_block(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.block.append(self.paths[module])

    def leave_block(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        path = self.block.pop()
        if (first := next(_tensors(output), None)) is not None:
            kind, parameters = type(module).__name__, count_parameters(module)[0]
            self.graph.blocks[path] = LayerNode(path, kind, _keras_order(first), parameters)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = self.makers_of(args, kwargs) if self.inside is None else []
        output = func(*args, **(kwargs or {}))
        if not inputs or next(_tensors(output), None) is None:
            return output
        name = getattr(func, "__name__", type(func).__name__).strip("_") or "operation"
        if name in SAME_VALUE:
            self.remember(output, inputs[0])
            return output
        path, number = (*self.block[-1], name), 0
        while path in self.graph.nodes or path in self.graph.blocks or path in self.paths.values():
            number += 1
            path = (*self.block[-1], f"{name}_{number}")
        self.add(path, MERGES.get(name, name), inputs, output, 0)
        return output


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield all tensors in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _keras_order(value: Tensor) -> tuple[int, ...]:
    """Return the shape without the batch; (N, C, H, W) -> (H, W, C)."""
    shape = tuple(value.shape[1:])
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape
