"""report.html: one page that needs nothing besides itself, neither files nor scripts nor a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from signs_lightning.models.metrics import Evaluation, describe_accuracy, wilson_interval
from signs_lightning.report.calibration import Calibration
from signs_lightning.report.figures import MAX_NUMBERED, Tile, small_picture
from signs_lightning.runtime.escaping import for_html

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1c1e21; --faint: #5d6673; --line: #d9dde3; --code: #f4f5f7; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16181c; --text: #e7e9ec; --faint: #a0a8b4; --line: #363b43; --code: #20242a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem 1rem 4rem; max-width: 66rem; background: var(--ground); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; }
.faint { color: var(--faint); }
.accuracy { font-size: 2.4rem; font-weight: 600; line-height: 1.2; margin: 1rem 0 0; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; }
.figures img { width: 30rem; max-width: 100%; height: auto; padding: .5rem; border-radius: .5rem; background: #fff; }
.scroll { overflow-x: auto; }
.scroll img { width: auto; max-width: none; height: 60rem; }
@media (max-width: 40rem) { th, td { padding: .25rem .4rem; } }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem .75rem; }
.pairs { grid-template-columns: repeat(auto-fill, minmax(min(25rem, 100%), 1fr)); }
figure { margin: 0; break-inside: avoid; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; }
figcaption { font-size: .85rem; line-height: 1.35; margin-top: .3rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; text-align: left; white-space: normal; min-width: 5rem; }
th { font-weight: 600; font-size: .9rem; }
pre { background: var(--code); padding: .75rem; border-radius: .5rem; font-size: .85rem; white-space: pre-wrap; margin: .5rem 0; }
@media print {
  :root { color-scheme: light; --ground: #fff; --text: #000; --faint: #444; --line: #bbb; --code: #fff; }
  body { padding: 0; font-size: 10pt; max-width: none; }
  h2, tr { break-inside: avoid; } h2 { break-after: avoid; }
  pre { padding: 0; }
  .scroll { overflow: visible; }
  .figures img { width: 8.5cm; padding: 0; } .scroll img { width: auto; max-width: 100%; height: auto; }
  .pairs { grid-template-columns: 1fr 1fr; }
}
"""


@dataclass(frozen=True)
class ReportPage:
    """What stands on the page.

    Attributes:
        title: what was judged, such as "signs_functional/version_0".
        model: one line about the network.
        data: sentences about the images that the figures rest on.
        evaluation: accuracy, loss, confusion matrix.
        bins: the reliability diagram's figures.
        figures: PNGs by name: confusion, reliability, and loss and accuracy where the history is
            known.
        mistakes: pictures of the worst mistakes.
        explained: Grad-CAM pictures.
        not_explained: why there are none, else empty.
        configuration: lines of YAML; none where unknown.
        versions: by name.
        commands: what each did, and the command as it is typed.
    """

    title: str
    model: str
    data: Sequence[str]
    evaluation: Evaluation
    bins: Calibration
    figures: Mapping[str, Path]
    mistakes: Sequence[Tile]
    explained: Sequence[Tile]
    not_explained: str = ""
    configuration: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[tuple[str, str]] = ()


