"""The subset of Python gives what Python gives: both run the same snippets."""

from __future__ import annotations

import textwrap
import types
from typing import Any

import pytest
from interpreting import Boxes, cell, interpret, names
from snippets import SNIPPETS

from signs_lightning.translate.cells import Cell
from signs_lightning.translate.interpreter import run_cells
from signs_lightning.translate.values import Unknown


@pytest.mark.parametrize("name", SNIPPETS)
def test_gives_what_python_gives(name: str) -> None:
    source = textwrap.dedent(SNIPPETS[name])
    expected: dict[str, Any] = {"__name__": "__main__"}
    exec(source, expected)
    result = interpret(source)
    assert {f.reason for f in result.findings if f.kind == "not understood"} == set()
    kinds = (types.FunctionType, types.ModuleType, type, types.BuiltinFunctionType)
    plain = {
        key: value
        for key, value in expected.items()
        if not key.startswith("__") and not isinstance(value, kinds) and key not in ("c", "add")
    }
    found = names(result)
    assert {key: found.get(key) for key in plain} == plain


def test_unknown_condition_makes_both_branches_unknown() -> None:
    result = interpret(
        """
        from elsewhere import width
        box = keras.Box()
        other = keras.Box()
        kept, sizes = 1, [1]
        alias = sizes
        if width() > 3:
            box.add(1)
            a = 1
            sizes.append(2)
        else:
            a = 2
        other.add(a)
        """
    )
    found = result.namespace
    assert isinstance(found["a"], Unknown)
    assert "elsewhere.width" in found["a"].reason
    assert found["box"].taints
    assert not found["other"].taints
    assert isinstance(found["other"].added[0], Unknown)
    assert found["kept"] == 1
    assert any(isinstance(item, Unknown) for item in found["alias"])
    lines = {f.place.line for f in result.findings if f.kind == "not understood"}
    assert {7}.issubset(lines)


@pytest.mark.parametrize(
    "change",
    [
        "for _ in unknown():\n    box.add(1)",
        "while unknown():\n    box.add(1)",
        "unknown(box)",
        "unknown([box, {'a': (box,)}])",
        "unknown(key=box)",
        "unknown(*[box])",
        "holder.box = box\nunknown(holder)",
        "def change():\n    box.add(1)\nif unknown():\n    change()",
        "def change(b):\n    b.add(1)\nif unknown():\n    change(box)",
        "change = lambda: box.add(1)\nif unknown():\n    change()",
        "[box.add(1) for _ in unknown()]",
        "x = box.add(1) if unknown() else 2",
        "try:\n    unknown()\nexcept ValueError:\n    box.add(1)",
        "with unknown():\n    box.add(1)",
        "match unknown():\n    case 1:\n        box.add(1)",
        "box.strange(1)",
        "box[0] = 1",
        "box.size = 1",
        "alias = box\nif unknown():\n    alias.add(1)",
        "for i in range(3):\n    if unknown():\n        break\n    box.add(1)",
        "def f():\n    if unknown():\n        return 1\n    box.add(1)\nf()",
        "def f():\n    for i in range(3):\n        if unknown():\n            return 1\n"
        "    box.add(1)\nf()",
        "async def f():\n    pass\nasync_call = unknown(lambda: box.add(1))",
        "@unknown\ndef f():\n    box.add(1)",
        "class C:\n    def run(self):\n        box.add(1)\nif unknown():\n    C().run()",
        "methods = {'a': box.add}\nunknown(methods)",
        "from elsewhere import *\nprepare(box)",
        "box.add(*unknown())",
        "eval('box.add(1)') if unknown() else box.add(1)",
    ],
)
def test_what_code_that_is_not_understood_may_change_is_tainted(change: str) -> None:
    head = "from elsewhere import unknown\nclass H: pass\nholder = H()\nbox = keras.Box()\n"
    result = interpret(head + change)
    assert result.namespace["box"].taints


@pytest.mark.parametrize(
    "harmless",
    [
        "import matplotlib.pyplot as plt\nplt.plot(box)",
        "print(box)",
        "import time\nif time.time() > 3:\n    print(box)",
        "import matplotlib.pyplot as plt\nfig, axes = plt.subplots(2, 2)\n"
        "for ax in axes:\n    ax.imshow(box)",
        "import os\nif not os.path.exists('a'):\n    os.makedirs('a')",
        "if unknown():\n    raise ValueError('no')\nbox.add(1)",
        "def show(b):\n    print(b)\nif unknown():\n    show(box)",
        "try:\n    box.add(1)\nexcept ValueError:\n    box.strange()",
        "x = unknown(1)",
        "import numpy as np\nnp.random.seed(1)\nnp.linalg.strange([1, 2])",
    ],
)
def test_what_changes_nothing_taints_nothing(harmless: str) -> None:
    result = interpret("from elsewhere import unknown\nbox = keras.Box()\n" + harmless)
    assert not result.namespace["box"].taints


def test_a_missing_module_is_caught_and_a_published_one_exists() -> None:
    result = interpret(
        """
        try:
            from my_local_helpers import size
        except ImportError:
            size = 3
        try:
            from keras.layers.convolutional import Conv2D
        except ImportError:
            Conv2D = None
        """
    )
    assert result.namespace["size"] == 3
    assert result.namespace["Conv2D"].name == "keras.layers.Conv2D"


def test_a_fact_is_taken_where_it_is_asked_for() -> None:
    source = "n = keras.data_size() * 2\nt = (keras.data_size(), 3)"
    asked = interpret(source)
    assert asked.namespace["n"].fact == "size"
    assert [f.fact for f in asked.findings if f.kind == "needs a fact"] == ["size", "size"]
    told = interpret(source, facts={"size": 5})
    assert (told.namespace["n"], told.namespace["t"]) == (10, (5, 3))


def test_statements_are_listed_with_their_place() -> None:
    result = interpret(
        "import matplotlib.pyplot as plt\nx = 1",
        "plt.show()\nprint(x)\n'text'\nx\nasync def f(): pass\ny = strange_name + 1\nz = y",
    )
    kinds = {str(f.place): (f.kind, f.text) for f in result.findings}
    assert kinds == {
        "cell 1, line 1": ("understood", "import matplotlib.pyplot as plt"),
        "cell 1, line 2": ("understood", "x = 1"),
        "cell 2, line 1": ("without effect", "plt.show()"),
        "cell 2, line 2": ("without effect", "print(x)"),
        "cell 2, line 3": ("without effect", "'text'"),
        "cell 2, line 4": ("without effect", "x"),
        "cell 2, line 5": ("not understood", "async def f():"),
        "cell 2, line 6": ("not understood", "y = strange_name + 1"),
        "cell 2, line 7": ("understood", "z = y"),
    }


def test_a_cell_of_python2_that_does_not_parse_may_have_changed_its_names() -> None:
    old = Cell(1, "print 'a' % `box`\nsize = 3", None, "line 1: invalid syntax", (), True)
    first = cell("box = keras.Box()\nother = keras.Box()", 1)
    result = run_cells([first, old], Boxes(), {})
    assert result.namespace["box"].taints
    assert not result.namespace["other"].taints
    assert isinstance(result.namespace["size"], Unknown)
