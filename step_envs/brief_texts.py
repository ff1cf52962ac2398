"""Brief texts: what ``brief=True`` makes of a world's words.

A model of a million parameters can learn to decide, but long observations and long names hide whether it does: most of its
errors are names that it copied wrongly. So every world can say the same in far fewer words, with names of one or two words.

Only what is shown changes. The engine and its snapshots stay as they are: an observation is made brief when it is handed
out, and an action is translated before it reaches the engine. So a brief world and a plain one are the same world, and a
snapshot of one restores in the other.
"""

import re
from abc import ABC, abstractmethod

_ARTICLE = re.compile(r"\b(?:an?|the|some) (?=\S)", re.IGNORECASE)


class BriefTexts(ABC):
    """Says in few words what one world says in many; a world implements the texts, and names where its own are long."""

    @abstractmethod
    def instruction(self, text: str) -> str:
        """Return a task in few words.

        Args:
            text: The task as the world says it.
        """

    @abstractmethod
    def observation(self, text: str) -> str:
        """Return what the world has just shown in few words.

        Args:
            text: What the world has shown. Text that is not the world's own, like a format message, comes back as it is.
        """

    def first_observation(self, text: str, instruction: str) -> str:
        """Return what is shown at the beginning of an episode: the task, and the first observation.

        Args:
            text: The first observation as the world says it.
            instruction: The task as the world says it.
        """
        return f"task: {self.instruction(instruction)}\n{self.observation(text)}"

    def to_engine(self, action: str) -> str:
        """Return the engine's own words for an action in the current state."""
        return action

    def to_brief(self, action: str) -> str:
        """Return the brief words for an action of the engine in the current state; ``to_engine`` understands them."""
        return action


def without_articles(text: str) -> str:
    """Return a text without ``a``, ``an``, ``the`` and ``some``."""
    return _ARTICLE.sub("", text)
