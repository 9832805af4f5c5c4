"""Measure a step of Keras's optimizers beside PyTorch's of the same name, on ResNet50's weights.

    python scripts/benchmarks/optimizers.py [--device cuda] [--threads 2]

The two take turns, and the smallest time of each counts. PyTorch has no Lion.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import optim

from signs_lightning.models.keras_adam import KerasAdam
from signs_lightning.models.keras_adam_variants import KerasAdamax, KerasNadam
from signs_lightning.models.keras_optimizers import (
    KerasAdadelta,
    KerasAdagrad,
    KerasRMSprop,
    KerasSGD,
)
from signs_lightning.models.signs_resnet50 import SignsResNet50
from signs_lightning.runtime.malloc_tuning import keep_freed_memory

Made = Callable[..., optim.Optimizer]
CENTERED = {"momentum": 0.9, "centered": True}
PAIRS: dict[str, tuple[Made, Made, dict[str, Any]]] = {
    "SGD": (KerasSGD, optim.SGD, {}),
    "SGD, momentum": (KerasSGD, optim.SGD, {"momentum": 0.9}),
    "SGD, Nesterov": (KerasSGD, optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "RMSprop": (KerasRMSprop, optim.RMSprop, {}),
    "RMSprop, centered": (KerasRMSprop, optim.RMSprop, CENTERED),
    "Adagrad": (KerasAdagrad, optim.Adagrad, {}),
    "Adadelta": (KerasAdadelta, optim.Adadelta, {}),
    "Adam": (KerasAdam, optim.Adam, {}),
    "AdamW": (KerasAdam, optim.AdamW, {"weight_decay": 0.004}),
    "Adamax": (KerasAdamax, optim.Adamax, {}),
    "Nadam": (KerasNadam, optim.NAdam, {}),
}


def main() -> None:
    """Print a line for each optimizer: milliseconds of ours, of PyTorch's, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15, help="steps of each that are measured")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as in a fit
    print(f"{'':20}{'ours, ms':>10}{'PyTorch, ms':>13}{'ratio':>8}")
    for name, (ours, theirs, settings) in PAIRS.items():
        parameters = list(SignsResNet50().network.to(options.device).parameters())
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        # Of the same weights: where these lie in memory makes a difference of up to 15%.
        made = [kind(parameters, lr=1e-3, **settings) for kind in (ours, theirs)]
        best = [float("inf")] * 2
        for turn in range(options.rounds + 2):  # the first two make the state
            for k, optimizer in enumerate(made):
                seconds = step_time(optimizer, options.device)
                best[k] = min(best[k], seconds) if turn >= 2 else best[k]
        print(f"{name:20}{best[0] * 1e3:10.1f}{best[1] * 1e3:13.1f}{best[0] / best[1]:8.2f}")


def step_time(optimizer: optim.Optimizer, device: str) -> float:
    """Return the seconds of a step; of one thread those in which it ran."""
    clock = time.perf_counter
    if device == "cpu" and torch.get_num_threads() == 1:
        clock = time.thread_time
    if device != "cpu":
        torch.cuda.synchronize()
    start = clock()
    optimizer.step()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


if __name__ == "__main__":
    main()
