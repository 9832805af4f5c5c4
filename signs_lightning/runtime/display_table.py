"""Objects that show themselves as tables: as text, and as HTML in a notebook."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from signs_lightning.runtime.escaping import for_html, printable, shorten

WIDTH = 79  # columns of a text
ENDS = 10  # a longer table than twice this shows so many rows at its beginning and its end
CELL = 38  # characters of a cell in a text
FIGURE = re.compile(r"-?[\d.,]+|nan|inf|…|")


@dataclass(frozen=True)
class DisplayTable:
    """A table of texts; columns of figures are aligned right, but for the first one.

    Attributes:
        columns: their names.
        rows: as many texts each.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def _shown_rows(self) -> list[Sequence[str]]:
        rows = list(self.rows)
        if len(rows) > 2 * ENDS:
            rows[ENDS:-ENDS] = [["…"] * len(self.columns)]
        return rows

    def as_text(self) -> str:
        """Return lines of at most 79 characters; columns that do not fit are named below."""
        rows = (self.columns, *self._shown_rows())
        cells = [[shorten(cell, CELL) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        fit = len(widths)
        while fit > 1 and sum(widths[:fit]) + 2 * (fit - 1) > WIDTH:
            fit -= 1
        lines = [
            "  ".join(
                cell.rjust(width) if self._has_figures(number) else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(row[:fit], widths[:fit], strict=True))
            ).rstrip()
            for row in cells
        ]
        lines.insert(1, "─" * (sum(widths[:fit]) + 2 * (fit - 1)))
        if fit < len(widths):
            lines.append(shorten(f"… and {', '.join(cells[0][fit:])}", WIDTH))
        return "\n".join(lines)

    def as_html(self) -> str:
        """Return a `<table>`; everything in it is escaped."""
        head = "".join(self._cell("th", n, text) for n, text in enumerate(self.columns))
        body = "".join(
            f"<tr>{''.join(self._cell('td', n, text) for n, text in enumerate(row))}</tr>"
            for row in self._shown_rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _cell(self, tag: str, number: int, text: str) -> str:
        style = f"text-align: {'right' if self._has_figures(number) else 'left'}"
        return f'<{tag} style="{style}">{for_html(shorten(text, 200))}</{tag}>'

    def _has_figures(self, number: int) -> bool:
        return number > 0 and all(FIGURE.fullmatch(row[number]) for row in self.rows)


class Displayed:
    """What shows itself as lines of text and tables, in a terminal and in a notebook."""

    def display_parts(self) -> list[str | DisplayTable]:
        """Return what is shown, from top to bottom."""
        raise NotImplementedError

    def __repr__(self) -> str:
        parts = self.display_parts()
        texts = (printable(p) if isinstance(p, str) else p.as_text() for p in parts)
        return "\n".join(texts)

    def __str__(self) -> str:
        return repr(self)  # a data module of Lightning has another

    def _repr_html_(self) -> str:
        content = "".join(
            f"<p>{for_html(part)}</p>" if isinstance(part, str) else part.as_html()
            for part in self.display_parts()
        )
        return f'<div class="tex2jax_ignore">{content}</div>'  # else $…$ in a name became a formula
