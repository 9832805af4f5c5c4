"""fit, validate, test: the Lightning CLI, and what it links: data to model, checkpoint to configuration, run to run folder."""

from __future__ import annotations

import argparse
import gc
import numbers
import os
import re
import signal
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError
from jsonargparse.typing import register_type
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelSummary, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.trainer import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console

from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.callbacks.history import HistoryWriter
from signs_lightning.callbacks.model_summary import KerasModelSummary
from signs_lightning.callbacks.progress_bar import EpochProgressBar
from signs_lightning.callbacks.run_config import ConfigParser, SaveRunConfig
from signs_lightning.callbacks.tensorboard_logger import RunLogger, resume_logger
from signs_lightning.checkpoints.files import (
    checkpoint_config,
    find_checkpoint,
    load_checkpoint,
    run_folder,
)
from signs_lightning.commands.argv import (
    GivenOptions,
    flag_value,
    remove_flag,
    resolve_packaged_config,
)
from signs_lightning.commands.checkpoint_config import read_config, trusted_options
from signs_lightning.commands.evaluation_table import print_evaluation
from signs_lightning.commands.parser_errors import explain_parser_error, known_models
from signs_lightning.data.datamodule import H5DataModule, rank_zero_print
from signs_lightning.errors import InputError
from signs_lightning.keras_io.from_keras import FromKeras
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.lr_finder import remove_finders
from signs_lightning.models.metrics import describe_accuracy
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.format_version import FORMAT_VERSION
from signs_lightning.runtime.malloc import keep_freed_memory
from signs_lightning.runtime.run_errors import explain_run_error
from signs_lightning.runtime.torchrun import restarted_run_folder
from signs_lightning.runtime.warning_filters import filter_warnings


def _number(value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value} is no number")


# The type of many an argument of torchvision's transforms, which the parser can read but not write.
register_type(
    numbers.Number,
    lambda value: value,
    _number,
    type_check=lambda value, kind: isinstance(value, kind),
)


