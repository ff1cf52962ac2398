"""Compare two arms over training seeds: is there a difference, is there none that matters, or can nobody tell yet?

The same recipe gives another model with every training seed, and often the seeds of one recipe differ as much as two
recipes do. A test on the pooled tasks of two seeds takes this spread for an effect: with two seeds and 300 tasks it
claims a difference that is not there in more than one experiment in ten. So the unit here is the seed. Each seed gives
one number, the difference of the two arms on the same tasks, and Student's t asks whether these numbers have a mean
other than 0.
``claim_simulation`` measures how often this rule is wrong.

Where an experiment draws everything anew for each seed (data, tasks, original model), its intervals are about all of that.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from step_envs.errors import missing_package
from step_envs.statistics import Interval

ALPHA = 0.05
"""Probability of a false claim that we accept, over all comparisons of an experiment together."""
MARGIN = 0.05
"""A difference in success below this does not matter: five points."""
_ENUMERATED = 16  # seeds whose signs are flipped in every way; of more, a sample is
_FLIPS = 100_000

SeedVerdict = Literal["a difference", "no difference that matters", "undecided"]


class SeedTest(NamedTuple):
    """What the differences of some seeds say.

    Attributes:
        seeds: Number of seeds.
        difference: Their mean, with Student's 95 % interval; the ends are None with one seed.
        sd: Standard deviation between seeds; None with one seed.
        p: Two-sided p-value of Student's t; 1.0 with one seed, and where all seeds give the same number.
        p_flips: The same of the permutation test that exchanges the two arms within seeds. It assumes less, and cannot be
            below ``2 ** (1 - seeds)``.
        p_equivalence: p-value of the two one-sided tests against differences of ``margin`` and more; 1.0 where ``p`` cannot
            be computed.
        margin: The smallest difference that matters.
    """

    seeds: int
    difference: Interval
    sd: float | None
    p: float
    p_flips: float
    p_equivalence: float
    margin: float


def seed_test(differences: Sequence[float], *, margin: float = MARGIN) -> SeedTest:
    """Test the differences of seeds.

    Args:
        differences: One number per seed: mean of the second arm less mean of the first, on the same tasks.
        margin: The smallest difference that matters.

    Raises:
        ValueError: There is no seed, or the margin is not positive.
        gymnasium.error.DependencyNotInstalled: scipy is missing.

    Examples:
        >>> found = seed_test([0.08, 0.05, 0.09, 0.06])
        >>> [round(number, 3) for number in found.difference], round(found.p, 4)
        ([0.07, 0.041, 0.099], 0.0046)
    """
    if not differences:
        raise ValueError("There is no seed to compare.")
    if not margin > 0:
        raise ValueError(f"margin must be above 0, got {margin}.")
    difference, count = seed_interval(differences), len(differences)
    mean = difference.value or 0.0
    if count == 1:
        return SeedTest(1, difference, None, 1.0, 1.0, 1.0, margin)
    sd = float(np.std(differences, ddof=1))
    error = sd / math.sqrt(count)
    if error == 0:
        # Seeds that agree to the last task: possible with few tasks or with arms that never succeed. There is no spread to
        # measure the mean against, so nothing is claimed.
        p = p_equivalence = 1.0
    else:
        p = 2 * _tail(count - 1, abs(mean) / error)
        p_equivalence = _tail(count - 1, (margin - abs(mean)) / error)
    return SeedTest(
        seeds=count,
        difference=difference,
        sd=sd,
        p=p,
        p_flips=flip_seeds(differences),
        p_equivalence=p_equivalence,
        margin=margin,
    )


def seed_interval(values: Sequence[float]) -> Interval:
    """Return the mean of one number per seed with Student's 95 % interval; the ends are None with one seed."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return Interval(mean, None, None)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = _quantile(len(values) - 1, 1 - ALPHA / 2) * error
    return Interval(mean, mean - reach, mean + reach)


