"""Tables of figures, and their form in Markdown, LaTeX and JSON. Names come from runs, so they are escaped."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from step_envs.statistics import Interval
from step_envs.text import visible

Cell = str | int | float | Interval | None
Form = Literal["text", "count", "share", "difference", "score", "change", "number", "p", "dollars"]

_PAGE = 40  # rows that fit on a page
_BROAD = 6  # columns that fit on a line
# What ends a cell and what begins a link, an element, an entity, emphasis, a formula, a heading or a list. Brackets around
# an interval, amounts of money and underscores within words stay as they are.
_MARKDOWN = re.compile(
    r"([\\|`*~]|\](?=[(\[:])|<(?=[A-Za-z/!?])|&(?=#|\w+;)|_(?!\w)|(?<!\w)_|\$(?!\d)|^[#>[]|^[+-](?= ))"
)
_NUMBERED = re.compile(r"^(\d+)([.)])(?= )")
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Heading.
        form: How its cells are written; a share is written in percent, a difference of shares in points.
    """

    title: str
    form: Form = "text"


@dataclass(frozen=True)
class Table:
    """A table of figures.

    Attributes:
        name: Its name in files and links.
        title: What it shows.
        columns: Its columns.
        rows: Its rows; each has a cell for every column.
        notes: Sentences to stand below it.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON values, unrounded; an interval is ``[value, low, high]``."""
        titles = [column.title for column in self.columns]
        rows = [
            {title: list(cell) if isinstance(cell, Interval) else cell for title, cell in zip(titles, row, strict=True)}
            for row in self.rows
        ]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}

    def to_markdown(self) -> str:
        """Write the table in Markdown, with title and notes."""
        head = [markdown(column.title) for column in self.columns]
        lines = [f"### {markdown(self.title)}", "", _pipes(head), _pipes(_rule(column) for column in self.columns)]
        lines += [_pipes(self._cells(row, markdown)) for row in self.rows]
        for note in self.notes:
            lines += ["", markdown(note)]
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        """Write the table in LaTeX, for the packages ``booktabs``, ``graphicx`` and ``longtable``."""
        align = "".join("l" if column.form == "text" else "r" for column in self.columns)
        caption = f"\\caption{{{latex(' '.join([self.title + '.', *self.notes]))}}}"
        head = f"{' & '.join(latex(column.title) for column in self.columns)} \\\\"
        rows = [f"{' & '.join(self._cells(row, latex))} \\\\" for row in self.rows]
        body = [r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
        if len(rows) > _PAGE:
            body[3:3] = [r"\endhead"]
            first = [rf"{{\footnotesize\begin{{longtable}}{{{align}}}", f"{caption} \\label{{tab:{self.name}}} \\\\"]
            return "\n".join([*first, *body, r"\end{longtable}}"]) + "\n"
        tabular = [f"\\begin{{tabular}}{{{align}}}", *body, r"\end{tabular}"]
        if len(self.columns) > _BROAD:
            tabular = [r"\resizebox{\linewidth}{!}{%", *tabular, "}"]
        lines = [r"\begin{table}", r"\centering", caption, f"\\label{{tab:{self.name}}}", *tabular, r"\end{table}"]
        return "\n".join(lines) + "\n"

    def _cells(self, row: Sequence[Cell], escape: Callable[[str], str]) -> list[str]:
        return [escape(written(cell, column.form)) for cell, column in zip(row, self.columns, strict=True)]


def written(cell: Cell, form: Form) -> str:
    """Write one cell: a figure, with its interval in brackets where it has one.

    >>> written(Interval(0.9, 0.596, 0.982), "share")
    '90.0 % [59.6, 98.2]'
    """
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return visible(cell)
    if isinstance(cell, Interval):
        if cell.value is None:
            return "-"
        if cell.low is None or cell.high is None:
            return written(cell.value, form)
        if form in ("share", "difference"):
            value, low, high = (100 * number for number in (cell.value, cell.low, cell.high))
            if form == "difference":
                return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
            return f"{value:.1f} % [{low:.1f}, {high:.1f}]"
        sign = "+" if form == "change" else ""
        return f"{cell.value:{sign}.2f} [{cell.low:{sign}.2f}, {cell.high:{sign}.2f}]"
    return _FORMS[form](cell)


_FORMS: dict[Form, Callable[[float], str]] = {
    "text": str,
    "count": lambda number: f"{number:,}",
    "share": lambda number: f"{100 * number:.1f} %",
    "difference": lambda number: f"{100 * number:+.1f}",
    "score": lambda number: f"{number:.2f}",
    "change": lambda number: f"{number:+.2f}",
    "number": lambda number: f"{number:,.1f}",
    "p": lambda number: "< 0.001" if number < 0.001 else f"{number:.3f}",
    "dollars": lambda number: f"${number:,.4f}" if number < 1 else f"${number:,.2f}",
}


def markdown(text: str) -> str:
    """Escape text for Markdown and put it on one line."""
    return _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", _one_line(text)))


def latex(text: str) -> str:
    """Escape text for LaTeX and put it on one line."""
    escaped = "".join(_LATEX.get(letter, letter) for letter in _one_line(text))
    # After the end of a line, these would belong to it.
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())


def _pipes(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(column: Column) -> str:
    return "---" if column.form == "text" else "---:"
