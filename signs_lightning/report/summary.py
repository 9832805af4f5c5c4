"""Keras's model summary: layers, output shapes, parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

from signs_lightning.models.classifier import ImageClassifier


@dataclass(frozen=True)
class LayerRow:
    """One layer: its name, its class, its output shape without the batch axis, and its parameters as Keras counts them."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Keras's totals: all numbers of a model and the trainable ones; BatchNorm's moving averages count as not trainable."""
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in module.parameters() if not p.requires_grad)
    averages = sum(
        buffer.numel()
        for m in module.modules()
        if isinstance(m, nn.modules.batchnorm._NormBase)
        for buffer in m.buffers(False)
        if buffer.is_floating_point()
    )
    return trainable + frozen + averages, trainable


def layer_table(model: ImageClassifier) -> list[LayerRow]:
    """One row for every layer of the network, blocks folded, from one forward pass of a single black image."""
    keras_rows: Any = getattr(model.network, "rows", None)
    if keras_rows is not None:  # a network that came from Keras knows its table
        return [LayerRow(row.name, row.class_name, row.shape, row.parameters) for row in keras_rows()]
    rows: list[LayerRow] = []

    def hook(name: str):  # type: ignore[no-untyped-def]
        def record(module: nn.Module, inputs: object, output: Tensor) -> None:
            rows.append(LayerRow(name, type(module).__name__, tuple(output.shape[1:]), count_parameters(module)[0]))

        return record

    handles = []
    for name, module in model.network.named_children():
        stages = module.named_children() if isinstance(module, nn.Sequential) else [("", module)]
        for part, block in stages:
            handles.append(block.register_forward_hook(hook(f"{name}.{part}" if part else name)))
    training = model.training
    model.eval()
    height, width, channels = model.image_size
    try:
        with torch.no_grad():
            model(torch.zeros(1, channels, height, width, device=model.device))
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return rows


def print_summary(model: ImageClassifier, console: Console | None = None) -> None:
    """Prints the table and the totals, as Keras's `model.summary()` does."""
    console = console or Console()
    height, width, channels = model.image_size
    table = Table(
        title=f"{type(model).__name__} · {height}×{width}×{channels} → {model.num_classes} classes",
        title_justify="left",
    )
    table.add_column("layer")
    table.add_column("type")
    table.add_column("output shape", justify="right")
    table.add_column("parameters", justify="right")
    for row in layer_table(model):
        table.add_row(escape(row.name), escape(row.kind), "×".join(map(str, row.output_shape)), f"{row.parameters:,}")
    console.print(table)
    keras_totals: Any = getattr(model.network, "totals", None)  # (trainable, not trainable)
    total, trainable = count_parameters(model.network)
    if keras_totals is not None:
        trainable, total = keras_totals()[0], sum(keras_totals())
    console.print(
        f"Parameters: {total:,} in all, {trainable:,} trainable, {total - trainable:,} not trainable", highlight=False
    )


class Summary(L.Callback):
    """Prints the model summary when a fit starts."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero and isinstance(pl_module, ImageClassifier):
            print_summary(pl_module)
