"""The figures of a collection while it runs, and its summary."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from step_envs.collection.failures import FailureGroups
from step_envs.outcomes import EpisodeOutcome, TurnOutcome
from step_envs.trajectory import Trajectory, Turn, Usage
from step_envs.wrappers.judged_turns import error_category, is_unjudged, judged_by_teacher


@dataclass
class Progress:
    """Progress of a collection.

    Attributes:
        planned: Episodes asked for.
        kept: Trajectories on disk.
        failed: Episodes of this session that ended without a trajectory.
        successes: Trajectories that reached the goal.
        errors: Error turns in all trajectories.
        corrections: Correction turns in all trajectories.
        judged: Verdicts that a teacher gave in all trajectories, without the unknown ones.
        unknown: Unknown verdicts in all trajectories.
        unjudged: Steps of an agent that its teacher was not asked about, in all trajectories.
        categories: How many errors in all trajectories are of which category, where the teacher said so.
        replies: Replies of the agent in all trajectories.
        with_logprobs: Those of them that have logprobs.
        never_began: Trajectories that the agent gave up before its first step.
        last_problem: Why the last verdict is unknown, or the last episode failed; empty if all is well.
        reward: Sum of the rewards.
        stop_reasons: How many episodes ended for which reason.
        by_type: For each task type: episodes, successes, and sum of rewards.
        usage: Tokens, seconds and cost of the trajectories.
        paid: Tokens and cost of all requests of the run, also those of episodes without a trajectory; None if no model was
            asked.
        saved: What answers from the cache would have cost in this session.
        reasons: Why episodes of this session ended without a trajectory: reason -> how many.
        failures: The same episodes, grouped by reason, with an example of each.
        in_flight: Episodes that are being played now.
        interrupts: How often Ctrl-C was pressed.
    """

    planned: int
    kept: int = 0
    failed: int = 0
    successes: int = 0
    errors: int = 0
    corrections: int = 0
    judged: int = 0
    unknown: int = 0
    unjudged: int = 0
    categories: Counter[str] = field(default_factory=Counter)
    replies: int = 0
    with_logprobs: int = 0
    never_began: int = 0
    last_problem: str = ""
    reward: float = 0.0
    stop_reasons: Counter[str] = field(default_factory=Counter)
    by_type: dict[str, list[float]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    paid: Usage | None = None
    saved: Usage = field(default_factory=Usage)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: FailureGroups = field(default_factory=FailureGroups)
    in_flight: int = 0
    interrupts: int = 0

    def add(self, trajectory: Trajectory | EpisodeOutcome) -> None:
        """Add a trajectory to the figures."""
        self.kept += 1
        self.successes += trajectory.success
        self.errors += trajectory.errors
        self.corrections += sum(turn.kind == "correction" for turn in trajectory.turns)
        self.unknown += trajectory.unknown_verdicts
        self.never_began += trajectory.stop_reason == "agent_stopped" and not any(map(_is_agents_own, trajectory.turns))
        self.judged += verdicts_given(trajectory)
        self.unjudged += unjudged_steps(trajectory)
        self.replies += sum(map(_is_agents_own, trajectory.turns))
        self.with_logprobs += sum(turn.logprobs is not None for turn in trajectory.turns)
        for turn in trajectory.turns:
            category = error_category(turn)
            if category is not None:
                self.categories[category] += 1
            if turn.verdict is not None and turn.verdict.status == "unknown":
                self.last_problem = turn.verdict.reason or self.last_problem
        self.reward += trajectory.reward
        self.stop_reasons[trajectory.stop_reason] += 1
        of_type = self.by_type.setdefault(trajectory.task_type, [0, 0, 0.0])
        of_type[0] += 1
        of_type[1] += trajectory.success
        of_type[2] += trajectory.reward
        self.usage += trajectory.usage

    def of_no_use(self, *, ended: bool = True) -> str | None:
        """Say in a sentence why nothing in the run is worth anything; None if that is not so.

        A teacher that never answers or is never asked, and an agent that never begins, leave whole files behind, which look
        like data.

        Args:
            ended: No episode is to come. While some are, a teacher that judges few steps may yet be asked.
        """
        if self.unknown and not self.judged:
            return f"The teacher has not given a single verdict, in {self.unknown:,} steps. {self.last_problem}".strip()
        if ended and self.unjudged and not self.judged:
            return (
                f"The teacher was asked about none of the {self.unjudged:,} steps: have it judge more of them by teach "
                "(--teach), or name no teacher."
            )
        if self.kept and self.never_began == self.kept:
            return (
                "The agent has given up every episode before its first step: most often the instructions and max_tokens "
                "together do not fit into the model's context window."
            )
        return None

    def summary(self) -> dict[str, Any]:
        """Return the figures as JSON values; rates are over the kept trajectories."""
        episodes = max(self.kept, 1)
        return {
            "episodes_planned": self.planned,
            "trajectories": self.kept,
            "failures": self.failed,
            "success_rate": self.successes / episodes,
            "average_reward": self.reward / episodes,
            "errors": self.errors,
            "corrections": self.corrections,
            "unknown_verdicts": self.unknown,
            "unjudged_steps": self.unjudged,
            "error_categories": dict(sorted(self.categories.items())),
            "replies": self.replies,
            "replies_with_logprobs": self.with_logprobs,
            "stop_reasons": dict(sorted(self.stop_reasons.items())),
            "by_task_type": {
                name: {"episodes": int(n), "success_rate": successes / n, "average_reward": reward / n}
                for name, (n, successes, reward) in sorted(self.by_type.items())
            },
            "usage": self.usage.model_dump(),
        } | ({} if self.paid is None else {"paid": self.paid.model_dump(), "saved_by_cache": self.saved.model_dump()})


def _is_agents_own(turn: Turn | TurnOutcome) -> bool:
    """Return True for a reply of the agent; the steps that were played before its turn are none."""
    return turn.kind == "agent" or (turn.kind == "error" and turn.verdict is not None)


def verdicts_given(trajectory: Trajectory | EpisodeOutcome) -> int:
    """Count the verdicts that a teacher gave, without the unknown ones."""
    turns: Sequence[Turn | TurnOutcome] = trajectory.turns
    judged = zip(turns, judged_by_teacher(trajectory), strict=True)
    return sum(own and turn.verdict is not None and turn.verdict.status != "unknown" for turn, own in judged)


def unjudged_steps(trajectory: Trajectory | EpisodeOutcome) -> int:
    """Count the agent's steps that its teacher was not asked about."""
    return sum(is_unjudged(turn, taught=trajectory.teacher is not None) for turn in trajectory.turns)
