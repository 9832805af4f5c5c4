"""Files from strangers: each kind of attack is tried with a real one, and is refused in a sentence
or harmless, within bounded memory.

Here: checkpoints with a payload (plain, nested, legacy, in a tar, behind a zip, as the
configuration that a command would follow), that claim more than they hold, or that unfold without
end; HDF5 data with sizes beyond reason, bombs, unexpected filters and types, links in a circle,
names with control characters; Keras files that inflate; pictures that are bombs; and class names on
the screen, in CSV, on the page and in TensorBoard.

Elsewhere: ONNX with external data or sizes without bounds (export/test_onnx.py); Keras zips with
paths, bombs or missing entries, links and external storage in them, code in layers
(keras_io/test_malformed.py); external links, external storage and virtual datasets of data
(data/test_hdf5_image_set.py); what is not what its name says (commands/test_bad_input.py,
inspect_files/test_inspect.py); hostile names on the page (report/test_report_page.py,
demo/test_demo.py); and anything at random (fuzz/).
"""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from forks import Fork
from PIL import Image, PngImagePlugin

from signs_lightning import SignsFunctional
from signs_lightning.checkpoints.files import load_classifier
from signs_lightning.checkpoints.new_checkpoint import build_checkpoint
from signs_lightning.data.dataset import H5Images
from signs_lightning.data.hdf5_image_set import check_file
from signs_lightning.errors import InputError
from signs_lightning.keras_io.load_keras import from_keras
from signs_lightning.keras_io.to_keras import export_keras
from signs_lightning.runtime.image_files import UnreadableImageError, read_image

