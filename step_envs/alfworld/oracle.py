"""The oracle of ALFWorld: the shortest plan from any state, or the explorer's.

The planning is done in ``planning.errands`` (which knows where everything is) and in ``expert`` (which knows what has been
observed); this file puts both behind the questions that every world's oracle answers.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

from typing_extensions import override

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.expert import explore, next_step
from step_envs.alfworld.planning.errands import explain_action, shortest_plan
from step_envs.alfworld.thoughts import explain_off_plan, write_brief_thought, write_thought
from step_envs.errors import unknown_name
from step_envs.oracle import Oracle, OracleEnv
from step_envs.snapshots import Snapshot

ExpertName = Literal["shortest", "explorer"]
ThoughtStyle = Literal["varied", "brief"]


class AlfworldOracleEnv(OracleEnv, Protocol):
    """What the oracle needs of its environment; ``AlfworldEnv`` has it."""

    @property
    def engine(self) -> Engine:
        """The native engine in the state of the running episode."""

    def engine_at(self, snapshot: Snapshot) -> Engine:
        """Make a separate native engine in the state of a snapshot."""


class AlfworldOracle(Oracle[Engine]):
    """Plans in a household, with the knowledge of everything or with that of an explorer.

    Args:
        env: The environment it belongs to.
        expert: ``"shortest"`` plans a shortest way to success; ``"explorer"`` plans the way of ``expert``, which opens and
            looks until it has seen what it needs.
        thoughts: ``"varied"`` or ``"brief"``, see ``thoughts``.

    Raises:
        UnknownNameError: There is no such expert, or no such kind of thoughts.
    """

    def __init__(self, env: AlfworldOracleEnv, expert: ExpertName, thoughts: ThoughtStyle = "varied") -> None:
        super().__init__(env)
        for kind, name, known in (("expert", expert, ExpertName), ("kind of thoughts", thoughts, ThoughtStyle)):
            if name not in get_args(known):
                raise unknown_name(kind, name, get_args(known))
        self._world = env
        self._expert = expert
        self._thoughts = thoughts

    @override
    def _state_now(self) -> Engine:
        return self._world.engine

    @override
    def _state_of(self, snapshot: Snapshot) -> Engine:
        return snapshot.world if isinstance(snapshot.world, Engine) else self._world.engine_at(snapshot)

    @override
    def _plan(self, state: Engine, after: Sequence[str]) -> list[str] | None:
        if after:
            state = state.copy()
            for action in after:
                state.step(action)
        # The explorer's plan is the way it would really take, with the detours of an agent that has to look first.
        return shortest_plan(state) if self._expert == "shortest" else explore(state)

    @override
    def _next_action(self) -> str | None:
        if self._expert == "shortest":
            return super()._next_action()
        step = next_step(self._world.engine)
        return None if step is None else step.action

    @override
    def _thought(self, action: str) -> str:
        engine = self._world.engine
        if self._expert == "explorer":
            step = next_step(engine)
            why = step.reason if step is not None and step.action == action else None
        else:
            why = explain_action(engine, action)
        why = why or explain_off_plan(action)
        if self._thoughts == "brief":
            return write_brief_thought(why, engine.game.goal)
        seed = f"{engine.game.task}|{action}|{engine.held}|{engine.location}|{len(engine.seen)}"
        return write_thought(why, seed)

    @override
    def _is_informative(self, action: str) -> bool:
        verb, _, rest = action.strip().partition(" ")
        if verb not in ("go", "open"):
            return verb in ("look", "examine", "inventory", "help")
        engine = self._world.engine
        r = engine.game.receptacle_by_name.get(rest.removeprefix("to "))
        if r is None:
            return False
        # Asked after the action too: then the receptacle has been seen, but this very action showed it first.
        return r not in engine.seen or (engine.revealed and engine.last_command == action)
