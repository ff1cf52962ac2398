"""The one data model: ``Turn``, ``Verdict``, ``Trajectory``.

One trajectory is one JSON line of schema ``step-trajectory/1``. It alone determines what a model is trained on: every turn
names its role and kind, and the weight of its tokens in the loss.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_SURROGATES = re.compile("[\ud800-\udfff]")


def _storable(text: str) -> str:
    # Half a surrogate pair is legal in a Python string, and in no file, tokenizer or table. Most texts are plain ASCII, of
    # which Python knows it without looking.
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


Words = Annotated[str, AfterValidator(_storable)]
"""Text as people, models and engines write it; lone surrogates become U+FFFD."""

Role = Literal["system", "user", "assistant"]
Kind = Literal["instruction", "observation", "agent", "error", "correction", "expert"]
StopReason = Literal[
    "running",  # the episode has not ended
    "success",
    "failure",  # the engine ended the episode without success
    "max_steps",
    "max_errors",
    "unknown_verdict",
    "agent_stopped",
]

ErrorCategory = Literal["memory", "reflection", "planning", "action", "system"]
"""What failed in the agent where it erred: the modules of AgentDebug (arXiv 2509.25370)."""

ERROR_CATEGORIES: dict[ErrorCategory, str] = {
    "memory": "It forgot or misremembered something that it had been shown.",
    "reflection": "It misread what its last steps had done, or how far it had come.",
    "planning": "It chose a step that does not lead to the goal, or not yet.",
    "action": "It wrote a step in a form that the world does not take, or one that is not possible here.",
    "system": "Something outside the agent failed, such as the world or the connection.",
}
"""Name of each category -> what it means, in one sentence about the agent."""

_KINDS_OF_ROLE: dict[str, frozenset[str]] = {
    "system": frozenset({"instruction"}),
    "user": frozenset({"instruction", "observation"}),
    "assistant": frozenset({"instruction", "agent", "error", "correction", "expert"}),
}


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Usage(_Record):
    """The cost of one or more requests to a model.

    Attributes:
        prompt_tokens: Tokens read by a model.
        completion_tokens: Tokens written by a model.
        requests: Requests to a model, those that had to be sent again included.
        cached: Answers that came from the response cache, for which nothing was paid and no token counts here.
        seconds: Wall time.
        cost: Price in US dollars; None where it is not known.
    """

    prompt_tokens: int = Field(0, ge=0)
    completion_tokens: int = Field(0, ge=0)
    requests: int = Field(0, ge=0)
    cached: int = Field(0, ge=0)
    seconds: float = Field(0.0, ge=0)
    cost: float | None = Field(None, ge=0)

    def __add__(self, other: "Usage") -> "Usage":
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            requests=self.requests + other.requests,
            cached=self.cached + other.cached,
            seconds=self.seconds + other.seconds,
            cost=sum(costs) if costs else None,
        )


class Verdict(_Record):
    """A teacher's judgement of one action.

    Attributes:
        status: ``ok``, ``error``, or ``unknown`` where the teacher gave no usable answer.
        error: What was wrong.
        reason: Why it was wrong; with ``unknown``, why there is no answer.
        reflection: What should be done instead, in words.
        corrected_action: The action to take instead.
        category: What kind of failure the error is, a key of ``ERROR_CATEGORIES``; None where the teacher did not say.
        undo: The error closed every way to success, so that the correction only makes sense from the state before it.
        usage: What the verdict cost.
    """

    status: Literal["ok", "error", "unknown"]
    error: Words | None = None
    reason: Words | None = None
    reflection: Words | None = None
    corrected_action: Words | None = None
    category: ErrorCategory | None = None
    undo: bool = False
    usage: Usage | None = None

    @model_validator(mode="after")
    def _error_is_corrected(self) -> Self:
        if self.status == "error" and not (self.corrected_action or "").strip():
            raise ValueError('a verdict of status "error" needs a corrected_action')
        return self

    def thought(self) -> str:
        """Join error, reason and reflection into one thought, the text of a correction turn."""
        return " ".join(part.strip() for part in (self.error, self.reason, self.reflection) if part and part.strip())


TokenLogprob = tuple[Words, Annotated[float, Field(le=0)]]
"""The text of a token, and the natural logarithm of the probability that the model gave it."""


class Turn(_Record):
    """One message of the conversation.

    Attributes:
        role: Who speaks.
        content: The text.
        kind: ``instruction`` (manual and task), ``observation``, ``agent`` (the agent's own reply), ``error`` (a reply the
            teacher judged wrong), ``correction`` (the teacher's reply after it), ``expert`` (a golden reply).
        loss: Weight, 0 to 1, of every token of this turn in the training loss; only assistant turns can have one.
        action: The action parsed from the reply; None where there was none.
        reward: Change in score by that action.
        score: Score after that action.
        valid_action: The engine understood that action; None where it was not carried out or nobody noted it.
        verdict: What the teacher said of it.
        usage: What writing this turn cost.
        shortened: How many earlier observations its writer only saw shortened, for want of room.
        value: What the state after this turn is worth, 0 to 1, as ``step-envs annotate`` wrote it. Replies have one, and
            the turn of the task, for the state at the start; None where nobody has valued it.
        logprobs: The sampled tokens of an agent's reply, whose texts together are ``content``, each with its logprob (of a
            local model before temperature and top_p, of a server as it defines it). Tokens that are parts of one character
            are joined, and their logprobs added. None where they were not asked for, where the server gave none, or where
            the reply was changed after it was sampled.
    """

    role: Role
    content: Words
    kind: Kind
    loss: Annotated[float, Field(ge=0, le=1)] = 0.0
    action: Words | None = None
    reward: float | None = None
    score: float | None = None
    valid_action: bool | None = None
    verdict: Verdict | None = None
    usage: Usage | None = None
    shortened: int = Field(0, ge=0)
    value: float | None = Field(None, ge=0, le=1)
    logprobs: tuple[TokenLogprob, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.logprobs is not None:
            if self.kind not in ("agent", "error"):
                raise ValueError(f"a turn of kind {self.kind!r} has no logprobs")
            if "".join(text for text, _ in self.logprobs) != self.content:
                raise ValueError("the tokens of logprobs are not the content of their turn")
        if self.kind not in _KINDS_OF_ROLE[self.role]:
            raise ValueError(f"a turn of role {self.role!r} cannot be of kind {self.kind!r}")
        if self.loss and self.role != "assistant":
            raise ValueError(f"a turn of role {self.role!r} cannot carry loss, got {self.loss}")
        return self


class Actor(_Record):
    """An agent, a teacher or a value function, as it is recorded.

    Attributes:
        name: Kind of agent, teacher or value function, e.g. ``novice``.
        model: Name of the language model, where there is one.
        params: Everything needed to make it again.
    """

    name: str
    model: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)


class Trajectory(_Record):
    """One episode: its identity, its turns, its outcome.

    Attributes:
        schema_name: Always ``step-trajectory/1``; named ``schema`` in JSON.
        env_id: Id of the environment.
        task_id: The task.
        task_type: Its type.
        split: The split it was played in.
        seed: Seed given to ``reset``.
        episode: Number of the episode within its run; None outside a run.
        protocol: Keyword arguments the environment was made with, prompt style and intervention mode.
        instruction: The task in words.
        agent: Who acted.
        teacher: Who taught; None where nobody did.
        valued_by: What the values of the turns come from; None where there are none.
        versions: Package versions and data digests.
        turns: The conversation.
        score: Final score over the maximum.
        success: The engine said that the task is fully done.
        reward: Sum of the rewards; equals ``score``.
        steps: Actions the environment carried out.
        terminated: The engine ended the episode.
        truncated: A step or error limit did.
        stop_reason: Why the episode ended.
        errors: Turns of kind ``error``.
        unknown_verdicts: Turns whose verdict is ``unknown``.
        usage: What the episode cost in all.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )

    schema_name: Literal["step-trajectory/1"] = Field("step-trajectory/1", alias="schema")
    env_id: str
    task_id: str
    task_type: str
    split: str
    seed: int | None = None
    episode: int | None = None
    protocol: dict[str, Any] = Field(default_factory=dict)
    instruction: Words
    agent: Actor
    teacher: Actor | None = None
    valued_by: Actor | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    turns: tuple[Turn, ...]
    score: float
    success: bool
    reward: float
    steps: int = Field(ge=0)
    terminated: bool
    truncated: bool
    stop_reason: StopReason
    errors: int = Field(ge=0)
    unknown_verdicts: int = Field(ge=0)
    usage: Usage = Usage()

    @model_validator(mode="after")
    def _counts_match(self) -> Self:
        errors = sum(turn.kind == "error" for turn in self.turns)
        unknown = sum(turn.verdict is not None and turn.verdict.status == "unknown" for turn in self.turns)
        if (self.errors, self.unknown_verdicts) != (errors, unknown):
            raise ValueError(
                f"the counts say {self.errors} errors and {self.unknown_verdicts} unknown verdicts, "
                f"the turns {errors} and {unknown}"
            )
        return self

    def messages(self) -> list[dict[str, Any]]:
        """Give what training needs: ``role``, ``content`` and ``loss`` (0 to 1) of every turn, in order."""
        return [{"role": turn.role, "content": turn.content, "loss": turn.loss} for turn in self.turns]

    def to_json(self) -> str:
        """Return the trajectory as one line of JSON, without the line break."""
        return self.model_dump_json(by_alias=True)

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            pydantic.ValidationError: The line is not a trajectory of this schema; the error names the field.
        """
        return cls.model_validate_json(line)
