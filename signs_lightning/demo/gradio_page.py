"""The demo's page: from a picture to the class, the probabilities and Grad-CAM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from signs_lightning.data.datamodule import H5DataModule
from signs_lightning.errors import InputError
from signs_lightning.models.classifier import ImageClassifier
from signs_lightning.models.tasks import count_outputs
from signs_lightning.report.gradcam import grad_cam, overlay
from signs_lightning.report.image_uri import image_uri
from signs_lightning.runtime.escaping import for_html, printable
from signs_lightning.runtime.file_read_errors import os_reason
from signs_lightning.runtime.image_files import (
    UnreadableImageError,
    check_picture_channels,
)
from signs_lightning.runtime.picture_values import (
    check_pictures_mean_something,
    read_picture_values,
)
from signs_lightning.runtime.value_ranges import PLAIN_RANGES, RunValues, to_bytes

if TYPE_CHECKING:
    from signs_lightning.export.onnx_classifier import OnnxClassifier

KINDS = ("PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF", "PPM")  # accepted, by content
FORMATS = {*(kind.upper() for kind in KINDS), "MPO"}  # of Pillow; JPEGs of many telephones are MPO
MAX_PIXELS = 50_000_000  # the largest pictures of telephones; 200 MB when unpacked
MAX_CLASSES = 10  # shown, the most probable ones
MAX_EXAMPLES = 12
EXAMPLE_POOL = 256  # images of the data from which the examples are chosen
MAX_QUEUE = 200  # waiting pictures; further visitors are asked to come back

THEME = gr.themes.Default(
    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
)
CSS = """
.gradio-container { max-width: 960px !important; margin: 0 auto !important; }
.about h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }
.about p, .seen figcaption {
  color: var(--body-text-color); opacity: .75; margin: .2rem 0 0; overflow-wrap: anywhere;
}
.seen { display: flex; flex-wrap: wrap; gap: 12px; }
.seen figure { flex: 1 1 130px; max-width: 300px; margin: 0; }
.seen img { width: 100%; image-rendering: pixelated; border-radius: 6px; }
.seen figcaption { font-size: .85rem; }
[data-testid="label-output-value"], .confidence-set .label { overflow-wrap: anywhere; }
.confidence-set .confidence { white-space: nowrap; }
.values { font-variant-numeric: tabular-nums; margin: 0 0 1rem; }
.values td { padding: .2rem 1rem .2rem 0; overflow-wrap: anywhere; }
.unreadable { font-weight: 600; overflow-wrap: anywhere; }
"""


def build_page(
    model: ImageClassifier | OnnxClassifier, data: dict[str, Any], folder: str
) -> gr.Blocks:
    """Return the page as Gradio blocks.

    Pictures are read by `read_image`, so that the page and the predict verb agree. From here on the
    process reads only the formats in `FORMATS`, none of which starts another program, and no
    picture of more than `MAX_PIXELS`.

    Args:
        model: of grey or RGB images, in eval mode; moved to the GPU where there is one.
        data: settings of the `H5DataModule` that it was trained on, for the examples; may be empty.
        folder: where the examples are written.

    Raises:
        InputError: the model takes images of other channels than pictures have.
    """
    check_picture_channels(model.image_size[2])
    run = model.run_values or RunValues()
    check_pictures_mean_something(run, model.image_size[2])
    Image.init()
    Image.ID[:] = [name for name in Image.ID if name in FORMATS]
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    if isinstance(model, torch.nn.Module):
        model.to("cuda" if torch.cuda.is_available() else "cpu")
    height, width, channels = model.image_size
    task = model.task_rules.name
    names = [printable(name) for name in model.class_names]
    names = [name if names.count(name) == 1 else f"{name} ({k})" for k, name in enumerate(names)]

    def classify(upload: dict[str, Any] | None) -> tuple[dict[str, float] | None, str]:
        if upload is None:
            return None, ""
        try:
            path = str(upload["path"])
            image = read_picture_values(path, model.image_size, model.resizing, run)
        except UnreadableImageError as error:
            return None, f'<p class="unreadable" role="alert">{_explain(error)}</p>'
        probabilities = model.predict(image[None], stored=True)[0]
        drawn = to_bytes(image, run.numbers)
        figures = _figure(drawn, f"What the network saw: {width}×{height} pixels")
        if task == "regression":
            told = "".join(
                f"<tr><td>{for_html(name)}</td><td>{value:.6g}</td></tr>"
                for name, value in zip(names, probabilities.tolist(), strict=True)
            )
            return None, f'<table class="values">{told}</table><div class="seen">{figures}</div>'
        predicted = int(probabilities.argmax())
        heat_map = _grad_cam_overlay(model, image, drawn, predicted)
        if heat_map is not None:
            figures += _figure(heat_map, f"Grad-CAM: bright parts speak for {names[predicted]}")
        shares = dict(zip(names, probabilities.tolist(), strict=True))
        return shares, f'<div class="seen">{figures}</div>'

    with gr.Blocks(title="signs_lightning", analytics_enabled=False) as page:
        gr.HTML(
            f'<div class="about"><h1>{for_html(type(model).__name__)}</h1>'
            f"<p>{count_outputs(model)}, from {width}×{height} "
            f"pixels{'' if channels == 3 else ' of grey'}. "
            "Pictures go to the machine that runs this page, and nowhere else.</p></div>"
        )
        with gr.Row():
            with gr.Column(min_width=300):
                picture = gr.Image(label="Picture", height=320, buttons=["fullscreen"])
            with gr.Column(min_width=300):
                label = {"multilabel": "Labels, each with its own probability"}.get(task, "Class")
                bars = gr.Label(
                    label=label, num_top_classes=MAX_CLASSES, visible=task != "regression"
                )
                seen = gr.HTML(js_on_load=None)
        if examples := _write_examples(data, model, Path(folder)):
            gr.Examples(examples, picture, label="From the data", examples_per_page=MAX_EXAMPLES)
        # One picture at a time: Grad-CAM hooks into the network, and memory stays bounded. Gradio's
        # own preprocessing would convert the uploaded file.
        options: Any = {"api_name": "classify", "preprocess": False, "concurrency_limit": 1}
        picture.change(classify, picture, [bars, seen], **options)
    page.queue(max_size=MAX_QUEUE, api_open=False)  # no requests past the queue
    return page


def _explain(error: UnreadableImageError) -> str:
    """Return a sentence without Pillow's own words, which may quote the file."""
    if isinstance(error.__cause__, UnidentifiedImageError):
        return f"This is not a picture of a kind that can be read here ({', '.join(KINDS)})."
    if isinstance(error.__cause__, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"This picture has more than {MAX_PIXELS // 10**6} million pixels. Make it smaller."
    if isinstance(error.__cause__, FileNotFoundError):  # older than the server keeps them
        return "This picture is no longer here. Drop it again."
    if os_reason(error.__cause__ or error) is not None:
        return "This picture cannot be read just now. Drop it again."
    return "This picture is damaged."


def _grad_cam_overlay(
    model: ImageClassifier | OnnxClassifier, image: np.ndarray, drawn: np.ndarray, label: int
) -> np.ndarray | None:
    """Return the overlay uint8 (H, W, 3), or None for a model that has no Grad-CAM."""
    if not isinstance(model, ImageClassifier):
        return None
    try:
        heat = grad_cam(model, torch.from_numpy(image[None].copy()), torch.tensor([label]))[0]
    except InputError:  # no convolution
        return None
    return overlay(drawn, heat.numpy())


def _figure(image: np.ndarray, caption: str) -> str:
    """Return an image uint8 (H, W, C) as HTML, enlarged by nearest neighbour."""
    text, source = for_html(caption), image_uri(image)
    return f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>'


def _write_examples(
    data: dict[str, Any], model: ImageClassifier | OnnxClassifier, folder: Path
) -> list[str]:
    """Write pictures of the run's data, class by class; none without its files."""
    if not data:
        return []
    try:
        module = H5DataModule(**data)
        module.adopt_values(model.run_values)
        module.adopt_task(model.task_rules.name)
        module.prepare_data()
        module.setup("predict")
        images, labels = module.images("test", EXAMPLE_POOL)
    except (InputError, TypeError, OSError):
        return []
    run = model.run_values or RunValues()
    is_shown = run.numbers in PLAIN_RANGES  # else a PNG of 8 bits would be another picture
    if images.shape[3] != model.image_size[2] or not is_shown:
        return []
    images = to_bytes(images, run.numbers)
    if labels.ndim == 2:  # of a task, whose images are of no one class
        labels = np.zeros(len(labels), np.int64)
    by_class = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    chosen = [own[n] for n in range(MAX_EXAMPLES) for own in by_class if n < len(own)]
    paths = []
    for position in sorted(chosen[:MAX_EXAMPLES], key=lambda k: (labels[k], k)):
        image = images[position]
        path = folder / f"example_{position}.png"
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(path)
        paths.append(str(path))
    return paths
