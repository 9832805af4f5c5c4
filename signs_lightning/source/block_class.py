"""Makes one class of the repetitions of a part, its differing numbers as arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from signs_lightning.source.block_arguments import BlockArguments
from signs_lightning.source.block_docstring import sentence_of
from signs_lightning.source.expressions import (
    BlockName,
    Call,
    Code,
    Input,
    Layer,
    Operation,
    Ref,
    text,
    transform,
    walk,
)
from signs_lightning.source.forward_lines import ForwardLines, is_heavy_code
from signs_lightning.source.layout import lines_of, signature_lines
from signs_lightning.source.names import TAKEN, identifier, unique, words
from signs_lightning.source.program import Module, Program, Statement
from signs_lightning.source.repeats import Repeat, common_prefix
from signs_lightning.source.structure import (
    Number,
    put,
    split,
    with_defaults,
    without_defaults,
)

MODULE_SUFFIX = re.compile(r"_\d+$")


class BlockClass:
    """A class of a part that repeats.

    Args:
        program: the network.
        repeat: which statements.
        taken: names of classes that there are.
    """

    def __init__(self, program: Program, repeat: Repeat, taken: set[str]) -> None:
        self.program, self.repeat = program, repeat
        self.occurrences = [
            program.statements[start : start + repeat.length] for start in repeat.starts
        ]
        self.prefixes = [common_prefix([s.name for s in o if s.layer]) for o in self.occurrences]
        self.attributes = self._attributes()
        self.statements = self._local()
        self.numbers = self._numbers()
        taken_names = {*self.attributes, *TAKEN, "x", "nn", "torch", "F"}
        arguments = BlockArguments(self.numbers, self._owners(), taken_names)
        self.parameters, self.replaced = arguments.find()
        kind = self._class_name()
        numbered = (kind, *(f"{kind}{k}" for k in range(2, 100)))
        self.name = next(name for name in numbered if name not in taken)

    def _attributes(self) -> list[str]:
        """Return the attribute of each statement's module, "" for a function."""
        columns: list[str] = []
        for k in range(self.repeat.length):
            if not self.occurrences[0][k].layer:
                columns.append("")
                continue
            names = [
                o[k].name.replace("/", "_").replace(".", "_").removeprefix(prefix).strip("_")
                for o, prefix in zip(self.occurrences, self.prefixes, strict=True)
            ]
            name = names[0] if len(set(names)) == 1 else MODULE_SUFFIX.sub("", names[0])
            columns.append(identifier(name))
        found: list[str] = []
        for k, name in enumerate(columns):
            if name and columns.count(name) > 1:
                name = f"{name}_{columns[:k].count(name) + 1}"
            found.append(unique(name, TAKEN | set(found)) if name else "")
        return found

    def _local(self) -> list[Statement]:
        """Return the first occurrence with values counted from 1, and 0 for what comes in."""
        start = self.repeat.starts[0]
        return [
            Statement(
                s.code,
                tuple(value - start if value > start else 0 for value in s.inputs),
                s.shape,
                attribute,
                s.name,
            )
            for s, attribute in zip(self.occurrences[0], self.attributes, strict=True)
        ]

    def _codes(self, occurrence: Sequence[Statement]) -> list[Any]:
        """Return all code of an occurrence: of its modules, then of its statements."""
        modules = [self.program.modules[s.layer].code for s in occurrence if s.layer]
        return [*map(with_defaults, modules), *(s.code for s in occurrence)]

    def _numbers(self) -> list[list[tuple[str, Number]]]:
        """Return the numbers of each occurrence, with the names of their arguments."""
        return [
            [number for code in self._codes(o) for number in split(code)[1]]
            for o in self.occurrences
        ]

    def _owners(self) -> list[str]:
        """Return to which attribute each number belongs; "x" for those of functions."""
        first = self.occurrences[0]
        owners: list[str] = []
        for statement, attribute in zip(first, self.attributes, strict=True):
            if statement.layer:
                code = with_defaults(self.program.modules[statement.layer].code)
                owners += [attribute] * len(split(code)[1])
        for statement in first:
            owners += ["x"] * len(split(statement.code)[1])
        return owners

    def _class_name(self) -> str:
        """Return a name that tells what the part does."""
        is_depthwise = has_conv = False
        for statement in self.occurrences[0]:
            if not statement.layer:
                continue
            code = self.program.modules[statement.layer].code
            arguments = dict(code.arguments) if isinstance(code, Call) else {}
            has_conv |= isinstance(code, Call) and "Conv" in str(code.function)
            is_depthwise |= arguments.get("groups", 1) != 1
        adds = [
            s for s in self.statements
            if isinstance(s.code, Operation) and s.code.operator == "+" and len(s.inputs) > 1
        ]  # fmt: skip
        joins = [s for s in self.statements if Ref("torch", "cat") in list(walk(s.code))]
        if any(0 in s.inputs for s in adds):
            return "InvertedResidual" if is_depthwise else "ResidualBlock"
        if adds:
            return "ProjectionBlock"
        if joins:
            return "DenseBlock" if any(0 in s.inputs for s in joins) else "ConcatBlock"
        if is_depthwise:
            return "DepthwiseBlock"
        return "ConvBlock" if has_conv else "Block"

    def lines(self) -> list[str]:
        """Return the class."""
        values = list(self.replaced)
        made: list[tuple[str, Any]] = []
        for statement, attribute in zip(self.occurrences[0], self.attributes, strict=True):
            if statement.layer:
                code = put(with_defaults(self.program.modules[statement.layer].code), values)
                made.append((attribute, without_defaults(code, positional_of(code))))
        statements = [
            Statement(_of_self(put(s.code, values)), s.inputs, s.shape, s.layer, s.name)
            for s in self.statements
        ]
        kept = [n for n in self.parameters if any(_has(s.code, f"self.{n}") for s in statements)]
        self.nodes = [code for _, code in made] + [s.code for s in statements]
        codes = dict(made)
        arguments = ["self", *(f"{n}: {_kind(v)}" for n, v in self.parameters.items())]
        lines = [f"class {self.name}(nn.Module):"]
        said = sentence_of(self.name, list(codes.values()))
        lines += [f'    """{said}', "", f"    {self._occurrences_text()}", '    """', ""]
        lines += [*signature_lines("__init__", arguments, "None", 1), "        super().__init__()"]
        lines += [f"        self.{name} = {name}" for name in kept]
        for attribute, code in made:
            lines += lines_of(code, 2, f"self.{attribute} = ")
        lines += ["", "    def forward(self, x: Tensor) -> Tensor:"]
        return (
            lines
            + ForwardLines(
                statements,
                {0: "x"},
                1,
                lambda s: f"self.{s.layer}",
                lambda s: is_heavy_code(codes[s.layer]),
            ).write()
        )

    def _occurrences_text(self) -> str:
        names = [
            prefix or o[0].name for prefix, o in zip(self.prefixes, self.occurrences, strict=True)
        ]
        first, last = (words(names[k].strip("_"), 20) for k in (0, -1))
        shape = f"(N, {', '.join(map(str, self.statements[-1].shape))})"
        return f"{first} … {last}, {len(names)} in all; the first gives {shape}."

    def replace(self) -> None:
        """Put calls of the class in the place of its occurrences, in the program."""
        program = self.program
        program.classes.append(self.lines())
        program.nodes += self.nodes
        renumbered = {value: value for value in range(-len(program.inputs), 1)}
        statements: list[Statement] = []
        starts = {start: k for k, start in enumerate(self.repeat.starts)}
        index = 0
        while index < len(program.statements):
            statement = program.statements[index]
            if index not in starts:
                inputs = tuple(renumbered[value] for value in statement.inputs)
                statements.append(
                    Statement(
                        statement.code,
                        inputs,
                        statement.shape,
                        statement.layer,
                        statement.name,
                        statement.penalty,
                    )
                )
                index += 1
                renumbered[index] = len(statements)
                continue
            k = starts[index]
            occurrence = self.occurrences[k]
            outside = next(v for s in occurrence for v in s.inputs if v <= index)
            key = f"block:{self.name}:{k}"
            values = tuple((("", values[k])) for values in self.parameters.values())
            parts = {
                attribute: s.layer
                for s, attribute in zip(occurrence, self.attributes, strict=True)
                if s.layer
            }
            called = BlockName(self.name, tuple(self.parameters))
            program.modules[key] = Module(Call(called, values), parts=parts)
            name = self.prefixes[k] or next(s.name for s in occurrence if s.layer)
            statements.append(
                Statement(
                    Call(Layer(), (("", Input(0)),)),
                    (renumbered[outside],),
                    occurrence[-1].shape,
                    key,
                    f"{name}_",
                )
            )
            index += self.repeat.length
            renumbered[index] = len(statements)
        program.statements = statements


def positional_of(code: Any) -> int:
    """Return how many arguments of a call are written without their names."""
    name = text(code.function) if isinstance(code, Call) else ""
    return 4 if name == "AxisBatchNorm" else 3 if "Conv" in name else 1


def _kind(values: tuple[Number, ...]) -> str:
    return "int" if all(isinstance(value, int) for value in values) else "float"


def _of_self(code: Any) -> Any:
    """Return code of `forward`, whose arguments of the class are attributes."""
    return transform(code, lambda n: Code(f"self.{n.text}") if isinstance(n, Code) else n)


def _has(code: Any, name: str) -> bool:
    return any(isinstance(node, Code) and node.text == name for node in walk(code))