def render_page(report: ReportPage) -> str:
    """The page as HTML. Every name in it is escaped, and it may load nothing: its images are data URIs."""
    evaluation = report.evaluation
    result = describe_accuracy(evaluation.correct, evaluation.count).partition(" = ")[2]
    accuracy, _, interval = result.partition(" ")
    body = [
        f"<header><h1>{for_html(report.title).replace('/', '/<wbr>')}</h1>",
        f'<p class="faint">{for_html(report.model)}</p></header>',
        "<main>",
        f'<p class="accuracy">{accuracy}</p>',
        f"<p>accuracy: {evaluation.correct:,} of {evaluation.count:,} images {interval}; loss "
        f"{evaluation.loss:.4f}.</p>",
        *(f"<p>{for_html(sentence)}</p>" for sentence in report.data),
        *_curves(report),
        "<h2>Classes</h2>",
        *_classes(evaluation),
        "<h2>Confusion matrix</h2>",
        "<p>Colour is the share of the true class; a cell without an image is white.</p>",
        _figures(report, "confusion", wide=len(evaluation.class_names) > MAX_NUMBERED),
        "<h2>Worst mistakes</h2>",
        *_mistakes(report),
        "<h2>Calibration</h2>",
        *_calibration(report),
        "<h2>Where the network looks</h2>",
        *_explained(report),
        "<h2>How this was made</h2>",
        *_origin(report),
        "</main>",
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{for_html(report.title)}: {accuracy}</title>",
            '<link rel="icon" href="data:,">',  # else a browser asks for favicon.ico
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def _curves(report: ReportPage) -> list[str]:
    if "loss" not in report.figures:
        return []
    return ["<h2>Training</h2>", _figures(report, "loss", "accuracy")]


def _classes(evaluation: Evaluation) -> list[str]:
    head = "".join(
        f"<th>{column}</th>"
        for column in ("class", "precision", "recall", "F1", "images", "95% interval")
    )
    rows = []
    for k, row in enumerate(evaluation.per_class()):
        interval = "–"
        if row["images"]:
            low, high = wilson_interval(int(evaluation.confusion[k, k]), int(row["images"]))
            interval = f"{low:.3f}–{high:.3f}"
        cells = (
            f"{row['precision']:.3f}",
            f"{row['recall']:.3f}",
            f"{row['f1']:.3f}",
            f"{row['images']:,}",
            interval,
        )
        rows.append(
            f"<tr><td>{for_html(str(row['class']))}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{chr(10).join(rows)}\n</tbody></table>"
    return [
        f'<div class="scroll">{table}</div>',
        '<p class="faint">The interval is Wilson\'s (1927), of the recall; 0.000 also stands '
        "where a figure is undefined.</p>",
    ]


def _mistakes(report: ReportPage) -> list[str]:
    wrong = report.evaluation.count - report.evaluation.correct
    if not wrong:
        return ["<p>There is none: every image is classified correctly.</p>"]
    shown = len(report.mistakes)
    which = f"All {wrong:,} of them" if shown == wrong else f"{shown} of {wrong:,}"
    return [
        f"<p>{which}, the least probable true class first. Images are counted from 0.</p>",
        _tiles(report.mistakes, "tiles", width=9.5),
    ]


def _calibration(report: ReportPage) -> list[str]:
    bins, accuracy = report.bins, report.evaluation.correct / report.evaluation.count
    gap = bins.mean_confidence - accuracy
    tendency = "over-confident" if gap > 0 else "under-confident"
    return [
        f"<p>Expected calibration error {bins.error:.3f}, from {bins.counts.sum():,} images in "
        f"{len(bins.counts)} bins of equal "
        f"width. The mean confidence is {bins.mean_confidence:.3f} and the accuracy "
        f"{accuracy:.3f}: on the whole {tendency} by "
        f"{abs(gap):.3f}.</p>",
        '<p class="faint">Bins of few images scatter, and that alone makes the error larger than '
        "0. Guo et al. 2017, “On Calibration "
        "of Modern Neural Networks”; Naeini et al. 2015, “Obtaining Well Calibrated Probabilities "
        "Using Bayesian Binning”.</p>",
        _figures(report, "reliability"),
    ]


def _explained(report: ReportPage) -> list[str]:
    if report.not_explained:
        return [f"<p>{for_html(report.not_explained)}</p>"]
    return [
        "<p>The images of each class with the largest and the smallest probability of that class. "
        "Bright is evidence for the class; "
        "a wrong prediction has a second map, of what spoke for it. Each map is scaled to its own "
        "maximum, and is as coarse as "
        "the network's last feature maps.</p>",
        '<p class="faint">Grad-CAM: Selvaraju et al. 2017, “Grad-CAM: Visual Explanations from '
        "Deep Networks via Gradient-based "
        "Localization”.</p>",
        _tiles(report.explained, "tiles pairs", width=6.7),
    ]


def _origin(report: ReportPage) -> list[str]:
    parts = [
        f"<p>{for_html(what)}:</p><pre>{for_html(command)}</pre>"
        for what, command in report.commands
    ]
    parts.append(
        f"<p>{for_html(', '.join(f'{name} {version}' for name, version in report.versions.items()))}</p>"
    )
    if report.configuration:
        lines = "\n".join(map(for_html, report.configuration))
        parts.append(f"<p>Configuration, without options that were not set:</p><pre>{lines}</pre>")
    return parts


ALTERNATIVES = {
    "loss": "Loss of training and validation over the epochs",
    "accuracy": "Accuracy of training and validation over the epochs",
    "confusion": "Confusion matrix",
    "reliability": "Reliability diagram: accuracy over confidence",
}


def _figures(report: ReportPage, *names: str, wide: bool = False) -> str:
    images = []
    for name in names:
        data = base64.b64encode(report.figures[name].read_bytes()).decode()
        images.append(f'<img alt="{ALTERNATIVES[name]}" src="data:image/png;base64,{data}">')
    return f'<div class="figures{" scroll" if wide else ""}">{"".join(images)}</div>'


def _tiles(tiles: Sequence[Tile], kind: str, width: float) -> str:
    figures = []
    for tile in tiles:
        file = io.BytesIO()
        small_picture(tile.strip()).save(file, "JPEG", quality=92, subsampling=0)
        data = base64.b64encode(file.getvalue()).decode()
        text = "<br>".join(map(for_html, tile.lines))
        figures.append(
            f'<figure><img alt="" style="width: {width * len(tile.pictures):.1f}rem" '
            f'src="data:image/jpeg;base64,{data}">'
            f"<figcaption>{text}</figcaption></figure>"
        )
    return f'<div class="{kind}">{"".join(figures)}</div>'
