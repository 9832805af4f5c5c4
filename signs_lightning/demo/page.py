"""The demo's page: a picture goes in; the class, the probabilities and what the network looked at come out."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from signs_lightning.data.image_files import UnreadableImageError, read_image
from signs_lightning.errors import InputError
from signs_lightning.runtime.escaping import for_html, printable
from signs_lightning.runtime.os_errors import os_reason

if TYPE_CHECKING:
    from signs_lightning.export.onnx_classifier import OnnxClassifier
    from signs_lightning.models.classifier import ImageClassifier

KINDS = (
    "PNG",
    "JPEG",
    "WebP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
)  # what strangers may send, told by content
FORMATS = {
    *(kind.upper() for kind in KINDS),
    "MPO",
}  # the same for Pillow, to which many a telephone's JPEG is an MPO
MAX_PIXELS = 50_000_000  # a telephone's largest pictures; 200 MB when unpacked
BARS = 10  # classes shown, the most probable ones
EXAMPLES = 12
LOOKED_AT = 256  # images of the data among which the examples are found
WAITING = 200  # pictures in the queue before visitors are asked to come back

THEME = gr.themes.Default(
    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
)
CSS = """
.gradio-container { max-width: 960px !important; margin: 0 auto !important; }
.about h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }
.about p, .seen figcaption { color: var(--body-text-color); opacity: .75; margin: .2rem 0 0; overflow-wrap: anywhere; }
.seen { display: flex; flex-wrap: wrap; gap: 12px; }
.seen figure { flex: 1 1 130px; max-width: 300px; margin: 0; }
.seen img { width: 100%; image-rendering: pixelated; border-radius: 6px; }
.seen figcaption { font-size: .85rem; }
[data-testid="label-output-value"], .confidence-set .label { overflow-wrap: anywhere; }
.confidence-set .confidence { white-space: nowrap; }
.unreadable { font-weight: 600; overflow-wrap: anywhere; }
"""


def build_page(
    model: ImageClassifier | OnnxClassifier, data: dict[str, Any], folder: str
) -> gr.Blocks:
    """The page as Gradio blocks.

    Pictures are read as `read_image` reads them, so that the page and the predict verb agree. From
    here on the process reads the formats in `FORMATS` only, none of which starts another program,
    and no picture of more than `MAX_PIXELS`.

    Args:
        model: in eval mode; moved to the GPU where there is one.
        data: settings of the `H5DataModule` that it was trained on, for the examples; may be empty.
        folder: where the examples are written.
    """
    Image.init()
    Image.ID[:] = [name for name in Image.ID if name in FORMATS]
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    if isinstance(model, torch.nn.Module):
        model.to("cuda" if torch.cuda.is_available() else "cpu")
    height, width, channels = model.image_size
    names = [printable(name) for name in model.class_names]
    names = [name if names.count(name) == 1 else f"{name} ({k})" for k, name in enumerate(names)]

    def classify(upload: dict[str, Any] | None) -> tuple[dict[str, float] | None, str]:
        if upload is None:
            return None, ""
        try:
            image = read_image(str(upload["path"]), model.image_size)
        except UnreadableImageError as error:
            return None, f'<p class="unreadable" role="alert">{_why(error)}</p>'
        probabilities = model.predict(image[None])[0]
        first = int(probabilities.argmax())
        heat = _overlay(model, image, first)
        seen = _figure(image, f"What the network saw: {width}×{height} pixels")
        if heat is not None:
            seen += _figure(heat, f"Grad-CAM: bright parts speak for {names[first]}")
        return dict(
            zip(names, probabilities.tolist(), strict=True)
        ), f'<div class="seen">{seen}</div>'

    with gr.Blocks(title="signs_lightning", analytics_enabled=False) as page:
        gr.HTML(
            f'<div class="about"><h1>{for_html(type(model).__name__)}</h1>'
            f"<p>{len(names)} classes, from {width}×{height} "
            f"pixels{'' if channels == 3 else ' of grey'}. "
            "Pictures go to the machine that runs this page, and nowhere else.</p></div>"
        )
        with gr.Row():
            with gr.Column(min_width=300):
                picture = gr.Image(label="Picture", height=320, buttons=["fullscreen"])
            with gr.Column(min_width=300):
                bars = gr.Label(label="Class", num_top_classes=BARS)
                seen = gr.HTML(js_on_load=None)
        if examples := _examples(data, model, Path(folder)):
            gr.Examples(examples, picture, label="From the data", examples_per_page=EXAMPLES)
        # One picture at a time: Grad-CAM hooks into the network, and memory stays bounded. It comes
        # as the uploaded file is; Gradio's own preprocessing would convert it.
        picture.change(
            classify,
            picture,
            [bars, seen],
            api_name="classify",
            preprocess=False,
            concurrency_limit=1,
        )
    page.queue(max_size=WAITING, api_open=False)  # nobody jumps the queue
    return page


def _why(error: UnreadableImageError) -> str:
    """A sentence without Pillow's own words, which may quote the file."""
    if isinstance(error.__cause__, UnidentifiedImageError):
        return f"This is not a picture of a kind that can be read here ({', '.join(KINDS)})."
    if isinstance(error.__cause__, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"This picture has more than {MAX_PIXELS // 10**6} million pixels. Make it smaller."
    if isinstance(error.__cause__, FileNotFoundError):  # older than the server keeps them
        return "This picture is no longer here. Drop it again."
    if os_reason(error.__cause__ or error) is not None:
        return "This picture cannot be read just now. Drop it again."
    return "This picture is damaged."


def _overlay(
    model: ImageClassifier | OnnxClassifier, image: np.ndarray, number: int
) -> np.ndarray | None:
    """Grad-CAM's overlay uint8 (H, W, 3), or None for a model that has none."""
    from signs_lightning.models.classifier import ImageClassifier
    from signs_lightning.report.gradcam import grad_cam, overlay

    if not isinstance(model, ImageClassifier):
        return None
    try:
        heat = grad_cam(model, torch.from_numpy(image[None].copy()), torch.tensor([number]))[0]
    except InputError:  # no convolution
        return None
    return overlay(image, heat.numpy())


def _figure(image: np.ndarray, caption: str) -> str:
    """An image uint8 (H, W, C) inside the page itself; the browser enlarges it with nearest neighbour."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
    source = base64.b64encode(buffer.getvalue()).decode()
    text = for_html(caption)
    return (
        f'<figure><img alt="{text}" '
        f'src="data:image/png;base64,{source}"><figcaption>{text}</figcaption></figure>'
    )


def _examples(
    data: dict[str, Any], model: ImageClassifier | OnnxClassifier, folder: Path
) -> list[str]:
    """Pictures of the data that the model was tested or validated on, class by class; none where the files are not at hand."""
    from signs_lightning.data.datamodule import H5DataModule

    if not data:
        return []
    try:
        module = H5DataModule(**data)
        module.prepare_data()
        module.setup("test")
        images, labels = module.images("test", LOOKED_AT)
    except (InputError, TypeError, OSError):
        return []
    if images.shape[3] != model.image_size[2]:
        return []
    turns = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    order = [own[n] for n in range(EXAMPLES) for own in turns if n < len(own)][:EXAMPLES]
    paths = []
    for position in sorted(order, key=lambda k: (labels[k], k)):
        path = folder / f"example_{position}.png"
        Image.fromarray(
            images[position, ..., 0] if images.shape[3] == 1 else images[position]
        ).save(path)
        paths.append(str(path))
    return paths
