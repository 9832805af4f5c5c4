"""What few sources rely on: n is what Python makes of it, or it is refused, never another value."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from interpreting import interpret

from signs_lightning.translate.cells import Cell
from signs_lightning.translate.interpreter import Interpretation, run_cells
from signs_lightning.translate.libraries import NoLibraries
from signs_lightning.translate.values import Unknown

READ = {
    "iter is shared": "i = iter([1, 2, 3])\nn = [next(i), list(i), list(i)]",
    "zip of one iterator": "i = iter([1, 2, 3, 4])\nn = list(zip(i, i))",
    "two of an iterator": (
        "i = iter([1, 2, 3, 4])\ntry:\n    a, b = i\nexcept ValueError:\n    n = list(i)"
    ),
    "zip keeps the rest": "i = iter([1, 2, 3])\nn = list(zip('a', i)), list(i)",
    "zip loses one": "i = iter([1, 2, 3])\nn = list(zip(i, 'a')), list(i)",
    "zip of what grows": "a = [1]\nz = zip(a)\na.append(2)\nn = list(z)",
    "reversed of what changes": "a = [1, 2]\nr = reversed(a)\na[0] = 9\nn = list(r)",
    "enumerate is shared": "e = enumerate('abc')\nn = next(e), list(e)",
    "map is asked one by one": "n = []\nm = map(n.append, [1, 2])\nnext(m)",
    "map after an exception": (
        "m = map(lambda v: 1 / v, [0, 2])\ntry:\n    next(m)\n"
        "except ZeroDivisionError:\n    n = list(m)"
    ),
    "a generator expression after an exception": (
        "g = (1 / v for v in [0, 2])\ntry:\n    next(g)\n"
        "except ZeroDivisionError:\n    n = list(g)"
    ),
    "filter is shared": "f = filter(None, [0, 1, 2])\nn = next(f), list(f), list(f)",
    "any leaves the rest": "i = iter([0, 1, 2])\nn = any(i), list(i)",
    "all leaves the rest": "i = iter([0, 1, 2])\nn = all(i), list(i)",
    "the first that matches": "i = iter([1, 2, 3])\nn = next(v for v in i if v > 1), next(i)",
    "what a generator expression loops over": "a = [1]\ng = (v for v in a)\na = [2]\nn = list(g)",
    "what a generator expression reads": (
        "k = 2\ng = (k for _ in 'ab')\nn = [next(g)]\nk = 3\nn += g"
    ),
    "lambdas of a generator expression": "n = [f() for f in (lambda: i for i in range(3))]",
    "chain is asked one by one": (
        "import itertools\ni = iter([1, 2])\nc = itertools.chain(i, 'a')\n"
        "n = next(c), next(i), list(c)"
    ),
    "chain of generators": (
        "import itertools\nn = list(itertools.chain.from_iterable([(i for i in 'a'), 'b']))"
    ),
    "a generator between the rounds": (
        "n = []\ndef g():\n    n.append('a')\n    yield 1\n    n.append('b')\n    yield 2\n"
        "for v in g():\n    n.append(v)"
    ),
    "a generator of what changes": (
        "k, n = 3, []\ndef g():\n    for i in range(3):\n        yield i * k\n"
        "for v in g():\n    n.append(v)\n    k = 5"
    ),
    "a generator that does not end": (
        "def g():\n    k = 0\n    while True:\n        yield k\n        k += 1\n"
        "i = g()\nn = next(i), next(i), list(zip('ab', i))"
    ),
    "a generator of itself": (
        "def g(k):\n    if k:\n        yield k\n        yield from g(k - 1)\n    else:\n"
        "        yield 'leaf'\nn = list(g(3))"
    ),
    "a loop of a generator": (
        "def g():\n    for i in range(9):\n        if i == 1:\n            continue\n"
        "        if i == 3:\n            break\n        yield i\n    else:\n        yield 'else'\n"
        "    while i < 5:\n        i += 1\n        yield i\n    else:\n        yield 'end'\n"
        "    return\nn = list(g())"
    ),
    "__iter__ that yields": (
        "n = []\nclass C:\n    def __iter__(self):\n        for i in range(3):\n"
        "            n.append(i)\n            yield i\nfor v in C():\n    if v == 1:\n        break"
    ),
    "next with a default": (
        "def g():\n    raise ValueError\n    yield\ntry:\n    n = next(g(), 1)\n"
        "except ValueError:\n    n = 2"
    ),
    "a dict that grows in a loop": (
        "d = {'a': 1}\ntry:\n    for k in d:\n        d['b'] = 2\nexcept RuntimeError:\n    n = 3"
    ),
    "conversions": (
        "class C:\n    def __str__(self): return 's'\n    def __repr__(self): return 'r'\nc = C()\n"
        "n = f'{c}{c!r}{c!s}{c!a}', repr(c), str(c), f\"{'é'!a}\", '{}'.format(c)"
    ),
    "too many fields": (
        "from collections import namedtuple\nP = namedtuple('P', 'x')\ntry:\n    n = P(1, 2)\n"
        "except TypeError:\n    n = 3"
    ),
    "a field twice": (
        "from collections import namedtuple\nP = namedtuple('P', 'x')\ntry:\n    n = P(1, x=2)\n"
        "except TypeError:\n    n = 3"
    ),
    "a namedtuple is a tuple": (
        "from collections import namedtuple\nn = isinstance(namedtuple('P', 'x')(1), tuple)"
    ),
    "fields that are declared again": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: int = 1\n    b: int = 2\n"
        "@dataclass\nclass B(A):\n    a: int = 3\n    c: int = 4\nb = B(9, 8, 7)\n"
        "n = b.a, b.b, b.c, B().a"
    ),
    "annotations that are no fields": (
        "from dataclasses import dataclass\nfrom typing import ClassVar\nclass A:\n    q: int\n"
        "@dataclass\nclass B(A):\n    k: ClassVar[int] = 4\n    b: int = 2\nn = B(9).b, B.k"
    ),
    "set.discard": "n = {1, 2}\nn.discard(3)\nn.discard(1)",
    "set.remove": "s = {1}\ntry:\n    s.remove(3)\nexcept KeyError:\n    n = 1",
    "keys of what grows": "d = {'a': 1}\nk = d.keys()\nd['b'] = 2\nn = list(k), len(k), 'b' in k",
    "values of what changes": "d = {'a': 1}\nk = d.items()\nd['a'] = 2\nn = list(k), d",
    "zip of keys": "d = {'a': 1}\nz = zip(d.keys(), d.values())\nd['a'] = 2\nn = list(z)",
    "an iterator of what grows": (
        "d = {'a': 1}\ni = iter(d.items())\nd['b'] = 2\ntry:\n    n = list(i)\n"
        "except RuntimeError:\n    n = 3"
    ),
    "operators of keys": (
        "d = {'a': 1, 'b': 2}\nn = d.keys() & {'a'}, d.keys() - {'a'}, {'b', 'c'} - d.keys()\n"
        "n += d.keys() == {'a', 'b'}, d.keys() == ['a', 'b'], sorted(d.keys() | 'c'), f'{d.keys()}'"
    ),
    "views are no lists": "n = isinstance({}.keys(), list), bool({}.keys()), str({'a': 1}.items())",
    "sets of small numbers": "n = list({3, 1, 2}), list(set(range(30))), [v for v in {5}]",
    "sets in no order": (
        "s = {'a', 'b'}\nn = sorted(s), len(list(s)), max(s), min(s), 'a' in s, any(s), all(s)\n"
        "n += set(s) == s, frozenset(s) | {'c'} == {'a', 'b', 'c'}, list({'a'})"
    ),
    "numbers with options": "n = int('ff', 16), int('11', base=2), complex(1, 2), str(), int()",
}  # fmt: skip
REFUSED = {
    "an iterator that may be used": (
        "from elsewhere import f\ni = iter([1, 2])\nif f():\n    list(i)\nn = list(i)"
    ),
    "an iterator that is given away": (
        "from elsewhere import f\ni = iter([1, 2])\nf(i)\nn = list(i)"
    ),
    "an iterator under another": (
        "from elsewhere import f\ni = iter([1, 2])\nf(zip(i))\nn = list(i)"
    ),
    "an iterator searched": "i = iter([1, 2])\n1 in i\nn = list(i)",
    "a list that may change in a loop": (
        "from elsewhere import f\na, n = [1, 2], 0\nfor v in a:\n    n += 1\n"
        "    if f():\n        a.append(1)"
    ),
    "the condition of a comprehension": (
        "from elsewhere import f\nn = []\n[n.append(1) for v in 'ab' if f(v)]"
    ),
    "a generator with an unknown condition": (
        "from elsewhere import f\nn = []\ndef g():\n    if f():\n        n.append(1)\n"
        "        yield 1\nlist(g())"
    ),
    "two namedtuples": (
        "from collections import namedtuple\nP = namedtuple('P', 'x')\nn = P(1) in [P(1)]"
    ),
    "lists of dataclasses": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: int = 1\n"
        "n = [A()] == [A()]"
    ),
    "a list's dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: int = 1\nn = [A()]\n"
        "n.remove(A())"
    ),
    "an enumeration": "import enum\nclass E(enum.Enum):\n    A = 1\nn = E.A == 1",
    "__iadd__": (
        "class C:\n    def __iadd__(self, o): return 5\n    def __add__(self, o): return 7\n"
        "n = C()\nn += 1"
    ),
    "__format__": "class C:\n    def __format__(self, s): return 'f'\nn = f'{C()}'",
    "an encoding": "n = 'é'.encode('utf-16')",
    "pow with a modulus": "n = pow(2, 5, mod=7)",
    "str of bytes": "n = str(b'a', 'utf-8')",
    "sets of what is not known": "from elsewhere import f\nn = {1}\nn.discard(f())",
    "texts of a set": "n = list({'a', 'b'})",
    "a loop over a set": "n = [v for v in {'a', 'b'}]",
    "numbers of a set's texts": "n = sorted({k: i for i, k in enumerate({'a', 'b'})}.items())",
    "a set as a text": "n = f\"{ {'a', 'b'} }\"",
    "a set that is joined": "n = ''.join({'a', 'b'})",
    "a set by a key": "n = sorted({'a', 'b'}, key=len)",
    "the first of a set by a key": "n = max({'a', 'b'}, key=len)",
    "large numbers of a set": "n = list({100, 3, 7})",
    "keys of a dict that may change": (
        "from elsewhere import f\nd = {'a': 1}\nk = d.keys()\nf(d)\nn = list(k)"
    ),
    "a dict whose keys are given away": (
        "from elsewhere import f\nd = {'a': 1}\nf(d.values())\nn = d['a']"
    ),
    "iterators over iterators": "n = [1]\nfor _ in range(500):\n    n = zip(n)\nn = list(n)",
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_gives_what_python_gives(name: str) -> None:
    expected: dict[str, Any] = {}
    exec(compile(READ[name], "source", "exec", dont_inherit=True), expected)
    found = interpret(READ[name]).namespace["n"]
    assert found == expected["n"]
    assert repr(found) == repr(expected["n"])


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_it_does_not_know(name: str) -> None:
    found = interpret(REFUSED[name]).namespace["n"]
    items = found if isinstance(found, list | set) else [found]
    assert any(isinstance(item, Unknown) for item in items)


def in_python2(*sources: str) -> Interpretation:
    """Interpret cells of Python 2."""
    cells = [Cell(i, text, ast.parse(text), is_python2=True) for i, text in enumerate(sources)]
    return run_cells(cells, NoLibraries(), {})


PYTHON2 = {
    "keys": ("d = {'a': 1}\nk = d.keys()\nd['b'] = 2\nn = k[0], len(k)", ("a", 1)),
    "zip": ("z = zip([1], [2])\nn = z[0], len(z)", ((1, 2), 1)),
    "map": ("n = map(str, [1]) + ['a']", ["1", "a"]),
    "filter": ("n = filter(None, [0, 1])[0]", 1),
    "map of two lists": ("n = map(max, [1], [2, 3])", None),
    "map of nothing": ("n = map(None, [1])", None),
    "filter of a text": ("n = filter(None, 'ab')", None),
    "division": ("n = 7 / 2, 7 / 2., 7 // 2", (3, 3.5, 3)),
    "true division": ("from __future__ import division\nn = 7 / 2, zip('a')[0]", (3.5, ("a",))),
    "operator.truediv": ("import operator\nn = operator.truediv(7, 2)", 3.5),
    "round": ("n = round(2.7)", 3.0),
    "round of a half": ("n = round(2.5)", None),
}


@pytest.mark.parametrize("name", PYTHON2)
def test_python_2(name: str) -> None:
    source, expected = PYTHON2[name]
    found = in_python2(source).namespace["n"]
    assert (None if isinstance(found, Unknown) else found) == expected
