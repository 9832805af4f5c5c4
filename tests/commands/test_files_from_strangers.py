"""Every verb that opens a file, on files that crash HDF5, or that it is not trusted with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hostile_hdf5 import make_crashing, make_endless
from PIL import Image
from references import GOLDEN
from untrusted_filters import pack, write_untrusted

from signs_lightning.__main__ import main
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.runtime import file_guard

pytestmark = pytest.mark.slow
CRASH = "crashed the library that reads it (signal SIGSEGV)"
FIT = "--trainer.max_epochs 1 --trainer.default_root_dir runs"
SCRIPT = """
import h5py
from tensorflow import keras

with h5py.File("train.h5") as file:
    x, y = file["x"][:] / 255.0, file["y"][:]
model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x, y, epochs=1)
"""

IMPORT = "import-keras data.h5 --output model.ckpt"
DATA_VERBS = {  # with the file of data
    "fit": f"fit --data.train_file DATA --data.val_fraction 0.25 {FIT}",
    "fit, several files": f"fit --data.train_file [good.h5,DATA] --data.val_fraction 0.25 {FIT}",
    "fit, its configuration": f"fit --config data.yaml --data.val_fraction 0.25 {FIT}",
    "validate": "validate RUN --data.val_file DATA --data.val_fraction null",
    "test": "test RUN --data.test_file DATA",
    "predict": "predict RUN --data.test_file DATA --output out.csv",
    "report": "report RUN --data.test_file DATA --output out",
    "convert": "convert DATA --output out",
    "translate": "translate script.py --data.train_file DATA --output out",
    "inspect": "inspect DATA",
}
MODEL_VERBS = {  # with a Keras file
    "fit": "fit --model FromKeras --model.path MODEL --data.train_file good.h5 "
    f"--data.val_fraction 0.25 {FIT}",
    "validate": "validate MODEL --data.val_file good.h5",
    "test": "test MODEL --data.test_file good.h5",
    "predict": "predict MODEL a.png --output out.csv",
    "report": "report MODEL --data.test_file good.h5 --output out",
    "summary": "summary MODEL",
    "export": "export MODEL --output out.safetensors --format safetensors",
    "verify": "verify MODEL --against RUN",
    "verify against": "verify RUN --against MODEL",
    "demo": "demo MODEL --port 0",
    "import-keras": "import-keras MODEL --output out.ckpt",
    "inspect": "inspect MODEL",
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run."""
    folder = tmp_path_factory.mktemp("run")
    with h5py.File(folder / "good.h5", "w") as file:
        file["x"] = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8)
        file["y"] = np.arange(24) % 3
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(f"fit --data.train_file good.h5 --data.val_fraction 0.25 {FIT}".split()) == 0
    return folder / "runs/lightning_logs/signs_functional/version_0"


