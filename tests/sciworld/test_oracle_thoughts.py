"""The oracle's thoughts: plain sentences for every task and any action."""

import re

import pytest

from step_envs.sciworld.planning.thought_templates import GOALS, THOUGHT_TEMPLATES
from step_envs.sciworld.tasks import TASK_TYPES
from step_envs.sciworld.thoughts import ThoughtContext, the, word


def test_every_task_and_every_case_has_words() -> None:
    assert set(GOALS) == set(TASK_TYPES)
    fields = {"goal", "thing", "place", "room", "to", "at", "purpose", "number", "reason", "doing", "extreme"}
    fields |= {"one", "other", "target"}
    for case, templates in THOUGHT_TEMPLATES.items():
        assert templates, case
        for template in templates:
            assert set(re.findall(r"{(\w+)}", template)) <= fields, template


@pytest.mark.parametrize(
    "action",
    [
        "dance",
        "",
        "eat banana",
        "dunk cup into sink",
        "flush toilet",
        "12",
        "move x",
        "use",
        "pick up",
        "Öffne die Tür",
    ],
)
def test_a_thought_for_any_action(action: str) -> None:
    words = word(ThoughtContext("boil", action, (), (), "", "boil/0 0"))
    assert words.endswith((".", "?"))


def test_articles() -> None:
    assert the("black wire terminal 2") == "the terminal 2 of the black wire"
    assert the("substance in metal pot") == "the substance in the metal pot"
    assert the("unknown substance B in inventory") == "the unknown substance B"
    assert the("baby baby mouse") == "the baby mouse"
