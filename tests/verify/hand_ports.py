"""Draws Keras networks of 3 to 50 layers, and ports of them as people write them by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import torch

from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.models.layers import same_padding

# Keras's spelling, and PyTorch's
ACTIVATIONS = {
    "relu": "F.relu({})",
    "relu6": "F.relu6({})",
    "gelu": "F.gelu({})",
    "swish": "F.silu({})",
    "elu": "F.elu({})",
    "tanh": "torch.tanh({})",
    "hard_sigmoid": "(0.2 * {} + 0.5).clamp(0, 1)",  # of Keras 2
    "leaky_relu": "F.leaky_relu({}, 0.2)",
}
VARIANTS = {  # what is taken for them
    "relu": ["F.leaky_relu({}, 0.01)", "F.gelu({})", "{}"],
    "relu6": ["F.relu({})"],
    "gelu": ["F.gelu({}, approximate='tanh')", "{0} * torch.sigmoid(1.702 * {0})"],
    "swish": ["F.hardswish({})", "F.relu({})", "F.mish({})"],
    "elu": ["F.selu({})", "F.celu({}, 0.5)", "F.relu({})"],
    "tanh": ["F.hardtanh({})", "torch.sigmoid({})"],
    "hard_sigmoid": ["F.hardsigmoid({})", "torch.sigmoid({})"],
    "leaky_relu": ["F.leaky_relu({})", "F.leaky_relu({}, 0.3)"],
}
SCALES = {  # of float (N, C, H, W) in 0..255
    "/255": "x / 255",
    "raw": "x",
    "tf": "x / 127.5 - 1",
    "torch": "(x / 255 - MEAN) / STD",
}


@dataclass
class Piece:
    """One layer of Keras, and its lines of PyTorch.

    Attributes:
        kind: "conv", "norm", "pool", "flatten", "dense", "activation", "dropout", "add", "global".
        name: Keras's.
        module: what the port's `__init__` makes, or "".
        attribute: the port's name for that.
        line: of the port's `forward`, with {x} for its input and {m} for its module.
        activation: fused, Keras's name.
        facts: what bugs need to know.
    """

    kind: str
    name: str
    module: str = ""
    attribute: str = ""
    line: str = "{m}({x})"
    activation: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Drawn:
    """A network of Keras and a port of it.

    Attributes:
        model: the network, with random weights.
        pieces: its layers.
        layers: of Keras, as in a configuration.
        weights: of the port, by its names.
        scale: of the pixels.
        has_preprocess: whether the port prepares its pixels.
        ending: of the port's forward.
    """

    r: Random
    size: int
    channels: int
    scale: Any = "/255"
    layers: list[dict[str, Any]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    has_preprocess: bool = False
    preprocess: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    ending: str = "x"
    last: str = "image"
    model: Any = None
    classes: int = 4

    def add(
        self, piece: Piece, class_name: str, inputs: list[str] | None = None, **config: Any
    ) -> None:
        nodes = [[[name, 0, 0, {}] for name in inputs or [self.last]]]
        config = {"name": piece.name, **config}
        self.layers.append({"class_name": class_name, "name": piece.name, "config": config,
                            "inbound_nodes": nodes})  # fmt: skip
        self.pieces.append(piece)
        self.last = piece.name


def draw(seed: int, min_layers: int = 3, max_layers: int = 50) -> Drawn:
    """Draw a network; its port is right."""
    r = Random(seed)
    d = Drawn(r, r.randint(12, 24), 3)
    d.scale = r.choice(list(SCALES))
    d.has_preprocess = r.random() < 0.5
    count = r.randint(min_layers, max_layers)
    size, channels, n = d.size, d.channels, 0
    keras_names = r.random() < 0.4  # the port keeps Keras's names

    def name_of(kind: str, short: str) -> tuple[str, str]:
        nonlocal n
        n += 1
        name = f"{kind}_{n}"
        return name, name if keras_names else f"{short}{n}"

    while len(d.pieces) < max(count - 3, 1):
        move = r.choice(["conv", "conv", "norm", "act", "pool", "block", "depthwise", "dropout"])
        if not d.pieces:
            move = "conv"
        if move in ("conv", "depthwise", "block"):
            kernel = r.choice([1, 3, 3, 5])
            stride = r.choice([1, 1, 2]) if size > 5 and move != "block" else 1
            padding = r.choice(["same", "same", "valid"]) if size > kernel + 2 else "same"
            padding = "same" if move == "block" else padding
            if size <= kernel and padding == "same":
                kernel = 3 if size >= 2 else 1
            activation = r.choice(["", "", *ACTIVATIONS])
            bias = r.random() < 0.8
            filters = channels if move != "conv" else r.choice([4, 6, 8, channels])
            name, attribute = name_of("conv2d" if move != "depthwise" else "depthwise_conv2d", "c")
            before, after = same_padding(size, kernel, stride) if padding == "same" else (0, 0)
            pad = before if before == after else 0
            groups = f", groups={channels}" if move == "depthwise" else ""
            module = (
                f"nn.Conv2d({channels}, {filters}, {kernel}, stride={stride}, padding={pad}"
                f"{groups}, bias={bias})"
            )
            line = "{m}({x})" if before == after else (
                f"{{m}}(F.pad({{x}}, ({before}, {after}, {before}, {after})))")  # fmt: skip
            facts = {"kernel": kernel, "stride": stride, "pads": (before, after), "bias": bias,
                     "depthwise": move == "depthwise", "size": size,
                     "in": channels, "out": filters}  # fmt: skip
            piece = Piece("conv", name, module, attribute, line, activation, facts)
            config: dict[str, Any] = {"kernel_size": [kernel, kernel], "strides": [stride, stride],
                      "padding": padding, "use_bias": bias,
                      "activation": activation or "linear"}  # fmt: skip
            start = d.last
            if move == "depthwise":
                d.add(piece, "DepthwiseConv2D", **config)
            else:
                d.add(piece, "Conv2D", filters=filters, **config)
            size = (size + before + after - kernel) // stride + 1
            channels = filters
            if move == "block" and start != "image":
                name, _ = name_of("add", "s")
                add = Piece("add", name, facts={"from": start}, line="{x} + {saved}")
                d.add(add, "Add", inputs=[d.last, start])
        elif move == "norm" and d.pieces[-1].kind != "norm":
            name, attribute = name_of("batch_normalization", "bn")
            module = f"nn.BatchNorm2d({channels}, eps=0.001, momentum=0.01)"
            piece = Piece("norm", name, module, attribute, facts={"channels": channels})
            d.add(piece, "BatchNormalization", axis=3, momentum=0.99, epsilon=0.001)
        elif move == "act":
            name, _ = name_of("activation", "a")
            kind = r.choice([*ACTIVATIONS])
            d.add(Piece("activation", name, activation=kind, line="{x}"), "Activation",
                  activation=kind)  # fmt: skip
        elif move == "pool" and size >= 5:
            name, _ = name_of("pooling", "p")
            window, stride = r.choice([(2, 2), (3, 2), (3, 2)])
            padding = r.choice(["same", "valid"])
            before, after = same_padding(size, window, stride) if padding == "same" else (0, 0)
            is_max = r.random() < 0.7 or padding == "same"
            function = "F.max_pool2d" if is_max else "F.avg_pool2d"
            line = f"{function}({{x}}, {window}, {stride})"
            if before or after:
                inner = f"F.pad({{x}}, ({before}, {after}, {before}, {after}), value=-math.inf)"
                line = f"{function}({inner}, {window}, {stride})"
            facts = {"window": window, "stride": stride, "pads": (before, after), "max": is_max}
            d.add(Piece("pool", name, line=line, facts=facts),
                  "MaxPooling2D" if is_max else "AveragePooling2D",
                  pool_size=[window, window], strides=[stride, stride],
                  padding=padding)  # fmt: skip
            size = (size + before + after - window) // stride + 1
        elif move == "dropout":
            name, attribute = name_of("dropout", "d")
            d.add(Piece("dropout", name, "nn.Dropout(0.3)", attribute), "Dropout", rate=0.3)
    _add_head(d, size, channels, name_of)
    _build(d, seed)
    return d


def _add_head(d: Drawn, size: int, channels: int, name_of: Any) -> None:
    r = d.r
    features = channels
    if r.random() < 0.3 and len(d.pieces) > 1:
        d.add(Piece("global", name_of("global_average_pooling2d", "g")[0],
                    line="{x}.mean((2, 3))"), "GlobalAveragePooling2D")  # fmt: skip
    else:
        is_plain = r.random() < 0.5  # x.flatten(1), and the kernel is permuted for it
        line = "{x}.flatten(1)" if is_plain else "{x}.permute(0, 2, 3, 1).flatten(1)"
        facts = {"plain": is_plain, "image": (size, size, channels)}
        d.add(Piece("flatten", name_of("flatten", "f")[0], line=line, facts=facts), "Flatten")
        features = size * size * channels
    units = [*([r.choice([8, features if features < 40 else 12])] if r.random() < 0.5 else [])]
    for k, width in enumerate([*units, d.classes]):
        is_last = k == len(units)
        name, attribute = name_of("dense", "fc")
        activation = "softmax" if is_last else r.choice(["relu", "gelu", "tanh"])
        module = f"nn.Linear({features}, {width})"
        facts = {"in": features, "out": width, "last": is_last, "first": k == 0}
        d.add(Piece("dense", name, module, attribute, "{m}({x})",
                    "" if is_last else activation, facts),
              "Dense", units=width, activation=activation)  # fmt: skip
        features = width
    d.ending = r.choice(["x", "x.softmax(1)", "F.log_softmax(x, 1)"])


def _build(d: Drawn, seed: int) -> None:
    """Make the Keras model with random weights, and the port's weights of them."""
    image = {"class_name": "InputLayer", "name": "image", "inbound_nodes": [], "config": {
        "name": "image", "batch_input_shape": [None, d.size, d.size, d.channels]}}  # fmt: skip
    config = {
        "class_name": "Functional",
        "keras_version": "2.15.0",
        "config": {
            "name": "drawn",
            "layers": [image, *d.layers],
            "input_layers": [["image", 0, 0]],
            "output_layers": [[d.last, 0, 0]],
        },
    }
    d.model = FromKeras(config=json.dumps(config), scale=d.scale).eval()
    rng = np.random.default_rng(seed)
    for layer, weights in d.model.plan.layers():
        for weight in weights:
            if weight.keras in ("gamma", "moving_variance"):
                values = rng.uniform(0.5, 1.5, weight.shape)
            elif len(weight.shape) < 2:
                values = rng.normal(0, 0.2, weight.shape)
            else:
                is_depthwise = "depthwise" in weight.keras
                fan = np.prod(weight.shape[:2] if is_depthwise else weight.shape[:-1])
                values = rng.normal(0, 1.4 / np.sqrt(fan), weight.shape)
            d.model.network.load_keras(layer.path, weight, values.astype(np.float32))
    arrays = {
        path[0]: [torch.from_numpy(np.array(a)) for a in values]
        for path, values in d.model.network.keras_weights().items()
    }
    for piece in d.pieces:
        if not piece.module or piece.kind == "dropout":
            continue
        names = ["weight", "bias"]
        if piece.kind == "norm":
            names += ["running_mean", "running_var"]
        for name, value in zip(names, arrays[piece.name], strict=False):
            d.weights[f"{piece.attribute}.{name}"] = convert(d, piece, value)


