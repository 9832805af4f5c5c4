"""Sound files of every kind, to be damaged. `python tests/fuzz/seeds.py DIR` writes them, in a
process of its own.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from signs_lightning import ImageClassifier

KINDS: tuple[str, ...] = ("data", "keras", "checkpoint", "image", "onnx", "resume", "architecture")
KINDS += ("config", "command", "notebook")
# Of the images that the models take: the smallest of which SignsFunctional's three layers leave
# anything.
SIZE = (32, 32, 3)


def write_all(folder: Path, kinds: tuple[str, ...] = KINDS) -> None:
    """Writes `folder/KIND/NAME` for every kind; the same bytes up to dates and random weights,
    which are seeded.
    """
    import torch

    torch.manual_seed(0)
    for kind in kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        WRITERS[kind](folder / kind)


def _data(folder: Path) -> None:
    import h5py
    import numpy as np

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 8, 8, 3), np.uint8)
    labels = (np.arange(24) % 4)[None]
    names = np.array([b"zero", b"one", b"two", b"three"])
    layouts: dict[str, dict[str, Any]] = {
        "contiguous": {},
        "chunked": {"chunks": (5, 8, 8, 3)},
        "gzip": {"chunks": (4, 5, 8, 3), "compression": "gzip"},
        "shuffle": {"chunks": (6, 8, 8, 3), "compression": "gzip", "shuffle": True},
        "lzf": {"chunks": (24, 8, 8, 1), "compression": "lzf"},
        "checksum": {
            "chunks": (8, 8, 8, 3),
            "fletcher32": True,
            "compression": "gzip",
            "shuffle": True,
        },
        "offset": {"chunks": (8, 8, 8, 3), "scaleoffset": 0},
    }
    for name, options in layouts.items():
        for libver in ("earliest", "latest"):
            with h5py.File(folder / f"{name}_{libver}.h5", "w", libver=libver) as file:
                values = (
                    images.astype(np.float32) / 255 if name in ("shuffle", "chunked") else images
                )
                file.create_dataset("train_set_x", data=values, **options)
                many = (
                    {"chunks": (1, 6), "compression": "gzip"}
                    if name in ("gzip", "checksum")
                    else {}
                )
                file.create_dataset("train_set_y", data=labels, **many)
                file["list_classes"] = (
                    names if libver == "earliest" else [name.decode() for name in names]
                )
                file["train_set_x"].attrs["note"] = "made to be damaged"
    with h5py.File(folder / "groups.h5", "w", userblock_size=512) as file:
        group = file.create_group("signs/train", track_order=True)
        group.create_dataset("x", data=images, chunks=(6, 8, 8, 3), compression="gzip")
        group.create_dataset("y", data=np.eye(4, dtype=np.uint8)[labels[0]])
        file["signs/classes"] = np.arange(4)


def _models() -> dict[str, ImageClassifier]:
    from signs_lightning import HappySequential, SignsFunctional

    names = ["none", "one", "two", "three", "four", "five"]
    return {
        "signs": SignsFunctional(image_size=SIZE, num_classes=6, class_names=names).eval(),
        "happy": HappySequential(image_size=SIZE, num_classes=2).eval(),
    }


def _keras(folder: Path) -> None:
    from signs_lightning.keras_io.to_keras import export_keras

    for name, model in _models().items():
        export_keras(model, folder / f"{name}.h5", "keras-h5")
        export_keras(model, folder / f"{name}.weights.h5", "keras-weights")
        export_keras(model, folder / f"{name}.keras", "keras")


def _checkpoint(folder: Path) -> None:
    import tempfile

    import torch

    from signs_lightning.checkpoints.new_checkpoint import build_checkpoint
    from signs_lightning.keras_io.load_keras import from_keras
    from signs_lightning.keras_io.to_keras import export_keras

    models = _models()
    with tempfile.TemporaryDirectory() as temporary:
        export_keras(models["signs"], Path(temporary) / "model.keras")
        models["from_keras"] = from_keras(Path(temporary) / "model.keras")
    for name, model in models.items():
        checkpoint = build_checkpoint(model)
        checkpoint["config"] = {
            "seed_everything": 1,
            "name": name,
            "trainer": {"max_epochs": 2, "callbacks": None, "precision": "32-true"},
            "model": {"class_path": type(model).__name__, "init_args": {"lr": 0.001}},
            "data": {"train_file": "train.h5", "batch_size": 8, "image_size": None},
        }
        checkpoint["signs_lightning"]["history"] = [{"epoch": 0, "loss": 1.7, "accuracy": 0.25}]
        checkpoint["H5DataModule"] = {"test_file": "test.h5", "batch_size": 8, "seed": 1}
        torch.save(checkpoint, folder / f"{name}.ckpt")


def _image(folder: Path) -> None:
    import numpy as np
    from PIL import Image, PngImagePlugin, features

    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(40), np.arange(48))[..., None] + rng.integers(
        0, 30, (40, 48, 3)
    )
    picture = Image.fromarray(smooth.astype(np.uint8))
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "made to be damaged", zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    saved: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "plain.jpg": (picture, {"exif": exif}),
        "progressive.jpg": (picture, {"progressive": True, "quality": 60}),
        "grey.jpg": (picture.convert("L"), {}),
        "ink.jpg": (picture.convert("CMYK"), {}),
        "plain.png": (picture, {"pnginfo": info, "exif": exif}),
        "palette.png": (picture.quantize(16), {"transparency": 3}),
        "alpha.png": (picture.convert("RGBA"), {}),
        "deep.png": (Image.fromarray((smooth[..., 0] * 300).astype(np.uint16)), {}),
        "moving.png": (picture, {"save_all": True, "append_images": [picture.rotate(90)]}),
        "moving.gif": (
            picture,
            {"save_all": True, "append_images": [picture.rotate(90)], "transparency": 0},
        ),
        "plain.bmp": (picture, {}),
        "packed.tiff": (picture, {"compression": "tiff_lzw"}),
        "squeezed.tiff": (picture, {"compression": "tiff_adobe_deflate"}),
        "photo.tiff": (picture, {"compression": "jpeg"}),
        "plain.ppm": (picture, {}),
        "packed.tga": (picture, {"compression": "tga_rle"}),
        "plain.ico": (picture, {}),
        "plain.pcx": (picture, {}),
        "plain.webp": (picture, {"exif": exif}),
        "lossless.webp": (picture.convert("RGBA"), {"lossless": True}),
        "plain.jp2": (picture, {}),
        "plain.avif": (picture, {}),
    }
    needed = {".webp": "webp", ".jp2": "jpg_2000", ".avif": "avif"}
    for name, (image, options) in saved.items():
        feature = needed.get(Path(name).suffix)
        if feature is None or features.check(feature):
            buffer = io.BytesIO()
            suffix = Path(name).suffix
            kind = "JPEG2000" if suffix == ".jp2" else Image.registered_extensions()[suffix]
            image.save(buffer, kind, **options)
            (folder / name).write_bytes(buffer.getvalue())


def _onnx(folder: Path) -> None:
    from signs_lightning.export.artefacts import export_artefact
    from signs_lightning.export.compared_images import random_images

    for name, model in _models().items():
        export_artefact(model, folder / f"{name}.onnx", "onnx", random_images(4, SIZE))


def _resume(folder: Path) -> None:
    """Of a run of one epoch."""
    import contextlib
    import shutil
    import tempfile

    from signs_lightning import DrawnSigns
    from signs_lightning.__main__ import main

    callback = {"class_path": "ModelCheckpoint", "init_args": {"monitor": "loss"}}
    words = ["--trainer.max_epochs=1", f"--trainer.callbacks={[callback]}", "--model.fuse=false"]
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):
        train, _ = DrawnSigns(train_size=24, test_size=6).files(Path(temporary))
        words += [f"--data.train_file={train}", "--trainer.accelerator=cpu"]
        with contextlib.redirect_stdout(io.StringIO()):
            assert main(["fit", *words]) == 0
        last = next(Path(temporary).rglob("last.ckpt"))
        shutil.copy(last, folder / "run.ckpt")


def _architecture(folder: Path) -> None:
    """As `to_json` of Keras 3 writes it."""
    import tempfile
    import zipfile

    from signs_lightning.keras_io.to_keras import export_keras

    with tempfile.TemporaryDirectory() as temporary:
        export_keras(_models()["signs"], Path(temporary) / "model.keras")
        with zipfile.ZipFile(Path(temporary) / "model.keras") as archive:
            (folder / "signs.json").write_bytes(archive.read("config.json"))


def _config(folder: Path) -> None:
    from fuzz.texts import CONFIG

    (folder / "hands.yaml").write_text(CONFIG)


def _command(folder: Path) -> None:
    (folder / "any.txt").write_text("")


def _notebook(folder: Path) -> None:
    (folder / "any.ipynb").write_text("{}")


WRITERS = {
    "resume": _resume,
    "architecture": _architecture,
    "config": _config,
    "command": _command,
    "notebook": _notebook,
    "data": _data,
    "keras": _keras,
    "checkpoint": _checkpoint,
    "image": _image,
    "onnx": _onnx,
}

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    write_all(Path(sys.argv[1]), tuple(sys.argv[2:]) or KINDS)
