"""Pages of HTML from templates: every value is escaped, and a missing one is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from signs_lightning.runtime.escaping import printable


def page_environment(folder: Path) -> jinja2.Environment:
    """Return what renders the templates of a folder."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


def _printable(value: Any) -> Any:
    """Return a text without control characters, and any other value as given."""
    is_plain_text = isinstance(value, str) and not hasattr(value, "__html__")
    return printable(value) if is_plain_text else value
