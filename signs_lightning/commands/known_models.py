"""The models that `--model` takes by their bare names."""

from __future__ import annotations

import signs_lightning
from signs_lightning.models.classifier import ImageClassifier

LAZY_MODEL = "FromKeras"  # imported only where it is named: it brings all of keras_io


def known_models() -> dict[str, type[ImageClassifier]]:
    """Return every model that has been imported, by its bare name."""
    models, queue = {}, ImageClassifier.__subclasses__()
    while queue:
        model = queue.pop()
        models[model.__name__] = model
        queue += model.__subclasses__()
    return dict(sorted(models.items()))


def model_names() -> list[str]:
    """Return the bare names of all models, imported or not."""
    return sorted({LAZY_MODEL, *known_models()})


def find_model(name: str) -> type[ImageClassifier] | None:
    """Return a model by its bare name, and import it if needed."""
    return import_lazy_model() if name == LAZY_MODEL else known_models().get(name)


def import_lazy_model() -> type[ImageClassifier]:
    """Import the model that the parser does not know by its bare name before."""
    model: type[ImageClassifier] = getattr(signs_lightning, LAZY_MODEL)
    return model
