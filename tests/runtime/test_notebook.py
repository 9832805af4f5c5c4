"""What is known of being in a notebook, and what changes there."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from signs_lightning.runtime.notebook import is_notebook
from signs_lightning.runtime.progress import show_progress


def enter(monkeypatch: pytest.MonkeyPatch, shell: Any) -> None:
    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", ipython)


@pytest.mark.parametrize(
    ("shell", "expected"),
    [(None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=object()), True)],
    ids=["plain Python", "IPython in a terminal", "a kernel"],
)
def test_only_a_kernel_is_a_notebook(monkeypatch, shell, expected):
    enter(monkeypatch, shell)
    assert is_notebook() is expected


def test_without_ipython_there_is_no_notebook(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not is_notebook()


@pytest.mark.parametrize("is_kernel", [True, False])
def test_progress_is_no_red_line_in_a_cell(monkeypatch, capsys, is_kernel):
    """It is said on standard output there, and else on standard error."""
    enter(monkeypatch, SimpleNamespace(kernel=object()) if is_kernel else None)
    with show_progress("Converting photos") as advance:
        advance(1, 2)
    out, err = capsys.readouterr()
    assert (out, err) == (
        ("Converting photos …\n", "") if is_kernel else ("", "Converting photos …\n")
    )
