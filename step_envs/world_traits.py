"""What is fixed about a world, known from its class alone.

Run folders, reports and the clients of a server ask about worlds that do not run on this machine, or do not run yet: which
options are secret, how many errors a teacher corrects, whether an action is a move. So these answers are attributes of the
class and depend on nothing else.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from step_envs.react_format import ReActFormat
from step_envs.spaces import require_text


class WorldTraits:
    """The fixed traits of a world; a world overrides what differs from the defaults."""

    env_id: ClassVar[str]
    """The id the environment is registered under."""

    default_split: ClassVar[str]
    """The split that is played when none is named."""

    react: ReActFormat
    """Prompt texts for language models; an environment with ``brief=True`` has ``brief_react`` in their place."""

    brief_react: ClassVar[ReActFormat | None] = None
    """Prompt texts for ``brief=True``; None for a world that has no brief texts."""

    max_errors: ClassVar[int] = 2
    """Errors that are corrected in an episode; one more, and a teacher ends it (the paper's filter)."""

    eto_options: ClassVar[Mapping[str, Any]] = {}
    """Options of this environment that the ETO protocol sets, beside the step limit."""

    eto_reward: ClassVar[Literal["final", "highest"]] = "final"
    """Reward of an episode under the ETO protocol: its final score, or the highest score on the way."""

    reset_options: ClassVar[tuple[str, ...]] = ("task_id",)
    """Names that ``reset(options=...)`` takes."""

    waits_outside_python: ClassVar[bool] = False
    """True if the engine runs outside the interpreter, so that threads can drive several environments at once."""

    host_options: ClassVar[tuple[str, ...]] = ("data_path",)
    """Arguments that name files or programs of the machine, or make it write to its disk. A server of environments sets
    them, its clients may not."""

    client_limits: ClassVar[Mapping[str, int]] = {}
    """The largest values that a client of a server may give for arguments that cost memory."""

    more_options: ClassVar[tuple[str, ...]] = ()
    """Arguments of another class that the constructor may make instead."""

    secret_options: ClassVar[tuple[str, ...]] = ()
    """Arguments that must not be written into records."""

    @classmethod
    def verb_of(cls, action: str) -> str:
        """Return the verb of an action, e.g. ``go`` of ``go to desk 1``: its first word, or an empty string.

        Like ``is_move`` it must look at the text of the action alone, because an environment on a server has no world here.
        """
        return next(iter(require_text(action, "An action").split()), "")

    @classmethod
    def is_move(cls, action: str) -> bool:
        """Return True if ``action`` only changes where the agent is."""
        require_text(action, "An action")
        return False

    @classmethod
    def takes_back(cls, action: str, earlier: str) -> bool:
        """Return True if ``action`` undoes what ``earlier`` has done: closes, puts back, goes back.

        Like ``is_move`` it looks at the texts alone. A scripted agent errs with it.

        Args:
            action: What would be done now.
            earlier: What was done before.
        """
        require_text(action, "An action")
        require_text(earlier, "An action")
        return False

    @classmethod
    def vaguer(cls, action: str) -> tuple[str, ...]:
        """Return forms of the action with fewer words, where the words are the agent's own, as in a search; () elsewhere.

        Like ``is_move`` it looks at the text alone. A scripted agent errs with it.
        """
        require_text(action, "An action")
        return ()
