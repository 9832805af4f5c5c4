"""An ONNX file read back: it predicts what the checkpoint predicts, and a file that is not ours is
a sentence.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from signs_lightning import InputError, SignsFunctional
from signs_lightning.checkpoints.load_model import load_model
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.commands import evaluate_onnx as onnx_evaluation
from signs_lightning.export.artefacts import export_artefact
from signs_lightning.export.compared_images import random_images
from signs_lightning.export.onnx_classifier import OnnxClassifier
from signs_lightning.keras_io.load_keras import from_keras

SIGNS = ["zero", "one", "two", "three", "four", "five"]


@pytest.fixture(scope="module")
def model() -> SignsFunctional:
    torch.manual_seed(0)
    return SignsFunctional(class_names=SIGNS, num_classes=6, image_size=(64, 64, 3)).eval()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> bytes:
    """The bytes of an ONNX file of ours."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_artefact(model, path, "onnx", random_images(4, (64, 64, 3)))
    return path.read_bytes()


@pytest.fixture
def file(exported, tmp_path) -> Path:
    (tmp_path / "model.onnx").write_bytes(exported)
    return tmp_path / "model.onnx"


@pytest.mark.parametrize(
    ("reference", "extension"),
    [
        ("signs", "weights.h5"),
        ("signs", "keras"),
        ("smiles", "weights.h5"),
        ("smiles", "h5"),
        pytest.param("photos of hands", "weights.h5", marks=pytest.mark.slow),
        pytest.param("photos of hands", "keras", marks=pytest.mark.slow),
        pytest.param("photos of faces", "weights.h5", marks=pytest.mark.slow),
        pytest.param("photos of faces", "h5", marks=pytest.mark.slow),
    ],
    indirect=["reference"],
)
def test_probabilities_are_those_real_keras_wrote(reference, extension, tmp_path):
    """The ONNX file, the model here and TensorFlow's Keras give the same probabilities of the test
    images within 1e-5.
    """
    images, _ = reference.test()
    model = from_keras(reference.trained(extension, tmp_path))
    name = "HappySequential" if reference.binary else "SignsFunctional"
    assert type(model).__name__ == (name if extension == "weights.h5" else "FromKeras")
    export_artefact(model, tmp_path / "model.onnx", "onnx", random_images(4, model.image_size))
    served = OnnxClassifier(tmp_path / "model.onnx")
    ours = served.predict(images, batch_size=7).numpy()
    np.testing.assert_allclose(ours, model.predict(images), rtol=0, atol=1e-5)
    found = ours[:, 1:] if reference.binary else ours
    np.testing.assert_allclose(found, reference.probabilities, rtol=0, atol=1e-5)
    assert (served.binary, served.num_classes) == (reference.binary, 2 if reference.binary else 6)


def test_what_it_says_of_itself(file, model):
    """Attributes are the model's."""
    served = OnnxClassifier(file)
    assert served.class_names == SIGNS
    assert (served.image_size, served.num_classes, served.binary) == ((64, 64, 3), 6, False)
    assert served.model_name == "SignsFunctional"
    loaded, settings = load_model(str(file), "predict")
    assert isinstance(loaded, OnnxClassifier)
    assert settings == {}


def test_arrays_tensors_and_batches(file, model):
    """Arrays that may not be written, strided ones, tensors; batches of any size; none at all; all
    as the model predicts them.
    """
    served, images = OnnxClassifier(file), random_images(9, (64, 64, 3))
    expected = model.predict(images)
    fixed = images.numpy().copy()
    fixed.flags.writeable = False
    strided = np.repeat(images.numpy(), 2, axis=0)[::2]
    spellings: list[Any] = [images, fixed, images.flip(0).numpy()[::-1], strided]
    for given, batch_size in itertools.product(spellings, (1, 4, 9, 100)):
        found = served.predict(given, batch_size)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert served.predict(images[:0]).shape == (0, 6)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (np.zeros((2, 64, 64, 3), np.float32), "float32 (2, 64, 64, 3)"),
        (np.zeros((64, 64, 3), np.uint8), "uint8 (64, 64, 3)"),
        (np.zeros((2, 64, 64, 1), np.uint8), "uint8 (2, 64, 64, 1)"),
    ],
)
def test_other_images(images, found, file):
    """What the file does not take is named."""
    with pytest.raises(InputError) as error:
        OnnxClassifier(file).predict(images)
    assert str(error.value) == f"The images are {found}, expected uint8 (N, height, width, 3)."