@pytest.fixture
def run_verb(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[[str], str]:
    """Runs a verb as the command line does, and returns the sentence of its refusal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGNS_LIGHTNING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "2000")
    monkeypatch.setattr(file_guard, "_guards", [])
    (tmp_path / "good.h5").symlink_to(run_folder.parents[3] / "good.h5")
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "data.yaml").write_text("data:\n  train_file: data.h5\n")
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    before = set(tmp_path.iterdir()) | {tmp_path / name for name in ("cache", "runs")}

    def run(line: str) -> str:
        names = {"DATA": "data.h5", "MODEL": "model.h5", "RUN": str(run_folder)}
        args = [_replace(word, names) for word in line.split()]
        code = main(args, own_process=True)
        for guard in file_guard._guards:
            guard.end()
        out, err = capfd.readouterr()
        said = out if args[0] == "inspect" else err
        assert code == (1 if args[0] == "inspect" else 2), (out, err)
        assert "Traceback" not in out + err
        left = {path for path in tmp_path.iterdir() if path.suffix != ".h5"}
        assert left - {tmp_path / "runs"} <= before
        assert not list((tmp_path / "runs").rglob("*.ckpt"))
        return said

    return run


def _replace(word: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        word = word.replace(name, value)
    return word


@pytest.mark.parametrize("verb", DATA_VERBS)
@pytest.mark.parametrize("packing", ["scale-offset", "n-bit", "szip", "crash"])
def test_data(
    packing: str,
    verb: str,
    run_verb: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The filter is named, with the command that rewrites the file; a crash is a sentence."""
    path = tmp_path / "data.h5"
    if packing != "crash":
        said = run_verb_on(write_untrusted(path, packing, "x"), DATA_VERBS[verb], run_verb)
        assert f"is packed by {packing}, which is not unpacked here" in said
        command = "convert data.h5 --output data_plain.h5"
        assert f"`python -m signs_lightning {command}`" in said
        return
    path.write_bytes((tmp_path / "good.h5").read_bytes())
    monkeypatch.setattr(file_guard, "CHILD", "naive_reader")
    if verb == "inspect":  # reads no such attribute
        pytest.skip("is not read by it")
    assert CRASH in run_verb_on(make_crashing(path), DATA_VERBS[verb], run_verb)


@pytest.mark.parametrize("verb", MODEL_VERBS)
@pytest.mark.parametrize("packing", ["scale-offset", "n-bit", "szip", "crash"])
def test_keras_files(
    packing: str,
    verb: str,
    run_verb: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same of a Keras file, one of whose weights is packed."""
    path = tmp_path / "model.h5"
    path.write_bytes((GOLDEN / "signs/trained.h5").read_bytes())
    if packing != "crash":
        with h5py.File(path, "a") as file:
            weights = file["model_weights/dense/dense"]
            values = weights["kernel"][()]
            del weights["kernel"]
            pack(weights, "kernel", values, packing)
        said = run_verb_on(path, MODEL_VERBS[verb], run_verb)
        assert f"is packed by {packing}, which is not unpacked here" in said
        assert "`python -m signs_lightning convert model.h5 --output model_plain.h5`" in said
        return
    if verb in ("inspect", "import-keras"):
        pytest.skip("a process of its own reads it")
    monkeypatch.setattr(file_guard, "CHILD", "naive_reader")
    assert CRASH in run_verb_on(make_crashing(path), MODEL_VERBS[verb], run_verb)


@pytest.mark.parametrize("line", ["convert data.h5 --output plain.h5", IMPORT])
def test_what_is_never_read_to_its_end(
    line: str, run_verb: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not called plain values that need no rewriting, nor waited for ten minutes.

    On a busy machine the limit of 30 s is reached before that of computing.
    """
    monkeypatch.setattr(file_guard, "PROCESSOR_SECONDS", 3)
    said = run_verb_on(make_endless(tmp_path / "data.h5"), line, run_verb)
    assert ("cannot be rewritten" in said) == line.startswith("convert")
    limits = "s of computing: reading it does not end. Fetch or write it again.", "within 30 s"
    assert any(limit in said for limit in limits)


@pytest.mark.parametrize("packing", ["n-bit", "szip"])
def test_a_rewritten_keras_file(
    packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of the message gives the model of the file that Keras wrote, to the last bit."""
    monkeypatch.chdir(tmp_path)
    content = (GOLDEN / "signs/trained.h5").read_bytes()
    for name in ("keras.h5", "model.h5"):
        (tmp_path / name).write_bytes(content)
    with h5py.File("model.h5", "a") as file:
        weights = file["model_weights/dense/dense"]
        values = weights["kernel"][()]
        del weights["kernel"]
        pack(weights, "kernel", values, packing)
    assert main(["convert", "model.h5", "--output", "model_plain.h5"]) == 0
    expected, found = (from_keras(name).state_dict() for name in ("keras.h5", "model_plain.h5"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def run_verb_on(path: Path, line: str, run_verb: Callable[[str], str]) -> str:
    """Run a verb, and check that the file is left as it was."""
    before = path.read_bytes()
    said = run_verb(line)
    assert path.read_bytes() == before
    return said
