"""Errors about Keras files, with what the user can do about them."""

from __future__ import annotations

from signs_lightning.errors import InputError


def untrusted_file(problem: str) -> InputError:
    """Return an error about a file that claims or does what no honest one does."""
    return InputError(f"{problem}. Do not trust this file.")


def damaged_file(problem: str) -> InputError:
    """Return an error about a file that cannot be read."""
    return InputError(f"{problem}. Fetch or write the file again.")


def inconsistent_model(problem: str) -> InputError:
    """Return an error about a model that is not as Keras saves it."""
    return InputError(f"{problem}. Save the model again with Keras.")