class CLI(LightningCLI):
    """`fit`, `validate` and `test` over `ImageClassifier` and `H5DataModule`; see the README for their use.

    Args:
        verb: fit, validate or test.
        args: what follows it on the command line.
    """

    def __init__(self, verb: str, args: list[str]) -> None:
        self.verb = verb
        self.checkpoint_path: Path | None = None
        self.folder: Path | None = None  # to go on in
        self.new_root = flag_value("--trainer.default_root_dir", args) is not None
        super().__init__(
            ImageClassifier,
            H5DataModule,
            parser_class=ConfigParser,
            save_config_callback=SaveRunConfig,
            seed_everything_default=1,
            trainer_defaults={"max_epochs": 100, "num_sanity_val_steps": 0, "log_every_n_steps": 1},
            subclass_mode_model=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={
                "prog": "python -m signs_lightning",
                "exit_on_error": False,
                "allow_abbrev": False,
                verb: {"exit_on_error": False},
            },
            args=[verb, *self._remembered(args)],
        )

    def _remembered(self, args: list[str]) -> list[str]:
        """The arguments, after the configuration that a checkpoint among them remembers: explicit flags come later and win."""
        args = [
            resolve_packaged_config(before, arg)
            for before, arg in zip(["", *args], args, strict=False)
        ]
        begun = restarted_run_folder() if self.verb == "fit" else None
        given = flag_value("--ckpt_path", args)
        args = remove_flag("--ckpt_path", args)
        path = None
        if given is not None:
            path = find_checkpoint(Path(given), self.verb)
            self.folder = Path(given) if path is None else run_folder(path)
            if self.folder is not None and not Path(given).is_absolute():
                self.folder = _below_here(self.folder)
            source = path or Path(given) / "config.yaml"
            remembered = (
                read_config(source)
                if path is None
                else checkpoint_config(load_checkpoint(path), path)
            )
            self._name_own_model(remembered["model"], args, source)
            config = trusted_options(remembered, self.verb, args, source)
            if path is None:
                rank_zero_print(f"{given} has no checkpoint yet: the run starts anew.")
                config["ckpt_path"] = remembered.get("ckpt_path")
            args = [f"--config={yaml.safe_dump(config)}", *args]
        if self.new_root:
            self.folder = None
        if begun is not None:  # its configuration is that of this very command
            self.folder, path = begun, find_checkpoint(begun, self.verb) or path
            rank_zero_print(f"Started again by torchrun: the run goes on in {begun}.")
        self.checkpoint_path = path
        return args if path is None else [*args, f"--ckpt_path={path}"]

    @staticmethod
    def _name_own_model(model: dict[str, Any], args: list[str], path: Path) -> None:
        """A checkpoint never says where a class of the user's own lies, because importing it runs code; the user does."""
        name = model["class_path"]
        if name in known_models():
            return
        place = re.compile(re.escape(name) if "." in name else rf"(\w+\.)+{re.escape(name)}")
        given = next(filter(place.fullmatch, GivenOptions(args).names), None)
        if given is None:
            option = shorten(name) if "." in name else f"MODULE.{shorten(name)}"
            raise InputError(
                f"{path} holds a model of the class '{shorten(name)}', which is none of this "
                "package's. Name it with "
                f"--model {option}."
            )
        model["class_path"] = given

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        return {self.verb: super().subcommands()[self.verb]}  # building one parser instead of four

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        # A run's config.yaml begins with it; nobody needs to give it.
        parser.add_argument(
            "--format_version", type=int, default=FORMAT_VERSION, help=argparse.SUPPRESS
        )
        super().add_default_arguments_to_parser(parser)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--name",
            type=str | None,
            default=None,
            help="Name of the run (default: the configuration's).",
        )
        if self.verb == "fit":
            parser.add_class_arguments(
                RunCheckpoint, "checkpoint", skip={"keep_best"}, instantiate=False
            )
        parser.set_defaults({"model": {"class_path": "SignsFunctional"}})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            self.config = parser.parse_args(args)
        except UnicodeDecodeError as error:
            raise InputError(
                "The configuration is not a text file in UTF-8. Name a YAML file with --config."
            ) from error
        except ArgumentError as error:
            raise InputError(
                explain_parser_error(str(error), self._subcommand_parsers[self.verb])
            ) from error

    def _parse_ckpt_path(self) -> None:
        """The stock CLI merges a checkpoint's hyperparameters over explicit flags; ours came before them, in `_remembered`."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.verb]
        if config.name is None:
            sources = [str(source) for source in config.get("config") or [] if source is not None]
            files = [
                Path(source) for source in sources if source.endswith((".yaml", ".yml", ".json"))
            ]
            config.name = (
                files[0].stem if files else _snake(config.model.class_path.rpartition(".")[2])
            )

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (
            ValueError
        ) as error:  # the parser wraps what a model's class raises into a complaint of its own
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, InputError):
                cause = cause.__cause__
            if cause is not None:
                raise cause from None
            reason = re.search(r"Problem with given class_path '([^']+)':\n\s+(.+)", str(error))
            if reason is None:
                raise
            raise InputError(f"{reason[1]} cannot be made: {reason[2].rstrip('.')}.") from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        # Everything that can be wrong with the data is found here, before anything is written.
        self.datamodule.prepare_data()
        self.datamodule.setup(self.verb)
        if self.verb != "fit" and self.datamodule.draws:
            doing = "Testing" if self.verb == "test" else "Validating"
            rank_zero_print(
                f"{doing} on {self.datamodule.draws} (data.drawn is {self.datamodule.drawn}), "
                "because no file is named."
            )
        self.model.adopt(
            self.datamodule.num_classes, self.datamodule.image_shape, self.datamodule.class_names
        )
        if self.verb == "fit":
            self.model.prepare(resumed=self.checkpoint_path is not None)
        elif self.checkpoint_path is None and type(self.model).__module__.startswith(
            "signs_lightning.models."
        ):
            raise InputError(
                f"There is no trained model to {self.verb}. Name its checkpoint or run folder "
                "with --ckpt_path."
            )
        if isinstance(self.model, FromKeras):  # so that config.yaml has what was read from the file
            self.config[self.verb].model.init_args.scale = self.model.hparams["scale"]
        config = self.config_init[self.verb]
        trainer = dict(config.trainer)
        given = trainer.get("callbacks") or []
        given = given if isinstance(given, list) else [given]
        own: list[Callback] = []
        if trainer.get("enable_progress_bar") is not False and not _has(given, ProgressBar):
            own.append(EpochProgressBar())
        if self.verb == "fit":
            if self.checkpoint_path is not None:
                given = remove_finders(given)
            trainer["callbacks"] = given
            trainer["logger"] = self._loggers(trainer)
            if (
                not trainer["logger"]
                and trainer.get("enable_checkpointing") is None
                and not _has(given, Checkpoint)
            ):
                trainer["enable_checkpointing"] = (
                    False  # Lightning's own would write into the working directory
                )
            if trainer.get("enable_model_summary") is not False and not _has(given, ModelSummary):
                own.append(KerasModelSummary())
            if trainer["logger"]:
                own.append(HistoryWriter())
            if trainer.get("enable_checkpointing") is not False and trainer["logger"]:
                own.append(
                    RunCheckpoint(
                        **vars(config.checkpoint),
                        keep_best=not self.datamodule.validates_on_test_file,
                    )
                )
            trainer["enable_model_summary"] = False
        else:
            trainer["logger"] = False
            trainer["enable_checkpointing"] = False
            trainer["callbacks"] = [
                callback for callback in given if not isinstance(callback, Checkpoint)
            ]
        try:
            made = self._instantiate_trainer(trainer, own)
            if emulates_bfloat16(made):
                rank_zero_print(
                    "This processor has no bfloat16 instructions: training takes many times as "
                    "long as in float32."
                )
            return made
        except (ValueError, TypeError) as error:
            raise InputError(
                f"The trainer's settings cannot be used: {str(error).rstrip('.')}. See fit --help."
            ) from error

    def _loggers(self, trainer: dict[str, Any]) -> list[Logger]:
        """The run's own logger, or those that were given; among these one with a folder comes first, because that is the run's."""
        given = trainer.get("logger")
        if given is False:
            return []
        loggers: list[Logger] = (
            [] if given in (None, True) else list(given) if isinstance(given, list) else [given]
        )
        with_folder = [
            logger for logger in loggers if isinstance(logger, TensorBoardLogger | CSVLogger)
        ]
        others = [logger for logger in loggers if logger not in with_folder]
        if self.folder is not None:
            for logger in with_folder:
                resume_logger(logger, self.folder)
        return [*(with_folder or [self._run_logger(trainer)]), *others]

    def _run_logger(self, trainer: dict[str, Any]) -> RunLogger:
        """A new run folder, or that which the run goes on in: its checkpoint's, unless another root is named."""
        if self.folder is not None:
            folder = self.folder if len(self.folder.parts) > 1 else self.folder.resolve()
            return RunLogger(folder.parent.parent, folder.parent.name, folder.name)
        root = Path(trainer.get("default_root_dir") or ".") / "lightning_logs"
        place = next(folder for folder in (root, *root.parents) if folder.exists())
        if not place.is_dir() or not os.access(place, os.W_OK):
            why = "it may not be written to" if place.is_dir() else "it is no folder"
            raise InputError(
                f"No run folder can be made in {place}: {why}. Name another place with "
                "--trainer.default_root_dir."
            )
        return RunLogger(root, self.config[self.verb].name)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand) | {"weights_only": True}
        if subcommand != "fit":
            kwargs["verbose"] = False
        return kwargs

    def after_fit(self) -> None:
        history, folder = self.model.history, self.trainer.log_dir if self.trainer.loggers else None
        if not self.trainer.is_global_zero or not history:
            return
        checkpoint = next(
            (c for c in self.trainer.checkpoint_callbacks if isinstance(c, RunCheckpoint)), None
        )
        row, which = history[-1], "last epoch"
        if checkpoint is not None and checkpoint.keep_best and checkpoint.best_epoch is not None:
            row = next(r for r in history if r["epoch"] == checkpoint.best_epoch)
            which = f"best epoch, {int(row['epoch']) + 1} of {len(history)}"
        if "val_accuracy" in row:
            count = self._validated_images()
            result = describe_accuracy(round(float(row["val_accuracy"]) * count), count)
            _line(f"validation accuracy {result}, loss {row['val_loss']:.4f} ({which})")
        else:
            _line(f"training accuracy {row['accuracy']:.3f}, loss {row['loss']:.4f} ({which})")
        if folder is None:
            return
        if checkpoint is not None:
            best, last = (
                Path(folder) / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")
            )
            _line(f"checkpoint   {best if checkpoint.keep_best and best.is_file() else last}")
        _line(f"curves       {Path(folder) / 'curves.png'}")
        _line(f"TensorBoard  tensorboard --logdir {folder}")

    def after_test(self) -> None:
        if self.trainer.is_global_zero and self.model.evaluation is not None:
            print_evaluation(self.model.evaluation)

    def _validated_images(self) -> int:
        """How many images the figures of validation are of: all, unless the Trainer was told otherwise."""
        return self.model.validated_images or len(self.datamodule.val_dataloader().dataset)

    def after_validate(self) -> None:
        if self.trainer.is_global_zero:
            count = self._validated_images()
            figures = self.trainer.callback_metrics
            result = describe_accuracy(round(float(figures["val_accuracy"]) * count), count)
            _line(f"validation accuracy {result}, loss {float(figures['val_loss']):.4f}")


