"""Writes the table of docs/frameworks.md that says what each loader trains on: python tests/loaders/loader_table.py.

The test of each loader compares its lines with this table, so it cannot say what is no longer so.
"""

import sys
import tempfile
from pathlib import Path

from loader_cases import CASES, PACKAGES, ROOT, Case
from loader_runs import Comparison, compare, loader_version, prepare, run

PAGE = ROOT / "docs" / "frameworks.md"
BEGIN, END = "<!-- written by tests/loaders/loader_table.py -->\n", "<!-- end -->\n"
_HEAD = (
    "| package | export | setting | rows | tokens it trains on | tokens we train on | difference |\n"
    "|---|---|---|---|---|---|---|\n"
)


def line(case: Case, version: str, found: Comparison) -> str:
    """Write one line of the table."""
    export = "the run folder" if case.export == "run" else f"`{case.export}`"
    cells = (
        f"{PACKAGES[case.loader]} {version}",
        export,
        case.setting,
        f"{found.rows:,}",
        f"{found.theirs:,}",
        f"{found.ours:,}",
        found.difference(),
    )
    return f"| {' | '.join(cells)} |\n"


def table() -> str:
    """Return the table as it stands in the documentation."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    """Run every loader and write the table."""
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder / "exports")
        for loader in PACKAGES:
            made = run(loader, folder / "exports", folder / loader)
            for case in CASES:
                if case.loader == loader:
                    found = compare(case, made[case.name], folder / "exports")
                    lines.append(line(case, loader_version(loader), found))
                    sys.stdout.write(lines[-1])
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + _HEAD + "".join(lines) + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
