"""The prompt texts with which a world is turned into a chat; each world has its own in its ``prompt.py``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReActFormat:
    """How a world is turned into a chat of ``Thought:``/``Action:`` replies, as in the ETO data.

    Attributes:
        manual: What a language model is told before the first task: its role, the reply format and the actions.
        task: How the task is stated; ``{instruction}`` and ``{observation}`` (the first one) are filled in.
        observation_prefix: Text before every later observation.
        format_error: The whole observation after a reply that holds no action.
    """

    manual: str
    task: str = "{instruction}\n\n{observation}"
    observation_prefix: str = "Observation: "
    format_error: str = "Observation: Invalid format. The input must contains 'Action: '"
