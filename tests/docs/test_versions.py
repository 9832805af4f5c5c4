"""The version stands in the source, the citation and the changelog; the three agree."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import signs_lightning

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_and_its_date() -> None:
    """The citation has the version of the source; the changelog's newest release is that one, of
    the same date. What is not released yet may stand above it.
    """
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == signs_lightning.__version__
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert released[0] == f"{signs_lightning.__version__} - {citation['date-released']}"
