"""What `export` writes: it does what the model does, without this package, for any number of
images; or nothing is written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from references import GOLDEN, SIGNS
from torch import nn

from signs_lightning import HappySequential, InputError, SignsFunctional, SignsResNet50
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.commands.export import _format_of
from signs_lightning.export import artefacts
from signs_lightning.export.artefacts import export_artefact
from signs_lightning.export.compared_images import images_to_compare, random_images
from signs_lightning.keras_io.load_keras import from_keras

# Runs exported files in a Python that has neither this package nor Lightning.
ELSEWHERE = """
import json, sys
for name in ("signs_lightning", "lightning", "torchmetrics"):
    sys.modules[name] = None
import numpy as np, onnxruntime, torch
torch.set_num_threads(1)
images, found = np.load("images.npy"), {}
for path in sys.argv[1:]:
    if path.endswith(".onnx"):
        session = onnxruntime.InferenceSession(path)
        run = lambda part: session.run(["probabilities"], {"images": part})[0]
    else:
        extra = {"metadata.json": ""}
        program = torch.export.load(path, extra_files=extra)
        found[path + "/metadata"] = np.array(extra["metadata.json"])
        module = program.module()
        run = lambda part: module(torch.from_numpy(part)).numpy()
    found[path] = np.concatenate([run(images[:1]), run(images[1:3]), run(images[3:])])
np.savez("found.npz", **found)
"""


def randomized(model, seed: int = 0):
    """Random weights and moving averages, so that BatchNorm is not the identity by chance."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.get_buffer("running_mean").normal_(0, 0.1, generator=generator)
            layer.get_buffer("running_var").uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(layer.bias, 0, 0.1, generator=generator)
    return model.eval()


