"""Confidence intervals and paired tests for figures that were measured on tasks.

Episodes of one task are alike, so that ten episodes of one task say less than one episode of each of ten tasks. Functions
that may get several episodes of a task therefore take the task of each as its cluster, and resample or flip whole clusters.
"""

from collections.abc import Callable, Hashable, Sequence
from math import comb, sqrt
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
"""Confidence level of all intervals."""

_Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution
_RESAMPLES = 10_000
_RESAMPLES_OF_FUNCTIONS = 2000
_AT_ONCE = 1 << 22  # numbers drawn at once, to bound memory
_ENUMERATED = 16  # clusters whose signs are flipped in every way; of more, a sample is

Item = TypeVar("Item")
_Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A figure with its 95 % interval; all None where nothing was measured.

    Attributes:
        value: The figure.
        low: Lower end.
        high: Upper end.
    """

    value: float | None
    low: float | None
    high: float | None


_NOTHING = Interval(None, None, None)


class McNemar(NamedTuple):
    """The result of McNemar's test.

    Attributes:
        only_first: Pairs in which only the first succeeded.
        only_second: Pairs in which only the second did.
        p: Exact two-sided probability of so uneven a division if the two were alike; 1.0 where no pair differs.
    """

    only_first: int
    only_second: int
    p: float


def wilson(hits: int, of: int) -> Interval:
    """Return a share with its Wilson score interval, which holds for few and for extreme counts too.

    Args:
        hits: How often it was so.
        of: How often it could have been, each independently of the others.

    Raises:
        ValueError: The hits are not from 0 to ``of``.

    Examples:
        >>> [round(number, 3) for number in wilson(9, 10)]
        [0.9, 0.596, 0.982]
    """
    if not 0 <= hits <= of:
        raise ValueError(f"hits must be from 0 to {of}, got {hits}.")
    if of == 0:
        return _NOTHING
    share, z = hits / of, _Z
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    # At 0 and at 1 the bound is the share itself, which rounding misses by a last digit.
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def clustered_bootstrap(values: Sequence[float], clusters: Sequence[Hashable], *, seed: int = 0) -> Interval:
    """Return a mean with its percentile bootstrap interval, drawing whole clusters.

    With few clusters the interval is too narrow, and with one it has no width.

    Args:
        values: What was measured.
        clusters: What each value belongs to, e.g. its task; as many as values.
        seed: Seed of the draws.

    Raises:
        ValueError: There are not as many clusters as values.
    """
    sums, counts = _by_cluster(values, clusters)
    if not len(sums):
        return _NOTHING
    low, high = _quantiles(_drawn_means(sums, counts, seed))
    return Interval(float(sums.sum() / counts.sum()), low, high)


def task_mean(values: Sequence[float], tasks: Sequence[Hashable], *, seed: int = 0) -> Interval:
    """Return a mean over episodes with its interval: Wilson's where it is a share of different tasks, else drawn by task.

    Where all succeed, or none does, a bootstrap would be sure of it after three tasks.

    Args:
        values: What was measured, episode by episode.
        tasks: The task of each.
        seed: Seed of the draws.

    Raises:
        ValueError: There are not as many tasks as values.
    """
    if len(set(tasks)) == len(tasks) == len(values) and set(values) <= {0.0, 1.0}:
        return wilson(sum(value == 1.0 for value in values), len(values))
    if set(values) in ({0.0}, {1.0}):
        number = len(set(tasks))
        return wilson(number if values[0] else 0, number)
    return clustered_bootstrap(values, tasks, seed=seed)


def paired_bootstrap(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[Hashable], *, seed: int = 0
) -> Interval:
    """Return the mean difference, second minus first, with its percentile bootstrap interval, drawing whole clusters.

    Args:
        first: What was measured of one, pair by pair.
        second: What was measured of the other.
        clusters: What each pair belongs to, e.g. its task.
        seed: Seed of the draws.

    Raises:
        ValueError: The three are not of one length.
    """
    return clustered_bootstrap(_differences(first, second).tolist(), clusters, seed=seed)


def sign_flip(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[Hashable], *, seed: int = 0, draws: int = 20_000
) -> float:
    """Test whether two are alike, by exchanging them within whole clusters at random.

    With one pair of 0 and 1 in each cluster this is McNemar's exact test. Every way to exchange is tried where at most 16
    clusters differ; otherwise a sample of them is.

    Args:
        first: What was measured of one, pair by pair.
        second: What was measured of the other.
        clusters: What each pair belongs to, e.g. its task.
        seed: Seed of the sample.
        draws: Its size.

    Returns:
        Two-sided probability of so large a difference if the two were alike.

    Raises:
        ValueError: The three are not of one length.
    """
    sums, _ = _by_cluster(_differences(first, second), clusters)
    sums = sums[sums != 0]
    found = abs(float(sums.sum())) * (1 - 1e-9)  # sums in another order differ in their last digits
    if len(sums) <= _ENUMERATED:
        bits = (np.arange(1 << len(sums))[:, None] >> np.arange(len(sums))) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ sums) >= found))
    rng = np.random.default_rng(seed)
    extreme = 0
    for size in _portions(draws, len(sums)):
        signs = 1 - 2 * rng.integers(2, size=(size, len(sums)))
        extreme += int(np.count_nonzero(np.abs(signs @ sums) >= found))
    # What was found is one of the ways to exchange, so that the probability is never 0.
    return (extreme + 1) / (draws + 1)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Test, exactly, whether two succeed equally often on the same tasks, one pair a task.

    Args:
        first: Whether one succeeded, task by task.
        second: Whether the other did.

    Raises:
        ValueError: The two are not of one length.

    Examples:
        >>> mcnemar([True] * 6 + [False], [False] * 6 + [True])
        McNemar(only_first=6, only_second=1, p=0.125)
    """
    differences = _differences(first, second)
    only_first, only_second = int(np.sum(differences < 0)), int(np.sum(differences > 0))
    differ = only_first + only_second
    tail = sum(comb(differ, k) for k in range(min(only_first, only_second) + 1))
    # Whole numbers until here: 2 ** -differ would be 0 for many tasks.
    return McNemar(only_first, only_second, min(1.0, 2 * tail / 2**differ))


