"""The client's side of our worlds in OpenEnv: actions, observations and states, and a client that gives them typed.

Tools that speak OpenEnv show a model every field of an observation but ``metadata``, and take its reply for the action if
an action has one field. So an observation holds only what an agent sees, an action is one text, and the ``info`` of our
environments (score, success, ...) is in ``metadata``.

Ran with openenv 0.10.0.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from step_envs.errors import missing_package

try:
    from openenv.core import EnvClient
    from openenv.core.client_types import StepResult
    from openenv.core.env_server.types import Action, Observation, State
except ModuleNotFoundError as error:
    raise missing_package("openenv", "The adapter for OpenEnv", "openenv") from error

Question = Literal["snapshot", "plan", "next_action", "thought", "admissible_actions"]
"""What ``ExtendedAction`` asks."""

_BESIDE_INFO = ("terminated", "truncated", "answer")


def _whole_text(value: object) -> object:
    """Replace lone surrogates, which a cut-off reply can hold: OpenEnv closes a session that gets one."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


class TextAction(Action):  # type: ignore[misc]  # OpenEnv is not followed by the type checker
    """An action in a text world."""

    # Tools show this description to models. With a second field they would ask a model for JSON.

    action: Annotated[str, BeforeValidator(_whole_text)] = Field(description="One action of the world, as plain text")


class ExtendedAction(TextAction):
    """An action, or a question about the running episode, which costs no step.

    The answer is in ``metadata["answer"]`` of the observation: a snapshot for ``reset(injected_state=...)``, the oracle's
    plan (or null), its next action, its reason for ``action``, or the admissible actions.
    """

    action: Annotated[str, BeforeValidator(_whole_text)] = Field(default="", description="One action, as plain text")
    ask: Question | None = Field(default=None, description="Carry out no action, and answer this question")


class TextObservation(Observation):  # type: ignore[misc]
    """What an agent sees, and in ``metadata`` what it does not."""

    text: str = Field(description="What the world answers")
    instruction: str = Field(default="", description="The task in words; only in the first observation of an episode")
    admissible_actions: list[str] | None = Field(
        default=None, description="What the world would accept now, if asked for"
    )

    @property
    def info(self) -> dict[str, Any]:
        """The ``info`` of the environment, as a local one gives it."""
        listed = {} if self.admissible_actions is None else {"admissible_actions": tuple(self.admissible_actions)}
        return {name: value for name, value in self.metadata.items() if name not in _BESIDE_INFO} | listed

    @property
    def score(self) -> float:
        """The score so far, from 0 to 1."""
        return float(self.metadata["score"])

    @property
    def success(self) -> bool:
        """Whether the task is done."""
        return bool(self.metadata["success"])

    @property
    def truncated(self) -> bool:
        """Whether the step limit ended the episode, and not the world."""
        return bool(self.metadata["truncated"])


class TextState(State):  # type: ignore[misc]
    """The state of a session; ``step_count`` and ``episode_id`` are OpenEnv's own fields."""

    env_id: str
    task_id: str | None = None
    split: str | None = None
    score: float = 0.0
    success: bool = False
    terminated: bool = False
    truncated: bool = False


class TextEnvClient(EnvClient):  # type: ignore[misc]
    """A client with typed results; OpenEnv's ``GenericEnvClient`` does as well, with dicts.

    Examples:
        >>> with TextEnvClient(base_url="http://127.0.0.1:8000").sync() as env:  # doctest: +SKIP
        ...     first = env.reset(split="valid_unseen", index=0)
        ...     result = env.step("go to fridge 1")
        >>> result.observation.text, result.reward, result.observation.score  # doctest: +SKIP
    """

    async def ask(self, question: Question, action: str = "") -> Any:
        """Ask a question about the running episode; only where the server has the extensions.

        Args:
            question: See ``ExtendedAction``.
            action: The action that ``thought`` explains.
        """
        result = await self.step(ExtendedAction(action=action, ask=question))
        return result.observation.metadata["answer"]

    def _step_payload(self, action: str | TextAction) -> dict[str, Any]:
        if isinstance(action, str):
            return {"action": action}
        payload: dict[str, Any] = action.model_dump(exclude_defaults=True)
        return payload

    def _parse_result(self, payload: dict[str, Any]) -> StepResult:
        reward, done = payload["reward"], payload["done"]
        observation = TextObservation(**payload["observation"], reward=reward, done=done)
        return StepResult(observation, reward, done, observation.metadata)

    def _parse_state(self, payload: dict[str, Any]) -> TextState:
        return TextState(**payload)
