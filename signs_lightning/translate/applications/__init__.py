"""Models of keras.applications, built as Keras builds them."""

from signs_lightning.translate.applications.catalog import call

__all__ = ["call"]
