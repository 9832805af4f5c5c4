"""A network as a list of statements: which module or function makes which value of which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

Shape = tuple[int, ...]  # of a tensor, without the batch


@dataclass(frozen=True)
class Statement:
    """One value of a network.

    Attributes:
        code: what makes it, of `Input`s and `Layer`.
        inputs: the values that it takes, by their numbers: 0 is the image, k the result of
            statement k, -k the input k beside the image.
        shape: of the result.
        layer: key of its module in `Program.modules`; "" for a function.
        name: what the model calls it, where that may be more than the layer's name.
        penalty: code of what is added to the loss, of `Input(0)`, the result; None for nothing.
    """

    code: Any
    inputs: tuple[int, ...]
    shape: Shape
    layer: str = ""
    name: str = ""
    penalty: Any = None


@dataclass
class Module:
    """A module of a network.

    Attributes:
        code: what makes it.
        names: its parameters and buffers in the model's state_dict, by their names in the module.
        module: itself.
        is_at_rest: whether it stays in eval mode while the network trains.
    """

    code: Any
    names: dict[str, str]
    module: nn.Module
    is_at_rest: bool = False


@dataclass
class Program:
    """A network, to be written as source.

    Attributes:
        statements: in the order of their calls; the last one gives the result.
        modules: those with a name, by their keys.
        inputs: names of the inputs, the image first.
        docstring: what the network is.
    """

    statements: list[Statement] = field(default_factory=list)
    modules: dict[str, Module] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=lambda: ["images"])
    docstring: str = ""

    def last_uses(self) -> dict[int, int]:
        """Return the number of the last statement that takes each value."""
        uses = {len(self.statements): len(self.statements) + 1}
        for k, statement in enumerate(self.statements, start=1):
            for value in statement.inputs:
                uses[value] = max(k, uses.get(value, 0))
        return uses

    def calls_of_layers(self) -> dict[str, int]:
        """Return how often each module is called."""
        counts = dict.fromkeys(self.modules, 0)
        for statement in self.statements:
            if statement.layer:
                counts[statement.layer] += 1
        return counts


def tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers that a module's state_dict has."""
    yield from module.state_dict(keep_vars=True).items()


Writer = Callable[[Program], None]
