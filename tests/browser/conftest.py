"""A headless Chromium that reaches this machine only, and notes what a page complains of and whom
it wants to call.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
HERE = (
    "http://127.0.0.1:", "http://localhost:", "ws://127.0.0.1:", "file://", "data:", "blob:",
    "about:",
)  # fmt: skip


@dataclass
class Watched:
    """A page, the errors on its console, and the addresses that it asked for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def foreign(self) -> list[str]:
        """Requests that would have left the machine."""
        return [address for address in self.asked if not address.startswith(HERE)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Module scope: while it is open no other test can use asyncio."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("Playwright is missing: pip install playwright")
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUMS)} is installed")
    from playwright.sync_api import sync_playwright

    options = [
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
        "--disable-dev-shm-usage",
    ]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium's own rule for root
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def watch(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens pages that are watched; `width` in pixels and `scheme` light or dark."""
    contexts = []

    def open_page(width: int = 1280, scheme: Any = "light") -> Watched:
        size: ViewportSize = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        watched = Watched(context.new_page())
        watched.page.set_default_timeout(120_000)
        watched.page.on("request", lambda request: watched.asked.append(request.url))
        watched.page.on("websocket", lambda request: watched.asked.append(request.url))
        watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
        watched.page.on("dialog", lambda dialog: watched.errors.append(f"dialog: {dialog.message}"))
        watched.page.on(
            "console",
            lambda line: watched.errors.append(line.text) if line.type == "error" else None,
        )
        return watched

    yield open_page
    for context in contexts:
        context.close()
