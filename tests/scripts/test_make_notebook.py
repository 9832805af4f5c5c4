"""The notebooks in examples/: what scripts/make_notebook.py makes, run in a kernel."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "examples").iterdir()
             if path.suffix == ".ipynb"}  # fmt: skip
PATH = re.compile(r"/(home|root|tmp|var|work|Users|usr)/")
every_notebook = pytest.mark.parametrize(
    "name", ["from_zero", "from_a_keras_file", "from_a_keras_notebook"]
)


def import_script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))  # as for a script that is run
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


def printed_by(notebook: dict[str, Any]) -> str:
    return "".join("".join(output.get("text", "")) for output in outputs_of(notebook))


@every_notebook
def test_a_notebook_has_its_output_and_no_red_line(name):
    """Every code cell ran in order; no line on standard error, no error, no path of a machine."""
    notebook = NOTEBOOKS[name]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = outputs_of(notebook)
    assert {output["output_type"] for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} == {"stdout"}
    assert PATH.search(json.dumps(notebook)) is None
    assert "warning" not in json.dumps(outputs).lower()
    assert len(json.dumps(notebook)) < 300_000


@pytest.mark.slow
@every_notebook
def test_a_notebook_is_what_the_script_makes(name, monkeypatch):
    """Cell by cell, as committed."""
    pytest.importorskip("nbclient")
    committed = [(cell["cell_type"], "".join(cell["source"])) for cell in NOTEBOOKS[name]["cells"]]
    whole = import_script(monkeypatch).build_notebook(name)
    assert committed == [(cell.cell_type, cell.source) for cell in whole.cells]


def run(name: str, folder: Path, epochs: int, monkeypatch, **environment: str) -> dict[str, Any]:
    """The notebook with fewer epochs, run in a folder; nothing of it is on standard error."""
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    script = import_script(monkeypatch)
    notebook = script.build_notebook(name, epochs)
    script.run_notebook(notebook, folder, **environment)
    nbformat.validate(notebook)
    assert [output for output in outputs_of(notebook) if output.get("name") == "stderr"] == []
    return notebook


@pytest.mark.slow
@pytest.mark.parametrize("has_widgets", [True, False])
def test_from_zero_runs(has_widgets, tmp_path, drawn_cache, monkeypatch):
    """For two epochs: tables, curves and a picture, with and without ipywidgets."""
    if has_widgets:
        pytest.importorskip("ipywidgets")
    else:
        (tmp_path / "hidden").mkdir()
        hiding = "import sys; sys.modules['ipywidgets'] = None"  # as if it were not installed
        (tmp_path / "hidden" / "sitecustomize.py").write_text(hiding)
    notebook = run(
        "from_zero",
        tmp_path,
        2,
        monkeypatch,
        SIGNS_LIGHTNING_CACHE=str(drawn_cache),
        PYTHONPATH=str(tmp_path / "hidden"),
    )
    printed = printed_by(notebook)
    assert "epoch 2/2" in printed
    assert "Run folder: lightning_logs/signs_functional/version_0" in printed
    outputs = outputs_of(notebook)
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert kinds.count("image/png") == 2
    pages = [
        output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})
    ]
    for column in ("validation", "val_accuracy", "precision"):
        assert any("<table" in page and column in page for page in pages)
    run_folder = tmp_path / "examples/lightning_logs/signs_functional/version_0"
    assert (run_folder / "curves.png").is_file()


@pytest.mark.slow
def test_from_a_keras_file_runs(tmp_path, monkeypatch):
    """Trained on by two epochs, and exported: Keras reads the file, with the optimizer's steps."""
    keras = pytest.importorskip("keras")
    notebook = run("from_a_keras_file", tmp_path, 62, monkeypatch)
    printed = printed_by(notebook)
    assert "Everything that could be compared" in printed
    assert "epoch 62/62" in printed
    assert [
        output["data"]["text/plain"]
        for output in outputs_of(notebook)
        if output.get("data", {}).get("text/plain") in ("True", "False")
    ] == ["True"]
    loaded = keras.saving.load_model(tmp_path / "examples/trained_on.keras")
    assert int(loaded.optimizer.iterations) == 62 * 96 // 16


@pytest.mark.slow
def test_from_a_keras_notebook_runs(tmp_path, drawn_cache, monkeypatch):
    """Translated whole, and trained: the history has two epochs, and validate takes the run."""
    notebook = run(
        "from_a_keras_notebook", tmp_path, 2, monkeypatch, SIGNS_LIGHTNING_CACHE=str(drawn_cache)
    )
    assert printed_by(notebook).count("validation accuracy") == 2
    examples = tmp_path / "examples"
    history = (examples / "lightning_logs/train/version_0/history.csv").read_text()
    assert len(history.splitlines()) == 3
    assert "class Net(" in (examples / "translated/model.py").read_text()
