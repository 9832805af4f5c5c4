"""The program of a network that was built from a Keras file."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from signs_lightning.keras_io.average_endings import to_logits
from signs_lightning.keras_io.axis_order import from_keras_order, to_keras_order
from signs_lightning.keras_io.modules import Apply, AxisLinear, Reordered
from signs_lightning.keras_io.network import KerasNetwork
from signs_lightning.keras_io.network_plan import Step
from signs_lightning.keras_io.norm_modules import AxisBatchNorm
from signs_lightning.models.fused_conv_pool import unfused
from signs_lightning.models.layers import KerasBatchNorm2d
from signs_lightning.source.constructors import constructor, plain_batch_norm
from signs_lightning.source.expressions import Call, Input, Layer, Method, Ref, walk
from signs_lightning.source.functions import (
    Ranks,
    call_function,
    reordered,
    takes_operators,
    wrapped,
)
from signs_lightning.source.program import Module, Program, Shape, Statement

UNUSED = "vector_u"  # of a SpectralNormalization, whose kernel is normalized already


def program_of(network: KerasNetwork) -> Program:
    """Return the statements of a network, in the order of Keras's calls.

    Raises:
        InputError: it has what cannot be written as source.
    """
    with unfused(network):
        return _Writer(network).write()


class _Writer:
    """Collects statements; `numbers` is which value of the program a value of the plan is."""

    def __init__(self, network: KerasNetwork) -> None:
        self.network, self.plan = network, network.plan
        graph = self.plan.graph
        self.channels_last = not graph.channels_first
        others = [given.name for given in graph.other_inputs]
        self.program = Program(inputs=["images", *others])
        height, width, channels = self.plan.image_size
        shape: Shape = (channels, height, width)
        self.numbers: dict[int, int] = {0: 0}
        self.shapes: dict[int, Shape] = {0: shape}
        for k, given in enumerate(graph.other_inputs, start=1):
            self.numbers[-k], self.shapes[-k] = -k, given.shape
            if self.channels_last and len(given.shape) == 3:
                code: Any = wrapped(from_keras_order, Input(0))
                self.numbers[-k] = self._add(code, (-k,), self._ours(given.shape))
        if len(graph.input_shape) < 3:  # as `Graph.arrange`
            permuted = Method(Input(0), "permute", tuple(("", axis) for axis in (0, 2, 3, 1)))
            is_row = len(graph.input_shape) == 1
            code = Method(permuted, "flatten" if is_row else "squeeze", (("", 1 if is_row else 3),))
            size = (math.prod(shape),) if is_row else (height, width)
            self.numbers[0] = self._add(code, (0,), size)

    def write(self) -> Program:
        for k, step in enumerate(self.plan.steps, start=1):
            value = self._add_step(k, step)
            if penalty := self.network.penalties.activities.get(k):
                ranks: Ranks = ((len(self.shapes[value]) + 1,), 0)
                code = call_function(penalty, [Input(0)], ranks)
                made = self.program.statements
                if value != len(made) or not made or made[-1].penalty is not None:
                    value = self._add(Input(0), (value,), self.shapes[value])
                made[-1] = replace(made[-1], penalty=code)
            self.numbers[k] = value
        if self.plan.ending.kind == "probabilities":
            last = self.numbers[len(self.plan.steps)]
            self._add(wrapped(to_logits, Input(0)), (last,), self.shapes[last])
        elif self.numbers[len(self.plan.steps)] != len(self.program.statements):
            last = self.numbers[len(self.plan.steps)]
            self._add(Input(0), (last,), self.shapes[last])
        return self.program

    def _add(
        self, code: Any, inputs: tuple[int, ...], shape: Shape, layer: str = "", name: str = ""
    ) -> int:
        self.program.statements.append(Statement(code, inputs, shape, layer, name))
        number = len(self.program.statements)
        self.shapes[number] = shape
        return number

    def _ours(self, shape: Shape) -> Shape:
        """Keras's shape → that of the tensor here."""
        if len(shape) == 3 and self.channels_last:
            return shape[2], shape[0], shape[1]
        return shape

    def _add_step(self, k: int, step: Step) -> int:
        inputs = tuple(self.numbers[index] for index in step.inputs)
        shape, value, name = self._ours(step.shape), inputs[0], "/".join(step.path)
        if not step.skip:
            module = self.network.get_submodule(self.network._module_name(step))
            code = self._code(module, step, inputs)
            if code != Input(0):
                layer = self._layer(step, module) if _has_layer(code) else ""
                value = self._add(code, inputs, shape, layer, name)
        if step.activation is not None:
            ranks: Ranks = ((len(shape) + 1,), len(shape) + 1)
            code = call_function(step.activation, [Input(0)], ranks)
            value = self._add(code, (value,), shape, name=name)
        return value

    def _code(self, module: nn.Module, step: Step, inputs: tuple[int, ...]) -> Any:
        """Return what calls a module or a function, its data_format minded."""
        values: list[Any] = [Input(k) for k in range(len(inputs))]
        given = tuple(len(self.shapes[number]) + 1 for number in inputs)
        ranks: Ranks = given, len(step.shape) + 1
        outside, inside = (to_keras_order, from_keras_order)
        if self.channels_last:
            outside, inside = inside, outside
        if step.other_format:
            values = [
                wrapped(inside, value) if rank == 4 else value
                for value, rank in zip(values, given, strict=True)
            ]
        code = self._call(module, values, ranks)
        return wrapped(outside, code) if step.other_format and ranks[1] == 4 else code

    def _call(self, module: nn.Module, values: list[Any], ranks: Ranks) -> Any:
        if isinstance(module, nn.Identity):
            return values[0]
        if isinstance(module, Reordered):
            return reordered(module.function, values, ranks, module.channels_last)
        if isinstance(module, Apply):
            arguments = _with_constants(module, values)
            if arguments is not None:
                return call_function(module.function, arguments, ranks)
        return Call(Layer(), tuple(("", value) for value in values))

    def _layer(self, step: Step, module: nn.Module) -> str:
        """Return the key of a step's module, which is added to the program."""
        name = self.network._module_name(step)
        if name not in self.program.modules:
            rank = len(step.shape) + 1
            self.program.modules[name] = Module(
                _simplified(module, rank),
                {key: f"network.{name}.{key}" for key in module.state_dict() if key != UNUSED},
                module,
                name in self.network._inference or self._is_frozen_norm(step, module),
            )
        return name

    def _is_frozen_norm(self, step: Step, module: nn.Module) -> bool:
        return step.path in self.network.frozen and isinstance(module, KerasBatchNorm2d)


