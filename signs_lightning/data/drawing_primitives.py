"""Shapes, shading and backgrounds that hands and faces are drawn with.

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


def parse_colors(text: str) -> Floats:
    """Return hexadecimal colours as float32 (n, 3) in 0..255."""
    return np.array([tuple(bytes.fromhex(color)) for color in text.split()], np.float32)


CLOTH = np.concatenate(
    [
        parse_colors("384458 5a7890 a8c4d4 dce0e4 a4b890 587060"),
        parse_colors("7a6488 c4a8c8 d8a0a0 8c4c50 c8b478 484444"),
    ]
)


class Plane:
    """The picture's points in a turned and scaled frame.

    Args:
        origin: of the frame, in pixels from the top left, x + y·1j.
        unit: of the frame, in pixels.
        degrees: by which the frame is turned.

    Attributes:
        x: float32 (128, 128), to the right.
        y: float32 (128, 128), upwards.
    """

    def __init__(self, origin: complex, unit: float, degrees: float) -> None:
        steps = (np.arange(FINE) + 0.5) / SCALE
        self.origin, self.unit, self.turn = origin, unit, complex(1j ** (degrees / 90))
        grid = steps[None, :] + 1j * steps[:, None]
        points = np.conj(grid - origin) / (unit * self.turn)  # conj: y is up here
        self.x, self.y = points.real.astype(np.float32), points.imag.astype(np.float32)

    def pixels(self, point: complex) -> complex:
        """Return a point of the frame in pixels from the top left."""
        return self.origin + (point * self.turn * self.unit).conjugate()

    def window(self, points: Sequence[complex], margin: float) -> tuple[slice, slice]:
        """Return the rows and columns that hold the points and `margin` around them."""
        at, reach = np.array([self.pixels(point) for point in points]), margin * self.unit + 1
        spans = ((v.min() - reach, v.max() + reach + 1) for v in (at.imag, at.real))
        rows, columns = (slice(max(int(a * SCALE), 0), max(int(b * SCALE), 0)) for a, b in spans)
        return rows, columns


def limb(p: Plane, joints: Sequence[complex], radii: Sequence[float]) -> tuple[Floats, Floats]:
    """Return signed distance to and height of a chain of round, tapering segments.

    Args:
        p: the frame.
        joints: ends of the segments.
        radii: at the joints.

    Returns:
        Two arrays (128, 128) in pixels; the distance is inf far away.
    """
    distance, height = np.full((FINE, FINE), np.inf, np.float32), np.zeros((FINE, FINE), np.float32)
    w = p.window(joints, max(radii))
    for a, b, ra, rb in zip(joints, joints[1:], radii, radii[1:], strict=False):
        way = complex(b - a)
        dx, dy = p.x[w] - np.float32(a.real), p.y[w] - np.float32(a.imag)
        t = np.clip((dx * way.real + dy * way.imag) / abs(way) ** 2, 0, 1)
        r, square = ra + float(rb - ra) * t, (dx - t * way.real) ** 2 + (dy - t * way.imag) ** 2
        distance[w] = np.minimum(distance[w], (np.sqrt(square) - r) * p.unit)
        height[w] = np.maximum(height[w], np.sqrt(np.maximum(r * r - square, 0)) * p.unit)
    return distance, height


def ellipse(p: Plane, centre: complex, rx: float, ry: float) -> Floats:
    """Return the signed distance to an ellipse, (128, 128) in pixels."""
    x, y = (p.x - centre.real) / rx, (p.y - centre.imag) / ry
    return (np.sqrt(x * x + y * y) - 1) * (min(rx, ry) * p.unit)


def paint(canvas: Floats, distance: Floats, color: Floats, strength: float = 1.0) -> None:
    """Paint where the distance is negative; the edge is as soft as one fine pixel.

    Args:
        canvas: float (128, 128, 3), changed in place.
        distance: float (128, 128) in pixels.
        color: (3,) or (128, 128, 3) in 0..255.
        strength: 0 (nothing) to 1 (opaque).
    """
    inside = distance < 1
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if len(rows):
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        alpha = np.clip(0.5 - distance[box] * SCALE, 0, 1)[..., None] * strength
        canvas[box] += ((color[box] if color.ndim == 3 else color) - canvas[box]) * alpha


def shade(z: Floats, rng: np.random.Generator) -> Floats:
    """Return the shading (128, 128, 3) of a relief in pixels.

    Light comes from above; it is darker and warmer in hollows and at the edges.
    """
    for axis in (0, 1):  # a fine smoothing: the ridges where two limbs meet are soft
        z = 0.25 * np.roll(z, 1, axis) + 0.5 * z + 0.25 * np.roll(z, -1, axis)
    zy, zx = np.gradient(z * SCALE)
    towards = 0.62 * 1j ** (rng.uniform(45, 135) / 90)  # the light; 90 degrees is above
    diffuse = (0.78 + zy * towards.imag - zx * towards.real) / np.sqrt(1 + zx * zx + zy * zy)
    hollow = np.clip((blur(z, 24) - z) * 0.16, 0, 0.35)
    light = np.clip(0.52 + 0.6 * np.maximum(diffuse, 0) - hollow, 0.2, 1.25)
    return np.asarray(light[..., None] ** np.array([0.85, 1.05, 1.2], np.float32))


def blur(values: Floats, cells: int) -> Floats:
    """Return a cheap blur of (128, 128): down to `cells` × `cells`, and up again."""
    small = Image.fromarray(values).resize((cells, cells), Image.Resampling.BOX)
    return np.asarray(small.resize((FINE, FINE), Image.Resampling.BICUBIC))


def mix_colors(palette: Floats, rng: np.random.Generator) -> Floats:
    """Return a colour (3,) between two neighbours of a palette."""
    low, part = int(rng.integers(len(palette) - 1)), rng.random()
    mixed = palette[low] * (1 - part) + palette[low + 1] * part
    return np.asarray(mixed + rng.normal(0, 4, 3), np.float32)


def draw_background(subject: Floats, rng: np.random.Generator) -> Floats:
    """Return a background (128, 128, 3) with the subject's shadow.

    It is plain, a gradient, or blurred clutter.

    Args:
        subject: signed distance to it, (128, 128).
        rng: of all that varies.
    """
    kinds = ((1, 0, 0), (2, 22, 8), (rng.integers(4, 8), 16, 8))
    cells, light, tint = kinds[rng.choice(3, p=(0.42, 0.42, 0.16))]
    brightness = mix_colors(CLOTH[:8], rng) + rng.normal(0, light, (cells, cells, 1))
    colors = brightness + rng.normal(0, tint, (cells, cells, 3))
    small = Image.fromarray(np.clip(colors, 0, 255).astype(np.uint8))
    canvas = np.asarray(small.resize((FINE, FINE), Image.Resampling.BICUBIC), np.float32)
    down, right = rng.integers(2, 9), rng.integers(-7, 8)
    shadow = np.pad(blur(np.clip(0.5 - subject, 0, 1), 26), 9, mode="edge")
    shadow = shadow[9 - down :, 9 - right :][:FINE, :FINE, None]
    return canvas * (1 - rng.uniform(0.1, 0.35) * shadow)


def finish_image(canvas: Floats, rng: np.random.Generator) -> Picture:
    """Return a canvas as uint8 (64, 64, 3), averaged down.

    It may be mirrored, and has uneven light, another brightness and contrast, and noise.
    """
    image = canvas.reshape(IMAGE_SIZE, SCALE, IMAGE_SIZE, SCALE, 3).mean((1, 3))
    image = image[:, ::-1] if rng.random() < 0.25 else image
    ramp = np.linspace(-1, 1, IMAGE_SIZE)
    uneven = 1 + 0.07 * (rng.normal() * ramp[:, None, None] + rng.normal() * ramp[None, :, None])
    image = ((image - 128) * rng.uniform(0.8, 1.1) + 128 * rng.uniform(0.85, 1.12)) * uneven
    noise = rng.normal(0, rng.uniform(1, 3.5), image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
