"""Search settings of a configuration with Optuna, on a validation split.

    python scripts/sweep.py CONFIG SPACE …

SPACE is a YAML file with one line a setting, named as on the command line of `fit`:

    model.lr: {low: 0.001, high: 0.03, log: true}
    trainer.max_epochs: {low: 100, high: 400, step: 100}
    model.label_smoothing: [0.0, 0.05, 0.1]

Every trial is `fit` in a process of its own, for each seed; its value is the last epoch's monitored
figure, the mean over the seeds. The study is a file: the same command resumes it, also several
at a time, and trials that were killed are tried again. Everything after `--` goes to `fit`. Needs
`pip install '.[sweep]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
from datetime import datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

import yaml
from recipes import runs

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.errors import InputError

if TYPE_CHECKING:
    from optuna import Study, Trial


AT_MOST_FAILED = 5  # trials one after the other, before the search is given up
JUST_BEGUN = timedelta(minutes=1)  # a trial says which process it is a moment after it began


def options(args: list[str]) -> argparse.Namespace:
    """Read the command line."""
    own, more = runs.split_arguments(args)
    parser = CommandParser("sweep", (__doc__ or "").partition("\n")[0])
    parser.prog = "python scripts/sweep.py"
    parser.add_argument("config", type=Path)
    parser.add_argument("space", type=Path, help="YAML file of the settings to vary")
    parser.add_argument(
        "--train_file", type=Path, required=True, help="the only data that are looked at"
    )
    parser.add_argument(
        "--study",
        type=Path,
        required=True,
        help="file of the study; an existing one is resumed",
    )
    parser.add_argument(
        "--trials", type=int, default=50, help="of the study as a whole (default 50)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time")
    parser.add_argument(
        "--seeds", type=int, default=1, help="runs of a trial, on splits of their own (default 1)"
    )
    parser.add_argument(
        "--val_fraction", type=float, default=0.2, help="share to validate on (default 0.2)"
    )
    parser.add_argument(
        "--monitor", default="val_accuracy", help="column of history.csv (default val_accuracy)"
    )
    parser.add_argument(
        "--mode", choices=("max", "min"), default="max", help="what is better (default max)"
    )
    found = parser.parse_args(own)
    found.more = more
    return found


def read_space(path: Path) -> dict[str, Any]:
    """The settings to vary.

    Raises:
        InputError: the file is no such list.
    """
    try:
        space = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(space, dict) or not space:
        example = "`model.lr: {low: 0.001, high: 0.03, log: true}`"
        raise InputError(f"{path} lists no settings. Expected lines such as {example}.")
    for name, values in space.items():
        if isinstance(values, list) and values:
            continue
        keys = values.keys() if isinstance(values, dict) else set()
        if not {"low", "high"} <= keys <= {"low", "high", "log", "step"}:
            raise InputError(
                f"{path}: {name} is {values}, expected a list of choices or {{low: …, high: …}} "
                "with `log: true` or `step: …`."
            )
        for key in values.keys() - {"log"}:
            values[key] = _number(values[key])  # YAML takes 1e-3 for text
        numbers = all(isinstance(values[key], int | float) for key in values.keys() - {"log"})
        bad_log = values.get("log") and numbers and (values["low"] <= 0 or "step" in values)
        if not numbers or values["low"] >= values["high"] or bad_log:
            raise InputError(
                f"{path}: {name} is {values}, expected numbers with low < high; with `log: true` "
                "low > 0 and no step."
            )
    return space


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def suggest(trial: Trial, space: dict[str, Any]) -> dict[str, Any]:
    """A value for each setting."""
    found: dict[str, Any] = {}
    for name, values in space.items():
        if isinstance(values, list):  # as text, because Optuna keeps plain values only
            texts = [json.dumps(value) for value in values]
            found[name] = json.loads(trial.suggest_categorical(name, texts))
        else:
            whole = isinstance(values["low"], int) and isinstance(values["high"], int)
            found[name] = (trial.suggest_int if whole else trial.suggest_float)(name, **values)
    return found


def arguments(settings: dict[str, Any]) -> list[str]:
    """Settings as arguments of `fit`."""
    return [
        f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in settings.items()
    ]


def main(args: list[str]) -> int:
    """Run trials until the study has enough, print the best, return the exit code."""
    try:
        chosen = options(args)
        space = read_space(chosen.space)
        study = open_study(chosen)
        sweep(study, space, chosen)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    show(study)
    return 0


def open_study(chosen: argparse.Namespace) -> Study:
    """The study of the file, after putting trials back whose process is gone."""
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise InputError("Optuna is not installed. Run `pip install '.[sweep]'`.") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen.study.parent.mkdir(parents=True, exist_ok=True)
    backend = JournalFileBackend(str(chosen.study))
    direction: Literal["maximize", "minimize"]
    direction = "maximize" if chosen.mode == "max" else "minimize"
    study = optuna.create_study(
        study_name=chosen.config.stem,
        storage=optuna.storages.JournalStorage(backend),
        sampler=optuna.samplers.TPESampler(n_startup_trials=10, constant_liar=True),
        direction=direction,
        load_if_exists=True,
    )
    if study.direction.name.lower() != direction:
        message = f"{chosen.study} was begun with another --mode. Keep it, or name a new file with"
        raise InputError(f"{message} --study.")
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        process = trial.user_attrs.get("process")
        begun = trial.datetime_start or datetime.now()
        if _alive(process) or (process is None and datetime.now() - begun < JUST_BEGUN):
            continue
        try:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        except ValueError:  # another sweep that began at the same time has put it back
            continue
        study.enqueue_trial(trial.params)
    return study


def _alive(process: int | None) -> bool:
    if process is None:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sweep(study: Study, space: dict[str, Any], chosen: argparse.Namespace) -> None:
    """Run trials, several at a time, until the study has as many as were asked for."""
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    work = Path(tempfile.mkdtemp(prefix="sweep-"))
    threads = max(1, (os.cpu_count() or 1) // chosen.jobs)
    failed: list[InputError] = []  # since the last trial that was finished
    given_up: list[InputError] = []
    lock = threading.Lock()
    enough = (TrialState.COMPLETE,)

    def objective(trial: Trial) -> float:
        trial.set_user_attr("process", os.getpid())
        try:
            settings = suggest(trial, space)
        except ValueError as error:  # Optuna's, when a list of choices is not what it was
            reason = str(error).rstrip(".")
            message = f"{chosen.study} was begun with another space: {reason}. Name a new file"
            raise InputError(f"{message} with --study.") from error
        more = [*chosen.more, *arguments(settings), f"--data.val_fraction={chosen.val_fraction}"]
        more.append("--trainer.enable_checkpointing=false")
        values = []
        for seed in range(1, chosen.seeds + 1):
            name = f"trial-{trial.number}-{seed}"
            runs.fit(chosen.config, chosen.train_file, seed, work, name, more, threads)
            last = runs.history(work, name)[-1]
            if chosen.monitor not in last:
                names = ", ".join(last)
                raise InputError(f"There is no figure {chosen.monitor}; there are {names}.")
            values.append(last[chosen.monitor])
        failed.clear()
        figure, words = f"{chosen.monitor} {mean(values):.4f}", " ".join(arguments(settings))
        with lock:
            print(f"trial {trial.number}: {figure} with {words}", flush=True)
        return mean(values)

    def checked_objective(trial: Trial) -> float:
        try:
            return objective(trial)
        except InputError as error:
            failed.append(error)
            if len(failed) >= AT_MOST_FAILED or not study.get_trials(deepcopy=False, states=enough):
                given_up.append(error)  # settings that cannot be used: the same would happen again
                study.stop()
            else:  # a loss that became NaN, for example: other settings may do better
                print(f"trial {trial.number} failed: {error}", flush=True)
            raise

    try:
        if len(study.get_trials(states=enough)) < chosen.trials:
            study.optimize(
                checked_objective,
                n_jobs=chosen.jobs,
                callbacks=[MaxTrialsCallback(chosen.trials, states=enough)],
                catch=(InputError,),
            )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if given_up and len(study.get_trials(states=enough)) < chosen.trials:
        raise given_up[-1]


def show(study: Study) -> None:
    """Print the best trials, as arguments of `fit`."""
    trials = study.get_trials(deepcopy=False)
    done = [(trial.value, trial.params) for trial in trials if trial.value is not None]
    done.sort(key=lambda trial: trial[0], reverse=study.direction.name == "MAXIMIZE")
    print(f"\nBest of {len(done)} trials:")
    for value, params in done[:5]:
        settings = " ".join(f"--{name}={setting}" for name, setting in params.items())
        print(f"  {value:.4f}  {settings}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
