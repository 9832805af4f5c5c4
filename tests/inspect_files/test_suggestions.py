"""What a message suggests is done, and leads on: the option, the command or the line of Python."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from signs_lightning import H5DataModule, InputError
from signs_lightning.data.hdf5_opening import open_hdf5
from signs_lightning.inspect.examine_file import examine
from signs_lightning.runtime.file_signatures import describe_non_hdf5

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, so that names are as short as a user's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, **datasets: Any) -> None:
    """Write an HDF5 file; `a__b` is dataset b of group a."""
    with h5py.File(name, "w") as file:
        for key, values in datasets.items():
            if isinstance(values, list):  # of encoded pictures
                dataset = file.create_dataset(key, len(values), h5py.vlen_dtype(np.uint8))
                for number, value in enumerate(values):
                    dataset[number] = np.frombuffer(value, np.uint8)
            else:
                file[key.replace("__", "/")] = values


def load(**options: Any) -> torch.Tensor:
    """Load the first batch that a fit would; a message becomes an `InputError`."""
    module = H5DataModule(batch_size=4, num_workers=0, **options)
    module.prepare_data()
    module.setup("fit")
    images: torch.Tensor = next(iter(module.train_dataloader()))[0]
    return images


def refused(**options: Any) -> str:
    with pytest.raises(InputError) as error:
        load(**options)
    return str(error.value)


def suggested_options(text: str) -> dict[str, Any]:
    """The options of the data in a message, with the values that it gives them."""
    pairs = re.findall(r"--data\.(\w+) ([^\s`,]+(?:,[^\s`,]+)*)", text)
    return {
        key: yaml.safe_load(value.rstrip("."))
        for key, value in pairs
        if value[0].isalnum() or value.startswith("-")
    }


def commands(text: str) -> list[str]:
    """What stands between backticks in a message."""
    return re.findall("`([^`]+)`", text)


def run_shell(command: str) -> None:
    """Run a command of the system's shell, if its program is installed."""
    program = shlex.split(command)[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    subprocess.run(command, shell=True, check=True, capture_output=True)


def jpeg(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def write_pictures(name: str, sizes: tuple[int, ...]) -> None:
    for kind in "ab":
        Path(name, kind).mkdir(parents=True)
        for size in sizes:
            Image.fromarray(IMAGES[0]).resize((size, 20)).save(f"{name}/{kind}/{size}.png")


# content of a.h5 → options that lead to the message, options that stand in place of a name in it
MESSAGES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "several images": ({"a": IMAGES, "b": IMAGES, "c": LABELS}, {}, {"images_key": "b"}),
    "several labels": ({"x": IMAGES, "u": LABELS, "v": LABELS}, {}, {"labels_key": "v"}),
    "no labels": ({"x": IMAGES}, {}, {"train_labels_file": "labels.h5"}),
    "rows of colours": ({"x": IMAGES.reshape(12, -1), "y": LABELS}, {}, {}),
    "rows of grey": ({"x": IMAGES[:, :8, :, 0].reshape(12, -1), "y": LABELS}, {},
                     {"row_shape": [8, 16]}),
    "no square": ({"x": IMAGES[:, :8, :, 0].reshape(12, -1), "y": LABELS}, {"axes": "H,W"},
                  {"row_shape": [8, 16]}),
    "pictures of all sizes": ({"images": [jpeg(16, 16 + k) for k in range(6)],
                               "labels": np.arange(6) % 3}, {}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", MESSAGES)
def test_options(case: str) -> None:
    """The option that the message names, with its value or one of the user's, and nothing else."""
    content, options, values = MESSAGES[case]
    write("a.h5", **content)
    write("labels.h5", y=LABELS)
    message = refused(train_file="a.h5", **options)
    for key in values:
        assert f"--data.{key}" in message
    first = re.split(" or `", message)[0] if "`--data.axes H,W,C` or" in message else message
    found = {k: v for k, v in suggested_options(first).items() if k not in values}
    assert found or values
    assert load(train_file="a.h5", **{**options, **found, **values}).shape[0] == 4
    if first != message:  # the other one that it offers
        other = suggested_options(message.partition(" or ")[2])
        assert load(train_file="a.h5", **other).shape[0] == 4


@pytest.mark.filterwarnings("ignore:.*serves for training and for validation")
def test_options_to_drop_or_to_raise() -> None:
    """An option too many, one that cannot be followed, one that is too small."""
    write("a.h5", x=IMAGES, y=LABELS)
    message = refused(train_file="a.h5", val_file="a.h5", val_fraction=0.2)
    assert message == "val_file and val_fraction are both given. Drop one of them."
    load(train_file="a.h5", val_file="a.h5")
    load(train_file="a.h5", val_fraction=0.2)
    assert "Raise it" in refused(train_file="a.h5", val_fraction=0.01)
    load(train_file="a.h5", val_fraction=0.5)
    with h5py.File("gzip.h5", "w") as file:
        file.create_dataset("x", data=IMAGES, compression="gzip")
        file["y"] = LABELS
    assert "Drop --data.reading" in refused(train_file="gzip.h5", reading="mapped")
    load(train_file="gzip.h5")


def test_a_role_of_its_own(capfd: pytest.CaptureFixture) -> None:
    """The line that says what else is in a file, and the one on labels that begin at 1."""
    write("a.h5", X_train=IMAGES, y_train=LABELS + 1, X_test=IMAGES[:6], y_test=LABELS[:6] + 1)
    load(train_file="a.h5")
    said = capfd.readouterr().out
    assert "--data.file in place of --data.train_file takes them, too." in said
    assert suggested_options(said)["label_offset"] == -1
    load(file="a.h5", label_offset=-1)
    said = capfd.readouterr().out
    assert "the test file, 6 images in a.h5 (images X_test, labels y_test)" in said
    assert "label_offset" not in said
    write("b.h5", x=IMAGES, y=LABELS + 2)
    load(train_file="b.h5", label_offset=-1)
    said = capfd.readouterr().out
    assert "If labels begin at 2," in said
    assert suggested_options(said)["label_offset"] == -2


def test_a_class_without_images() -> None:
    """A model trains on none of it; a test file need not have all of its classes."""
    names = np.array(["a", "b", "c"], "S")
    write("train_a.h5", train_set_x=IMAGES, train_set_y=LABELS // 2, list_classes=names)
    write("test_a.h5", test_set_x=IMAGES, test_set_y=LABELS // 2, list_classes=names)
    facts = [dict(examine(x, {}, 10).facts) for x in ("train_a.h5", "test_a.h5")]
    assert facts[0]["labels"] == "No training image has label 2: output 2 is never trained."
    assert "labels" not in facts[1]


def test_nothing_to_train_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn pictures, which are black here, since drawing takes seconds."""
    monkeypatch.setenv("SIGNS_LIGHTNING_CACHE", str(folder))
    monkeypatch.setattr(
        "signs_lightning.data.synthetic.draw_hand", lambda *_: np.zeros((64, 64, 3), np.uint8)
    )
    assert load(**suggested_options(refused())).shape == (4, 64, 64, 3)


def test_folders() -> None:
    """Of pictures of several sizes; of HDF5 files; of neither."""
    write_pictures("photos", (16, 17, 18))
    message = refused(train_file="photos")
    assert load(train_file="photos", **suggested_options(message)).shape[0] == 4
    Path("shards").mkdir()
    write("shards/1.h5", x=IMAGES, y=LABELS)
    pattern = re.findall("'([^']+)'", refused(train_file="shards"))[-1]
    assert load(train_file=pattern).shape == (4, 16, 16, 3)


def test_nearest_names() -> None:
    """A missing file and a macOS companion."""
    write("good.h5", x=IMAGES, y=LABELS)
    match = re.search(r"Did you mean (.+)\?", refused(train_file="god.h5"))
    assert match is not None
    load(train_file=match[1])
    Path("._good.h5").write_bytes(bytes.fromhex("0005160700020000") + bytes(4088))
    assert "Use the file without `._` in its name." in refused(train_file="._good.h5")
    load(train_file="._good.h5".replace("._", ""))
    Path("model.onnx").write_bytes(Path("good.h5").read_bytes())
    assert "Give it an .h5 name." in examine("model.onnx", {}, 1).problem
    assert examine(str(Path("model.onnx").rename("model.h5")), {}, 1).problem == ""


def test_labels_that_are_no_class_numbers() -> None:
    """Probabilities: the expression in the message makes class numbers of them, and the option
    takes them as they are.
    """
    labels = RNG.random((12, 3))
    write("a.h5", x=IMAGES, y=labels)
    expression, option = commands(refused(train_file="a.h5"))
    assert option == "--model.task regression"
    load(train_file="a.h5", task="regression")
    write("b.h5", x=IMAGES, y=eval(expression, {"labels": labels}))
    load(train_file="b.h5")


@pytest.mark.parametrize(
    ("name", "program"),
    [("zip", None), ("tar", "tar"), ("gzip", "gzip"), ("bzip2", "bzip2"), ("xz", "xz"),
     ("zstd", "zstd"), ("lz4", "lz4"), ("tar.gz", "tar")],
)  # fmt: skip
@pytest.mark.parametrize("path", ["data set.h5", "data.h5.gz"])
def test_archives(name: str, program: str | None, path: str) -> None:
    """Unpacked by the command in the message, whatever the archive is called."""
    write("train.h5", x=IMAGES, y=LABELS)
    if name == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write("train.h5")
    else:
        assert program is not None
        pack = {"tar": "tar cf", "tar.gz": "tar czf"}.get(name)
        pack = f"{pack} {shlex.quote(path)} train.h5" if pack else (
            f"{program} -c < train.h5 > {shlex.quote(path)}"
        )  # fmt: skip
        run_shell(pack)
    expected = Path("train.h5").read_bytes()
    Path("train.h5").unlink()
    before = set(Path().iterdir())
    message = refused(train_file=path)
    assert "damaged" not in message
    (command,) = commands(message)
    run_shell(command)
    (unpacked,) = set(Path().iterdir()) - before
    assert unpacked.read_bytes() == expected
    load(train_file=str(unpacked))


def write_mat(path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    with path.open("wb") as file:
        scipy_io.savemat(file, {"x": IMAGES, "y": LABELS})


def write_table(separator: str) -> Callable[[Path], None]:
    def write_lines(path: Path) -> None:
        rows = ([k % 3, *image[..., 0].ravel()] for k, image in enumerate(IMAGES))
        path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))

    return write_lines


TABLES: dict[str, tuple[Callable[[Path], Any], int]] = {  # name → writer, channels
    "NumPy archive": (lambda path: path.write_bytes(archive_of_arrays()), 3),
    "MATLAB file": (write_mat, 3),
    "CSV file": (write_table(","), 1),
    "TSV file": (write_table("\t"), 1),
}


def archive_of_arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=IMAGES, y=LABELS)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("path", ["train.h5", "my data.bin"])
def test_tables_are_converted(kind: str, path: str, cli: Callable) -> None:
    """The command in the message writes a file that trains, whatever the table is called."""
    writer, channels = TABLES[kind]
    writer(Path(path))
    message = refused(train_file=path)
    assert f" a {kind}" in message
    *before, command = commands(message)
    for other in before:  # commas for tabs
        run_shell(other)
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "signs_lightning"]
    result = cli(*words[3:])
    assert result.code == 0, result.err
    (output,) = Path("DIR").glob("*.h5")
    assert load(train_file=str(output)).shape == (4, 16, 16, channels)


def test_arrays_in_python() -> None:
    """Expressions in messages give the arrays, which can be passed or written."""
    np.save("x.npy", IMAGES)
    (expression,) = commands(refused(train_file="x.npy"))
    images = eval(expression, {"numpy": np})
    assert load(train_file=(images, LABELS)).shape == (4, 16, 16, 3)
    content = b"\x00\x00\x08\x04" + np.array(IMAGES.shape, ">u4").tobytes() + IMAGES.tobytes()
    Path("x.idx").write_bytes(content)
    (expression,) = commands(refused(train_file="x.idx"))
    np.testing.assert_array_equal(eval(expression, {"numpy": np}), IMAGES)
    scipy_io = pytest.importorskip("scipy.io")
    with scipy_io.netcdf_file("x.nc", "w") as file:
        file.createDimension("n", 12)
        file.createVariable("y", "i4", ("n",))[:] = LABELS
    (expression,) = commands(refused(train_file="x.nc"))
    with eval(expression, {"scipy": sys.modules["scipy"]}) as file:
        np.testing.assert_array_equal(file.variables["y"][:].copy(), LABELS)


def test_a_picture(cli: Callable) -> None:
    """Put into a folder for each class, it trains with the folder above."""
    Image.fromarray(IMAGES[0]).save("one.png")
    message = refused(train_file="one.png")
    assert "put pictures into a folder for each class and name the folder above them." in message
    for kind in "ab":
        Path("photos", kind).mkdir(parents=True)
        for number in range(2):
            shutil.copy("one.png", f"photos/{kind}/{number}.png")
    assert load(train_file="photos").shape == (4, 16, 16, 3)


def test_a_table_of_labels() -> None:
    """It goes to the option that the message names, beside the images."""
    Path("labels.csv").write_text("number,label\n" + "".join(f"{k},{k % 3}\n" for k in range(12)))
    assert "--data.train_labels_file" in refused(train_file="labels.csv")
    write("a.h5", x=IMAGES)
    module = H5DataModule(train_file="a.h5", train_labels_file="labels.csv")
    module.setup("fit")
    assert module.images("train", 12)[1].tolist() == [k % 3 for k in range(12)]


@pytest.mark.parametrize("role", ["val", "test"])
def test_labels_of_another_role(role: str) -> None:
    """The option that is named is that of the role, whatever is missing."""
    write("train.h5", x=IMAGES, y=LABELS)
    write("x.h5", x=IMAGES)
    write("labels.h5", y=LABELS)
    write("few.h5", y=LABELS[:3])
    files = {"train_file": "train.h5", f"{role}_file": "x.h5"}
    for wrong in ({}, {f"{role}_labels_file": "few.h5"}):
        given: dict[str, Any] = {**files, **wrong}
        module = H5DataModule(**given)
        with pytest.raises(InputError, match=f"--data.{role}_labels_file|few.h5"):
            module.setup({"val": "validate", "test": "test"}[role])
    right: dict[str, Any] = {**files, f"{role}_labels_file": "labels.h5"}
    H5DataModule(**right).setup({"val": "validate", "test": "test"}[role])


def test_an_open_file() -> None:
    """Closed in the program that writes it, it can be read."""
    code = (
        "import h5py; file = h5py.File('a.h5', 'a'); print('open', flush=True); input();"
        "file.close(); print('closed', flush=True); input()"
    )
    write("a.h5", x=IMAGES, y=LABELS)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        message = refused(train_file="a.h5")
        assert commands(message) == ["file.close()"]
        assert "damaged" not in message
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "closed\n"
        load(train_file="a.h5")
        other.stdin.close()


def test_a_mark_that_a_writer_left() -> None:
    """The command of HDF5's tools clears it."""
    write("a.h5", x=IMAGES, y=LABELS)
    with h5py.File("marked.h5", "w", libver="latest") as file:
        file["x"], file["y"] = IMAGES, LABELS
        file.swmr_mode = True
        file.flush()
        shutil.copy("marked.h5", "a.h5")
    message = refused(train_file="a.h5")
    (command,) = commands(message)[-1:]
    assert command.startswith("h5clear -s ")
    run_shell(command)
    load(train_file="a.h5")


def test_an_hdf5_file_that_cannot_be_opened() -> None:
    """Cut off: fetched again it opens; of a newer format: not called damaged without a doubt."""
    write("a.h5", x=IMAGES, y=LABELS)
    whole = Path("a.h5").read_bytes()
    Path("a.h5").write_bytes(whole[:5000])
    assert "Fetch it again." in refused(train_file="a.h5")
    Path("a.h5").write_bytes(whole)
    load(train_file="a.h5")
    Path("a.h5").write_bytes(whole[:8] + b"\x63" + whole[9:])  # version 99 of the superblock
    assert "or of a newer format" in refused(train_file="a.h5")


@pytest.mark.usefixtures("guarded_forks")
def test_a_model_in_place_of_a_checkpoint(cli: Callable) -> None:
    """A Keras file that is to be trained on: the command makes a checkpoint of it."""
    from signs_lightning import SignsFunctional, export_keras

    export_keras(SignsFunctional(), Path("model.h5"), "keras-h5")
    result = cli("fit", "--ckpt_path", "model.h5")
    assert result.code == 2
    (command,) = commands(result.err)
    words = shlex.split(command.replace("FILE", "model.h5"))
    assert cli(*words[3:]).code == 0
    report = examine("model.ckpt", {}, 1)
    assert (report.what, report.problem) == ("checkpoint", "")


@pytest.mark.slow
def test_a_keras_architecture(cli: Callable) -> None:
    """The command in the message, and the one that `inspect` gives, import both files."""
    keras = pytest.importorskip("keras")
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential(layers)
    Path("a.json").write_text(model.to_json())
    model.save_weights("w.weights.h5")
    Path("other.h5").write_bytes(b"")
    refusal = cli("import-keras", "a.json", "--output", "m.ckpt").err
    (named,) = [words.replace("WEIGHTS.h5", "w.weights.h5") for words in commands(refusal)]
    report = examine("a.json", {}, 1)
    assert (report.what, report.problem) == ("Keras architecture without weights (JSON)", "")
    assert [row[1] for row in report.listings[0].rows] == ["Flatten", "Dense"]
    (listed,) = report.commands
    for command in (named, f"python -m signs_lightning {listed.split('signs_lightning ')[-1]}"):
        result = cli(*shlex.split(command)[3:])
        assert result.code == 0, result.err
        Path("model.ckpt").unlink()
    Path("w.weights.h5").unlink()
    assert "WEIGHTS.h5" in examine("a.json", {}, 1).commands[0]


def test_other_places(cli: Callable, folder: Path) -> None:
    """A folder that does not exist is made."""
    write("a.h5", x=IMAGES, y=LABELS)
    result = cli("inspect", "a.h5", "--samples", "gone/s.png")
    assert (result.code, "Make it, or name another file." in result.err) == (2, True)
    Path("gone").mkdir()
    assert cli("inspect", "a.h5", "--samples", "gone/s.png").code == 0


def test_pointers_of_git_lfs(folder: Path) -> None:
    """The command is run in the file's repository, where git has the extension."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
    Path("a.h5").write_bytes(pointer)
    (command,) = commands(refused(train_file="a.h5"))
    assert command == "git lfs pull"
    done = subprocess.run(["git", "lfs", "version"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("git lfs is not installed")
    subprocess.run(f"git init -q . && {command}", shell=True, check=True, capture_output=True)


def test_every_message_goes_on() -> None:
    """Each ends with a sentence on what to do, and names no file in a way that a shell breaks."""
    for name in ("a b.npz", "it's.npz"):
        np.savez(Path(name).with_suffix(""), x=IMAGES)
        (command,) = commands(str(describe_non_hdf5(Path(name))))
        assert shlex.split(command)[4] == name
    with contextlib.suppress(InputError), open_hdf5(Path("a b.npz")):
        pass
