"""Tables that objects show of themselves."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from signs_lightning.runtime.display_table import WIDTH, Displayed, DisplayTable

HOSTILE = "<script>alert('1')</script>\x1b[31m\n$x$"


class Page(HTMLParser):
    """What a browser makes of HTML: tags, and the text of each cell and paragraph."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class Shown(Displayed):
    def display_parts(self) -> list[str | DisplayTable]:
        return [HOSTILE, DisplayTable(["class", HOSTILE], [[HOSTILE, "1"], ["b", "2"]])]


def test_names_from_files_are_texts_in_a_page_and_in_a_terminal():
    """No tag, no escape sequence and no line break of a name's own is left."""
    page = Page(Shown()._repr_html_())
    assert page.tags == {"div", "p", "table", "thead", "tbody", "tr", "th", "td"}
    shown = HOSTILE.replace("\x1b", r"\x1b").replace("\n", r"\n")
    assert page.texts == [shown, "class", shown, shown, "1", "b", "2"]
    lines = repr(Shown()).splitlines()
    assert "\x1b" not in "".join(lines)
    assert lines[0] == shown
    assert len(lines) == 5


@pytest.mark.parametrize(("rows", "shown"), [(20, 20), (21, 21), (1000, 21)])
def test_a_long_table_shows_its_beginning_and_its_end(rows, shown):
    table = DisplayTable(["n"], [[str(n)] for n in range(rows)])
    first_column = table.as_text().splitlines()[2:]
    assert len(first_column) == shown
    assert (first_column[0], first_column[9], first_column[-1]) == ("0", "9", str(rows - 1))
    assert ("…" in first_column) is (rows > 20)
    assert Page(table.as_html()).texts == ["n", *first_column]


def test_a_wide_table_names_the_columns_that_do_not_fit():
    table = DisplayTable([f"column_{n:02}" for n in range(20)], [["1.0000"] * 20])
    lines = table.as_text().splitlines()
    assert max(map(len, lines)) <= WIDTH
    named = lines[0].split() + lines[-1].removeprefix("… and ").replace("…", "").split(", ")
    assert [name for name in named if len(name) == 9][:9] == list(table.columns)[:9]
    assert lines[-1].startswith("… and column_")