MODELS = {
    "happy": lambda: HappySequential(class_names=["sad", "happy"]),
    "signs": lambda: SignsFunctional(
        num_classes=3, image_size=(64, 64, 3), class_names=["=1+1", "Größe 手", "[red]"]
    ),
    "resnet": lambda: SignsResNet50(width=4, image_size=(64, 64, 3), identity_blocks=(1, 1, 0, 0)),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Each model as both kinds of file in one folder, with the images that they are asked about."""
    folder = tmp_path_factory.mktemp("exported")
    images = random_images(8, (64, 64, 3))
    np.save(folder / "images.npy", images.numpy())
    models = {name: randomized(make()) for name, make in MODELS.items()}
    for name, model in models.items():
        for format, ending in artefacts.ENDINGS.items():
            assert export_artefact(model, folder / f"{name}{ending}", format, images) <= 1e-6
    return folder, models, images


@pytest.mark.slow
def test_elsewhere(exported):
    """In another process without this package: the model's probabilities, for batches of 1, 2 and
    5; metadata for both kinds.
    """
    folder, models, images = exported
    names = [f"{name}{ending}" for name in MODELS for ending in artefacts.ENDINGS.values()]
    # One file each, none beside it.
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "images.npy"])
    subprocess.run([sys.executable, "-W", "error", "-c", ELSEWHERE, *names], cwd=folder, check=True)
    with np.load(folder / "found.npz") as found:
        for name, model in models.items():
            expected = model.predict(images).numpy()
            assert expected.std(axis=0).min() > 1e-4  # the network tells these images apart
            for ending in artefacts.ENDINGS.values():
                assert found[name + ending].dtype == np.float32
                np.testing.assert_allclose(
                    found[name + ending], expected, rtol=0, atol=1e-6, err_msg=name + ending
                )
            metadata = json.loads(str(found[f"{name}.pt2/metadata"]))
            written = {
                entry.key: entry.value
                for entry in onnx.load(folder / f"{name}.onnx").metadata_props
            }
            texts = {k: written.pop(k) for k in ("model", "resize", "fit") if k in written}
            assert metadata == texts | {key: json.loads(value) for key, value in written.items()}
            assert metadata["model"] == type(model).__name__
            assert metadata["format_version"] == 1
            assert metadata["image_size"] == [64, 64, 3]
            assert metadata["binary"] == model.binary
            assert metadata.get("class_names") == model.hparams.class_names


@pytest.mark.slow
def test_the_file_tells_nothing_of_this_machine(exported):
    """Neither places in our code nor images of the user are in the files; the interface is what is
    documented.
    """
    folder, models, _ = exported
    package = str(Path(artefacts.__file__).parent).encode()
    for name in MODELS:
        for ending in artefacts.ENDINGS.values():
            contents = (folder / f"{name}{ending}").read_bytes()
            assert package not in contents
            assert b"pkg.torch" not in contents  # what the exporter notes about each node
            assert os.path.dirname(torch.__file__).encode() not in contents
        model = onnx.load(folder / f"{name}.onnx")
        onnx.checker.check_model(model, full_check=True)
        assert [(domain.domain, domain.version) for domain in model.opset_import] == [("", 18)]
        (image,), (probability,) = model.graph.input, model.graph.output
        sizes = [
            [size.dim_param or size.dim_value for size in v.type.tensor_type.shape.dim]
            for v in (image, probability)
        ]
        assert sizes == [["N", 64, 64, 3], ["N", models[name].num_classes]]
        assert (image.name, probability.name) == ("images", "probabilities")


@pytest.mark.slow
def test_the_model_is_not_changed(exported):
    """Exporting leaves weights, their layout in memory and what is trained as they were."""
    _, models, _ = exported
    model = models["resnet"]
    assert model.network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


@pytest.mark.parametrize("format", ["onnx", "torch"])
@pytest.mark.parametrize("fault", ["other probabilities", "NaN", "failing disk"])
def test_nothing_is_written_when_it_does_not_agree(format, fault, tmp_path, monkeypatch):
    """A file that gives other probabilities, or NaN, or cannot be written, leaves the one that was
    there.
    """
    model, path = (
        SignsFunctional(image_size=(16, 16, 3)).eval(),
        tmp_path / f"model{artefacts.ENDINGS[format]}",
    )
    path.write_text("what was there")
    if fault == "other probabilities":
        right = artefacts.ServingModule.forward
        monkeypatch.setattr(
            artefacts.ServingModule, "forward", lambda self, images: right(self, images) + 2e-4
        )
    elif fault == "NaN":
        nn.init.constant_(model.network.get_parameter("fc.bias"), float("nan"))
    else:
        monkeypatch.setattr(
            "os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
    with pytest.raises(InputError, match=r"No space left|differ by up to (0\.0002|nan)"):
        export_artefact(model, path, format, random_images(4, model.image_size))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "what was there"


def test_odd_sizes_and_grey_images(tmp_path):
    """Not square, one channel; what does not divide evenly."""
    model = randomized(SignsFunctional(num_classes=2, image_size=(37, 21, 1)))
    images = random_images(5, model.image_size)
    assert images.shape == (5, 37, 21, 1)
    for format, ending in artefacts.ENDINGS.items():
        assert export_artefact(model, tmp_path / f"model{ending}", format, images) <= 1e-6


@pytest.mark.parametrize("scale", ["raw", "tf", "caffe", "torch"])
def test_the_scale_of_a_keras_model_is_inside(scale, tmp_path):
    """The file takes bytes, whatever the model was trained on; every scale gives other
    probabilities than /255.
    """
    source = GOLDEN / "signs" / "trained.keras"
    model, plain = from_keras(source, scale=scale), from_keras(source)
    images = random_images(6, model.image_size)
    assert export_artefact(model, tmp_path / "model.onnx", "onnx", images) <= 1e-5
    assert (model.predict(images) - plain.predict(images)).abs().max() > 0.01


@pytest.mark.slow
def test_resnet50_is_one_file(tmp_path):
    """23.6 million parameters: one file of 94 MB of each kind."""
    model = randomized(SignsResNet50())
    images = random_images(6, model.image_size)
    for format, ending in artefacts.ENDINGS.items():
        assert export_artefact(model, tmp_path / f"model{ending}", format, images) <= 1e-5
        assert 93e6 < (tmp_path / f"model{ending}").stat().st_size < 96e6
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A model without data of its own."""
    save_checkpoint(SignsFunctional(image_size=(16, 16, 3)), tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt"


@pytest.mark.slow
def test_a_run_is_compared_on_its_own_images(cli, small_signs):
    """`export` of a run folder takes the run's test images, or its validation images, and says so;
    else random ones.
    """
    train, test = small_signs
    quick = [
        "--trainer.max_epochs", 1, "--trainer.enable_progress_bar", "false",
        "--data.train_file", train,
    ]  # fmt: skip
    assert cli("fit", *quick, "--data.test_file", test, "--name", "tested").code == 0
    assert cli("fit", *quick, "--data.val_fraction", 0.25, "--name", "split").code == 0
    for run, what in (("tested", "12 test images"), ("split", "15 validation images")):
        done = cli(
            "export", "--ckpt_path", f"lightning_logs/{run}/version_0", "--format", "onnx",
            "--output", f"{run} 1.onnx",
        )  # fmt: skip
        assert (done.code, done.err) == (0, "")
        assert f"\nLargest difference from the model's probabilities on {what}: " in done.out
        predict = f"python -m signs_lightning predict '{run} 1.onnx'"
        assert f"Wrote {run} 1.onnx. Next: {predict}" in done.out
    model = SignsFunctional(image_size=(32, 32, 3))
    images, what = images_to_compare(model, {"test_file": str(test)})
    assert (tuple(images.shape), what) == ((12, 32, 32, 3), "12 test images")
    images, what = images_to_compare(model, {"test_file": "gone.h5"})
    assert (tuple(images.shape), what) == ((64, 32, 32, 3), "64 random images")


def test_nothing_is_said_beside_the_result(cli, checkpoint):
    """No chatter of the exporters on either stream (a warning would fail the test)."""
    for format, ending in artefacts.ENDINGS.items():
        done = cli(
            "export", "--ckpt_path", checkpoint, "--format", format, "--output", f"model{ending}"
        )
        assert (done.code, done.err) == (0, "")
        assert len(done.out.splitlines()) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            "onnx model.pt",
            "The format onnx is written to a file that ends in .onnx, "
            "model.pt does not. Rename it.",
        ),
        (
            "torch model.onnx",
            "The format torch is written to a file that ends in .pt2, "
            "model.onnx does not. Rename it.",
        ),
        (
            "keras model.h5",
            "The format keras is written to a file that ends in .keras, "
            "model.h5 does not. Rename it.",
        ),
        (
            "onnx no/model.onnx",
            "The folder no does not exist. Make it, or choose another --output.",
        ),
        ("onnx folder.onnx", "--output folder.onnx is a folder. Name a file in it."),
        ("tflite model.tflite", "Argument --format: invalid choice: 'tflite'"),
    ],
)
def test_bad_arguments(args, message, cli, checkpoint):
    """One sentence or two, exit code 2, nothing written."""
    Path("folder.onnx").mkdir()
    before = sorted(os.listdir())
    format, output = args.split()
    done = cli("export", "--ckpt_path", checkpoint, "--format", format, "--output", output)
    assert done.code == 2
    assert done.err.startswith(message)
    assert done.err.count("\n") == 1
    assert sorted(os.listdir()) == before


