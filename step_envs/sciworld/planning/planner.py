"""Plans from any state of a task to success.

From the start of a task the plan is the engine's own solution, compressed, and kept on disk. An agent that follows a plan
only needs the rest of it. Off every known plan the way to success is found by trial in a second engine, which takes up to
some seconds; so plans are remembered by state. No plan is returned that was not seen to end in success, in this process or
when it was put on disk.
"""

import os

from step_envs.sciworld.engine import DEFAULT_BACKEND, Backend
from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.gold_plans import GoldPlanCache
from step_envs.sciworld.planning.plan_compression import VERSION, compress_plan, extract_steps
from step_envs.sciworld.planning.replanning import replan
from step_envs.sciworld.planning.replay_simulator import ReplaySimulator
from step_envs.sciworld.planning.steps import PlanStep, normalize

_PLANS_KEPT = 4_000
_LOOK_BACK = 8


class Planner:
    """Computes and remembers plans.

    Args:
        java: See ``Simulator``.
        timeout: See ``Simulator``.
        backend: See ``Simulator``.

    Attributes:
        simulator: Where actions are tried out.
    """

    def __init__(self, java: str | os.PathLike[str] | None, timeout: float, backend: Backend = DEFAULT_BACKEND) -> None:
        self.simulator = ReplaySimulator(java, timeout, backend)
        self._gold_plans = GoldPlanCache("gold")
        self._compressed_plans = GoldPlanCache(f"way-{VERSION}")
        self._plans: dict[ActionHistory, list[str] | None] = {}
        self._from_start: tuple[ActionHistory, list[str]] | None = None
        self._steps: tuple[ActionHistory, list[PlanStep]] | None = None

    def plan(self, state: ActionHistory) -> list[str] | None:
        """Return actions that lead from a state to success; None if no plan was found."""
        if state not in self._plans:
            if len(self._plans) > _PLANS_KEPT:
                self._plans.clear()
            self._plans[state] = self._rest_of_known_plan(state) or self._search(state)
        return self._plans[state]

    def known_plan(self, state: ActionHistory) -> list[str] | None:
        """Return the plan from a state if it was computed already; never search for it."""
        return self._plans.get(state)

    def close(self) -> None:
        """End the engine of the simulator."""
        self.simulator.close()

    def _rest_of_known_plan(self, state: ActionHistory) -> list[str] | None:
        """Return the rest of the plan from one of the last states, or from the start, if the agent has followed it."""
        count = len(state.actions)
        for back in range(min(count, _LOOK_BACK) + 1):
            earlier = state.up_to(count - back)
            plan = self._plans.get(earlier)
            followed = [normalize(action) for action in state.actions[count - back :]]
            if plan is not None and [normalize(action) for action in plan[:back]] == followed and len(plan) > back:
                return plan[back:]
        plan = self._plan_from_start(state)
        followed_from_start = [normalize(action) for action in plan[:count]] == list(map(normalize, state.actions))
        return plan[count:] if followed_from_start else None

    def _search(self, state: ActionHistory) -> list[str] | None:
        task = state.beginning()
        if self._steps is None or self._steps[0] != task:
            # If no plan from the start is known, parts of the engine's failing solution may still lead somewhere.
            solution = self._plan_from_start(task) or self._gold_plan(task)
            self._steps = task, extract_steps(self.simulator, task, solution)
        return replan(self.simulator, state, self._steps[1])

    def _plan_from_start(self, state: ActionHistory) -> list[str]:
        task = state.beginning()
        if self._from_start is None or self._from_start[0] != task:
            plan = self._compressed_plans.read(task)
            if plan is None:
                plan = compress_plan(self.simulator, task, self._gold_plan(task))
                self._compressed_plans.write(task, plan)
            self._from_start = task, plan
        return self._from_start[1]

    def _gold_plan(self, task: ActionHistory) -> list[str]:
        gold = self._gold_plans.read(task)
        if gold is None:
            gold = self.simulator.gold_path(task)
            self._gold_plans.write(task, gold)
        return gold