GIB = 2**30
LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
{imports}
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + {limit}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
{work}
"""


def limited(imports: str, work: str, limit: int = GIB) -> str:
    """What Python code prints in a fork that may take `limit` bytes more than this process has."""

    def program(args: list[str]) -> int:
        exec(LIMITED.format(imports=imports, work=work, limit=limit), {})
        return 0

    done = Fork([], Path.cwd(), program).wait()
    assert done.code == 0, done.err
    return done.out


def is_one_line(message: str) -> bool:
    return message.isprintable() and 0 < len(message) <= 400


class Payload:
    """Pickles as a call that writes a file."""

    def __init__(self, way: str, file: Path) -> None:
        self.way, self.file = way, str(file)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.way == "os.system":
            return os.system, (f"touch {self.file}",)
        if self.way == "touch":
            return Path.touch, (Path(self.file),)
        return exec, (f"open({self.file!r}, 'w').close()",)


def sound() -> dict[str, Any]:
    torch.manual_seed(0)
    return build_checkpoint(SignsFunctional(num_classes=6, image_size=(32, 32, 3)).eval())


def poisoned(place: str, payload: object) -> dict[str, Any]:
    """A sound checkpoint with a payload somewhere in it."""
    checkpoint = sound()
    parts = {
        "top": lambda: checkpoint.update(extra=payload),
        "hyper_parameters": lambda: checkpoint["hyper_parameters"].update(class_names=[payload]),
        "callbacks": lambda: checkpoint.update(callbacks={"RunFiles": {"commands": [[payload]]}}),
        "state_dict": lambda: checkpoint["state_dict"].update(extra=payload),
        "optimizer_states": lambda: checkpoint.update(optimizer_states=[{"state": {0: payload}}]),
    }
    parts[place]()
    return checkpoint


VERBS = {
    "fit": "fit --ckpt_path {}",
    "validate": "validate --ckpt_path {}",
    "test": "test --ckpt_path {}",
    "predict": "predict --ckpt_path {} --images x.png",
    "export": "export --ckpt_path {} --format onnx --output out.onnx",
    "inspect": "inspect {}",
    "report": "report {}",
    "summary": "summary --ckpt_path {}",
}


@pytest.mark.usefixtures("guarded_forks")
@pytest.mark.parametrize("verb", VERBS)
def test_code_in_a_checkpoint_is_never_run(verb: str, cli: Callable, tmp_path: Path) -> None:
    """Every verb that takes a checkpoint refuses one that carries code, in one line, and writes
    nothing.
    """
    written = tmp_path / "owned"
    torch.save(poisoned("callbacks", Payload("touch", written)), tmp_path / "evil.ckpt")
    arguments = VERBS[verb].format("evil.ckpt").split()
    done = cli(*arguments)
    assert done.code == (1 if verb == "inspect" else 2)
    said = " ".join((done.out + done.err).split())
    sentence = "holds more than weights and plain values, and could run code when loaded: refused."
    assert sentence in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["evil.ckpt"]


@pytest.mark.parametrize("way", ["os.system", "touch", "exec"])
@pytest.mark.parametrize(
    "place", ["top", "hyper_parameters", "callbacks", "state_dict", "optimizer_states"]
)
def test_code_anywhere_in_a_checkpoint(place: str, way: str, tmp_path: Path) -> None:
    """Wherever it stands. A loader without care would run it, which the test shows."""
    written = tmp_path / "owned"
    torch.save(poisoned(place, Payload(way, written)), tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match="could run code when loaded: refused"):
        load_classifier(tmp_path / "evil.ckpt")
    assert not written.exists()
    torch.load(tmp_path / "evil.ckpt", weights_only=False)
    assert written.exists()


def legacy(checkpoint: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def tarred(checkpoint: dict[str, Any]) -> bytes:
    """The oldest format: a tar of pickles."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(checkpoint if name == "pickle" else 0)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def with_a_zip_behind(content: bytes) -> bytes:
    """Also a zip archive, for whoever looks at the end."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
    return content + buffer.getvalue()


@pytest.mark.parametrize(
    "form", ["legacy", "pickle", "tar", "legacy and zip", "pickle and zip", "tar and zip"]
)
def test_code_in_older_formats(form: str, tmp_path: Path) -> None:
    """Formats that this project never wrote are not even unpickled, whatever lies behind them."""
    payload = Payload("touch", tmp_path / "owned")
    checkpoint = {"state_dict": {}, "hyper_parameters": {}, "extra": payload}
    kind = form.partition(" ")[0]
    writers: dict[str, Callable[[dict[str, Any]], bytes]]
    writers = {"legacy": legacy, "pickle": pickle.dumps, "tar": tarred}
    content = writers[kind](checkpoint)
    (tmp_path / "evil.ckpt").write_bytes(with_a_zip_behind(content) if "zip" in form else content)
    with pytest.raises(InputError, match="is not a checkpoint"):
        load_classifier(tmp_path / "evil.ckpt")
    assert not (tmp_path / "owned").exists()


CONFIGS: dict[str, dict[str, Any]] = {  # a remembered configuration that a command would follow
    "a callback of a module here": {"trainer": {"callbacks": [{"class_path": "evil.Callback"}]}},
    "a callback by name": {"trainer": {"callbacks": "evil.Callback"}},
    "a function as callback": {
        "trainer": {"callbacks": [{"class_path": "lightning.pytorch.callbacks.LambdaCallback"}]}
    },
    "a logger elsewhere": {
        "trainer": {
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": "/tmp/elsewhere"},
            }
        }
    },
    "a profiler upwards": {
        "trainer": {
            "profiler": {
                "class_path": "lightning.pytorch.profilers.SimpleProfiler",
                "init_args": {"dirpath": "../x"},
            }
        }
    },
    "an optimizer of a module here": {
        "model": {"class_path": "SignsFunctional", "init_args": {"optimizer": "evil.optimizer"}}
    },
    "a transform of a module here": {
        "model": {"init_args": {"augmentation": [{"class_path": "evil.Transform"}]}}
    },
    "a transform that calls": {
        "model": {
            "init_args": {
                "augmentation": [
                    {
                        "class_path": "torchvision.transforms.v2.Lambda",
                        "init_args": {"lambd": "evil.run"},
                    }
                ]
            }
        }
    },
    "a metric of a module here": {
        "model": {"init_args": {"metrics": [{"class_path": "evil.Metric"}]}}
    },
    "a loss inside a loss": {
        "model": {
            "init_args": {
                "loss": {
                    "class_path": "torch.nn.Sequential",
                    "init_args": {"args": [{"class_path": "evil.Loss"}]},
                }
            }
        }
    },
    "a function in place of Lightning's own": {
        "trainer": {
            "callbacks": [
                {
                    "class_path": "lightning.pytorch.callbacks.BackboneFinetuning",
                    "init_args": {"lambda_func": "evil.run"},
                }
            ]
        }
    },
    "a name that climbs": {"name": "../../elsewhere"},
    "a name from the root": {"name": "/tmp/elsewhere"},
    "data that are a class": {"data": {"val_file": {"class_path": "evil.Data"}}},
    "data that are a class in a text": {"data": {"val_file": "{class_path: evil.Data}"}},
    "data that become a class": {"data": {"val_file.class_path": "evil.Data"}},
    "a function that a module of Lightning's imports": {
        "model": {
            "init_args": {
                "optimizer": {
                    "class_path": "lightning.pytorch.cli.os.system",
                    "init_args": {"command": "touch owned"},
                }
            }
        }
    },
    "a class of another kind": {
        "trainer": {
            "logger": {
                "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
                "init_args": {
                    "save_dir": "x",
                    "comment": {
                        "class_path": "signs_lightning.commands.fit_validate_test.CLI",
                        "init_args": {"verb": "fit", "args": ["--model=evil.Model"]},
                    },
                },
            }
        }
    },
    "no class at all, around one": {
        "trainer": {
            "callbacks": [{"class_path": None, "init_args": {"x": {"class_path": "evil.Callback"}}}]
        }
    },
    "a strategy of a module here": {"trainer": {"strategy": {"class_path": "evil.Strategy"}}},
    "an option by its parts": {"trainer": {"strategy.class_path": "evil.Strategy"}},
    "a configuration from the net": {"trainer": {"strategy": "http://127.0.0.1:9/evil.yaml"}},
    "a seed that is a text": {"seed_everything": "evil.seed"},
}
PLACES = [
    "/tmp/x", "../x", "~/x", "$HOME/x", "file:///tmp/x", "s3://bucket/x", "C:/x", "a/../../x",
    "..\\x",
]  # fmt: skip
FILE_NAMES = [
    *PLACES, "{epoch:c}{epoch:c}/x", "{../x}", "{/tmp/x:.2f}", "{epoch.__class__}",
    "{epoch:{step}}",
]  # fmt: skip
NEEDED_TO_EVALUATE = {"loss", "data", "strategy", "seed_everything"}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_configuration_cannot_import_or_write_elsewhere(
    case: str,
    cli: Callable,
    small_signs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What `fit` would make of a remembered run is refused where it names classes of strangers'
    modules or other folders.
    """
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    checkpoint = sound() | {"config": CONFIGS[case]}
    torch.save(checkpoint, tmp_path / "evil.ckpt")
    done = cli("fit", "--data.train_file", small_signs[0], "--ckpt_path", "evil.ckpt")
    assert done.code == 2
    assert "which could run code or write elsewhere: refused." in done.err
    if any(f"'{name}" in repr(CONFIGS[case]) for name in NEEDED_TO_EVALUATE):
        done = cli("test", "--data.test_file", small_signs[1], "--ckpt_path", "evil.ckpt")
        assert done.code == 2
        assert "which could run code or write elsewhere: refused." in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.ckpt", "evil.py"]


