"""Makes porting bugs: `python -m tests.verify.porting_bugs --seed 0 --cases 50`.

Each is one of ten kinds, in a network of 3 to 50 layers that was ported by hand. Prints what
`verify` says of each, and counts how many it finds, names and explains.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from signs_lightning.export.compared_images import random_images
from signs_lightning.verify.compare import compare
from signs_lightning.verify.result import Comparison
from signs_lightning.verify.sides import load_side, side_of_classifier

from .hand_ports import SCALES, VARIANTS, Drawn, Piece, draw, source_of

Planted = tuple[str, str]  # layer and kind that `verify` should name
Bug = Callable[[Drawn], Planted | None]


def flatten_order(d: Drawn) -> Planted | None:
    for k, piece in enumerate(d.pieces):
        if piece.kind == "flatten" and piece.facts["image"][0] > 1:
            plain, ordered = "{x}.flatten(1)", "{x}.permute(0, 2, 3, 1).flatten(1)"
            piece.line = ordered if piece.facts["plain"] else plain
            return d.pieces[k + 1].name, "flatten order"
    return None


def norm_epsilon(d: Drawn) -> Planted | None:
    norms = [piece for piece in d.pieces if piece.kind == "norm"]
    if not norms:
        return None
    piece = d.r.choice(norms)
    piece.module = piece.module.replace("eps=0.001", d.r.choice(["eps=1e-5", "eps=0.01"]))
    return piece.name, "BatchNorm's epsilon"


def norm_momentum(d: Drawn) -> Planted | None:
    norms = [piece for piece in d.pieces if piece.kind == "norm"]
    if not norms:
        return None
    piece = d.r.choice(norms)
    wrong = d.r.choice(["momentum=0.99", "momentum=0.1"])
    piece.module = piece.module.replace("momentum=0.01", wrong)
    return piece.name, "BatchNorm's momentum"


def same_padding(d: Drawn) -> Planted | None:
    odd = [p for p in d.pieces if p.kind in ("conv", "pool") and len(set(p.facts["pads"])) > 1]
    if not odd:
        return None
    piece = d.r.choice(odd)
    before, after = piece.facts["pads"]
    if piece.kind == "conv":
        piece.line = "{m}({x})"
        half = (before + after + 1) // 2
        piece.module = piece.module.replace("padding=0", f"padding={half}")
        if (piece.facts["size"] + 2 * half - piece.facts["kernel"]) // piece.facts["stride"] != (
            piece.facts["size"] + before + after - piece.facts["kernel"]
        ) // piece.facts["stride"]:
            pads = f"({after}, {before}, {after}, {before})"  # the odd row first
            piece.line = f"{{m}}(F.pad({{x}}, {pads}))"
            piece.module = piece.module.replace(f"padding={half}", "padding=0")
    else:
        pads = f"({after}, {before}, {after}, {before})"
        piece.line = piece.line.replace(f"({before}, {after}, {before}, {after})", pads)
    return piece.name, "'same' padding"


def channel_order(d: Drawn) -> Planted | None:
    way = d.r.randrange(3)
    first = next(p for p in d.pieces if p.kind in ("conv", "dense"))
    if way == 0 and d.has_preprocess:
        d.preprocess = [f"x = {SCALES[d.scale]}", "x = x.flip(1)"]
        return "pixels", "channel order"
    if way == 1 and first.kind == "conv" and not first.facts["depthwise"]:
        key = f"{first.attribute}.weight"
        d.weights[key] = d.weights[key].flip(1).contiguous()
        return first.name, "channel order"
    d.head = ["x = x[:, [2, 1, 0]]"]
    return first.name, "channel order"


def scale(d: Drawn) -> Planted | None:
    other = d.r.choice([name for name in SCALES if name != d.scale])
    if d.has_preprocess:
        d.preprocess = [f"x = {SCALES[other]}"]
        return "pixels", "scale"
    d.head = [d.r.choice(["x = x / 255", "x = x * 2 - 1", "x = (x - 0.5) / 0.5", "x = x * 255"])]
    return next(p for p in d.pieces if p.kind in ("conv", "dense")).name, "scale"


def kernel_layout(d: Drawn) -> Planted | None:
    def is_possible(piece: Piece) -> bool:
        if piece.kind == "dense":
            return piece.facts["in"] != 1 and not piece.facts["first"]
        return piece.kind == "conv" and piece.facts["kernel"] > 1

    choices = [piece for piece in d.pieces if is_possible(piece)]
    if not choices:
        return None
    piece = d.r.choice(choices)
    key = f"{piece.attribute}.weight"
    weight = d.weights[key]
    if piece.kind == "dense":
        d.weights[key] = weight.T.reshape(weight.shape).contiguous()  # reshaped, not transposed
    else:
        kernel = weight.permute(2, 3, 1, 0)  # (out, in, H, W) -> (H, W, in, out)
        ways = [kernel.permute(3, 2, 1, 0), kernel.flip(0, 1).permute(3, 2, 0, 1)]
        ways.append(kernel.reshape(weight.shape))
        if piece.facts["in"] == piece.facts["out"] and not piece.facts["depthwise"]:
            ways.append(kernel.permute(2, 3, 0, 1))
        d.weights[key] = d.r.choice(ways).contiguous()
    return piece.name, "kernel layout"


def activation_variant(d: Drawn) -> Planted | None:
    choices = [piece for piece in d.pieces if piece.activation in VARIANTS]
    if not choices:
        return None
    piece = d.r.choice(choices)
    piece.facts["text"] = d.r.choice(VARIANTS[piece.activation])
    return piece.name, "activation variant"


def dropout_active(d: Drawn) -> Planted | None:
    choices = [piece for piece in d.pieces if piece.kind == "dropout"]
    if not choices:
        return None
    piece = d.r.choice(choices)
    piece.module, piece.line = "", "F.dropout({x}, 0.3)"
    return piece.name, "dropout active"


def softmax_twice(d: Drawn) -> Planted | None:
    d.ending = d.r.choice(["x.softmax(1).softmax(1)", "F.log_softmax(x.softmax(1), 1)"])
    return d.pieces[-1].name, "softmax twice"


def class_order(d: Drawn) -> Planted | None:
    order = d.r.sample(range(d.classes), d.classes)
    if order == sorted(order):
        order.reverse()
    if d.r.random() < 0.5:
        d.ending = d.r.choice([f"x[:, {order}]", f"x[:, {order}].softmax(1)"])
    else:
        for kind in ("weight", "bias"):
            key = f"{d.pieces[-1].attribute}.{kind}"
            d.weights[key] = d.weights[key][order].contiguous()
    return d.pieces[-1].name, "class order"


BUGS: list[Bug] = [
    *(flatten_order, norm_epsilon, same_padding, channel_order, scale, kernel_layout),
    *(activation_variant, dropout_active, softmax_twice, class_order, norm_momentum),
]


@dataclass
class Outcome:
    """What `verify` said of a port.

    Attributes:
        bug: the function that planted it; "right" for none.
        planted: layer and kind.
        count: layers.
        result: the comparison.
    """

    bug: str
    planted: Planted
    count: int
    result: Comparison

    @property
    def is_found(self) -> bool:
        return self.result.has_differences

    @property
    def is_named(self) -> bool:
        first = self.result.first
        return first is not None and first.layer == self.planted[0]

    @property
    def is_explained(self) -> bool:
        first = self.result.first
        return first is not None and first.reasons[0].kind == self.planted[1]


HIDDEN = ("", "BatchNorm's momentum", "BatchNorm's epsilon", "dropout active")


def has_effect(d: Drawn, right: tuple[str, dict[str, torch.Tensor]]) -> bool:
    """Return whether a bug changes what the port gives: a relu6 without large values does not."""
    outputs = []
    for source, weights in (right, (source_of(d), d.weights)):
        names: dict[str, Any] = {}
        exec(source, names)  # our own
        network = names["Net"]()
        network.load_state_dict(weights, strict=False)
        images = random_images(8, d.model.image_size)
        pixels = (
            network.preprocess(images) if d.has_preprocess else images.permute(0, 3, 1, 2) / 255
        )
        with torch.no_grad():
            outputs.append(network.eval()(pixels))
    return not torch.allclose(outputs[0], outputs[1], rtol=1e-3, atol=1e-5)


def draw_images(d: Drawn) -> torch.Tensor:
    """Return uint8 (8, H, W, C) for a drawn network."""
    return random_images(8, d.model.image_size)


def make_port(seed: int, bug: Bug | None, max_layers: int = 50) -> tuple[Drawn, Planted]:
    """Draw a network whose port has a bug, or none."""
    for attempt in range(200):
        d = draw(seed * 1000 + attempt, max_layers=max_layers)
        right = source_of(d), dict(d.weights)
        d.r = Random(seed)
        planted = ("", "") if bug is None else bug(d)
        if planted is not None and (planted[1] in HIDDEN or has_effect(d, right)):
            return d, planted
    raise RuntimeError("no network for this bug")


def judge(seed: int, bug: Bug | None, folder: Path, max_layers: int = 50) -> Outcome:
    """Make a port and let `verify` compare it with the network's checkpoint."""
    d, planted = make_port(seed, bug, max_layers)
    name = "right" if bug is None else bug.__name__
    file = folder / f"port_{name}_{seed}.py"
    file.write_text(source_of(d))
    torch.save(d.weights, file.with_suffix(".pt"))
    reference = side_of_classifier(f"{name}.ckpt", "checkpoint", d.model)
    other = load_side(f"{file}:Net", weights=str(file.with_suffix(".pt")))
    result = compare(other, reference, draw_images(d), "8 drawn images")
    return Outcome(name, planted, len(d.pieces), result)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bad = 0
    counts = dict.fromkeys(("bugs", "found", "named", "explained", "alarms"), 0)
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        cases = range(options.cases) if options.only is None else [options.only]
        for k in cases:
            outcome = judge(options.seed + k, BUGS[k % len(BUGS)], folder)
            counts["bugs"] += 1
            counts["found"] += outcome.is_found
            counts["named"] += outcome.is_named
            counts["explained"] += outcome.is_explained
            if not (outcome.is_found and outcome.is_named and outcome.is_explained):
                print(k, outcome.bug, outcome.count, outcome.planted, outcome.result.first)
            right = judge(options.seed + k, None, folder)
            if right.is_found:
                counts["alarms"] += 1
                rows = [row for row in right.result.rows if row.status == "differs"]
                print(k, "ALARM", right.count, right.result.first, rows[:2])
    print(counts)
    return bad


if __name__ == "__main__":
    sys.exit(main())
