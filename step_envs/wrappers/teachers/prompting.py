"""What a teacher is shown: the prompt texts, the episode, the step to judge and what is admissible now.

The episode comes first and only grows at its end, the question comes last: so the prompts of one episode share a beginning
that a server can keep in its prefix cache.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from step_envs.errors import DataError
from step_envs.wrappers.teachers.base import TeacherContext

PROMPT_OF = {
    "STeP-ALFWorld-v0": "alfworld",
    "STeP-SciWorld-v0": "sciworld",
    "STeP-WebShop-v0": "webshop",
}
"""Environment id -> name of its prompt; all others have ``other``."""

NAMES = ("common", "hybrid", "other", *PROMPT_OF.values())
"""Names of the prompt texts, which are files ``<name>.txt``."""

_WORD = re.compile(r"[a-z0-9]+")


class PromptBook:
    """The prompt texts: those of the package, and in their place those that the user has written.

    Args:
        folder: Folder with texts of one's own, named like the package's; what it does not hold is the package's.

    Raises:
        DataError: The folder is not there, or holds no text of a known name.
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
        self._texts |= {name: path.read_text() for name, path in own.items()}

    def system(self, env_id: str, role: str = "common") -> str:
        """Give the system prompt for a world."""
        return f"{self._texts[role].strip()}\n\n{self._texts[PROMPT_OF.get(env_id, 'other')].strip()}"

    @cached_property
    def digest(self) -> str:
        """A digest of all texts, for the record."""
        return hashlib.sha256("\0".join(self._texts[name] for name in NAMES).encode()).hexdigest()[:16]


def fenced(text: str) -> str:
    """Put a text that is data between marks that it does not hold itself, for they are made from its digest."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    # Who tries often enough finds a text that holds eight digits of its own digest, but not all of them.
    mark = next((digest[at : at + 8] for at in range(0, 64, 8) if digest[at : at + 8] not in text), digest)
    return f"<data {mark}>\n{text}\n</data {mark}>"


def episode_so_far(context: TeacherContext) -> str:
    """Write down the episode up to and with the step to be judged."""
    parts, step = ["What the agent was told:"], 0
    turns = [*context.messages, {"role": "assistant", "content": context.reply}]
    if context.observation is not None:
        turns.append({"role": "user", "content": context.observation})
    began = False
    for turn in turns:
        if turn["role"] == "assistant" and not began:
            # The "OK" that answers the manual is no step.
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
    """Write the question that stands after the episode.

    Args:
        context: What is to be judged.
        most_actions: How many admissible actions to list at most.
        plan: The way to success, for a teacher who may know it.
        corrected_action: The correction, where it is known already and only the words are wanted.
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
        parts.append(_admissible(context, most_actions))
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
    """Say whether the step was carried out and the world then taken back to before it."""
    return context.executed and context.env.snapshot() == context.before


def _admissible(context: TeacherContext, most: int) -> str:
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
    """Choose the actions that share most with texts.

    Words weigh the more the fewer actions hold them; of equals the earlier ones are kept.

    Args:
        actions: All actions.
        about: Texts, the most important first.
        most: How many to keep at most.

    Returns:
        The chosen ones, in their own order.
    """
    if len(actions) <= most:
        return list(actions)
    words = [set(_WORD.findall(action.lower())) for action in actions]
    common = Counter(word for of_one in words for word in of_one)
    asked = [set(_WORD.findall(text.lower())) for text in about]

    def relevance(index: int) -> float:
        return sum(
            sum(1 / common[word] for word in words[index] & texts) / (rank + 1) for rank, texts in enumerate(asked)
        ) / (1 + len(words[index]))

    best = sorted(range(len(actions)), key=lambda index: (-relevance(index), index))[:most]
    return [actions[index] for index in sorted(best)]
