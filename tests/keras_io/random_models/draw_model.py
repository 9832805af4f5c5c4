"""Draws a model by moves. Layers are tried until Keras takes one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import keras

from .keras2_spelling import number
from .layer_arguments import (
    ANY_LAYERS,
    IMAGE_LAYERS,
    NEW_LAYERS,
    RANDOM_LAYERS,
    SEQUENCE_LAYERS,
    Shape,
    draw_layer,
)
from .model_spec import Layer, Model, Step, prune, run_operation
from .operations import NEW_OPERATIONS, NEW_TWO_OPERATIONS, OPERATIONS, TWO_OPERATIONS

MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
ODD_NAMES = (
    *("1st", "größe", "a.b", "with space", "forward", "weight", "training", "0", "conv2d_1"),
    *("dense_9", "call", "state_dict", "a:0", "日本", "add_5", "__init__", "flatten-1", "x" * 70),
    *("vars", "layers", "parameters", "bias", "model", "sequential_9", "modules", "_", "type"),
)
MAX_VALUES = 3000  # of one image, inside the network
MAX_PIXELS = 20  # along one axis
TRIES = 30


@dataclass
class Drawer:
    """A model that grows by one move after the other."""

    r: Random
    shape: Shape
    version: str
    channels_first: bool
    depth: int = 0
    sequential: bool = False
    layers: list[Layer] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shapes = [self.shape]
        self.sequential = self.r.random() < 0.35

    @property
    def last(self) -> int:
        return len(self.steps)

    def move(self) -> None:
        """Add a layer, a branch, a model inside, … after the last value."""
        moves: list[tuple[float, Callable[[], bool]]] = [(6.0, self._plain)]
        if self.depth < 2:
            moves.append((0.8, self._inner))
        if not self.sequential:
            moves += [(1.5, self._branch), (0.8, self._again), (1.5, self._operation)]
            moves += [(0.3, self._attention), (0.2, self._dot)]
        weights, functions = zip(*moves, strict=True)
        for _ in range(TRIES):
            if self.r.choices(functions, weights)[0]():
                return

    def _add(self, layer: Layer | int, inputs: tuple[int, ...], **arguments: Any) -> bool:
        """Add a call, if Keras finds that the shapes fit."""
        number = layer if isinstance(layer, int) else len(self.layers)
        layer = self.layers[layer] if isinstance(layer, int) else layer
        shape = _output_shape(layer, [self.shapes[k] for k in inputs])
        if shape is None or not shape or not _is_small(shape):
            return False
        if number == len(self.layers):
            self.layers.append(layer)
        self.steps.append(Step(number, inputs, arguments))
        self.shapes.append(shape)
        return True

    def _plain(self, at: int | None = None) -> bool:
        at = self.last if at is None else at
        layer = self._draw(self.shapes[at])
        return self._add(layer, (at,), **self._flag(layer))

    def _draw(self, shape: Shape) -> Layer:
        pool = [*ANY_LAYERS] + [*IMAGE_LAYERS] * (len(shape) == 3)
        pool += [*SEQUENCE_LAYERS] * (len(shape) == 2)
        if len(shape) == 3 and self.r.random() < 0.06 and not self.channels_first:
            pool = [*RANDOM_LAYERS]
        elif self.r.random() < 0.25:
            pool = ["Conv2D", "BatchNormalization"] if len(shape) == 3 else ["Dense"]
        pool = [name for name in pool if not (self.version and name in NEW_LAYERS)]
        name = self.r.choice(pool)
        return draw_layer(self.r, name, shape, bool(self.version), self.channels_first)

    def _flag(self, layer: Layer) -> dict[str, Any]:
        is_flagged = layer.class_name in ("BatchNormalization", "Dropout", "Functional")
        if self.sequential or not is_flagged or self.r.random() > 0.15:
            return {}
        return {"training": False}

    def _inner(self, at: int | None = None) -> bool:
        at = self.last if at is None else at
        inner = Drawer(self.r, self.shapes[at], self.version, self.channels_first, self.depth + 1)
        for _ in range(self.r.randint(1, 3)):
            inner.move()
        if not inner.steps:
            return False
        model = inner.finish()
        layer = Layer("Sequential" if model.sequential else "Functional", {}, model)
        self.layers.append(layer)
        self.steps.append(Step(len(self.layers) - 1, (at,), self._flag(layer)))
        self.shapes.append(inner.shapes[-1])
        return True

    def _branch(self) -> bool:
        """Two or three branches from one value, merged."""
        start = self.last
        ends = []
        for _ in range(self.r.randint(2, 3)):
            end = start
            for _ in range(self.r.randint(0, 2)):
                if self._inner(end) if self.r.random() < 0.1 else self._plain(end):
                    end = self.last
            ends.append(end)
        wanted = self.shapes[ends[0]]
        fitting = [k for k, shape in enumerate(self.shapes) if shape == wanted and k >= start]
        if len(fitting) < 2:
            return False
        inputs = tuple(self.r.sample(fitting, min(len(fitting), self.r.randint(2, 3))))
        name = self.r.choice(MERGES)
        if name == "Subtract":
            inputs = inputs[:2]
        arguments = {}
        if name == "Concatenate":
            arguments = {"axis": self.r.choice([-1, -1, *range(1, len(wanted) + 1)])}
        return self._add(Layer(name, arguments), inputs)

    def _again(self) -> bool:
        """Call a layer once more."""
        numbers = [k for k, layer in enumerate(self.layers) if not layer.code]
        if not numbers:
            return False
        number = self.r.choice(numbers)
        arity = {len(step.inputs) for step in self.steps if step.layer == number}
        if arity != {1} or not self._may_share(number):
            return False
        return self._add(number, (self.last,))

    def _may_share(self, number: int) -> bool:
        """Whether Keras can call a layer on the last value, when it is built for another one."""
        layer, shape = self.layers[number], self.shapes[self.last]
        first = next(self.shapes[s.inputs[0]] for s in self.steps if s.layer == number)
        if layer.inner is not None:
            return shape == first
        if shape == first or layer.class_name.endswith(("Conv2D", "Conv2DTranspose")):
            return shape[-1] == first[-1] and len(shape) == len(first)
        if layer.class_name in IMAGE_LAYERS and len(shape) != 3:
            return False
        return layer.class_name in WITHOUT_WEIGHTS

    def _operation(self) -> bool:
        if self.version and number(self.version) < (2, 4):  # they were Lambda layers then
            return False
        if self.r.random() < 0.3:
            operations = TWO_OPERATIONS + (() if self.version else NEW_TWO_OPERATIONS)
            fitting = [k for k, s in enumerate(self.shapes) if s == self.shapes[self.last]]
            inputs: tuple[int, ...] = (self.last, self.r.choice(fitting))
        else:
            operations = OPERATIONS + (() if self.version else NEW_OPERATIONS)
            inputs = (self.last,)
        return self._add(Layer("", code=self.r.choice(operations)), inputs)

    def _attention(self) -> bool:
        rank = len(self.shapes[self.last])
        if rank < 2:
            return False
        other = self.r.choice([k for k, s in enumerate(self.shapes) if len(s) == rank])
        name = self.r.choice(("MultiHeadAttention", "Attention", "AdditiveAttention"))
        if name == "MultiHeadAttention":
            drawn: dict[str, Any] = {
                "num_heads": self.r.choice((1, 2)),
                "key_dim": self.r.choice((1, 3)),
            }
            for key, values in {
                "value_dim": (2, 4), "use_bias": (False,), "output_shape": (3, 5),
                "dropout": (0.1,),
            }.items():  # fmt: skip
                if self.r.random() < 0.25:
                    drawn[key] = self.r.choice(values)
        elif rank != 2:
            return False
        else:
            drawn = {"use_scale": self.r.random() < 0.5}
        return self._add(Layer(name, drawn), (self.last, other))

    def _dot(self) -> bool:
        other = self.r.choice(range(len(self.shapes)))
        mine, its = self.shapes[self.last], self.shapes[other]
        pairs = [(i, j) for i, a in enumerate(mine, 1) for j, b in enumerate(its, 1) if a == b]
        if not pairs:
            return False
        drawn: dict[str, Any] = {"axes": self.r.choice(pairs)}
        if self.r.random() < 0.3:
            drawn["normalize"] = True
        return self._add(Layer("Dot", drawn), (self.last, other))

    def add_head(self) -> None:
        """End with one of the ways to give probabilities."""
        r, number = self.r, self.r.randint(2, 5)
        if len(self.shapes[-1]) == 3 and r.random() < 0.12:
            own = {"data_format": "channels_first"} if self.channels_first else {}
            self._force(Layer("Conv2D", {"filters": number, "kernel_size": 1, **own}))
            self._force(Layer("GlobalAveragePooling2D", own))
            self._force(Layer("Softmax"))
            return
        if len(self.shapes[-1]) > 1:
            self._force(Layer("Flatten"))
        if r.random() < 0.6:
            self._force(
                Layer(r.choice(("LayerNormalization", "LayerNormalization", "UnitNormalization")))
            )
        kind, k = r.random(), self.last
        if kind < 0.45:
            self._force(Layer("Dense", {"units": number, "activation": "softmax"}))
        elif kind < 0.6:
            self._force(Layer("Dense", {"units": number}))
            ends = (Layer("Softmax"), Layer("Activation", {"activation": "softmax"}))
            self._force(r.choice(ends))
        elif kind < 0.75:
            self._force(Layer("Dense", {"units": 1, "activation": "sigmoid"}))
        elif kind < 0.85:
            self._force(Layer("Dense", {"units": r.choice((1, number, number))}))
        elif kind < 0.92:
            self._force(Layer("Dense", {"units": number, "activation": "softmax"}))
            ends = (Layer("Flatten"), Layer("Reshape", {"target_shape": (number,)}))
            self._force(r.choice((*ends, Layer("Dropout", {"rate": 0.2}), Layer("Identity"))))
        elif kind < 0.96 or self.sequential:
            self._force(Layer("Dense", {"units": number, "activation": "sigmoid"}))
        else:
            self._force(Layer("Dense", {"units": number, "activation": "softmax"}))
            self._add(Layer("Dense", {"units": number, "activation": "softmax"}), (k,))
            self._add(Layer("Average"), (self.last - 1, self.last))

    def _force(self, layer: Layer) -> None:
        if not self._add(layer, (self.last,)):
            raise ValueError(f"{layer} does not fit {self.shapes[-1]}")

    def finish(self, top: bool = False) -> Model:
        """Return the model, some of its layers with odd names."""
        layers = list(self.layers)
        names = set()
        for k, layer in enumerate(layers):
            name = self.r.choice(ODD_NAMES)
            if self.r.random() < 0.12 and name not in names and not layer.code:
                names.add(name)
                layers[k] = replace(layer, arguments={**layer.arguments, "name": name})
        spec = prune(Model(self.shape, tuple(layers), tuple(self.steps)))
        has_input = top or self.r.random() < 0.5
        return replace(spec, sequential=self.sequential and spec.is_chain, has_input=has_input)


WITHOUT_WEIGHTS = {
    *("Flatten", "UpSampling2D", "Softmax", "ReLU", "LeakyReLU", "ELU", "Activation", "Dropout"),
    *("MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D"),
    *("ZeroPadding2D", "Cropping2D", "Resizing", "CenterCrop", "Rescaling", "UnitNormalization"),
    *("AdaptiveMaxPooling2D", "AdaptiveAveragePooling2D", "Identity", "ActivityRegularization"),
}


def _output_shape(layer: Layer, shapes: list[Shape]) -> Shape | None:
    """Return the shape of a layer's output, None where Keras does not take the inputs."""
    try:
        if layer.code:
            inputs = [keras.KerasTensor((None, *shape)) for shape in shapes]
            return tuple(run_operation(layer.code, inputs).shape[1:])
        made = layer.make()
        if layer.inner is not None:
            return tuple(made.output_shape[1:]) if layer.inner.has_input else None
        batches = [(None, *shape) for shape in shapes]
        if layer.class_name == "MultiHeadAttention":
            return tuple(made.compute_output_shape(*batches)[1:])
        return tuple(made.compute_output_shape(batches if len(batches) > 1 else batches[0])[1:])
    except Exception:  # whatever Keras raises
        return None


def _is_small(shape: Shape) -> bool:
    if not all(isinstance(size, int) and size > 0 for size in shape):
        return False
    return math.prod(shape) <= MAX_VALUES and (len(shape) != 3 or max(shape) <= MAX_PIXELS)
