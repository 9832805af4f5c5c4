"""What ends a Keras model: a softmax, a sigmoid, logits, or an average of probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from signs_lightning.errors import InputError
from signs_lightning.keras_io import activations, layer_table
from signs_lightning.keras_io.average_endings import gives_probabilities
from signs_lightning.keras_io.file_errors import inconsistent_model
from signs_lightning.keras_io.model_graph import Graph, Layer, Value
from signs_lightning.keras_io.stateless_layers import DROPOUTS

LAYERS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
RESHAPING = {"Flatten", "Reshape", "Identity", "ActivityRegularization"}
NO_CLASSES = {  # losses of other tasks, in lower case without underscores
    *("mse", "meansquarederror", "mae", "meanabsoluteerror", "mape", "msle", "huber", "logcosh"),
    *("meanabsolutepercentageerror", "meansquaredlogarithmicerror", "cosinesimilarity", "poisson"),
    *("huberloss", "tripletsemihardloss", "contrastiveloss"),
}
# of those, which errors a regression is trained on here
ERRORS: dict[str, Literal["squared", "absolute"]] = {
    "mse": "squared", "meansquarederror": "squared",
    "mae": "absolute", "meanabsoluteerror": "absolute",
}  # fmt: skip
# Behind a softmax they give probabilities that no logits stand behind: see `average_endings`.
AVERAGING = {"GlobalAveragePooling2D", *DROPOUTS}


@dataclass(frozen=True)
class Ending:
    """What ends a model.

    Attributes:
        kind: the function that gives the probabilities; "logits" where there is none;
            "probabilities" where they are an average of such.
        layer: the layer that has it, or gives the logits.
        call: index of its call, from 0, whose function is left out here; None where nothing is.
        axis: Keras's axis of a softmax, counted with the batch.
    """

    kind: Literal["softmax", "sigmoid", "logits", "probabilities"]
    layer: Layer
    call: int | None = None
    axis: int = -1


def find_ending(graph: Graph) -> Ending:
    """Return what ends a model, also before layers that only reshape it.

    "probabilities" is what is left; `check_average` tells whether that is so.
    """
    if graph.output != Value(len(graph.calls)) or not graph.calls:
        raise inconsistent_model("The model gives back its image: no layer leads to its output")
    last = k = len(graph.calls) - 1
    passing = RESHAPING | AVERAGING
    while graph.calls[k].layer.class_name in passing:
        indices = graph.calls[k].value_indices
        if len(indices) != 1 or indices[0] < 1:
            break
        k = indices[0] - 1
    layer = graph.calls[k].layer
    name, axis = _function_of(layer)
    after = {graph.calls[j].layer.class_name for j in range(k + 1, last + 1)}
    is_axis = isinstance(axis, int) and not isinstance(axis, bool)
    if name == "linear" and layer.class_name in layer_table.WITH_ACTIVATION:
        return Ending("logits", layer)
    if name in ("softmax", "sigmoid") and is_axis and not AVERAGING & after:
        return Ending("softmax" if name == "softmax" else "sigmoid", layer, k, axis)
    return Ending("probabilities", layer)


def check_average(ending: Ending, graph: Graph, shapes: list[tuple[int, ...]]) -> None:
    """Check that a model without softmax, sigmoid or logits at its end gives their average.

    Args:
        ending: what ends the model.
        graph: the model's.
        shapes: Keras's shape of each call's result, without the batch.

    Raises:
        InputError: it ends in something else, such as a ReLU.
    """
    if ending.kind != "probabilities" or gives_probabilities(graph, shapes):
        return
    layer, last = ending.layer, graph.calls[-1].layer
    name, _ = _function_of(layer)
    spec = layer.config.get("activation") if name != "linear" else None
    activation = "no activation" if spec is None else f"activation '{activations.describe(spec)}'"
    raise InputError(
        f"The model ends with {last} and {activation}, expected a softmax or "
        "sigmoid that gives probabilities, or a Dense layer without activation. Let one follow it "
        "in Keras, such as `keras.layers.Softmax()`, and save that."
    )


def _function_of(layer: Layer) -> tuple[str | None, Any]:
    """Return the name of a layer's activation, "linear" for none, and its axis."""
    spec: Any = (
        layer.config.get("activation") if layer.class_name in layer_table.WITH_ACTIVATION else None
    )
    name, axis = activations.name_of(spec), layer.config.get("axis", -1)
    if name == "Softmax":  # the layer as an `activation=`
        name, axis = "softmax", spec["config"].get("axis", -1)
    name = LAYERS.get(layer.class_name, name)
    return name, axis[0] if isinstance(axis, list) and len(axis) == 1 else axis