@pytest.mark.parametrize("argument", ["save_dir", "filename", "dirpath"])
def test_no_remembered_text_leads_elsewhere(
    argument: str, cli: Callable, small_signs, tmp_path: Path
) -> None:
    """Where Lightning writes: below the working directory or not at all, also after it has filled
    in names and patterns.
    """
    for text in FILE_NAMES if argument == "filename" else PLACES:
        kinds = {"save_dir": "loggers.CSVLogger", "filename": "callbacks.ModelCheckpoint"}
        kind = kinds.get(argument, "profilers.SimpleProfiler")
        made = {"class_path": f"lightning.pytorch.{kind}", "init_args": {argument: text}}
        option = kind.partition(".")[0].removesuffix("s")
        trainer = {"callbacks": [made]} if option == "callback" else {option: made}
        torch.save(sound() | {"config": {"trainer": trainer}}, tmp_path / "evil.ckpt")
        done = cli("fit", "--data.train_file", small_signs[0], "--ckpt_path", "evil.ckpt")
        assert done.code == 2, text
        assert "which could run code or write elsewhere: refused." in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["evil.ckpt"]


@pytest.mark.slow
def test_evaluation_makes_nothing_of_a_run_s_training(
    cli: Callable, small_signs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callbacks, loggers, profilers, optimizers and schedules of strangers: the verbs but `fit`
    don't look at them.
    """
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    kind = {"class_path": "evil.Kind"}
    config = {
        "name": "../../elsewhere",
        "trainer": {"callbacks": [kind], "logger": [kind], "profiler": [kind]},
        "model": {
            "init_args": {
                "optimizer": kind,
                "lr_scheduler": kind,
                "augmentation": [{"class_path": "evil.Transform"}],
                "metrics": [{"class_path": "evil.Metric"}],
            }
        },
    }
    checkpoint = build_checkpoint(SignsFunctional(num_classes=6, image_size=(64, 64, 3)).eval())
    torch.save(checkpoint | {"config": config}, "evil.ckpt")
    given = ("--ckpt_path", "evil.ckpt", "--data.test_file", small_signs[1])
    sentence = "leaves out 'evil.Metric'; to have it, add --model.metrics+=evil.Metric."
    for verb in ("test", "validate"):
        done = cli(verb, *given)
        assert done.code == 0, done.err
        assert f"model.metrics {sentence}" in done.out
    assert cli("predict", *given).code == 0
    assert cli("summary", "--ckpt_path", "evil.ckpt").code == 0
    assert cli("inspect", "evil.ckpt").code == 0
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["evil.ckpt", "evil.py", "predictions.csv"]


@pytest.mark.parametrize("place", ["callbacks", "model"])
def test_a_run_folder_without_a_checkpoint_is_no_more_trusted(
    place: str, cli: Callable, small_signs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fit --ckpt_path` begins it anew from its config.yaml, which may be a stranger's, too."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    callbacks = [{"class_path": "evil.Kind"}] if place == "callbacks" else []
    model = "evil.SignsFunctional" if place == "model" else "signs_lightning.SignsFunctional"
    (tmp_path / "run").mkdir()
    config = {"trainer": {"callbacks": callbacks}, "model": {"class_path": model}}
    (tmp_path / "run/config.yaml").write_text(json.dumps(config))
    done = cli("fit", "--data.train_file", small_signs[0], "--ckpt_path", "run")
    assert done.code == 2
    options = {"callbacks": "--trainer.callbacks+=evil.Kind."}
    assert options.get(place, "--model evil.SignsFunctional\n") in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.py", "run"]


def test_no_file_that_a_checkpoint_names_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Keras file that a hostile checkpoint says it came from, and the folder where its run is
    said to lie.
    """
    export_keras(SignsFunctional(num_classes=6, image_size=(32, 32, 3)), tmp_path / "secret.keras")
    checkpoint = build_checkpoint(from_keras(tmp_path / "secret.keras"))
    checkpoint["hyper_parameters"]["path"] = str(tmp_path / "secret.keras")
    checkpoint["config"] = {"trainer": {"default_root_dir": str(tmp_path / "elsewhere")}}
    torch.save(checkpoint, tmp_path / "evil.ckpt")
    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    model, _ = load_classifier(tmp_path / "evil.ckpt")
    assert "path" not in model.hparams
    assert not [path for path in opened if "secret" in path or "elsewhere" in path]
    assert [path for path in opened if "evil.ckpt" in path]


def doubling() -> list[Any]:
    """Fifty lists that unfold to 2⁵⁰ values."""
    value: list[Any] = [0, 0]
    for _ in range(50):
        value = [value, value]
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


CLAIMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "weights of 4 TiB": lambda c: c["state_dict"].update(extra=torch.zeros(()).expand(2**40)),
    "the same, for a model of that size": lambda c: (
        c["hyper_parameters"].update(image_size=(2**20, 2**20, 3)),
        c["state_dict"].update({"network.7.weight": torch.zeros(()).expand(6, 2**34)}),
    ),
    "a model for images of 2⁴⁰ pixels": lambda c: c["hyper_parameters"].update(
        image_size=(2**20, 2**20, 3)
    ),
    "2³⁰ classes": lambda c: c["hyper_parameters"].update(num_classes=2**30),
    "lists that double": lambda c: c["hyper_parameters"].update(class_names=doubling()),
    "a configuration that doubles": lambda c: c.update(config={"data": {"x": doubling()}}),
    "a list that holds itself": lambda c: c["hyper_parameters"].update(class_names=endless()),
    "class names of numbers": lambda c: c["hyper_parameters"].update(
        class_names=[1, 2, 3, 4, 5, 6]
    ),
    "a configuration that is a list": lambda c: c.update(config=[1]),
    "a training of texts": lambda c: c["signs_lightning"].update(training=["x"]),
    "half a training": lambda c: c["signs_lightning"].update(training={"optimizer": "KerasAdam"}),
    "a history of texts": lambda c: c["signs_lightning"].update(history=["x"]),
    "callbacks that are numbers": lambda c: c.update(callbacks=7),
    "sparse weights": lambda c: c["state_dict"].update(extra=torch.zeros(3).to_sparse()),
}


