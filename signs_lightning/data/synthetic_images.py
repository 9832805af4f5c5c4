"""One drawn hand, and one drawn face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from signs_lightning.data.drawing_primitives import (
    CLOTH,
    Picture,
    Plane,
    draw_background,
    ellipse,
    finish_image,
    limb,
    mix_colors,
    paint,
    parse_colors,
    shade,
)

SKIN = parse_colors("f6d6be ecc09e dba67d be845c 946142 684430")  # light to deep
HAIR = parse_colors("261e1c 462e20 96422a 70482a a8763e deb86e 96948e")  # three go with any skin
IRIS = parse_colors("462e20 604a2c 546a4c 4a7094 687680")  # the first two go with any skin
WHITE, DARK, MOUTH, LIP, BLUSH = parse_colors("f8f6f2 261c1e 702028 8e4646 ffa8a4")
# Choices of the fingers that are up, for each class, numbered from the thumb
FINGERS_UP = (
    "-",
    "1 1 1 1 1 1 0 4",
    "12 12 12 12 12 01 04",
    "123 123 123 123 012 234",
    "1234 1234 1234 0123",
    "01234",
)
# A finger's knuckle, length, radius and degrees from upright, in units of the palm's width; the
# thumb is on the left
FINGERS = {
    "1": (-0.37 + 0.40j, 0.86, 0.125, 7.0),
    "2": (-0.125 + 0.46j, 0.97, 0.13, 1.0),
    "3": (0.125 + 0.43j, 0.89, 0.125, -5.0),
    "4": (0.355 + 0.32j, 0.70, 0.11, -12.0),
}


def draw_hand(label: int, rng: np.random.Generator) -> Picture:
    """Draw a hand.

    Args:
        label: number of fingers up, 0..5.
        rng: of all that varies.

    Returns:
        uint8 (64, 64, 3) in 0..255, RGB.
    """
    if label not in range(6):
        raise ValueError(f"a hand shows 0 to 5 fingers, not {label!r}")
    up = str(rng.choice(FINGERS_UP[label].split()))
    origin = complex(32 + rng.normal(0, 1), 43 + rng.normal(0, 0.8))
    p = Plane(origin, rng.uniform(23, 26.5), rng.normal(0, 5))
    skin, spread = mix_colors(SKIN, rng), rng.uniform(0.9, 1.8)

    # The palm: a bone towards each knuckle, the balls of thumb and little finger; and the arm
    wrist, elbow = -0.95j, complex(rng.normal(0, 0.18), -2.6)
    knuckles = [knuckle for knuckle, *_ in FINGERS.values()]
    bones = [limb(p, (0.05 - 0.42j, knuckle - 0.06j), (0.3, 0.165)) for knuckle in knuckles]
    bones.append(limb(p, (-0.12 - 0.42j, -0.3 - 0.12j), (0.24, 0.25)))
    bones.append(limb(p, (0.2 - 0.4j, 0.27 + 0.1j), (0.22, 0.22)))
    bones.append(limb(p, (-0.5j, wrist, elbow), (0.34, 0.3, 0.42)))
    edge, height = np.min([b[0] for b in bones], 0), 0.5 * np.max([b[1] for b in bones], 0)
    creases, nails = [edge + 99], [edge + 99]  # + 99: nothing to paint yet

    def add(joints: Sequence[complex], radii: Sequence[float], lift: float) -> None:
        distance, rise = limb(p, joints, radii)
        np.minimum(edge, distance, out=edge)
        np.maximum(height, np.where(distance < 0, lift * p.unit + 0.9 * rise, 0), out=height)

    for finger, (knuckle, length, radius, fan) in FINGERS.items():
        if finger in up:
            turn = 1j ** (1 + (fan * spread + rng.normal(0, 2)) / 90)
            bend = 1j ** (rng.normal(0, 4) / 90)
            length *= rng.uniform(0.95, 1.05)
            middle = knuckle + turn * 0.5 * length
            tip = middle + turn * bend * 0.5 * (length - radius)
            add((knuckle - 0.1 * turn, middle, tip), (radius * 1.05, radius, radius * 0.82), 0.02)
            for at in (knuckle + 0.1 * turn, middle, 0.55 * middle + 0.45 * tip):
                across = 0.6j * turn * radius
                creases.append(limb(p, (at - across, at + across), (0.012, 0.012))[0])
        else:  # bent over the palm: the middle of the finger faces us, its tip touches the palm
            end = knuckle * 0.93 - 2.2j * radius
            add((knuckle + 0.1j, end), (radius * 1.06, radius * 0.92), 0.16)
            nails.append(ellipse(p, end - 0.02j, 0.055, 0.06))
    if "0" in up:
        turn = 1j ** (rng.uniform(128, 152) / 90)
        joint = -0.46 + 0.02j + 0.12 * turn
        tip = joint + 0.52 * turn * 1j ** (rng.normal(-8, 6) / 90)
        add((-0.26 - 0.3j, joint, 0.5 * (joint + tip), tip), (0.22, 0.155, 0.135, 0.105), 0.02)
    else:  # across the palm, or over the bent fingers
        tip = complex(rng.normal(0.06, 0.03), rng.normal(0.02, 0.02))
        add((-0.3 - 0.3j, -0.42, -0.21 + 0.05j + 0.5 * tip, tip), (0.2, 0.15, 0.13, 0.105), 0.3)
        nails.append(ellipse(p, tip - 0.01, 0.075, 0.06))

    canvas, light = draw_background(edge, rng), shade(height, rng)
    paint(canvas, edge, skin * light)
    paint(canvas, np.min(creases, 0), 0.55 * skin, 0.2)
    paint(canvas, np.min(nails, 0), (0.7 * skin + 0.3 * WHITE) * light, 0.7)
    if rng.random() < 0.4:
        cuff = wrist + rng.uniform(-0.3, 0.05) * 1j
        sleeve = limb(p, (cuff - 0.12j, elbow), (0.39, 0.52))[0]
        below_cuff = (p.y - cuff.imag) * p.unit
        paint(canvas, np.maximum(sleeve, below_cuff), mix_colors(CLOTH, rng) * light)
    return finish_image(canvas, rng)


def draw_face(label: int, rng: np.random.Generator) -> Picture:
    """Draw a face.

    Args:
        label: 0 (not smiling) or 1 (smiling).
        rng: of all that varies.

    Returns:
        uint8 (64, 64, 3) in 0..255, RGB.
    """
    if label not in (0, 1):
        raise ValueError(f"a face is 0 (not smiling) or 1 (smiling), not {label!r}")
    unit, tilt = rng.uniform(22.5, 25), rng.normal(0, 4)
    p = Plane(complex(32 + rng.normal(0, 0.6), 32.5 + rng.normal(0, 0.5)), unit, tilt)
    direction = complex(rng.normal(0, 0.04), rng.normal(0, 0.02))  # in which the face looks
    f = Plane(p.pixels(direction), unit, tilt)
    skin = mix_colors(SKIN, rng)
    is_fair = skin.mean() > 150
    hair = mix_colors(HAIR if is_fair else HAIR[:3], rng)
    iris = mix_colors(IRIS if is_fair else IRIS[:2], rng)
    style = rng.choice(["short", "short", "long", "long", "curly", "bald"])

    # The head is an egg; the hair a larger egg with a window for the face, and perhaps more behind
    joints, wide, chin = (0.2j, -0.42j), rng.uniform(0.74, 0.8), rng.uniform(0.5, 0.6)
    head, height = limb(p, joints, (wide, chin))
    cap, hair_height = limb(p, joints, (wide + 0.1, chin + 0.1))
    back, back_height = head, height
    if style == "long":
        ends = (0.2j, rng.uniform(-1.1, -0.5) * 1j)
        back, back_height = limb(p, ends, (wide + 0.13, wide + 0.08))
    elif style == "curly":
        back, back_height = limb(p, (0.3j, 0.15j), (1.0, 0.98))
    light = shade(0.5 * height, rng)
    hair_light = shade(0.45 * np.maximum(hair_height, back_height), rng)
    shirt = ellipse(Plane(p.origin, unit, tilt / 3), -2j, 1.3, 0.85)
    canvas = draw_background(np.min([head, shirt, back], 0), rng)
    paint(canvas, back, hair * hair_light * 0.85)
    paint(canvas, limb(p, (-0.6j, -1.5j), (0.3, 0.34))[0], skin * 0.7)
    paint(canvas, shirt, mix_colors(CLOTH, rng))
    for side in (-1, 1):
        ear = ellipse(p, side * wide - 0.02j, 0.13, 0.19)
        paint(canvas, ear, skin * 0.88, 0 if style == "long" else 1)
    paint(canvas, head, skin * light)

    lips = skin * LIP / 255 + 12
    if style != "long" and rng.random() < 0.3:
        beard = np.maximum(head, -ellipse(f, 0.12j, 0.62, 0.6 + rng.uniform(-0.06, 0.02)))
        paint(canvas, beard, hair * hair_light, rng.uniform(0.35, 0.9))
        if hair.mean() < 0.6 * skin.mean():
            lips = 0.85 * skin * BLUSH / 255  # a dark beard makes them look light
    for side in (-1, 1):
        cheek = ellipse(f, side * 0.46 - 0.26j, 0.12, 0.1)
        paint(canvas, np.maximum(0.05 * cheek, head), skin * light * BLUSH / 255, 0.7)
    if style != "bald":
        window = ellipse(p, rng.uniform(-0.3, 0.3) - 0.42j, wide, rng.uniform(0.95, 1.1))
        sides = (-0.3 if style == "long" else 0.02) - p.y  # above the ears, or down to the cheeks
        paint(canvas, np.max([cap, -window, sides * unit], 0), hair * hair_light)

    gaze = complex(rng.normal(0, 0.025), rng.normal(0, 0.01))
    lid = rng.uniform(0.065, 0.105) * (1 - 0.15 * label)  # eyes smile, too
    brow = rng.normal(-0.01, 0.02)
    has_glasses = rng.random() < 0.2
    for side in (-1, 1):
        eye = side * 0.31 + 0.1j
        white = ellipse(f, eye, 0.135, lid)
        paint(canvas, white - 0.025 * unit, 0.45 * skin)
        paint(canvas, white, WHITE)
        paint(canvas, np.maximum(white, ellipse(f, eye + gaze, 0.08, 0.08)), iris)
        paint(canvas, np.maximum(white, ellipse(f, eye + gaze, 0.045, 0.045)), DARK)
        points = ((-0.15, -brow), (0.0, 0.06), (0.16, brow))
        arch = [eye + side * x + (0.19 + y) * 1j for x, y in points]
        paint(canvas, limb(f, arch, (0.03, 0.04, 0.025))[0], 0.7 * hair)
        if has_glasses:
            bridge = limb(f, (side * 0.09 + 0.13j, 0.15j), (0.024, 0.024))[0]
            rim = np.abs(ellipse(f, eye, 0.235, 0.2)) - 0.024 * unit
            paint(canvas, np.minimum(rim, bridge), DARK)
    nose = limb(f, (0.02 + 0.02j, 0.09 - 0.17j, -0.02 - 0.21j), (0.012, 0.03, 0.03))[0]
    paint(canvas, nose, 0.68 * skin, 0.8)

    # The mouth: a line; or open, with teeth where the corners rise, round where they do not.
    # `rise` is of the corners, over the middle.
    rise = rng.uniform(0.1, 0.19) if label == 1 else rng.uniform(-0.11, 0.01)
    centre = -0.52 + rng.normal(0, 0.02)
    half, opening = rng.uniform(0.26, 0.36), rng.uniform(0.08, 0.17)
    top = f.y - centre - 0.5 * rise * (f.x / half) ** 2
    bottom = centre - rise - opening + (opening + 1.5 * rise) * (f.x / half) ** 2 - f.y
    if rng.random() < 0.45:
        t = np.linspace(-1, 1, 7)
        line = half * t + 1j * (centre + rise * (t * t - 0.5))
        paint(canvas, limb(f, tuple(line), tuple(0.025 + 0.025 * (1 - t * t)))[0], lips)
        return finish_image(canvas, rng)
    if label == 1:  # between two parabolas that meet in the corners
        hole = np.max([top, 0.8 * bottom, np.abs(f.x) - half], 0) * unit
    else:
        hole = ellipse(f, (centre - 0.03) * 1j, half * rng.uniform(0.4, 0.8), opening)
    paint(canvas, hole - 0.035 * unit, lips)
    paint(canvas, hole, MOUTH)
    if label == 1:
        paint(canvas, np.maximum(hole, -(top + 0.08) * unit), WHITE)
    return finish_image(canvas, rng)