def count_outputs(
    ending: Ending,
    shape: tuple[int, ...],
    inner: tuple[int, ...] | None,
    image_size: tuple[int, int, int],
) -> tuple[int, bool]:
    """Return the number of classes, and whether one value tells two of them apart.

    Args:
        ending: what ends the model.
        shape: Keras's shape of its output, without the batch.
        inner: that of the softmax or sigmoid before it was reshaped; None for logits.
        image_size: height, width and channels of its images.

    Raises:
        InputError: these are not probabilities of classes.
    """
    is_binary = ending.kind != "softmax" and shape == (1,)
    is_one_row = True
    if ending.kind == "softmax" and inner is not None:
        axis = ending.axis % (len(inner) + 1) if inner else 0
        is_one_row = axis > 0 and inner[axis - 1] == math.prod(inner)
    elif ending.kind == "sigmoid" and inner:
        is_one_row = max(inner) == math.prod(inner)
    if len(shape) != 1 or is_binary != (shape[0] == 1) or not is_one_row:
        expected = (
            "one value for each class of" if ending.kind == "sigmoid" else "two classes or more for"
        )
        is_function = ending.kind in ("softmax", "sigmoid")
        what = f"a {ending.kind}" if is_function else ending.kind
        raise InputError(
            f"The model ends with {what} over values of shape {inner or shape}, expected "
            f"{expected} {what}: images with one label each."
        )
    if ending.kind == "sigmoid" and shape[0] == math.prod(image_size) > 1:
        raise InputError(
            f"The model ends with {ending.layer} and as many sigmoids as its images have values: "
            "it gives images, not classes. Name the file of a classifier."
        )
    return (2 if is_binary else shape[0]), is_binary


def has_independent_outputs(ending: Ending, binary: bool, losses: list[str]) -> bool:
    """Return whether each of several classes has a probability of its own.

    Args:
        ending: what ends the model: sigmoids, or logits that were trained as such.
        binary: whether one value tells two classes apart.
        losses: names of the losses of `compile`, in lower case without underscores.
    """
    is_sigmoid = ending.kind == "logits" and any("binary" in loss for loss in losses)
    return not binary and (is_sigmoid or ending.kind == "sigmoid")


def task_of_loss(ending: Ending, losses: list[str]) -> Literal["regression"] | None:
    """Return the task that a file shows: values without activation, trained on an error of these.

    Args:
        ending: what ends the model.
        losses: names of the losses of `compile`, in lower case without underscores.
    """
    is_error = len(losses) == 1 and losses[0] in ERRORS
    return "regression" if ending.kind == "logits" and is_error else None


def check_task(ending: Ending, task: str | None) -> None:
    """Check that what ends a model gives what a task needs.

    Raises:
        InputError: it does not.
    """
    needs = {"multilabel": ("sigmoid", "logits"), "regression": ("logits",)}
    if task is None or ending.kind in needs[task]:
        return
    wanted = {"multilabel": "a sigmoid or no activation", "regression": "no activation"}[task]
    raise InputError(
        f"The model ends with {ending.layer} that gives {ending.kind}, expected {wanted} for the "
        f"task {task}. Leave the task out, or name the file of another model."
    )


def describe_output(
    ending: Ending, binary: bool, independent: bool, task: str | None = None
) -> str | None:
    """Return the line on a model without softmax at its end, None for another one.

    Args:
        ending: what ends the model.
        binary: whether one value tells two classes apart.
        independent: whether each class has a probability of its own.
        task: of the model.
    """
    if task == "regression":
        return f"output: {ending.layer} gives numbers (task regression), as labels have them."
    if task == "multilabel":
        return f"output: {ending.layer} gives each class a probability of its own (multilabel)."
    if independent:
        return (
            f"output: {ending.layer} gives each class a probability of its own (sigmoid), and they "
            "need not add up to 1. Images have one label each here, and the most probable class is "
            "predicted; with the task multilabel, they may have several."
        )
    if ending.kind != "logits":
        return None
    function = "sigmoid of its value" if binary else "softmax of its values"
    return f"output: {ending.layer} has no activation, so probabilities are the {function}."


def check_loss(ending: Ending, binary: bool, losses: list[str]) -> None:
    """Check that a model without softmax is one for classes, as far as its loss tells.

    Args:
        ending: what ends the model.
        binary: whether one value tells two classes apart.
        losses: names of the losses of `compile`, in lower case without underscores; none where
            nothing tells.

    Raises:
        InputError: the model is for regression.
    """
    if ending.kind in ("softmax", "probabilities") or (ending.kind == "sigmoid" and binary):
        return
    expected = (
        "binarycrossentropy" if binary or ending.kind == "sigmoid" else "categoricalcrossentropy"
    )
    how = "without activation" if ending.kind == "logits" else "and sigmoids"
    for loss in losses:
        if loss in NO_CLASSES:
            raise InputError(
                f"The model ends with {ending.layer} {how}, and was trained with the loss {loss}, "
                f"expected {expected}: images with one label each. Name the file of a classifier."
            )