def test_checkpoints_that_claim_too_much(tmp_path: Path) -> None:
    """Each is refused within a gibibyte; lists that double are small in the file."""
    for number, change in enumerate(CLAIMS.values()):
        checkpoint = sound()
        change(checkpoint)
        torch.save(checkpoint, tmp_path / f"{number:02}.ckpt")
        assert (tmp_path / f"{number:02}.ckpt").stat().st_size < 100_000
    with zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(300 * 2**20))
    said = limited(
        "from signs_lightning import ImageClassifier\n"
        "from signs_lightning.checkpoints.files import load_classifier\n"
        "from signs_lightning.errors import InputError\nimport signs_lightning.data.datamodule",
        f"""
for path in sorted(Path({str(tmp_path)!r}).glob("*.ckpt")):
    try:
        load_classifier(path)
        print("loaded")
    except InputError as error:
        print(error)
""",
    ).splitlines()
    assert len(said) == len(CLAIMS) + 1
    for case, sentence in zip([*CLAIMS, "zip bomb"], said, strict=True):
        assert sentence.startswith(str(tmp_path)), case
        assert is_one_line(sentence.replace(str(tmp_path), "")), case


def write(path: Path, **datasets: Any) -> None:
    """An HDF5 file; a function among the values writes its dataset itself."""
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            if callable(values):
                values(file, name)
            else:
                file[name] = values


def claimed(
    shape: tuple[int, ...], dtype: str = "u1", **options: Any
) -> Callable[[h5py.File, str], Any]:
    """A dataset that was never written."""
    return lambda file, name: file.create_dataset(name, shape, dtype, **options)


