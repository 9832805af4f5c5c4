"""Searches settings of a configuration with Optuna, on a validation split of the training file: python scripts/sweep.py CONFIG SPACE …

SPACE is a YAML file with one line a setting, named as on the command line of `fit`:

    model.lr: {low: 0.001, high: 0.03, log: true}
    trainer.max_epochs: {low: 100, high: 400, step: 100}
    model.label_smoothing: [0.0, 0.05, 0.1]

Every trial is `fit` in a process of its own, for each seed; its value is the last epoch's monitored figure, the mean over the seeds. The
study is a file: the same command goes on with it, also several at a time, and trials that were killed are tried again. Everything
after `--` goes to `fit`. Needs `pip install '.[sweep]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import yaml
from recipes import runs

from signs_lightning.errors import InputError, VerbParser

if TYPE_CHECKING:
    from optuna import Study, Trial


def options(args: list[str]) -> argparse.Namespace:
    """The command line."""
    place = args.index("--") if "--" in args else len(args)
    parser = VerbParser("sweep", (__doc__ or "").partition(":")[0])
    parser.prog = "python scripts/sweep.py"
    parser.add_argument("config", type=Path)
    parser.add_argument("space", type=Path, help="YAML file of the settings to vary")
    parser.add_argument("--train_file", type=Path, required=True, help="the only data that are looked at")
    parser.add_argument(
        "--study", type=Path, required=True, help="file of the study; one that is there is gone on with"
    )
    parser.add_argument("--trials", type=int, default=50, help="of the study as a whole (default 50)")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time")
    parser.add_argument("--seeds", type=int, default=1, help="runs of a trial, on splits of their own (default 1)")
    parser.add_argument("--val_fraction", type=float, default=0.2, help="share to validate on (default 0.2)")
    parser.add_argument("--monitor", default="val_accuracy", help="column of history.csv (default val_accuracy)")
    parser.add_argument("--mode", choices=("max", "min"), default="max", help="what is better (default max)")
    found = parser.parse_args(args[:place])
    found.more = args[place + 1 :]
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
        raise InputError(
            f"{path} lists no settings. Expected lines such as `model.lr: {{low: 0.001, high: 0.03, log: true}}`."
        )
    for name, values in space.items():
        if isinstance(values, list) and values:
            continue
        if not (isinstance(values, dict) and {"low", "high"} <= values.keys() <= {"low", "high", "log", "step"}):
            raise InputError(
                f"{path}: {name} is {values}, expected a list of choices or {{low: …, high: …}} with `log: true` or `step: …`."
            )
    return space


def suggest(trial: Trial, space: dict[str, Any]) -> dict[str, Any]:
    """A value for each setting."""
    found: dict[str, Any] = {}
    for name, values in space.items():
        if isinstance(values, list):  # as text, because Optuna keeps plain values only
            found[name] = json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in values]))
        else:
            whole = isinstance(values["low"], int) and isinstance(values["high"], int)
            found[name] = (trial.suggest_int if whole else trial.suggest_float)(name, **values)
    return found


def arguments(settings: dict[str, Any]) -> list[str]:
    """Settings as arguments of `fit`."""
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in settings.items()]


def main(args: list[str]) -> int:
    """Runs trials until the study has enough of them, and prints the best; returns the exit code."""
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
    except ImportError as error:
        raise InputError("Optuna is not installed. Run `pip install '.[sweep]'`.") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen.study.parent.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(chosen.study))
    direction = "maximize" if chosen.mode == "max" else "minimize"
    study = optuna.create_study(
        study_name=chosen.config.stem,
        storage=optuna.storages.JournalStorage(backend),
        sampler=optuna.samplers.TPESampler(n_startup_trials=10, constant_liar=True),
        direction=direction,
        load_if_exists=True,
    )
    if study.direction.name.lower() != direction:
        raise InputError(f"{chosen.study} was begun with another --mode. Keep it, or name a new file with --study.")
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if not _alive(trial.user_attrs.get("process")):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
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
    """Trials, several at a time, until the study has as many as were asked for."""
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    work = Path(tempfile.mkdtemp(prefix="sweep-"))
    threads = max(1, (os.cpu_count() or 1) // chosen.jobs)
    failure: list[InputError] = []
    lock = threading.Lock()

    def objective(trial: Trial) -> float:
        trial.set_user_attr("process", os.getpid())
        settings = suggest(trial, space)
        more = [*chosen.more, *arguments(settings), f"--data.val_fraction={chosen.val_fraction}"]
        more.append("--trainer.enable_checkpointing=false")
        values = []
        for seed in range(1, chosen.seeds + 1):
            name = f"trial-{trial.number}-{seed}"
            runs.fit(chosen.config, chosen.train_file, seed, work, name, more, threads)
            last = runs.history(work, name)[-1]
            if chosen.monitor not in last:
                raise InputError(f"There is no figure {chosen.monitor}; there are {', '.join(last)}.")
            values.append(last[chosen.monitor])
        with lock:
            print(
                f"trial {trial.number}: {chosen.monitor} {mean(values):.4f} with {' '.join(arguments(settings))}",
                flush=True,
            )
        return mean(values)

    def guarded(trial: Trial) -> float:
        try:
            return objective(trial)
        except InputError as error:  # settings that cannot be used stop the sweep: the same would happen again
            failure.append(error)
            study.stop()
            raise

    enough = (TrialState.COMPLETE,)
    try:
        if len(study.get_trials(states=enough)) < chosen.trials:
            study.optimize(
                guarded,
                n_jobs=chosen.jobs,
                callbacks=[MaxTrialsCallback(chosen.trials, states=enough)],
                catch=(InputError,),
            )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if failure:
        raise failure[0]


def show(study: Study) -> None:
    """The best trials, as arguments of `fit`."""
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.value is not None]
    done.sort(key=lambda trial: trial.value, reverse=study.direction.name == "MAXIMIZE")
    print(f"\nBest of {len(done)} trials:")
    for trial in done[:5]:
        settings = " ".join(f"--{name}={value}" for name, value in trial.params.items())
        print(f"  {trial.value:.4f}  {settings}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
