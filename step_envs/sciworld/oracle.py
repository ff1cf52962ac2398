"""ScienceWorld's oracle: what the environment's own expert would do from the present state, and why.

It plans in a second engine (``planning/planner.py``), so that asking it never changes the episode. The second engine starts
when something has to be tried out: along a known plan, what the episode itself has shown is enough. With
``expert="explorer"`` the plan is that of ``expert.py``, which looks for things before it uses them.
"""

import os
from collections.abc import Sequence
from typing import Literal, Protocol, get_args

from typing_extensions import override

from step_envs.errors import unknown_name
from step_envs.oracle import Oracle, OracleEnv
from step_envs.sciworld.brief_texts import write_brief_goal
from step_envs.sciworld.engine import DEFAULT_BACKEND, Backend
from step_envs.sciworld.expert import explore, next_step
from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.brief_names import brief_wording, names_things
from step_envs.sciworld.planning.planner import Planner
from step_envs.sciworld.planning.replay_simulator import StateView
from step_envs.sciworld.planning.steps import NOT_UNDERSTOOD, had_no_effect, normalize
from step_envs.sciworld.tasks import SciWorldTasks
from step_envs.sciworld.thoughts import ThoughtContext, word, word_briefly, word_search
from step_envs.snapshots import Snapshot

ExpertName = Literal["shortest", "explorer"]

_INFORMATIVE_VERBS = ("look", "examine", "read", "inventory", "task", "objects", "help", "open")


class SciWorldOracleEnv(OracleEnv, Protocol):
    """What this oracle needs of its environment; ``SciWorldEnv`` has it."""

    @property
    def history(self) -> ActionHistory:
        """The task and the actions of the running episode."""

    @property
    def views(self) -> Sequence[StateView]:
        """What could be seen at the start of the running episode and after every action."""


class SciWorldOracle(Oracle[ActionHistory]):
    """Computes plans from any state by trying them out in an engine of its own.

    Args:
        env: The environment it belongs to.
        expert: ``"shortest"`` or ``"explorer"``.
        java: See ``Simulator``.
        timeout: See ``Simulator``.
        backend: See ``Simulator``.
        brief: Name things in actions as brief texts show them, and say thoughts in few words.

    Raises:
        UnknownNameError: There is no such expert.

    Attributes:
        planner: The planner, with the second engine.
    """

    def __init__(
        self,
        env: SciWorldOracleEnv,
        expert: ExpertName,
        java: str | os.PathLike[str] | None,
        timeout: float,
        backend: Backend = DEFAULT_BACKEND,
        *,
        brief: bool = False,
    ) -> None:
        super().__init__(env)
        if expert not in get_args(ExpertName):
            raise unknown_name("expert", expert, get_args(ExpertName))
        self.planner = Planner(java, timeout, backend)
        self._world = env
        self._expert = expert
        self._brief = brief
        self._tasks = SciWorldTasks()

    @override
    def _state_now(self) -> ActionHistory:
        state = self._world.history
        self.planner.simulator.remember(state, self._world.views)
        return state

    @override
    def _state_of(self, snapshot: Snapshot) -> ActionHistory:
        return ActionHistory.from_snapshot(self._tasks, snapshot.task_id, snapshot.world)

    @override
    def _plan(self, state: ActionHistory, after: Sequence[str]) -> list[str] | None:
        state = state.then(*after)
        plan = self.planner.plan(state) if self._expert == "shortest" else explore(self.planner, state)
        if plan is None or not self._brief:
            return None if plan is None else list(plan)
        said: list[str] = []
        for action in plan:
            said.append(self._in_brief(state, action))
            state = state.then(said[-1])
        return said

    @override
    def _next_action(self) -> str | None:
        if self._expert == "shortest":
            return super()._next_action()
        state = self._state_now()
        step = next_step(self.planner, state)
        if step is None or not self._brief:
            return None if step is None else step.action
        return self._in_brief(state, step.action)

    @override
    def _thought(self, action: str) -> str:
        state = self._state_now()
        context = ThoughtContext(
            task=state.task,
            action=action,
            coming=self._actions_after(state, action),
            past=state.actions,
            room=self.planner.simulator.observe(state).room,
            seed=f"{state.task}/{state.variation} {len(state.actions)}",
        )
        search = None
        if self._expert == "explorer":
            step = next_step(self.planner, state)
            if step is not None and normalize(step.action) == normalize(action):
                search = step.search
        if self._brief:
            return word_briefly(write_brief_goal(self.planner.simulator.task_description(state)), action, search)
        return word(context) if search is None else word_search(context, *search)

    @override
    def _is_informative(self, action: str) -> bool:
        return normalize(action).partition(" ")[0] in _INFORMATIVE_VERBS

    def understood(self, action: str) -> bool:
        """Return True if the engine would understand ``action`` in the present state.

        While the engine asks which of several objects is meant, anything but a number withdraws the question, as the
        question itself says: that counts as understood.
        """
        state = self._state_now()
        simulator = self.planner.simulator
        observation = simulator.observe(state.then(action)).reply.observation
        return simulator.observe(state).asks_which_object or not observation.startswith(NOT_UNDERSTOOD)

    def close(self) -> None:
        """End the oracle's engine."""
        self.planner.close()

    def _in_brief(self, state: ActionHistory, action: str) -> str:
        """Return an action of a plan from a state with the names that brief texts show, where the engine knows them."""
        if not names_things(action):
            return action
        simulator = self.planner.simulator
        now = simulator.observe(state)
        wording = brief_wording(action, now)
        if wording == action:
            return action
        after = simulator.observe(state.then(wording))
        if after.asks_which_object or had_no_effect(after.reply.observation) or after.reply.score < now.reply.score:
            return action  # the name that is seen means another thing as well
        self.planner.remember_wording(state, action, wording)
        return wording

    def _actions_after(self, state: ActionHistory, action: str) -> list[str]:
        """Return the rest of the plan after an action; empty if the action is not the next one of a plan.

        The plan of the state before counts as well: a teacher corrects a wrong action after it was carried out.
        """
        before = state.up_to(max(len(state.actions) - 1, 0))
        for plan in (self.planner.plan(state), self.planner.known_plan(before)):
            if plan and normalize(plan[0]) == normalize(action):
                return plan[1:]
        return []
