"""H5DataModule: which files serve for what, and what the model learns from them."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import h5py
import lightning as L
import numpy as np
import pytest
import torch

from signs_lightning import H5DataModule, InputError, SignsFunctional
from signs_lightning.data import synthetic
from signs_lightning.data.direct_chunk_reader import ChunkedReader
from signs_lightning.data.open_handles import RawFile

SAID = "no checkpoint is chosen by it, last.ckpt is the result."


def contents(path: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels (N,) as h5py reads them."""
    with h5py.File(path) as file:
        return file[f"{prefix}_set_x"][()], file[f"{prefix}_set_y"][()].ravel()


def everything(loader: Iterable) -> tuple[np.ndarray, np.ndarray]:
    """All batches of a loader, one after the other."""
    images, labels = zip(*loader, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def same(loader: Iterable, images: np.ndarray, labels: np.ndarray) -> None:
    """A loader gives exactly these, in this order."""
    ours = everything(loader)
    np.testing.assert_array_equal(ours[0], images)
    np.testing.assert_array_equal(ours[1], labels)


def sorted_rows(images: np.ndarray) -> list[bytes]:
    return sorted(image.tobytes() for image in images)


def test_drawn_data_when_no_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """They are written once into the cache, in the course's schema, and read like any file; the
    first line says that it is they.
    """
    monkeypatch.setenv("SIGNS_LIGHTNING_CACHE", str(tmp_path))
    # The class's sizes, which are next, then hold.
    monkeypatch.setattr(synthetic.DrawnSigns, "__init__", lambda self: None)
    monkeypatch.setattr(synthetic.DrawnSigns, "train_size", 12)
    monkeypatch.setattr(synthetic.DrawnSigns, "test_size", 6)
    module = H5DataModule(shuffle=False, drawn="DrawnSigns")
    assert not list(tmp_path.rglob("*.h5")), "nothing is drawn before it is needed"
    module.prepare_data()
    (train,), (test,) = list(tmp_path.rglob("*train*.h5")), list(tmp_path.rglob("*test*.h5"))
    written = train.stat().st_mtime_ns
    module.setup("fit")
    same(module.train_dataloader(), *contents(train, "train"))
    same(module.val_dataloader(), *contents(test, "test"))
    assert train.stat().st_mtime_ns == written
    assert capsys.readouterr().out.splitlines() == [
        "Training on 12 drawn hands (64×64×3, 6 classes), because no file is named (data.drawn is "
        "DrawnSigns).",
        f"Validation is the test file, 6 others: {SAID}",
    ]
    assert (module.num_classes, module.image_shape) == (6, (64, 64, 3))


FORGOTTEN = {
    "fit": "There is nothing to train on. Name a file with --data.train_file, or take drawn "
    "pictures with --data.drawn DrawnSigns.",
    "validate": "There is nothing to validate on. Name a file with --data.val_file or "
    "--data.test_file, or take drawn pictures with "
    "--data.drawn DrawnSigns.",
    "test": "There is nothing to test on. Name a file with --data.test_file, or take drawn "
    "pictures with --data.drawn DrawnSigns.",
}


def test_without_test_data_validate_is_named(small_signs: tuple[Path, Path]) -> None:
    """Where there are validation images: they have figures, too."""
    module = H5DataModule(train_file=small_signs[0], val_fraction=0.2)
    with pytest.raises(InputError, match=r"--data.test_file, or see how .*: `validate RUN`\.$"):
        module.setup("test")


@pytest.mark.parametrize("stage", FORGOTTEN)
def test_nothing_is_drawn_unasked(
    stage: str, monkeypatch: pytest.MonkeyPatch, cli, tmp_path: Path
) -> None:
    """A file that was forgotten is asked for, in Python and on the command line, and nothing is
    written.
    """
    monkeypatch.setattr(synthetic.DrawnSigns, "files", lambda *args: pytest.fail("drawn"))
    module = H5DataModule()
    module.prepare_data()
    with pytest.raises(InputError) as error:
        module.setup(stage)
    assert str(error.value) == FORGOTTEN[stage]
    result = cli(stage, "--trainer.max_epochs", 1)
    missing = FORGOTTEN[stage] if stage == "fit" else f"There is no trained model to {stage}."
    assert result.code == 2
    assert result.err.startswith(missing)
    assert not list(tmp_path.iterdir())


def test_drawn_data_that_are_asked_for(
    cli, small_signs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the refusal proposes. The run's first line says it, and so does that of a test, which
    remembers it.
    """
    monkeypatch.setattr(synthetic.DrawnSigns, "files", lambda *args: small_signs)
    done = cli(
        "fit", "--data.drawn", "DrawnSigns", "--trainer.max_epochs", 1,
        "--trainer.accelerator", "cpu",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.startswith(
        "Training on 60 drawn hands (64×64×3, 6 classes), because no file is named (data.drawn is "
        "DrawnSigns).\n"
    )
    done = cli(
        "test",
        "--ckpt_path",
        "lightning_logs/signs_functional/version_0",
        "--trainer.accelerator",
        "cpu",
    )
    assert done.code == 0, done.err
    assert done.out.startswith(
        "Testing on 12 drawn hands (64×64×3, 6 classes), because no file is named (data.drawn is "
        "DrawnSigns).\n"
    )


@pytest.mark.slow
def test_drawn_data_split_as_a_checkpoint_says() -> None:
    """A run with another seed is resumed, or validated again: its split is taken, of drawn data,
    too.
    """
    first, second = (
        H5DataModule(val_fraction=0.25, seed=seed, drawn="DrawnSigns") for seed in (1, 2)
    )
    for module in (first, second):
        module.setup("fit")
    before = everything(second.val_dataloader())[0]
    second.load_state_dict(first.state_dict())
    after = everything(second.val_dataloader())[0]
    np.testing.assert_array_equal(after, everything(first.val_dataloader())[0])
    assert (before != after).any()


@pytest.mark.parametrize("role", ["train_file", "val_file", "test_file"])
def test_drawn_data_are_never_mixed_with_a_file(
    role: str, small_signs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file named, whichever: nothing is synthetic, and what is missing is an error."""
    monkeypatch.setattr(synthetic.DrawnSigns, "files", lambda *args: pytest.fail("drawn"))
    named: dict[str, Any] = {role: str(small_signs[0])}
    module = H5DataModule(**named, drawn="DrawnSigns")
    module.prepare_data()
    for stage in ("fit", "test"):
        if stage[:2] == role[:2] or (stage, role) == ("fit", "train_file"):
            module.setup(stage)
            continue
        with pytest.raises(InputError, match="There is nothing to"):
            module.setup(stage)


def test_a_test_file_is_enough_to_test(small_signs: tuple[Path, Path]) -> None:
    """And what the model must know comes from it."""
    module = H5DataModule(test_file=str(small_signs[1]), batch_size=5)
    module.setup("test")
    same(module.test_dataloader(), *contents(small_signs[1], "test"))
    same(module.predict_dataloader(), *contents(small_signs[1], "test"))
    assert (module.num_classes, module.class_names) == (6, ["0", "1", "2", "3", "4", "5"])
    assert module.image_shape == (64, 64, 3)


def test_a_training_file_is_enough_to_train(
    small_signs: tuple[Path, Path], recwarn: pytest.WarningsRecorder
) -> None:
    """Without any validation, and without a word about that."""
    module = H5DataModule(train_file=str(small_signs[0]), shuffle=False)
    module.setup("fit")
    same(module.train_dataloader(), *contents(small_signs[0], "train"))
    assert list(module.val_dataloader()) == []
    assert not recwarn.list


def test_fit_without_validation_is_quiet(small_signs: tuple[Path, Path], cli) -> None:
    """A training file alone trains, and nothing warns about the validation that there is not."""
    result = cli(
        "fit",
        "--data.train_file",
        small_signs[0],
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
    )
    assert (result.code, result.err) == (0, "")


def test_validation_on_the_test_file_is_said_once(
    small_signs: tuple[Path, Path], capsys: pytest.CaptureFixture
) -> None:
    """Once, however often a loader is asked for or `setup` is called again."""
    module = H5DataModule(train_file=str(small_signs[0]), test_file=str(small_signs[1]))
    for _ in range(2):
        module.setup("fit")
        module.val_dataloader()
    train, test = small_signs
    assert capsys.readouterr().out.splitlines() == [
        f"Training on 60 images in {train} (64×64×3, 6 classes; images train_set_x, labels "
        "train_set_y).",
        f"Validation is the test file, 12 images in {test} (images test_set_x, labels "
        f"test_set_y): {SAID}",
    ]
    assert module.validates_on_test_file
    same(module.val_dataloader(), *contents(small_signs[1], "test"))


def test_a_validation_file(small_signs: tuple[Path, Path], capsys: pytest.CaptureFixture) -> None:
    """A file of its own: its layout is all that is said, and the test file is not touched."""
    module = H5DataModule(
        train_file=str(small_signs[0]), val_file=str(small_signs[1]), test_file="/nowhere.h5"
    )
    module.setup("fit")
    same(module.val_dataloader(), *contents(small_signs[1], "test"))
    assert SAID not in capsys.readouterr().out
    assert not module.validates_on_test_file


def test_a_fraction_of_the_training_file(small_signs: tuple[Path, Path]) -> None:
    """Training and validation together are the file, apart they share nothing, and each class has
    its share.
    """
    module = H5DataModule(
        train_file=str(small_signs[0]), test_file="/nowhere.h5", val_fraction=0.2, seed=3
    )
    module.setup("fit")
    images, labels = contents(small_signs[0], "train")
    train, val = everything(module.train_dataloader()), everything(module.val_dataloader())
    assert sorted_rows(np.concatenate([train[0], val[0]])) == sorted_rows(images)
    np.testing.assert_array_equal(np.bincount(val[1]), np.bincount(labels) * 0.2)
    again = H5DataModule(train_file=str(small_signs[0]), val_fraction=0.2, seed=3)
    again.setup("validate")
    same(again.val_dataloader(), *val)


@pytest.mark.parametrize("twin", ["val_file", "test_file"])
def test_the_same_file_twice_warns_once(twin: str, small_signs: tuple[Path, Path]) -> None:
    """One warning, not one for each call."""
    roles: dict[str, Any] = dict.fromkeys(["train_file", twin], str(small_signs[0]))
    module = H5DataModule(**roles)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module.setup("fit")
        module.setup("fit")
        list(module.val_dataloader())
    assert [str(w.message) for w in caught] == [
        f"{small_signs[0]} serves for training and for validation: the "
        "validation figures mean nothing."
    ]


def symbolic_link(path: Path) -> str:
    Path("link.h5").symlink_to(path)
    return "link.h5"


def hard_link(path: Path) -> str:
    os.link(path, "hard.h5")
    return "hard.h5"


ALIASES: dict[str, Callable[[Path], Any]] = {
    "symbolic link": symbolic_link,
    "hard link": hard_link,
    "relative path": lambda path: f"../{path.parent.name}/./{path.name}",
    "pattern": lambda path: "*ne.h5",
    "list": lambda path: [str(path.with_name("two.h5")), "./one.h5"],
}


@pytest.mark.parametrize("alias", ALIASES)
def test_one_file_under_two_names(
    alias: str, small_signs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two roles that share a file are warned of, however it is written, when the figures come
    about.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("one.h5", "two.h5"):
        shutil.copy(small_signs[0], name)
    one = tmp_path / "one.h5"
    other = ALIASES[alias](one)
    said = {
        "other": "./one.h5" if alias == "list" else "one.h5" if alias == "pattern" else other,
        "one": one,
    }

    def warned(stage: str, **files: Any) -> list[str]:
        module = H5DataModule(**files)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module.setup(stage)
        return [str(w.message) for w in caught]

    name = f"{said['other']}, which is {one} under another name, serves for"
    validation = f"{name} training and for validation: the validation figures mean nothing."
    test = f"{name} training and for the test: the test figures mean nothing."
    chosen = (
        f"{name} validation and for the test: the test figures are of images "
        "that chose the checkpoint."
    )
    train, two = str(one), str(small_signs[1])
    assert warned("fit", train_file=train, val_file=other) == [validation]
    assert warned("fit", train_file=train, test_file=other) == [validation]  # which is validated on
    assert warned("validate", train_file=train, val_file=other) == [validation]
    assert warned("fit", train_file=train, val_file=two, test_file=other) == [test]
    assert warned("fit", train_file=train, val_fraction=0.2, test_file=other) == [test]
    assert warned("test", train_file=train, val_fraction=0.2, test_file=other) == [test]
    assert warned("test", train_file=two, val_file=train, test_file=other) == [chosen]
    assert warned("fit", train_file=train, val_fraction=0.2, test_file=two) == []
    assert warned("test", train_file="moved.h5", test_file=other) == []


def test_a_file_that_is_named_twice_for_one_role(
    small_signs: tuple[Path, Path], tmp_path: Path
) -> None:
    """By a pattern besides its name: its images count twice, and it is said."""
    shutil.copy(small_signs[0], tmp_path / "a.h5")
    module = H5DataModule([str(tmp_path / "a.h5"), str(tmp_path / "*.h5")])
    with pytest.warns(
        UserWarning, match=r"a\.h5 is named twice by --data\.train_file: its images count twice\.$"
    ):
        module.setup("fit")


def test_a_file_with_test_keys_trains(small_smiles: tuple[Path, Path]) -> None:
    """The prefix of the keys says nothing about the role."""
    module = H5DataModule(train_file=str(small_smiles[1]), val_fraction=0.5, shuffle=False)
    module.setup("fit")
    images, _ = contents(small_smiles[1], "test")
    ours = np.concatenate(
        [everything(module.train_dataloader())[0], everything(module.val_dataloader())[0]]
    )
    assert sorted_rows(ours) == sorted_rows(images)
    assert module.class_names == ["not smiling", "smiling"]


def test_arrays_instead_of_files() -> None:
    """Pairs of NumPy arrays; the number of classes is that of the labels."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (10, 8, 6, 1), dtype=np.uint8), np.arange(10) % 3
    module = H5DataModule(train_file=(x, y), val_file=(x[:4], y[:4]), shuffle=False, batch_size=3)
    module.setup("fit")
    same(module.train_dataloader(), x, y)
    same(module.val_dataloader(), x[:4], y[:4])
    assert (module.num_classes, module.class_names, module.image_shape) == (3, None, (8, 6, 1))


@pytest.mark.parametrize(
    ("image_size", "shape"), [(None, (64, 64, 3)), (32, (32, 32, 3)), ((48, 20), (48, 20, 3))]
)
def test_image_size(image_size: Any, shape: tuple, small_signs: tuple[Path, Path]) -> None:
    """What the model sees; the batches keep the file's size, because resizing happens on the
    device.
    """
    module = H5DataModule(test_file=str(small_signs[1]), image_size=image_size)
    module.setup("test")
    assert module.image_shape == shape
    assert next(iter(module.test_dataloader()))[0].shape == (12, 64, 64, 3)


def test_orders(small_signs: tuple[Path, Path]) -> None:
    """Training is shuffled by the seed unless told otherwise; validation is in file order."""
    files: dict[str, Any] = {"train_file": str(small_signs[0]), "val_file": str(small_signs[1])}
    images, _ = contents(small_signs[0], "train")
    found = {}
    runs: dict[str, dict[str, Any]]
    runs = {"a": {"seed": 1}, "b": {"seed": 1}, "c": {"seed": 2}, "d": {"shuffle": False}}
    for name, options in runs.items():
        module = H5DataModule(**files, **options)
        module.setup("fit")
        found[name] = everything(module.train_dataloader())[0]
        same(module.val_dataloader(), *contents(small_signs[1], "test"))
    np.testing.assert_array_equal(found["a"], found["b"])
    np.testing.assert_array_equal(found["d"], images)
    for name in "ac":
        assert not np.array_equal(found[name], images)
        assert sorted_rows(found[name]) == sorted_rows(images)
    assert not np.array_equal(found["a"], found["c"])


def primitive(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and primitive(item) for key, item in value.items())
    if isinstance(value, list):
        return all(primitive(item) for item in value)
    return value is None or type(value) in (str, int, float, bool)


def test_what_a_checkpoint_keeps(small_signs: tuple[Path, Path], tmp_path: Path) -> None:
    """Plain values, also of paths, tuples and arrays, which `weights_only=True` loads."""
    for options in (
        {"train_file": small_signs[0], "image_size": (32, 48), "val_fraction": 0.25},
        {"train_file": [small_signs[0]], "test_file": [str(small_signs[1])]},
        {"train_file": (np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1]))},
    ):
        state = H5DataModule(**options).state_dict()
        assert primitive(state), state
        torch.save(state, tmp_path / "state.pt")
        assert torch.load(tmp_path / "state.pt", weights_only=True) == state


@pytest.mark.parametrize("when", ["before setup", "after setup"])
def test_the_split_comes_back_from_a_checkpoint(when: str, small_signs: tuple[Path, Path]) -> None:
    """A module with another seed takes the checkpoint's: the same validation images, and the same
    order.
    """
    options: dict[str, Any] = {"train_file": str(small_signs[0]), "val_fraction": 0.25}
    first, second = H5DataModule(**options, seed=11), H5DataModule(**options, seed=12)
    first.setup("fit")
    if when == "after setup":
        second.setup("fit")
        assert not np.array_equal(
            everything(second.val_dataloader())[0], everything(first.val_dataloader())[0]
        )
    second.load_state_dict(first.state_dict())
    second.setup("fit")
    same(second.val_dataloader(), *everything(first.val_dataloader()))
    same(second.train_dataloader(), *everything(first.train_dataloader()))


def test_images_for_pictures(small_signs: tuple[Path, Path]) -> None:
    """The first images of a role, and no more than there are."""
    module = H5DataModule(test_file=str(small_signs[1]))
    module.setup("test")
    images, labels = contents(small_signs[1], "test")
    for count in (3, 99):
        ours = module.images("test", count)
        np.testing.assert_array_equal(ours[0], images[:count])
        np.testing.assert_array_equal(ours[1], labels[:count])


@pytest.mark.parametrize("reading", ["resident", "streamed"])
def test_images_for_pictures_unpack_each_chunk_once(
    reading: Literal["resident", "streamed"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks, and not image by image; those that are in memory are not read again."""
    x = np.random.default_rng(0).integers(0, 256, (90, 6, 6, 3), dtype=np.uint8)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("x", data=x, chunks=(30, 6, 6, 3), compression="gzip")
        file["y"] = np.arange(90) % 3
    unpacked = []
    original = ChunkedReader._unpack
    module = H5DataModule(
        train_file=str(tmp_path / "f.h5"), val_fraction=0.1, reading=reading, batch_size=90
    )
    module.setup("fit")
    loader = module.train_dataloader()

    def counted(self: ChunkedReader, handle: RawFile, *place: int) -> Any:
        unpacked.append(place)
        return original(self, handle, *place)

    monkeypatch.setattr(ChunkedReader, "_unpack", counted)
    images, labels = module.images("train", 50)
    assert len(unpacked) == (0 if reading == "resident" else 2)
    subset = module._datasets["train"].subset[:50]
    np.testing.assert_array_equal(images, x[subset])
    np.testing.assert_array_equal(labels, subset % 3)
    assert len(next(iter(loader))[0]) == 81
    unpacked.clear()
    module._datasets["val"].__getitems__([8, 0, 4, 0, 1])  # a batch of images that share chunks
    assert len(unpacked) == len(set(unpacked)) <= 3


@pytest.mark.parametrize("split", [{}, {"val_fraction": 0.25}])
def test_every_loader_after_any_stage(split: dict, small_signs: tuple[Path, Path]) -> None:
    """After a fit and a test in one Python session there are training images, too."""
    options: dict[str, Any] = {"train_file": str(small_signs[0]), "test_file": str(small_signs[1])}
    fresh, module = (H5DataModule(**options, **split, shuffle=False) for _ in range(2))
    fresh.setup("fit")
    train, val = everything(fresh.train_dataloader()), everything(fresh.val_dataloader())
    for stages in (("fit", "test"), ("test",), ("predict",), ("validate", "test")):
        for stage in stages:
            module.setup(stage)
        same(module.train_dataloader(), *train)
        same(module.val_dataloader(), *val)
        same(module.test_dataloader(), *contents(small_signs[1], "test"))
        same(module.val_dataloader(), *val)
        np.testing.assert_array_equal(module.images("train", 3)[0], train[0][:3])


def test_no_loader_without_a_file(small_signs: tuple[Path, Path]) -> None:
    """A loader of a role that no option names says so."""
    module = H5DataModule(test_file=str(small_signs[1]))
    module.setup("test")
    with pytest.raises(
        InputError, match=r"nothing to train on\. Name a file with --data.train_fil"
    ):
        module.train_dataloader()


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.parametrize("reading", ["mapped", "streamed", "resident"])
def test_lightning_predicts_every_image(
    reading: Literal["mapped", "streamed", "resident"], small_signs: tuple[Path, Path]
) -> None:
    """Lightning makes the loader anew for it: whole batches, and the model's own probabilities."""
    module = H5DataModule(test_file=str(small_signs[1]), reading=reading, batch_size=5)
    options: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer, model = L.Trainer(accelerator="cpu", **options), SignsFunctional()
    found: Any = trainer.predict(model, module)
    assert [len(batch) for batch in found] == [5, 5, 2]
    images, _ = contents(small_signs[1], "test")
    np.testing.assert_allclose(torch.cat(found), model.predict(images), rtol=0, atol=1e-6)
