"""Every chat template that packages ship, with small and real tokenizers: masks are what a server would have generated."""

import re
from functools import cache

import pytest

pytest.importorskip("transformers", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")

import matrix_table
from collect_templates import collect
from mask_matrix import row_of, tokenizers_for

pytestmark = pytest.mark.templates

# A sentence that refuses has to say what to do; words that it quotes do not count.
ADVICE = re.compile(r"\b(?:choose|give|leave|make|pass|put|set|switch|take|train|use|want|write)\b")
QUOTED = re.compile(r"'[^']*'")

TEMPLATES = {template.id: template for template in collect()}


@cache
def _documented():
    return matrix_table.read()


@pytest.mark.parametrize("template", TEMPLATES)
def test_masks_are_what_a_server_would_have_the_model_generate(template):
    rows = [row_of(TEMPLATES[template], name) for name in tokenizers_for(TEMPLATES[template])]
    assert {(row.tokenizer, title): why for row in rows for title, why in row.wrong.items()} == {}
    for row in rows:
        for title, sentence in row.refused.items():
            assert ADVICE.search(QUOTED.sub("", sentence)), (
                f"{title}: a refusal has to say what to do, got {sentence!r}"
            )
    if template.startswith("trl ") and template not in _documented():
        pytest.skip("the page was written with another version of TRL")
    tokens = 4
    measured, documented = matrix_table.cells_of(rows), list(_documented().get(template, []))
    assert measured[:tokens] + measured[tokens + 1 :] == documented[:tokens] + documented[tokens + 1 :], (
        "docs/templates.md says something else: run scripts/template_matrix.py"
    )


def test_the_page_names_no_template_that_is_not_tried():
    assert {name for name in _documented() if not name.startswith("trl ")} <= set(TEMPLATES)