def bootstrap(groups: Sequence[Item], figure: Callable[[Sequence[Item]], float | None], *, seed: int = 0) -> Interval:
    """Return any figure with its percentile bootstrap interval, drawing whole groups (what one holds belongs together).

    Args:
        groups: What was measured, group by group.
        figure: Works the figure out; None where it is not defined.
        seed: Seed of the draws.
    """
    value = figure(groups)
    if value is None:
        return _NOTHING
    rng = np.random.default_rng(seed)
    drawn = [
        figure([groups[i] for i in rng.integers(len(groups), size=len(groups))]) for _ in range(_RESAMPLES_OF_FUNCTIONS)
    ]
    return Interval(value, *_quantiles(np.array([number for number in drawn if number is not None])))


def _by_cluster(values: Sequence[float] | _Floats, clusters: Sequence[Hashable]) -> tuple[_Floats, _Floats]:
    if len(values) != len(clusters):
        raise ValueError(f"Every value belongs to a cluster: there are {len(values)} values, {len(clusters)} clusters.")
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters], dtype=np.intp)
    sums = np.bincount(index, weights=np.asarray(values, dtype=np.float64), minlength=len(numbers))
    counts = np.bincount(index, minlength=len(numbers))
    return sums.astype(np.float64), counts.astype(np.float64)


def _differences(first: Sequence[float], second: Sequence[float]) -> _Floats:
    if len(first) != len(second):
        raise ValueError(f"Pairs are needed: there are {len(first)} of the first, {len(second)} of the second.")
    return np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)


def _drawn_means(sums: _Floats, counts: _Floats, seed: int) -> _Floats:
    rng = np.random.default_rng(seed)
    means = []
    for size in _portions(_RESAMPLES, len(sums)):
        chosen = rng.integers(len(sums), size=(size, len(sums)))
        means.append(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1))
    return np.concatenate(means)


def _portions(total: int, each: int) -> list[int]:
    size = max(1, _AT_ONCE // max(1, each))
    return [min(size, total - start) for start in range(0, total, size)]


def _quantiles(drawn: _Floats) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
