"""Options are checked by name before anything slow is imported; what the parser takes passes."""

from __future__ import annotations

import contextlib
import io
import shlex
from pathlib import Path
from typing import Any

import pytest

from signs_lightning.commands.argv import name_first_file, resolve_packaged_config
from signs_lightning.commands.check_options import check_options
from signs_lightning.commands.known_models import import_lazy_model
from signs_lightning.commands.option_names import model_names, model_options, options
from signs_lightning.errors import InputError

VALID = """
--model.init_args.lr 0.1
--model HappySequential --model.init_args.lr=0.1
--model=SignsResNet50 --model.width=8
--model signs_lightning.SignsResNet50 --model.width 8
--model.class_path SignsResNet50 --model.init_args.width 8
--model.dict_kwargs.foo 3
--model own.Mine --model.depth 3 --model.init_args.width 4
--config own.yaml --model.depth 3
--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor val_loss
--trainer.callbacks+=EarlyStopping --trainer.callbacks.init_args.monitor val_loss
--trainer.callbacks+ EarlyStopping --trainer.callbacks+.monitor val_loss
--trainer.callbacks=EarlyStopping --trainer.callbacks.monitor=val_loss
--trainer.logger=CSVLogger --trainer.logger.save_dir=x
--trainer.logger+=CSVLogger --trainer.logger.init_args.save_dir=x
--trainer.logger.class_path CSVLogger --trainer.logger.save_dir x
--trainer.logger false
--trainer.max_time.hours 3
--trainer.plugins+=AsyncCheckpointIO
--trainer.profiler simple --trainer.strategy ddp --trainer.precision bf16-mixed
--model.optimizer SGD --model.optimizer.momentum 0.9
--model.optimizer.class_path SGD --model.optimizer.init_args.momentum 0.9
--model.lr_scheduler torch.optim.lr_scheduler.StepLR --model.lr_scheduler.step_size 3
--data.train_file [a.h5,b.h5]
--data.train_file+ a.h5 --data.train_file+ b.h5
--data.train_file+=a.h5 --data.train_file+=b.h5
--data.image_size [64,64] --data.class_names [cat,dog]
--data.label_offset -1 --trainer.max_epochs -1
--trainer.devices+ 1
--trainer data.json --data '{"batch_size": 3}' --checkpoint '{"monitor": "x"}'
--data 'batch_size: 3' --trainer 'max_epochs: 3'
-c configs/quickstart.yaml
-cown.yaml
--config=configs/recipes/signs_functional_best.yaml --config configs/gpu.yaml
--config '{"data": {"batch_size": 3}}'
--name=--x --seed_everything true --weights_only true --format_version 4
--name '-- x y'
--name 'a --data b'
--name quickstart --data.fit crop --model.fit pad
"""
LONG = f"class_names: [{','.join(f'class_{number}' for number in range(99))}]"  # no file's name
VALID += f"""--config '{{data: {{{LONG}}}}}'
--data '{{{LONG}}}' --data '{LONG}'
--model '{{class_path: HappySequential, init_args: {{{LONG}}}}}'
"""
HELPS = [
    "--model.help",
    "--model.help SignsFunctional",
    "--trainer.accelerator.help",
    "--trainer.callbacks.help=EarlyStopping",
    "--trainer.callbacks.help EarlyStopping",
    "--help",
]
INVALID = """
--data.batch_size+=3 --data.batch_sise 3
--model.init_args.lrr 0.1
--model SignsResNet50 --model.widht 8
--model FromKeras --model.pathh a.h5
--config happy.yaml --model.widht 3
--checkpoint.moniter x
--trainer.max-epochs 3
--trainer.callback EarlyStopping
--data.init_args.batch_size 3
--format-version 4
"""


