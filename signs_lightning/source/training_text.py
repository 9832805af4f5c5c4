"""The methods of an exported model that say how its Keras file was trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.input_scales import rescale_inputs
from signs_lightning.keras_io.layer_context import WeightSpec
from signs_lightning.keras_io.model_graph import LayerPath
from signs_lightning.models.exported_classifier import constrain_weight
from signs_lightning.models.keras_optimizers import KerasOptimizer
from signs_lightning.models.keras_schedules import make_keras_schedule
from signs_lightning.models.losses import (
    binary_cross_entropies,
    bounded_cross_entropy,
    cross_entropy,
)
from signs_lightning.source.constructors import expression
from signs_lightning.source.expressions import (
    Call,
    Code,
    Input,
    Operation,
    Ref,
    call,
    substitute,
)
from signs_lightning.source.functions import call_function
from signs_lightning.source.layout import lines_of
from signs_lightning.source.references import reference

Place = Callable[[str], str]  # name in the model's state_dict → code of the tensor
Text = tuple[list[str], list[Any]]  # lines, and the expressions that they are made of
LOGITS = "self, logits: Tensor, labels: Tensor, training: bool"


def training_methods(model: FromKeras, place: Place) -> Text:
    """Return the methods of a model from a Keras file, less those that the base has.

    Args:
        model: the model.
        place: where its parameters and buffers are in the source.
    """
    lines: list[str] = []
    nodes: list[Any] = []
    for part in (
        _forward(model),
        _optimizer(model),
        _schedule(model),
        _loss(model),
        _penalty(model, place),
        _constraints(model, place),
    ):
        if part[0]:
            lines += ["", *part[0]]
            nodes += part[1]
    return lines, nodes


def _method(signature: str, result: str, docstring: str, *statements: list[str]) -> list[str]:
    head = f"    def {signature} -> {result}:"
    body = [f'        """{docstring}"""'] if docstring else []
    return [head, *body, *(line for lines in statements for line in lines)]


def _forward(model: FromKeras) -> Text:
    scale, others = model.hparams["scale"], model.other_inputs
    images: Any = Code("images")
    if scale == "raw":
        images = Operation("*", (images, 255))
    elif scale == "tf":
        images = Operation("-", (Operation("*", (images, 2)), 1))
    elif scale != "/255":
        images = call(reference(rescale_inputs), images, scale)
    elif not others:
        return [], []
    rest = ", *others" if others else ""
    signature = f"forward(self, images: Tensor{', *others: Tensor' if others else ''})"
    code = call(Code("self.network"), images, *([Code(rest[2:])] if rest else []))
    said = "Images in 0..1 → logits." if scale == "/255" else "Images in 0..1, rescaled → logits."
    nodes = [images, Ref("torch", "Tensor")]
    return _method(signature, "Tensor", said, lines_of(code, 2, "return ")), nodes


def _optimizer(model: FromKeras) -> Text:
    optimizer = model.compiled.optimizer
    if optimizer is None:
        return [], []
    parameters = dict(inspect.signature(optimizer.kind).parameters)
    shared = inspect.signature(KerasOptimizer).parameters  # which most classes take as **kwargs
    parameters |= {name: shared[name] for name in shared if name not in parameters}
    given = optimizer.arguments
    arguments = [
        (name, expression(given[name]))
        for name in sorted(given, key=list(parameters).index)
        if name == "lr" or parameters[name].default != given[name]
    ]
    code = Call(reference(optimizer.kind), (("", Code("params")), *arguments))
    signature = "make_optimizer(self, params: Iterable[Any])"
    nodes = [
        code,
        *(Ref("torch.optim", "Optimizer"), Ref("collections.abc", "Iterable")),
        Ref("typing", "Any"),
    ]
    return _method(signature, "Optimizer", "", lines_of(code, 2, "return ")), nodes


def _schedule(model: FromKeras) -> Text:
    optimizer = model.compiled.optimizer
    if optimizer is None or model.compiled.make_schedule is None or optimizer.schedule is None:
        return [], []
    name, arguments = optimizer.schedule
    code = call(reference(make_keras_schedule), Code("optimizer"), name, expression_of(arguments))
    signature = "make_schedule(self, optimizer: Optimizer)"
    nodes = [code, Ref("torch.optim.lr_scheduler", "LRScheduler"), Ref("torch.optim", "Optimizer")]
    return _method(signature, "LRScheduler", "", lines_of(code, 2, "return ")), nodes


def expression_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return named plain values as the code of a dict."""
    return {name: expression(value) for name, value in arguments.items()}