def flip_seeds(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of exchanging the arms within seeds: the share of exchanges with so large a mean.

    Args:
        differences: One number per seed.

    Examples:
        >>> flip_seeds([0.08, 0.05, 0.09, 0.06])
        0.125
    """
    values = np.asarray(differences, dtype=float)
    count = len(values)
    if count <= _ENUMERATED:
        bits = np.arange(2**count)[:, None] >> np.arange(count)
        signs = 1.0 - 2.0 * (bits & 1)
    else:
        drawn = np.random.default_rng(0).integers(0, 2, size=(_FLIPS, count))
        # The experiment as it was is one of the exchanges.
        signs = np.vstack([np.ones(count), 1.0 - 2.0 * drawn])
    return float(np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-12))


def verdict(p: float, p_equivalence: float) -> SeedVerdict:
    """Say what p-values, adjusted for the number of comparisons, allow to claim.

    A difference that is there but too small to matter is called a difference: its interval says how small it is.
    """
    if p < ALPHA:
        return "a difference"
    return "no difference that matters" if p_equivalence < ALPHA else "undecided"


def holm(probabilities: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, by Holm's method.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(probabilities)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(probabilities)), key=probabilities.__getitem__)):
        largest = max(largest, min(1.0, (len(probabilities) - rank) * probabilities[index]))
        adjusted[index] = largest
    return adjusted


def difference_sd(seed_sd: float, tasks: int, *, discordant: float = 0.25) -> float:
    """Return the standard deviation, between seeds, of the difference of two arms.

    Args:
        seed_sd: Standard deviation of one arm's true success between seeds, e.g. 0.037.
        tasks: Tasks that both arms play.
        discordant: Share of the tasks in which one arm succeeds and the other does not.
    """
    return math.sqrt(2 * seed_sd**2 + discordant / tasks)


def power(effect: float, sd: float, seeds: int, *, alpha: float = ALPHA) -> float:
    """Return the probability that a true difference is found.

    Args:
        effect: The true difference, e.g. 0.07.
        sd: Standard deviation between seeds of the difference; see ``difference_sd``.
        seeds: Number of seeds.
        alpha: Level of the test; divide it by the number of comparisons for the first step of Holm's method.

    Raises:
        gymnasium.error.DependencyNotInstalled: scipy is missing.

    Examples:
        >>> [round(power(0.07, difference_sd(0.037, 300), seeds), 2) for seeds in (2, 5, 8)]
        [0.11, 0.51, 0.81]
    """
    if seeds < 2:
        return 0.0
    reach = _quantile(seeds - 1, 1 - alpha / 2)
    shift = effect / (sd / math.sqrt(seeds))
    try:
        from scipy.stats import nct
    except ImportError as error:
        raise missing_package("scipy", "The statistics of an experiment", "train") from error
    # Written with -shift, the far side does not become NaN for large shifts.
    return float(nct.sf(reach, seeds - 1, shift) + nct.sf(reach, seeds - 1, -shift))


def detectable(sd: float, seeds: int, *, wanted: float = 0.8, alpha: float = ALPHA) -> float:
    """Return the smallest true difference that is found with the wanted probability; infinite with one seed.

    Args:
        sd: Standard deviation between seeds of the difference.
        seeds: Number of seeds.
        wanted: The probability.
        alpha: Level of the test.
    """
    if seeds < 2:
        return math.inf
    low, high = 0.0, sd
    while power(high, sd, seeds, alpha=alpha) < wanted:
        low, high = high, 2 * high
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, sd, seeds, alpha=alpha) < wanted else (low, middle)
    return high


def _quantile(freedom: int, probability: float) -> float:
    """Return a quantile of Student's distribution."""
    return float(_special().stdtrit(freedom, probability))


def _tail(freedom: int, value: float) -> float:
    """Return the probability that Student's t is above a value."""
    return float(_special().stdtr(freedom, -value))


def _special() -> Any:
    try:
        from scipy import special
    except ImportError as error:
        raise missing_package("scipy", "The statistics of an experiment", "train") from error
    return special
