"""Models of several outputs, and models inside a model of several inputs or outputs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import layers
from PIL import Image

from signs_lightning.checkpoints.files import load_classifier
from signs_lightning.checkpoints.new_checkpoint import save_checkpoint
from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.network_plan import make_plan
from signs_lightning.keras_io.to_keras import Format, export_keras

from .against_keras import FORMATS, assert_same, images_for, network_of, randomize, to_torch

SIZE = (6, 5, 3)


def softmax(value: keras.KerasTensor, name: str = "digits", count: int = 3) -> keras.KerasTensor:
    return layers.Dense(count, activation="softmax", name=name)(value)


def two_in_two_out(**names: str) -> keras.Model:
    """A model of an image and a vector that gives two vectors; the second is made of the first
    input alone.
    """
    image, vector = keras.Input((4, 3, 4), name="a"), keras.Input((5,), name="b")
    flat = layers.Flatten()(layers.Conv2D(2, 3, name="conv")(image))
    joined = layers.Concatenate()([flat, layers.Dense(3, name="narrow")(vector)])
    return keras.Model([image, vector], [joined, layers.Dense(4, name="wide")(flat)], **names)


def by_name() -> keras.Model:
    """A model of two vectors by name, in another order than that of their keys."""
    first, second = keras.Input((5,), name="z"), keras.Input((5,), name="b")
    outputs = {"y": layers.Subtract()([first, second]), "c": layers.Dense(2)(second)}
    return keras.Model({"z": first, "b": second}, outputs, name="by_name")


def branches(image: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    vector = layers.Dense(5)(layers.GlobalMaxPooling2D()(image))
    return layers.Conv2D(4, 3)(image), vector


def predictions(path: Path, images: np.ndarray, **options: Any) -> np.ndarray:
    model = from_keras(path, scale="/255", **options)
    predicted = model.predict(to_torch(images)).numpy()
    return predicted[:, 1:] if model.binary else predicted


def assert_export_agrees(path: Path, images: np.ndarray, folder: Path, **options: Any) -> None:
    """What is exported is what real Keras reads, and it gives the same."""
    model, expected = (
        from_keras(path, scale="/255", **options),
        predictions(path, images, **options),
    )
    formats: dict[Format, str] = {"keras": ".keras", "keras-h5": ".h5"}
    for format, ending in formats.items():
        export_keras(model, folder / f"again{ending}", format)
        again = keras.models.load_model(folder / f"again{ending}", compile=False)
        np.testing.assert_allclose(np.asarray(again(images)), expected, atol=1e-5, rtol=0)


def test_models_inside_of_several_inputs_and_outputs(tmp_path):
    """By position and by name, called twice, and inside a model inside."""
    shared, named = two_in_two_out(name="shared"), by_name()
    inner_image = keras.Input(SIZE, name="inner_image")
    once, twice = shared(list(branches(inner_image))), shared(list(branches(inner_image)))
    middle = keras.Model(inner_image, [once[1], *twice, once[0]], name="middle")
    image = keras.Input(SIZE, name="image")
    values = middle(image)
    vectors = {"b": layers.Dense(5)(values[0]), "z": layers.Dense(5)(values[1])}
    together = named(vectors)
    joined = layers.Concatenate()([*values, together["c"], together["y"]])
    model = keras.Model(image, softmax(joined))
    randomize(model)
    assert_same(model, tmp_path)


@pytest.mark.parametrize(("used", "left_out"), [((0, 0), "wide"), ((1, 1), "narrow"), ((0, 1), "")])
def test_an_output_inside_that_is_not_used(tmp_path, capsys, used, left_out):
    """What leads to it is left out, named, and neither needed here nor written back."""
    shared = two_in_two_out(name="shared")
    image = keras.Input(SIZE, name="image")
    values = [shared(list(branches(image)))[k] for k in used]
    model = keras.Model(image, softmax(layers.Concatenate()(values)))
    randomize(model)
    images = images_for(model)
    for extension in FORMATS:
        path = tmp_path / f"model.{extension}"
        model.save(path)
        ours = predictions(path, images)
        np.testing.assert_allclose(ours, np.asarray(model(images)), atol=1e-5, rtol=0)
    assert ("left out" in capsys.readouterr().out) == bool(left_out)
    network = network_of(from_keras(path, scale="/255"))
    assert not left_out or ("shared", left_out) not in network.names
    assert_export_agrees(path, images, tmp_path)


def two_heads() -> keras.Model:
    image = keras.Input(SIZE, name="image")
    flat = layers.Flatten()(layers.Conv2D(2, 3, name="conv")(image))
    hidden = layers.Dense(7, name="before_odd")(flat)
    odd = layers.Dense(1, activation="sigmoid", name="odd")(hidden)
    model = keras.Model(image, [softmax(layers.Dense(4)(flat)), odd])
    randomize(model)
    return model


@pytest.mark.parametrize("output", ["digits", "odd"])
def test_the_chosen_output(tmp_path, capsys, output):
    """One of two heads: Keras's numbers, also from a checkpoint and back in Keras."""
    model = two_heads()
    images = images_for(model)
    expected = np.asarray(model(images)[("digits", "odd").index(output)])
    for extension in FORMATS:
        path = tmp_path / f"model.{extension}"
        model.save(path)
        ours = predictions(path, images, output_layer=output)
        np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=0)
    left_out = {"digits": "Dense 'before_odd' and 1 more", "odd": "Dense 'dense"}[output]
    line = f"left out, because not needed for the output '{output}': {left_out}"
    assert line in capsys.readouterr().out
    assert_export_agrees(path, images, tmp_path, output_layer=output)
    save_checkpoint(from_keras(path, scale="/255", output_layer=output), tmp_path / "model.ckpt")
    again, _ = load_classifier(tmp_path / "model.ckpt")
    assert torch.equal(
        again.predict(to_torch(images)),
        from_keras(path, scale="/255", output_layer=output).predict(to_torch(images)),
    )
    assert "output_layer" not in again.hparams


