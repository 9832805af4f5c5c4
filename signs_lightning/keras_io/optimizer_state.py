"""The state of the optimizer that a Keras file holds, as that of ours.

Source: `build` and `save_own_variables` in `keras/src/optimizers/` of Keras 3, `build` in
`tf_keras/src/optimizers/` and `_create_slots` in its `legacy/`: the number of steps comes first,
then numbers such as the learning rate, then the tensors that the optimizer keeps for each weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from signs_lightning.keras_io.architecture_file import replace_architecture
from signs_lightning.keras_io.compiled_objects import name_of
from signs_lightning.keras_io.compiled_optimizer import CompiledOptimizer, read_optimizer
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.keras_file import UNREADABLE, KerasFile, StoredWeight, open_keras_file
from signs_lightning.keras_io.network_plan import Plan
from signs_lightning.keras_io.old_kernels import Matches, restore_kernels
from signs_lightning.models.keras_adam import KerasAdam
from signs_lightning.models.keras_adam_variants import KerasNadam, momentum_product
from signs_lightning.models.keras_averaging import AVERAGE
from signs_lightning.models.keras_run import KEY, describe_steps, trained_weights
from signs_lightning.models.resume import run_settings
from signs_lightning.runtime.escaping import shorten

# Our names of the tensors that an optimizer keeps for each weight, in the order of a file. Those of
# one tuple alternate: m and v of the first weight, m and v of the second, …
ADAM = (("exp_avg", "exp_avg_sq"), ("max_exp_avg_sq",))
OWN: dict[str, tuple[tuple[str, ...], ...]] = {
    "Adam": ADAM,
    "AdamW": ADAM,
    "SGD": (("momentum",),),
    "RMSprop": (("velocity",), ("momentum",), ("average",)),
    "Adagrad": (("accumulator",),),
    "Adadelta": (("accumulated_grad", "accumulated_delta_var"),),
    "Adamax": (("momentum", "norm"),),
    "Nadam": (("momentum", "velocity"),),
    "Lion": (("momentum",),),
}
SLOTS = {name: ((AVERAGE,), *parts) for name, parts in OWN.items()}  # averages come first
STATE = "the optimizer's state"  # as omissions name it


class CannotGoOnError(Exception):
    """A training cannot be continued; the message says why in a few words."""


@dataclass(frozen=True)
class OptimizerState:
    """What an optimizer of Keras had come to.

    Attributes:
        steps: how many it had made.
        learning_rate: that of the next step, None for the one that it was compiled with.
        momentum_product: Nadam's, over all steps; None where the file does not tell.
        slots: by their names here, each weight's tensor.
    """

    steps: int
    learning_rate: float | None
    momentum_product: float | None
    slots: dict[str, Matches]


def add_keras_run(
    checkpoint: dict[str, Any], model: FromKeras, path: str | Path, architecture: str | None = None
) -> str | None:
    """Let a checkpoint of an imported model go on where Keras stopped.

    Args:
        checkpoint: of a model that was not trained here; changed where the file has a state.
        model: as it was read from the file.
        path: the Keras file.
        architecture: the JSON file that its weights belong to.

    Returns:
        What is to be said about it; None where the file has no state.

    Raises:
        InputError: the file is damaged.
    """
    with open_keras_file(path) as file:
        if architecture is not None:
            file = replace_architecture(file, architecture)
        arrays = file.optimizer_arrays() if file.compiled()[1] else []
        if not arrays:
            return None
        model.omissions = [omission for omission in model.omissions if omission != STATE]
        try:
            steps = _read_steps(arrays)
            if steps == 0:
                return None
            state = read_state(file, model.plan, arrays, steps)
            checkpoint |= _training_so_far(model, state)
        except CannotGoOnError as reason:
            model.omissions.append(f"{STATE} ({reason})")
            checkpoint["signs_lightning"][KEY] = {"problem": str(reason)}
            return None
    checkpoint["signs_lightning"] |= {
        KEY: {"steps": state.steps, "weights": trained_weights(model)},
        "training": checkpoint.pop("training"),
    }
    return (
        f"The optimizer's state is taken over: `fit` goes on after {describe_steps(state.steps)}."
    )


def read_state(
    file: KerasFile, plan: Plan, arrays: list[StoredWeight], steps: int
) -> OptimizerState:
    """Find the tensors of each weight that is trained.

    Raises:
        CannotGoOnError: optimizer, settings or tensors are none that we know.
        InputError: the tensors claim far more memory than the file.
    """
    optimizer = _read_optimizer(file)
    whole = plan.whole or plan
    weights = [
        (layer, weight)
        for layer, specs in whole.layers()
        for weight in specs
        if weight.trainable and layer.trainable
    ]
    tensors = [array for array in arrays[1:] if array.shape != ()]
    blocks = _find_blocks(optimizer, len(tensors), len(weights))
    names = [name for block in blocks for name, _ in block]
    kept = _kept_slots(optimizer)
    slots: dict[str, Matches] = {name: [] for name in names if name in kept}
    order = [(name, k) for block in blocks for name, k in block]
    for (name, k), stored in zip(order, tensors, strict=True):
        layer, weight = weights[k]
        if name in kept and layer.path in plan.graph.layers:
            slots[name].append((layer, weight, stored))
    for name, matches in slots.items():
        slots[name] = restore_kernels(matches, file)
        _check_slot(slots[name], file)
    file.check_inflation(weight.shape for ms in slots.values() for _, weight, _ in ms)
    rate, product = _read_numbers(optimizer, arrays)
    return OptimizerState(steps, rate, product, slots)


def _read_steps(arrays: list[StoredWeight]) -> int:
    first = arrays[0]
    if first.shape != () or first.dataset.dtype.kind not in "iu":
        raise CannotGoOnError("the file does not say how many steps it has made")
    steps = int(first.read())
    if not 0 <= steps < 2**31:
        raise CannotGoOnError(f"its number of steps is {steps}")
    return steps


def _read_optimizer(file: KerasFile) -> CompiledOptimizer:
    config = file.compiled()[0]
    if config == UNREADABLE:
        raise CannotGoOnError("what it was compiled with cannot be read")
    spec = config.get("optimizer", config.get("optimizer_config"))
    if spec is None:
        raise CannotGoOnError("the file does not say which optimizer it is of")
    if name_of(spec).startswith("LossScaleOptimizer"):
        raise CannotGoOnError("its loss was scaled, for layers of 16 bits")
    version = (file.config or {}).get("keras_version")
    optimizer, omissions = read_optimizer(spec, str(version or file.keras_version))
    if optimizer is None or omissions:
        raise CannotGoOnError(f"{'; '.join(omissions)} has no counterpart here")
    return optimizer


def _kept_slots(optimizer: CompiledOptimizer) -> set[str]:
    """Return our names of the tensors that the optimizer keeps for each weight."""
    made: Any = optimizer.make([torch.nn.Parameter(torch.zeros(1))])
    averages = {AVERAGE} if made.defaults["use_ema"] else set()
    if isinstance(made, KerasAdam):
        largest = {"max_exp_avg_sq"} if made.defaults["amsgrad"] else set()
        return {"exp_avg", "exp_avg_sq"} | largest | averages
    return set(made.slots(made.param_groups[0])) | averages


def _find_blocks(
    optimizer: CompiledOptimizer, tensors: int, weights: int
) -> list[list[tuple[str, int]]]:
    """Return slot and weight of each tensor of a file, block by block.

    SGD of tf.keras 2 keeps a momentum even where that is 0.
    """
    kept = _kept_slots(optimizer)
    wanted = [tuple(name for name in block if name in kept) for block in SLOTS[optimizer.name]]
    for names in (wanted, OWN["SGD"] if optimizer.name == "SGD" else wanted):
        parts: list[tuple[str, ...]] = [part for part in names if part]
        if optimizer.is_legacy:  # m of all weights, then v of all weights
            parts = [(name,) for part in parts for name in part]
        if tensors == weights * sum(map(len, parts)):
            return [[(name, k) for k in range(weights) for name in part] for part in parts]
    raise CannotGoOnError(
        f"it has {tensors} tensors for {weights} weights that are trained, which is not what "
        f"{optimizer.name} keeps"
    )


def _check_slot(matches: Matches, file: KerasFile) -> None:
    """Check shapes and, where the file has names, that they are those of the layers."""
    for _, weight, stored in matches:
        if stored.shape != weight.shape:
            raise CannotGoOnError(
                f"a tensor of shape {stored.shape} stands where one of {weight.shape} belongs"
            )
    has_names = file.kind == "h5" and file.architecture is None
    named = [layer.path[-1].replace("/", "_") in stored.name for layer, _, stored in matches]
    if has_names and any(named) and not all(named):
        stranger = matches[named.index(False)][2].name
        raise CannotGoOnError(f"its tensors are in another order: '{shorten(stranger)}'")


def _read_numbers(
    optimizer: CompiledOptimizer, arrays: list[StoredWeight]
) -> tuple[float | None, float | None]:
    """Return learning rate and Nadam's product of momenta, as far as the file has them."""
    numbers = [float(array.read()) for array in arrays[1:] if array.shape == ()]
    product = None
    if optimizer.name == "Nadam" and numbers:  # of Keras before 2.11 it is the only number
        is_there = optimizer.is_legacy or arrays[-1].shape == ()
        product = numbers.pop() if is_there else None
    rate = numbers.pop() if numbers else None
    if numbers:
        raise CannotGoOnError(f"it has {len(numbers)} numbers more than {optimizer.name} keeps")
    return (None if optimizer.schedule is not None else rate), product


