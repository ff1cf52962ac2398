"""Started inside an error, how often does an agent still succeed? Paired with the same tasks without the error.

The oracle plays the first steps of each task, then a wrong step is taken, and the agent goes on from there with all of it
in its conversation (Agent-R's test, arXiv 2501.11425). Beside it the agent goes on after the oracle's steps alone, so that
what the two differ by is due to the error and nothing else.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from step_envs.collection.collector import Progress
from step_envs.endpoint import EndpointConfig
from step_envs.errors import StoreError, first_fault
from step_envs.store import read_trajectories
from step_envs.training.comparison import Difference, compare_episodes
from step_envs.training.evaluation import EvalConfig, Evaluation, Figures, evaluate, write_json
from step_envs.trajectory import Trajectory

FILE = "recovery.json"
WITH_ERROR, WITHOUT_ERROR = "with-error", "without-error"
"""Folders of the two evaluations."""


class Recovery(BaseModel):
    """How well an agent recovers.

    Attributes:
        config: What was asked.
        after: Steps of the oracle before the error; None means that they were drawn for each episode.
        with_error: Figures of the episodes that began inside an error.
        without_error: Figures of the same tasks, begun at the same place without it.
        lost: The success of both, pair by pair; ``first`` is without the error, ``second`` with it.
        recovered_of_solved: Of the pairs in which it succeeded without the error, how many it succeeded in with it.
        solved: How many those pairs are.
        left_out: Pairs left out, for the episode was over before the agent's turn, or failed on one side.
        failed: Episodes that gave no trajectory; they are played again on resume.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    schema_name: Literal["step-recovery/1"] = Field("step-recovery/1", alias="schema")
    config: EvalConfig
    after: int | None
    with_error: Figures
    without_error: Figures
    lost: Difference
    recovered_of_solved: int
    solved: int
    left_out: int
    failed: int = 0

    @classmethod
    def read(cls, out: Path) -> Self:
        """Read what ``recover`` wrote.

        Raises:
            StoreError: There is none, or it is not readable.
        """
        try:
            return cls.model_validate_json((out / FILE).read_bytes())
        except OSError as error:
            raise StoreError(f"Cannot read {out / FILE}: {error.strerror}.") from error
        except ValidationError as error:
            raise StoreError(f"{out / FILE} is not the result of a recovery test: {first_fault(error)}.") from error


def recover(
    config: EvalConfig,
    out: Path,
    *,
    after: int | None = None,
    resume: bool = False,
    concurrency: int = 1,
    access: EndpointConfig | None = None,
    on_start: Callable[[Progress], object] = lambda progress: None,
    on_progress: Callable[[Progress, Trajectory | None], object] = lambda progress, trajectory: None,
) -> Recovery:
    """Measure how well an agent recovers from an error.

    Args:
        config: What to evaluate; its agent is the one that goes on.
        out: Folder that gets two evaluations, ``with-error`` and ``without-error``, and ``recovery.json``.
        after: Steps of the oracle before the error; None draws them for each episode.
        resume: Go on with what is there.
        concurrency: Episodes in flight at once.
        access: How models behind endpoints are asked.
        on_start: Called when either begins.
        on_progress: Called after every episode of either.

    Raises:
        ValueError: The agent's specification cannot be put into another.
        StoreError: See ``evaluate``; the other errors of ``evaluate`` likewise.
    """
    played: dict[bool, list[Trajectory]] = {}
    failed = 0
    for error in (True, False):
        folder = out / (WITH_ERROR if error else WITHOUT_ERROR)
        failed += evaluate(
            config.model_copy(update={"agent": error_injection_spec(config.agent, after=after, error=error)}),
            folder,
            # A run that was killed may have come as far as the first folder only.
            resume=resume and (folder / "config.json").exists(),
            concurrency=concurrency,
            access=access,
            on_start=on_start,
            on_progress=on_progress,
        ).failed
        played[error] = list(read_trajectories(folder))
    found = summarize(config, played[True], played[False], after=after, failed=failed)
    write_json(out / FILE, found)
    return found


def summarize(
    config: EvalConfig,
    with_error: Sequence[Trajectory],
    without_error: Sequence[Trajectory],
    *,
    after: int | None = None,
    failed: int = 0,
) -> Recovery:
    """Work out the figures of episodes that were played.

    Args:
        config: What was asked.
        with_error: Episodes that began inside an error.
        without_error: The same tasks without it.
        after: Steps of the oracle before the error.
        failed: Episodes that gave no trajectory.

    Raises:
        ComparisonError: No pair is left.
    """
    from step_envs.training.evaluation import summarize as figures

    own = {
        (one.task_id, one.seed)
        for one in (*with_error, *without_error)
        if not any(turn.kind == "agent" for turn in one.turns)
    }
    # Both sides are of the same episodes: one that failed on either side says nothing about the other.
    both = {(one.task_id, one.seed) for one in with_error} & {(one.task_id, one.seed) for one in without_error} - own
    erring = [one for one in with_error if (one.task_id, one.seed) in both]
    unharmed = [one for one in without_error if (one.task_id, one.seed) in both]
    lost = compare_episodes(unharmed, erring, config.protocol, names=(WITHOUT_ERROR, WITH_ERROR))
    solved = {(one.task_id, one.seed) for one in unharmed if one.success}
    found: list[Evaluation] = [figures(config, episodes) for episodes in (erring, unharmed)]
    return Recovery(
        config=config,
        after=after,
        with_error=found[0].overall,
        without_error=found[1].overall,
        lost=lost.success,
        recovered_of_solved=sum(one.success and (one.task_id, one.seed) in solved for one in erring),
        solved=len(solved),
        left_out=len({(one.task_id, one.seed) for one in (*with_error, *without_error)} - both),
        failed=failed,
    )


def error_injection_spec(agent: str, **options: Any) -> str:
    """Write the specification of the agent that begins inside an error; see ``step_envs.agents.error_injection``.

    Raises:
        ValueError: The agent's own specification holds a semicolon.
    """
    if ";" in agent:
        raise ValueError(f"The agent {agent!r} cannot be tested for recovery: there may be no semicolon in it.")
    words = {None: "null", True: "true", False: "false"}
    given = ",".join(f"{name}={words.get(value, value)}" for name, value in options.items())
    return f"step_envs.agents.error_injection.inject_error:{given},agent={agent.replace(',', ';')}"
