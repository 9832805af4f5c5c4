"""Keep recipes.json, and write its tables into recipes.md and the README.

What stands outside the two markers of the README is kept.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from markdown_lines import wrap_command, wrap_prose

from recipes.runs import ROOT
from recipes.scores import Score, spread
from signs_lightning.errors import InputError

# Of a title: its network's parameters, and of the configuration that trains it as the course does
# what Keras gives; of both the best that was published on the same test images.
ELSEWHERE = {
    "SIGNS, the functional model": ("1,310", "0.783", "0.78 (the course's notebook)"),
    "SIGNS, ResNet50": (
        "23,600,006",
        "–",
        "0.958 ([claimed](https://github.com/sammyamajumdar/ResNet50), BatchNorm in training mode)",
    ),
    "SIGNS, ResNet50 in float32": ("23,600,006", "–", "–"),
    "Happy House, the sequential model": ("37,633", "–", "–"),
    "Cats, with the recipe of the signs": ("1,050", "–", "–"),
}
BEGIN, END = "<!-- figures: written by scripts/evaluate_recipe.py -->", "<!-- end of figures -->"


def row(
    name: str,
    scores: Sequence[Score],
    seconds: Sequence[float],
    ensemble: Score | None = None,
    without_copies: Sequence[Score] = (),
    one_view: Sequence[Score] = (),
) -> dict[str, Any]:
    """Return a configuration's figures as plain values: right answers and seconds."""
    return {
        "config": name,
        "correct": [s.correct for s in scores],
        "count": scores[0].count,
        "seconds": [round(s, 1) for s in seconds],
        "ensemble": ensemble.correct if ensemble else None,
        "without_copies": [s.correct for s in without_copies],
        "count_without_copies": without_copies[0].count if without_copies else None,
        "one_view": [s.correct for s in one_view],
    }


def command(args: Sequence[str]) -> str:
    """Return the command that measured, with plain file names and without --work."""
    kept: list[str] = []
    for before, arg in zip(["", *args], args, strict=False):
        if arg in ("--work", "--output") or before in ("--work", "--output"):
            continue
        is_file = before in ("--train_file", "--test_file")
        kept.append(Path(arg).name if is_file else shlex.quote(arg))
    return " ".join(["python scripts/evaluate_recipe.py", *kept])


def read_entry(record: Path, title: str | None) -> tuple[str, dict[str, Any]]:
    """Return a title of recipes.json, the first where none is named, and its figures.

    Raises:
        InputError: there is no such file or title.
    """
    try:
        known = json.loads(record.read_text())
        titles = {name: entry for name, entry in known.items() if entry["rows"]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{record} cannot be read as a table. Name a recipes.json that this script wrote."
        ) from error
    title = title or next(iter(titles), "")
    if title not in titles:
        raise InputError(f"{record} has no '{title}'; there are {', '.join(titles)}.")
    return title, titles[title]


def write(folder: Path, title: str, found: dict[str, Any]) -> None:
    """Add or replace a title's figures in recipes.json, and write the tables anew.

    What was tried before, the title's `trials`, stays. recipes.md is made if it is not there. The
    project's README has its table written, too, when the folder is the project's docs.
    """
    record, page = folder / "recipes.json", folder / "recipes.md"
    folder.mkdir(parents=True, exist_ok=True)
    known = json.loads(record.read_text()) if record.exists() else {}
    before = known.get(title, {})
    known[title] = found | {key: before[key] for key in ("trials",) if key in before}
    _replace(record, json.dumps(known, indent=1) + "\n")
    text = "\n\n".join(section(title, found) for title, found in known.items())
    if not _between_markers(page, text):
        _replace(page, f"# Recipes\n\n{BEGIN}\n\n{text}\n\n{END}\n")
    if folder.resolve() == ROOT / "docs":
        _between_markers(ROOT / "README.md", summary(known))


def _between_markers(page: Path, text: str) -> bool:
    """Write the text between a page's markers; return whether the page has them."""
    if not page.exists() or BEGIN not in (whole := page.read_text()):
        return False
    before, _, rest = whole.partition(BEGIN)
    _replace(page, f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")
    return True


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text)
    os.replace(temporary, path)


