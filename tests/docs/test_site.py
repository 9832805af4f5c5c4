"""The site builds without a warning, its links have targets, and it fetches nothing."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import signs_lightning
from signs_lightning.__main__ import VERBS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


class Links(HTMLParser):
    """The files that a page loads, the targets of its links, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.places.add(found.get("id", ""))
        if "src" in found or "srcset" in found:
            self.loads.append(found.get("src", "") + found.get("srcset", ""))
        if "href" in found:
            (self.leads if tag == "a" else self.loads).append(found["href"])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, with warnings as errors."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings_handlers.python")
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder),
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_links_have_targets_and_nothing_is_fetched(site: Path) -> None:
    """Every page, heading and picture that HTML names exists, on this machine."""
    pages = {path: Links(path.read_text()) for path in site.rglob("*.html")}
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md")))  # one more for what is not found
    for path, page in pages.items():
        for target in [*page.loads, *page.leads]:
            if target in page.leads and target.startswith(("http://", "https://")):
                continue  # where a reader may go
            assert "://" not in target, f"{path.name} loads {target}"
            name, _, place = target.partition("#")
            # The page for what is not found stands for any address, and links from the site's root.
            there = (
                site / name.lstrip("/")
                if path.name == "404.html"
                else path.parent / name
                if name
                else path
            )
            there = there / "index.html" if there.is_dir() else there
            assert there.is_file(), f"{path.name} leads to {target}"
            if place and there.suffix == ".html":
                assert place in pages[there.resolve()].places, f"{path.name} leads to {target}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"""(url\(|@import)\s*["']?(https?:)?//""", sheet.read_text()), sheet


def test_reference_is_complete(site: Path) -> None:
    """Every verb, option of the data and public name is on its page, and no marker is left."""
    commands, names = (
        Links((site / "commands.html").read_text()),
        Links((site / "python.html").read_text()),
    )
    assert set(VERBS) <= commands.places
    assert {f"signs_lightning.{name}" for name in signs_lightning.__all__} <= names.places
    text = (site / "commands.html").read_text()
    for option in inspect.signature(signs_lightning.H5DataModule).parameters:
        assert f"<code>--data.{option}</code>" in text
    assert not any("from the code:" in path.read_text() for path in site.rglob("*.html"))
