"""The trajectories that a recipe is given, sorted by who acted in them and who watched."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from step_envs.training.filters import is_golden
from step_envs.trajectory import Trajectory


@dataclass(frozen=True)
class Material:
    """Trajectories of any number of runs. The record of each says what it is, so nobody has to sort the runs.

    Attributes:
        trajectories: All of them, in their order.
        golden: Those in which an expert acted.
        reflected: Those in which an agent acted and a teacher watched.
        explored: Those in which an agent acted alone.
    """

    trajectories: Sequence[Trajectory]
    golden: Sequence[Trajectory] = field(init=False)
    reflected: Sequence[Trajectory] = field(init=False)
    explored: Sequence[Trajectory] = field(init=False)

    def __post_init__(self) -> None:
        """Sort the trajectories."""
        parts: dict[str, list[Trajectory]] = {"golden": [], "reflected": [], "explored": []}
        for one in self.trajectories:
            parts[part_of(one)].append(one)
        for name, found in parts.items():
            object.__setattr__(self, name, found)

    @classmethod
    def of(cls, trajectories: Iterable[Trajectory]) -> Self:
        """Sort trajectories from any source, e.g. ``read_trajectories``."""
        return cls(list(trajectories))

    def to_play(self) -> Sequence[Trajectory]:
        """Return those whose tasks a model plays that learns by playing: the golden ones, or all if there are none."""
        return self.golden or self.trajectories

    def counts(self) -> dict[str, int]:
        """Count the trajectories of each part."""
        return {name: len(getattr(self, name)) for name in ("golden", "reflected", "explored")}


def part_of(trajectory: Trajectory) -> str:
    """Return ``golden``, ``reflected`` or ``explored``; see ``Material``."""
    if is_golden(trajectory):
        return "golden"
    return "explored" if trajectory.teacher is None else "reflected"


def with_turns(trajectory: Trajectory, turns: Iterable[Any]) -> Trajectory:
    """Return a trajectory with other turns; its outcome stays that of the episode."""
    return trajectory.model_copy(update={"turns": tuple(turns)})