def packed(
    shape: tuple[int, ...], dtype: str, chunk: tuple[int, ...], filters: list[int], content: bytes
) -> Callable[[h5py.File, str], Any]:
    """A dataset whose first chunk holds bytes that no filter wrote."""

    def make(file: h5py.File, name: str) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(chunk)
        for code in filters:
            properties.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (6,) if code == 1 else (0, 0, 0, 0))
        kind, space = h5py.h5t.py_create(np.dtype(dtype)), h5py.h5s.create_simple(shape)
        h5py.h5d.create(file.id, name.encode(), kind, space, properties).write_direct_chunk(
            (0,) * len(shape), content
        )

    return make


def deflated(size: int) -> bytes:
    """So many zeros."""
    packer, parts = zlib.compressobj(9), []
    for _ in range(size // 2**24):
        parts.append(packer.compress(bytes(2**24)))
    return b"".join([*parts, packer.flush()])


def one_heap_text(file: h5py.File, name: str) -> None:
    """A thousand class names that all lie at one place, where a text of a megabyte is."""
    file.create_dataset(name, (1000,), h5py.string_dtype())[0] = "x" * 2**20
    place = file[name].id.get_offset()
    path = file.filename
    file.flush()
    with open(path, "r+b") as raw:
        raw.seek(place)
        reference = raw.read(16)
        raw.seek(place)
        raw.write(reference * 1000)


SMALL, Y = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4)
TERA = deflated(3 * GIB)
# datasets → what is said; "" for what is harmless
HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "2⁶⁰ images": (
        {
            "x": claimed((2**60, 64, 64, 3), chunks=(1, 64, 64, 3)),
            "y": claimed((2**60,), chunks=(1024,)),
        },
        "more than can be read",
    ),
    "2⁶⁰ labels for few images": (
        {"x": SMALL, "y": claimed((2**60,), chunks=(1024,))},
        "more than can be read",
    ),
    "2⁵⁰ pixels": (
        {"x": claimed((4, 2**40, 2**10, 3), chunks=(1, 64, 64, 3)), "y": Y},
        "images of 1,099,511,627,776×1,024 pixels, which cannot",
    ),
    "2⁶⁰ classes": (
        {"x": SMALL, "y": Y, "list_classes": claimed((2**60,), "S8", chunks=(1024,))},
        "more than can be read",
    ),
    "one-hot of 2⁵⁰": (
        {"x": SMALL, "y": claimed((4, 2**50), chunks=(1, 1024))},
        "more than can be read",
    ),
    "chunks of a gibibyte": (
        {"x": claimed((2**18, 64, 64, 1), chunks=(2**18, 64, 64, 1)), "y": claimed((2**18,))},
        "has chunks of 1,073,741,824 bytes",
    ),
    "a bomb in the labels": (
        {"x": SMALL, "y": packed((4,), "i8", (4,), [1], TERA)},
        "a decompression bomb",
    ),
    "a bomb in the classes": (
        {"x": SMALL, "y": Y, "list_classes": packed((4,), "S8", (4,), [1], TERA)},
        "a decompression bomb",
    ),
    "a bomb in float images": (
        {"x": packed((4, 8, 8, 3), "f4", (4, 8, 8, 3), [2, 1], TERA), "y": Y},
        "a decompression bomb",
    ),
    "a bomb with a checksum": (
        {"x": packed((4, 8, 8, 3), "u1", (4, 8, 8, 3), [1, 3], TERA + b"1234"), "y": Y},
        "a decompression bomb",
    ),
    "a bomb in images": (
        {"x": packed((4, 8, 8, 3), "u1", (4, 8, 8, 3), [1], TERA), "y": Y},
        "is damaged: a chunk has",
    ),
    "a bomb in a bomb": (
        {"x": packed((4, 8, 8, 3), "u1", (4, 8, 8, 3), [1, 1], zlib.compress(TERA)), "y": Y},
        "is packed twice",
    ),
    "a filter that is unknown": (
        {"x": packed((4, 8, 8, 3), "u1", (4, 8, 8, 3), [65000], b"x" * 99), "y": Y},
        "is packed by filter 65000, which is not built in",
    ),
    "nonsense for szip": (
        {"x": SMALL, "y": packed((4,), "i8", (4,), [4], b"x" * 99)},
        "is packed by szip, which is not unpacked here",
    ),
    "class names in one place": (
        {"x": SMALL, "y": Y, "list_classes": one_heap_text},
        "no text, or too much of it",
    ),
    "compound images": (
        {"x": np.zeros((4, 8, 8, 3), [("a", "u1"), ("b", "f8")]), "y": Y},
        "is a table with the fields a, b",
    ),
    "opaque images": ({"x": np.zeros((4, 8, 8, 3), "V1"), "y": Y}, "expected uint8, or numbers"),
    "images of any length": (
        {"x": claimed((4, 8, 8, 3), h5py.vlen_dtype(np.uint8)), "y": Y},
        "expected uint8, or numbers",
    ),
    "compound labels": (
        {"x": SMALL, "y": np.zeros(4, [("a", "u1"), ("b", "f8")])},
        "expected class numbers",
    ),
    "labels of any length": (
        {"x": SMALL, "y": claimed((4,), h5py.vlen_dtype(np.uint8))},
        "expected class numbers",
    ),
    "references as labels": (
        {"x": SMALL, "y": claimed((4,), h5py.ref_dtype)},
        "expected class numbers",
    ),
    "references as classes": (
        {"x": SMALL, "y": Y, "list_classes": claimed((4,), h5py.regionref_dtype)},
        "no text, or too much of it",
    ),
    "compound classes": (
        {"x": SMALL, "y": Y, "list_classes": np.zeros(4, [("a", "u1")])},
        "expected the names of the classes",
    ),
    "a type instead of images": (
        {"x": np.dtype("f4"), "y": Y},
        "has no dataset that looks like the images",
    ),
    "links in a circle": (
        {"x": h5py.SoftLink("/z"), "z": h5py.SoftLink("/x"), "y": Y},
        "has no dataset that looks like the images",
    ),
    "a group in itself": (
        {
            "g": lambda file, name: file.create_group(name).__setitem__("g", file["/"]),
            "x": SMALL,
            "y": Y,
        },
        "",
    ),
    "codes in the keys": (
        {"\x1b[2Jx\n_x": SMALL, "\x1b]0;t\x07_x": SMALL, "y": Y},
        r"several datasets that could be the images: '\x1b",
    ),
    "codes in the classes": (
        {"x": SMALL, "y": Y, "list_classes": [b"\x1b[31m", b"\x1b[31m", b"a", b"b"]},
        "expected different names",
    ),
    "a name of 50,000 characters": (
        {"x" * 50_000: SMALL, "y": Y},
        "",  # the only dataset that can be images
    ),
    "a type with a name": (
        {
            "t": np.dtype("u1"),
            "x": lambda file, name: file.create_dataset(name, data=SMALL, dtype=file["t"]),
            "y": Y,
        },
        "",
    ),
    "attributes of every kind": (
        {
            "x": SMALL,
            "y": Y,
            "a": lambda file, name: file["x"].attrs.update(
                {"\x1b": np.bytes_(b"\x00\x1b"), "r": file["x"].regionref[:], "e": h5py.Empty("f4")}
            ),
        },
        "",
    ),
}


