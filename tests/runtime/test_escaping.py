"""Names from files are harmless wherever they are shown."""

from __future__ import annotations

import pytest

from signs_lightning.runtime.escaping import for_csv, for_html, for_terminal, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("thumb", "thumb"),
        ("Größe 手", "Größe 手"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("two\nlines\0", "two\\nlines\\x00"),
        ("left\u202eright", "left\\u202eright"),  # turns the direction of what follows
        ("\udc80", "\\udc80"),  # half a character, from a file name that is not UTF-8
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_each_place_has_its_own_dangers() -> None:
    assert for_terminal("[red]x[/red]") == r"\[red]x\[/red]"
    escaped = "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;"
    assert for_html("<script>alert('x')</script>") == escaped
    assert for_csv("=1+1") == "'=1+1"
    assert for_csv("@x") == "'@x"
    assert for_csv("3") == "3"