def convert(d: Drawn, piece: Piece, value: torch.Tensor) -> torch.Tensor:
    """Convert an array of Keras for the port, as its code needs it."""
    if value.dim() == 4:
        if piece.facts["depthwise"]:
            return value.permute(2, 3, 0, 1).reshape(-1, 1, *value.shape[:2]).contiguous()
        return value.permute(3, 2, 0, 1).contiguous()  # (H, W, in, out) -> (out, in, H, W)
    if value.dim() == 2:
        flatten = next((p for p in d.pieces if p.kind == "flatten"), None)
        if flatten is not None and flatten.facts["plain"] and piece.facts["first"]:
            rows = value.reshape(*flatten.facts["image"], -1).permute(2, 0, 1, 3)
            value = rows.reshape(-1, value.shape[1])
        return value.T.contiguous()
    return value.clone()


def source_of(d: Drawn) -> str:
    """Return the port as Python."""
    makes = [f"self.{p.attribute} = {p.module}" for p in d.pieces if p.module]
    saved = {p.facts["from"] for p in d.pieces if p.kind == "add"}
    steps = list(d.head)
    for piece in d.pieces:
        line = piece.line.format(
            x="x", m=f"self.{piece.attribute}", saved=f"saved_{piece.facts.get('from')}"
        )
        if piece.activation and piece.activation != "softmax":
            text = piece.facts.get("text") or ACTIVATIONS[piece.activation]
            if text.count("{") > 1:
                steps.append(f"x = {line}")
                line = "x"
            line = text.format(line)
        if line != "x":
            steps.append(f"x = {line}")
        if piece.name in saved:
            steps.append(f"saved_{piece.name} = x")
    prepare = d.preprocess or [f"x = {SCALES[d.scale]}"]
    preprocess = [
        "def preprocess(self, images):",
        "    x = images.permute(0, 3, 1, 2).float()",
        *(f"    {line}" for line in prepare),
        "    return x",
        "",
    ]
    body = [
        "def __init__(self):",
        "    super().__init__()",
        *(f"    {line}" for line in makes),
        "",
        *(preprocess if d.has_preprocess else []),
        "def forward(self, x):",
        *(f"    {line}" for line in steps),
        f"    return {d.ending}",
    ]
    head = "import math\n\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n"
    head += "MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]\n"
    head += "STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]\n\n\n"
    lines = "\n".join(f"    {line}".rstrip() for line in body)
    return f"{head}class Net(nn.Module):\n{lines}\n"
