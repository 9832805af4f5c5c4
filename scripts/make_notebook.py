"""Write and run the notebooks in examples/: make_notebook.py [NAME ...]

Their data are drawn by the package, or lie in tests/golden/. They run in an empty folder beside
`tests/`, as in a clone; what is left there goes. The cells are in example_notebooks/.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
from example_notebooks import from_a_keras_file, from_a_keras_notebook, from_zero
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS: dict[str, ModuleType] = {
    "from_zero": from_zero,
    "from_a_keras_file": from_a_keras_file,
    "from_a_keras_notebook": from_a_keras_notebook,
}


def build_notebook(name: str, epochs: int | None = None) -> Any:
    """Return a notebook without output.

    Args:
        name: one of `NOTEBOOKS`.
        epochs: how many are trained, where it is another number than the notebook's.
    """
    content = NOTEBOOKS[name]
    cells = []
    for number, source in enumerate(content.CELLS):
        if epochs is not None:
            for option in ("max_epochs=", "max_epochs "):
                source = source.replace(f"{option}{content.EPOCHS}", f"{option}{epochs}")
        new_cell = new_code_cell if number % 2 else new_markdown_cell
        if source:
            cells.append(new_cell(source, id=f"cell-{number}"))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def run_notebook(notebook: Any, folder: Path, **environment: str) -> None:
    """Run a notebook in `examples` of a folder, and put its output in.

    Args:
        notebook: it is changed.
        folder: gets `examples`, its working directory, and beside it a link to `tests`.
        environment: further variables of the kernel's environment.
    """
    environment = {**os.environ, **environment}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    # Cells of bash call the Python of this process, with the width of a page.
    bin_folder = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([bin_folder, environment.get("PATH", "")])
    environment["COLUMNS"] = "100"
    examples = folder / "examples"
    examples.mkdir()
    (folder / "tests").symlink_to(ROOT / "tests")
    options: Any = {"record_timing": False, "coalesce_streams": True}
    place = {"metadata": {"path": str(examples)}}
    NotebookClient(notebook, timeout=600, resources=place, **options).execute(env=environment)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # where the progress bar was
            cell.outputs = [output for output in cell.outputs if not _is_empty(output)]


def _is_empty(output: Any) -> bool:
    return output.output_type == "display_data" and not any(output.data.values())


def main(args: list[str] | None = None) -> int:
    """Write the notebooks with their output."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(NOTEBOOKS)}")
    for name in parser.parse_args(args).names or NOTEBOOKS:
        if name not in NOTEBOOKS:
            parser.error(f"there is no notebook '{name}'; there are {', '.join(NOTEBOOKS)}")
        notebook = build_notebook(name)
        with tempfile.TemporaryDirectory() as folder:
            run_notebook(notebook, Path(folder))
        nbformat.write(notebook, ROOT / "examples" / f"{name}.ipynb")
    return 0


if __name__ == "__main__":
    sys.exit(main())
