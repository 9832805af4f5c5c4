"""Which array of a file is which weight of a planned model: by name and order, every shape checked before a byte is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from signs_lightning.errors import InputError
from signs_lightning.keras_io.graph_parser import Layer
from signs_lightning.keras_io.keras_file import KerasFile, StoredWeight
from signs_lightning.keras_io.layer_context import WeightSpec
from signs_lightning.keras_io.shape_inference import Path, Plan

Wanted = list[tuple[Layer, WeightSpec]]
RANDOM_STATE = (
    "seed_generator",
    "StateVar",
    "random_generator",
    "seed_gen",
)  # of dropout and augmentation: not weights


def match_weights(plan: Plan, file: KerasFile) -> list[tuple[Path, WeightSpec, StoredWeight]]:
    """Finds every weight of the model in the file.

    Raises:
        InputError: the file has other layers, or arrays of other shapes, than its own config says.
    """
    found = _match_legacy(plan, file) if file.kind == "h5" else _match_keras3(plan, file)
    for layer, weight, stored in found:
        if stored.shape != weight.shape:
            raise InputError(
                f"The {weight.keras} of {layer} has shape {stored.shape} in the file, expected "
                f"{weight.shape} from its config. "
                "The weights belong to another model, or the file is damaged."
            )
    file.check_inflation(weight.shape for _, weight, _ in found)
    return [(layer.path, weight, stored) for layer, weight, stored in found]


def _match_keras3(plan: Plan, file: KerasFile) -> list[tuple[Layer, WeightSpec, StoredWeight]]:
    found = []
    # tf.keras 2.12 called the first group otherwise.
    root = (
        ""
        if file.children("layers") or not file.children("_layer_checkpoint_dependencies")
        else "_layer_checkpoint_dependencies"
    )
    for layer, weights in plan.layers():
        if not weights:
            continue
        path = layer.weights_path if not root else layer.weights_path.replace("layers", root, 1)
        name, stored = file.variables(path)
        if name is not None and name != layer.path[-1]:
            raise InputError(
                f"'{path}' in {file.path.name} holds the weights of '{name}', expected those of "
                f"{layer}. Save the model again."
            )
        found += _pair([(layer, weight) for weight in weights], stored, str(layer))
    return found


def _match_legacy(plan: Plan, file: KerasFile) -> list[tuple[Layer, WeightSpec, StoredWeight]]:
    """A group for each layer at the top; a model inside the model has all its weights in one group."""
    groups = file.legacy_layers()
    found = []
    for top, members in itertools.groupby(plan.layers(), key=lambda item: item[0].path[0]):
        wanted = [(layer, weight) for layer, weights in members for weight in weights]
        if not wanted:
            continue
        if top not in groups:
            raise InputError(
                f"{file.path.name} has no weights for '{top}', though its config has that layer. "
                "Save it again."
            )
        stored = [
            weight
            for weight in groups[top]
            if not any(state in weight.name for state in RANDOM_STATE)
        ]
        found += _pair(_in_stored_order(wanted, stored), stored, f"'{top}'")
    return found


def _in_stored_order(wanted: Wanted, stored: list[StoredWeight]) -> Wanted:
    """What Keras's `trainable_weights + non_trainable_weights` gave when it wrote a model inside the model.

    Which weights counted as trainable is not always in the file, so the names decide, and the
    shapes where names do not.
    """
    if all(layer.path == wanted[0][0].path for layer, _ in wanted):  # a layer of its own: one order
        return wanted
    orders = [
        stored_order(wanted),
        wanted,
        _split(wanted, [weight.trainable for _, weight in wanted]),
    ]
    for agrees in (_same_names, _same_shapes):
        for order in orders:
            if len(order) == len(stored) and _same_shapes(order, stored) and agrees(order, stored):
                return order
    return orders[0]


def stored_order(wanted: Wanted) -> Wanted:
    """The order in which Keras 3 stores, and expects, the weights of a model inside the model in a legacy `.h5`."""
    if all(layer.path == wanted[0][0].path for layer, _ in wanted):
        return wanted
    return _split(wanted, [weight.trainable and layer.trainable for layer, weight in wanted])


def _split(wanted: Wanted, first: Iterable[bool]) -> Wanted:
    flags = list(first)
    return [w for w, f in zip(wanted, flags, strict=True) if f] + [
        w for w, f in zip(wanted, flags, strict=True) if not f
    ]


def _same_names(order: Wanted, stored: list[StoredWeight]) -> bool:
    return all(
        layer.path[-1] in s.name.split("/")
        and weight.keras.endswith(s.name.split("/")[-1].split(":")[0])
        for (layer, weight), s in zip(order, stored, strict=True)
    )


def _same_shapes(order: Wanted, stored: list[StoredWeight]) -> bool:
    return all(s.shape == weight.shape for (_, weight), s in zip(order, stored, strict=True))


def _pair(
    wanted: Wanted, stored: list[StoredWeight], owner: str
) -> list[tuple[Layer, WeightSpec, StoredWeight]]:
    if len(wanted) != len(stored):
        raise InputError(
            f"{owner} has {len(stored)} arrays in the file, expected "
            f"{len(wanted)} from its config. "
            "The weights belong to another model, or the file is damaged."
        )
    return [(layer, weight, array) for (layer, weight), array in zip(wanted, stored, strict=True)]
