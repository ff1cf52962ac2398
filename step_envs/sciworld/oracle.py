"""The one who knows the way in ScienceWorld, on the engine's own solution and off it."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from step_envs.oracle import Oracle
from step_envs.sciworld.planning.action_history import Episode
from step_envs.sciworld.planning.gold_plans import GoldCache
from step_envs.sciworld.planning.plan_compression import VERSION, make_way, read_steps
from step_envs.sciworld.planning.replanning import way_back
from step_envs.sciworld.planning.replay_simulator import Scout
from step_envs.sciworld.planning.steps import NOT_UNDERSTOOD, Step, normal
from step_envs.sciworld.tasks import SciWorldTasks
from step_envs.sciworld.thoughts import Situation, thought
from step_envs.snapshots import Snapshot

if TYPE_CHECKING:
    from step_envs.sciworld.env import SciWorldEnv

_LOOKS = ("look", "examine", "read", "inventory", "task", "objects", "help", "open")
_PLANS_KEPT = 4_000
_LOOK_BACK = 8


class SciWorldOracle(Oracle[Episode]):
    """Knows the way from any state, by trying it out in a simulator of its own.

    The plan from a task's start is the engine's own solution, made shorter where that was tried out; it is kept on disk.
    Off that way, the plan is found by trial: going on, taking mistakes back, doing parts again. No plan is given that was
    not seen to end in success, in this process or when it was put on disk.

    Args:
        env: The environment it belongs to.
        java: See ``Simulator``.
        timeout: See ``Simulator``.
    """

    def __init__(self, env: "SciWorldEnv", java: str | os.PathLike[str] | None, timeout: float) -> None:
        super().__init__(env)
        self._world = env
        self._tasks = SciWorldTasks()
        self._scout = Scout(java, timeout)
        self._gold = GoldCache("gold")
        self._ways = GoldCache(f"way-{VERSION}")
        self._plans: dict[Episode, list[str] | None] = {}
        self._way: tuple[Episode, list[str]] | None = None
        self._steps: tuple[Episode, list[Step]] | None = None

    def _state_now(self) -> Episode:
        return self._world.episode

    def _state_of(self, snapshot: Snapshot) -> Episode:
        return Episode.saved(self._tasks, snapshot.task_id, snapshot.world)

    def _plan(self, state: Episode, after: Sequence[str]) -> list[str] | None:
        plan = self._known(state.then(*after))
        return None if plan is None else list(plan)

    def _thought(self, action: str) -> str:
        state = self._state_now()
        situation = Situation(
            task=state.task,
            action=action,
            coming=self._coming(state, action),
            past=state.actions,
            room=self._scout.see(state).room,
            seed=f"{state.task}/{state.variation} {len(state.actions)}",
        )
        return thought(situation)

    def _is_informative(self, action: str) -> bool:
        return normal(action).partition(" ")[0] in _LOOKS

    def understood(self, action: str) -> bool:
        """Say whether the engine would understand ``action`` in the state as it now is.

        While the engine asks which of several objects is meant, anything but a number takes the question back, as the
        question itself says: that is understood.
        """
        state = self._state_now()
        observation = self._scout.see(state.then(action)).reply.observation
        return self._scout.see(state).asks or not observation.startswith(NOT_UNDERSTOOD)

    def close(self) -> None:
        """End the oracle's simulator."""
        self._scout.close()

    def _coming(self, state: Episode, action: str) -> list[str]:
        """What is to be done after an action, where it is the next one from here or, taken back, from the state before."""
        before = replace(state, actions=state.actions[:-1])
        for plan in (self._known(state), self._plans.get(before)):
            if plan and normal(plan[0]) == normal(action):
                return plan[1:]
        return []

    def _known(self, state: Episode) -> list[str] | None:
        """The plan from a state: by memory, as the rest of the plan from the state before, or by search."""
        if state not in self._plans:
            if len(self._plans) > _PLANS_KEPT:
                self._plans.clear()
            self._plans[state] = self._rest(state) or self._search(state)
        return self._plans[state]

    def _rest(self, state: Episode) -> list[str] | None:
        """What is left of the way, or of the last known plan, where the agent has followed it to here."""
        for back in range(min(len(state.actions), _LOOK_BACK) + 1):
            earlier = replace(state, actions=state.actions[: len(state.actions) - back])
            plan = self._plans.get(earlier)
            followed = [normal(action) for action in state.actions[len(earlier.actions) :]]
            if plan is not None and [normal(action) for action in plan[:back]] == followed and len(plan) > back:
                return plan[back:]
        way, count = self._from_start(state), len(state.actions)
        on_the_way = [normal(action) for action in way[:count]] == [normal(action) for action in state.actions]
        return way[count:] if on_the_way else None

    def _search(self, state: Episode) -> list[str] | None:
        task = state.beginning()
        if self._steps is None or self._steps[0] != task:
            # Where no way from the start is known, parts of the engine's failing solution may still lead somewhere.
            self._steps = task, read_steps(self._scout, task, self._from_start(task) or self._gold_path(task))
        return way_back(self._scout, state, self._steps[1])

    def _from_start(self, state: Episode) -> list[str]:
        task = state.beginning()
        if self._way is None or self._way[0] != task:
            way = self._ways.read(task)
            if way is None:
                way = make_way(self._scout, task, self._gold_path(task))
                self._ways.write(task, way)
            self._way = task, way
        return self._way[1]

    def _gold_path(self, task: Episode) -> list[str]:
        gold = self._gold.read(task)
        if gold is None:
            gold = self._scout.gold_path(task)
            self._gold.write(task, gold)
        return gold
