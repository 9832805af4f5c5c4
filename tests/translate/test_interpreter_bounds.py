"""No source makes the interpretation hang, take much memory, or fail with a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from interpreting import interpret

from signs_lightning.translate import limits
from signs_lightning.translate.cells import read_cells
from signs_lightning.translate.interpreter import run_cells
from signs_lightning.translate.libraries import NoLibraries

SECONDS = 0.5  # allowed here, so that the test is quick

HOSTILE = {
    "power": "x = 2 ** 10 ** 9",
    "power of a power": "x = 9\nfor _ in range(100):\n    x = x ** 9",
    "shift": "x = 1 << 10 ** 12",
    "product": "x = 3\nfor _ in range(10 ** 6):\n    x *= x",
    "long text": "x = 'a' * 10 ** 10",
    "doubling text": "x = 'a'\nwhile True:\n    x += x",
    "doubling list": "x = [1]\nwhile True:\n    x = x + x",
    "doubling in place": "x = [1]\nwhile True:\n    x += x",
    "growing list": "x = []\nwhile True:\n    x.append([0] * 1000)",
    "growing dict": "x = {}\nfor i in range(10 ** 9):\n    x[i] = str(i) * 9",
    "list of range": "x = list(range(10 ** 15))",
    "sum of range": "x = sum(range(10 ** 15))",
    "in a range": "x = 1.5 in range(10 ** 15)",
    "max of range": "x = max(range(10 ** 12))",
    "star of range": "x = [*range(10 ** 12)]\nprint(*range(10 ** 12))",
    "loops": "for a in range(10 ** 4):\n  for b in range(10 ** 4):\n    for c in range(10 ** 4):\n"
    "      pass",
    "comprehension": "x = [(a, b, c) for a in range(9999) for b in range(9999) for c in range(99)]",
    "endless while": "while True:\n    pass",
    "recursion": "def f(n):\n    return f(n + 1)\nx = f(0)",
    "two recursions": "def f(n):\n    return f(n - 1) + f(n - 1) if n else 1\nx = f(39)",
    "mutual recursion": "def f(): return g()\ndef g(): return f()\nx = f()",
    "recursive class": "class A:\n    def __init__(self): self.a = A()\nx = A()",
    "recursive property": "class A:\n    @property\n    def p(self): return self.p\nx = A().p",
    "getattr": "class A:\n    def __getattr__(self, n): return getattr(self, n + 'x')\nx = A().y",
    "self-holding list": "x = []\nx.append(x)\ny = str(x)\nz = x == [x]\nimport copy\n"
    "w = copy.deepcopy(x)\nhash_it = {str(x): 1}",
    "self-holding dict": "x = {}\nx['a'] = x\ny = f'{x}'\nz = x == x.copy()",
    "nested tuples": "x = ()\nfor _ in range(200):\n    x = (x, x)\ny = {x: 1}\nz = x == (x, x)\n"
    "w = str(x)\nv = sorted([x, x])",
    "deep list": "x = []\nfor _ in range(50000):\n    x = [x]\ny = str(x)\nz = x == [x]\n"
    "unknown(x)",
    "wide format": "x = '%1000000000d' % 1\ny = '{:1000000000}'.format(1)\nz = f'{1:1000000000}'",
    "star format": "x = '%*d' % (10 ** 9, 1)\ny = '{:{}}'.format(1, 10 ** 9)",
    "precise format": "x = '%.999999999f' % 1.5\ny = f'{1.5:.999999999f}'",
    "join": "x = ('a' * 99999).join(['a'] * 99999)",
    "replace": "x = ('a' * 99999).replace('a', 'b' * 99999)",
    "zfill": "x = '1'.zfill(10 ** 10)\ny = 'a'.center(10 ** 10)",
    "exec in exec": "s = 'exec(s)'\nexec(s)",
    "exec of long texts": "while True:\n    exec('x = 1\\n' * 4000)",
    "eval of a deep text": "eval('-' * 19999 + '1')\neval('(' * 9999)\neval('[' * 99 + ']' * 99)",
    "names that hold themselves": "g = globals()\nx = str(g)\ny = g == {**g}\ng.update(g)\n"
    "import copy\nz = copy.deepcopy(g)\nunknown(g)",
    "exits": "class A:\n    def __enter__(self): return self\n    def __exit__(self, *a):\n"
    "        with A(): pass\nwith A(): pass",
    "factorial": "import math\nx = math.factorial(10 ** 8)\ny = math.comb(10 ** 8, 10 ** 7)",
    "product of lists": "import itertools\nx = list(itertools.product(range(99), repeat=99))",
    "permutations": "import itertools\nx = list(itertools.permutations(range(99)))",
    "repeat": "import itertools\nx = list(itertools.repeat(1))",
    "reversed range": "x = list(reversed(range(10 ** 12)))\ny = range(10 ** 12)[::3]",
    "huge literal": "x = " + "9" * 4000 + "\ny = x * x * x\nz = str(y)",
    "int of a text": "x = int('9' * 99999)\ny = float('9' * 99999)",
    "endless generator": "def g():\n    while True:\n        yield 1\nx = list(g())\ny = next(g())",
    "generator of itself": "def g():\n    yield from g()\nx = list(g())",
    "list while it grows": "x = [1]\nfor v in x:\n    x.append(v)",
    "slice assignment": "x = [1] * 1000\nwhile True:\n    x[0:0] = x",
    "sort of much": "x = [[i] * 9 for i in range(2000)]\nfor _ in range(10 ** 6):\n    x.sort()",
    "many unknowns": "x = [[i] for i in range(3000)]\nfor _ in range(10 ** 6):\n    unknown(x)",
    "many calls": "def f(*a): return a\nx = [0] * 20000\nwhile True:\n    y = f(*x)",
    "many bases": "class A0: pass\n"
    + "".join(f"class A{i}(A{i - 1}, A{i - 1}): pass\n" for i in range(1, 40)),
    "many decorators": "def d(f): return lambda: (f(), f())\n" + "@d\n" * 40 + "def f(): pass\nf()",
    "long expression": "x = " + "+".join(["1"] * 300),
    "deep expression": "x = " + "-" * 900 + "1",
    "deep brackets": "x = " + "[" * 90 + "]" * 90,
    "deep calls": "x = " + "str(" * 90 + ")" * 90,
    "deep ifs": "".join(" " * i + "if True:\n" for i in range(90)) + " " * 90 + "x = 1",
    "nested functions": "".join(" " * i + f"def f{i}():\n" for i in range(60)) + " " * 60 + "pass",
    "unknown in loops": "for a in unknown():\n  for b in unknown():\n    x = a\n" * 300,
    "recursive havoc": "def f():\n    g()\ndef g():\n    f()\nif unknown():\n    f()",
    "string of a class": "class A:\n    def __str__(self): return str(self)\nx = f'{A()}'",
    "len of itself": "class A:\n    def __len__(self): return len(self)\nx = bool(A())",
    "operator of itself": "class A:\n    def __add__(self, o): return self + o\nx = A() + 1",
    "sum of texts": "x = sum([['a'] * 999 for _ in range(999)], [])",
    "many names": "\n".join(f"x{i} = {i}" for i in range(20000)),
    "try in a loop": "while True:\n    try:\n        raise ValueError\n    except ValueError:\n"
    "        continue",
    "finally": "def f():\n    while True:\n        try:\n            return 1\n        finally:\n"
    "            continue\nx = f()",
    "walrus": "while (n := 1):\n    pass",
    "big steps": "x = [i for i in range(0, 10 ** 18, 10 ** 9)]",
    "dict of dicts": "x = {}\nfor _ in range(200):\n    x = {'a': x, 'b': x}\n"
    "y = str(x)\nz = x == x",
    "power of a float": "x = 10.0 ** 400\ny = 1e308 * 10\nz = int(y)",
    "negative": "x = 'a' * -5\ny = [1] * -1\nz = range(5, -10 ** 12)\nw = len(range(10 ** 30))",
    "template": "x = '{0[0][0].a.b}'.format([[1]])\ny = '{'.format()\nz = '%' % 1\nw = '%(a)s' % 1",
    "surrogates": "x = '\\ud800'\nprint(x)\nkeras.Box(x)\ny = f'{x}'",
    "match": "match [1]:\n    case [x]:\n        y = x",
    "star in index": "x = [1][*[0]]" if sys.version_info >= (3, 11) else "x = 1",
    "odd calls": "len()\nrange()\nint(1, 2, 3)\nsorted()\nisinstance(1)\nsuper()\nmin()\nzip(1)\n"
    "dict(1)\nset([[]])\nlist(1)\nmap()\nnext()\nsum()\nround('a')\ngetattr(1)\nabs()\nopen()\n"
    "str.join()\n'a'.join()\n[].append()\n{}.get()\n''.format(*[1])\nreversed(1)\nenumerate()",
    "odd classes": "class A(1): pass\nclass B(len): pass\nclass C(dict): pass\n"
    "class D(metaclass=1):\n    pass\nclass E(unknown()): pass\nclass F(keras.Model): pass\n"
    "F().x\nF()(1)\nsuper().x",
    "odd targets": "a, b = 1\na, b = [1]\n*a, = 1\n(1).x = 2\n'a'[0] = 1\nx.y.z = 1\n[].q = 1\n"
    "del undefined\ndel (1).x\nfor len in [1]: pass\nint = 3\nx: int = 4",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if k % 3 else []) for k, n in enumerate(HOSTILE)],
)
def test_ends_soon_and_without_a_traceback(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", SECONDS)
    before = time.monotonic()
    result = interpret(HOSTILE[name] + "\n", "after = 1")
    assert time.monotonic() - before < SECONDS + 4
    assert not [f for f in result.findings if "could not be read" in f.reason]


MEMORY = """
import sys
sys.path.insert(0, sys.argv[1])
from interpreting import interpret
from test_interpreter_bounds import HOSTILE
def peak():
    with open("/proc/self/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith("VmHWM")))
before = peak()
for name in sys.argv[2:]:
    interpret(HOSTILE[name])
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_bounded() -> None:
    names = [name for name in HOSTILE if "growing" in name or "doubling" in name]
    assert names
    command = [sys.executable, "-c", MEMORY, str(Path(__file__).parent), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300_000  # KiB


@pytest.mark.parametrize(
    "text",
    ["(" * 5000, "x = " + "(" * 500 + ")" * 500, "-" * 200_000 + "1", "\0", "x = 1e99999\n" * 99,
     "f'" + "{" * 500, "if 1:\n" * 300, "a." * 100_000 + "b", "[" * 200_000,
     "lambda:" * 50_000 + "1",
     "not " * 100_000 + "1", "x = " + "1," * 100_000, "x" + "[0]" * 50_000, "x" + "()" * 50_000,
     "elif" * 1000, "'''", "\\", "\u202e", "é = 1", "x = '\\ud800'"],
)  # fmt: skip
def test_sources_that_hurt_the_parser(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.ipynb"
    entry = {"cell_type": "code", "source": text}
    path.write_text(json.dumps({"cells": [entry, {**entry, "source": "after = 1"}]}))
    result = run_cells(read_cells(path), NoLibraries(), {})
    assert result.namespace["after"] == 1
