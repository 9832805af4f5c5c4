"""What is to be said of a model that Keras builds, though hardly as it was meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from signs_lightning.translate.keras_session import Session
from signs_lightning.translate.values import Place

KERNELS = ("Conv2D", "Conv2DTranspose", "SeparableConv2D")
PROBABILITIES = ("softmax", "sigmoid")


def loss_note(model: Any, loss: Any) -> str | None:
    """Return what is to be said of a loss and what ends the model, None for nothing.

    Args:
        model: as far as it is made.
        loss: one loss, as Keras writes it.
    """
    activation = _last_activation(model)
    config = loss.get("config") if isinstance(loss, dict) else {}
    name = str(loss.get("class_name") if isinstance(loss, dict) else loss)
    if activation is None or "rossentropy" not in name:
        return None
    from_logits = isinstance(config, dict) and config.get("from_logits") is True
    if from_logits and activation in PROBABILITIES:
        return (
            f"the model ends in a {activation}, and from_logits=True takes its outputs for logits: "
            "Keras then applies it twice"
        )
    if not from_logits and activation == "linear":
        return (
            "the model ends in logits, and the loss takes them for probabilities: from_logits=True "
            "is missing"
        )
    return None


def kernel_note(class_name: str, args: list[Any], session: Session) -> str | None:
    """Return what is to be said of `Conv2D(32, 3, 3)`, which releases of Keras read otherwise."""
    is_ambiguous = class_name in KERNELS and session.release[0] > 1
    if not is_ambiguous or len(args) < 3 or not all(isinstance(v, int) for v in args[:3]):
        return None
    filters, rows, second = args[:3]
    old = f"a kernel of {rows}×{second}"
    new = f"a kernel of {rows}×{rows} and strides of {second}"
    taken, other = (old, new) if session.is_multi_backend else (new, old)
    since = "keras without tensorflow before 2.4" if session.is_multi_backend else "Keras since 2.4"
    return (
        f"{class_name}({filters}, {rows}, {second}) has {taken}, as {since} reads it; others have "
        f"{other}"
    )


def _last_activation(model: Any) -> str | None:
    """Return the activation that ends a model, None where it is not known."""
    layer = model.outputs[0].node.layer if model.outputs else (model.layers or [None])[-1]
    if layer is None or not hasattr(layer, "config") or callable(layer.config):
        return None
    if layer.class_name == "Softmax":
        return "softmax"
    activation = layer.config.get("activation")
    is_known = layer.class_name in ("Dense", "Activation", "Conv2D")
    return activation if is_known and isinstance(activation, str) else None


def unconnected_layers(session: Session) -> Iterator[tuple[str, Place]]:
    """Yield the layers that are made and that no model has, when all of a source is read."""
    inside = {id(layer) for model in session.models for layer in model.layers}
    for layer in session.layers:
        is_used = layer.nodes or layer.takes_data or layer.unknowns
        if not is_used and id(layer) not in inside:
            yield f"{layer.describe()} is made and never connected", layer.place
