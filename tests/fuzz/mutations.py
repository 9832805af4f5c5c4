"""Ways to damage a file: its bytes, and what its format makes of them, where bytes alone would be
caught by the first checksum.
"""

from __future__ import annotations

import io
import json
import math
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz.hdf5 import mutate_hdf5
from fuzz.octets import NUMBERS, WAYS, blank, flip, insert, number, overwrite, repeat, truncate
from fuzz.texts import mutate_command, mutate_notebook, mutate_yaml

VALUES: tuple[Any, ...] = (  # that stand where something else should
    *(
        None, True, False, -1, 0, 1, 2, 3, 1024, 2**16, 2**31, 2**63, 2**70, 0.5, -1.5, 1e308,
        math.nan, math.inf,
    ),
    *(
        "",
        "same",
        "relu",
        "softmax",
        "channels_first",
        "\x1b[31mred\x00",
        "../../etc/passwd",
        "os.system",
        "x" * 5000,
        "\udc80",
    ),
    *(
        [],
        [0],
        [-1, 2],
        [None, 8, 8, 3],
        [1, 2, 3, 4, 5],
        {},
        {"class_name": "Dense", "config": {}},
        [[[[[]]]]],
    ),
)  # fmt: skip


def mutate(kind: str, seed: Path, rng: random.Random) -> bytes:
    """One damaged copy of a sound file; the same for the same state of `rng`."""
    content = seed.read_bytes()
    if kind in WHOLE:
        return WHOLE[kind](content, rng)
    structured = STRUCTURED.get(kind if kind != "keras" else f"keras{seed.suffix}")
    if structured is not None and rng.random() < 0.6:
        try:
            content = structured(content, rng)
        except (
            Exception
        ):  # the value that was chosen cannot be written: then the bytes are damaged instead
            content = rng.choice(WAYS)(content, rng)
        if rng.random() < 0.85:
            return content
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = rng.choice(WAYS)(content, rng)
    return content


def change_tree(tree: Any, rng: random.Random, values: tuple[Any, ...] = VALUES) -> Any:
    """One place somewhere in nested dicts and lists gets another value, is dropped, doubled, or
    changes places.
    """
    places: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        inside = (
            list(value.items())
            if isinstance(value, dict)
            else list(enumerate(value))
            if isinstance(value, list)
            else []
        )
        places += [(value, key) for key, _ in inside]
        waiting += [child for _, child in inside]
    if not places or rng.random() < 0.02:
        return rng.choice(values)
    for _ in range(rng.choice((1, 1, 2, 5))):
        (parent, key), (other, name) = rng.choice(places), rng.choice(places)
        if not _has(parent, key) or not _has(other, name):
            continue
        way = rng.randrange(6)
        if way <= 2:
            parent[key] = rng.choice(values)
        elif way == 3:
            parent[key] = json.loads(json.dumps(other[name])) if rng.random() < 0.8 else other[name]
        elif way == 4:
            del parent[key]
        elif isinstance(parent[key], int) and not isinstance(parent[key], bool):
            parent[key] = rng.choice(
                (-parent[key], parent[key] + 1, parent[key] * 1000, 0, 2**31 - 1)
            )
        elif isinstance(parent, list):
            parent.insert(0, parent[key])
        else:
            parent[str(key) + rng.choice(("", "_", "s"))] = parent.pop(key)
    return tree


def _has(parent: Any, key: Any) -> bool:
    return key in parent if isinstance(parent, dict) else key < len(parent)


