"""Every chat template that packages ship, with small and real tokenizers: masks are what a server would have generated."""

import http.client
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
ADVICE = re.compile(r"\b(?:choose|give|leave|make|pass|put|set|switch|take|train|use|want|write)\b", re.IGNORECASE)
QUOTED = re.compile(r"'[^']*'")

# The names come from the page, so that no package is downloaded before one of these tests is asked for.
DOCUMENTED = matrix_table.read()


def _templates():
    templates, reason = _collected()
    if reason:
        pytest.skip(reason)
    return templates


@cache
def _collected():
    """The templates by name, or the reason why there are none; a registry that does not answer is asked once."""
    try:
        return {_key(template.id): template for template in collect()}, ""
    except (OSError, http.client.HTTPException) as error:
        return {}, f"a registry of packages does not answer: {error}"


def _key(name: str) -> str:
    """Return the name of a template; without the version of TRL, which is the one that is installed."""
    return re.sub(r"^trl [^/]+", "trl", name)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_masks_are_what_a_server_would_have_the_model_generate(name):
    template = _templates().get(_key(name))
    if template is None:
        pytest.skip("the page was written with another version of TRL")  # others: the test below
    rows = [row_of(template, tokenizer) for tokenizer in tokenizers_for(template)]
    assert {(row.tokenizer, title): why for row in rows for title, why in row.wrong.items()} == {}
    for row in rows:
        for title, sentence in row.refused.items():
            assert ADVICE.search(QUOTED.sub("", sentence)), (
                f"{title}: a refusal has to say what to do, got {sentence!r}"
            )
    if template.id != name:
        pytest.skip("no differences; the page was written with another version of TRL")
    tokens = 4  # how many there are depends on the version of the tokenizers
    measured, documented = matrix_table.cells_of(rows), list(DOCUMENTED[name])
    assert measured[:tokens] + measured[tokens + 1 :] == documented[:tokens] + documented[tokens + 1 :], (
        "docs/templates.md says something else: run scripts/template_matrix.py"
    )


def test_the_page_has_every_template():
    documented, found = set(map(_key, DOCUMENTED)), set(_templates())
    if {name for name in DOCUMENTED if name.startswith("trl")} - {template.id for template in _templates().values()}:
        documented, found = ({name for name in names if not name.startswith("trl/")} for names in (documented, found))
    assert documented == found, "run scripts/template_matrix.py"
