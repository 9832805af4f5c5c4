"""The border: what a stranger could plant in a checkpoint, in a run folder or in its config.yaml is
refused in a sentence. Nothing of it is imported, called, fetched, sent, written or deleted.

The other side, what owners do, is in test_owners.py. Files of other kinds are in
test_hostile_files.py.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import signs_lightning
from signs_lightning.errors import InputError
from signs_lightning.models.resume_optimizer_state import check_optimizer_states

LIGHTNING = "lightning.pytorch"


class Payload:
    """Pickles as a call that makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("owned"),)


def made(path: str, /, **arguments: Any) -> dict[str, Any]:
    return {"class_path": path, "init_args": arguments}


def trainer(**options: Any) -> Callable:
    """The checkpoint's or config.yaml's own section of the Trainer says so."""

    def change(contents: dict[str, Any]) -> None:
        contents.get("config", contents)["trainer"].update(options)

    return change


def callback(name: str, /, **arguments: Any) -> Callable:
    return trainer(callbacks=[made(name, **arguments)])


def logger(name: str, /, **arguments: Any) -> Callable:
    return trainer(logger=made(f"{LIGHTNING}.loggers.{name}", **arguments))


def model(**arguments: Any) -> Callable:
    def change(contents: dict[str, Any]) -> None:
        contents["config"]["model"]["init_args"].update(arguments)

    return change


def put(*path: Any, value: Any) -> Callable:
    """A value at a place in a checkpoint or a config.yaml."""

    def change(contents: dict[str, Any]) -> None:
        for key in path[:-1]:
            contents = contents[key]
        contents[path[-1]] = value

    return change


def kept(path: str) -> Callable:
    """ModelCheckpoint is said to have kept a file as the worst of the best, which it deletes."""

    def change(contents: dict[str, Any]) -> None:
        states = contents["callbacks"]
        state = next(states[name] for name in states if name.startswith("ModelCheckpoint"))
        score, folder = torch.tensor(99.0), "RUN/checkpoints"
        state |= {"dirpath": folder, "kth_value": score, "kth_best_model_path": path}
        state |= {"best_k_models": {path: score}, "best_model_path": path}

    return change


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


