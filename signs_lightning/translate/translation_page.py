"""TRANSLATION.md: what became of every statement of a source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from signs_lightning.translate.findings import (
    NEEDS_FACT,
    NOT_UNDERSTOOD,
    UNDERSTOOD,
    WITHOUT_EFFECT,
    Finding,
)
from signs_lightning.translate.pretrained import is_weights_fact
from signs_lightning.translate.translation import WEIGHTS, Translation

PAGE = "TRANSLATION.md"
_MAX_TEXT = 100  # characters of a statement
_MEANINGS = {
    UNDERSTOOD: "it is in the model or its training as it stands",
    WITHOUT_EFFECT: "it changes neither the model nor its training: plots, prints, reports",
    NEEDS_FACT: "only the data tell a value; `--fact` and `--data.train_file` tell it",
    NOT_UNDERSTOOD: "what it reaches, if anything, stands behind it",
}


def write_page(made: Translation) -> str:
    """Return the text of the page."""
    lines = [f"# {_inline(made.reading.path.name)}, translated", "", *_result(made), ""]
    if made.needed or made.not_understood or made.refusals or made.reading.stopped:
        lines += ["## What is missing", "", *_missing(made), ""]
    lines += ["## What was inferred", "", *_list(_inferred(made)), ""]
    lines += ["## Models of the source", "", *_list(_models(made)), ""]
    lines += ["## Statement by statement", ""]
    lines += [f"- **{kind}**: {meaning}" for kind, meaning in _MEANINGS.items()]
    lines += ["", *_statements(made)]
    return "\n".join(lines).rstrip() + "\n"


def describe_finding(finding: Finding) -> str:
    """Return a statement with its place, what of it is not known, and what it reaches."""
    text = f"{finding.place}: {_shortened(finding.text)}" if finding.text else f"{finding.place}"
    text += f" — {finding.reason}" if finding.reason else ""
    return f"{text}; reaches the {finding.reaches}" if finding.reaches else text


def inferred(made: Translation) -> list[str]:
    """Return what is not written in the source and was assumed, a line each."""
    release = made.reading.release
    lines = [f"Keras {release.version}: {release.reason}"]
    lines += [f"{name} = {value}, as the data or --fact tell" for name, value in made.facts.items()
              if not is_weights_fact(name)]  # fmt: skip
    lines += [f"{place}: {note}" for place, note in made.notes()]
    return lines + made.said


def _result(made: Translation) -> Iterator[str]:
    if made.is_whole:
        yield "Everything that reaches the model and its training is understood."
    elif made.not_understood or made.refusals or made.reading.stopped:
        yield "**Not everything that reaches the model or its training is understood.**"
    else:
        yield "**Some values are in the data only.**"
    if made.files:
        names = [*made.files, *([WEIGHTS] if made.weights is not None else [])]
        yield f"Written beside this file: {', '.join(f'`{name}`' for name in names)}."
    else:
        yield "No model is written."
    if made.agreement:
        yield made.agreement


def _missing(made: Translation) -> Iterator[str]:
    for finding in (*made.not_understood, *made.needed):
        yield f"- {_inline(describe_finding(finding))}"
    for refusal in made.refusals:
        yield f"- {_inline(refusal)}"
    if made.reading.stopped:
        yield f"- {_inline(made.reading.stopped)}"


def _inferred(made: Translation) -> list[str]:
    return [_inline(line) for line in inferred(made)]


def _models(made: Translation) -> list[str]:
    found = []
    for model in made.reading.models:
        fits = [str(fit.place) for fit in model.fits]
        text = f"`{_inline(model.label)}`"
        if model.record is not None:
            text += f", made at {model.record.place}"
        text += f", fitted at {' and '.join(fits)}" if fits else ", never fitted"
        found.append(f"{text}: **translated**" if model is made.reading.chosen else text)
    return found or ["none"]


def _list(lines: Iterable[str]) -> list[str]:
    return [f"- {line}" for line in lines]


def _statements(made: Translation) -> Iterator[str]:
    """Yield a heading for every cell, and a line for every statement."""
    unread = {cell.number: cell.problem for cell in made.reading.cells if cell.tree is None}
    heading = None
    for finding in made.findings:
        place = finding.place
        where = f"### {place.file or ''} cell {place.cell}" if place.cell else f"### {place.file}"
        where = re.sub(r"\s+", " ", where).rstrip()
        if where != heading:
            if where != "###":
                yield f"\n{where}\n"
            heading = where
            if place.cell in unread and not place.file:
                yield f"Not read: {_inline(unread.pop(place.cell))}\n"
        indent = "  " if finding.is_nested else ""
        text = f"`{_code(finding.text)}`" if finding.text else ""
        yield f"{indent}- line {place.line}, {_kind(finding)}: {text}".rstrip(" :")
    for number, problem in unread.items():
        yield f"\n### cell {number}\n\nNot read: {_inline(problem)}\n"


def _kind(finding: Finding) -> str:
    if finding.kind == UNDERSTOOD or finding.kind == WITHOUT_EFFECT:
        return finding.kind
    reaches = f", reaches the {finding.reaches}" if finding.reaches else ""
    name = finding.fact if finding.kind == NEEDS_FACT else finding.reason
    return f"**{finding.kind}** ({_inline(name or '')}{reaches})"


def _shortened(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"


def _code(text: str) -> str:
    """Return a statement that stands between backticks."""
    return _shortened(text).replace("`", "'")


def _inline(text: str) -> str:
    """Return text that Markdown shows as it is."""
    printed = "".join(c if c.isprintable() else " " for c in text)
    return re.sub(r"([\\`*_<>\[\]|#])", r"\\\1", printed)
