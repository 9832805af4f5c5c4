"""The table of Keras's random layers, and those that are made of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Beta, Dirichlet

from signs_lightning.errors import InputError
from signs_lightning.keras_io import random_colors as colors
from signs_lightning.keras_io import random_geometry as geometry
from signs_lightning.keras_io.color_changes import equalize, stretch_contrast
from signs_lightning.keras_io.layer_context import BuiltLayer, LayerContext
from signs_lightning.keras_io.random_layer import (
    Bounds,
    Drawn,
    RandomLayer,
    bounds_of,
    value_range_of,
)

RANDOM_LAYERS: dict[str, Callable[[LayerContext], nn.Module]] = {
    "RandomFlip": geometry.random_flip,
    "RandomRotation": geometry.random_rotation,
    "RandomZoom": geometry.random_zoom,
    "RandomTranslation": geometry.random_translation,
    "RandomShear": geometry.random_shear,
    "RandomPerspective": geometry.random_perspective,
    "RandomElasticTransform": geometry.random_elastic_transform,
    "RandomContrast": colors.random_contrast,
    "RandomBrightness": colors.random_brightness,
    "RandomHue": colors.random_hue,
    "RandomSaturation": colors.random_saturation,
    "RandomColorDegeneration": colors.random_color_degeneration,
    "RandomGrayscale": colors.random_grayscale,
    "RandomInvert": colors.random_invert,
    "RandomPosterization": colors.random_posterization,
    "Solarization": colors.solarization,
    "RandomSharpness": colors.random_sharpness,
    "RandomGaussianBlur": colors.random_gaussian_blur,
    "RandomErasing": colors.random_erasing,
    "MixUp": colors.mix_up,
    "CutMix": colors.cut_mix,
}
# Not RandomHeight, RandomWidth, AutoContrast, Equalization: these change what a model predicts.
AUGMENTATION = {*RANDOM_LAYERS, "RandomColorJitter", "RandAugment", "AugMix"}
JITTERS = ("brightness", "contrast", "saturation", "hue")  # in the order in which they act
OF_COLORS = {"RandomHue", "RandomSaturation"}  # take RGB images alone
OF_GREY = {"RandomGrayscale", "RandomColorDegeneration"}  # take RGB or grey images
FIRST_PARTS = ("RandomShear", "RandomTranslation", "RandomRotation")
COLOR_PARTS = ("RandomBrightness", "RandomColorDegeneration", "RandomContrast", "RandomSharpness")
FACTORS = ("height", "width", "x", "y", "addition", "threshold")  # that a part may have
LAST_PARTS = ("RandomPosterization", "Solarization", "AutoContrast", "Equalization")


class ChosenLayers(nn.Module):
    """RandAugment of Keras: a few of its layers, drawn for each batch."""

    def __init__(self, parts: Sequence[nn.Module], count: int) -> None:
        super().__init__()
        self.parts, self.count = nn.ModuleList(parts), count

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            drawn: dict[int, Drawn] = {}  # one draw for each part, though it may act twice
            for number in torch.randint(len(self.parts), (self.count,)).tolist():
                part = self.parts[number]
                if number not in drawn:
                    drawn[number] = part.draw(images)
                images = part.change(images, **drawn[number]).to(images.dtype)
        return images


class MixedChains(nn.Module):
    """AugMix of Keras: the mean of images and of some chains of layers, drawn for each batch."""

    def __init__(
        self, parts: Sequence[nn.Module], chains: int, depth: int, alpha: float, value_range: Bounds
    ) -> None:
        super().__init__()
        self.parts, self.chains, self.depth = nn.ModuleList(parts), chains, depth
        self.alpha, self.value_range = alpha, value_range

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        mixed = torch.zeros_like(images)
        for weight in Dirichlet(torch.full((self.chains,), self.alpha)).sample().tolist():
            changed = images
            for number in torch.randint(len(self.parts) + 1, (self.depth,)).tolist():
                if number < len(self.parts):  # else none
                    changed = self.parts[number](changed)
            mixed = mixed + weight * changed
        share = float(Beta(self.alpha, self.alpha).sample())
        return (share * images + (1 - share) * mixed).clamp(*self.value_range)


def random_layer(layer: LayerContext) -> BuiltLayer:
    """Build a random layer; one whose arguments are not known stays at rest."""
    try:
        return _build(layer, layer.class_name, layer.config), []
    except InputError:
        return nn.Identity(), []


def is_active(layer: LayerContext) -> bool:
    """Return whether a random layer acts in training."""
    try:
        _build(layer, layer.class_name, layer.config)
    except InputError:
        return False
    return True


def _build(layer: LayerContext, class_name: str, config: dict[str, Any]) -> nn.Module:
    """Build one layer with these arguments in the place of another."""
    layer = replace(layer, layer=replace(layer.layer, class_name=class_name, config=config))
    _, _, channels = layer.image
    if (class_name in OF_COLORS and channels != 3) or (
        class_name in OF_GREY and channels not in (1, 3)
    ):
        layer.fail("channels", channels, "colours")
    if class_name == "RandomColorJitter":
        return _color_jitter(layer)
    if class_name == "RandAugment":
        count = layer.integer("num_ops", 2, least=0)
        return ChosenLayers(_parts(layer, 0.5, COLOR_PARTS), count)
    if class_name == "AugMix":
        of_color = COLOR_PARTS if layer.flag("all_ops", True) else ()
        return MixedChains(
            _parts(layer, 0.3, of_color),
            layer.integer("num_chains", 3),
            layer.integer("chain_depth", 3),
            layer.number("alpha", 1.0),
            value_range_of(layer),
        )
    return RANDOM_LAYERS[class_name](layer)


def _color_jitter(layer: LayerContext) -> nn.Module:
    steps = []
    for name in JITTERS:
        if (factor := layer.config.get(f"{name}_factor")) is not None:
            config = {"factor": factor, "value_range": list(value_range_of(layer))}
            steps.append(_build(layer, f"Random{name.capitalize()}", config))
    return nn.Sequential(*steps)


def _parts(layer: LayerContext, default: float, of_color: Sequence[str]) -> list[nn.Module]:
    """Return the layers that RandAugment and AugMix draw from."""
    value_range = value_range_of(layer)
    factor = bounds_of(layer, "factor", 0.0, default)
    config: dict[str, Any] = {f"{key}_factor": [*factor] for key in FACTORS}
    config |= {"factor": [*factor], "value_range": [*value_range]}
    config["interpolation"] = layer.config.get("interpolation", "bilinear")
    bits = {"factor": max(1, int(8 * factor[1]))}
    parts: list[nn.Module] = []
    for name in (*FIRST_PARTS, *of_color, *LAST_PARTS):
        if name == "AutoContrast":
            parts.append(RandomLayer(_nothing, partial(stretch_contrast, value_range=value_range)))
        elif name == "Equalization":
            parts.append(RandomLayer(_nothing, partial(equalize, value_range=value_range)))
        else:
            own = config | bits if name == "RandomPosterization" else config
            parts.append(_build(layer, name, own))
    return parts


def _nothing(images: Tensor) -> Drawn:
    return {}
