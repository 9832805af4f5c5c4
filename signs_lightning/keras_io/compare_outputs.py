"""Finds the first layer whose output differs between two ports of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from signs_lightning.keras_io.axis_order import to_keras_order
from signs_lightning.keras_io.network import KerasNetwork
from signs_lightning.models.fused_conv_pool import unfused


@dataclass(frozen=True)
class Difference:
    """The first layer that differs.

    Attributes:
        layer: its name.
        largest: the largest difference between two values, inf where the shapes differ.
        shape: of our output, axes ordered as in Keras.
        reference_shape: of the reference's.
        before: the layers before it, whose outputs agree.
    """

    layer: str
    largest: float
    shape: tuple[int, ...]
    reference_shape: tuple[int, ...]
    before: list[str]

    def __str__(self) -> str:
        last = f", the last is '{self.before[-1]}'" if self.before else ""
        agree = f"{len(self.before)} layers before it agree{last}"
        difference = f"by up to {self.largest:.3g}, shape {self.shape}"
        if self.shape != self.reference_shape:
            difference = f"shape {self.shape}, the reference has {self.reference_shape}"
        return f"'{self.layer}' is the first that differs: {difference}; {agree}."


@torch.inference_mode()
def first_difference(
    model: nn.Module, reference: Mapping[str, np.ndarray], images: Tensor, tolerance: float = 1e-5
) -> Difference | None:
    """Compare every layer of a network with the outputs of a reference.

    In Keras, a reference is made with
    `keras.Model(model.inputs[0], {layer.name: layer.output for layer in
    model.layers[1:]}).predict(images)`.

    Args:
        model: a `FromKeras`, its network, or any other network; of the latter the outputs of its
            named modules are compared.
        reference: layer name → its output, axes ordered as in Keras: (N, H, W, C) of a
            channels_last model. Layers without one are not compared.
        images: float (N, C, H, W), as the network (not the file's `scale`) takes them.
        tolerance: largest difference allowed, as a share of the layer's largest reference value.

    Returns:
        The first layer that differs, or None.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from signs_lightning import first_difference
        >>> network = nn.Sequential()
        >>> network.add_module("dense", nn.Linear(4, 3))
        >>> network.add_module("relu", nn.ReLU())
        >>> images = torch.rand(2, 4)
        >>> dense = network.dense(images).detach().numpy()  # as Keras's layer "dense" gave them
        >>> print(first_difference(network, {"dense": dense}, images))
        None
        >>> first_difference(network, {"dense": dense, "relu": dense - 1}, images).layer
        'relu'
    """
    training = model.training
    model.eval()
    try:
        before: list[str] = []
        for name, output in _outputs(model, images):
            if name not in reference:
                continue
            theirs = np.asarray(reference[name])
            ours = output.float().cpu().numpy()
            largest = np.inf
            if ours.shape == theirs.shape:
                largest = float(np.abs(ours - theirs).max(initial=0))
            if not largest <= tolerance * max(float(np.abs(theirs).max(initial=0)), 1e-30):
                return Difference(name, largest, ours.shape, theirs.shape, before)
            before.append(name)
        return None
    finally:
        model.train(training)


def _outputs(model: nn.Module, images: Tensor) -> list[tuple[str, Tensor]]:
    """Return every layer's name and output, axes ordered as in Keras."""
    network = model if isinstance(model, KerasNetwork) else getattr(model, "network", model)
    outputs: list[tuple[str, Tensor]] = []
    if isinstance(network, KerasNetwork):
        network(images, lambda name, output: outputs.append((name, output)))
        outputs = outputs[: network.plan.ending.call]  # from there without softmax or sigmoid
        if network.plan.graph.channels_first:
            return outputs
    else:

        def record(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs.append((name, output.clone()))  # a ReLU may change it in place

        modules = [(name, module) for name, module in network.named_modules() if name]
        handles = [module.register_forward_hook(partial(record, name)) for name, module in modules]
        try:
            with unfused(network):
                network(images)
        finally:
            for handle in handles:
                handle.remove()
    return [(name, to_keras_order(output)) for name, output in outputs]
