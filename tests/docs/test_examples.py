"""Every public name has examples in its docstring, and they run."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import signs_lightning


@pytest.mark.parametrize("name", signs_lightning.__all__)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of a name use it, import what they need, and print what they say."""
    monkeypatch.chdir(tmp_path)
    docstring = getattr(signs_lightning, name).__doc__
    test = doctest.DocTestParser().get_doctest(docstring, {}, name, None, None)
    assert any(name in example.source for example in test.examples)
    report: list[str] = []
    assert doctest.DocTestRunner().run(test, out=report.append).failed == 0, "".join(report)