@pytest.mark.parametrize("size", [(64, 65), (100, 80), (31, 200)])
def test_another_size_is_resized(size, file, model):
    """As Pillow and the model resize: the middle, bilinear."""
    images = random_images(6, (*size, 3))
    side = min(size)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    box = (left, top, left + side, top + side)
    resized = [
        np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR, box=box))
        for image in images.numpy()
    ]
    found = OnnxClassifier(file).predict(images)
    torch.testing.assert_close(found, OnnxClassifier(file).predict(np.stack(resized)))
    torch.testing.assert_close(found, model.predict(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("classes", "size", "names"),
    [
        (2, (64, 64, 3), ["a", "b"]), (6, (64, 64, 3), list("abcdef")), (6, (32, 48, 3), SIGNS),
        (6, (64, 64, 1), SIGNS), (7, (64, 64, 3), None), (6, (64, 64, 3), SIGNS),
        (4, (64, 64, 3), None),
    ],
)  # fmt: skip
def test_other_data(classes, size, names, file, model):
    """Data of other classes or another size are refused, or taken, exactly as a checkpoint's model
    does.
    """
    checkpoint = SignsFunctional(class_names=SIGNS, num_classes=6, image_size=(64, 64, 3))
    said: list[str | None] = []
    for candidate in (checkpoint, OnnxClassifier(file)):
        try:
            candidate.adopt(classes, size, names)
            said.append(None)
        except InputError as error:
            said.append(str(error))
    assert said[0] == said[1]
    assert (said[0] is None) == ((names == SIGNS and size == (64, 64, 3)) or classes == 4)


def test_a_model_without_names_takes_those_of_the_data(tmp_path):
    """As a checkpoint without names does; the file says nothing of names then."""
    export_artefact(
        SignsFunctional(image_size=(16, 16, 3)).eval(),
        tmp_path / "m.onnx",
        "onnx",
        random_images(4, (16, 16, 3)),
    )
    served = OnnxClassifier(tmp_path / "m.onnx")
    assert served.class_names == ["0", "1", "2", "3", "4", "5"]
    served.adopt(6, (16, 16, 3), SIGNS)
    assert served.class_names == SIGNS


def edited(change: Callable[[onnx.ModelProto], object]) -> Callable[[bytes], bytes]:
    def apply(contents: bytes) -> bytes:
        model = onnx.load_model_from_string(contents)
        change(model)
        return model.SerializeToString()

    return apply


def metadata(**entries: object) -> Callable[[bytes], bytes]:
    """Other metadata: text as it is, the rest as JSON, None for none."""

    def change(model: onnx.ModelProto) -> None:
        texts = {entry.key: entry.value for entry in model.metadata_props}
        texts |= {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in entries.items()
        }
        helper.set_model_props(model, {key: text for key, text in texts.items() if text != "null"})

    return edited(change)


def node(op: str, inputs: list[str], outputs: list[str], **more: Any) -> Callable[[bytes], bytes]:
    """One more node in the graph, in front."""
    return edited(
        lambda model: model.graph.node.insert(0, helper.make_node(op, inputs, outputs, **more))
    )


def outside(tensor: onnx.TensorProto, location: str) -> onnx.TensorProto:
    """A tensor that is kept elsewhere."""
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def weights_elsewhere(location: str) -> Callable[[bytes], bytes]:
    return edited(lambda model: outside(model.graph.initializer[0], location))


def constant_elsewhere(model: onnx.ModelProto) -> None:
    value = outside(helper.make_tensor("v", TensorProto.FLOAT, [4], [0.0] * 4), "/etc/passwd")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["v"], value=value))


