"""A check that a teacher who was told the oracle's plan does not reveal what the agent cannot know.

An agent that is trained on such words would learn to claim knowledge it does not have. A prompt that forbids it is not
enough, so the words are compared with everything the agent has been shown.
"""

import re
from collections.abc import Iterable, Sequence

from step_envs.wrappers.teachers.base import TeacherContext

_WORD = re.compile(r"[a-z0-9]+")
_SOURCES = re.compile(
    r"\b(oracle|privileged|walkthrough|answer key|known solution|hidden (?:plan|state|information)"
    r"|(?:plan|solution|steps?) (?:that )?(?:I|you) (?:was|were|am|are|have been) (?:given|told|shown))\b",
    re.IGNORECASE,
)


def find_leak(words: str, plan: Sequence[str], corrected_action: str, seen: Iterable[str]) -> str | None:
    """Find what a reflection reveals of the plan.

    Args:
        words: Error, reason and reflection.
        plan: The actions that only the teacher knows.
        corrected_action: The correction itself, which may be named.
        seen: All texts that the agent has been shown, and the actions it could take.

    Returns:
        What is wrong, in one sentence; None if nothing is revealed.
    """
    known_text = _plain(" \n ".join([*seen, corrected_action]))
    known, said = set(known_text.split()), _plain(words)
    for source in _SOURCES.finditer(words):
        # Such a word can belong to the world as well: a shop can sell oracle cards.
        if f" {_plain(source[0])} " not in f" {known_text} ":
            return f'"{source[0]}" speaks of knowledge that the agent does not have.'
    for action in plan:
        step = _plain(action)
        if len(step.split()) > 1 and f" {step} " in f" {said} " and f" {step} " not in f" {known_text} ":
            return f"It quotes {action!r}, a later step that the agent cannot know yet."
    for action in plan:
        for word in _plain(action).split():
            if len(word) > 2 and word not in known and f" {word} " in f" {said} ":
                return f"It names {word!r}, which the agent has not come across yet."
    return None


def shown_to_agent(context: TeacherContext) -> list[str]:
    """Return all texts that the agent has been shown, its own reply, and the actions it could take."""
    shown = [turn["content"] for turn in context.messages]
    return [*shown, context.reply, context.observation or "", *context.env.admissible_actions()]


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))
