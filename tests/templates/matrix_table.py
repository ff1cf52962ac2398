"""The matrix as a table of docs/templates.md, and back."""

import re
from collections.abc import Iterable
from pathlib import Path

from mask_matrix import REAL, Row

PAGE = Path(__file__).parents[2] / "docs" / "templates.md"
_BEGIN, _END = "<!-- begin: scripts/template_matrix.py -->", "<!-- end: scripts/template_matrix.py -->"
_COLUMNS = ("Template", "Tokenizers", "One sample for", "Trained", "Tokens compared", "Differences", "Refused")


def cells_of(rows: list[Row]) -> list[str]:
    """Return the cells of one template; its rows have one tokenizer each."""
    names = [row.tokenizer for row in rows if row.tokenizer in REAL]
    modes = sorted({row.mode for row in rows if row.mode})
    refused: dict[str, int] = {}
    for row in rows:
        for title in row.refused:
            refused[title] = refused.get(title, 0) + 1
    return [
        rows[0].template.name,
        ", ".join([f"{len(rows) - len(names)} small", *names]),
        ", ".join({"conversation": "a conversation", "turns": "each turn"}[mode] for mode in modes) or "-",
        f"{sum(len(row.trained) for row in rows)}",
        f"{sum(row.tokens for row in rows):,}",
        f"{sum(len(row.wrong) for row in rows)}",
        ", ".join(title if count == len(rows) else f"{title} ({count})" for title, count in refused.items()) or "-",
    ]


def reasons_of(row: Row) -> set[str]:
    """Return why conversations were refused, without names and quotations."""
    return {_general(sentence) for sentence in row.refused.values()}


def section(by_template: Iterable[list[Row]]) -> str:
    """Return the tables, one for each package, and the reasons of refusals."""
    lines: list[str] = []
    reasons: dict[str, list[str]] = {}
    source = ""
    by_template = list(by_template)
    for rows in by_template:
        template = rows[0].template
        if template.source != source:
            source = template.source
            lines += ["", f"### {source}", "", _line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
        lines.append(_line(cells_of(rows)))
        for reason in sorted(set().union(*map(reasons_of, rows))):
            reasons.setdefault(reason, []).append(template.name)
    total = [row for rows in by_template for row in rows]
    lines = [
        f"{len(by_template)} templates with {len({row.tokenizer for row in total})} tokenizers, "
        f"{sum(len(row.trained) for row in total):,} conversations trained, {sum(row.tokens for row in total):,} tokens "
        f"compared, {sum(len(row.wrong) for row in total)} differences, "
        f"{sum(len(row.refused) for row in total):,} conversations refused.",
        *lines,
        "",
        "### Why conversations are refused",
        "",
        "| Reason | Templates |",
        "| --- | --- |",
    ]
    for reason, names in sorted(reasons.items(), key=lambda pair: -len(pair[1])):
        unique = list(dict.fromkeys(names))
        shown = ", ".join(unique[:5]) + (f" and {len(unique) - 5} more" if len(unique) > 5 else "")
        lines.append(_line([reason, shown]))
    return "\n".join(lines)


def write(by_template: Iterable[list[Row]]) -> None:
    """Put the tables into the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    text = f"{before}{_BEGIN}\n\n{section(by_template)}\n\n{_END}{after}"
    PAGE.write_text(text, encoding="utf-8")


def read() -> dict[str, list[str]]:
    """Return the cells of each template in the page, by package and name."""
    text = PAGE.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0]
    found, source = {}, ""
    for line in text.splitlines():
        if line.startswith("### "):
            source = line.removeprefix("### ")
        elif line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
            if len(cells) == len(_COLUMNS) and cells[0] not in ("Template", "---"):
                found[f"{source}/{cells[0]}"] = cells
    return found


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _general(sentence: str) -> str:
    sentence = re.sub(r"(chat template of|special token of) \S+", r"\1 ...", sentence)
    sentence = re.sub(r"'(?:Thought|<think>|<\||\\n|\\\\|</think>|\s|\[)[^']*'", "...", sentence)
    return re.sub(r"\s+", " ", sentence).replace("|", r"\|").replace("<", r"\<")