def subgraph_elsewhere(model: onnx.ModelProto) -> None:
    weights = outside(helper.make_tensor("w", TensorProto.FLOAT, [4], [0.0] * 4), "weights.bin")
    branch = helper.make_graph(
        [], "branch", [], [helper.make_tensor_value_info("w", 1, [4])], [weights]
    )
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.node.insert(
        0, helper.make_node("If", ["yes"], ["v"], then_branch=branch, else_branch=branch)
    )


def takes(kind: int, shape: list[Any]) -> Callable[[bytes], bytes]:
    return edited(
        lambda model: model.graph.input[0].CopyFrom(
            helper.make_tensor_value_info("images", kind, shape)
        )
    )


def huge(op: str, sizes: list[int], **more: Any) -> Callable[[bytes], bytes]:
    """A node that makes terabytes out of a few bytes."""

    def change(model: onnx.ModelProto) -> None:
        for name, values in (("one", np.ones(1, np.float32)), ("sizes", np.array(sizes))):
            model.graph.initializer.append(numpy_helper.from_array(values, name))
        inputs = ["sizes"] if op == "ConstantOfShape" else ["one", "sizes"]
        model.graph.node.insert(0, helper.make_node(op, inputs, ["many"], **more))

    return edited(change)


def computed_size(model: onnx.ModelProto) -> None:
    """As many values as the pixels say."""
    model.graph.node.insert(0, helper.make_node("NonZero", ["images"], ["where"]))


def loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"])],
        "body",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("go", 9, [])],
        [helper.make_tensor_value_info("go_on", 9, [])],
    )
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.node.insert(0, helper.make_node("Loop", ["", "yes"], [], body=body))