def test_several_outputs_are_a_question(tmp_path):
    """The message has the option to add, which works; a wrong name is answered with the names."""
    two_heads().save(tmp_path / "model.h5")
    with pytest.raises(InputError, match="has 2 outputs") as refused:
        from_keras(tmp_path / "model.h5")
    assert "`--output_layer digits` or `--output_layer odd`" in str(refused.value)
    with pytest.raises(InputError, match="'even', and the model has the outputs digits, odd"):
        from_keras(tmp_path / "model.h5", output_layer="even")
    model = keras.Sequential([keras.Input(SIZE), layers.Flatten(), layers.Dense(2, name="only")])
    model.save(tmp_path / "one.h5")
    with pytest.raises(InputError, match="'odd', and the model has the output only"):
        from_keras(tmp_path / "one.h5", output_layer="odd")
    assert from_keras(tmp_path / "one.h5", output_layer="only").num_classes == 2


@pytest.mark.slow
def test_inspect_lists_outputs(cli, tmp_path):
    """Every layer of the file is listed, and the suggested command takes one of its outputs."""
    two_heads().save(tmp_path / "model.keras")
    done = cli("inspect", tmp_path / "model.keras")
    assert done.code == 0
    assert "digits, odd; the facts here are of digits" in done.out
    assert all(name in done.out for name in ("before_odd", "odd"))
    command = next(line for line in done.out.splitlines() if line.startswith("  next: "))
    arguments = shlex.split(command.partition("signs_lightning ")[2])
    assert cli(*arguments, "--scale", "/255").code == 0


def test_outputs_of_one_layer_have_names(tmp_path):
    """Of a model inside, and of a layer that is called twice."""
    image, inner_image = keras.Input(SIZE, name="image"), keras.Input(SIZE)
    flat = layers.Flatten()(inner_image)
    inner = keras.Model(
        inner_image, [softmax(flat, "few", 2), softmax(flat, "many", 5)], name="two"
    )
    flat = layers.Flatten()(image)
    twice = layers.Dense(4, activation="softmax", name="twice")
    model = keras.Model(image, [*inner(image), twice(flat), twice(flat * 2.0)])
    randomize(model)
    model.save(tmp_path / "model.keras")
    images = images_for(model)
    with pytest.raises(InputError, match=r"two/few.*two/many.*twice:0.*twice:1"):
        from_keras(tmp_path / "model.keras")
    for name, theirs in zip(
        ["two/few", "two/many", "twice:0", "twice:1"], model(images), strict=True
    ):
        ours = predictions(tmp_path / "model.keras", images, output_layer=name)
        np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-5, rtol=0)


def test_a_head_that_is_not_supported_may_be_left_out(tmp_path):
    """A Lambda and what follows it, at the top; inside a model inside it is refused by name."""
    image = keras.Input(SIZE, name="image")
    flat = layers.Flatten()(image)
    doubled = layers.Lambda(lambda x: x * 2, name="doubled")(flat)
    model = keras.Model(image, [softmax(flat), layers.Dense(2, name="after")(doubled)])
    randomize(model)
    images = images_for(model)
    for extension in FORMATS:
        model.save(tmp_path / f"model.{extension}")
        ours = predictions(tmp_path / f"model.{extension}", images, output_layer="digits")
        np.testing.assert_allclose(ours, np.asarray(model(images)[0]), atol=1e-5, rtol=0)
    with pytest.raises(InputError, match="does not know: Lambda 'doubled'"):
        from_keras(tmp_path / "model.h5", output_layer="after")
    outer = keras.Input(SIZE)
    keras.Model(outer, model(outer)[0]).save(tmp_path / "outer.h5")
    with pytest.raises(InputError, match=r"does not know: Lambda '\w+/doubled'"):
        from_keras(tmp_path / "outer.h5")


