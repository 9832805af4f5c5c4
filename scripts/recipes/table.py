"""recipes.json: what was measured, by title; the tables of it in recipes.md, and one of it all in
the README, between two markers.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from markdown_lines import wrap_command, wrap_prose

from recipes.runs import ROOT
from recipes.scores import Score, spread

BEGIN, END = "<!-- figures: written by scripts/evaluate_recipe.py -->", "<!-- end of figures -->"


def row(
    name: str,
    scores: Sequence[Score],
    seconds: Sequence[float],
    ensemble: Score | None = None,
    without_copies: Sequence[Score] = (),
) -> dict[str, Any]:
    """A configuration's figures as plain values: right answers of each seed, in order, and the
    seconds of each run.
    """
    return {
        "config": name,
        "correct": [s.correct for s in scores],
        "count": scores[0].count,
        "seconds": [round(s, 1) for s in seconds],
        "ensemble": ensemble.correct if ensemble else None,
        "without_copies": [s.correct for s in without_copies],
        "count_without_copies": without_copies[0].count if without_copies else None,
    }


def command(args: Sequence[str]) -> str:
    """The command that measured, without the folder of its runs and with files by their names
    alone.
    """
    kept: list[str] = []
    for before, arg in zip(["", *args], args, strict=False):
        if arg in ("--work", "--output") or before in ("--work", "--output"):
            continue
        kept.append(
            Path(arg).name if before in ("--train_file", "--test_file") else shlex.quote(arg)
        )
    return " ".join(["python scripts/evaluate_recipe.py", *kept])


def write(folder: Path, title: str, found: dict[str, Any]) -> None:
    """Adds a title's figures to recipes.json, or replaces them, and writes the tables of them anew.

    recipes.md is made if it is not there. The project's README has its table written, too, when the
    folder is the project's docs.
    """
    record, page = folder / "recipes.json", folder / "recipes.md"
    folder.mkdir(parents=True, exist_ok=True)
    known = json.loads(record.read_text()) if record.exists() else {}
    known[title] = found
    _replace(record, json.dumps(known, indent=1) + "\n")
    text = "\n\n".join(section(title, found) for title, found in known.items())
    if not _between_markers(page, text):
        _replace(page, f"# Recipes\n\n{BEGIN}\n\n{text}\n\n{END}\n")
    if folder.resolve() == ROOT / "docs":
        _between_markers(ROOT / "README.md", summary(known))


def _between_markers(page: Path, text: str) -> bool:
    """Whether the page is there and has the markers; the text is then between them."""
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
    """One table of all titles, a line for each configuration."""
    lines = [
        "| what | configuration | accuracy, mean ± standard deviation | worst and best seed | "
        "seeds | a run takes |",
        "|---|---|---|---|---|---|",
    ]
    for title, found in known.items():
        what = f"{title}: {_images(found)}"
        for entry in found["rows"]:
            rates = [correct / entry["count"] for correct in entry["correct"]]
            cells = [
                what,
                f"`{entry['config']}`",
                spread(rates),
                f"{min(rates):.3f}, {max(rates):.3f}",
            ]
            cells += [str(len(rates)), _time(entry["seconds"])]
            lines.append(f"| {' | '.join(cells)} |")
            what = ""
    return "\n".join(lines)


def _images(found: dict[str, Any]) -> str:
    if found.get("folds"):
        return f"{found['folds']}-fold cross-validation on {found['images']} images"
    return f"{found['images']} test images"


def _time(seconds: Sequence[float]) -> str:
    middle = median(seconds)
    return f"{middle:.0f} s" if middle < 120 else f"{middle / 60:.1f} min"


def section(title: str, found: dict[str, Any]) -> str:
    """A title's table, each seed's scores below it, and the command."""
    lines = [
        "| configuration | accuracy, mean ± standard deviation over seeds | worst | best | "
        "ensemble | a run takes |",
        "|---|---|---|---|---|---|",
    ]
    details = []
    for entry in found["rows"]:
        scores = [Score(k, entry["count"]) for k in entry["correct"]]
        rates = sorted(s.accuracy for s in scores)
        whole = (
            f"{Score(entry['ensemble'], entry['count']).accuracy:.3f}"
            if entry["ensemble"] is not None
            else "–"
        )
        cells = [
            f"`{entry['config']}`",
            spread(rates),
            f"{rates[0]:.3f}",
            f"{rates[-1]:.3f}",
            whole,
        ]
        cells.append(_time(entry["seconds"]))
        lines.append(f"| {' | '.join(cells)} |")
        details.append(
            f"- `{entry['config']}`, seed by seed with 95% intervals: "
            f"{', '.join(map(str, scores))}."
        )
        if entry["without_copies"]:
            others = [k / entry["count_without_copies"] for k in entry["without_copies"]]
            details.append(
                f"- `{entry['config']}` without the images that nearly are in the training file: "
                f"{spread(others)} on "
                f"{entry['count_without_copies']} images."
            )
    for difference in found.get("differences", []):
        first, second = difference["between"]
        mean, low, high = (100 * value for value in difference["points"])
        details.append(
            f"- `{first}` against `{second}` on the same images: {mean:+.1f} points (95% interval "
            f"{low:+.1f} to {high:+.1f}, "
            "bootstrap over images)."
        )
    what = _images(found)
    if found.get("near_copies"):
        count = found["near_copies"]
        what += f", {count} of which {'is' if count == 1 else 'are'} nearly in the training file"
    head = f"{what}; {found['threads']} thread{'s' if found['threads'] > 1 else ''}."
    command = f"```\n{wrap_command(found['command'])}\n```"
    parts = [f"## {title}", head, "\n".join(lines), "\n".join(details), command]
    return wrap_prose("\n\n".join(parts))
