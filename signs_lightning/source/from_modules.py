"""The program of a network that is made of modules, such as those of this package."""

from __future__ import annotations

import operator
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, fx, nn

from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.fused_conv_pool import unfused
from signs_lightning.source.constructors import CONSTRUCTORS, constructor
from signs_lightning.source.expressions import Call, Input, Layer, Ref, call
from signs_lightning.source.functions import OPERATORS, call_function
from signs_lightning.source.program import Module, Program, Shape, Statement

ADDITIONS = {operator.add: torch.add, operator.iadd: torch.add, torch.add: torch.add}
FUNCTIONS = {operator.mul: torch.mul, operator.sub: torch.sub, **ADDITIONS}


class _Tracer(fx.Tracer):
    """Goes into the modules that are no layers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in CONSTRUCTORS and type(m) is not nn.Sequential


@torch.no_grad()
def program_of_modules(model: ImageClassifier) -> Program:
    """Return the statements of a classifier's network.

    Raises:
        InputError: it does what cannot be written as source.
    """
    height, width, channels = model.image_size
    with unfused(model.network):
        try:
            graph = _Tracer().trace(model.network)
        except Exception as error:  # of torch.fx, in the network's own code
            raise _unknown(model, str(error)) from error
        program, numbers = Program(), {}
        values: dict[fx.Node, Tensor] = {}
        modules = dict(model.network.named_modules())
        was_training = model.network.training
        model.network.eval()
        for node in graph.nodes:
            if node.op == "placeholder":
                numbers[node] = 0
                like = next(model.network.parameters())
                values[node] = like.new_zeros(2, channels, height, width)
                continue
            if node.op == "output":
                break
            if not all(isinstance(part, fx.Node) for part in node.args) and node.op != (
                "call_function"
            ):
                raise _unknown(model, f"{node.target}")
            inputs = tuple(numbers[part] for part in node.args if isinstance(part, fx.Node))
            given = [values[part] for part in node.args if isinstance(part, fx.Node)]
            name = str(node.target).replace(".", "/") if node.op == "call_module" else ""
            if node.op == "call_module":
                module = modules[str(node.target)]
                if isinstance(module, nn.Identity):
                    numbers[node], values[node] = inputs[0], given[0]
                    continue
                values[node] = module(*given)
                code: Any = _function(module)
                layer = ""
                if code is None:
                    layer = str(node.target)
                    code = Call(Layer(), (("", Input(0)),))
                    prefix = f"network.{layer}" if layer else "network"
                    names = {key: f"{prefix}.{key}" for key in module.state_dict()}
                    program.modules[layer] = Module(constructor(module), names, module)
            else:
                code, values[node] = _call(model, node, given)
                layer = ""
            shape = tuple(values[node].shape[1:])
            program.statements.append(Statement(code, inputs, shape, layer, name))
            numbers[node] = len(program.statements)
        model.network.train(was_training)
    return program


def _function(module: nn.Module) -> Any:
    """Return the code of a module that is a mere function."""
    if isinstance(module, nn.ReLU):
        return call(Ref("torch.nn.functional", "relu"), Input(0))
    return None


def _call(model: ImageClassifier, node: fx.Node, given: list[Tensor]) -> tuple[Any, Tensor]:
    """Return the code of a call of a function, and its value."""
    inputs = [Input(k) for k in range(len(given))]
    if node.op == "call_function" and node.target is torch.flatten and node.args[1:] == (1,):
        return call(Ref("torch", "flatten"), Input(0), 1), given[0].flatten(1)
    target: Any = node.target
    function: Any = FUNCTIONS.get(target) if node.op == "call_function" else None
    if function is None or function not in OPERATORS or len(given) != 2:
        raise _unknown(model, str(node.target))
    ranks = (given[0].dim(), given[1].dim()), given[0].dim()
    return call_function(function, inputs, ranks), function(*given)


def _unknown(model: ImageClassifier, what: str) -> InputError:
    return InputError(
        f"{type(model).__name__} does what cannot be written as source ({what[:100]}). Export "
        "another format, such as onnx."
    )


def sequence_of(
    model: ImageClassifier,
) -> tuple[Call, dict[str, str], dict[str, Shape]] | None:
    """Return the code of a network that is one list of layers, None for another one.

    It stays an `nn.Sequential`, so that it is fused in training as the model's own is.

    Returns:
        The code, the new names of parameters and buffers by their old ones, and the shapes of the
        layers' results.
    """
    network: Any = model.network
    if not isinstance(network, nn.Sequential):
        return None
    layers = OrderedDict(network.named_children())
    if not all(type(layer) in CONSTRUCTORS for layer in layers.values()):
        return None
    if any(isinstance(layer, nn.Sequential) for layer in layers.values()):
        return None
    arguments = tuple((name, constructor(layer)) for name, layer in layers.items())
    ordered = Call(Ref("collections", "OrderedDict[str, nn.Module]"), arguments)
    names = {f"network.{name}": f"network.{name}" for name in network.state_dict()}
    height, width, channels = model.image_size
    shapes: dict[str, Shape] = {}
    value = next(network.parameters()).new_zeros(2, channels, height, width)
    was_training = network.training
    network.eval()
    with torch.no_grad():
        for name, layer in layers.items():
            value = layer(value)
            shapes[name] = tuple(value.shape[1:])
    network.train(was_training)
    return call(Ref("torch.nn", "Sequential"), ordered), names, shapes
