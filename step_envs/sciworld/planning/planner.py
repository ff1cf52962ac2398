"""Plans from any state of a task to success.

From the start of a task the plan is the engine's own solution, compressed. For the common simplifications it comes with the
package; otherwise it is computed once and kept on disk. An agent that follows a plan only needs the rest of it. Off every
known plan the way to success is found by trial in a second engine, which takes up to some seconds; so plans are remembered
by state. No plan is returned that was not seen to end in success, in this process or when it was kept.
"""

import os
from collections.abc import Sequence

from step_envs.sciworld.engine import DEFAULT_BACKEND, Backend
from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.gold_plans import GoldPlanCache
from step_envs.sciworld.planning.plan_compression import VERSION, compress_plan, extract_steps
from step_envs.sciworld.planning.plan_tables import shipped_plan
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
        backend: See ``Simulator``. The stock backend computes all plans itself: it is what the fast one is checked against.
        tables: Use the plans that come with the package, where there are any for the engine and the simplification.

    Attributes:
        simulator: Where actions are tried out.
    """

    def __init__(
        self,
        java: str | os.PathLike[str] | None,
        timeout: float,
        backend: Backend = DEFAULT_BACKEND,
        *,
        tables: bool = True,
    ) -> None:
        self.simulator = ReplaySimulator(java, timeout, backend)
        self._tables = tables and backend == "fast"
        self._gold_plans = GoldPlanCache("gold")
        self._compressed_plans = GoldPlanCache(f"way-{VERSION}")
        self._plans: dict[ActionHistory, list[str] | None] = {}
        self._from_start: tuple[ActionHistory, list[str]] | None = None
        self._steps: tuple[ActionHistory, list[PlanStep]] | None = None
        self._wordings: tuple[ActionHistory | None, dict[str, set[str]]] = None, {}

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

    def plan_from_start(self, state: ActionHistory) -> list[str]:
        """Return the plan from the start of a state's task; empty if the engine's own solution does not succeed."""
        task = state.beginning()
        if self._from_start is None or self._from_start[0] != task:
            known = shipped_plan(task) if self._tables else None
            self._from_start = task, self._compressed_plan(task) if known is None else known.actions
        return self._from_start[1]

    def remember_wording(self, state: ActionHistory, action: str, wording: str) -> None:
        """Remember that an action of this task's plan can be said in other words, with the same effect."""
        task = state.beginning()
        if self._wordings[0] != task:
            self._wordings = task, {}
        self._wordings[1].setdefault(normalize(wording), set()).add(normalize(action))

    def _follows(self, actions: Sequence[str], plan: Sequence[str], task: ActionHistory) -> bool:
        """Return True if actions are the first ones of a plan, in its words or in others that mean the same."""
        wordings = self._wordings[1] if self._wordings[0] == task else {}
        return len(plan) >= len(actions) and all(
            said == planned or planned in wordings.get(said, ())
            for said, planned in zip(map(normalize, actions), map(normalize, plan), strict=False)
        )

    def close(self) -> None:
        """End the engine of the simulator."""
        self.simulator.close()

    def _rest_of_known_plan(self, state: ActionHistory) -> list[str] | None:
        """Return the rest of the plan from one of the last states, or from the start, if the agent has followed it."""
        count, task = len(state.actions), state.beginning()
        for back in range(min(count, _LOOK_BACK) + 1):
            earlier = state.up_to(count - back)
            plan = self._plans.get(earlier)
            if plan is not None and len(plan) > back and self._follows(state.actions[count - back :], plan, task):
                return plan[back:]
        plan = self.plan_from_start(state)
        return plan[count:] if self._follows(state.actions, plan, task) else None

    def _search(self, state: ActionHistory) -> list[str] | None:
        task = state.beginning()
        if self._steps is None or self._steps[0] != task:
            self._steps = task, self._steps_from_start(task)
        return replan(self.simulator, state, self._steps[1])

    def _steps_from_start(self, task: ActionHistory) -> list[PlanStep]:
        known = shipped_plan(task) if self._tables else None
        if known is not None and known.entries:
            return known.steps
        # If no plan from the start is known, parts of the engine's failing solution may still lead somewhere.
        return extract_steps(self.simulator, task, self.plan_from_start(task) or self._gold_plan(task))

    def _compressed_plan(self, task: ActionHistory) -> list[str]:
        plan = self._compressed_plans.read(task)
        if plan is None:
            plan = compress_plan(self.simulator, task, self._gold_plan(task))
            self._compressed_plans.write(task, plan)
        return plan

    def _gold_plan(self, task: ActionHistory) -> list[str]:
        gold = self._gold_plans.read(task)
        if gold is None:
            gold = self.simulator.gold_path(task)
            self._gold_plans.write(task, gold)
        return gold
