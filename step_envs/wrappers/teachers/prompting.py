"""What a model that teaches is shown: the prompt texts, the episode, the step to judge and what is admissible now.

The episode comes first and only grows at its end; the question comes last. So all prompts of one episode share a beginning
that a server can keep in its prefix cache. With the question first, every prompt would be new from its first words on.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from importlib.resources import files
from itertools import chain
from pathlib import Path
from sys import intern

from step_envs.errors import DataError
from step_envs.file_reading import read_text
from step_envs.wrappers.teachers.base import TeacherContext

PROMPT_OF = {
    "STeP-ALFWorld-v0": "alfworld",
    "STeP-SciWorld-v0": "sciworld",
    "STeP-WebShop-v0": "webshop",
}
"""Environment id -> name of its prompt text; all others use ``other``."""

NAMES = ("common", "hybrid", "other", *PROMPT_OF.values())
"""Names of the prompt texts; each is a file ``<name>.txt``."""

_MOST_BYTES = 2**20
_WORD = re.compile(r"[a-z0-9]+")


class PromptBook:
    """The prompt texts: the user's own where there are any, else those of the package.

    Args:
        folder: Folder with your own texts, named like the package's; the package's text is used for every name that the
            folder does not hold.

    Raises:
        DataError: The folder does not exist, holds no text, or holds one of an unknown name.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._texts = {name: files(__package__).joinpath("prompts", f"{name}.txt").read_text() for name in NAMES}
        if folder is None:
            return
        own = {path.stem: path for path in Path(folder).glob("*.txt")}
        strange = sorted(set(own) - set(NAMES))
        if not own or strange:
            found = f"{strange[0]}.txt" if strange else "no text"
            raise DataError(f"The folder of prompts {folder} holds {found}; prompts are {', '.join(NAMES)} (.txt).")
        self._texts |= {name: read_text(path, limit=_MOST_BYTES, fault=DataError) for name, path in own.items()}

    def messages(self, context: TeacherContext, asked: str, role: str = "common") -> list[dict[str, str]]:
        """Write a request about one action.

        Args:
            context: The action.
            asked: The question that follows the episode; see ``question``.
            role: Name of the system prompt.

        Returns:
            ``role`` and ``content`` of the messages.
        """
        return [
            {"role": "system", "content": self.system(context.env.env_id, role)},
            {"role": "user", "content": f"{episode_so_far(context)}\n{asked}"},
        ]

    def system(self, env_id: str, role: str = "common") -> str:
        """Return the system prompt for a world."""
        return f"{self._texts[role].strip()}\n\n{self._texts[PROMPT_OF.get(env_id, 'other')].strip()}"

    @cached_property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of a SHA-256 over all texts, for the record."""
        return hashlib.sha256("\0".join(self._texts[name] for name in NAMES).encode()).hexdigest()[:16]


def fenced(text: str) -> str:
    """Put data between marks that the data does not contain, so that it cannot end the fence itself.

    The marks are made from a digest of the text.
    """
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    # With enough tries somebody can find a text that contains eight digits of its own digest, but not all 64.
    mark = next((digest[at : at + 8] for at in range(0, 64, 8) if digest[at : at + 8] not in text), digest)
    return f"<data {mark}>\n{text}\n</data {mark}>"


def episode_so_far(context: TeacherContext) -> str:
    """Write the episode, up to and including the step to judge."""
    parts, step = ["What the agent was told:"], 0
    turns = [*context.messages, {"role": "assistant", "content": context.reply}]
    if context.observation is not None:
        turns.append({"role": "user", "content": context.observation})
    began = False
    for turn in turns:
        if turn["role"] == "assistant" and not began:
            # The "OK" that answers the manual is not a step.
            began = True
            if turn["content"] == "OK":
                continue
        if turn["role"] == "assistant":
            step += 1
            parts.append(f"The agent, step {step}:")
        elif step:
            parts.append("The world:")
        parts.append(fenced(turn["content"]))
    return "\n".join(parts)


def question(
    context: TeacherContext, *, most_actions: int, plan: Sequence[str] | None, corrected_action: str | None = None
) -> str:
    """Write the question that follows the episode.

    Args:
        context: The action to judge.
        most_actions: Most admissible actions to list.
        plan: The actions that lead to success, for a teacher who may know them; else None.
        corrected_action: The correction, if it is known already and only the words are wanted.
    """
    parts = ["", "The latest step of the agent is the one to judge."]
    if context.action is None:
        parts.append("It holds no action in the form that the world takes.")
    else:
        parts.append(f"Its action:\n{fenced(context.action)}")
    if not context.executed:
        parts.append("It has not been carried out yet.")
    elif taken_back(context):
        parts.append("It ended the episode. The world has been taken back to the state before it.")
    if corrected_action is not None:
        parts.append(f"It is wrong. The action to take instead, now:\n{fenced(corrected_action)}")
    else:
        parts.append(_admissible_now(context, most_actions))
    if plan is not None:
        parts.append(
            "You alone know that these actions lead from the present state to success:\n"
            + fenced("\n".join(plan))
            + "\nThe agent does not know them. Use them to judge and to correct; never name or hint at anything in them "
            "that the agent has not been shown."
        )
    if context.complaint is not None:
        parts.append(f"Your last verdict could not be used. {context.complaint} Judge again.")
    return "\n".join(parts)


def taken_back(context: TeacherContext) -> bool:
    """Return True if the step was carried out and the world then went back to the state before it."""
    return context.executed and context.env.snapshot() == context.before


def _admissible_now(context: TeacherContext, most: int) -> str:
    actions = context.env.admissible_actions()
    about = " ".join([*(turn["content"] for turn in context.messages[-2:]), context.reply, context.observation or ""])
    shown = most_relevant(actions, [context.info["instruction"], about], most)
    if len(shown) == len(actions):
        heading = "Admissible now:"
    else:
        heading = (
            f"Admissible now, the {len(shown)} that have most to do with the task and the step "
            f"({len(actions) - len(shown)} more of the same forms are left out):"
        )
    return f"{heading}\n{fenced(chr(10).join(shown))}"


def most_relevant(actions: Sequence[str], about: Sequence[str], most: int) -> list[str]:
    """Choose the actions that share the most words with some texts.

    A word counts more if fewer actions contain it. Of two equally relevant actions the earlier one is kept.

    Args:
        actions: All actions.
        about: Texts, the most important first.
        most: Most actions to keep.

    Returns:
        The chosen actions, in their original order.
    """
    if len(actions) <= most:
        return list(actions)
    words = [_words_of(action) for action in actions]
    common = Counter(chain.from_iterable(words))
    # ScienceWorld lists three thousand actions at every step: what a word is worth is computed once, not in every action.
    worth: dict[str, float] = {}
    for rank, text in enumerate(about, 1):
        for word in set(_WORD.findall(text.lower())) & common.keys():
            worth[word] = worth.get(word, 0.0) + 1 / (common[word] * rank)
    relevance = [sum([worth.get(word, 0.0) for word in of_one]) / (1 + len(of_one)) for of_one in words]
    best = sorted(range(len(actions)), key=relevance.__getitem__, reverse=True)[:most]
    return [actions[index] for index in sorted(best)]


@lru_cache(maxsize=2**14)
def _words_of(action: str) -> tuple[str, ...]:
    """Return the words of an action, each once, in a fixed order: sums of fractions depend on the order."""
    return tuple(dict.fromkeys(map(intern, _WORD.findall(action.lower()))))