def _loss(model: FromKeras) -> Text:
    compiled = model.compiled
    is_binary = compiled._loss == "binary" or (model.independent and compiled._loss is None)
    smoothing = compiled.label_smoothing or 0.0
    weights = Code("self._class_weights if training else None")
    logits: Any = Code("logits")
    if is_binary and not model.binary:
        function: Any = binary_cross_entropies
        arguments = [logits, Code("labels"), model.independent, Code("weights"), smoothing]
    elif compiled.ending_kind == "probabilities" and not model.binary:
        function = bounded_cross_entropy
        arguments = [logits, Code("labels"), Code("weights"), smoothing]
    elif not model.independent and not smoothing:
        return [], []
    else:
        function = cross_entropy
        if model.independent:
            logits = call(Ref("torch.nn.functional", "logsigmoid"), logits)
        arguments = [logits, Code("labels"), model.binary, Code("weights"), smoothing]
    code = call(reference(function), *arguments)
    said = "Return the loss that the file was compiled with, in validation, too."
    lines = [lines_of(weights, 2, "weights = "), lines_of(code, 2, "return ")]
    nodes = [code, Ref("torch", "Tensor")]
    return _method(f"classification_loss({LOGITS})", "Tensor", said, *lines), nodes


def _weight_name(model: FromKeras, path: LayerPath, weight: WeightSpec) -> str:
    return f"network.{model.network.names[path]}.{weight.torch}"


def _penalty(model: FromKeras, place: Place) -> Text:
    network = model.network
    terms: list[Any] = []
    if network.penalties.activities:
        terms.append(Code("self.network.penalty"))
    groups: dict[str, list[str]] = {}
    calls: dict[str, Any] = {}
    for path, weight, penalty in network.penalties.weights:
        if not network.parameter(path, weight).requires_grad:
            continue
        code = place(_weight_name(model, path, weight))
        written = call_function(penalty, [Input(0)], ((2,), 0))
        if len(weight.shape) == 2 and weight.permutation == (1, 0) and "by_rows" in str(penalty):
            code = f"{code}.mT"
        groups.setdefault(repr(written), []).append(code)
        calls[repr(written)] = written
    if not groups and not terms:
        return [], []
    lines: list[str] = []
    single = [key for key, codes in groups.items() if len(codes) == 1]
    terms += [substitute(calls[key], (Code(groups[key][0]),)) for key in single]
    several = [key for key in groups if key not in single]
    if several:
        first = terms.pop(0) if terms else 0.0
        lines += lines_of(first, 2, "total: Tensor | float = ")
    for key in several:
        lines += lines_of(tuple(map(Code, groups[key])), 2, "for weight in ", ":")
        lines += lines_of(substitute(calls[key], (Code("weight"),)), 3, "total = total + ")
    total = "total + " if several else ""
    for term in terms[:-1]:
        lines += lines_of(term, 2, f"total = {total}")
        total = "total + "
    lines += lines_of(terms[-1], 2, f"return {total}") if terms else ["        return total"]
    nodes = list(calls.values())
    said = "Return Keras's penalties of the weights that are trained, and of outputs."
    nodes.append(Ref("torch", "Tensor"))
    return _method("penalty(self)", "Tensor | float", said, lines), nodes


def _constraints(model: FromKeras, place: Place) -> Text:
    lines: list[str] = []
    nodes: list[Any] = []
    for path, weight, projection in model.network._constraints.weights:
        if not model.network.parameter(path, weight).requires_grad:
            continue
        tensor = Code(place(_weight_name(model, path, weight)))
        code = call(
            reference(constrain_weight), tensor, weight.shape, weight.permutation,
            expression(projection),
        )  # fmt: skip
        lines += lines_of(code, 2)
        nodes.append(code)
    if not lines:
        return [], []
    return _method("constrain(self)", "None", "Constrain weights as Keras does.", lines), nodes