def _training_so_far(model: FromKeras, state: OptimizerState) -> dict[str, Any]:
    """Return what a checkpoint of our own holds of optimizer and schedule after so many steps."""
    made = model.configure_optimizers()
    config = made if isinstance(made, dict) else {"optimizer": made}
    optimizer = config["optimizer"]
    scheduler: Any = config["lr_scheduler"]["scheduler"] if "lr_scheduler" in config else None
    settings = run_settings(optimizer, scheduler, model)
    for name, matches in state.slots.items():
        for layer, weight, stored in matches:
            parameter = model.network.parameter(layer.path, weight)
            tensor = torch.empty_like(parameter, requires_grad=False)
            weight.load(tensor, stored.read())
            optimizer.state[parameter][name] = tensor
    for group in optimizer.param_groups:
        group["steps"] = state.steps
        if state.learning_rate is not None:
            group["lr"] = state.learning_rate
        if state.momentum_product is not None:
            group["momentum_product"] = state.momentum_product
        elif isinstance(optimizer, KerasNadam):
            group["momentum_product"] = momentum_product(group, state.steps)
        if isinstance(optimizer, KerasAdam):  # PyTorch's own count, of each parameter
            for parameter in group["params"]:
                optimizer.state[parameter]["step"] = torch.tensor(float(state.steps))
    schedules = []
    if scheduler is not None:
        steps = state.steps
        bases = zip(optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        for group, base, rate in bases:
            group["lr"] = base * rate(steps)
        counts = {"last_epoch": steps, "_step_count": steps + 1}
        rates = [group["lr"] for group in optimizer.param_groups]
        schedules.append(scheduler.state_dict() | counts | {"_last_lr": rates})
    return {
        "global_step": state.steps,
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": schedules,
        "training": settings,
    }