def _has_layer(code: Any) -> bool:
    return any(isinstance(node, Layer) for node in walk(code))


def _with_constants(module: Apply, values: list[Any]) -> list[Any] | None:
    """Return the arguments of a function, None where one is no exact number."""
    arguments = list(values)
    constants = {
        int(name.removeprefix("constant")): _exact(value)
        for name, value in module.named_buffers(recurse=False)
    }
    for position in sorted(constants):
        arguments.insert(position, constants[position])
    takes_numbers = not constants or takes_operators(module.function)
    return arguments if takes_numbers and None not in constants.values() else None


def _exact(value: Tensor) -> float | None:
    """Return a number that is the same in float32 and as it is written in Python."""
    if value.dim() or not value.is_floating_point():
        return None
    number = float(value)
    return number if float(str(np.float32(number))) == number else None


def _simplified(module: nn.Module, rank: int) -> Any:
    """Return a module's constructor, PyTorch's own where it does the same."""
    if isinstance(module, AxisLinear) and (rank != 4 or not module.channels_last):
        arguments: list[tuple[str, Any]] = [("", module.in_features), ("", module.out_features)]
        if module.bias is None:
            arguments.append(("bias", False))
        return Call(Ref("torch.nn", "Linear"), tuple(arguments))
    if isinstance(module, AxisBatchNorm) and rank == 4 and module.axis == 1:
        return plain_batch_norm(module) or constructor(module)
    return constructor(module)
