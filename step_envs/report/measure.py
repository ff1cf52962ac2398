"""Computes the figures of a report with their intervals: for a run, for groups of episodes, and for pairs of runs."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from step_envs.report.gathering import ERROR_KINDS, EpisodeRecord, ReplyRecord, Run, longest_common_start
from step_envs.statistics import Interval, clustered_bootstrap, mcnemar, paired_bootstrap, sign_flip, wilson
from step_envs.trajectory import ERROR_CATEGORIES

FEW = 30
"""With fewer tasks than this, the report warns that a figure rests on few."""

ALPHA = 0.05


def rate(hits: Sequence[bool], tasks: Sequence[Hashable]) -> Interval:
    """Return a share with its interval: Wilson's where every task comes once, else by drawing whole tasks.

    Where all are alike, drawing would say that there is no doubt; then it is Wilson's, as if each task came once.
    """
    several = len(set(tasks))
    if several == len(tasks):
        return wilson(sum(hits), len(hits))
    if len(set(hits)) == 1:
        return wilson(several if hits[0] else 0, several)
    if several == 1:
        return Interval(sum(hits) / len(hits), None, None)
    return clustered_bootstrap([float(hit) for hit in hits], tasks)


def mean(values: Sequence[float], tasks: Sequence[Hashable]) -> Interval:
    """Return a mean with its interval, drawing whole tasks; without one where all are alike, or of one task."""
    if len(values) and (len(set(values)) == 1 or len(set(tasks)) == 1):
        return Interval(sum(values) / len(values), None, None)
    return clustered_bootstrap(values, tasks)


@dataclass(frozen=True)
class OutcomeFigures:
    """Success, score and length of a group of episodes.

    Attributes:
        episodes: How many.
        tasks: Of how many tasks.
        success: Share that succeeded.
        reward: Mean final score, which the rewards add up to.
        steps: Mean number of steps.
    """

    episodes: int
    tasks: int
    success: Interval
    reward: Interval
    steps: Interval


def outcome(episodes: Sequence[EpisodeRecord]) -> OutcomeFigures:
    """Compute the outcome figures of a group of episodes."""
    tasks = [one.task for one in episodes]
    return OutcomeFigures(
        episodes=len(episodes),
        tasks=len(set(tasks)),
        success=rate([one.success for one in episodes], tasks),
        reward=mean([one.score for one in episodes], tasks),
        steps=mean([one.steps for one in episodes], tasks),
    )


def by_split_and_type(run: Run) -> list[tuple[str, str, OutcomeFigures]]:
    """Return split, task type and outcome of each group; a split's first line, of all its types, has the type ``all``."""
    lines = []
    for split, in_split in _groups(run.episodes, lambda one: one.split):
        lines.append((split, "all", outcome(in_split)))
        types = _groups(in_split, lambda one: one.type)
        if len(types) > 1:
            lines += [(split, name, outcome(group)) for name, group in types]
    return lines


@dataclass(frozen=True)
class Recovery:
    """How often episodes with an error still succeeded.

    Attributes:
        stumbled: Episodes with an error or a step that did nothing.
        recovered: Share of them that succeeded.
        smooth: Episodes without.
        smooth_success: Share of those that succeeded.
        corrected: Share of the errors that a correction follows.
    """

    stumbled: int
    recovered: Interval
    smooth: int
    smooth_success: Interval
    corrected: Interval


def recovery(run: Run) -> Recovery:
    """Compute how often a run's episodes recovered."""
    stumbled = [one for one in run.episodes if one.stumbled]
    smooth = [one for one in run.episodes if not one.stumbled]
    followed, tasks = [], []
    for one in run.episodes:
        for reply, following in zip(one.replies, [*one.replies[1:], None], strict=True):
            if reply.error is not None:
                followed.append(following is not None and following.correction)
                tasks.append(one.task)
    return Recovery(
        stumbled=len(stumbled),
        recovered=rate([one.success for one in stumbled], [one.task for one in stumbled]),
        smooth=len(smooth),
        smooth_success=rate([one.success for one in smooth], [one.task for one in smooth]),
        corrected=rate(followed, tasks),
    )


