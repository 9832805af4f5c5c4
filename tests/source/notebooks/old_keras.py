"""Names of old versions of Keras for tf_keras, which is Keras 2."""

from __future__ import annotations

PLACES = (
    *("layers", "models", "optimizers", "datasets", "utils", "applications", "preprocessing"),
    *("preprocessing.image", "callbacks", "initializers", "backend", "losses", "regularizers"),
    "applications.mobilenet",
)
