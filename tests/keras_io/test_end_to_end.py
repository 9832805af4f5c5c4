"""The whole walk on the command line: a Keras file in, tested, fine-tuned, a Keras file out, and
real Keras at both ends.
"""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import jax
import keras
import numpy as np
import pytest
import torch
from PIL import Image
from references import SIGNS

from signs_lightning.keras_io.load_keras import from_keras

from .against_keras import network_of, randomize
from .test_models import resnet, signs

pytestmark = pytest.mark.usefixtures("guarded_forks")

ENDINGS = {"keras": ".keras", "keras-h5": ".h5", "keras-weights": ".weights.h5"}
NAMES = ["zero", "one", "two", "three", "four", "five"]


def keras_probabilities(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, C) → probabilities of a model that was trained on images in 0..1."""
    return np.asarray(jax.jit(lambda x: model(x, training=False))(images.astype("float32") / 255))


def our_probabilities(cli, checkpoint: Path | str, *arguments: object) -> np.ndarray:
    """What `predict` writes into predictions.csv."""
    done = cli("predict", "--ckpt_path", checkpoint, *arguments, "--output", "predictions.csv")
    assert done.code == 0, done.err
    with open("predictions.csv") as file:
        return np.array(
            [
                [float(v) for k, v in row.items() if k.startswith("p(")]
                for row in csv.DictReader(file)
            ]
        )


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def last_checkpoint() -> Path:
    return Path("lightning_logs/from_keras/version_0/checkpoints/last.ckpt")


@pytest.mark.parametrize("way", ["the file", "an imported checkpoint"])
@pytest.mark.parametrize("reference", SIGNS, indirect=True)
def test_fine_tuned_here_predicts_the_same_in_keras(cli, reference, way):
    """Two epochs on signs, then every format: real Keras gives each of the test images the class
    that we give it.
    """
    original = reference.folder / "trained.keras"
    data = ["--data.train_file", reference.train_file, "--data.test_file", reference.test_file]
    if way == "the file":
        source = ["--model", "FromKeras", "--model.path", original]
    else:
        assert cli("import-keras", original, "--output", "model.ckpt").code == 0
        source = ["--ckpt_path", "model.ckpt", "--fresh_optimizer", "true"]
    done = cli("fit", *source, *data, "--trainer.max_epochs", 2)
    assert done.code == 0, done.err
    run = last_checkpoint().parents[1]
    before = from_keras(original).state_dict()
    assert all(
        not torch.equal(value, before[name])
        for name, value in weights_of(last_checkpoint()).items()
    )
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    # It went on where Keras stopped; a new network begins at 1.8.
    assert float(rows[-1]["loss"]) < 0.6

    ours = our_probabilities(cli, run, "--data.test_file", data[-1])
    images, _ = reference.test()
    assert ours.shape == reference.probabilities.shape
    for format, ending in ENDINGS.items():
        exported = Path(f"tuned{ending}")
        done = cli("export", "--ckpt_path", run, "--format", format, "--output", exported)
        assert done.code == 0, done.err
        model = keras.models.load_model(
            original if format == "keras-weights" else exported, compile=False
        )
        if format == "keras-weights":
            model.load_weights(exported)
        theirs = keras_probabilities(model, images)
        np.testing.assert_array_equal(ours.argmax(1), theirs.argmax(1), err_msg=format)
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0, err_msg=format)


@pytest.mark.parametrize("extension", ["h5", "keras", "weights.h5"])
def test_golden_files_count_as_in_keras(cli, reference, tmp_path, extension):
    """import-keras, then test: the accuracy that Keras on TensorFlow had on these images."""
    with h5py.File("last.h5", "w") as last:
        last["test_set_x"], last["test_set_y"] = reference.test()
    finished = cli("import-keras", reference.trained(extension, tmp_path), "--output", "model.ckpt")
    assert finished.code == 0, finished.err
    done = cli("test", "--ckpt_path", "model.ckpt", "--data.test_file", "last.h5")
    assert done.code == 0, done.err
    assert f"{reference.correct}/{len(reference.probabilities)} = " in done.out


@pytest.mark.slow
def test_a_picture_through_resnet50(cli):
    """A whole ResNet50 from Keras: `predict` on a picture gives Keras's probabilities, from the
    checkpoint and from the file.
    """
    model = resnet()
    randomize(model)
    model.save("model.h5")
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(image).save("hand.png")
    theirs = keras_probabilities(model, image[None])
    assert np.sort(theirs[0])[-2] > 1e-3  # not a softmax that is 1 whatever the network does
    done = cli("import-keras", "model.h5", "--output", "model.ckpt", "--class_names", *NAMES)
    assert done.code == 0
    for source in ("model.ckpt", "model.h5"):
        ours = our_probabilities(cli, source, "--images", "hand.png")
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0, err_msg=source)


@pytest.fixture
def keras_file(tmp_path) -> Path:
    """The functional model with random weights, under a name that is found nowhere by chance."""
    model = signs()
    randomize(model)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    model.save(folder / "from_my_thesis.keras")
    return folder / "from_my_thesis.keras"


def test_a_checkpoint_needs_no_keras_file(cli, small_signs, keras_file):
    """What FromKeras trained remembers the model, not the file's place: it is tested and goes on
    where the file is gone.
    """
    train, test = small_signs
    data = ["--data.train_file", train, "--data.test_file", test]
    done = cli(
        "fit", "--model", "FromKeras", "--model.path", keras_file, *data, "--trainer.max_epochs", 1
    )
    assert done.code == 0, done.err
    keras_file.unlink()
    run = last_checkpoint().parents[1]
    assert b"from_my_thesis" not in last_checkpoint().read_bytes()
    tested = cli("test", "--ckpt_path", run, "--data.test_file", test)
    assert tested.code == 0, tested.err
    printed = next(line for line in done.out.splitlines() if line.startswith("validation accuracy"))
    assert printed.split()[2] + " = " in tested.out
    resumed = cli("fit", "--ckpt_path", run, "--trainer.max_epochs", 2)
    assert resumed.code == 0, resumed.err
    assert len((run / "history.csv").read_text().splitlines()) == 3


def test_trainable_layers(cli, small_signs, keras_file):
    """`--model.trainable_layers 1` changes the last layer and nothing else."""
    train, test = small_signs
    done = cli(
        "fit", "--model", "FromKeras", "--model.path", keras_file, "--model.trainable_layers", 1,
        "--data.train_file", train, "--data.test_file", test, "--trainer.max_epochs", 1,
    )  # fmt: skip
    assert done.code == 0, done.err
    model = from_keras(keras_file)
    before, after = model.state_dict(), weights_of(last_checkpoint())
    assert before.keys() == after.keys()
    network = network_of(model)
    last = network.names[network.plan.steps[-1].path]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"network.{last}.weight", f"network.{last}.bias"}


@pytest.mark.parametrize("way", ["the file", "an imported checkpoint"])
def test_data_of_other_classes(cli, small_smiles, keras_file, way):
    """Six classes on two-class data: one sentence, exit code 2, nothing written."""
    train, test = small_smiles
    source = ["--model", "FromKeras", "--model.path", keras_file]
    if way == "an imported checkpoint":
        assert cli("import-keras", keras_file, "--output", "model.ckpt").code == 0
        source = ["--ckpt_path", "model.ckpt"]
    before = sorted(Path().rglob("*"))
    done = cli("fit", *source, "--data.train_file", train, "--data.test_file", test)
    assert done.code == 2
    assert done.err.startswith("The model was made for 6 classes, the data have 2. ")
    assert done.err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("format", ["keras", "keras-h5"])
def test_what_we_export_is_called_like_any_keras_model(cli, format):
    """Weights from Keras in our architecture and back: the model takes a plain array, without a
    warning (which fails a test).
    """
    model = signs()
    randomize(model)
    model.save_weights("signs.weights.h5")
    assert cli("import-keras", "signs.weights.h5", "--output", "model.ckpt").code == 0
    exported = f"signs{ENDINGS[format]}"
    done = cli("export", "--ckpt_path", "model.ckpt", "--format", format, "--output", exported)
    assert done.code == 0, done.err
    images = np.random.default_rng(0).random((2, 64, 64, 3), dtype=np.float32)
    again = keras.models.load_model(exported, compile=False)
    np.testing.assert_allclose(
        np.asarray(again(images)), np.asarray(model(images)), atol=1e-5, rtol=0
    )
