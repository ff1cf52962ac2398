"""Compare two evaluations on the same tasks, in pairs, and test whether one agent is better.

Two success rates with overlapping intervals can still differ, because easy and hard tasks are the same for both. So
every episode is compared with the other agent's episode on the same task. A difference is reported only if both the
interval and the test find it: with few tasks, a bootstrap interval alone is too narrow.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from step_envs.errors import StepEnvsError
from step_envs.registration import known_class
from step_envs.statistics import Interval, mcnemar, paired_bootstrap, sign_flip
from step_envs.store import read_trajectories
from step_envs.training.evaluation import EvalConfig, Evaluation, reward_of
from step_envs.trajectory import Trajectory

_ALIKE = ("env", "split", "protocol", "env_options", "style")
"""Settings that two evaluations must have in common; their tasks are matched by id."""
_ALPHA = 0.05

ComparisonVerdict = Literal["no difference", "first is better", "second is better"]


class ComparisonError(StepEnvsError, ValueError):
    """Two evaluations cannot be compared."""


class Difference(BaseModel):
    """A figure of both agents, and the difference between them.

    Attributes:
        first: Figure of the first agent.
        second: Figure of the second agent.
        difference: Second minus first, with its 95 % bootstrap interval that draws whole tasks.
        p: Two-sided p-value. For success with one episode per task, McNemar's exact test; otherwise a permutation test that
            exchanges the two agents within whole tasks.
        verdict: ``no difference`` if the interval contains 0 or ``p`` >= 0.05.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: float | None
    second: float | None
    difference: Interval
    p: float
    verdict: ComparisonVerdict


