"""A model's layer table, with Keras's output shapes and totals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from signs_lightning.translate.symbolic_tensors import SymbolicTensor
from signs_lightning.translate.tensor_shapes import (
    ShapeUnknownError,
    evaluate,
    known_shape,
    layer_weights,
)
from signs_lightning.translate.values import NotUnderstoodError


@dataclass(frozen=True)
class SummaryRow:
    """One layer of a table.

    Attributes:
        name: of the layer.
        class_name: Keras's.
        shape: of what it gives, batch included.
        parameters: number of values in its weights.
    """

    name: str
    class_name: str
    shape: tuple[int | None, ...]
    parameters: int


@dataclass(frozen=True)
class Summary:
    """What `model.summary()` of Keras shows.

    Attributes:
        rows: a row for each layer.
        total: number of all values.
        trainable: of those that are trained.
    """

    rows: list[SummaryRow]
    total: int
    trainable: int

    @property
    def non_trainable(self) -> int:
        """Number of those that are not trained."""
        return self.total - self.trainable

    def lines(self) -> list[str]:
        """Return the table as text."""
        cells = [("layer", "output shape", "parameters")]
        cells += [
            (f"{row.name} ({row.class_name})", str(row.shape), f"{row.parameters:,}")
            for row in self.rows
        ]
        widths = [max(len(line[k]) for line in cells) for k in range(3)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in cells
        ]
        totals = f"{self.trainable:,} trainable, {self.non_trainable:,} not"
        return [*lines, f"total {self.total:,}: {totals}"]


def summarize(model: Any) -> Summary:
    """Return a model's table.

    Raises:
        NotUnderstoodError: it depends on what is not known.
    """
    model.require_built()
    model = model.as_graph()
    try:
        evaluate(model.outputs)
        rows = [_row(layer) for layer in model.layers]
        weights = layer_weights(model)
    except ShapeUnknownError as error:
        raise NotUnderstoodError(str(error)) from error
    counts = [(math.prod(spec.shape), trained) for spec, trained in weights]
    trained = sum(count for count, is_trained in counts if is_trained)
    return Summary(rows, sum(count for count, _ in counts), trained)


def _row(layer: Any) -> SummaryRow:
    output = SymbolicTensor(layer.nodes[0]) if layer.nodes else layer.outputs[0]
    if "values" not in output.node.cache:
        evaluate([output])
    count = sum(math.prod(spec.shape) for spec, _ in layer_weights(layer))
    return SummaryRow(layer.name, layer.class_name, known_shape(output), count)