NOT_READ = "keeps its weights in other files, which are not followed"
UNBOUNDED = "holds an operator that is unknown, or values that are huge or of unknown size: refused"
EDITED = (
    "carries metadata that do not fit its own 64×64×3 images and 6 classes: "
    "it was damaged or edited"
)
# what was done to the file, what is said of it
DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (
        lambda contents: contents[: len(contents) // 2],
        "is not an ONNX file, or a truncated one (",
    ),
    "garbage": (
        lambda contents: b"\x93\x12" * 50,
        "is not an ONNX file, or a truncated one (100 bytes)",
    ),
    "nothing": (lambda contents: b"", "is not an ONNX file but an empty file (0 bytes)"),
    "a web page": (
        lambda contents: b"<!DOCTYPE html><title>x</title>",
        "is not an ONNX file but an HTML page",
    ),
    "a pointer": (
        lambda contents: b"version https://git-lfs.github.com/spec/v1\n",
        "is not an ONNX file but a git-lfs pointer",
    ),
    "a zip": (
        lambda contents: b"PK\x03\x04" + contents,
        "is not an ONNX file but a truncated zip archive",
    ),
    "no metadata": (
        edited(lambda model: model.ClearField("metadata_props")),
        "was not written by this project",
    ),
    "another format": (
        metadata(format_version=2),
        "has the format 2, expected 1. Update signs_lightning, or export",
    ),
    "not JSON": (metadata(class_names="[zero"), "carries metadata that are not JSON"),
    "deep JSON": (metadata(class_names="[" * 100_000), "carries metadata that are not JSON"),
    "too few names": (metadata(class_names=["a", "b"]), EDITED),
    "names that are none": (metadata(class_names=[1, 2, 3, 4, 5, 6]), EDITED),
    "names that are a text": (metadata(class_names='"sixsix"'), EDITED),
    "another size": (metadata(image_size=[32, 32, 3]), EDITED),
    "no size": (metadata(image_size=None), EDITED),
    "binary of six": (metadata(binary=True), EDITED),
    "binary that is none": (metadata(binary=0), EDITED),
    "takes floats": (
        takes(1, ["N", 3, 64, 64]),
        "takes float32 (N, 3, 64, 64), expected uint8 (N, height, width, channels)",
    ),
    "takes doubles": (takes(11, ["N", 5]), "takes float64 (N, 5), expected uint8"),
    "takes one image": (
        takes(2, [1, 64, 64, 3]),
        "takes uint8 (1, 64, 64, 3), expected uint8 (N, height, width, channels)",
    ),
    "takes any size": (
        takes(2, ["N", "H\x1b", "W", 3]),
        "takes uint8 (N, H\\x1b, W, 3), expected uint8",
    ),
    "takes the unknown": (
        takes(99, ["N", 64, 64, 3]),
        "takes type 99 (N, 64, 64, 3), expected uint8",
    ),
    "an input without a type": (
        edited(lambda m: m.graph.input.add(name="more")),
        "takes as 'more' undefined (), expected float32 (N, size)",
    ),
    "logits of a batch": (
        edited(lambda m: m.graph.output[0].type.tensor_type.shape.dim.add(dim_value=3)),
        "gives float32 (N, 6, 3), expected float32 (N, K)",
    ),
    "weights elsewhere": (weights_elsewhere("../secret"), NOT_READ),
    "weights in memory": (weights_elsewhere("*/_ORT_MEM_ADDR_/*"), NOT_READ),
    "a constant elsewhere": (edited(constant_elsewhere), NOT_READ),
    "weights of a branch elsewhere": (edited(subgraph_elsewhere), NOT_READ),
    "terabytes of ones": (huge("ConstantOfShape", [10**12]), UNBOUNDED),
    "terabytes expanded": (huge("Expand", [10**6, 10**6]), UNBOUNDED),
    "terabytes of tiles": (huge("Tile", [10**12]), UNBOUNDED),
    "terabytes of padding": (huge("Pad", [0, 10**12]), UNBOUNDED),
    "huge images": (takes(2, ["N", 2**20, 2**20, 3]), "carries metadata that do not fit"),
    "a size from pixels": (edited(computed_size), UNBOUNDED),
    "an endless loop": (edited(loop), UNBOUNDED),
    "an unknown operator": (node("Snake", ["images"], ["x"]), UNBOUNDED),
    "a stranger's operator": (node("Shell", ["images"], ["x"], domain="evil"), UNBOUNDED),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_not_ours(case, file, exported, cli):
    """One line on the screen that says what was found, exit code 2, whatever the verb."""
    change, message = DAMAGED[case]
    file.write_bytes(change(exported))
    Path("secret").write_bytes(np.zeros(10_000, np.float32).tobytes())
    done = cli("predict", "--ckpt_path", "model.onnx", "--images", "model.onnx")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"model.onnx {message}")
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err


def test_the_attacks_would_work(file, exported, tmp_path, monkeypatch):
    """onnxruntime alone follows what is refused above: it reads another file, and makes what it is
    told to make.
    """
    monkeypatch.chdir(tmp_path)
    name = onnx.load_model_from_string(exported).graph.initializer[0]
    Path("secret").write_bytes(np.ones(int(np.prod(name.dims)), np.float32).tobytes())
    file.write_bytes(weights_elsewhere("secret")(exported))
    onnxruntime.InferenceSession("model.onnx")
    file.write_bytes(huge("ConstantOfShape", [10**6])(exported))
    onnxruntime.InferenceSession("model.onnx")


def test_what_cannot_be_read(cli):
    """A missing file with the nearest name, a folder, an HDF5 file."""
    Path("folder.onnx").mkdir()
    Path("model.onnx").touch()
    with h5py.File("data.onnx", "w") as data:
        data["x"] = np.zeros(3)
    for name, message in {
        "modell.onnx": "No such file: modell.onnx. Did you mean model.onnx?",
        "folder.onnx": "folder.onnx is not an ONNX file but a directory.",
        "data.onnx": "data.onnx is not an ONNX file but an HDF5 file. Name a file that `export "
        "--format onnx` wrote.",
    }.items():
        done = cli("predict", "--ckpt_path", name, "--images", "x.png")
        assert done.code == 2
        assert done.err.startswith(message)


