"""Cells of notebooks and scripts, as Jupyter keeps them."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from signs_lightning.errors import InputError
from signs_lightning.translate.cells import CELL_LINES, Cell, read_cells
from signs_lightning.translate.statements import first_line


def _read(folder: Path, content: Any, name: str = "a.ipynb") -> list[Cell]:
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return read_cells(path)


def _code(source: Any, **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, **more}


def _body(cell: Cell) -> str:
    assert cell.tree is not None
    return ast.unparse(cell.tree)


def test_code_cells_are_numbered_and_lines_kept(tmp_path: Path) -> None:
    cells = _read(
        tmp_path,
        {"cells": [{"cell_type": "markdown", "source": "# x"}, _code(["a = 1\n", "b = 2"]),
                   _code("c = 3")]},
    )  # fmt: skip
    assert [cell.number for cell in cells] == [1, 2]
    assert cells[0].tree is not None
    lines = [divmod(node.lineno, CELL_LINES) for node in cells[0].tree.body]
    assert lines == [(1, 1), (1, 2)]


def test_nbformat_3_has_worksheets(tmp_path: Path) -> None:
    sheet = {"cells": [{"cell_type": "code", "input": ["x = 1"], "outputs": []}]}
    assert [_body(cell) for cell in _read(tmp_path, {"worksheets": [sheet]})] == ["x = 1"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("%matplotlib inline\nx = 1", "pass\nx = 1"),
        ("!pip install keras \\\n  numpy\nx = 1", "pass\nx = 1"),
        ("if x:\n    !ls\n    y = 1", "if x:\n    pass\n    y = 1"),
        ("files = !ls *.h5\nx = 1", "files = get_ipython()\nx = 1"),
        ("%%time\nx = 1", "pass\nx = 1"),
        ("model?\nx = 1", "pass\nx = 1"),
        ("?model.fit\nx = 1", "pass\nx = 1"),
        ("x = ('%d'\n% y)", "x = '%d' % y"),
        ("x = (10\n%y)", "x = 10 % y"),
    ],
)
def test_lines_of_ipython_are_no_python(tmp_path: Path, source: str, expected: str) -> None:
    (cell,) = _read(tmp_path, {"cells": [_code(source)]})
    assert _body(cell) == expected
    assert not cell.is_python2


@pytest.mark.parametrize("source", ["%%bash\nls", "%%html\n<p>", "\n%%writefile a.py\nx = 1"])
def test_cells_of_other_languages_are_skipped(tmp_path: Path, source: str) -> None:
    (cell,) = _read(tmp_path, {"cells": [_code(source)]})
    assert cell.tree is None
    assert cell.problem.startswith("%%")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("%matplotlib inline\nx = 1", ["%matplotlib inline", "x = 1"]),
        ("!pip install \\\n  keras\nx = 1", ["!pip install \\", "x = 1"]),
        ("files = !ls *.h5", ["files = !ls *.h5"]),
        ("%run other.py\npass", ["%run other.py", "pass"]),
        ("if x:\n    %matplotlib inline\n    y = 1", ["if x:", "%matplotlib inline", "y = 1"]),
        ("print 'a'\nx = 1", ["print 'a'", "x = 1"]),
        ("%%time\nx = 1", ["%%time", "x = 1"]),
    ],
)
def test_statements_are_shown_as_they_are_written(
    tmp_path: Path, source: str, expected: list[str]
) -> None:
    (cell,) = _read(tmp_path, {"cells": [_code(source)]})
    assert cell.tree is not None
    nodes = [node for node in ast.walk(cell.tree) if isinstance(node, ast.stmt)]
    assert [first_line(node) for node in sorted(nodes, key=lambda n: n.lineno)] == expected


def test_print_statements_are_python_2(tmp_path: Path) -> None:
    source = "print 'a', x\nif x: print x\nprint(y)\nprint\nprint = 3"
    (cell,) = _read(tmp_path, {"cells": [_code(source)]})
    assert cell.is_python2
    expected = "print('a', x)\nif x:\n    print(x)\nprint(y)\nprint()\nprint = 3"
    assert _body(cell) == expected


@pytest.mark.parametrize(
    ("metadata", "is_python2"),
    [
        ({"language_info": {"version": "3.6.9"}}, False),
        ({"language_info": {"version": "3.6.9"}, "kernelspec": {"name": "python2"}}, False),
        ({"language_info": {"version": "2.7.6"}}, True),
        ({"kernelspec": {"name": "python2"}}, True),
        ({}, True),
    ],
)
def test_python_3_does_not_run_print_statements(
    tmp_path: Path, metadata: dict[str, Any], is_python2: bool
) -> None:
    (cell,) = _read(tmp_path, {"cells": [_code("print 'a'\nx = 3")], "metadata": metadata})
    assert cell.is_python2 is is_python2
    assert (cell.tree is not None) is is_python2


def test_a_cell_that_does_not_parse_is_kept_with_its_problem(tmp_path: Path) -> None:
    cells = _read(tmp_path, {"cells": [_code("x = (\n"), _code("y = 1")]})
    assert cells[0].tree is None
    assert "line 1" in cells[0].problem
    assert _body(cells[1]) == "y = 1"


def test_stored_outputs_are_kept_without_pictures(tmp_path: Path) -> None:
    outputs = [
        {"output_type": "stream", "text": ["Total ", "params\n"]},
        {"data": {"image/png": "iVBOR" * 99, "text/plain": "<Figure>", "text/html": ["<b>1</b>"]}},
    ]
    (cell,) = _read(tmp_path, {"cells": [_code("x", outputs=outputs)]})
    assert [(output.kind, output.text) for output in cell.outputs] == [
        ("text", "Total params\n"),
        ("text", "<Figure>"),
        ("html", "<b>1</b>"),
    ]


def test_a_script_is_one_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes("# -*- coding: latin-1 -*-\nx = 'é'".encode("latin-1"))
    (cell,) = read_cells(path)
    assert (cell.number, _body(cell)) == (0, "x = 'é'")


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("{", "a.ipynb", "not JSON"),
        ("[" * 99_999, "a.ipynb", "not JSON"),
        ([], "a.ipynb", "no list of cells"),
        ({"cells": 3}, "a.ipynb", "no list of cells"),
        ("x = (", "a.py", "not Python"),
        ("x = 1\n" * 100_000, "a.py", "characters of code"),
        ({"cells": [_code("x = 1\n" * 100_000)]}, "a.ipynb", "characters of code"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path: Path, content: Any, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        _read(tmp_path, content, name)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_cells(tmp_path / "none.ipynb")
