"""Ways to damage bytes, whatever they mean."""

from __future__ import annotations

import random
import struct

NUMBERS = (
    0, 1, 2, 3, 7, 127, 128, 255, 256, 4095, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**60,
    2**63 - 1, 2**64 - 1,
)  # fmt: skip


def _place(content: bytes, rng: random.Random) -> int:
    """Where to damage: half of the time near the beginning or the end, where headers are."""
    size = max(1, len(content))
    return rng.choice(
        (
            rng.randrange(size),
            rng.randrange(size),
            rng.randrange(min(size, 2048)),
            size - 1 - rng.randrange(min(size, 512)),
        )
    )


def flip(content: bytes, rng: random.Random) -> bytes:
    """One to eight bits."""
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 8) if damaged else 0):
        damaged[_place(content, rng)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def overwrite(content: bytes, rng: random.Random) -> bytes:
    """Random bytes over a short stretch."""
    place, length = _place(content, rng), rng.choice((1, 2, 4, 8, 32))
    return content[:place] + rng.randbytes(length) + content[place + length :]


def number(content: bytes, rng: random.Random) -> bytes:
    """A telling number of 1 to 8 bytes, in either byte order."""
    place, code = _place(content, rng), rng.choice("BHIQ")
    packed = struct.pack(
        rng.choice("<>") + code, rng.choice(NUMBERS) % 256 ** struct.calcsize(f"<{code}")
    )
    return content[:place] + packed + content[place + len(packed) :]


def truncate(content: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return content[: _place(content, rng)]


def insert(content: bytes, rng: random.Random) -> bytes:
    """More bytes in between."""
    place = _place(content, rng)
    return (
        content[:place]
        + rng.choice((rng.randbytes(rng.randint(1, 64)), bytes(rng.randint(1, 4096))))
        + content[place:]
    )


def cut(content: bytes, rng: random.Random) -> bytes:
    """A stretch is missing."""
    place = _place(content, rng)
    return content[:place] + content[place + rng.randint(1, 256) :]


def repeat(content: bytes, rng: random.Random) -> bytes:
    """A stretch stands where another was."""
    source, target, length = (
        _place(content, rng),
        _place(content, rng),
        rng.choice((4, 8, 16, 64, 512)),
    )
    part = content[source : source + length]
    return content[:target] + part + content[target + len(part) :]


def blank(content: bytes, rng: random.Random) -> bytes:
    """A stretch of zeros or ones."""
    place, length = _place(content, rng), rng.choice((4, 8, 64, 1024))
    return (
        content[:place]
        + rng.choice((b"\0", b"\xff")) * min(length, len(content) - place)
        + content[place + length :]
    )


WAYS = (flip, flip, overwrite, number, number, truncate, insert, cut, repeat, blank)
