"""From zero: drawn images, a model, training, test, prediction and what the run leaves."""

from __future__ import annotations

EPOCHS = 20
CELLS = [  # text, then code, and so on
    """\
# From zero

A classifier of hand signs, from images to predictions, in about half a minute on a laptop. It needs
no download: the images are drawn. Install the package first, in its folder: `pip install .`""",
    """\
import lightning

from signs_lightning import H5DataModule, SignsFunctional, Trainer

lightning.seed_everything(1, verbose=False)  # the same images, weights and order every time
data = H5DataModule(drawn="DrawnSigns", val_fraction=0.2, batch_size=64)
data.setup("fit")
data""",
    """\
Of your own data, name the file: `H5DataModule(train_file="train.h5", test_file="test.h5")`. A pair
of NumPy arrays, `train_file=(images, labels)`, does as well. This is what the images look like:""",
    """\
import numpy as np
from PIL import Image

images, labels = data.images("train", 8)  # uint8 (8, 64, 64, 3)
Image.fromarray(np.concatenate(images, axis=1))""",
    """\
## Training

The model is the functional one of the course. The Trainer is Lightning's, and takes its arguments,
such as `max_epochs`, `accelerator` and `callbacks`.""",
    f"""\
model = SignsFunctional(lr=0.02, schedule="one_cycle")
trainer = Trainer(max_epochs={EPOCHS})
trainer.fit(model, data)""",
    """\
The history is a list of dicts, one for each epoch, with Keras's names. It shows itself as a table,
and plots itself.""",
    "model.history",
    "",
    "model.history.plot()",
    """\
## Test

The test images were not looked at until here. The accuracy comes with its 95% interval, which is
wide for 120 images.""",
    """\
trainer.test(model, data, verbose=False)
model.evaluation""",
    """\
## Prediction

`predict` takes images as you have them: bytes in 0..255 or floats in 0..1, one or many, with the
channels last or first; NumPy arrays, tensors, pictures of Pillow or paths. It gives a probability
for each class.""",
    """\
images, labels = data.images("test", 4)
model.predict(images).round(3)""",
    "These are the classes, and the labels of the images:",
    """\
predicted = model.predict(images / 255.0).argmax(axis=1)
[model.class_names[k] for k in predicted], labels""",
    "",
    """\
Image.fromarray(images[0]).save("hand.png")
model.predict("hand.png").argmax(axis=1)""",
    """\
## The run

What the run leaves is in its folder. The checkpoint remembers all that is needed to go on.""",
    """\
from pathlib import Path

sorted(path.name for path in Path(trainer.log_dir).iterdir())""",
    "",
    """\
again = SignsFunctional.load_from_checkpoint(
    trainer.checkpoint_callback.best_model_path, weights_only=True
)
again.predict("hand.png").argmax(axis=1)""",
    """\
The command line takes the same run:

```bash
python -m signs_lightning report lightning_logs/signs_functional/version_0
python -m signs_lightning predict lightning_logs/signs_functional/version_0 hand.png
python -m signs_lightning fit --config lightning_logs/signs_functional/version_0/config.yaml
```""",
]
