"""The verbs fit, validate and test, on Lightning's command line."""

from __future__ import annotations

import argparse
import gc
import signal
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.trainer import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from signs_lightning.callbacks.callbacks_and_loggers import (
    default_run_name,
    evaluation_options,
    training_options,
)
from signs_lightning.callbacks.checkpointing import RunCheckpoint
from signs_lightning.callbacks.run_config import SaveRunConfig
from signs_lightning.checkpoints.own_model import without_pretraining
from signs_lightning.commands.argv import (
    KERAS_SUFFIXES,
    GivenOptions,
    flag_value,
    remove_flag,
)
from signs_lightning.commands.ckpt_path import find_start
from signs_lightning.commands.evaluation_table import print_evaluation
from signs_lightning.commands.fit_result import print_fit, print_validation
from signs_lightning.commands.known_models import import_lazy_model
from signs_lightning.commands.link_data_and_model import link_data_and_model
from signs_lightning.commands.own_model_options import (
    find_named_class,
    import_named_classes,
    rename_network_arguments,
)
from signs_lightning.commands.parser_errors import explain_parser_error, explain_unusable_class
from signs_lightning.commands.run_parser import RunParser
from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.start_options import StartOptions, make_start_options
from signs_lightning.runtime.cuda_check import look_for_cuda_once
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.format_migrations import FORMAT_VERSION
from signs_lightning.runtime.malloc_tuning import keep_freed_memory
from signs_lightning.runtime.own_code import raise_own_error
from signs_lightning.runtime.process_watch import end_watch, watch_from_setup, watch_torchrun
from signs_lightning.runtime.rank_zero_print import rank_zero_print
from signs_lightning.runtime.run_errors import explain_run_error
from signs_lightning.runtime.warning_filters import filter_warnings


