"""What `--ckpt_path` stands for: checkpoint, run folder and configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Trainer

from signs_lightning.checkpoints.files import (
    checkpoint_config,
    find_checkpoint,
    load_checkpoint,
    run_folder,
)
from signs_lightning.checkpoints.own_model import (
    OwnModel,
    accepted_arguments,
    package_model,
)
from signs_lightning.checkpoints.run_links import check_links
from signs_lightning.commands.argv import (
    GivenOptions,
    flag_value,
    remove_flag,
    resolve_packaged_config,
)
from signs_lightning.commands.own_model_options import find_named_class
from signs_lightning.commands.run_folder_config import read_config, remembered_start
from signs_lightning.commands.trusted_config import trusted_options
from signs_lightning.data.layouts import ROLES
from signs_lightning.data.paths import forget_unfetched
from signs_lightning.models.keras_history import read_keras_history
from signs_lightning.models.keras_run import count_steps, find_epoch, keras_run
from signs_lightning.models.start_options import find_start_options
from signs_lightning.runtime.rank_zero_print import rank_zero_print
from signs_lightning.runtime.torchrun_restarts import restarted_run_folder


@dataclass(frozen=True)
class RunStart:
    """Where a verb begins.

    Attributes:
        args: the command line, with the remembered configuration before the user's own options,
            which come later and win.
        checkpoint: the file that weights and state come from, or None.
        folder: the run folder to resume in, or None for a new one.
        keras_run: what the checkpoint tells of a training that Keras began, or None.
    """

    args: list[str]
    checkpoint: Path | None
    folder: Path | None
    keras_run: Mapping[str, Any] | None = None

    def check(self, trainer: Trainer, model: Any, data: Any) -> None:
        """Check that a run can begin so, before anything is written.

        Args:
            trainer: with its start options.
            model: that is trained.
            data: a data module that is set up.

        Raises:
            InputError: it cannot.
        """
        options = find_start_options(trainer)
        options.check(self.keras_run is not None)
        if self.keras_run is not None:
            steps = count_steps(trainer, len(data.train_dataloader().dataset), data.batch_size)
            epoch = find_epoch(self.keras_run, options, model, steps, trainer.max_epochs)
            if options.history is not None:
                read_keras_history(options.history, epoch)


def find_start(verb: str, args: list[str]) -> RunStart:
    """Find the checkpoint that the arguments or a restart by torchrun resume from.

    Raises:
        InputError: there is no such checkpoint, or its configuration names what is not trusted.
    """
    args = [resolve_packaged_config(*pair) for pair in zip(["", *args], args, strict=False)]
    restarted = restarted_run_folder() if verb == "fit" else None
    given = flag_value("--ckpt_path", args)
    args = remove_flag("--ckpt_path", args)
    checkpoint = folder = run = None
    if given is not None:
        checkpoint = find_checkpoint(Path(given), verb)
        if verb == "fit":
            check_links(Path(given))
        contents = None if checkpoint is None else load_checkpoint(checkpoint)
        run = None if contents is None else keras_run(contents)
        folder = Path(given) if checkpoint is None else run_folder(checkpoint)
        if folder is not None and not Path(given).is_absolute():
            folder = _below_working_directory(folder)
        args = [_remembered_config(verb, args, Path(given), checkpoint, contents), *args]
    is_fresh = GivenOptions(args).replaced.get("fresh_optimizer", [])[-1:] in (["true"], [True])
    if is_fresh or flag_value("--trainer.default_root_dir", args) is not None:
        folder = None
    if restarted is not None:  # its configuration is that of this very command
        folder, own = restarted, find_checkpoint(restarted, verb)
        if own is not None:  # which goes on by itself
            checkpoint, run = own, None
            args = [*args, "--start_epoch=null", "--history=null", "--fresh_optimizer=false"]
        rank_zero_print(f"Restarted by torchrun: the run is resumed in {restarted}.")
    if checkpoint is not None:
        args = [*args, f"--ckpt_path={checkpoint}"]
    return RunStart(args, checkpoint, folder, None if is_fresh else run)


def _remembered_config(
    verb: str,
    args: list[str],
    given: Path,
    checkpoint: Path | None,
    contents: dict[str, Any] | None,
) -> str:
    """Return the `--config` option for what a checkpoint or config.yaml remembers."""
    network = None
    if checkpoint is None or contents is None:
        source = given / "config.yaml"
        remembered = read_config(source)
        if remembered["model"]["class_path"] == "ImageClassifier":
            network = remembered["model"]["init_args"].get("network")
    else:
        source = checkpoint
        remembered = checkpoint_config(contents, source)
        network = contents["signs_lightning"].get("network")
    _name_own_model(remembered["model"], network, args, source)
    config = trusted_options(remembered, verb, args, source)
    data = config.setdefault("data", {})
    _forget_replaced_files(data, verb, args)
    for option, address in forget_unfetched(data).items():
        rank_zero_print(
            f"{source} remembers {address}, which was never fetched here. Name it again with "
            f"{option} to do so."
        )
    if checkpoint is None:
        rank_zero_print(f"{given} has no checkpoint yet: the run starts anew.")
        config |= remembered_start(remembered, source)
    return f"--config={yaml.safe_dump(config)}"


def _forget_replaced_files(data: dict[str, Any], verb: str, args: list[str]) -> None:
    """Drop remembered keys that are replaced, and files that belong to a replaced one."""
    for name in ("images_key", "labels_key"):  # those of a role would win
        if flag_value(f"--data.{name}", args) is not None:
            for role in ROLES:
                data.pop(f"{role}_{name}", None)
    is_given = {role: flag_value(f"--data.{role}_file", args) is not None for role in ROLES}
    has_new_file = flag_value("--data.file", args) is not None
    for role in ROLES:
        if has_new_file:
            data.pop(f"{role}_file", None)
        if has_new_file or is_given[role]:
            data.pop(f"{role}_labels_file", None)
    if verb != "fit" and is_given["test" if verb == "test" else "val"]:
        data.pop("file", None)


def _name_own_model(
    model: dict[str, Any], network: str | None, args: list[str], path: Path
) -> None:
    """Take a user's own model and network from the arguments: importing them runs code."""
    given = GivenOptions(args).replaced
    named, function = (
        next((text for text in reversed(given.get(option, [])) if isinstance(text, str)), None)
        for option in ("model", "model.network")
    )
    OwnModel(named, function).require(model["class_path"], network, path)
    if package_model(model["class_path"]) is None:
        model["class_path"] = named
        kind = find_named_class(args)
        model["init_args"] = accepted_arguments(kind or object, model["init_args"])


def _below_working_directory(folder: Path) -> Path:
    """Return a folder under the name that it had when its run began.

    Lightning's ModelCheckpoint forgets the best it has seen where its folder has another name.
    """
    folder, here = folder.resolve(), Path.cwd()
    return folder.relative_to(here) if here in folder.parents else folder