STATE = ("optimizer_states", 0, "state", 0, "exp_avg")
FETCHING = "torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity"
CLIP = "torchmetrics.multimodal.clip_score.CLIPScore"
ADDRESS = "http://127.0.0.1:9/x"
IN_CHECKPOINT: dict[str, Callable] = {
    "a callback of a module beside it": callback("evil.Callback"),
    "a callback of another distribution": callback("pytorch_lightning.callbacks.Timer"),
    "a callback that calls": callback(f"{LIGHTNING}.callbacks.LambdaCallback", setup="evil.run"),
    "a callback as a text": trainer(callbacks="evil.Callback"),
    "a callback that writes over a run": callback(
        f"{LIGHTNING}.callbacks.ModelCheckpoint", dirpath="mine/checkpoints", filename="x"
    ),
    "a callback that writes over a file": callback(
        f"{LIGHTNING}.callbacks.OnExceptionCheckpoint", dirpath=".", filename="own"
    ),
    "a callback without version counter": callback(
        f"{LIGHTNING}.callbacks.ModelCheckpoint",
        dirpath=".",
        filename="own",
        enable_version_counter=False,
    ),
    "a logger from the root": logger("CSVLogger", save_dir="/tmp/elsewhere"),
    "a logger that climbs": logger("TensorBoardLogger", save_dir="logs/../../x"),
    "a logger whose name climbs": logger("CSVLogger", save_dir="x", name="../../x"),
    "a logger into another run": logger("CSVLogger", save_dir="", name="", version="mine"),
    "a logger that sends": logger("WandbLogger", project="x", entity="evil"),
    "a logger that sends, though offline": logger("WandbLogger", offline=True, mode="online"),
    "another logger that sends": logger("CometLogger", workspace="evil"),
    "a logger at an address": logger("MLFlowLogger", tracking_uri=ADDRESS),
    "a profiler from the root": trainer(
        profiler=made(f"{LIGHTNING}.profilers.SimpleProfiler", dirpath="/tmp")
    ),
    "a plugin": trainer(plugins=[made("evil.IO")]),
    "a strategy": trainer(strategy=made("evil.Strategy")),
    "a strategy by its parts": trainer(**{"strategy.class_path": "evil.Strategy"}),
    "a registry of models": trainer(model_registry="evil"),
    "an optimizer that calls": model(
        optimizer=made(f"{LIGHTNING}.cli.os.system", command="touch owned")
    ),
    "a loss in a loss": model(loss=made("torch.nn.Sequential", args=[made("evil.Loss")])),
    "a transform that calls": model(
        augmentation=[made("torchvision.transforms.v2.Lambda", lambd="evil.run")]
    ),
    "a metric that fetches": model(metrics=[made(FETCHING)]),
    "a metric of somebody's network": model(metrics=[made(CLIP, model_name_or_path="evil")]),
    "a name that climbs": put("config", "name", value="../../x"),
    "a seed that is a text": put("config", "seed_everything", value="evil.seed"),
    "data that are a class": put("config", "data", "val_file", value=made("evil.Data")),
    "data that are a class in a text": put(
        "config", "data", "val_file", value="{class_path: evil.Data}"
    ),
    "lists without end": put("config", "name", value=nested(400)),
    "a model of a module beside it": put("signs_lightning", "model", value="evil.SignsFunctional"),
    "a network of a module beside it": lambda c: (
        c["signs_lightning"].update(model="ImageClassifier", network="evil.build"),
        c["hyper_parameters"].update(network_args={}),
    ),
    "code in the state of a callback": put("callbacks", "RunFiles", value={"x": Payload()}),
    "code in the state of the optimizer": put(*STATE, value=Payload()),
    "a file to delete, upwards": kept("RUN/checkpoints/../../precious.ckpt"),
    "a folder to delete": kept("RUN/checkpoints/../../mine"),
    "a folder to delete in its own": kept("RUN/checkpoints/folder"),
    "an optimizer's state beyond the file": put(*STATE, value=torch.zeros(1).expand(2**40)),
    "an optimizer's state with less memory": put(
        *STATE, value=torch.zeros(1).expand(8, 3, 4, 4)
    ),
    "an optimizer's state of another kind": put(*STATE, value="x"),
    "an optimizer's state nowhere": put(*STATE, value=torch.zeros(3, device="meta")),
    "weights nowhere": lambda c: c.update(
        state_dict={k: t.to("meta") for k, t in c["state_dict"].items()}
    ),
    "weights of another shape": lambda c: c["state_dict"].update(
        {key: torch.zeros(3) for key in list(c["state_dict"])[:1]}
    ),
    "a billion classes": put("hyper_parameters", "num_classes", value=10**9),
    "a million rows": put("hyper_parameters", "image_size", value=(10**6, 10**6, 3)),
    "a later format": put("signs_lightning", "format_version", value=99),
    "a release of Lightning that never was": put("pytorch-lightning_version", value="0.1"),
    "a best value that is a text": put("callbacks", "RunCheckpoint", value={"best_value": "x"}),
    "a command that is a number": put("callbacks", "RunFiles", value={"commands": [5]}),
    "codes in the history": put("signs_lightning", "history", value=[{"epoch": 0, "\x1b[2J": 1}]),
    "totals of nothing": put("signs_lightning", "totals", value={"loss_sum": torch.zeros(0)}),
    "loops that are a text": put("loops", value="x"),
}  # fmt: skip
MODEL = "model: {class_path: SignsFunctional}\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdef", "bcdefg", strict=True)
)
IN_CONFIG: dict[str, Callable] = {
    "weights at an address": put("ckpt_path", value=ADDRESS),
    "weights in a registry": put("ckpt_path", value="registry:evil"),
    "weights that Lightning looks for": put("ckpt_path", value="last"),
    "weights that are code": put("ckpt_path", value="code.ckpt"),
    "weights that are the user's secrets": put("ckpt_path", value="/etc/passwd"),
    "weights that are a class": put("ckpt_path", value=made("evil.Weights")),
    "a history at an address": put("history", value=ADDRESS),
    "a callback of a module there": callback("evil.Callback"),
    "a logger elsewhere": logger("CSVLogger", save_dir="/tmp/elsewhere"),
    "a logger that sends there": logger("WandbLogger", entity="evil"),
    "a plugin there": trainer(plugins=[made("evil.IO")]),
    "a model of a module there": put("model", "class_path", value="evil.Net"),
    "a call in YAML": lambda _: "model: !!python/object/apply:os.system ['touch owned']\n",
    "a module in YAML": lambda _: "model: !!python/module:evil\n",
    "lists that unfold without end": lambda _: f"{BOMB}{MODEL}name: *g\n",
    "lists that are nested without end": lambda _: f"{MODEL}name: {'[' * 400}{']' * 400}\n",
    "a list in itself": lambda _: f"{MODEL}trainer: &a {{callbacks: [*a]}}\n",
}


def link(name: str, target: str) -> Callable:
    """A link in the run folder in place of what is there."""

    def change(run: Path) -> None:
        path = run / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(run.parent / target)

    return change


def pipe(run: Path) -> None:
    (run / "checkpoints/last.ckpt").unlink()
    os.mkfifo(run / "checkpoints/last.ckpt")
    (run / "config.yaml").unlink()


IN_FOLDER: dict[str, tuple[str, Callable]] = {
    "a link that a resumed history follows": ("fit", link("history.writing", "own.ckpt")),
    "a link that a configuration follows": ("fit", link("config.writing", "own.ckpt")),
    "a link that versions follow": ("fit", link("run.writing", "own.ckpt")),
    "a link for TensorBoard's events": ("fit", link("train", "mine")),
    "a link for a page": ("report", link("report", "mine")),
    "a link for all checkpoints": ("fit", link("checkpoints", "mine/checkpoints")),
    "a link into another run": ("fit", link("checkpoints/last.ckpt", "mine/checkpoints/last.ckpt")),
    "a pipe without end": ("fit", pipe),
}


SLOW = ("a list in itself", "a link for a page", "lists that are nested without end")


