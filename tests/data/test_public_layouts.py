"""Every layout of public_layouts.py is read as it is, by one command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from forks import Finished
from public_layouts import LAYOUTS, Content, PublicLayout, as_arguments, draw, text_labels

from signs_lightning import H5DataModule, InputError
from signs_lightning.data.datamodule import Role

NEXT = re.compile(r"next: python -m signs_lightning (fit .*)")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "your-own-data.md"


def cases(layouts: list[PublicLayout]) -> list:
    """One parameter a layout, by its generator's name."""
    slow = [pytest.mark.slow]
    return [pytest.param(k, id=k.name, marks=slow if k.is_slow else []) for k in layouts]


@pytest.fixture
def written(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[PublicLayout, Content]:
    """A layout, and what its files in the working folder hold."""
    layout = request.param
    if layout.needs:
        pytest.importorskip(layout.needs)
    monkeypatch.chdir(tmp_path)
    return layout, layout.write(tmp_path)


@pytest.mark.parametrize("written", cases([k for k in LAYOUTS if k.flag]), indirect=True)
def test_the_flag_is_named_where_it_is_missing(
    written: tuple[PublicLayout, Content], capsys: pytest.CaptureFixture
) -> None:
    """By the error, or by a line where the files can be used without it, too."""
    layout, _ = written
    error = ""
    try:
        H5DataModule(**as_arguments(layout.options)).setup("fit")
    except InputError as refusal:
        error = str(refusal)
    said = error + capsys.readouterr().out
    option, _, value = layout.flag.partition(" ")
    assert option in said
    assert option == "--data.image_size" or value in said  # the size is anyone's choice


@pytest.mark.parametrize("written", cases(LAYOUTS), indirect=True)
def test_images_and_labels(written: tuple[PublicLayout, Content]) -> None:
    """Those that the generator drew, in every role; a test alone knows the same classes."""
    layout, content = written
    arguments = as_arguments(f"{layout.options} {layout.flag}")
    arguments.pop("val_fraction", None)
    for stage, roles in (("fit", ("train", "val")), ("test", ("test",))):
        data = H5DataModule(**arguments)
        if content.roles.keys() & set(roles):
            data.setup(stage)
            assert data.class_names == content.class_names
        for role in content.roles.keys() & set(roles):
            check_role(data, role, content, layout.tolerance)  # type: ignore[arg-type]


def check_role(data: H5DataModule, role: Role, content: Content, tolerance: int) -> None:
    """Compare a role's images and labels with the generator's."""
    expected, labels = content.roles[role]
    images, found = data.images(role, len(labels) + 1)
    assert images.shape == expected.shape
    if images.dtype != np.uint8:  # floats as the file has them
        images = np.rint(images * (255 / data.run_values.numbers[1])).astype(np.uint8)
    assert np.abs(images.astype(int) - expected).max() <= tolerance
    np.testing.assert_array_equal(found, labels)
    assert data.num_classes == max(labels.max() + 1 for _, labels in content.roles.values())
    assert data.image_shape == expected.shape[1:]


@pytest.mark.slow
@pytest.mark.parametrize("written", cases(LAYOUTS), indirect=True)
def test_every_command(written: tuple[PublicLayout, Content], fork: Callable) -> None:
    """`inspect` prints the command that trains on the files; test, predict and report follow."""
    layout, content = written

    def run(*args: object) -> Finished:
        result = fork(*args).wait()
        assert result.code == 0, f"{args}\n{result.out}\n{result.err}"
        return result

    if layout.is_slow:  # thousands of files, each in a process of its own
        command = layout.command.removeprefix("python -m signs_lightning ")
    else:
        command = fit_command(layout, fork)
    run(*shlex.split(command), "--trainer.max_epochs", 2, "--name", "run")
    checkpoint = "lightning_logs/run/version_0"
    other = [] if "test" in content.roles else ["--data.test_file", layout.files[0]]
    run("test", "--ckpt_path", checkpoint, *other)
    run("predict", "--ckpt_path", checkpoint, *other, "--output", "predictions.csv")
    role = "test" if "test" in content.roles else "train"
    count = 1 if layout.is_slow else len(content.roles[role][1])  # the first of many files
    assert len(Path("predictions.csv").read_text().splitlines()) == 1 + count
    run("report", checkpoint)
    assert Path(checkpoint, "report", "report.html").is_file()


def fit_command(layout: PublicLayout, fork: Callable) -> str:
    """Return the fit that `inspect` prints; it has the flag, which a first `inspect` named."""
    result = fork("inspect", *layout.files).wait()
    commands = NEXT.findall(result.out)
    if layout.flag and not (commands and layout.flag in commands[-1]):
        assert layout.flag.partition(" ")[0] in result.out
        result = fork("inspect", *layout.files, *layout.flag.split()).wait()
        commands = NEXT.findall(result.out)
    assert result.code == 0, result.out
    assert commands, result.out
    command = commands[-1]
    printed = as_arguments(command.removeprefix("fit "))
    assert as_arguments(f"{layout.options} {layout.flag}").items() <= printed.items()
    return command


def test_the_docs_list_every_layout() -> None:
    """Title and command of each, in the same order."""
    section = DOCS.read_text(encoding="utf-8").partition("## Public data sets\n")[2]
    table = re.findall(r"^\| (.+?) \| (.+) \| `(fit .+)` \|$", section.partition("\n## ")[0], re.M)
    commands = [k.command.removeprefix("python -m signs_lightning ") for k in LAYOUTS]
    assert [(title, command) for title, _, command in table] == [
        (layout.title, command) for layout, command in zip(LAYOUTS, commands, strict=True)
    ]


def test_words_are_numbered_alike_after_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A checkpoint's state meets a test set that has opened the training file for its words only:
    nothing has changed, and nothing is said.
    """
    monkeypatch.chdir(tmp_path)
    text_labels(tmp_path)
    files: dict[str, Any] = {"train_file": "animals_train.h5", "test_file": "animals_test.h5"}
    first, second = H5DataModule(**files), H5DataModule(**files)
    first.setup("fit")
    second.setup("test")
    capsys.readouterr()
    second.load_state_dict(first.state_dict())
    assert capsys.readouterr().out == ""
    assert second.class_names == first.class_names


def test_a_file_of_labels_with_the_images_key(tmp_path: Path) -> None:
    """Both files have one dataset each, of one name: the numbers are the labels."""
    images, labels = draw(30, 3)
    for name, values in (("images", images), ("labels", labels)):
        with h5py.File(tmp_path / f"train_{name}.h5", "w") as file:
            file["data"] = values
    data = H5DataModule(train_file=str(tmp_path / "train_images.h5"))
    data.setup("fit")
    check_role(data, "train", Content({"train": (images, labels)}), 0)
