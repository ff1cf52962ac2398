"""How well learned values agree with what happened and with exact values.

Three questions are asked separately, because an estimator can be right about one and wrong about another.

*Sum agreement*: does the value after the last reply predict the outcome of the episode? An estimator that only looks at the
end of an episode predicts every outcome and says nothing about the steps before it. *Rank agreement of states*: are they in
the same order as by the oracle? In good episodes the goal comes nearer with every step, so an estimator that merely counts
replies has them in nearly that order. *Rank agreement of changes*: are the steps in the same order, by how much each
changed the value? Counting replies says nothing about that, and it is what credit is for.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from step_envs.errors import DataError, quoted
from step_envs.trajectory import Trajectory

_DIGITS = 9
"""Equal changes are differences of other numbers; without rounding, their last digits would put them in an order."""


class SumAgreement(BaseModel):
    """How well predicted outcomes agree with outcomes.

    Attributes:
        episodes: Number of episodes.
        absolute_error: Mean of ``|predicted - outcome|``.
        squared_error: Mean of ``(predicted - outcome) ** 2``.
        r2: Share of the variance of the outcomes that is explained: 1 is exact, 0 is as good as always predicting the mean
            of these outcomes. None where all outcomes are equal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    episodes: int
    absolute_error: float
    squared_error: float
    r2: float | None


class ValueAgreement(BaseModel):
    """How well values agree with outcomes and with exact values.

    Attributes:
        outcome: Agreement of the value after the last reply with the final score.
        states: States that have both values.
        spearman: Rank correlation over all these states; None where one of the two values them all alike.
        changes: Steps: pairs of such states that follow each other in an episode.
        spearman_changes: Rank correlation of the changes of the value over all steps; None where one of the two has the
            same change everywhere.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: SumAgreement
    states: int
    spearman: float | None
    changes: int
    spearman_changes: float | None


def agreement(estimated: Iterable[Trajectory], exact: Iterable[Trajectory]) -> ValueAgreement:
    """Compare the values of the same episodes by two value functions.

    Args:
        estimated: The episodes valued by an estimator, as ``annotate`` writes them.
        exact: The same episodes in the same order, valued by the oracle.

    Returns:
        The figures, over the episodes and states that both have valued.

    Raises:
        DataError: The two are not the same episodes, or no state has both values.
    """
    outcomes: list[float] = []
    predicted: list[float] = []
    pairs: list[list[tuple[float, float]]] = []
    for number, (one, other) in enumerate(_same_episodes(estimated, exact), 1):
        if [turn.content for turn in one.turns] != [turn.content for turn in other.turns]:
            raise DataError(
                f"Episode {number} is {quoted(one.task_id)} in one run and {quoted(other.task_id)} with other turns in the "
                "other: annotate the same run twice."
            )
        last = next((turn.value for turn in reversed(one.turns) if turn.value is not None), None)
        if last is not None:
            predicted.append(last)
            outcomes.append(max(0.0, one.score))
        pairs.append(
            [
                (mine.value, theirs.value)
                for mine, theirs in zip(one.turns, other.turns, strict=True)
                if mine.value is not None and theirs.value is not None
            ]
        )
    states = [pair for episode in pairs for pair in episode]
    if not states:
        raise DataError("No state has a value in both runs: there is nothing to compare.")
    changes = [
        (round(after[0] - before[0], _DIGITS), round(after[1] - before[1], _DIGITS))
        for episode in pairs
        for before, after in pairwise(episode)
    ]
    return ValueAgreement(
        outcome=sum_agreement(predicted, outcomes),
        states=len(states),
        spearman=_spearman_of(states),
        changes=len(changes),
        spearman_changes=_spearman_of(changes),
    )


def sum_agreement(predicted: Sequence[float], outcomes: Sequence[float]) -> SumAgreement:
    """Compare predicted outcomes with outcomes, one of each for every episode.

    Raises:
        ValueError: There are none, or their numbers differ.
    """
    if not outcomes or len(predicted) != len(outcomes):
        raise ValueError(f"Each episode has one prediction and one outcome, got {len(predicted)} and {len(outcomes)}.")
    errors = np.asarray(predicted, float) - np.asarray(outcomes, float)
    squared, variance = float(np.mean(errors**2)), float(np.var(outcomes))
    return SumAgreement(
        episodes=len(outcomes),
        absolute_error=float(np.mean(np.abs(errors))),
        squared_error=squared,
        r2=1 - squared / variance if variance else None,
    )


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Compute Spearman's rank correlation; equal numbers share the mean of their ranks.

    Returns:
        From -1 to 1; None if all numbers of a side are equal, or there are fewer than two.

    Raises:
        ValueError: The two sides have different lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"A rank correlation needs pairs, got {len(first)} and {len(second)} numbers.")
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _spearman_of(pairs: Sequence[tuple[float, float]]) -> float | None:
    return spearman([one for one, _ in pairs], [other for _, other in pairs])


def _ranks(numbers: Sequence[float]) -> NDArray[Any]:
    _, group, counts = np.unique(np.asarray(numbers, float), return_inverse=True, return_counts=True)
    # The mean of the ranks that equal numbers take up together.
    ranks: NDArray[Any] = (np.cumsum(counts) - (counts - 1) / 2)[group]
    return ranks


def _same_episodes(
    first: Iterable[Trajectory], second: Iterable[Trajectory]
) -> Iterable[tuple[Trajectory, Trajectory]]:
    for one, other in zip_longest(first, second):
        if one is None or other is None:
            raise DataError("The two runs have different numbers of episodes: annotate the same run twice.")
        yield one, other
