"""The text of a whole source file: imports, blocks, network and model."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from signs_lightning import __version__
from signs_lightning.keras_io.config_entries import class_and_arguments
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.exported_classifier import ExportedClassifier
from signs_lightning.models.layers import initialize_like_keras
from signs_lightning.source.constructors import expression
from signs_lightning.source.expressions import Call, Code, Ref, call, text
from signs_lightning.source.forward_lines import ForwardLines, is_heavy_code
from signs_lightning.source.frozen_layers import FrozenLayers, code_of
from signs_lightning.source.imports import import_lines
from signs_lightning.source.layout import lines_of, signature_lines, with_comment
from signs_lightning.source.names import attribute_names, variable_names, words
from signs_lightning.source.program import Program, Shape, Statement
from signs_lightning.source.references import reference
from signs_lightning.source.standalone import stand_alone
from signs_lightning.source.standalone_classifier import ExportedClassifier as StandaloneBase
from signs_lightning.source.training_text import training_methods

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


class ModelText:
    """Writes a model as one source file.

    Args:
        model: the classifier.
        program: its network.
        standalone: whether the file is to do without this package.
        sequence: the code of a network that is one list of layers, in place of the program.
        names: of its parameters and buffers, then.
        shapes: of its layers' results, then.
    """

    def __init__(
        self, model: ImageClassifier, program: Program, standalone: bool, sequence: Any = None,
        names: dict[str, str] | None = None, shapes: dict[str, Shape] | None = None,
    ) -> None:  # fmt: skip
        self.shapes = shapes or {}
        self.standalone = standalone
        self.model, self.program, self.sequence = model, program, sequence
        self.nodes: list[Any] = [Ref("torch.nn", "Module")]
        self.constants: list[str] = []  # lines
        self.attributes = attribute_names(program.called())
        self.paths = program.paths(self.attributes)
        self.leaves = {
            key: module
            for key, module in program.modules.items()
            if module.module is not None and key in self.paths
        }
        self.names = {
            old: f"network.{self.paths[key]}.{name}"
            for key, module in self.leaves.items()
            for name, old in module.names.items()
        }
        self.names |= names or {}
        last = program.statements[-1] if program.statements else None
        is_head = last is not None and gives_classes(self._code_of(last.layer), model)
        # The layer that gives the logits takes their number from the model.
        self.head = last.layer if last is not None and is_head else ""

    def _code_of(self, key: str) -> Any:
        is_once = self.program.counts()[key] == 1
        return self.program.modules[key].code if key and is_once else None

    def write(self) -> SourceText:
        """Return the file.

        Raises:
            InputError: the model has what cannot be written as source.
        """
        network = [] if self.sequence is not None else ["", "", *self._network()]
        model = self._model()
        heading = [f'"""{self._title()}', "", *self._about(), '"""', ""]
        self.nodes += self.program.nodes
        if self.standalone:
            future = ["from __future__ import annotations", ""]
            imports, definitions = stand_alone(self.nodes)
            imports = [*future, *imports, *definitions]
        else:
            imports = import_lines(self.nodes)
        constants = ["", *self.constants] if self.constants else []
        classes = [line for lines in self.program.classes for line in ["", "", *lines]]
        lines = [*heading, *imports, *constants, *classes, *network, "", "", *model]
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
        self.nodes.append(Ref("torch", "Tensor"))
        variables = variable_names(program.inputs)
        inputs = {-k: name for k, name in enumerate(variables)}
        shapes = {s.layer: s.shape for s in program.statements if s.layer}
        lines = ["class Network(nn.Module):", f'    """The layers of {CLASS}."""', ""]
        taken = ", num_classes: int" if self.head else ""
        lines += [f"    def __init__(self{taken}) -> None:", "        super().__init__()"]
        for key in program.called():
            code = program.modules[key].code
            if key == self.head:
                code = with_classes(code, Code("num_classes"))
            made = lines_of(code, 2, f"self.{self.attributes[key]} = ")
            lines += with_comment(made, shape_comment(shapes[key]))
            self.nodes.append(code)
        frozen = FrozenLayers(self.leaves, self.paths)
        lines += [*frozen.freezing_lines(), *frozen.mode_lines()]
        arguments = ", ".join(f"{name}: Tensor" for name in variables)
        lines += ["", f"    def forward(self, {arguments}) -> Tensor:"]
        if any(statement.penalty is not None for statement in program.statements):
            lines.append(f"        self.penalty = {variables[0]}.new_zeros(())")
        lines += ForwardLines(
            program.statements, inputs, 1, self._layer_code, self._is_heavy
        ).write()
        self.nodes += [s.code for s in program.statements]
        self.nodes += [s.penalty for s in program.statements]
        lines += frozen.resting_lines()
        self.nodes += frozen.nodes
        return lines

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
        lines += self._build()
        if isinstance(model, FromKeras):
            methods, nodes = training_methods(model, self._place)
            lines += methods
            self.nodes += nodes
        return lines

    def _build(self) -> list[str]:
        """Return the body of `build`."""
        initializer = initializer_of(self.model)
        self.nodes.append(reference(initialize_like_keras))
        given = (initializer,) if initializer != "glorot_uniform" else ()
        network: Any = call(Code("Network"), *([Code("self.num_classes")] if self.head else []))
        lines = []
        if self.sequence is not None:
            self.nodes.append(self.sequence)
            ordered = self.sequence.arguments[0][1]
            *others, (name, last) = ordered.arguments
            if gives_classes(last, self.model):
                last = with_classes(last, Code("self.num_classes"))
            ordered = Call(ordered.function, (*others, (name, last)))
            lines = [self._with_shape(line) for line in lines_of(ordered, 2, "layers = ")]
            network = call(Ref("torch.nn", "Sequential"), Code("layers"))
        made = call(reference(initialize_like_keras), network, *given)
        return [*lines, *lines_of(made, 2, "return ")]

    def _with_shape(self, line: str) -> str:
        """Return the line of a layer in a list, with the shape of its result."""
        shape = self.shapes.get(line.strip().partition("=")[0])
        return line if shape is None else with_comment([line], shape_comment(shape))[0]

    def _place(self, name: str) -> str:
        """Return the code of a parameter, by its old name in the state_dict."""
        return code_of(f"self.{self.names[name]}")

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
        kinds = {bool: "bool", int: "int", float: "float", str: "str", list: "list"}
        for name, parameter in inspect.signature(ImageClassifier).parameters.items():
            value = hparams.get(name)
            if name in (*settings, "biased_variance", "optimizer") or value is None:
                continue
            if self.standalone and name not in inspect.signature(StandaloneBase).parameters:
                continue
            if isinstance(model, FromKeras) and name == "label_smoothing":
                continue
            if value != parameter.default and type(value) in kinds:
                written = expression(value)
                if isinstance(value, list):
                    self.constants += lines_of(written, 0, f"{name.upper()} = ")
                    written = Code(name.upper())
                inner = type(value[0]).__name__ if isinstance(value, list) and value else "Any"
                kind = kinds[type(value)] + (f"[{inner}]" if isinstance(value, list) else "")
                settings[name] = (f"{kind} | None", written)
        return settings


def initializer_of(model: ImageClassifier) -> str:
    """Return how most kernels of a model are initialized."""
    if isinstance(model, FromKeras):
        specs = [layer.config.get("kernel_initializer") for layer, _ in model.plan.layers()]
        names = [class_and_arguments(spec)[0] for spec in specs if spec is not None]
        is_he = names.count("HeNormal") > len(names) / 2
        return "he_normal" if is_he else "glorot_uniform"
    return getattr(model, "initializer", "glorot_uniform")


def gives_classes(code: Any, model: ImageClassifier) -> bool:
    """Return whether a layer is a linear one that gives a logit for each class."""
    if not isinstance(code, Call) or code.function != Ref("torch.nn", "Linear") or model.binary:
        return False
    return code.arguments[1] == ("", model.num_classes)


def with_classes(code: Call, number: Code) -> Call:
    """Return the call of a linear layer with another number of outputs."""
    first, _, *others = code.arguments
    return Call(code.function, (first, ("", number), *others))
