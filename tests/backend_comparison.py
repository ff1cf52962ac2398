"""Plays the same episodes in both backends of ScienceWorld and counts differences: python tests/backend_comparison.py.

All 30 tasks, three variations each (the first, one in the middle, the last), in three sets of simplifications each. In
every episode a random agent acts; lists, looks, inventories and tables of subgoals are asked for now and then, and never
by a rule, because asking for the list moves the random stream. Meanwhile a third simulator plays something else in the
lane of the fast one. After the first episode of each task both compute the gold path, and play it.

The whole takes half an hour of CPU time, most of it the stock backend's. ``--share 0.1`` plays a tenth of the episodes.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from step_envs.sciworld.engine import Simulator
from step_envs.sciworld.tasks import TASK_TYPES

SIMPLIFICATIONS = ("easy", "", "openDoors,openContainers", "teleportAction,selfWateringFlowerPots", "eto")
STEPS = 40
ODD_INPUTS = (
    "wait",
    "wait1",
    "inventory",
    "task",
    "objects",
    "help",
    "nonsense",
    "",
    "0",
    "1",
    "look around",
    "reset task",
)
DISTURBANCES = (
    "look around",
    "wait1",
    "teleport to kitchen",
    "open door to hallway",
    "go to hallway",
    "inventory",
    "0",
)


@dataclass(frozen=True)
class ComparedEpisode:
    """A task to be played in both backends."""

    task: str
    variation: int
    simplification: str

    def __str__(self) -> str:
        return f"{self.task}/{self.variation} [{self.simplification}]"


@dataclass
class Comparison:
    """What was compared so far.

    Attributes:
        counts: Kind of answer -> how many were compared.
        differences: A line for each answer that differed.
    """

    counts: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def check(self, kind: str, where: str, stock: object, fast: object) -> None:
        """Compare two answers."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if stock != fast:
            self.differences.append(f"{where}, {kind}:\n  stock {stock!r:.500}\n  fast  {fast!r:.500}")