def test_calls_as_keras_2_counts_them(tmp_path):
    """A model called twice, whose second call is the output: Keras 2 counts its calls from 1, and
    Keras 3 only at the output.
    """
    image = keras.Input(SIZE, name="image")
    inner_image = keras.Input(SIZE, name="inner_image")
    inner = keras.Model(inner_image, softmax(layers.Flatten()(inner_image), "few"), name="inner")
    between = layers.Reshape(SIZE)(layers.Dense(90, name="between")(inner(image)))
    model = keras.Model(image, inner(between))
    randomize(model)
    images = images_for(model)
    model.save(tmp_path / "model.h5")
    for version in ("3.15.0", "2.15.0"):
        with h5py.File(tmp_path / "model.h5", "r+") as file:
            config = json.loads(file.attrs["model_config"])
            for entry in config["config"]["layers"]:
                if version[0] == "2" and entry["name"] == "between":
                    history = entry["inbound_nodes"][0]["args"][0]["config"]["keras_history"]
                    history[1] += 1
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = version
        ours = predictions(tmp_path / "model.h5", images)
        np.testing.assert_allclose(ours, np.asarray(model(images)), atol=1e-5, rtol=0)


def test_keras_2_gives_inputs_by_name(tmp_path):
    """A call with a dict of tensors, as tf.keras 2 writes it."""
    image = keras.Input(SIZE, name="image")
    flat = layers.Flatten()(image)
    vectors = {"b": layers.Dense(5, name="one")(flat), "z": layers.Dense(5, name="two")(flat)}
    together = by_name()(vectors)
    model = keras.Model(image, softmax(layers.Concatenate()([together["y"], together["c"]])))
    randomize(model)
    images = images_for(model)
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for entry in config["config"]["layers"]:
            if entry["name"] == "by_name":
                entry["inbound_nodes"] = [{"z": ["two", 0, 0, {}], "b": ["one", 0, 0, {}]}]
            if entry["class_name"] == "Concatenate":
                entry["inbound_nodes"] = [[["by_name", 1, 1, {}], ["by_name", 1, 0, {}]]]
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "2.15.0"
    ours = predictions(tmp_path / "model.h5", images)
    np.testing.assert_allclose(ours, np.asarray(model(images)), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_commands_ask_for_an_output_and_take_it(cli):
    """`summary`, `predict`, `export`, `import-keras`: exit code 2 and the option, which works."""
    two_heads().save("model.keras")
    image = np.random.default_rng(0).integers(0, 256, (*SIZE[:2], 3), dtype=np.uint8)
    Image.fromarray(image).save("picture.png")
    file = ("--ckpt_path", "model.keras")
    for command in (
        ("summary", *file),
        ("predict", *file, "--images", "picture.png"),
        ("export", *file, "--format", "keras", "--output", "odd.keras"),
        ("import-keras", "model.keras", "--output", "odd.ckpt"),
    ):
        done = cli(*command)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert "`--output_layer odd`" in done.err
        done = cli(*command, "--output_layer", "odd")
        assert done.code == 0, done.err
        assert "left out, because not needed for the output 'odd'" in done.out
    assert "digits" not in cli("summary", "--ckpt_path", "odd.ckpt").out
    images = image[None].astype(np.float32) / 255
    theirs = np.asarray(keras.models.load_model("model.keras")(images)[1])
    again = np.asarray(keras.models.load_model("odd.keras", compile=False)(images))
    np.testing.assert_allclose(again, theirs, atol=1e-5, rtol=0)
    row = Path("predictions.csv").read_text().splitlines()[1].split(",")
    assert float(row[-1]) == pytest.approx(float(theirs[0, 0]), abs=1e-5)
    done = cli("summary", "--ckpt_path", "odd.ckpt", "--output_layer", "odd")
    assert done.code == 2
    assert "--output_layer is odd, but only a Keras file needs it" in done.err
    done = cli("summary", "--model", "SignsFunctional", "--output_layer", "odd")
    assert (done.code, "--model.output_layer" in done.err) == (2, True)


@pytest.mark.slow
def test_fit_and_test_of_one_output(cli, small_signs):
    """`--model.output_layer` in `fit`; the run and its checkpoint need the file no more."""
    image = keras.Input((64, 64, 3), name="image")
    flat = layers.Flatten()(layers.MaxPooling2D(8)(layers.Conv2D(4, 3, name="conv")(image)))
    keras.Model(image, [softmax(flat, "few", 2), softmax(flat, "signs", 6)]).save("model.keras")
    train, test = small_signs
    model = ("--model", "FromKeras", "--model.path", "model.keras")
    data = ("--data.train_file", train, "--data.test_file", test)
    done = cli("fit", *model, *data, "--trainer.max_epochs", 1)
    assert (done.code, "`--model.output_layer few`" in done.err) == (2, True), done.err
    chosen = [*model, "--model.output_layer", "signs"]
    done = cli("fit", *chosen, *data, "--trainer.max_epochs", 1)
    assert done.code == 0, done.err
    done = cli("test", *chosen, "--data.test_file", test)
    assert done.code == 0, done.err
    Path("model.keras").unlink()
    run = "lightning_logs/from_keras/version_0"
    for command in (
        ("test", "--ckpt_path", run, "--data.test_file", test),
        ("fit", "--ckpt_path", run, "--trainer.max_epochs", 2),
        ("report", run),
    ):
        done = cli(*command)
        assert done.code == 0, done.err


@pytest.mark.parametrize("losses", ["list", "dict"])
def test_the_loss_is_that_of_the_chosen_output(tmp_path, losses):
    """A head for regression beside logits: its loss says nothing of the classes."""
    image = keras.Input(SIZE, name="image")
    flat = layers.Flatten()(image)
    model = keras.Model(
        image, [layers.Dense(1, name="age")(flat), layers.Dense(3, name="kind")(flat)]
    )
    loss: Any = ["mse", keras.losses.SparseCategoricalCrossentropy(from_logits=True)]
    metrics: Any = [["mae"], ["accuracy"]]
    if losses == "dict":
        loss, metrics = ({"age": v[0], "kind": v[1]} for v in (loss, metrics))
    model.compile(loss=loss, metrics=metrics, loss_weights=[0.5, 2])
    for extension in FORMATS:
        model.save(tmp_path / f"model.{extension}")
        read = from_keras(tmp_path / f"model.{extension}", scale="/255", output_layer="kind")
        assert read.num_classes == 3
        assert isinstance(read, FromKeras)
        assert not any(part.startswith(("loss", "metrics")) for part in read.omissions)
        age = from_keras(tmp_path / f"model.{extension}", scale="/255", output_layer="age")
        assert (age.task_rules.name, age.num_classes) == ("regression", 1)
        assert isinstance(age, FromKeras)
        assert not any(part.startswith(("loss ", "metrics")) for part in age.omissions)


def test_operations_that_give_several_tensors(tmp_path):
    """`split` into equal parts and at indices, and `unstack`, of images and of vectors."""
    image = keras.Input(SIZE, name="image")
    value = layers.Conv2D(6, 3, padding="same")(image)
    parts = [*keras.ops.split(value, 3, axis=-1), *keras.ops.split(value, [1, 3], axis=1)]
    planes = keras.ops.unstack(value, axis=-1)
    numbers = keras.ops.unstack(layers.Dense(3)(layers.Flatten()(planes[4])), axis=1)
    used = [parts[0], parts[2], parts[4], parts[5], planes[1], planes[5]]
    flat = [layers.Flatten()(part) for part in used] + [layers.Reshape((1,))(numbers[2])]
    model = keras.Model(image, softmax(layers.Concatenate()(flat)))
    randomize(model)
    images = images_for(model)
    model.save(tmp_path / "model.keras")
    ours = predictions(tmp_path / "model.keras", images)
    np.testing.assert_allclose(ours, np.asarray(model(images)), atol=1e-5, rtol=0)


def test_a_function_of_tensorflow_keeps_what_it_takes_by_name():
    """`a + b` of tf.keras names its second tensor in the arguments of the call."""

    def entry(class_name, name, nodes, **config):
        config |= {"name": name}
        return {"class_name": class_name, "name": name, "config": config, "inbound_nodes": nodes}

    head = {"activation": "softmax", "units": 3}
    entries = [
        entry("InputLayer", "image", [], batch_input_shape=[None, 4, 4, 3]),
        entry("GlobalAveragePooling2D", "a", [[["image", 0, 0, {}]]]),
        entry("GlobalMaxPooling2D", "b", [[["image", 0, 0, {}]]]),
        entry("TFOpLambda", "sum", [["a", 0, 0, {"y": ["b", 0, 0]}]], function="math.add"),
        entry("Dense", "one", [[["sum", 0, 0, {}]]], **head),
        entry("Dense", "two", [[["b", 0, 0, {}]]], **head),
    ]
    ends = {"input_layers": [["image", 0, 0]], "output_layers": [["one", 0, 0], ["two", 0, 0]]}
    config = {"class_name": "Functional", "config": {"name": "m", "layers": entries, **ends}}
    for output, kept in (("one", ["a", "b", "sum", "one"]), ("two", ["b", "two"])):
        plan = make_plan(config, "2.15.0", output_layer=output)
        assert [layer.path[-1] for layer, _ in plan.layers()] == kept