def test_what_onnxruntime_cannot_run(file, exported):
    """A sound graph whose weights do not have the size that they claim."""

    def change(model: onnx.ModelProto) -> None:
        weights = next(t for t in model.graph.initializer if len(t.dims) == 4)
        weights.raw_data = weights.raw_data[:-4]

    file.write_bytes(edited(change)(exported))
    with pytest.raises(
        InputError, match=r"model\.onnx holds what onnxruntime cannot run \(.+\)\. Name a file"
    ):
        OnnxClassifier(file)


def test_any_damage_is_a_sentence(file, exported):
    """Bytes flipped and files cut at random places: the file is refused, or predicts; nothing else
    is ever raised.
    """
    rng, images, refused = random.Random(0), np.zeros((2, 64, 64, 3), np.uint8), []
    for _ in range(150):
        damaged = bytearray(exported)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged[: rng.randrange(len(damaged))] if rng.random() < 0.2 else damaged)
        try:
            assert OnnxClassifier(file).predict(images).shape == (2, 6)
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert not any("\n" in sentence for sentence in refused)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_the_extra_is_missing(missing, file, cli, monkeypatch):
    """One sentence with the command."""
    monkeypatch.setitem(sys.modules, missing, None)
    done = cli("predict", "--ckpt_path", "model.onnx", "--images", "x.png")
    assert done.code == 2
    assert done.err == (
        f"ONNX files need the package {missing}, which is not installed: pip install "
        "'signs-lightning[onnx]'.\n"
    )


@pytest.mark.parametrize("kind", ["signs", "smiles"])
def test_test_prints_what_it_prints_for_the_checkpoint(kind, small_signs, small_smiles, cli, capfd):
    """The same table, accuracy and loss, character by character."""
    from signs_lightning import HappySequential

    torch.manual_seed(1)
    model, data = (
        (SignsFunctional(), small_signs[1])
        if kind == "signs"
        else (HappySequential(), small_smiles[1])
    )
    save_checkpoint(model, Path("model.ckpt"))
    export_artefact(model.eval(), Path("model.onnx"), "onnx", random_images(4, (64, 64, 3)))
    expected = cli("test", "--ckpt_path", "model.ckpt", "--data.test_file", data)
    assert expected.code == 0, expected.err
    code = onnx_evaluation.test_onnx(
        "model.onnx", ["--data.test_file", str(data), "--data.batch_size", "5"]
    )
    assert code == 0
    found = capfd.readouterr()
    assert found.out[found.out.index("class ") :] == expected.out[expected.out.index("class ") :]
    assert found.err == ""


def test_test_resizes_when_asked(tmp_path, small_signs, capfd):
    """Data of another size: refused with the option to add, and taken with it."""
    export_artefact(
        SignsFunctional(image_size=(32, 32, 3)).eval(),
        tmp_path / "m.onnx",
        "onnx",
        random_images(4, (32, 32, 3)),
    )
    args = ["--data.test_file", str(small_signs[1])]
    with pytest.raises(InputError, match=r"Add `--data.image_size 32` to resize them"):
        onnx_evaluation.test_onnx(str(tmp_path / "m.onnx"), args)
    code = onnx_evaluation.test_onnx(str(tmp_path / "m.onnx"), [*args, "--data.image_size", "32"])
    assert code == 0
    assert "/12 = " in capfd.readouterr().out
    with pytest.raises(InputError, match=r"Unknown option '--data\.image_sise'"):
        onnx_evaluation.test_onnx("m.onnx", [*args, "--data.image_sise", "32"])