def _change_archive(
    content: bytes, rng: random.Random, ways: dict[str, Callable[[bytes, random.Random], bytes]]
) -> bytes:
    """Damages one entry and writes the archive anew, with checksums that fit; or drops, doubles or
    renames an entry.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    index = rng.randrange(len(entries))
    name, value = entries[index]
    way = rng.random()
    if way < 0.75:
        change = next((ways[end] for end in ways if name.endswith(end)), None)
        entries[index] = (
            name,
            (change or rng.choice((flip, number, truncate, insert, blank)))(value, rng),
        )
    elif way < 0.83:
        del entries[index]
    elif way < 0.91:
        entries.append((name, rng.choice(entries)[1]))
    else:
        entries[index] = (
            rng.choice(
                ("../" + name, "/" + name, name.upper(), name + "\n", rng.choice(entries)[0])
            ),
            value,
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(
        buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for name, value in entries:
            archive.writestr(name, value)
    return buffer.getvalue()


def _json(content: bytes, rng: random.Random) -> bytes:
    return json.dumps(change_tree(json.loads(content), rng)).encode()


def _keras_archive(content: bytes, rng: random.Random) -> bytes:
    return _change_archive(content, rng, {".json": _json, ".h5": mutate_hdf5})


def _keras_h5(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.5 or b"model_config" not in content:
        return mutate_hdf5(content, rng)
    import h5py

    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        file.attrs["model_config"] = json.dumps(
            change_tree(json.loads(file.attrs["model_config"]), rng)
        )
    return buffer.getvalue()


def _checkpoint(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        return _change_archive(content, rng, {"data.pkl": _pickle})
    import torch

    checkpoint = torch.load(io.BytesIO(content), weights_only=True)
    if rng.random() < 0.4:
        state = checkpoint["state_dict"]
        name, other = rng.choice(list(state)), rng.choice(list(state))
        tensor = state[name]
        state[name] = rng.choice(
            (
                state[other],
                tensor[None],
                tensor.flatten()[:1],
                tensor.double(),
                tensor.to(torch.complex64),
                tensor * math.nan,
                torch.empty(0),
                torch.zeros(()).expand(2**30, 2**10),
                tensor.to_sparse(),
                tensor.bool(),
                [1, 2],
                None,
                "text",
            )
        )
    else:
        sections = [
            key
            for key in ("hyper_parameters", "signs_lightning", "config", "H5DataModule")
            if key in checkpoint
        ]
        place = rng.choice(sections)
        tree = checkpoint[place]
        if (
            place == "hyper_parameters"
            and isinstance(tree.get("config"), str)
            and rng.random() < 0.5
        ):
            tree["config"] = json.dumps(change_tree(json.loads(tree["config"]), rng))
        else:
            checkpoint[place] = change_tree(
                dict(tree), rng, (*VALUES, (1, 2, 3), torch.zeros(2), {1: 2})
            )
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def _pickle(content: bytes, rng: random.Random) -> bytes:
    """Names of classes exchanged for others, numbers for other numbers, or plain damage."""
    way = rng.random()
    if way < 0.3:
        modules = (
            b"os\nsystem\n",
            b"builtins\neval\n",
            b"builtins\nbytearray\n",
            b"torch\nTensor\n",
            b"torch\nSize\n",
        )
        start = content.find(b"c", rng.randrange(len(content)))
        end = content.find(b"\n", content.find(b"\n", start) + 1) + 1
        if 0 <= start < end:
            return content[: start + 1] + rng.choice(modules) + content[end:]
    if way < 0.6:
        places = [k for k, byte in enumerate(content) if byte in b"KMJ"]
        place = rng.choice(places)
        return (
            content[: place + 1]
            + struct.pack("<I", rng.choice(NUMBERS) % 2**32)[
                : {75: 1, 77: 2, 74: 4}[content[place]]
            ]
            + content[place + 1 + {75: 1, 77: 2, 74: 4}[content[place]] :]
        )
    return rng.choice((flip, overwrite, truncate, insert, repeat))(content, rng)


def _image(content: bytes, rng: random.Random) -> bytes:
    """A PNG's chunk, or a JPEG's segment, changed with a checksum that fits."""
    if content.startswith(b"\x89PNG"):
        chunks, place = [], 8
        while place + 12 <= len(content):
            (length,) = struct.unpack_from(">I", content, place)
            chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
            place += 12 + length
        index = rng.randrange(len(chunks))
        name, body = chunks[index]
        way = rng.random()
        if way < 0.6:
            chunks[index] = name, rng.choice((flip, number, truncate, insert, blank))(body, rng)
        elif way < 0.8:
            chunks.insert(rng.randrange(len(chunks)), chunks[index])
        else:
            bomb = zlib.compress(bytes(rng.choice((10**3, 10**7))))
            chunks.insert(
                1,
                rng.choice(
                    (
                        (b"zTXt", b"x\0\0" + bomb),
                        (b"iCCP", b"x\0\0" + bomb),
                        (b"iTXt", b"x\0\1\0\0\0" + bomb),
                    )
                ),
            )
        parts = (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
        return content[:8] + b"".join(parts)
    if content.startswith(b"\xff\xd8"):
        places = [
            k
            for k in range(2, len(content) - 9)
            if content[k] == 0xFF and content[k + 1] in range(0xC0, 0xFF)
        ]
        place = rng.choice(places) + rng.randint(1, 9)
        return (
            content[:place]
            + rng.choice((b"\0", b"\xff", b"\x01", rng.randbytes(1)))
            + content[place + 1 :]
        )
    return number(content, rng)


def _onnx(content: bytes, rng: random.Random) -> bytes:
    """One field of one message somewhere in the protobuf gets another value, or messages are
    dropped, doubled or exchanged.
    """
    import onnx

    model = onnx.load_model_from_string(content)
    messages = [model]
    for message in messages:
        for field, value in message.ListFields():
            if field.message_type is not None:
                messages += [value] if hasattr(value, "DESCRIPTOR") else list(value)
    for _ in range(rng.choice((1, 1, 2, 4))):
        message = rng.choice(messages)
        fields = message.ListFields()
        if not fields:
            continue
        field, value = rng.choice(fields)
        several = not isinstance(value, str | bytes) and hasattr(value, "__len__")
        if field.message_type is not None:
            if several and rng.random() < 0.7:
                other = rng.choice(value)
                if rng.random() < 0.5:
                    value.remove(other)
                else:
                    value.add().CopyFrom(other)
            else:
                message.ClearField(field.name)
            continue
        kind = type(value[0] if several and len(value) else value)
        choices = {
            str: ("", "x\x1b\n", "images", "Loop", "ConstantOfShape", "../x"),
            bytes: (b"", bytes(10**5), flip(value, rng) if isinstance(value, bytes) else b"x"),
            float: (0.0, math.nan, math.inf, -1e38),
        }
        new = rng.choice(choices.get(kind, (-1, 0, 1, 2, 7, 1000, 2**31 - 1, 2**40, 2**62)))
        if several and len(value):
            value[rng.randrange(len(value))] = new
        else:
            setattr(message, field.name, new)
    return model.SerializeToString()


def _resume(content: bytes, rng: random.Random) -> bytes:
    """States of optimizer, loops and callbacks with other values and tensors in them."""
    import torch

    checkpoint = torch.load(io.BytesIO(content), weights_only=True)
    sections = ("optimizer_states", "loops", "callbacks", "signs_lightning", "lr_schedulers")
    tensors = (
        torch.zeros(2), torch.zeros(()), torch.empty(0), torch.zeros(1).expand(2**40),
        torch.zeros(8, 3, 4, 4), torch.zeros(3, device="meta"), torch.eye(3).to_sparse(),
        torch.zeros(4, dtype=torch.complex64),
        torch.zeros(100).as_strided((8, 3, 4, 4), (1, 1, 1, 1)),
    )  # fmt: skip
    values = (*VALUES, *tensors, "RUN/checkpoints/../../x", "/etc/passwd", {1: 2}, (1, 2))
    for _ in range(rng.choice((1, 1, 2))):
        section = rng.choice(sections)
        if rng.random() < 0.1:
            checkpoint[section] = rng.choice(values)
        elif section == "optimizer_states" and rng.random() < 0.6:
            state = rng.choice(list(checkpoint[section][0]["state"].values()))
            state[rng.choice(list(state))] = rng.choice(values)
        else:
            checkpoint[section] = change_tree(checkpoint[section], rng, values)
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


WHOLE = {"command": mutate_command, "notebook": mutate_notebook}  # drawn anew each time
STRUCTURED = {
    "resume": _resume,
    "architecture": _json,
    "config": mutate_yaml,
    "data": mutate_hdf5,
    "keras.h5": _keras_h5,
    "keras.keras": _keras_archive,
    "checkpoint": _checkpoint,
    "image": _image,
    "onnx": _onnx,
}
