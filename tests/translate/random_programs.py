"""Random programs of iterators, whose order of evaluation Python and the interpreter must share."""

from __future__ import annotations

import random

HEAD = """import itertools
xs, ys, k, d, log = [1, 2, 3], [], 2, {'p': 1, 'q': 2}, []
def f(v):
    log.append(1)
    return (v, k)
def g(s):
    log.append(2)
    for v in s:
        yield v
        log.append(3)
        if k > 4: return
    yield k
"""
VALUES = (
    *("[1, 2, 3, 4]", "'abcd'", "range(5)", "(5, 6)", "xs", "ys", "d", "d.values()"),
    "d.items()",
)
MADE = (
    *("zip({}, {})", "map(f, {})", "filter(None, {})", "(v for v in {})", "((v, k) for v in {})"),
    *("enumerate({}, k)", "reversed(list({}))", "iter({})", "itertools.chain({}, {})", "g({})"),
    *("itertools.islice({}, 2)", "dict(enumerate({})).items()"),
)
STATEMENTS = (
    *("i{n} = iter({})", "i{n} = iter({})", "i{n} = iter({})", "a{n} = list({})"),
    *("a{n} = any({}), [str(v) for v in {}]", "a{n} = [(v, w) for v in {} for w in {}][:9]"),
    *("a{n} = sorted(map(str, {})), len(list({}))", "a{n}, *b{n} = [0, *{}]"),
    *("try:\n    a{n}, b{n} = {}\nexcept ValueError: a{n} = 0", "a{n} = sum(1 for v in {})"),
    *("xs.append(k)", "k += 1", "xs = xs + [7]", "d['r'] = 5", "d['p'] += 1", "xs and xs.pop()"),
    "for t in {}:\n    ys.append(str(t))\n    k += 1\n    if len(ys) > {n}: break",
)


def _expression(rng: random.Random, iterators: list[str], depth: int = 0) -> str:
    choice = rng.choice([*VALUES, *iterators * 3, *(MADE if depth < 2 else ())])
    parts = [_expression(rng, iterators, depth + 1) for _ in range(choice.count("{}"))]
    return choice.format(*parts)


def program(seed: int) -> str:
    """Return a program that ends soon."""
    rng = random.Random(seed)
    iterators: list[str] = []
    lines = [HEAD]
    for n in range(rng.randint(3, 9)):
        line = rng.choice(STATEMENTS)
        parts = [_expression(rng, iterators) for _ in range(line.count("{}"))]
        lines.append(line.format(*parts, n=n) + "\n")
        if line.startswith("i{n}"):
            iterators.append(f"i{n}")
            lines.append(f"a{n} = next(i{n}, 0)\n" if rng.random() < 0.3 else "")
    return "".join(lines)