@dataclass(frozen=True)
class KindOfError:
    """One kind of error in a run.

    Attributes:
        kind: Its name.
        number: How many there are.
        share: Their share of all errors.
        success: Share of success among the episodes that have one.
    """

    kind: str
    number: int
    share: Interval
    success: Interval


NO_CATEGORY = "none given"
"""How an error is listed that its teacher put into no category."""


def errors_by_kind(run: Run) -> list[KindOfError]:
    """Count a run's errors by kind; kinds that do not occur are left out."""
    return _count_errors(run, ERROR_KINDS, lambda reply: reply.error)


def errors_by_category(run: Run) -> list[KindOfError]:
    """Count a run's errors by the category that the teacher gave; empty where it gave none to any."""
    if not any(reply.category for one in run.episodes for reply in one.replies):
        return []
    return _count_errors(
        run,
        [*ERROR_CATEGORIES, NO_CATEGORY],
        lambda reply: None if reply.error is None else reply.category or NO_CATEGORY,
    )


def _count_errors(run: Run, names: Sequence[str], name_of: Callable[[ReplyRecord], str | None]) -> list[KindOfError]:
    """Count the replies by their name, in the order of ``names``; replies whose name is None are no errors."""
    named = [(name_of(reply), one) for one in run.episodes for reply in one.replies]
    errors = [(name, one) for name, one in named if name is not None]
    found = []
    for kind in names:
        number = sum(name == kind for name, _ in errors)
        if not number:
            continue
        having = [one for one in run.episodes if any(name_of(reply) == kind for reply in one.replies)]
        share = rate([name == kind for name, _ in errors], [one.task for _, one in errors])
        success = rate([one.success for one in having], [one.task for one in having])
        found.append(KindOfError(kind, number, share, success))
    return found


def errors_by_step(run: Run, *, until: int = 20) -> list[tuple[str, int, Interval]]:
    """Return step number, replies and the share of them judged wrong; what comes after ``until`` is one line.

    The teacher's own replies, and those without a verdict or with an unknown one, count as steps, but not among those that
    can be wrong.
    """
    hits: dict[int, list[bool]] = {}
    tasks: dict[int, list[Hashable]] = {}
    for one in run.episodes:
        for number, reply in enumerate(one.replies, 1):
            if not reply.correction and reply.verdict in ("ok", "error"):
                at = min(number, until + 1)
                hits.setdefault(at, []).append(reply.error is not None)
                tasks.setdefault(at, []).append(one.task)
    return [
        (str(at) if at <= until else f"over {until}", len(hits[at]), rate(hits[at], tasks[at])) for at in sorted(hits)
    ]


@dataclass(frozen=True)
class Verdicts:
    """Counts of a teacher's verdicts in a run.

    Attributes:
        judged: Replies with a verdict of the teacher; the engine's word on a completed task is none.
        unjudged: Replies of the agent without one: the teacher was not asked about them.
        unknown: Share without an answer.
        error: Share called wrong.
        trained: Share of all replies, the teacher's included, that have a weight in training: neither wrong nor without
            verdict.
    """

    judged: int
    unjudged: int
    unknown: Interval
    error: Interval
    trained: Interval


def verdicts(run: Run) -> Verdicts:
    """Count the teacher's verdicts in a run."""
    said = [reply.verdict for one in run.episodes for reply in one.replies if reply.judged]
    tasks = [one.task for one in run.episodes for reply in one.replies if reply.judged]
    return Verdicts(
        judged=len(said),
        unjudged=sum(reply.unjudged for one in run.episodes for reply in one.replies),
        unknown=rate([status == "unknown" for status in said], tasks),
        error=rate([status == "error" for status in said], tasks),
        trained=rate(
            [reply.trained for one in run.episodes for reply in one.replies],
            [one.task for one in run.episodes for _ in one.replies],
        ),
    )


