"""Source is checked in this process: another one takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from signs_lightning.source import check


@pytest.fixture(autouse=True)
def no_other_process(request: pytest.FixtureRequest) -> Iterator[None]:
    if "other_process" in request.keywords:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "run_sandboxed", _call)
        yield


def _call(function: str, *args: Any, about: str = "", seconds: float = 0.0) -> Any:
    return getattr(check, function.partition(":")[2])(*args)