def test_what_was_exported_is_not_exported_again(cli):
    """An .onnx file holds no model that could be; a .pt2 is never opened, whatever is asked."""
    Path("a.onnx").touch()
    Path("a.pt2").touch()
    done = cli("export", "--ckpt_path", "a.onnx", "--format", "torch", "--output", "b.pt2")
    sentence = "a.onnx is an exported file already. Name the checkpoint that it was made from.\n"
    assert done.err == sentence
    for verb in ("export --format onnx --output b.onnx", "predict --images a.png"):
        done = cli(*verb.split(), "--ckpt_path", "a.pt2")
        assert done.code == 2
        assert "is not read back, because opening such a file can run code" in done.err


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_the_extra_is_missing(missing, cli, checkpoint, monkeypatch):
    """One sentence with the command; torch.export needs no extra."""
    monkeypatch.setitem(sys.modules, missing, None)
    done = cli("export", "--ckpt_path", checkpoint, "--format", "onnx", "--output", "model.onnx")
    assert done.code == 2
    assert done.err == (
        f"ONNX files need the package {missing}, which is not installed: pip install "
        "'signs-lightning[onnx]'.\n"
    )
    assert not Path("model.onnx").exists()
    early = cli("export", "no.ckpt", "--output", "model.onnx")
    assert early.err == done.err, "a package is named before the checkpoint is opened"
    done = cli("export", "--ckpt_path", checkpoint, "--format", "torch", "--output", "model.pt2")
    assert done.code == 0, done.err


@pytest.mark.parametrize("reference", SIGNS, indirect=True)
def test_a_keras_file_is_exported_directly(cli, reference):
    """Keras file → ONNX → `predict`: TensorFlow's own probabilities of the test images."""
    source = reference.folder / "trained.keras"
    assert cli("export", "--ckpt_path", source, "--format", "onnx", "--output", "k.onnx").code == 0
    done = cli("predict", "--ckpt_path", "k.onnx", "--data.test_file", reference.test_file)
    assert done.code == 0, done.err
    lines = Path("predictions.csv").read_text().splitlines()[1:]
    ours = np.array([[float(value) for value in line.split(",")[4:]] for line in lines])
    np.testing.assert_allclose(ours, reference.probabilities, rtol=0, atol=1e-5)


def test_the_ending_tells_the_format(cli, checkpoint):
    """What each is, and the endings where none tells."""
    names = {"a.onnx": "onnx", "a.pt2": "torch", "a.keras": "keras", "a.h5": "keras-h5"}
    names["a.weights.h5"] = "keras-weights"
    for name, format in names.items():
        assert _format_of(name) == format
    done = cli("export", checkpoint, "--output", "model.pt2")
    assert done.code == 0, done.err
    assert Path("model.pt2").is_file()
    done = cli("export", checkpoint, "--output", "model.tflite")
    assert (done.code, done.err) == (
        2,
        "--output is model.tflite, expected a file that ends in one of .onnx, .pt2, .keras, .h5, "
        ".weights.h5, .py, .safetensors.\n",
    )