@dataclass(frozen=True)
class Agreement:
    """Agreement of a teacher with the oracle, on the steps that both judged after the same history.

    Attributes:
        steps: How many such steps there are.
        agreement: Share on which both say the same.
        precision: Share of what the teacher calls wrong that is.
        recall: Share of what is wrong that the teacher calls so; no verdict does not count as found.
    """

    steps: int
    agreement: Interval
    precision: Interval
    recall: Interval


def agreement(oracle: Run, other: Run) -> Agreement | None:
    """Compare verdicts with the oracle's; None where the two runs judged no step in common."""
    both: list[tuple[str, str, Hashable]] = []
    for first, second in pairs(oracle, other):
        for ours, theirs in longest_common_start(first, second):
            if ours.judged and theirs.judged and ours.verdict in ("ok", "error") and theirs.verdict is not None:
                both.append((ours.verdict, theirs.verdict, first.task))
    if not both:
        return None
    called = [(label == "error", task) for label, said, task in both if said == "error"]
    wrong = [(said == "error", task) for label, said, task in both if label == "error"]
    return Agreement(
        steps=len(both),
        agreement=rate([label == said for label, said, _ in both], [task for *_, task in both]),
        precision=rate([hit for hit, _ in called], [task for _, task in called]),
        recall=rate([hit for hit, _ in wrong], [task for _, task in wrong]),
    )


@dataclass(frozen=True)
class Difference:
    """The difference of two runs on the same tasks, second minus first.

    Attributes:
        pairs: Pairs of episodes.
        tasks: Of how many tasks.
        success: Difference of the shares of success.
        success_p: Probability of so large a one if the two were alike.
        only_first: Pairs in which only the first succeeded.
        only_second: Pairs in which only the second did.
        reward: Difference of the mean rewards.
        reward_p: Probability of so large a one if the two were alike.
    """

    pairs: int
    tasks: int
    success: Interval
    success_p: float
    only_first: int
    only_second: int
    reward: Interval
    reward_p: float

    def verdict(self) -> str:
        """Say what the difference in success amounts to; one within its interval is none."""
        low, high = self.success.low, self.success.high
        if low is None or high is None or low <= 0 <= high or self.success_p > ALPHA:
            return "no difference shown"
        return "second better" if low > 0 else "first better"


def difference(first: Run, second: Run) -> Difference | None:
    """Compare two runs on the tasks that both played; None where there is none."""
    matched = pairs(first, second)
    if not matched:
        return None
    tasks = [one.task for one, _ in matched]
    successes = [one.success for one, _ in matched], [other.success for _, other in matched]
    scores = [one.score for one, _ in matched], [other.score for _, other in matched]
    as_numbers = [float(hit) for hit in successes[0]], [float(hit) for hit in successes[1]]
    test = mcnemar(*successes)
    once = len(set(tasks)) == len(tasks)
    return Difference(
        pairs=len(matched),
        tasks=len(set(tasks)),
        success=paired_bootstrap(*as_numbers, tasks),
        success_p=test.p if once else sign_flip(*as_numbers, tasks),
        only_first=test.only_first,
        only_second=test.only_second,
        reward=paired_bootstrap(*scores, tasks),
        reward_p=sign_flip(*scores, tasks),
    )


def pairs(first: Run, second: Run) -> list[tuple[EpisodeRecord, EpisodeRecord]]:
    """Pair the episodes of two runs on the same tasks: the first of each with the first, and so on."""
    waiting: dict[tuple[str, str], list[EpisodeRecord]] = {}
    for one in second.episodes:
        waiting.setdefault(one.task, []).append(one)
    counts: Counter[tuple[str, str]] = Counter()
    matched = []
    for one in first.episodes:
        others = waiting.get(one.task, [])
        if counts[one.task] < len(others):
            matched.append((one, others[counts[one.task]]))
            counts[one.task] += 1
    return matched


def _groups(
    episodes: Iterable[EpisodeRecord], key: Callable[[EpisodeRecord], str]
) -> list[tuple[str, list[EpisodeRecord]]]:
    return [(name, list(group)) for name, group in groupby(sorted(episodes, key=key), key)]
