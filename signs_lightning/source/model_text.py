"""The text of a whole source file: imports, blocks, network and model."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from signs_lightning import __version__
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.exported_classifier import ExportedClassifier
from signs_lightning.models.layers import KerasBatchNorm2d
from signs_lightning.source.constructors import expression, reference
from signs_lightning.source.expressions import Call, Code, Ref, text, walk
from signs_lightning.source.forward_lines import ForwardLines, is_heavy_code
from signs_lightning.source.layout import INDENT, MAX_WIDTH, lines_of, with_comment
from signs_lightning.source.names import attribute_names, variable_names, words
from signs_lightning.source.program import Program, Shape, Statement
from signs_lightning.source.training_text import training_methods

STANDARD = ("builtins", "collections", "collections.abc", "functools", "math", "typing")
CLASS = "Net"  # of a written model


@dataclass
class SourceText:
    """A source file.

    Attributes:
        text: of the file.
        names: of parameters and buffers in the new model, by those in the old one.
    """

    text: str
    names: dict[str, str] = field(default_factory=dict)


def shape_comment(shape: Shape, ending: str = "") -> str:
    """Return `(N, 8, 64, 64)`."""
    return f"(N, {', '.join(map(str, shape))}){ending}"


def import_lines(nodes: Iterable[Any]) -> list[str]:
    """Return the imports that expressions need, sorted as ruff sorts them."""
    modules: dict[str, set[str]] = {}
    plain: set[str] = set()
    for node in nodes:
        for part in walk(node):
            if not isinstance(part, Ref):
                continue
            match part.module:
                case "torch.nn.functional":
                    plain.add("import torch.nn.functional as F")
                case "torch.nn":
                    modules.setdefault("torch", set()).add("nn")
                case "torch" if part.name.partition(".")[0] == "Tensor":
                    modules.setdefault("torch", set()).add("Tensor")
                case "torch" | "math":
                    plain.add(f"import {part.module}")
                case "builtins":
                    pass
                case module:
                    modules.setdefault(module, set()).add(part.name)
    blocks = []
    for is_standard in (True, False):
        lines = sorted(line for line in plain if (line == "import math") == is_standard)
        for module in sorted(modules):
            if (module in STANDARD) == is_standard:
                lines += _from_line(module, modules[module])
        if lines:
            blocks.append(lines)
    return [line for k, block in enumerate(blocks) for line in ([""] if k else []) + block]


def _from_line(module: str, names: set[str]) -> list[str]:
    ordered = sorted(names, key=_import_order)
    line = f"from {module} import {', '.join(ordered)}"
    if len(line) <= MAX_WIDTH:
        return [line]
    return [f"from {module} import (", *(f"{INDENT}{name}," for name in ordered), ")"]


def _import_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as isort sorts them."""
    if name.isupper() and len(name) > 1:
        return 0, name
    return (1 if name[:1].isupper() else 2), name


