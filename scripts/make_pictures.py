"""Draws the README's and the documentation's pictures: python scripts/make_pictures.py [RUNFOLDER]

The drawn data sets, the three models, and the curves of a run of configs/quickstart.yaml where its folder is given.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from PIL import Image

from signs_lightning import DrawnSigns, DrawnSmiles, HappySequential, SignsFunctional, SignsResNet50
from signs_lightning.data.batches import H5Images
from signs_lightning.data.h5 import check_file
from signs_lightning.report.drawing import draw_model
from signs_lightning.report.history import draw_curves
from signs_lightning.report.samples import draw_samples

MODELS = {"functional": SignsFunctional, "sequential": HappySequential, "resnet50": SignsResNet50}
PICTURES = Path(__file__).resolve().parents[1] / "docs" / "images"


def draw_models() -> None:
    """Writes docs/images/model_*.png with blocks folded, in 256 colours, which they have and is a third of the bytes."""
    for name, model in MODELS.items():
        path = PICTURES / f"model_{name}.png"
        draw_model(model(), path)
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        small.save(path, optimize=True)


def main() -> None:
    """Writes docs/images/*.png."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    draw_models()
    for drawn, name, columns in ((DrawnSigns(), "drawn_signs.png", 2), (DrawnSmiles(), "drawn_smiles.png", 2)):
        found = check_file(drawn.files()[0])
        images, labels = H5Images([found]).__getitems__(range(200))
        names = [f"{name} fingers" if found.num_classes == 6 else name for name in found.class_names or []]
        draw_samples(images.numpy(), labels.numpy(), names, PICTURES / name, columns=columns)
    if len(sys.argv) > 1:
        with open(Path(sys.argv[1]) / "history.csv", newline="") as file:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
        draw_curves(rows, PICTURES / "curves.png", "SignsFunctional on drawn hands (configs/quickstart.yaml)")


if __name__ == "__main__":
    main()
