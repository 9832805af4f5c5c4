"""examples/first_steps.ipynb: what scripts/make_notebook.py makes, run in a kernel."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK: dict[str, Any] = json.loads((ROOT / "examples" / "first_steps.ipynb").read_text())
PATH = re.compile(r"/(home|root|tmp|work|Users|usr)/")


def import_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_notebook", ROOT / "scripts/make_notebook.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs_of(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def test_the_notebook_has_its_output_and_no_red_line():
    """Every code cell ran in order; no line on standard error, no error, no path of a machine."""
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = outputs_of(NOTEBOOK)
    assert {output["output_type"] for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} == {"stdout"}
    assert PATH.search(json.dumps(NOTEBOOK)) is None
    assert "warning" not in json.dumps(outputs).lower()
    assert len(json.dumps(NOTEBOOK)) < 300_000


@pytest.mark.slow
@pytest.mark.parametrize("has_widgets", [True, False])
def test_the_notebook_runs(has_widgets, tmp_path, drawn_cache):
    """As committed, for two epochs: tables, curves and a picture, with and without ipywidgets."""
    script = import_script()
    import nbformat

    if has_widgets:
        pytest.importorskip("ipywidgets")
    else:
        (tmp_path / "hidden").mkdir()
        hiding = "import sys; sys.modules['ipywidgets'] = None"  # as if it were not installed
        (tmp_path / "hidden" / "sitecustomize.py").write_text(hiding)
    committed = [(cell["cell_type"], "".join(cell["source"])) for cell in NOTEBOOK["cells"]]
    whole = script.build_notebook()
    assert committed == [(cell.cell_type, cell.source) for cell in whole.cells]

    notebook = script.build_notebook(epochs=2)
    script.run_notebook(
        notebook,
        tmp_path,
        SIGNS_LIGHTNING_CACHE=str(drawn_cache),
        PYTHONPATH=str(tmp_path / "hidden"),
    )
    outputs = outputs_of(notebook)
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    printed = "".join(output.get("text", "") for output in outputs)
    assert "epoch 2/2" in printed
    assert "Run folder: lightning_logs/signs_functional/version_0" in printed
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert kinds.count("image/png") == 2
    pages = [
        output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})
    ]
    for column in ("validation", "val_accuracy", "precision"):
        assert any("<table" in page and column in page for page in pages)
    assert (tmp_path / "lightning_logs/signs_functional/version_0/curves.png").is_file()
    nbformat.validate(notebook)
