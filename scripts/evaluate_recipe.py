"""Train configurations on several seeds, test each model once, write the table.

    python scripts/evaluate_recipe.py CONFIG …
    python scripts/evaluate_recipe.py --verify docs/recipes.json

The test file is opened after the last training run is over, and no trained model is deleted before
the table is written. With --folds there is no test file: each image of the training
file is predicted by a model that has not seen it. What was measured goes into recipes.json and
recipes.md of --output, under --title; what was there under other titles stays. Everything after
`--` goes to `fit`, of every configuration.

`--verify` trains one seed of a table's first configuration anew, and compares: the exit code is 1
where another number of answers is right.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from recipes import origin, runs, table
from recipes.near_copies import find_near_copies
from recipes.scores import ensemble, folds, paired_difference, score

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.errors import InputError


def options(args: list[str]) -> argparse.Namespace:
    """Read the command line."""
    own, more = runs.split_arguments(args)
    parser = CommandParser("evaluate_recipe", (__doc__ or "").partition("\n")[0])
    parser.prog = "python scripts/evaluate_recipe.py"
    parser.add_argument(
        "configs", nargs="+", type=Path, help="the recipe, and what it is compared with"
    )
    parser.add_argument("--train_file", type=Path, required=True)
    parser.add_argument("--test_file", type=Path, help="opened once, at the end; not with --folds")
    parser.add_argument(
        "--folds",
        type=int,
        default=0,
        help="cross-validation on the training file, in so many parts",
    )
    parser.add_argument("--seeds", type=int, default=5, help="1 to so many (default 5)")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="runs at a time, each with one thread if there are several",
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="of a run, with --jobs 1 (default 2)"
    )
    parser.add_argument("--title", required=True, help="of this table")
    parser.add_argument(
        "--work", type=Path, help="folder of the runs; an existing one is resumed, and kept"
    )
    parser.add_argument("--output", type=Path, default=runs.ROOT / "docs", help="default docs")
    found = parser.parse_args(own)
    if bool(found.folds) == bool(found.test_file):
        parser.error("give either --test_file or --folds")
    for name in ("train_file", "test_file"):
        path = getattr(found, name)
        if path is not None and not path.is_file():
            raise InputError(f"{path} is no file. Name where it lies with --{name}.")
    if len({config.stem for config in found.configs}) < len(found.configs):
        raise InputError("Two configurations have the same name. Rename one of them.")
    if found.folds == 1 or found.folds < 0 or found.seeds < 1 or found.jobs < 1:
        parser.error("--folds must be at least 2, --seeds and --jobs at least 1")
    found.more = more
    found.threads = found.threads if found.jobs == 1 else 1
    found.seeds = range(1, found.seeds + 1)
    return found


def main(args: list[str]) -> int:
    """Train, test and write; return the exit code."""
    try:
        if any(arg.partition("=")[0] == "--verify" for arg in args):
            return verify(args)
        chosen = options(args)
        evaluate(chosen, table.command(args))
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print((chosen.output / "recipes.md").read_text())
    return 0


def verify(args: list[str]) -> int:
    """Train one seed of a table anew; return 0 where as many answers are right, else 1."""
    parser = CommandParser("evaluate_recipe", "Trains one seed of a table anew.")
    parser.prog = "python scripts/evaluate_recipe.py"
    parser.add_argument("--verify", type=Path, required=True, metavar="TABLE.json")
    parser.add_argument("--title", help="of the table (default the first)")
    parser.add_argument("--seed", type=int, default=1, help="which of its seeds (default 1)")
    parser.add_argument("--train_file", type=Path, help="where it does not lie here by its name")
    parser.add_argument("--test_file", type=Path, help="likewise")
    parser.add_argument("--work", type=Path, help="folder of the run, which is kept")
    given = parser.parse_args(args)
    title, entry = table.read_entry(given.verify, given.title)
    row = entry["rows"][0]
    if not 1 <= given.seed <= len(row["correct"]):
        raise InputError(f"--seed is {given.seed}, the table has 1 to {len(row['correct'])}.")
    command = shlex.split(entry["command"])[2:]
    for name in ("train_file", "test_file"):
        if path := getattr(given, name):
            command[command.index(f"--{name}") + 1] = str(path)
    chosen = options(command)
    chosen.configs = [runs.ROOT / chosen.configs[0]]
    chosen.seeds = [given.seed]
    origin.check_unchanged(entry, chosen.configs[0])
    with working_folder(given.work) as work:
        found = measure(chosen, work)["rows"][0]
    names = ("correct", "one_view", "without_copies")
    figures = {name: (row[name][given.seed - 1], found[name][0]) for name in names if row.get(name)}
    print(f"{title}, {row['config']}, seed {given.seed}, of {row['count']}:")
    for name, (theirs, ours) in figures.items():
        print(f"  {name.replace('_', ' ')}: {theirs} in the table, {ours} here")
    if all(theirs == ours for theirs, ours in figures.values()):
        print("as in the table")
        return 0
    print(f"not as in the table, which was measured on {entry.get('processor', 'no named one')}")
    print(f"this processor: {origin.processor()}; another one rounds otherwise")
    return 1


def evaluate(chosen: argparse.Namespace, command: str) -> None:
    """Run everything and write the table."""
    about = {"command": command, "threads": chosen.threads} | origin.describe(chosen.configs)
    with working_folder(chosen.work) as work:
        table.write(chosen.output, chosen.title, about | measure(chosen, work))


def measure(chosen: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Run everything in a folder; return what was found."""
    options = (chosen.configs, chosen.train_file, chosen.folds, chosen.threads, chosen.more)
    runs.keep_settings(work, *options)
    return cross_validate(chosen, work) if chosen.folds else train_and_test(chosen, work)


