"""scripts/mutation_score.py changes one operator or constant, and nothing else."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "mutation_score.py"
SOURCE = '''
def f(a: list[int], n: int = 3) -> bool:
    """Docstring with 1 + 1."""
    if not a and n > 2:
        raise ValueError(f"{n - 1} is too few")
    é = a[0] * (n // 2) < 1.5
    return é is True
'''


def test_each_mutant_is_another_program_that_parses() -> None:
    spec = importlib.util.spec_from_file_location("mutation_score", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    changed = [mutant.applied(SOURCE) for mutant in module.mutants_of("f.py", SOURCE)]
    original = ast.dump(ast.parse(SOURCE))
    assert len(set(changed)) == len(changed)
    assert all(ast.dump(ast.parse(text)) != original for text in changed)
    lines = {line.strip() for text in changed for line in text.splitlines()} - {
        s.strip() for s in SOURCE.splitlines()
    }
    assert lines == {
        "def f(a: list[int], n: int = 4) -> bool:", "if a and n > 2:", "if not a or n > 2:",
        "if not a and n >= 2:", "if not a and n > 3:", "é = a[1] * (n // 2) < 1.5",
        "é = a[0] / (n // 2) < 1.5", "é = a[0] * (n * 2) < 1.5", "é = a[0] * (n // 3) < 1.5",
        "é = a[0] * (n // 2) <= 1.5", "é = a[0] * (n // 2) < 2.5", "return é is not True",
        "return é is False",
    }  # fmt: skip
