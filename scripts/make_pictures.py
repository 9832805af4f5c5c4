"""Draw the pictures of README and documentation: make_pictures.py [RUNFOLDER ...]

The drawn data sets and the three models; a training beside Keras's; of runs of the configurations
in CURVES their curves, and Grad-CAM from the report of configs/quickstart.yaml's.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from signs_lightning import (
    DrawnSigns,
    DrawnSmiles,
    FromKeras,
    H5DataModule,
    HappySequential,
    SignsFunctional,
    SignsResNet50,
    Trainer,
)
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.inspect.samples import draw_samples
from signs_lightning.models.curves import ORANGE, draw_curves
from signs_lightning.report.model_drawing import draw_model

MODELS = {"functional": SignsFunctional, "sequential": HappySequential, "resnet50": SignsResNet50}
CURVES = {  # configuration, which is the run's name → picture, title
    "quickstart": ("curves", "SignsFunctional on drawn hands"),
    "signs_functional": ("curves_functional", "SignsFunctional on photos of signs"),
    "happy_sequential": ("curves_sequential", "HappySequential on drawn faces"),
    "signs_resnet50": ("curves_resnet50", "SignsResNet50 on photos of signs"),
}
ROOT = Path(__file__).resolve().parents[1]
PICTURES, GOLDEN = ROOT / "docs" / "images", ROOT / "tests" / "golden"


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


def draw_keras_loss(path: Path) -> None:
    """Train from the weights that Keras began with, and draw the losses over those it wrote.

    Both from `tests/golden/`: drawn hands in the file's order, 60 epochs of Adam at 0.005. Prints
    how far the losses are apart.
    """
    folder = GOLDEN / "signs"
    with (folder / "history.csv").open(newline="") as file:
        keras = [float(row["loss"]) for row in csv.DictReader(file)]
    model = FromKeras(str(folder / "initial.h5"), lr=0.005)
    data = H5DataModule(str(GOLDEN / "signs_train.h5"), batch_size=16, shuffle=False)
    with tempfile.TemporaryDirectory() as runs:
        Trainer(max_epochs=len(keras), default_root_dir=runs).fit(model, data)
    ours = [row["loss"] for row in model.history]
    apart = [abs(a - b) for a, b in zip(keras, ours, strict=True)]
    print(f"losses apart: {max(apart[:5]):.1e} in the first 5 epochs, at most {max(apart):.3f}")
    figure = Figure(figsize=(7, 2.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.plot(keras, color=ORANGE, linewidth=5, alpha=0.45, label="Keras 3 on TensorFlow")
    axes.plot(ours, color="black", linewidth=1.2, label="signs_lightning")
    axes.set(xlabel="epoch", ylabel="training loss")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    reduce_colors(path, 64)


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
    draw_keras_loss(PICTURES / "keras_loss.png")
    draw_data(DrawnSigns(), PICTURES / "drawn_signs.png")
    draw_data(DrawnSmiles(), PICTURES / "drawn_smiles.png")
    for folder in folders:
        draw_run(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
