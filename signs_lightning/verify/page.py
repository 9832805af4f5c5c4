"""A comparison as one HTML page, rendered from page.html.jinja."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

import signs_lightning
from signs_lightning.runtime.pages import page_environment
from signs_lightning.verify.print_result import header, number, verdict
from signs_lightning.verify.result import Comparison


def render_page(result: Comparison, command: str) -> str:
    """Return the page; every name is escaped, and the page loads nothing.

    Args:
        result: what was found.
        command: that makes this page.
    """
    environment = page_environment(Path(__file__).parent)
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
