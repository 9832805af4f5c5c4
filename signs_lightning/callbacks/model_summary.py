"""Keras's model summary: layers, output shapes, parameters."""

from __future__ import annotations

import lightning as L
from rich.console import Console

from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.epoch_callback import EpochCallback
from signs_lightning.models.layer_graph import LayerGraph, LayerNode, count_parameters, layer_graph
from signs_lightning.models.tasks import count_outputs
from signs_lightning.runtime.escaping import for_terminal
from signs_lightning.runtime.terminal import new_console, new_table, print_wrapped


def layer_table(model: ImageClassifier, expand: bool = False) -> list[LayerNode]:
    """Return one row for every layer in the order of Keras's `summary`.

    Args:
        model: any classifier; it is not changed.
        expand: whether the layers of blocks, and of models inside a Keras model, follow the block's
            own row.
    """
    return _rows(layer_graph(model), expand)


def _rows(graph: LayerGraph, expand: bool) -> list[LayerNode]:
    if not expand:
        graph = graph.folded()
    rows: dict[tuple[str, ...], LayerNode] = {}
    for path, node in graph.nodes.items():
        for depth in range(1, len(path)):
            if path[:depth] in graph.blocks:
                rows.setdefault(path[:depth], graph.blocks[path[:depth]])
        # `summary` of a Sequential has none, and the title says it
        if path != graph.image or graph.has_other_inputs:
            rows[path] = node
    return list(rows.values())


def format_totals(model: ImageClassifier) -> tuple[int, int]:
    """Return the numbers of trainable and of other parameters, as Keras counts them."""
    own = getattr(model.network, "totals", None)
    if own is not None:
        return own()
    every, trainable = count_parameters(model.network)
    return trainable, every - trainable


def print_summary(
    model: ImageClassifier, console: Console | None = None, expand: bool = False
) -> None:
    """Print the table and the totals, as Keras's `model.summary` does.

    Args:
        model: any classifier; it is not changed.
        console: where to print; the standard output when omitted.
        expand: as of `layer_table`.
    """
    console = console or new_console()
    height, width, channels = model.image_size
    title = f"{type(model).__name__} · {height}×{width}×{channels} → {count_outputs(model)}"
    table = new_table("layer", "type", "output shape", "parameters>", title=title)
    table.columns[2].no_wrap = True
    graph = layer_graph(model)
    for row in _rows(graph, expand):
        # As Keras does: a layer of a block that has a row is indented, and has its own name only.
        inside = sum(row.path[:depth] in graph.blocks for depth in range(1, len(row.path)))
        name = "   " * (inside - 1) + "└ " + row.path[-1] if inside else graph.name(row.path)
        kind = for_terminal(row.kind)
        table.add_row(for_terminal(name), kind, row.keras_shape, f"{row.parameters:,}")
    console.print(table)
    trainable, fixed = format_totals(model)
    line = f"{trainable + fixed:,} in all, {trainable:,} trainable, {fixed:,} not trainable"
    print_wrapped(console, f"Parameters: {line}")


class KerasModelSummary(EpochCallback):
    """Print the model summary when a fit starts."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero and isinstance(pl_module, ImageClassifier):
            print_summary(pl_module)
