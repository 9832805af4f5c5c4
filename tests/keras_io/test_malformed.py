"""Damaged and malicious files: one or two sentences each, exit code 2's exception, and nothing left
behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from signs_lightning.commands.import_keras import main as guarded_main
from signs_lightning.commands.import_keras import run as main
from signs_lightning.errors import InputError

from .test_models import signs


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound model in every format, to be damaged."""
    folder = tmp_path_factory.mktemp("good")
    keras.utils.clear_session(free_memory=False)  # layers are damaged by their order of names
    model = keras.Model((m := signs(32)).inputs[0], m.outputs[0])
    model.save(folder / "model.h5")
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    return folder


def config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Changes the config of a legacy `.h5`; what `change` returns, if anything, takes its place."""

    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            model = json.loads(file.attrs["model_config"])
            changed = change(model)
            file.attrs["model_config"] = json.dumps(model if changed is None else changed)

    return damage


def layer(index: int, **values: Any) -> Callable[[Path], None]:
    """Changes arguments of the layer at an index: 1 is the first convolution, -1 the dense one."""
    return config(lambda model: model["config"]["layers"][index]["config"].update(values))


def entry(index: int, **values: Any) -> Callable[[Path], None]:
    return config(lambda model: model["config"]["layers"][index].update(values))


def attribute(name: str, value: Any, group: str = "/") -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            file[group].attrs[name] = value

    return damage


def h5(change: Callable[[h5py.File], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return damage


def replace_weight(
    values: Any, name: str = "model_weights/conv/conv/kernel", **options: Any
) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        path = weight_path(file, name)
        del file[path]
        file.create_dataset(path, data=values, **options)

    return h5(change)


def weight_path(file: h5py.File, name: str) -> str:
    """The first convolution's name has a number that depends on how many there were before."""
    group = next(key for key in file["model_weights"] if key.startswith("conv2d"))
    return (
        f"model_weights/{group}/{file['model_weights'][group].attrs['weight_names'][0]}"
        if "kernel" in name
        else group
    )


def archive(**entries: bytes | str | None) -> Callable[[Path], None]:
    """Rewrites entries of a `.keras`; None leaves one out. `__` stands for a dot."""

    def damage(path: Path) -> None:
        with zipfile.ZipFile(path) as old:
            content: dict[str, bytes | str | None] = {}
            content |= {name: old.read(name) for name in old.namelist()}
        content |= {name.replace("__", "."): value for name, value in entries.items()}
        with zipfile.ZipFile(path, "w") as new:
            for name, value in content.items():
                if value is not None:
                    new.writestr(name, value)

    return damage


def add_entry(name: str, value: bytes, **options: Any) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with zipfile.ZipFile(path, "a", **options) as file:
            file.writestr(name, value)

    return damage