def main(verb: str, args: list[str]) -> int:
    """Runs a verb; what the user can put right becomes an `InputError`."""
    filter_warnings()
    keep_freed_memory()
    path = flag_value("--ckpt_path", args)
    if verb == "test" and path is not None and path.endswith(".onnx"):
        from signs_lightning.commands.evaluate_onnx import test_onnx

        return test_onnx(path, remove_flag("--ckpt_path", args))
    try:
        CLI(verb, args)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # what holds the group: its threads must have ended before the interpreter does, or they
            # abort the process
            gc.collect()
            torch.distributed.destroy_process_group()
    except SIGTERMException:  # what is to be said was said by RunCheckpoint
        return 128 + signal.SIGTERM
    except SystemExit as error:
        if isinstance(
            error.__context__, KeyboardInterrupt
        ):  # Lightning's exit after Ctrl-C, with a code of its own
            return 128 + signal.SIGINT
        raise
    except InputError:
        raise
    except Exception as error:
        sentence = explain_run_error(error, verb)
        if sentence is None:
            raise
        raise InputError(sentence) from error
    return 0


def emulates_bfloat16(trainer: Trainer) -> bool:
    """Whether a run in bfloat16 is on a CPU whose convolutions have no kernels for it."""
    on_cpu = trainer.strategy.root_device.type == "cpu"
    return (
        on_cpu
        and str(trainer.precision).startswith("bf16")
        and torch.backends.cpu.get_cpu_capability() == "AVX2"
    )


def _has(callbacks: list[Callback], kind: type[Callback]) -> bool:
    return any(isinstance(callback, kind) for callback in callbacks)


def _below_here(folder: Path) -> Path:
    """A folder as it was called when its run began, relative to the working directory if it is below that.

    Lightning's ModelCheckpoint forgets the best it has seen where its folder goes by another name.
    """
    folder, here = folder.resolve(), Path.cwd()
    return folder.relative_to(here) if here in folder.parents else folder


def _line(text: str) -> None:
    Console().print(text, soft_wrap=True, highlight=False, markup=False)


def _snake(name: str) -> str:
    """SignsResNet50 → signs_resnet50"""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", name.replace("ResNet", "Resnet")).lower()