def test_hostile_data_within_a_gibibyte(tmp_path: Path) -> None:
    """Each is refused in a sentence, or read whole; in a process that has a gibibyte, which the
    bombs would fill three times.
    """
    for number, (datasets, _) in enumerate(HOSTILE.values()):
        write(tmp_path / f"{number:02}.h5", **datasets)
    said = limited(
        "from signs_lightning.data.dataset import H5Images\n"
        "from signs_lightning.data.hdf5_image_set import check_file\n"
        "from signs_lightning.errors import InputError",
        f"""
for path in sorted(Path({str(tmp_path)!r}).glob("*.h5")):
    try:
        images = H5Images([check_file(path)])
        images.read_sorted(np.arange(len(images)))
        print("read")
    except InputError as error:
        print(error)
""",
    ).splitlines()
    assert len(said) == len(HOSTILE)
    for (case, (_, expected)), sentence in zip(HOSTILE.items(), said, strict=True):
        assert (expected in sentence) if expected else sentence == "read", (case, sentence)
        assert is_one_line(sentence.replace(str(tmp_path), "")), (case, sentence)


@pytest.mark.parametrize(
    "chunks",
    [
        None,
        pytest.param((1, 64, 64, 3), marks=pytest.mark.slow),
        pytest.param((2**20, 4, 4, 1), marks=pytest.mark.slow),
    ],
)
def test_a_hundred_gigabytes_of_nothing(chunks: tuple[int, ...] | None, tmp_path: Path) -> None:
    """A file of some megabytes that claims 100 GB of images is read block by block, in bounded
    memory, and not mapped.
    """
    count = 8 * 2**20
    write(
        tmp_path / "f.h5",
        x=claimed((count, 64, 64, 3), chunks=chunks),
        y=claimed((count,), chunks=(2**16,), compression="gzip"),
    )
    assert (tmp_path / "f.h5").stat().st_size < 10 * 2**20
    said = limited(
        "from signs_lightning.data.dataset import H5Images\n"
        "from signs_lightning.data.hdf5_image_set import check_file",
        f"""
images = H5Images([check_file({str(tmp_path / "f.h5")!r})])
assert not images.readers[0].layout.is_mapped
block = int(np.diff(images.blocks).max())
for low in (0, len(images) // 2, len(images) - block):
    assert not images.read_sorted(np.arange(low, low + block)).any()
print(len(images), block * 12288 <= 2**28)
""",
        limit=2 * GIB,
    )
    assert said == f"{count} True\n"