def slowly(case: str) -> Any:
    return pytest.param(case, marks=pytest.mark.slow) if case in SLOW else case


@pytest.fixture
def check(
    cli: Callable, reached: list[str], contents: Callable, plant: Callable, tmp_path: Path
) -> Callable[..., None]:
    """Runs a verb on RUN, beside another run, a file and modules of the stranger's."""

    def run_verb(verb: str = "fit", folder: Callable | None = None, **changes: Callable) -> None:
        run = plant()
        shutil.copytree(run, tmp_path / "mine")
        for path in ("own.ckpt", "precious.ckpt"):
            (tmp_path / path).write_text("precious")
        torch.save({"state_dict": {}, "hyper_parameters": Payload()}, tmp_path / "code.ckpt")
        (tmp_path / "evil.py").write_text("open('owned', 'w').close()\n")
        run = plant(**changes)
        if folder is not None:
            folder(run)
        before = contents()
        done = cli(verb, *(["--ckpt_path"] if verb == "fit" else []), "RUN")
        said = done.out + done.err
        assert done.code == 2, said
        assert "Traceback" not in said
        assert "\x1b" not in said
        assert reached == []
        assert contents() == before

    return run_verb


@pytest.mark.parametrize("case", IN_CHECKPOINT)
def test_planted_in_a_checkpoint(case: str, check: Callable) -> None:
    check(checkpoint=IN_CHECKPOINT[case])


@pytest.mark.parametrize("case", [slowly(case) for case in IN_CONFIG])
def test_planted_in_a_configuration(case: str, check: Callable) -> None:
    check(config=IN_CONFIG[case])


@pytest.mark.parametrize("case", [slowly(case) for case in IN_FOLDER])
def test_planted_in_a_run_folder(case: str, check: Callable) -> None:
    verb, folder = IN_FOLDER[case]
    check(verb, folder=folder)


@pytest.mark.parametrize(
    "state",
    [
        {"exp_avg": torch.zeros(3)},
        {"exp_avg": torch.zeros(0)},
        {"step": torch.zeros(2)},
    ],
)
def test_an_optimizer_s_state_of_other_weights(state: dict[str, torch.Tensor]) -> None:
    """A fused optimizer would read and write past its memory."""
    weight = torch.nn.Parameter(torch.zeros(4, 4))
    optimizer = torch.optim.Adam([weight], fused=True)
    weight.sum().backward()
    optimizer.step()
    stored = optimizer.state_dict()
    check_optimizer_states([optimizer], {"optimizer_states": [stored]})
    stored["state"][0] |= state
    with pytest.raises(InputError, match="is of other weights than the model"):
        check_optimizer_states([optimizer], {"optimizer_states": [stored]})


@pytest.mark.parametrize("setting", [{"betas": "x"}, {"maximize": None}, {"amsgrad": 0.5}])
def test_a_setting_of_another_kind(setting: dict[str, Any]) -> None:
    """What a step would trip over is found before the first; what PyTorch chooses may be open."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(4))], fused=True)
    stored = optimizer.state_dict()
    stored["param_groups"][0] |= {"fused": None, "foreach": None}
    check_optimizer_states([optimizer], {"optimizer_states": [stored]})
    stored["param_groups"][0] |= setting
    with pytest.raises(InputError, match="is of other weights than the model"):
        check_optimizer_states([optimizer], {"optimizer_states": [stored]})


def test_every_load_is_of_weights_alone() -> None:
    """In the package, each call of torch.load says so, and nothing else unpickles."""
    found = 0
    for file in Path(signs_lightning.__file__).parent.rglob("*.py"):
        text = file.read_text()
        if (
            "torch.load" not in text and "pickle" not in text
        ) or file.name == "sandbox.py":  # which talks with its own process
            continue
        for node in ast.walk(ast.parse(text)):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert name not in ("pickle.load", "pickle.loads", "pickle.Unpickler"), file
            if isinstance(node, ast.Call) and name == "torch.load":
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert given.get("weights_only") == "True", (file, node.lineno)
                found += 1
    assert found >= 4


@pytest.mark.slow
def test_modules_in_the_working_directory(plant: Callable, tmp_path: Path) -> None:
    """Of a folder from elsewhere, none takes the place of a package, installed or not; one that the
    command line names is found.
    """
    plant()
    for name in ("numpy", "torch", "yaml", "h5py", "comet_ml", "matplotlib"):
        (tmp_path / f"{name}.py").write_text("open('owned', 'w').close()\n")
    own = "import lightning as L\n\nclass Says(L.Callback):\n    def setup(self, *args, **names):\n"
    (tmp_path / "mine.py").write_text(f"{own}        print('mine is here')\n")
    package = str(Path(signs_lightning.__file__).parents[1])
    program = [sys.executable, "-m", "signs_lightning"]
    options = ["--trainer.callbacks+=mine.Says", "--trainer.max_epochs=2"]
    for words in (["summary", "RUN"], ["fit", "--ckpt_path", "RUN", *options]):
        done = subprocess.run(
            [*program, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": package},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert "mine is here" in done.stdout
    assert not (tmp_path / "owned").exists()
