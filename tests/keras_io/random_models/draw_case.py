"""Draws a classifier and how it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .draw_model import Drawer
from .layer_arguments import RANDOM_LAYERS, Shape
from .model_spec import Model

FORMATS = ("h5", "keras", "weights.h5")
POLICIES = ("mixed_float16", "mixed_bfloat16", "float16", "float64")
OLD_VERSIONS = ("2.0.9", "2.1.6", "2.2.4-tf", "2.3.1", "2.4.0", "2.7.0", "2.11.0", "2.15.0")


@dataclass(frozen=True)
class Case:
    """A model, and how it is saved.

    Attributes:
        seed: of its weights and images.
        model: the model.
        format: "h5", "keras", or "weights.h5" beside the JSON of the model.
        policy: of its dtypes.
        version: of the Keras 2 that seems to have written it, "" for Keras 3.
    """

    seed: int
    model: Model
    format: str = "h5"
    policy: str = "float32"
    version: str = ""


def draw_case(seed: int, index: int) -> Case:
    """Draw case `index` of a seed."""
    r = Random(f"{seed} {index}")
    version = r.choice(OLD_VERSIONS) if index % 2 else ""
    channels_first = r.random() < 0.06
    drawer = Drawer(r, _image_shape(r, channels_first), version, channels_first)
    for _ in range(r.randint(1, 5)):
        drawer.move()
    drawer.add_head()
    model = drawer.finish(top=True)
    policy = r.choice(POLICIES) if r.random() < 0.08 and not version else "float32"
    inside = [layer.inner for layer in model.layers if layer.inner is not None]
    is_random = any(x.class_name in RANDOM_LAYERS for inner in inside for x in inner.all_layers())
    formats = ("h5", "h5", "weights.h5") if version else FORMATS
    return Case(
        seed=r.randrange(2**31),
        model=model,
        format="keras" if is_random and not version else r.choice(formats),  # Keras has no .h5
        policy=policy,
        version=version,
    )


def _image_shape(r: Random, channels_first: bool) -> Shape:
    height, width = r.randint(8, 14), r.randint(8, 14)
    channels = r.choice((1, 3, 3, 3, 3, 4, 2))
    if channels_first:
        return channels, height, width
    kind = r.random()
    if kind < 0.04:
        return height, width
    if kind < 0.07:
        return (height**2,)
    return height, width, channels
