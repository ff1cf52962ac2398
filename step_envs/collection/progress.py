"""The figures of a collection while it runs, and its summary."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from step_envs.outcomes import EpisodeOutcome, TurnOutcome
from step_envs.trajectory import Trajectory, Turn, Usage


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
    never_began: int = 0
    last_problem: str = ""
    reward: float = 0.0
    stop_reasons: Counter[str] = field(default_factory=Counter)
    by_type: dict[str, list[float]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    paid: Usage | None = None
    saved: Usage = field(default_factory=Usage)
    reasons: Counter[str] = field(default_factory=Counter)
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
        for turn in trajectory.turns:
            if turn.verdict is not None and turn.verdict.status == "unknown":
                self.last_problem = turn.verdict.reason or self.last_problem
        self.reward += trajectory.reward
        self.stop_reasons[trajectory.stop_reason] += 1
        of_type = self.by_type.setdefault(trajectory.task_type, [0, 0, 0.0])
        of_type[0] += 1
        of_type[1] += trajectory.success
        of_type[2] += trajectory.reward
        self.usage += trajectory.usage

    def of_no_use(self) -> str | None:
        """Say in a sentence why nothing in the run is worth anything; None if that is not so.

        A teacher that never answers and an agent that never begins leave whole files behind, which look like data.
        """
        if self.unknown and not self.judged:
            return f"The teacher has not given a single verdict, in {self.unknown:,} steps. {self.last_problem}".strip()
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
    """Count the verdicts that a teacher gave. The step that completes a task is right without one being asked."""
    given = [t.verdict for t in trajectory.turns if t.verdict is not None and t.verdict.status != "unknown"]
    unasked = trajectory.success and bool(given) and given[-1].status == "ok" and given[-1].usage is None
    return len(given) - unasked
