"""Measure how often an agent still succeeds if it starts inside an error (Agent-R's test, arXiv 2501.11425).

The oracle plays the first steps of each task, then one wrong step is taken, and the agent continues from there with all
of this in its conversation. Success after an error alone would mostly measure how hard the tasks are. So the agent also
continues from the same place without the error, and what the two runs differ by is due to the error.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from step_envs.collection.progress import Progress
from step_envs.run_folder import read_model, write_model
from step_envs.store import read_trajectories
from step_envs.training.comparison import Difference, compare_episodes
from step_envs.training.evaluation import EvalConfig, Evaluation, Figures, evaluate
from step_envs.trajectory import Trajectory

FILE = "recovery.json"
WITH_ERROR, WITHOUT_ERROR = "with-error", "without-error"
"""Folders of the two evaluations."""


class Recovery(BaseModel):
    """Result of a recovery test.

    Attributes:
        config: The settings of the evaluation.
        after: Steps of the oracle before the error; None means that the number was drawn for each episode.
        with_error: Figures of the episodes that started inside an error.
        without_error: Figures of the same tasks, started at the same place without the error.
        lost: Success of both, compared in pairs; ``first`` is without the error, ``second`` with it.
        solved: Pairs in which the agent succeeded without the error.
        recovered_of_solved: Pairs among those in which it also succeeded with the error.
        left_out: Pairs left out, because the episode ended before the agent's turn, or failed on one side.
        failed: Episodes without a trajectory; they are played again on resume.
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
        return read_model(out / FILE, cls, "the result of a recovery test")


def recover(
    config: EvalConfig,
    out: Path,
    *,
    after: int | None = None,
    resume: bool = False,
    on_start: Callable[[Progress], object] = lambda progress: None,
    on_progress: Callable[[Progress, Trajectory | None], object] = lambda progress, trajectory: None,
    **changes: Any,
) -> Recovery:
    """Measure how well an agent recovers from an error.

    Args:
        config: What to evaluate, and how; its agent is the one that continues.
        out: Folder that gets two evaluations, ``with-error`` and ``without-error``, and ``recovery.json``.
        after: Steps of the oracle before the error; None draws a number for each episode.
        resume: Continue what is in the folder.
        on_start: Called when each of the two evaluations begins.
        on_progress: Called after every episode of both.
        **changes: Fields of the configuration to replace, e.g. ``concurrency=64``; see ``collect``.

    Raises:
        ValueError: The agent's specification cannot be put into another.
        StoreError: See ``evaluate``; the other errors of ``evaluate`` likewise.
    """
    config = config.with_changes(**changes)
    played: dict[bool, list[Trajectory]] = {}
    failed = 0
    for error in (True, False):
        folder = out / (WITH_ERROR if error else WITHOUT_ERROR)
        failed += evaluate(
            config.model_copy(update={"agent": error_injection_spec(config.agent, after=after, error=error)}),
            folder,
            # A run that was killed may have reached only the first folder.
            resume=resume and (folder / "config.json").exists(),
            on_start=on_start,
            on_progress=on_progress,
        ).failed
        played[error] = list(read_trajectories(folder))
    found = summarize(config, played[True], played[False], after=after, failed=failed)
    write_model(out / FILE, found)
    return found


def summarize(
    config: EvalConfig,
    with_error: Sequence[Trajectory],
    without_error: Sequence[Trajectory],
    *,
    after: int | None = None,
    failed: int = 0,
) -> Recovery:
    """Compute the result from episodes that were played.

    Args:
        config: The settings of the evaluation.
        with_error: Episodes that started inside an error.
        without_error: Episodes of the same tasks without it.
        after: Steps of the oracle before the error.
        failed: Episodes without a trajectory.

    Raises:
        ComparisonError: No pair is left.
    """
    from step_envs.training.evaluation import summarize as figures

    own = {
        (one.task_id, one.seed)
        for one in (*with_error, *without_error)
        if not any(turn.kind == "agent" for turn in one.turns)
    }
    # Compare the same episodes on both sides: an episode that failed on one side has no partner on the other.
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
    """Return the specification of the agent that starts inside an error; see ``step_envs.agents.error_injection``.

    Raises:
        ValueError: The agent's own specification holds a semicolon.
    """
    if ";" in agent:
        raise ValueError(f"The agent {agent!r} cannot be tested for recovery: there may be no semicolon in it.")
    words = {None: "null", True: "true", False: "false"}
    given = ",".join(f"{name}={words.get(value, value)}" for name, value in options.items())
    return f"step_envs.agents.error_injection.inject_error:{given},agent={agent.replace(',', ';')}"
