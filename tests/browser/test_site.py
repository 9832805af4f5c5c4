"""The documentation in a browser, opened from the disk: it calls nobody, its search finds, and it
fits a telephone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder),
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_pages(site: Path, watch: Callable, width: int, scheme: str) -> None:
    """No error, no request that leaves the machine, nothing wider than the screen; dark where the
    reader's system is.
    """
    watched = watch(width, scheme)
    for path in sorted(site.rglob("*.html")):
        if path.name != "404.html":
            watched.page.goto(path.as_uri())
            assert watched.page.evaluate("document.documentElement.scrollWidth") <= width, path.name
            expected = "slate" if scheme == "dark" else "default"
            assert watched.page.get_attribute("body", "data-md-color-scheme") == expected
    assert watched.errors == []
    assert watched.foreign == []


def test_search(site: Path, watch: Callable) -> None:
    """A word of one page is found, without a server."""
    watched = watch()
    watched.page.goto((site / "index.html").as_uri())
    watched.page.focus("input[name=query]")
    # for the index: what is typed before may get lost on a busy machine
    watched.page.wait_for_function(
        "!document.querySelector('.md-search-result__meta').textContent.includes('Initializing')"
    )
    watched.page.type("input[name=query]", "sbatch")
    # Other pages are listed until the whole word is typed.
    page = ".md-search-result__item:first-child .md-search-result__link"
    watched.page.wait_for_selector(f'{page}[href*="gpus-and-clusters.html"]')
    assert watched.foreign == []