def episodes() -> list[ComparedEpisode]:
    """Return three variations of each task, each in three sets of simplifications."""
    found = []
    for number, (task, type_) in enumerate(TASK_TYPES.items()):
        for place, variation in enumerate((0, type_.variations // 2, type_.variations - 1)):
            for shift in range(3):
                simplification = SIMPLIFICATIONS[(number + place + shift) % len(SIMPLIFICATIONS)]
                found.append(ComparedEpisode(task, variation, simplification))
    return found


class BackendPair:
    """A simulator of each backend, and one that disturbs the lane of the fast one."""

    def __init__(self, timeout: float = 600.0) -> None:
        self.stock = Simulator(timeout=timeout, backend="stock")
        self.fast = Simulator(timeout=timeout, backend="fast")
        self.disturber = Simulator(timeout=timeout, backend="fast")
        self.comparison = Comparison()
        self._dice = random.Random(7)

    def close(self) -> None:
        """End the simulators."""
        for simulator in (self.stock, self.fast, self.disturber):
            simulator.close()

    def play_at_random(self, episode: ComparedEpisode, steps: int) -> None:
        """Play an episode with a random agent."""
        dice = random.Random(str(episode))
        self._load(episode)
        valid = self._valid(f"{episode} at the start") if dice.random() < 0.7 else ("look around", "wait1")
        for step in range(steps):
            where = f"{episode} step {step}"
            self._disturb()
            action = dice.choice(ODD_INPUTS) if dice.random() < 0.12 else self._choose(dice, valid)
            asks = self._step(f"{where} {action!r}", action)
            self._disturb()
            if asks or dice.random() < 0.2:
                valid = self._valid(where)
            if dice.random() < 0.1:
                self._check("goal progress", where, Simulator.goal_progress)

    def play_gold_path(self, episode: ComparedEpisode, most_steps: int = 1000) -> None:
        """Compute the gold path in both backends, then play it."""
        self._load(episode)
        self._check("gold path", str(episode), Simulator.gold_path)
        for step, action in enumerate(self.fast.gold_path()[:most_steps]):
            self._step(f"{episode} gold step {step} {action!r}", action)
        self._check("goal progress", f"{episode} after its gold path", Simulator.goal_progress)

    def _load(self, episode: ComparedEpisode) -> None:
        task = (episode.task, episode.variation, episode.simplification)
        self.comparison.check("reset", str(episode), self.stock.load(*task), self.fast.load(*task))
        self._check("task description", str(episode), Simulator.task_description)
        self._check_view(str(episode))

    def _step(self, where: str, action: str) -> bool:
        """Carry out an action in both; return whether the engine now asks which object is meant."""
        stock, fast = self.stock.step(action), self.fast.step(action)
        self.comparison.check("step", where, stock, fast)
        self._check_view(where)
        return stock.observation.startswith("Ambiguous")

    def _check_view(self, where: str) -> None:
        self._check("look", where, Simulator.look)
        self._check("inventory", where, Simulator.inventory)

    def _valid(self, where: str) -> tuple[str, ...]:
        self._check("list", where, Simulator.valid_actions)
        return self.stock.valid_actions()

    def _check(self, kind: str, where: str, ask) -> None:  # type: ignore[no-untyped-def]
        self.comparison.check(kind, where, ask(self.stock), ask(self.fast))

    def _disturb(self) -> None:
        if not self.disturber.loaded or self._dice.random() < 0.02:
            task = self._dice.choice(list(TASK_TYPES))
            self.disturber.load(
                task, self._dice.randrange(TASK_TYPES[task].variations), self._dice.choice(["easy", "", "eto"])
            )
        if self._dice.random() < 0.5:
            self.disturber.step(self._dice.choice(DISTURBANCES))
        if self._dice.random() < 0.1:
            self.disturber.valid_actions()

    @staticmethod
    def _choose(dice: random.Random, valid: Sequence[str]) -> str:
        # A wrong focus ends the episode; the list has one for each object.
        fitting = [action for action in valid if not action.startswith("focus")] or list(valid)
        # Kinds first: nine tenths of a long list are pairs of objects to pour, dunk or connect.
        kind = dice.choice(sorted({action.split(" ")[0] for action in fitting}))
        return dice.choice([action for action in fitting if action.split(" ")[0] == kind])


def compare(share: float, steps: int = STEPS, *, gold: bool = True) -> Iterator[Comparison]:
    """Play a share of all episodes in both backends; yield the comparison after each."""
    pair = BackendPair()
    try:
        chosen = episodes()
        chosen = chosen[:: max(1, round(1 / share))]
        tasks: set[str] = set()
        for episode in chosen:
            pair.play_at_random(episode, steps)
            if gold and episode.task not in tasks:
                tasks.add(episode.task)
                pair.play_gold_path(episode)
            yield pair.comparison
    finally:
        pair.close()


def main() -> None:
    """Print a line for each episode, all differences, and the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--share", type=float, default=1.0, help="share of the episodes to play, from 0 to 1")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of an episode")
    parser.add_argument("--no-gold", action="store_true", help="compute no gold paths")
    given = parser.parse_args()
    shown, comparison = 0, Comparison()
    for number, comparison in enumerate(compare(given.share, given.steps, gold=not given.no_gold), start=1):
        for difference in comparison.differences[shown:]:
            sys.stdout.write(f"{difference}\n")
        shown = len(comparison.differences)
        sys.stdout.write(f"episode {number}: {comparison.counts.get('step', 0)} steps, {shown} differences\n")
        sys.stdout.flush()
    counts = ", ".join(f"{count} x {kind}" for kind, count in comparison.counts.items())
    sys.stdout.write(f"{counts}: {len(comparison.differences)} differences\n")
    sys.exit(1 if comparison.differences else 0)


if __name__ == "__main__":
    main()
