"""Draws the README's pictures: python scripts/make_pictures.py [RUNFOLDER]

The drawn data sets, and the curves of a run of configs/quickstart.yaml where its folder is given.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from signs_lightning import DrawnSigns, DrawnSmiles
from signs_lightning.data.batches import H5Images
from signs_lightning.data.h5 import check_file
from signs_lightning.report.history import draw_curves
from signs_lightning.report.samples import draw_samples

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "images"


def main() -> None:
    """Writes docs/images/*.png."""
    PICTURES.mkdir(parents=True, exist_ok=True)
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