class ModelText:
    """Writes a model as one source file.

    Args:
        model: the classifier.
        program: its network.
    """

    def __init__(self, model: ImageClassifier, program: Program) -> None:
        self.model, self.program = model, program
        self.nodes: list[Any] = [Ref("torch.nn", "Module"), Ref("torch", "Tensor")]
        self.constants: list[str] = []  # lines
        self.attributes = attribute_names(program.modules)
        self.names = {
            old: f"network.{self.attributes[key]}.{name}"
            for key, module in program.modules.items()
            for name, old in module.names.items()
        }

    def write(self) -> SourceText:
        """Return the file.

        Raises:
            InputError: the model has what cannot be written as source.
        """
        network = self._network()
        model = self._model()
        heading = [f'"""{self._title()}', "", *self._about(), '"""', ""]
        imports = import_lines(self.nodes)
        constants = ["", *self.constants] if self.constants else []
        lines = [*heading, *imports, *constants, "", "", *network, "", "", *model]
        return SourceText("\n".join(lines) + "\n", self.names)

    def _title(self) -> str:
        name = self._source_name()
        return f"{name}, written as source by signs_lightning {__version__}."

    def _source_name(self) -> str:
        if isinstance(self.model, FromKeras):
            return words(self.model.plan.graph.name) or "A Keras model"
        return type(self.model).__name__

    def _about(self) -> list[str]:
        height, width, channels = self.model.image_size
        logits = 1 if self.model.binary else self.model.num_classes
        return [f"Images float (N, {channels}, {height}, {width}) in 0..1 → logits (N, {logits})."]

    def _layer_code(self, statement: Statement) -> str:
        return f"self.{self.attributes[statement.layer]}"

    def _is_heavy(self, statement: Statement) -> bool:
        return is_heavy_code(self.program.modules[statement.layer].code)

    def _network(self) -> list[str]:
        program = self.program
        variables = variable_names(program.inputs)
        inputs = {-k: name for k, name in enumerate(variables)}
        shapes = {s.layer: s.shape for s in program.statements if s.layer}
        lines = ["class Network(nn.Module):", f'    """The layers of {CLASS}."""', ""]
        lines += ["    def __init__(self) -> None:", "        super().__init__()"]
        for key, module in program.modules.items():
            made = lines_of(module.code, 2, f"self.{self.attributes[key]} = ")
            lines += with_comment(made, shape_comment(shapes[key]))
            self.nodes.append(module.code)
        lines += self._freezing()
        arguments = ", ".join(f"{name}: Tensor" for name in variables)
        lines += ["", f"    def forward(self, {arguments}) -> Tensor:"]
        if any(statement.penalty is not None for statement in program.statements):
            lines.append(f"        self.penalty = {variables[0]}.new_zeros(())")
        lines += ForwardLines(
            program.statements, inputs, 1, self._layer_code, self._is_heavy
        ).write()
        self.nodes += [s.code for s in program.statements]
        self.nodes += [s.penalty for s in program.statements]
        return lines + self._resting()

    def _frozen(self) -> list[str]:
        """Return the keys of modules whose parameters are frozen."""
        return [
            key
            for key, module in self.program.modules.items()
            if any(True for _ in module.module.parameters())
            and not any(p.requires_grad for p in module.module.parameters())
        ]

    def _freezing(self) -> list[str]:
        """Return the lines that freeze layers."""
        frozen = self._frozen()
        trained = [
            key
            for key, module in self.program.modules.items()
            if any(p.requires_grad for p in module.module.parameters())
        ]
        if not frozen:
            return []
        if len(frozen) <= len(trained):
            return self._set_gradients(frozen, False)
        lines = ["        self.requires_grad_(False)  # as they were frozen in Keras, all but:"]
        return lines + (self._set_gradients(trained, True) if trained else [])

    def _set_gradients(self, keys: list[str], value: bool) -> list[str]:
        names = [f"self.{self.attributes[key]}" for key in keys]
        if len(names) == 1:
            return [f"        {names[0]}.requires_grad_({value})"]
        lines = lines_of(tuple(map(Code, names)), 2, "for layer in ", ":")
        return [*lines, f"            layer.requires_grad_({value})"]

    def _resting(self) -> list[str]:
        """Return `train`, where layers stay in eval mode."""
        resting = [key for key, module in self.program.modules.items() if module.is_at_rest]
        if not resting:
            return []
        self.nodes.append(Ref("typing", "Self"))
        lines = ["", "    def train(self, mode: bool = True) -> Self:"]
        lines.append('        """Keep layers in eval mode that Keras keeps so."""')
        lines.append("        super().train(mode)")
        frozen_norms = [
            key
            for key, module in self.program.modules.items()
            if isinstance(module.module, KerasBatchNorm2d)
            and not any(p.requires_grad for p in module.module.parameters())
        ]
        if len(resting) > 3 and resting == frozen_norms:
            self.nodes.append(reference(KerasBatchNorm2d))
            lines += [
                "        for layer in self.modules():",
                "            weights = list(layer.parameters())",
                "            is_frozen = not any(weight.requires_grad for weight in weights)",
                "            if isinstance(layer, KerasBatchNorm2d) and is_frozen:",
                "                layer.eval()",
            ]
        else:
            names = [f"self.{self.attributes[key]}" for key in resting]
            if len(names) == 1:
                lines.append(f"        {names[0]}.eval()")
            else:
                lines += lines_of(tuple(map(Code, names)), 2, "for layer in ", ":")
                lines.append("            layer.eval()")
        return [*lines, "        return self"]

    def _model(self) -> list[str]:
        base = Ref(ExportedClassifier.__module__, ExportedClassifier.__name__)
        self.nodes.append(base)
        lines = [f"class {CLASS}({text(base)}):", f'    """{self._source_name()}."""']
        model = self.model
        flags = []
        if model.binary:
            flags.append("    binary = True")
        if model.independent:
            flags.append("    independent = True")
        if model.other_inputs:
            flags += lines_of(expression(model.image_input), 1, "image_input = ")
            flags += lines_of(
                dict(model.other_inputs), 1, "other_inputs = ", "  # type: ignore[assignment]"
            )
        lines += ["", *flags] if flags else []
        lines += ["", *self._init(), "", "    def build(self) -> nn.Module:"]
        lines.append("        return Network()")
        if isinstance(model, FromKeras):
            methods, nodes = training_methods(model, self._place)
            lines += methods
            self.nodes += nodes
        return lines

    def _place(self, name: str) -> str:
        """Return the code of a parameter, by its old name in the state_dict."""
        code = "self"
        for part in self.names[name].split("."):
            code += f"[{part}]" if part.isdigit() else f".{part}"
        return code

    def _init(self) -> list[str]:
        given = self._settings()
        self.nodes.append(Ref("typing", "Any"))
        parts = [f"{name}: {kind} = {text(value)}" for name, (kind, value) in given.items()]
        parts = ["self", *parts, "**kwargs: Any"]
        code = Call(
            Code("super().__init__"),
            (*((name, Code(name)) for name in given), ("", Code("**kwargs"))),
        )
        return [*signature_lines("__init__", parts, "None", 1), *lines_of(code, 2)]

    def _settings(self) -> dict[str, tuple[str, Any]]:
        """Return what the model was made with, with types: arguments and their defaults."""
        model, hparams = self.model, self.model.hparams
        size = "tuple[int, int, int]"
        settings: dict[str, tuple[str, Any]] = {
            "num_classes": ("int", model.num_classes),
            "image_size": (size, tuple(model.image_size)),
        }
        kinds = {bool: "bool", int: "int", float: "float", str: "str", list: "list[Any]"}
        for name, parameter in inspect.signature(ImageClassifier).parameters.items():
            value = hparams.get(name)
            if name in (*settings, "biased_variance", "optimizer") or value is None:
                continue
            if isinstance(model, FromKeras) and name == "label_smoothing":
                continue
            if value != parameter.default and type(value) in kinds:
                written = expression(value)
                if isinstance(value, list):
                    self.constants += lines_of(written, 0, f"{name.upper()} = ")
                    written = Code(name.upper())
                settings[name] = (f"{kinds[type(value)]} | None", written)
        return settings


def signature_lines(name: str, parts: list[str], result: str, indent: int) -> list[str]:
    """Return the lines of a `def`, broken as ruff breaks them."""
    margin = INDENT * indent
    whole = f"{margin}def {name}({', '.join(parts)}) -> {result}:"
    if len(whole) <= MAX_WIDTH:
        return [whole]
    inner = f"{margin}{INDENT}{', '.join(parts)}"
    head, end = f"{margin}def {name}(", f"{margin}) -> {result}:"
    if len(inner) <= MAX_WIDTH:
        return [head, inner, end]
    return [head, *(f"{margin}{INDENT}{part}," for part in parts), end]