@pytest.fixture(scope="module")
def parsers() -> dict[str, Any]:
    """The parser of each verb."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
        from config_schema import build_parser
    import_lazy_model()
    return {verb: build_parser(verb) for verb in ("fit", "validate", "test")}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module with a model of the user's own, and configurations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own.py").write_text(
        "from signs_lightning import SignsFunctional\n"
        "class Mine(SignsFunctional):\n"
        "    def __init__(self, depth: int = 1, width: int = 2, **kwargs):\n"
        "        super().__init__(**kwargs)\n"
    )
    (tmp_path / "own.yaml").write_text("model:\n  class_path: own.Mine\n")
    (tmp_path / "happy.yaml").write_text("model:\n  class_path: HappySequential\n")
    (tmp_path / "data.json").write_text('{"max_epochs": 3}')


@pytest.mark.parametrize("line", VALID.strip().splitlines())
def test_what_the_parser_takes_is_not_refused(line: str, parsers: dict[str, Any]) -> None:
    """The parser takes these; the check lets them pass."""
    args = shlex.split(line)
    check_options("fit", [*args, "--print_config=skip_default"])
    args = [resolve_packaged_config(*pair) for pair in zip(["", *args], args, strict=False)]
    parsers["fit"].parse_args(args)


@pytest.mark.parametrize("line", HELPS)
def test_help_and_printing_are_not_refused(line: str, parsers: dict[str, Any]) -> None:
    """The same of what prints and ends."""
    check_options("fit", shlex.split(line))
    with pytest.raises(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        parsers["fit"].parse_args(shlex.split(line))


@pytest.mark.parametrize("line", INVALID.strip().splitlines())
def test_what_is_misspelt_is_refused(line: str, parsers: dict[str, Any]) -> None:
    """The parser refuses it, and the check before it."""
    with pytest.raises(InputError, match="Unknown option"):
        check_options("fit", shlex.split(line))
    with pytest.raises(Exception):  # noqa: B017, PT011 the parser's own, of several kinds
        parsers["fit"].parse_args(shlex.split(line))


def test_a_checkpoint_brings_its_model() -> None:
    """Only the parser knows what a remembered model takes."""
    check_options("fit", ["--ckpt_path", "run", "--model.depth", "3"])


@pytest.mark.parametrize("file", ["own.py", "./own.py"])
def test_a_class_as_verify_takes_it(file: str, parsers: dict[str, Any]) -> None:
    """It has another spelling here, which the parser takes."""
    with pytest.raises(InputError, match=r"Write --model own\.Mine$"):
        check_options("fit", ["--model", f"{file}:Mine"])
    check_options("fit", ["--model", "own.Mine"])
    parsers["fit"].parse_args(["--model", "own.Mine"])


def test_the_folder_of_a_run_is_no_model() -> None:
    """It is what --ckpt_path takes."""
    Path("run/checkpoints").mkdir(parents=True)
    with pytest.raises(InputError, match=r"Write --ckpt_path run$"):
        check_options("fit", ["--model", "run"])


def test_the_configuration_of_a_run_is_none_of_a_section() -> None:
    """The parser would ask whether the option that is given was meant."""
    Path("run.yaml").write_text("data: {batch_size: 3}")
    with pytest.raises(InputError, match=r"Write --config run\.yaml$"):
        check_options("fit", ["--data", "run.yaml"])


def test_another_lightning_may_have_other_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of the Trainer are those of the version that the schema was written with."""
    with pytest.raises(InputError, match="new_option"):
        check_options("fit", ["--trainer.new_option", "3"])
    monkeypatch.setattr("signs_lightning.commands.check_options.knows_trainer", lambda: False)
    check_options("fit", ["--trainer.new_option", "3"])


def test_without_the_schema_nothing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without `configs/` leaves all to the parser."""
    monkeypatch.setattr("signs_lightning.commands.check_options.packaged_file", lambda name: None)
    check_options("fit", ["--zqzq", "3"])


@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_the_names_are_the_parsers(verb: str, parsers: dict[str, Any]) -> None:
    """No option more and none less, whatever verb."""
    theirs = {key for key, _ in parsers[verb].get_defaults().items()}
    theirs = {key for key in theirs if not key.startswith("model.")} | {"trainer", "data", "model"}
    ours = set(options(verb)) - {"c", "h", "help", "help_all", "print_schema", "print_config"}
    ours -= {"model.help", "scale", "output_layer"}
    assert ours == theirs | ({"checkpoint"} if verb == "fit" else set())


def test_models() -> None:
    """Their own arguments and those of all."""
    assert {"model.width", "model.lr"} <= set(model_options("SignsResNet50"))
    assert "model.width" not in model_options("SignsFunctional")
    assert "FromKeras" in model_names()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run", "--ckpt_path run"),
        ("run --data.test_file a.h5", "--ckpt_path run --data.test_file a.h5"),
        ("--data.test_file a.h5 run", "--data.test_file a.h5 --ckpt_path run"),
        ("--data.test_file=a.h5 run", "--data.test_file=a.h5 --ckpt_path run"),
        ("--trainer.logger false m.keras --name x",
         "--trainer.logger false --ckpt_path m.keras --name x"),
        ("--data.test_file a.h5 b.h5", "--data.test_file a.h5 b.h5"),
        ("--ckpt_path run a.h5", "--ckpt_path run a.h5"),
        ("--data.test_file a.h5", "--data.test_file a.h5"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_file_of_a_verb(typed: str, meant: str) -> None:
    """First, or wherever it can be nothing else."""
    assert name_first_file("test", typed.split()) == meant.split()
    assert name_first_file("fit", typed.split()) == typed.split()