def write(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


def truncate(share: float) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", b"0" * (80 << 20))
        file.writestr("model.weights.h5", b"")


def external_link(file: h5py.File) -> None:
    path = weight_path(file, "kernel")
    del file[path]
    file[path] = h5py.ExternalLink("/etc/passwd", "/kernel")


def external_storage(file: h5py.File) -> None:
    path = weight_path(file, "kernel")
    del file[path]
    file.create_dataset(path, (4, 4, 3, 8), "f4", external=[("/etc/passwd", 0, 4 * 4 * 4 * 3 * 8)])


def huge(file: h5py.File) -> None:
    path = weight_path(file, "kernel")
    del file[path]
    file.create_dataset(
        path, (1 << 20, 1 << 20, 3, 8), "f4", chunks=(64, 64, 3, 8), compression="gzip"
    )


def circle(model: dict[str, Any]) -> None:
    first, second = model["config"]["layers"][1:3]
    first["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = [second["name"], 0, 0]


def dangling(model: dict[str, Any]) -> None:
    model["config"]["layers"][1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = [
        "nowhere",
        0,
        0,
    ]


def second_output(model: dict[str, Any]) -> None:
    model["config"]["layers"][2]["inbound_nodes"][0]["args"][0]["config"]["keras_history"][2] = 1


def wrong_call(model: dict[str, Any]) -> None:
    model["config"]["layers"][2]["inbound_nodes"][0]["args"][0]["config"]["keras_history"][1] = 7


def two_outputs(model: dict[str, Any]) -> None:
    names = [layer["name"] for layer in model["config"]["layers"]]
    model["config"]["output_layers"] = [[names[-1], 0, 0], [names[-2], 0, 0]]


def unknown_layers(model: dict[str, Any]) -> None:
    for index, name in ((1, "Lambda"), (2, "LSTM"), (3, "MyOwnLayer")):
        model["config"]["layers"][index]["class_name"] = name
    model["config"]["layers"][4]["config"]["activation"] = "snake"


def idle(model: dict[str, Any]) -> None:
    lonely = {
        "class_name": "ReLU",
        "config": {"name": "lonely"},
        "name": "lonely",
        "inbound_nodes": [],
    }
    model["config"]["layers"].append(lonely)


def twice(model: dict[str, Any]) -> None:
    model["config"]["layers"].append(model["config"]["layers"][1])


def deep(levels: int) -> str:
    return '{"class_name":' * levels + "1" + "}" * levels


def nested_models(count: int) -> dict[str, Any]:
    model: dict[str, Any] = {"class_name": "Flatten", "config": {"name": "flatten"}}
    for k in range(count):
        model = {"class_name": "Sequential", "config": {"name": f"m{k}", "layers": [model]}}
    return model


def become_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


H5, ZIP, WEIGHTS = "model.h5", "model.keras", "model.weights.h5"
CASES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    # what the file is
    "missing": (H5, lambda path: path.unlink(), "No such file"),
    "empty": (H5, write(b""), "empty"),
    "a directory": (H5, become_directory, "directory"),
    "git-lfs pointer": (
        H5,
        write(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "git lfs pull",
    ),
    "html": (H5, write(b"<!DOCTYPE html><html>sign in</html>"), "HTML"),
    "pickle": (H5, write(b"\x80\x04\x95" + b"x" * 100), "not a Keras file"),
    "truncated h5": (H5, truncate(0.5), "cannot be opened|cannot be read|damaged"),
    "truncated keras": (ZIP, truncate(0.5), "not a Keras file|damaged"),
    "h5 of images": (
        H5,
        lambda path: h5py.File(path, "w").create_dataset("train_set_x", data=[1]).file.close(),
        "not a Keras model",
    ),
    "zip of something else": (
        ZIP,
        lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "a"),
        "not a .keras file",
    ),
    "zip with damaged entry": (
        ZIP,
        lambda path: path.write_bytes(path.read_bytes().replace(b'"layers"', b'"sreyal"', 1)),
        "damaged",
    ),
    # archives
    "zip without weights": (ZIP, archive(model__weights__h5=None), "without model.weights.h5"),
    "zip bomb": (ZIP, bomb, "zip bomb"),
    "entry outside": (ZIP, add_entry("../../evil.py", b"x"), "outside"),
    "absolute entry": (ZIP, add_entry("/etc/evil", b"x"), "outside"),
    "windows entry": (ZIP, add_entry("C:\\evil", b"x"), "outside"),
    "weights are no hdf5": (ZIP, archive(model__weights__h5=b"text"), "cannot be opened"),
    "version of wrong type": (ZIP, archive(metadata__json='{"keras_version": 3}'), "keras_version"),
    # config text
    "config is no json": (ZIP, archive(config__json="{'class_name': 1}"), "not JSON"),
    "config is no utf-8": (ZIP, archive(config__json=b"\xff\xfe\x00\x80"), "not JSON"),
    "config is a list": (ZIP, archive(config__json="[1, 2]"), "expected an object"),
    "config 10,000 deep": (ZIP, archive(config__json=deep(10_000)), "deep"),
    "config 500 deep": (ZIP, archive(config__json=deep(500)), "deep"),
    "config 100,000 lists": (H5, attribute("model_config", "[" * 100_000 + "]" * 100_000), "deep"),
    "models 60 deep": (H5, config(lambda model: nested_models(60)), "deep|does not say"),
    "config is a number": (H5, attribute("model_config", 7), "expected text"),
    "config is an array": (H5, attribute("model_config", np.zeros(3)), "expected text"),
    # the graph
    "no model": (
        H5,
        config(lambda model: {"class_name": "Dense", "config": {}}),
        "expected a Sequential or Functional",
    ),
    "no class": (H5, config(lambda model: {}), "expected a Sequential or Functional"),
    "no layers": (H5, config(lambda model: model["config"].update(layers=[])), "no list of layers"),
    "layer is a number": (
        H5,
        config(lambda model: model["config"]["layers"].__setitem__(1, 5)),
        "expected class_name",
    ),
    "layer without config": (H5, entry(1, config=None), "without config"),
    "name is a number": (H5, entry(1, name=5), "named 5"),
    "cyclic": (H5, config(circle), "in a circle"),
    "dangling": (H5, config(dangling), "'nowhere'"),
    "call that is missing": (H5, config(wrong_call), "refers to call 7"),
    "second output of a layer": (H5, config(second_output), "output 2 of Conv2D"),
    "node is a number": (H5, entry(1, inbound_nodes=[5]), "inbound node"),
    "nodes are a dict": (H5, entry(1, inbound_nodes={"a": 1}), "inbound_nodes"),
    "no output": (
        H5,
        config(lambda model: model["config"].update(output_layers=None)),
        "output_layers",
    ),
    "idle layer": (H5, config(idle), "'lonely' does not lead"),
    "one name twice": (H5, config(twice), "two layers named"),
    "two outputs": (H5, config(two_outputs), "2 outputs"),
    "unknown layers": (H5, config(unknown_layers), "Lambda '.*LSTM '.*MyOwnLayer '.*'snake'"),
    "image of four axes": (H5, layer(0, batch_shape=[None, 8, 8, 8, 3]), "expected images"),
    "image of wrong type": (H5, layer(0, batch_shape=[None, "8", 8, 3]), "expected images"),
    "no channels": (H5, layer(0, batch_shape=[None, 32, 32, None]), "channels"),
    # arguments
    "filters are text": (
        H5,
        layer(1, filters="8; import os"),
        "filters '8; import os', expected an integer",
    ),
    "negative kernel": (H5, layer(1, kernel_size=[-1, 4]), "kernel_size"),
    "unknown padding": (H5, layer(1, padding="reflect"), "padding"),
    "stride of 0": (H5, layer(1, strides=0), "strides"),
    "stride of 2³¹ + 1": (
        H5,
        layer(1, strides=2**31 + 1),
        "strides 2147483649, expected one or two",
    ),
    "use_bias is text": (H5, layer(1, use_bias="yes"), "use_bias"),
    "code as activation": (
        H5,
        layer(1, activation={"class_name": "function", "config": "__import__('os')"}),
        "activation",
    ),
    "class of a module": (H5, entry(1, module="os", registered_name="system"), "os.Conv2D"),
    "registered class": (H5, entry(1, module="mine", registered_name="mine>Conv2D"), "mine>Conv2D"),
    "ends in tanh": (H5, layer(-1, activation="tanh"), "ends with Dense"),
    "ends in relu": (H5, layer(-1, activation="relu"), "'relu', expected a softmax"),
    "groups that do not divide": (H5, layer(1, groups=5), "divisor"),
    "factor of a regularizer": (
        H5,
        layer(1, kernel_regularizer={"class_name": "L2", "config": {"l2": "much"}}),
        "regularizer with an argument",
    ),
    "rate of a constraint": (
        H5,
        layer(1, kernel_constraint={"class_name": "MinMaxNorm", "config": {"rate": "much"}}),
        "constraint with an argument",
    ),
    "image too small": (
        H5,
        layer(1, padding="valid", kernel_size=[99, 99]),
        "cannot be applied|shape",
    ),
    # weights
    "huge layer, small file": (H5, layer(-1, units=2_000_000_000), "shape"),
    "huge array, small layer": (H5, h5(huge), "shape"),
    "kernel of another shape": (H5, replace_weight(np.zeros((4, 4, 8, 3), "f4")), "has shape"),
    "weights NaN": (H5, replace_weight(np.full((4, 4, 3, 8), np.nan, "f4")), "NaN"),
    "weights infinite": (
        H5,
        replace_weight(np.full((4, 4, 3, 8), np.inf, "f4")),
        "NaN or infinite",
    ),
    "weights are text": (H5, replace_weight([b"a", b"b"]), "dtype"),
    "weights are complex": (H5, replace_weight(np.zeros((4, 4, 3, 8), "c8")), "dtype"),
    "weight is a group": (
        H5,
        h5(lambda f: (f.pop(p := weight_path(f, "kernel")), f.create_group(p))),
        "expected an array",
    ),
    "weight missing": (H5, h5(lambda f: f.pop(weight_path(f, "kernel"))), "does not contain"),
    "external link": (H5, h5(external_link), "link to another place"),
    "soft link": (
        H5,
        h5(lambda f: (f.pop(p := weight_path(f, "kernel")), f.__setitem__(p, h5py.SoftLink("/x")))),
        "link",
    ),
    "external storage": (H5, h5(external_storage), "in another file"),
    "layer_names of numbers": (
        H5,
        attribute("layer_names", [1, 2], "model_weights"),
        "expected names",
    ),
    "layer_names missing": (
        H5,
        h5(lambda f: f["model_weights"].attrs.pop("layer_names")),
        "no attribute layer_names",
    ),
    "layer missing": (
        H5,
        h5(lambda f: f["model_weights"].pop(weight_path(f, "group"))),
        "does not contain",
    ),
    "no weights": (H5, h5(lambda f: f.pop("model_weights")), "no weights"),
    "weights of another network": (WEIGHTS, h5(lambda f: f["layers"].pop("dense")), "do not fit"),
    "weights misnumbered": (
        WEIGHTS,
        h5(lambda f: f.move("layers/conv2d/vars/0", "layers/conv2d/vars/9")),
        "expected 0, 1",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_nothing_left(good, tmp_path, case, capsys):
    name, damage, expected = CASES[case]
    shutil.copy(good / name, tmp_path / name)
    damage(tmp_path / name)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(InputError) as refused:
        main("import-keras", [str(tmp_path / name), "--output", str(tmp_path / "model.ckpt")])
    message = str(refused.value)
    assert re.search(expected, message), message
    assert len(re.findall(r"[.!?](?= |$)", re.sub(r"'[^']*'|\([^)]*\)", "", message))) <= 2, message
    assert "\n" not in message
    assert message.endswith((".", "!"))
    assert len(message) < 500
    assert sorted(os.listdir(tmp_path)) == before
    assert capsys.readouterr().out == ""


def test_half_a_checkpoint_is_never_there(good, tmp_path, monkeypatch):
    """A disk that is full leaves the old file, and no temporary one."""
    import torch

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    output = tmp_path / "model.ckpt"
    output.write_text("before")
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="No space left"):
        main("import-keras", [str(good / H5), "--output", str(output)])
    assert output.read_text() == "before"
    assert os.listdir(tmp_path) == ["model.ckpt"]


def test_lambda_is_never_run(tmp_path):
    """A Lambda carries marshalled byte code; the file is refused by name before anybody looks at
    it.
    """
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            layers.Lambda(lambda x: x * 2, name="evil"),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    for extension in ("h5", "keras"):
        model.save(tmp_path / f"lambda.{extension}")
        with pytest.raises(InputError, match="Lambda 'evil'"):
            main(
                "import-keras",
                [str(tmp_path / f"lambda.{extension}"), "--output", str(tmp_path / "model.ckpt")],
            )


def test_a_file_that_crashes_the_library_is_a_sentence(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guarded_forks: None
) -> None:
    """The file is read in a child process; one that dies there leaves neither a traceback nor a
    half checkpoint.
    """
    here, opened = os.getpid(), h5py.File
    monkeypatch.setattr(
        h5py,
        "File",
        lambda *args, **more: os.abort() if os.getpid() != here else opened(*args, **more),
    )
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(
        InputError,
        match=r"crashed the library that reads it \(signal SIGABRT\)\. It is damaged or malicious",
    ):
        guarded_main("import-keras", [str(good / H5), "--output", str(folder / "model.ckpt")])
    assert list(folder.iterdir()) == []
