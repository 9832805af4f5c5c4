"""A comparison as one HTML page, rendered from page.html.jinja."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import jinja2
import torch

import signs_lightning
from signs_lightning.runtime.escaping import printable
from signs_lightning.verify.print_result import header, number, verdict
from signs_lightning.verify.result import Comparison


def render_page(result: Comparison, command: str) -> str:
    """Return the page; every name is escaped, and the page loads nothing.

    Args:
        result: what was found.
        command: that makes this page.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = number
    versions = [
        f"signs_lightning {signs_lightning.__version__}",
        f"Python {platform.python_version()}",
        f"PyTorch {torch.__version__}",
    ]
    return environment.get_template("page.html.jinja").render(
        result=result,
        title="differs" if result.has_differences else "agrees",
        header=[line.partition(":")[::2] for line in header(result)],
        verdict=verdict(result),
        command=command,
        versions=", ".join(versions),
    )


def _printable(value: Any) -> Any:
    """Return a text without control characters, and any other value as given."""
    is_plain_text = isinstance(value, str) and not hasattr(value, "__html__")
    return printable(value) if is_plain_text else value
