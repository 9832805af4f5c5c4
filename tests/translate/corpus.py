"""The notebooks and scripts of `tests/source/notebooks`, and what Keras says of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from signs_lightning.translate.facts import parse_facts
from signs_lightning.translate.read_source import read_source
from signs_lightning.translate.translation import Translation, translate

NOTEBOOKS = Path(__file__).parents[1] / "source/notebooks"
FOLDER = NOTEBOOKS / "programs"
EXPECTED: dict[str, Any] = json.loads((NOTEBOOKS / "expected.json").read_text())


def translate_with_facts(path: Path, expected: dict[str, Any]) -> Translation:
    """Translate a source, and once more with those facts that it asks for."""
    made = translate(read_source(path, {}), {})
    if made.needed and not made.not_understood:
        known = {
            "input_shape": ",".join(map(str, expected["input_shape"])),
            "classes": str(max(2, expected["classes"])),
            "scale": "/255",
        }
        facts = parse_facts(f"{f.fact}={known[f.fact or '']}" for f in made.needed)
        made = translate(read_source(path, facts), facts)
    return made