class Comparison(BaseModel):
    """Result of a comparison.

    Attributes:
        first: Folder of the first evaluation.
        second: Folder of the second.
        episodes: Pairs of episodes.
        tasks: Tasks of these episodes.
        unpaired: Episodes without a partner in the other evaluation; they are left out.
        success: Share of episodes that succeeded.
        reward: Average reward.
        only_first: Pairs in which only the first agent succeeded.
        only_second: Pairs in which only the second agent succeeded.
        tasks_only_first: Tasks in which the first agent succeeded more often.
        tasks_only_second: Tasks in which the second agent succeeded more often.
        by_task_type: Success for each type. With many types, one of them may differ by chance.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    schema_name: Literal["step-comparison/1"] = Field("step-comparison/1", alias="schema")
    first: str
    second: str
    episodes: int
    tasks: int
    unpaired: int
    success: Difference
    reward: Difference
    only_first: int
    only_second: int
    tasks_only_first: tuple[str, ...]
    tasks_only_second: tuple[str, ...]
    by_task_type: dict[str, Difference]


class _Pair(NamedTuple):
    first: Trajectory
    second: Trajectory


def compare(first: Path, second: Path) -> Comparison:
    """Compare two evaluations on the tasks that both played.

    Args:
        first: Folder of one evaluation.
        second: Folder of the other.

    Raises:
        StoreError: One of the folders holds no evaluation.
        ComparisonError: The evaluations differ in environment, split or protocol, or share no task.
    """
    one, other = Evaluation.read(first).config, Evaluation.read(second).config
    _check_alike(one, other, first, second)
    of_first, of_second = list(read_trajectories(first)), list(read_trajectories(second))
    if one.protocol == "eto":
        _check_same_protocol(of_first, of_second, first, second)
    return compare_episodes(of_first, of_second, one.protocol, names=(str(first), str(second)))


def compare_episodes(
    first: Sequence[Trajectory],
    second: Sequence[Trajectory],
    protocol: Literal["own", "eto"] = "own",
    *,
    names: tuple[str, str] = ("first", "second"),
) -> Comparison:
    """Compare episodes of two agents, paired by task and, within a task, in the order they were played in.

    Args:
        first: Episodes of the first agent.
        second: Episodes of the second agent.
        protocol: The protocol that defines the reward; see ``EvalConfig``.
        names: Names of the two agents, for the result and for errors.

    Raises:
        ComparisonError: The agents share no task.
    """
    one, other = _numbered(first), _numbered(second)
    pairs = [_Pair(one[key], other[key]) for key in one if key in other]
    if not pairs:
        raise ComparisonError(f"{names[0]} and {names[1]} have no task in common.")
    by_type: dict[str, list[_Pair]] = {}
    gained: dict[str, int] = {}
    for pair in pairs:
        by_type.setdefault(pair.first.task_type, []).append(pair)
        task = pair.first.task_id
        gained[task] = gained.get(task, 0) + pair.second.success - pair.first.success
    return Comparison(
        first=names[0],
        second=names[1],
        episodes=len(pairs),
        tasks=len(gained),
        unpaired=len(first) + len(second) - 2 * len(pairs),
        success=_success(pairs),
        reward=_difference(
            [reward_of(pair.first, protocol) for pair in pairs],
            [reward_of(pair.second, protocol) for pair in pairs],
            pairs,
        ),
        only_first=sum(pair.first.success and not pair.second.success for pair in pairs),
        only_second=sum(pair.second.success and not pair.first.success for pair in pairs),
        tasks_only_first=tuple(sorted(task for task, gain in gained.items() if gain < 0)),
        tasks_only_second=tuple(sorted(task for task, gain in gained.items() if gain > 0)),
        by_task_type={name: _success(by_type[name]) for name in sorted(by_type)},
    )


def _check_alike(one: EvalConfig, other: EvalConfig, first: Path, second: Path) -> None:
    for name in _ALIKE:
        mine, others = getattr(one, name), getattr(other, name)
        if mine != others:
            raise ComparisonError(
                f"{first} and {second} cannot be compared: the {name.replace('_', ' ')} of the first is {mine!r}, of the "
                f"second {others!r}."
            )


def _check_same_protocol(of_first: list[Trajectory], of_second: list[Trajectory], first: Path, second: Path) -> None:
    """Refuse evaluations that were made when the protocol still had other options."""
    names = known_class(of_first[0].env_id).eto_options if of_first else ()
    for name in names:
        mine, others = ({one.protocol.get("env", {}).get(name) for one in played} for played in (of_first, of_second))
        if of_second and mine != others:
            raise ComparisonError(
                f"{first} and {second} cannot be compared: ETO's protocol had {name}={_listed(mine)} in the first and "
                f"{name}={_listed(others)} in the second, as earlier versions had: evaluate that one anew."
            )


def _listed(values: set[Any]) -> str:
    return " or ".join(sorted(map(repr, values)))


def _numbered(trajectories: Sequence[Trajectory]) -> dict[tuple[str, int], Trajectory]:
    seen: dict[str, int] = {}
    numbered = {}
    for one in sorted(trajectories, key=lambda one: one.episode or 0):
        number = seen[one.task_id] = seen.get(one.task_id, -1) + 1
        numbered[one.task_id, number] = one
    return numbered


def _success(pairs: Sequence[_Pair]) -> Difference:
    return _difference(
        [float(pair.first.success) for pair in pairs], [float(pair.second.success) for pair in pairs], pairs
    )


def _difference(first: Sequence[float], second: Sequence[float], pairs: Sequence[_Pair]) -> Difference:
    tasks = [pair.first.task_id for pair in pairs]
    difference = paired_bootstrap(first, second, tasks)
    if len(set(tasks)) == len(tasks) and {*first, *second} <= {0.0, 1.0}:
        p = mcnemar([value == 1 for value in first], [value == 1 for value in second]).p
    else:
        p = sign_flip(first, second, tasks)
    return Difference(
        first=sum(first) / len(first),
        second=sum(second) / len(second),
        difference=difference,
        p=p,
        verdict=_verdict(difference, p),
    )


def _verdict(difference: Interval, p: float) -> ComparisonVerdict:
    # With few tasks the bootstrap interval is too narrow, so the test must agree.
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high or p >= _ALPHA:
        return "no difference"
    return "second is better" if difference.low > 0 else "first is better"
