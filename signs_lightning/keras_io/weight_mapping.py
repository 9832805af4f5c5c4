"""Matches the arrays of a file with the weights of a plan, by name and order.

Every shape is checked before a byte is read.
"""

from __future__ import annotations

import itertools

from signs_lightning.errors import InputError
from signs_lightning.keras_io.checkpoint_groups import find_group_paths
from signs_lightning.keras_io.file_errors import inconsistent_model
from signs_lightning.keras_io.keras_file import OLD_ROOT, KerasFile, StoredWeight
from signs_lightning.keras_io.layer_context import WeightSpec
from signs_lightning.keras_io.model_graph import Layer
from signs_lightning.keras_io.network_plan import Plan
from signs_lightning.keras_io.old_kernels import Matches, restore_kernels
from signs_lightning.runtime.escaping import shorten

Specs = list[tuple[Layer, WeightSpec]]
OTHER_MODEL = "The weights belong to another model, or the file is damaged."
# Arrays of dropout and augmentation layers, which are not weights.
RANDOM_STATE = ("seed_generator", "StateVar", "random_generator", "seed_gen")


def match_weights(plan: Plan, file: KerasFile, skips_others: bool = False) -> Matches:
    """Find every weight of the model in the file.

    Args:
        plan: the model's.
        file: the file.
        skips_others: whether weights of other shapes are left out, as `skip_mismatch` of Keras.

    Raises:
        InputError: the file has other layers, or arrays of other shapes, than its config says.
    """
    whole = plan.whole or plan  # where arrays lie depends on layers that are left out, too
    if not any(weights for _, weights in whole.layers()):
        return []
    matches = _match_legacy(whole, file) if file.kind == "h5" else _match_keras3(whole, file)
    matches = [match for match in matches if match[0].path in plan.graph.layers]
    matches = restore_kernels(matches, file)
    if skips_others:
        matches = [match for match in matches if match[2].shape == match[1].shape]
    for layer, weight, stored in matches:
        if stored.shape != weight.shape:
            raise InputError(
                f"The {weight.keras} of {layer} has shape {stored.shape} in the file, expected "
                f"{weight.shape} from {file.architecture or 'its config'}. {OTHER_MODEL}"
            )
    file.check_inflation(weight.shape for _, weight, _ in matches)
    return matches


def _match_keras3(plan: Plan, file: KerasFile) -> Matches:
    matches: Matches = []
    paths = find_group_paths(plan, file)
    for layer, weights in plan.layers():
        if not weights:
            continue
        path = paths[layer.weights_path]
        for group in dict.fromkeys(group for weight in weights for group in weight.groups):
            name, stored = _read_group(file, path, group)
            is_other = not group and name is not None and name != layer.path[-1]
            if is_other and file.architecture is None:
                raise inconsistent_model(
                    f"'{path}' in {file.path.name} holds the weights of '{name}', expected those "
                    f"of {layer}"
                )
            members = [weight for weight in weights if group in weight.groups]
            pairs = _pair([(layer, weight) for weight in members], stored, str(layer))
            matches += [match for match in pairs if match[1].groups[0] == group]
    if file.architecture is not None:
        root = OLD_ROOT if file.children(OLD_ROOT) else "layers"
        groups = [f"{root}/{group}" for group in file.children(root)]
        used = {*paths.values(), *("/".join(path.split("/")[:2]) for path in paths.values())}
        if unused := [v for v in groups if file.variables(v)[1] and v not in used]:
            raise InputError(
                f"{file.path.name} has weights in '{shorten(unused[0])}', for which "
                f"{file.architecture} has no layer. {OTHER_MODEL}"
            )
    return matches


def _read_group(file: KerasFile, path: str, group: str) -> tuple[str | None, list[StoredWeight]]:
    """Return the weights of a group inside a layer's, whose name some versions begin with _."""
    if group and group not in (names := file.children(path)):
        group = f"_{group}" if f"_{group}" in names else group
    return file.variables(f"{path}/{group}".rstrip("/"))


