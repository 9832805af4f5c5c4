"""From a Keras file: imported, verified, tested, trained on, and written as a Keras file again."""

from __future__ import annotations

EPOCHS = 70
CELLS = [  # text, then code, and so on
    """\
# From a Keras file

A classifier that Keras trained, with the HDF5 files it was trained on: the same numbers here, more
epochs, and back to Keras. No TensorFlow or Keras is needed, and no code from the file is run. Where
Keras 3 is installed, it is asked, too.

The files are those that this package is tested with, in the repository beside this notebook: Keras
on TensorFlow trained the model for 60 epochs on 96 drawn hands. Install the package first, in the
repository's folder: `pip install .`""",
    """\
from pathlib import Path

golden = Path("../tests/golden")
[path.name for path in sorted((golden / "signs").iterdir())]""",
    """\
## Import

`import-keras` reads the architecture, the weights, how the model was compiled, and the optimizer's
state. `--scale` says that the model was trained on `x / 255`, which no layer of it tells.""",
    """\
%%bash
python -m signs_lightning import-keras ../tests/golden/signs/trained.keras --scale /255 \\
    --output model.ckpt""",
    """\
## Verify

The checkpoint beside the file, on the same images: every layer, the probabilities, the gradients,
and a training step.""",
    """\
%%bash
python -m signs_lightning verify model.ckpt --against ../tests/golden/signs/trained.keras \\
    --scale /255""",
    "And beside what Keras on TensorFlow predicted for the test images, when it trained the model:",
    """\
import numpy as np

from signs_lightning import H5DataModule, from_keras

model = from_keras(golden / "signs" / "trained.keras", scale="/255")
data = H5DataModule(test_file=golden / "signs_test.h5")
images, labels = data.images("test", 24)
difference = model.predict(images) - np.load(golden / "signs" / "test_probabilities.npy")
bool(np.abs(difference).max() < 1e-5)""",
    """\
## Predict

Images as you have them, bytes or floats, become probabilities.""",
    "model.predict(images[:3]).round(3), labels[:3]",
    """\
## Train on

`fit` goes on where Keras stopped, with its optimizer and that one's state, after 60 epochs.""",
    f"""\
%%bash
python -m signs_lightning fit --ckpt_path model.ckpt --name trained_on \\
    --data.train_file ../tests/golden/signs_train.h5 \\
    --data.test_file ../tests/golden/signs_test.h5 \\
    --data.batch_size 16 --trainer.max_epochs {EPOCHS} --trainer.accelerator cpu""",
    """\
## Back to Keras

The run as a Keras file, with its optimizer: `keras.saving.load_model(…).fit(…)` goes on in turn.
Where Keras is installed, it reads the file and is compared before the file gets its name.""",
    """\
%%bash
python -m signs_lightning export lightning_logs/trained_on/version_0 --output trained_on.keras""",
]
