"""Draws the README's and the documentation's pictures: python scripts/make_pictures.py [RUNFOLDER
...]

The drawn data sets and the three models; and where runs of the configurations in CURVES are given,
their curves, and Grad-CAM from the report of configs/quickstart.yaml's.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from PIL import Image

from signs_lightning import DrawnSigns, DrawnSmiles, HappySequential, SignsFunctional, SignsResNet50
from signs_lightning.callbacks.curves import draw_curves
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.image_set import check_file
from signs_lightning.inspect.samples import draw_samples
from signs_lightning.report.model_drawing import draw_model

MODELS = {"functional": SignsFunctional, "sequential": HappySequential, "resnet50": SignsResNet50}
CURVES = {  # configuration, which is the run's name → picture, title
    "quickstart": ("curves", "SignsFunctional on drawn hands"),
    "signs_functional": ("curves_functional", "SignsFunctional on photos of signs"),
    "happy_sequential": ("curves_sequential", "HappySequential on drawn faces"),
    "signs_resnet50": ("curves_resnet50", "SignsResNet50 on photos of signs"),
}
PICTURES = Path(__file__).resolve().parents[1] / "docs" / "images"


def draw_models() -> None:
    """Writes docs/images/model_*.png with blocks folded, in 256 colours, which they have and is a
    third of the bytes.
    """
    for name, model in MODELS.items():
        path = PICTURES / f"model_{name}.png"
        draw_model(model(), path)
        make_small(path)


def make_small(path: Path, colours: int = 256) -> None:
    """Rewrites a PNG in few colours."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def draw_run(folder: Path) -> None:
    """Writes the curves of a run, and the upper half of its report's Grad-CAM sheet where it is the
    quick start's.
    """
    config = folder.resolve().parent.name
    name, title = CURVES[config]
    path = PICTURES / f"{name}.png"
    with open(folder / "history.csv", newline="") as file:
        rows = [
            {key: float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
    draw_curves(rows, path, f"{title} (configs/{config}.yaml)")
    make_small(path, 64)
    if config == "quickstart":
        path = PICTURES / "report_gradcam.png"
        with Image.open(folder / "report" / "gradcam.png") as sheet:
            upper = sheet.convert("RGB").crop((0, 0, sheet.width, sheet.height // 2))
        upper.resize((900, upper.height * 900 // upper.width), Image.Resampling.LANCZOS).save(path)
        make_small(path)


def main(args: list[str]) -> None:
    """Writes docs/images/*.png."""
    parser = argparse.ArgumentParser(
        description="Draws the pictures of README and documentation into docs/images."
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="RUNFOLDER", help=f"runs of {', '.join(CURVES)}"
    )
    folders = parser.parse_args(args).folders
    for folder in folders:
        if folder.resolve().parent.name not in CURVES or not (folder / "history.csv").is_file():
            parser.error(f"{folder} is no run folder of {', '.join(CURVES)}")
    PICTURES.mkdir(parents=True, exist_ok=True)
    draw_models()
    for drawn, name, columns in (
        (DrawnSigns(), "drawn_signs.png", 2),
        (DrawnSmiles(), "drawn_smiles.png", 2),
    ):
        found = check_file(drawn.files()[0])
        images, labels = H5Images([found]).__getitems__(range(200))
        names = [
            f"{name} fingers" if found.num_classes == 6 else name
            for name in found.class_names or []
        ]
        draw_samples(images.numpy(), labels.numpy(), names, PICTURES / name, columns=columns)
    for folder in folders:
        draw_run(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