def summary(known: dict[str, Any]) -> str:
    """Return one table of all titles, a line for each configuration."""
    lines = [
        "| what | configuration | parameters | accuracy, mean ± standard deviation | worst, best "
        "(seeds) | Keras | best published | a run, 2 cores |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for title, found in known.items():
        what = f"{title}: {_images(found)}"
        parameters, keras, published = ELSEWHERE.get(title, ("–", "–", "–"))
        for entry in found["rows"]:
            is_recipe = entry["config"].endswith("_best")
            rates = [correct / entry["count"] for correct in entry["correct"]]
            cells = [what, f"`{entry['config']}`", parameters, spread(rates)]
            cells.append(f"{min(rates):.3f}, {max(rates):.3f} ({len(rates)})")
            cells += ["–" if is_recipe else keras, published, _time(entry["seconds"])]
            lines.append(f"| {' | '.join(cells)} |")
            what = parameters = published = ""
    return "\n".join(lines)


def _images(found: dict[str, Any]) -> str:
    if found.get("folds"):
        return f"{found['folds']}-fold cross-validation on {found['images']} images"
    return f"{found['images']} test images"


def _time(seconds: Sequence[float]) -> str:
    middle = median(seconds)
    return f"{middle:.0f} s" if middle < 120 else f"{middle / 60:.1f} min"


def section(title: str, found: dict[str, Any]) -> str:
    """Return a title's table, each seed's scores below it, and the command."""
    lines = [
        "| configuration | accuracy, mean ± standard deviation over seeds | worst | best | "
        "ensemble | a run takes |",
        "|---|---|---|---|---|---|",
    ]
    details = []
    for entry in found["rows"]:
        scores = [Score(k, entry["count"]) for k in entry["correct"]]
        rates = sorted(s.accuracy for s in scores)
        name, together = f"`{entry['config']}`", "–"
        if entry["ensemble"] is not None:
            together = f"{Score(entry['ensemble'], entry['count']).accuracy:.3f}"
        cells = [name, spread(rates), f"{rates[0]:.3f}", f"{rates[-1]:.3f}", together]
        cells.append(_time(entry["seconds"]))
        lines.append(f"| {' | '.join(cells)} |")
        intervals = ", ".join(map(str, scores))
        details.append(f"- {name}, seed by seed with 95% intervals: {intervals}.")
        if entry["without_copies"]:
            count = entry["count_without_copies"]
            others = spread([k / count for k in entry["without_copies"]])
            without = "without the images that nearly are in the training file"
            details.append(f"- {name} {without}: {others} on {count} images.")
        if entry.get("one_view"):
            seen = [k / entry["count"] for k in entry["one_view"]]
            details.append(f"- {name} with one view of an image: {spread(seen)}.")
    for difference in found.get("differences", []):
        first, second = difference["between"]
        mean, low, high = (100 * value for value in difference["points"])
        details.append(
            f"- `{first}` against `{second}` on the same images: {mean:+.1f} points (95% interval "
            f"{low:+.1f} to {high:+.1f}, bootstrap over images)."
        )
    what = _images(found)
    if found.get("near_copies"):
        count = found["near_copies"]
        what += f", {count} of which {'is' if count == 1 else 'are'} nearly in the training file"
    head = f"{what}; {found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    head += f"; {found['processor']}." if "processor" in found else "."
    commits = {name: about["commit"] for name, about in found.get("configs", {}).items()}
    if named := ", ".join(f"`{name}` of {commit}" for name, commit in commits.items() if commit):
        head += f" Settings: {named}, before the test file was opened."
    command = f"```\n{wrap_command(found['command'])}\n```"
    parts = [f"## {title}", head, "\n".join(lines), "\n".join(details), command]
    parts += [_trials(trials) for trials in found.get("trials", [])]
    return wrap_prose("\n\n".join(parts))


def _trials(trials: dict[str, Any]) -> str:
    """Return what was tried on splits of the training file, in order."""
    lines = [
        f"{trials['about']} Of {trials['images']} images:",
        "",
        "| tried | seeds | one view: mean, worst | several views: mean, worst |",
        "|---|---|---|---|",
    ]
    for trial in trials["tried"]:
        views = [_mean_and_worst(trial.get(name)) for name in ("one_view", "several_views")]
        seeds = ", ".join(map(str, trial["seeds"]))
        lines.append(f"| {' | '.join([trial['settings'], seeds, *views])} |")
    return "\n".join(lines)


def _mean_and_worst(rates: Sequence[float] | None) -> str:
    return f"{fmean(rates):.3f}, {min(rates):.3f}" if rates else "–"
