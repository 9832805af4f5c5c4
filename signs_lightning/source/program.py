"""A network as a list of statements: which module or function makes which value of which."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from torch import nn

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
        module: itself; None for one of several parts.
        is_at_rest: whether it stays in eval mode while the network trains.
        parts: of a block or a stage: keys of the modules in it, by their attributes.
    """

    code: Any
    names: dict[str, str] = field(default_factory=dict)
    module: nn.Module | None = None
    is_at_rest: bool = False
    parts: dict[str, str] = field(default_factory=dict)


@dataclass
class Program:
    """A network, to be written as source.

    Attributes:
        statements: in the order of their calls; the last one gives the result.
        modules: those with a name, by their keys.
        inputs: names of the inputs, the image first.
        classes: lines of the classes of its blocks.
        nodes: expressions in these classes.
    """

    statements: list[Statement] = field(default_factory=list)
    modules: dict[str, Module] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=lambda: ["images"])
    classes: list[list[str]] = field(default_factory=list)
    nodes: list[Any] = field(default_factory=list)

    def called(self) -> dict[str, str]:
        """Return the modules that the statements call, in this order, with their names."""
        names: dict[str, str] = {}
        for statement in self.statements:
            if statement.layer:
                names.setdefault(statement.layer, statement.name)
        return names

    def counts(self) -> Counter[str]:
        """Return how often each module is called."""
        return Counter(s.layer for s in self.statements if s.layer)

    def paths(self, attributes: dict[str, str]) -> dict[str, str]:
        """Return where each module is, such as `conv2.0.conv_1`.

        Args:
            attributes: of the modules that are called.
        """
        paths = dict(attributes)
        queue = list(attributes)
        while queue:
            key = queue.pop()
            for attribute, part in self.modules[key].parts.items():
                paths[part] = f"{paths[key]}.{attribute}"
                queue.append(part)
        return paths
