"""The inputs and outputs of a Keras model: their names and shapes, and which is the image."""

from __future__ import annotations

import math
from collections import Counter

from signs_lightning.errors import InputError
from signs_lightning.keras_io.config_entries import (
    MODELS,
    Entry,
    layer_entries,
    model_config,
    name_of,
)
from signs_lightning.keras_io.inbound_nodes import endpoint_references, endpoints
from signs_lightning.keras_io.model_graph import MIN_SIDE, Graph, LayerPath, OtherInput
from signs_lightning.models.other_inputs import describe_inputs
from signs_lightning.runtime.escaping import quote_path, shorten

MAX_FIRST_MODELS = 100  # that a model may begin with, one inside the other
MAX_NAMED = 20  # outputs that a message names
MAX_RANK = 4  # axes of an input beside the image
DEFAULT_NAME = "image"  # of an input without an input layer
InputShape = tuple[int | None, ...]  # without the batch


def read_inputs(model: Entry) -> list[tuple[str, InputShape]]:
    """Return name and shape of each input of a model, which versions keep elsewhere.

    Raises:
        InputError: the model does not say the shape of one.
    """
    for _ in range(MAX_FIRST_MODELS):
        config = model_config(model, "the model")
        entries = layer_entries(model, ())
        firsts = entries[:1]
        if model["class_name"] != "Sequential":
            by_name = {name_of(entry): entry for entry in entries}
            names = [name for name, _ in endpoints(config.get("input_layers"), "input_layers", ())]
            firsts = [by_name.get(name, entries[0]) for name in names]
        shapes = [_own_shape(entry) for entry in firsts]
        if len(firsts) == 1 and shapes[0] is None:
            if firsts[0]["class_name"] in MODELS:
                model = firsts[0]
                continue
            build_config = model.get("build_config") or {}
            shape = config.get("build_input_shape") or build_config.get("input_shape")
            shapes = [tuple(shape[1:]) if isinstance(shape, list) else None]
        if None in shapes:
            break
        return [(_input_name(e), s) for e, s in zip(firsts, shapes, strict=True) if s is not None]
    raise InputError(
        "The model does not say which images it takes. Build it with an input shape in Keras and "
        "save that."
    )


def _own_shape(entry: Entry) -> InputShape | None:
    for key in ("batch_shape", "batch_input_shape"):
        if isinstance(shape := entry["config"].get(key), list):
            return tuple(shape[1:])
    shape = entry["config"].get("input_shape")
    return tuple(shape) if isinstance(shape, list) else None


def _input_name(entry: Entry) -> str:
    return name_of(entry) if entry["class_name"] == "InputLayer" else DEFAULT_NAME


def choose_image(shapes: list[InputShape]) -> int:
    """Return which of a model's inputs is the image.

    That is the first of height, width and channels; else the first of height and width; else the
    first whose values could be a square image; else the first.
    """

    def unlikelihood(shape: InputShape) -> int:
        if len(shape) in (2, 3):
            return 3 - len(shape)
        size = shape[0] if len(shape) == 1 and isinstance(shape[0], int) else 0
        return 2 if size >= MIN_SIDE**2 and math.isqrt(size) ** 2 == size else 3

    return min(range(len(shapes)), key=lambda k: unlikelihood(shapes[k]))


def check_other_input(name: str, shape: InputShape) -> OtherInput:
    """Return an input beside the image.

    Raises:
        InputError: its shape is not fixed.
    """
    sizes = tuple(size for size in shape if type(size) is int and size > 0)
    if len(sizes) != len(shape) or not 1 <= len(shape) <= MAX_RANK:
        raise InputError(
            f"The model takes '{shorten(name)}' of shape {shorten(str(shape))} beside the image, "
            f"expected 1 to {MAX_RANK} fixed sizes. Fix them in Keras and save that."
        )
    return OtherInput(name, sizes)


def output_names(model: Entry, path: LayerPath = ()) -> list[str]:
    """Return a name for each output of a model: that of the layer which gives it.

    Where a layer gives several of them, the name is "model/layer" for a model inside the model, or
    "layer:0", "layer:1", … for a layer that is called several times.
    """
    entries = {name_of(entry): entry for entry in layer_entries(model, path)}
    if model["class_name"] == "Sequential":
        name, last = list(entries.items())[-1]
        inner = output_names(last, (*path, name)) if last["class_name"] in MODELS else []
        return [f"{name}/{part}" for part in inner] if len(inner) > 1 else [name]
    config = model_config(model, "/".join(path) or "the model")
    ends = endpoint_references(config.get("output_layers"), "output_layers", path)
    counts = Counter(end.key[0] for end in ends)
    names = []
    for end in ends:
        name, entry = end.key[0], entries.get(end.key[0])
        if counts[name] > 1 and entry is not None and entry["class_name"] in MODELS:
            inner = output_names(entry, (*path, name))
            name = f"{name}/{inner[end.tensor]}" if 1 < len(inner) > end.tensor else name
        names.append(name)
    totals, seen = Counter(names), Counter[str]()
    for k, name in enumerate(names):
        if totals[name] > 1:
            names[k] = f"{name}:{seen[name]}"
            seen[name] += 1
    return names


def choose_output(graph: Graph, output_layer: str | None) -> int:
    """Return which of a model's outputs gives the classes.

    Raises:
        InputError: it has several and none is chosen, or not the one that is named.
    """
    names = list(graph.outputs)
    if output_layer in names:
        return names.index(output_layer)
    shown = [shorten(quote_path(name), 60) for name in names[:MAX_NAMED]]
    if output_layer is not None:
        raise InputError(
            f"output_layer is '{output_layer}', and the model has the output"
            f"{'s' if len(names) > 1 else ''} {', '.join(shown)}. Name one of them."
        )
    if len(names) > 1:
        raise InputError(
            f"The model has {len(names)} outputs. Choose the one that gives the classes: "
            f"`--output_layer {'` or `--output_layer '.join(shown)}` (for fit, "
            f"`--model.output_layer {shown[0]}`)."
        )
    return 0


def describe_ends(graph: Graph, whole: Graph) -> list[str]:
    """Return the lines on inputs beside the image, and on what is not needed for the output.

    Args:
        graph: what leads to the chosen output.
        whole: the model in the file.
    """
    lines = []
    if graph.other_inputs:
        others = {given.name: given.shape for given in graph.other_inputs}
        lines.append(
            f"inputs: '{shorten(graph.image)}' takes the images; beside it there is "
            f"{describe_inputs(others)}."
        )
    inputs = [f"input '{name}'" for name in whole.input_names if name not in graph.input_names]
    layers = [str(layer) for path, layer in whole.layers.items() if path not in graph.layers]
    if parts := [*inputs, *layers]:
        more = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
        (output,) = graph.outputs
        first = shorten(parts[0])
        lines.append(f"left out, because not needed for the output '{output}': {first}{more}.")
    return lines