class CLI(LightningCLI):
    """Run `fit`, `validate` or `test` over `ImageClassifier` and `H5DataModule`.

    Args:
        verb: fit, validate or test.
        args: what follows it on the command line.
    """

    def __init__(self, verb: str, args: list[str]) -> None:
        self.verb = verb
        self.start = find_start(verb, rename_network_arguments(args))
        kind = find_named_class(self.start.args)
        super().__init__(
            LightningModule if kind and not issubclass(kind, ImageClassifier) else ImageClassifier,
            H5DataModule,
            parser_class=RunParser,
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
                verb: {
                    "exit_on_error": False,
                    "usage": f"python -m signs_lightning {verb} [options]",
                },
            },
            args=[verb, *self.start.args],
        )

    def _set_seed(self) -> None:
        seed = self._get(self.config, "seed_everything")
        if type(seed) is int and not 0 <= seed < 2**32:
            raise InputError(f"--seed_everything is {seed}, expected 0 to {2**32 - 1}.")
        super()._set_seed()

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        return {self.verb: super().subcommands()[self.verb]}  # building one parser instead of four

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        # A run's config.yaml begins with it; no user needs to give it.
        parser.add_argument(
            "--format_version", type=int, default=FORMAT_VERSION, help=argparse.SUPPRESS
        )
        super().add_default_arguments_to_parser(parser)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        self.verb_parser = parser
        help_text = "Name of the run (default: the configuration's)."
        parser.add_argument("--name", type=str | None, default=None, help=help_text)
        if self.verb == "fit":
            parser.add_class_arguments(
                RunCheckpoint, "checkpoint", skip={"keep_best"}, instantiate=False
            )
            parser.add_class_arguments(StartOptions, None, instantiate=False)
        if "model" not in GivenOptions(self.start.args).replaced:
            # Not under another class, which would be given the defaults of this one's arguments.
            parser.set_defaults({"model": {"class_path": "SignsFunctional"}})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            try:
                self.config = parser.parse_args(args)
            except ArgumentError:
                import_lazy_model()  # it may be what the parser does not know
                self.config = parser.parse_args(args)
        except UnicodeDecodeError as error:
            raise InputError(
                "The configuration is not a text file in UTF-8. Name a YAML file with --config."
            ) from error
        except ArgumentError as error:
            import_named_classes(self.start.args)
            raise InputError(explain_parser_error(str(error), self.verb_parser)) from error
        for section in ("trainer", "data", "checkpoint"):
            found = self.config[self.verb].get(section, {})
            if found is None or isinstance(found, str | int | float | list):
                has = "nothing" if found is None else f"'{shorten(str(found))}'"
                raise InputError(
                    f"{section} has {has} in the configuration, expected its options. Write them "
                    f"below it, or leave {section} out."
                )

    def _parse_ckpt_path(self) -> None:
        """Merge no hyperparameters of a checkpoint over explicit options."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.verb]
        if config.name is None:
            sources = [str(source) for source in config.get("config") or []]
            files = [Path(x) for x in sources if x.endswith((".yaml", ".yml", ".json"))]
            model = config.model.class_path.rpartition(".")[2]
            config.name = files[0].stem if files else default_run_name(model)

    def instantiate_classes(self) -> None:
        arguments: Any = self.config[self.verb].model.get("init_args") or {}
        network_args = arguments.get("network_args")
        if network_args and self.start.checkpoint is not None:
            arguments.network_args = without_pretraining(network_args)
        try:
            super().instantiate_classes()
            if network_args:  # as the run's configuration has them
                arguments.network_args = network_args
        except ValueError as error:  # the parser's, around what a class raises
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, InputError):
                cause = cause.__cause__
            if cause is not None:
                raise cause from None
            raise_own_error(error)
            sentence = explain_unusable_class(str(error))
            if sentence is None:
                raise
            raise InputError(sentence) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Check data and model against each other, then make the Trainer."""
        config = self.config_init[self.verb]
        arguments: Any = self.config[self.verb].model.get("init_args") or {}
        has_weights = self.start.checkpoint is not None
        link_data_and_model(self.model, self.datamodule, self.verb, has_weights, arguments)
        if self.verb == "fit":
            keep_best = not self.datamodule.validates_on_test_file
            checkpoint = vars(config.checkpoint) | {"keep_best": keep_best}
            resume = self.start.checkpoint is not None
            options = training_options(
                dict(config.trainer), checkpoint, config.name, self.start.folder, resume
            )
            options["callbacks"].append(make_start_options(config))
        else:
            options = evaluation_options(dict(config.trainer))
            config.verbose = not isinstance(self.model, ImageClassifier)
        config.weights_only = True
        try:
            trainer = super().instantiate_trainer(**options)
        except (ValueError, TypeError) as error:
            raise InputError(
                f"The trainer's settings cannot be used: {str(error).rstrip('.')}. See "
                "fit --help trainer."
            ) from error
        watch_from_setup(trainer)
        if self.verb == "fit" and (resume or config.ckpt_path is None):
            self.start.check(trainer, self.model, self.datamodule)
        if emulates_bfloat16(trainer):
            rank_zero_print(
                "This processor has no bfloat16 instructions: training takes many times as long "
                "as in float32."
            )
        return trainer

    def after_fit(self) -> None:
        trainer = self.trainer
        # Every process asks, because the first one tells the others.
        log_dir = trainer.log_dir if trainer.loggers else None
        if trainer.is_global_zero and getattr(self.model, "history", None):
            print_fit(trainer, self.model, self.datamodule, log_dir)

    def after_validate(self) -> None:
        if self.trainer.is_global_zero and isinstance(self.model, ImageClassifier):
            print_validation(self.trainer.callback_metrics, self.model, self.datamodule)

    def after_test(self) -> None:
        evaluation = getattr(self.model, "evaluation", None)
        if self.trainer.is_global_zero and evaluation is not None:
            print_evaluation(evaluation)


def main(verb: str, args: list[str]) -> int:
    """Run the verb and return its exit code.

    Raises:
        InputError: something that the user can put right.
    """
    filter_warnings()
    keep_freed_memory()
    look_for_cuda_once()
    path = flag_value("--ckpt_path", args)
    if verb == "test" and path is not None and path.endswith(".onnx"):
        from signs_lightning.commands.evaluate_onnx import test_onnx  # onnxruntime is optional

        return test_onnx(path, remove_flag("--ckpt_path", args))
    if verb != "fit" and path is not None and path.endswith(KERAS_SUFFIXES):
        from signs_lightning.commands.evaluate_keras import as_checkpoint  # start-up: keras_io

        with as_checkpoint(verb, path, remove_flag("--ckpt_path", args)) as args:
            return main(verb, args)
    try:
        watch_torchrun()
        CLI(verb, args)
        end_watch()
        close_process_group()
    except SIGTERMException:  # RunCheckpoint has printed how to resume
        return 128 + signal.SIGTERM
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning exits with another code
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


def close_process_group() -> None:
    """End the threads of a run of several processes, which may abort an interpreter that ends."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()  # what holds the process group goes first
        torch.distributed.destroy_process_group()


def emulates_bfloat16(trainer: Trainer) -> bool:
    """Return whether a run in bfloat16 is on a CPU that has no kernels for it."""
    on_cpu = trainer.strategy.root_device.type == "cpu"
    in_bfloat16 = str(trainer.precision).startswith("bf16")
    return on_cpu and in_bfloat16 and torch.backends.cpu.get_cpu_capability() == "AVX2"
