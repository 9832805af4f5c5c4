"""Draw the pictures of README and documentation: make_pictures.py [RUNFOLDER ...]

The drawn data sets and the three models; of runs of the configurations in CURVES their curves, and
Grad-CAM from the report of configs/quickstart.yaml's.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from PIL import Image

from signs_lightning import DrawnSigns, DrawnSmiles, HappySequential, SignsFunctional, SignsResNet50
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.inspect.samples import draw_samples
from signs_lightning.models.curves import draw_curves
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
    """Write docs/images/model_*.png, blocks folded."""
    for name, model in MODELS.items():
        path = PICTURES / f"model_{name}.png"
        draw_model(model(), path)
        reduce_colors(path)


def draw_data(data: DrawnSigns | DrawnSmiles, path: Path) -> None:
    """Draw some pictures of every class of a drawn data set."""
    image_set = check_file(data.files()[0])
    images, labels = H5Images([image_set]).__getitems__(range(200))
    names = image_set.class_names or []
    if isinstance(data, DrawnSigns):
        names = [f"{name} fingers" for name in names]
    draw_samples(images.numpy(), labels.numpy(), names, path, columns=2)


def reduce_colors(path: Path, colors: int = 256) -> None:
    """Rewrite a PNG with few colours, in about a third of the bytes."""
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(colors, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)


def draw_run(folder: Path) -> None:
    """Write a run's curves, and of the quick start half of its Grad-CAM sheet."""
    config = folder.resolve().parent.name
    name, title = CURVES[config]
    path = PICTURES / f"{name}.png"
    with open(folder / "history.csv", newline="") as file:
        rows = [
            {key: float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
    draw_curves(rows, path, f"{title} (configs/{config}.yaml)")
    reduce_colors(path, 64)
    if config == "quickstart":
        path = PICTURES / "report_gradcam.png"
        with Image.open(folder / "report" / "gradcam.png") as sheet:
            upper = sheet.convert("RGB").crop((0, 0, sheet.width, sheet.height // 2))
        upper.resize((900, upper.height * 900 // upper.width), Image.Resampling.LANCZOS).save(path)
        reduce_colors(path)


def main(args: list[str]) -> None:
    """Write docs/images/*.png."""
    parser = argparse.ArgumentParser(
        description="Draw the pictures of README and documentation into docs/images."
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
    draw_data(DrawnSigns(), PICTURES / "drawn_signs.png")
    draw_data(DrawnSmiles(), PICTURES / "drawn_smiles.png")
    for folder in folders:
        draw_run(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