@contextmanager
def working_folder(named: Path | None) -> Iterator[Path]:
    """Yield the folder of the runs: one that was named, or one that is deleted afterwards.

    It is kept where an error comes after something was trained.
    """
    work = (named or Path(tempfile.mkdtemp(prefix="recipe-"))).resolve()
    try:
        yield work
    except BaseException:
        trained = any(work.glob("lightning_logs/*/version_0/checkpoints/last.ckpt"))
        if named is None and trained:
            print(f"What is trained lies in {work}: go on with `--work {work}`.", file=sys.stderr)
        elif named is None:
            shutil.rmtree(work, ignore_errors=True)
        raise
    if named is None:
        shutil.rmtree(work, ignore_errors=True)


def train_all(
    chosen: argparse.Namespace, work: Path, tasks: list[tuple[Path, Path, int, str]]
) -> dict[str, float]:
    """Run `fit` for each (config, training file, seed, name); return seconds by name."""

    def train(task: tuple[Path, Path, int, str]) -> tuple[str, float]:
        config, train_file, seed, name = task
        kept = work / f"{name}.seconds"
        if not kept.exists():
            seconds = runs.fit(config, train_file, seed, work, name, chosen.more, chosen.threads)
            kept.write_text(f"{seconds:.1f}")
            loss = runs.history(work, name)[-1]["loss"]
            print(f"{name}: {seconds:.0f} s, training loss {loss:.3f}", flush=True)
        return name, float(kept.read_text())

    with ThreadPoolExecutor(chosen.jobs) as pool:
        return dict(pool.map(train, tasks))


def train_and_test(chosen: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Train each configuration on each seed, then open the test file."""
    seeds = chosen.seeds
    pairs = itertools.product(chosen.configs, seeds)
    tasks = [(config, chosen.train_file, seed, f"{config.stem}-{seed}") for config, seed in pairs]
    seconds = train_all(chosen, work, tasks)
    images, labels, _ = runs.read(chosen.test_file)
    copies = find_near_copies(images, runs.read(chosen.train_file)[0])
    rows, predicted = [], {}
    for config in chosen.configs:
        names = [f"{config.stem}-{seed}" for seed in seeds]
        outputs = predicted[config] = [runs.probabilities(work, name, images) for name in names]
        scores, times = [score(p, labels) for p in outputs], [seconds[name] for name in names]
        some_copies = 0 < copies.sum() < len(labels)
        without = [score(p, labels, ~copies) for p in outputs] if some_copies else []
        together = score(ensemble(outputs), labels)
        views = [runs.one_view(work, name, images) for name in names]
        one = [score(p, labels) for p in views if p is not None]
        rows.append(table.row(config.stem, scores, times, together, without, one))
    found = {"images": len(labels), "near_copies": int(copies.sum()), "rows": rows}
    return found | against(predicted, labels)


def cross_validate(chosen: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Run each configuration on each seed and fold; each seed splits anew for all."""
    images, labels, names = runs.read(chosen.train_file)
    seeds = chosen.seeds
    parts = {seed: folds(labels, chosen.folds, seed) for seed in seeds}
    tasks = []
    work.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        for fold in range(chosen.folds):
            path = work / f"without-{seed}-{fold}.h5"
            if not path.exists():
                runs.write(path, images[parts[seed] != fold], labels[parts[seed] != fold], names)
            tasks += [
                (config, path, seed, f"{config.stem}-{seed}-{fold}") for config in chosen.configs
            ]
    seconds = train_all(chosen, work, tasks)
    rows, predicted = [], {}
    for config in chosen.configs:
        outputs = []
        for seed in seeds:
            whole: np.ndarray | None = None
            for fold in range(chosen.folds):
                held_out = parts[seed] == fold
                part = runs.probabilities(work, f"{config.stem}-{seed}-{fold}", images[held_out])
                whole = np.empty((len(labels), part.shape[1])) if whole is None else whole
                whole[held_out] = part
            assert whole is not None
            outputs.append(whole)
        predicted[config] = outputs
        pairs = itertools.product(seeds, range(chosen.folds))
        times = [seconds[f"{config.stem}-{seed}-{fold}"] for seed, fold in pairs]
        rows.append(table.row(config.stem, [score(p, labels) for p in outputs], times))
    return {"images": len(labels), "folds": chosen.folds, "rows": rows} | against(predicted, labels)


def against(predicted: dict[Path, list[np.ndarray]], labels: np.ndarray) -> dict[str, Any]:
    """Return paired differences between the first configuration and the others."""
    first, *others = predicted
    differences = []
    for other in others:
        points = paired_difference(predicted[first], predicted[other], labels)
        differences.append({"between": [first.stem, other.stem], "points": points})
    return {"differences": differences}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
