"""The brush that draws hands and faces: limbs and ellipses as signed distances, light, shadow and background.

A picture is a few round limbs and ellipses, each a signed distance (negative inside) on a grid of
points. In pixels, it gives antialiased edges; the limbs' round heights, lit from one side, give the
shading.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.floating]
Picture = npt.NDArray[np.uint8]

IMAGE_SIZE = 64  # height and width of every picture, pixels
SCALE = 2  # pictures are drawn at twice their size, with soft edges, and averaged down
FINE = SCALE * IMAGE_SIZE


def colours(rgb: str) -> Floats:
    return np.array([tuple(bytes.fromhex(colour)) for colour in rgb.split()], np.float32)


CLOTH = colours(
    "384458 5a7890 a8c4d4 dce0e4 a4b890 587060 7a6488 c4a8c8 d8a0a0 8c4c50 c8b478 484444"
)


class Plane:
    """The picture's points in a turned, scaled frame around `origin` (pixels from the top left): x, y (128, 128)."""

    def __init__(self, origin: complex, unit: float, degrees: float) -> None:
        steps = (np.arange(FINE) + 0.5) / SCALE
        self.origin, self.unit, self.turn = origin, unit, complex(1j ** (degrees / 90))
        points = np.conj(steps[None, :] + 1j * steps[:, None] - origin) / (
            unit * self.turn
        )  # conj: y is up here
        self.x, self.y = points.real.astype(np.float32), points.imag.astype(np.float32)

    def pixels(self, point: complex) -> complex:
        return self.origin + (point * self.turn * self.unit).conjugate()

    def window(self, points: Sequence[complex], margin: float) -> tuple[slice, slice]:
        """The rows and columns that hold the points and `margin` around them: a finger needs no more than that."""
        at, reach = np.array([self.pixels(point) for point in points]), margin * self.unit + 1
        spans = ((v.min() - reach, v.max() + reach + 1) for v in (at.imag, at.real))
        rows, columns = (slice(max(int(a * SCALE), 0), max(int(b * SCALE), 0)) for a, b in spans)
        return rows, columns


def limb(p: Plane, joints: Sequence[complex], radii: Sequence[float]) -> tuple[Floats, Floats]:
    """A chain of round, tapering segments: signed distance (inf far away) and height, (128, 128) each, in pixels."""
    distance, height = np.full((FINE, FINE), np.inf, np.float32), np.zeros((FINE, FINE), np.float32)
    w = p.window(joints, max(radii))
    for a, b, ra, rb in zip(joints, joints[1:], radii, radii[1:], strict=False):
        way, dx, dy = complex(b - a), p.x[w] - np.float32(a.real), p.y[w] - np.float32(a.imag)
        t = np.clip((dx * way.real + dy * way.imag) / abs(way) ** 2, 0, 1)
        r, square = ra + float(rb - ra) * t, (dx - t * way.real) ** 2 + (dy - t * way.imag) ** 2
        distance[w] = np.minimum(distance[w], (np.sqrt(square) - r) * p.unit)
        height[w] = np.maximum(height[w], np.sqrt(np.maximum(r * r - square, 0)) * p.unit)
    return distance, height


def ellipse(p: Plane, centre: complex, rx: float, ry: float) -> Floats:
    """Signed distance to an ellipse (128, 128) in pixels, exact enough near its edge."""
    x, y = (p.x - centre.real) / rx, (p.y - centre.imag) / ry
    return (np.sqrt(x * x + y * y) - 1) * (min(rx, ry) * p.unit)


def paint(canvas: Floats, distance: Floats, colour: Floats, strength: float = 1.0) -> None:
    """Put `colour`, (3,) or (128, 128, 3), where the distance is negative; the edge is as soft as one fine pixel."""
    inside = distance < 1
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if len(rows):
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        alpha = np.clip(0.5 - distance[box] * SCALE, 0, 1)[..., None] * strength
        canvas[box] += ((colour[box] if colour.ndim == 3 else colour) - canvas[box]) * alpha


def shade(z: Floats, rng: np.random.Generator) -> Floats:
    """Shading (128, 128, 3) of a relief in pixels: light from above, darker and warmer in hollows and at the edges."""
    for axis in (0, 1):  # a fine smoothing: the ridges where two limbs meet are soft
        z = 0.25 * np.roll(z, 1, axis) + 0.5 * z + 0.25 * np.roll(z, -1, axis)
    zy, zx = np.gradient(z * SCALE)
    towards = 0.62 * 1j ** (
        rng.uniform(45, 135) / 90
    )  # where the light comes from: 90 degrees is above
    diffuse = (0.78 + zy * towards.imag - zx * towards.real) / np.sqrt(1 + zx * zx + zy * zy)
    hollow = np.clip((blur(z, 24) - z) * 0.16, 0, 0.35)
    light = np.clip(0.52 + 0.6 * np.maximum(diffuse, 0) - hollow, 0.2, 1.25)
    return np.asarray(light[..., None] ** np.array([0.85, 1.05, 1.2], np.float32))


def blur(values: Floats, cells: int) -> Floats:
    """A cheap, wide blur of (128, 128): down to `cells` × `cells`, and smoothly up again."""
    small = Image.fromarray(values).resize((cells, cells), Image.Resampling.BOX)
    return np.asarray(small.resize((FINE, FINE), Image.Resampling.BICUBIC))


def mix_colors(palette: Floats, rng: np.random.Generator) -> Floats:
    """A colour (3,) between two neighbours of a palette."""
    low, part = int(rng.integers(len(palette) - 1)), rng.random()
    return np.asarray(
        palette[low] * (1 - part) + palette[low + 1] * part + rng.normal(0, 4, 3), np.float32
    )


def background(subject: Floats, rng: np.random.Generator) -> Floats:
    """Plain, gradient or blurred clutter, (128, 128, 3), with the soft shadow of the subject (a distance)."""
    cells, light, tint = ((1, 0, 0), (2, 22, 8), (rng.integers(4, 8), 16, 8))[
        rng.choice(3, p=(0.42, 0.42, 0.16))
    ]
    colours = (
        mix_colors(CLOTH[:8], rng)
        + rng.normal(0, light, (cells, cells, 1))
        + rng.normal(0, tint, (cells, cells, 3))
    )
    small = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    canvas = np.asarray(small.resize((FINE, FINE), Image.Resampling.BICUBIC), np.float32)
    down, right = rng.integers(2, 9), rng.integers(-7, 8)
    shadow = np.pad(blur(np.clip(0.5 - subject, 0, 1), 26), 9, mode="edge")
    return canvas * (
        1 - rng.uniform(0.1, 0.35) * shadow[9 - down :, 9 - right :][:FINE, :FINE, None]
    )


def finish_image(canvas: Floats, rng: np.random.Generator) -> Picture:
    """Averaged down, perhaps mirrored, with uneven light, other brightness, contrast and noise: uint8 (64, 64, 3)."""
    image = canvas.reshape(IMAGE_SIZE, SCALE, IMAGE_SIZE, SCALE, 3).mean((1, 3))
    image = image[:, ::-1] if rng.random() < 0.25 else image
    ramp = np.linspace(-1, 1, IMAGE_SIZE)
    uneven = 1 + 0.07 * (rng.normal() * ramp[:, None, None] + rng.normal() * ramp[None, :, None])
    image = ((image - 128) * rng.uniform(0.8, 1.1) + 128 * rng.uniform(0.85, 1.12)) * uneven
    return np.clip(np.rint(image + rng.normal(0, rng.uniform(1, 3.5), image.shape)), 0, 255).astype(
        np.uint8
    )