def _match_legacy(plan: Plan, file: KerasFile) -> Matches:
    """Match a file with one group for each layer or model at the top."""
    groups = {name: _without_state(stored) for name, stored in file.legacy_layers().items()}
    matches: Matches = []
    members = itertools.groupby(plan.layers(), key=lambda item: item[0].path[0])
    specs_of = {
        top: [(layer, weight) for layer, weights in items for weight in weights]
        for top, items in members
    }
    specs_of = {top: specs for top, specs in specs_of.items() if specs}
    if file.architecture is not None:
        groups = _name_by_order(list(specs_of), groups, file)
    for top, specs in specs_of.items():
        if top not in groups:
            raise inconsistent_model(
                f"{file.path.name} has no weights for '{top}', though its config has that layer"
            )
        stored = groups[top]
        matches += _pair(_order_like(specs, stored), stored, f"'{top}'")
    return matches


def _without_state(stored: list[StoredWeight]) -> list[StoredWeight]:
    return [w for w in stored if not any(state in w.name for state in RANDOM_STATE)]


def _name_by_order(
    names: list[str], groups: dict[str, list[StoredWeight]], file: KerasFile
) -> dict[str, list[StoredWeight]]:
    """Return the groups that have weights under the names of an architecture's layers.

    Keras's `load_weights` goes by order alone: a model that is built again has other names.
    """
    stored = {name: weights for name, weights in groups.items() if weights}
    if len(stored) != len(names):
        raise InputError(
            f"{file.path.name} has the weights of {len(stored)} layers, {file.architecture} has "
            f"{len(names)} layers with weights. {OTHER_MODEL}"
        )
    if set(stored) == set(names):
        return stored
    return dict(zip(names, stored.values(), strict=True))


def _order_like(specs: Specs, stored: list[StoredWeight]) -> Specs:
    """Return the weights of a group in the order in which they were stored.

    That is Keras's `trainable_weights + non_trainable_weights`. Which weights counted as trainable
    is not always in the file, so the names decide, and the shapes where names do not.
    """
    if _is_one_layer(specs):
        order = _of_frozen_wrappers(specs)
        return order if _has_shapes(order, stored) else specs
    orders = [stored_order(specs), specs, _sort_by_flag(specs, [w.trainable for _, w in specs])]
    fitting = [order for order in orders if _has_shapes(order, stored)]
    named = [order for order in fitting if _has_names(order, stored)]
    return [*named, *fitting, *orders][0]


def stored_order(specs: Specs) -> Specs:
    """Return weights in the order of Keras 3 for a group of a legacy `.h5`."""
    specs = _of_frozen_wrappers(specs)
    if _is_one_layer(specs):
        return specs
    return _sort_by_flag(specs, [weight.trainable and layer.trainable for layer, weight in specs])


def _of_frozen_wrappers(specs: Specs) -> Specs:
    """Return weights with a wrapper's own, kernel and vector, before a frozen layer's others."""
    ordered: Specs = []
    for _, group in itertools.groupby(specs, key=lambda spec: spec[0].path):
        members = list(group)
        layer = members[0][0]
        if layer.wrapper is not None and not layer.trainable:
            members.sort(key=lambda spec: "" not in spec[1].groups)
        ordered += members
    return ordered


def _is_one_layer(specs: Specs) -> bool:
    return all(layer.path == specs[0][0].path for layer, _ in specs)


def _sort_by_flag(specs: Specs, flags: list[bool]) -> Specs:
    """Return those whose flag is set, then the others."""
    pairs = list(zip(specs, flags, strict=True))
    return [spec for spec, flag in pairs if flag] + [spec for spec, flag in pairs if not flag]


def _has_names(order: Specs, stored: list[StoredWeight]) -> bool:
    for (layer, weight), array in zip(order, stored, strict=True):
        *_, last = parts = array.name.split("/")
        if layer.path[-1] not in parts or not weight.keras.endswith(last.split(":")[0]):
            return False
    return True


def _has_shapes(order: Specs, stored: list[StoredWeight]) -> bool:
    return [weight.shape for _, weight in order] == [array.shape for array in stored]


def _pair(specs: Specs, stored: list[StoredWeight], owner: str) -> Matches:
    if len(specs) != len(stored):
        raise InputError(
            f"{owner} has {len(stored)} arrays in the file, expected {len(specs)} from its "
            f"config. {OTHER_MODEL}"
        )
    return [(layer, weight, array) for (layer, weight), array in zip(specs, stored, strict=True)]