def test_a_small_keras_file_cannot_claim_a_large_model(tmp_path: Path) -> None:
    """Config and arrays agree on 64 GiB, none of which were ever written."""
    export_keras(
        SignsFunctional(num_classes=6, image_size=(32, 32, 3)), tmp_path / "m.h5", "keras-h5"
    )
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        model = json.loads(file.attrs["model_config"])
        dense = model["config"]["layers"][-1]
        dense["config"]["units"] = units = 2**30
        file.attrs["model_config"] = json.dumps(model)
        group = file["model_weights"][dense["config"]["name"]]
        for name, shape in zip(group.attrs["weight_names"], ((16, units), (units,)), strict=True):
            del group[name]
            group.create_dataset(name, shape, "f4", chunks=(1, 2**20)[-len(shape) :])
    assert (tmp_path / "m.h5").stat().st_size < 100_000
    with pytest.raises(InputError, match=r"claim to take .* bytes, and the file has"):
        from_keras(tmp_path / "m.h5")


def rewritten(path: Path, change: Callable[[zipfile.ZipFile, dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        change(archive, content)


def twice(archive: zipfile.ZipFile, content: dict[str, bytes]) -> None:
    for name in (*content, "config.json"):
        again = name in archive.namelist()
        with pytest.warns(UserWarning, match="Duplicate") if again else nullcontext():
            archive.writestr(name, content[name])


def symbolic(archive: zipfile.ZipFile, content: dict[str, bytes]) -> None:
    """The config is a symbolic link to a file of the machine."""
    entry = zipfile.ZipInfo("config.json")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    archive.writestr(entry, "/etc/passwd")
    for name, value in content.items():
        if name != "config.json":
            archive.writestr(name, value)


def falsely_sized(archive: zipfile.ZipFile, content: dict[str, bytes]) -> None:
    """An entry says that it is small and is not."""
    for name, value in content.items():
        value = bytes(200 * 2**20) if name == "config.json" else value
        archive.writestr(name, value, zipfile.ZIP_DEFLATED)
    entry = archive.getinfo("config.json")
    entry.file_size = 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (twice, "two entries of one name"),
        (symbolic, "is not JSON"),
        (falsely_sized, "damaged zip archive|not JSON"),
    ],
)
def test_keras_archives(change: Callable, message: str, tmp_path: Path) -> None:
    """Entries that stand twice, are links or lie about their size; nothing that they name is
    opened.
    """
    path = tmp_path / "m.keras"
    export_keras(SignsFunctional(num_classes=6, image_size=(32, 32, 3)), path)
    rewritten(path, change)
    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    with pytest.raises(InputError, match=message):
        from_keras(path)
    assert "/etc/passwd" not in opened


GREY, RGB = 0, 2  # colour types of PNG


def png(width: int, height: int, color_type: int, data: bytes) -> bytes:
    """A PNG of so many pixels, as it says, with these packed data."""
    head = np.array([width, height], ">u4").tobytes() + bytes([8, color_type, 0, 0, 0])
    chunks = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    parts = (
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
        for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def talkative(chunk: bytes) -> bytes:
    """A sound PNG with a text or a colour profile that unpacks to 300 MB."""
    buffer, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add(chunk, b"x\0\0" + zlib.compress(bytes(300 * 10**6)))
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def large() -> bytes:
    """14,000 × 14,000 pixels of one colour in a few hundred kilobytes."""
    row = zlib.compressobj(9)
    data = b"".join(row.compress(bytes(14_001)) for _ in range(14_000)) + row.flush()
    return png(14_000, 14_000, GREY, data)


PICTURES: dict[str, Callable[[], bytes]] = {
    "100,000 × 100,000": lambda: png(100_000, 100_000, RGB, zlib.compress(b"")),
    "14,000 × 14,000": large,
    "2³¹ × 1": lambda: png(2**31 - 1, 1, RGB, zlib.compress(b"")),
    "a text of 300 MB": lambda: talkative(b"zTXt"),
    "a profile of 300 MB": lambda: talkative(b"iCCP"),
    "a bitmap of 2³¹ rows": lambda: (
        b"BM"
        + bytes(8)
        + (54).to_bytes(4, "little")
        + (40).to_bytes(4, "little")
        + b"\xff\xff\xff\x7f" * 2
        + b"\1\0\x18\0"
        + bytes(24)
    ),
    "a PostScript program": lambda: (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(/etc/passwd) run\n"
    ),
}


@pytest.mark.parametrize("case", PICTURES)
def test_pictures_that_are_bombs(case: str, tmp_path: Path) -> None:
    """Refused in a line, or read without what is attached; Pillow takes at most a gibibyte."""
    (tmp_path / "x.png").write_bytes(PICTURES[case]())
    said = limited(
        "from signs_lightning.runtime.image_files import UnreadableImageError, read_image\n"
        "from PIL import Image\nImage.init()",
        f"""
try:
    print(read_image({str(tmp_path / "x.png")!r}, (8, 8, 3)).shape)
except UnreadableImageError as error:
    print(error)
""",
    )
    assert is_one_line(said.rstrip("\n"))
    assert (said == "(8, 8, 3)\n") == (case == "a profile of 300 MB") or "damaged" in said


NAMES = [
    "\x1b[31mred\x1b[0m", "<script>alert(1)</script>", "=1+1", "@SUM(A1)", "\x07\x00bell",
    "[bold]x[/bold]",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on data whose classes have hostile names."""
    from signs_lightning.__main__ import main

    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    names = np.array([name.encode() for name in NAMES], "S40")
    for name in ("d.h5", "t.h5"):
        images = rng.integers(0, 256, (24, 32, 32, 3), np.uint8)
        write(folder / name, x=images, y=np.arange(24) % 6, list_classes=names)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        args = [
            "--data.train_file", "d.h5", "--data.test_file", "t.h5", "--trainer.max_epochs", "1",
        ]  # fmt: skip
        assert main(["fit", *args, "--trainer.accelerator", "cpu"]) == 0
    return folder


@pytest.mark.usefixtures("guarded_forks")
@pytest.mark.slow
def test_names_are_harmless_wherever_they_are_shown(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """On the screen of test, predict, inspect and summary, in predictions.csv, on the page, in
    TensorBoard, and as names of files.
    """
    from signs_lightning.__main__ import main

    run = "lightning_logs/signs_functional/version_0"
    monkeypatch.chdir(trained)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["test", "--ckpt_path", run]) == 0
    assert main(["predict", "--ckpt_path", run, "--data.test_file", "d.h5"]) == 0
    assert main(["inspect", "d.h5", run]) == 0
    assert main(["report", run]) == 0
    out, err = capfd.readouterr()
    for text in (out, err):
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\x00" not in text
    assert r"\x1b[31mred\x1b[0m" in out
    assert "[bold]x[/bold]" in out
    cells = [
        cell
        for line in (trained / "predictions.csv").read_text().splitlines()[1:]
        for cell in line.split(",")
    ]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+", "\t"))]
    assert {"'=1+1", "'@SUM(A1)"} & set(cells)
    page = next(trained.rglob("report.html")).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not [c for c in page if not c.isprintable() and c != "\n"]
    for path in trained.rglob("*"):
        assert path.name.isprintable()
        assert "script" not in path.name
    history = (trained / run / "history.csv").read_text()
    assert history.replace("\n", "").isprintable()


def test_tags_in_tensorboard(trained: Path) -> None:
    """No tag carries a class name's control characters or markup."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tags = []
    for events in trained.rglob("events.out.tfevents.*"):
        accumulator = EventAccumulator(str(events.parent))
        accumulator.Reload()
        for kind in accumulator.Tags().values():
            tags += kind if isinstance(kind, list) else []
    assert tags
    assert not [tag for tag in tags if not tag.isprintable() or "<script" in tag]


def test_read_image_never_starts_a_program(tmp_path: Path) -> None:
    """PostScript would be run by Ghostscript."""
    (tmp_path / "x.eps").write_bytes(PICTURES["a PostScript program"]())
    started: list[str] = []
    starting = ("subprocess.Popen", "os.posix_spawn", "os.system")
    sys.addaudithook(lambda event, args: started.append(event) if event in starting else None)
    with pytest.raises(UnreadableImageError):
        read_image(str(tmp_path / "x.eps"), (8, 8, 3))
    assert started == []


def test_sound_files_stay_sound(tmp_path: Path) -> None:
    """What the limits above must not touch: large gzip chunks, texts of any length as class names,
    objects of PyTorch in a checkpoint.
    """
    images = np.random.default_rng(0).integers(0, 256, (64, 128, 128, 3), np.uint8)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        gzip = {"compression": "gzip"}
        file.create_dataset("x", data=images, chunks=images.shape, fletcher32=True, **gzip)
        file.create_dataset("y", data=np.arange(64) % 3, chunks=(64,), shuffle=True, **gzip)
        file["list_classes"] = ["手", "b", "c"]
    data = H5Images([check_file(tmp_path / "f.h5")])
    np.testing.assert_array_equal(data.read_sorted(np.arange(64)), images)
    assert data.readers[0].images.class_names == ["手", "b", "c"]
    stopping = "lightning.pytorch.callbacks.EarlyStopping"
    optimizer = {"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9}}
    config = {
        "name": "a/b",
        "trainer": {
            "precision": "bf16-mixed",
            "max_time": {"hours": 1},
            "devices": "0,1",
            "default_root_dir": "/scratch",
            "callbacks": [{"class_path": stopping, "init_args": {"monitor": "val_loss"}}],
        },
        "model": {"init_args": {"optimizer": optimizer}},
    }
    torch.save(sound() | {"config": config}, tmp_path / "m.ckpt")
    assert load_classifier(tmp_path / "m.ckpt")[0].num_classes == 6
