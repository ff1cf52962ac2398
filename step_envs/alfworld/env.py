"""ALFWorld behind the contract: ``STeP-ALFWorld-v0``."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any, ClassVar, Literal

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.expert import explore, next_step
from step_envs.alfworld.games.game import Game, read_game
from step_envs.alfworld.generation.generator import Size
from step_envs.alfworld.planning.errands import reason, shortest_plan
from step_envs.alfworld.prompt import REACT
from step_envs.alfworld.simulation.original import OriginalEngine
from step_envs.alfworld.tasks import AlfworldTasks, Source, find_tasks
from step_envs.alfworld.thoughts import reason_off_plan, word, word_briefly
from step_envs.core import TextEnv, WorldState
from step_envs.errors import SnapshotError, unknown_name
from step_envs.oracle import Oracle
from step_envs.snapshots import Snapshot

BACKENDS = ("native", "textworld")
EXPERTS = ("shortest", "explorer")
THOUGHTS = ("varied", "brief")

Expert = Literal["shortest", "explorer"]
Thoughts = Literal["varied", "brief"]


class AlfworldEnv(TextEnv):
    """Household tasks of ALFWorld: the official games, and generated households.

    ``score`` is 1.0 when the goal holds, else 0.0, and reaching it ends the episode. ``valid_action`` is False where the
    engine says ``Nothing happens.`` ``details`` holds ``won`` (bool).

    Args:
        split: ``train``, ``valid_seen`` or ``valid_unseen``.
        task_types: Names out of the six official ones, e.g. ``["pick_two_obj_and_place"]``; None means all.
        data_path: Folder or archive of official games; None looks where ``ALFWORLD_DATA`` says and in
            ``~/.cache/alfworld``.
        source: ``"official"`` or ``"generated"`` games; ``"auto"`` plays official ones where they are named or found.
        household: Size of generated households: ``"full"`` is that of official ones, ``"small"`` 4 to 7 receptacles and
            about as many things, no two of a kind but what a task asks two of.
        backend: ``"native"`` is this package's engine, ``"textworld"`` the original, from the package alfworld: the same
            answers, thousands of times slower.
        expert: What ``oracle`` knows: ``"shortest"`` knows where everything is and takes the shortest way;
            ``"explorer"`` knows what has been seen, and looks for the rest.
        thoughts: How the oracle words its thoughts: ``"varied"`` sentences, or ``"brief"`` ones that begin with the goal
            and differ in names only, for models too small to learn more.
        put_alias: Accept ``put X in/on Y`` beside ``move X to Y`` and the reverse (native backend only).
        max_steps: See ``TextEnv``.
        admissible_actions: See ``TextEnv``.
        render_mode: See ``TextEnv``.

    Raises:
        UnknownNameError: A split, type, source, size, backend, expert or kind of thoughts does not exist.
        DataError: Official games were named or asked for and are not there.
        gymnasium.error.DependencyNotInstalled: ``backend="textworld"`` without the package alfworld.
    """

    env_id: ClassVar[str] = "STeP-ALFWorld-v0"
    default_split: ClassVar[str] = "train"
    react = REACT
    host_options: ClassVar[tuple[str, ...]] = ("data_path", "backend")

    def __init__(
        self,
        *,
        split: str = "train",
        task_types: Sequence[str] | None = None,
        data_path: str | os.PathLike[str] | None = None,
        source: Source = "auto",
        household: Size = "full",
        backend: Literal["native", "textworld"] = "native",
        expert: Expert = "shortest",
        thoughts: Thoughts = "varied",
        put_alias: bool = False,
        max_steps: int | Literal["eto"] | None = "eto",
        admissible_actions: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if backend not in BACKENDS:
            raise unknown_name("backend", backend, BACKENDS)
        if expert not in EXPERTS:
            raise unknown_name("expert", expert, EXPERTS)
        if thoughts not in THOUGHTS:
            raise unknown_name("kind of thoughts", thoughts, THOUGHTS)
        if put_alias and backend != "native":
            raise ValueError('put_alias=True needs backend="native": the original engine knows one wording only.')
        self._tasks = find_tasks(data_path, source, household)
        super().__init__(
            self._tasks,
            split=split,
            task_types=task_types,
            max_steps=max_steps,
            admissible_actions=admissible_actions,
            render_mode=render_mode,
        )
        self._backend = backend
        self._put_alias = put_alias
        self._engine: Engine | None = None
        self._original: OriginalEngine | None = None
        self._playing = ""
        self._oracle = AlfworldOracle(self, expert, thoughts)

    @classmethod
    def task_set(cls, **kwargs: Any) -> AlfworldTasks:
        """Find the tasks: those of ``data_path``, ``source`` and ``household``."""
        return find_tasks(kwargs.get("data_path"), kwargs.get("source", "auto"), kwargs.get("household", "full"))

    @property
    def oracle(self) -> "AlfworldOracle":
        """The oracle, which computes plans from the current state to success."""
        return self._oracle

    @property
    def engine(self) -> Engine:
        """The native engine at the state as it now is; with ``backend="textworld"`` it follows along.

        Raises:
            DataError: The native engine does not know this game's release.
            gymnasium.error.ResetNeeded: No episode was begun, or the last ``reset`` failed.
            gymnasium.error.ClosedEnvironmentError: The environment is closed.
        """
        if self._state is None:
            self.require_episode("asking the oracle")
        if self._engine is None:
            self._engine = Engine(self._native_game(self._playing))
            if self._original is not None:
                for command in self._original.commands:
                    self._engine.step(command)
        return self._engine

    def provenance(self) -> dict[str, str]:
        """Name the engine, its version, and the digest of the current task's game file."""
        digest = hashlib.sha256(self._tasks.file(self._playing)).hexdigest() if self._playing else ""
        named = {"engine": self._backend, "game": f"sha256:{digest}"} if digest else {"engine": self._backend}
        if self._backend == "native":
            return {**named, "tables": _tables_digest()}
        return {**named, "alfworld": version("alfworld"), "textworld": version("textworld")}

    def close(self) -> None:
        """End the original engine where one runs."""
        if self._original is not None:
            self._original.close()
            self._original = None
        super().close()

    def engine_at(self, snapshot: Snapshot) -> Engine:
        """Make a separate native engine in the state of a snapshot."""
        engine = Engine(self._native_game(snapshot.task_id), put_alias=self._put_alias)
        _bring_to(engine, snapshot.world)
        return engine

    def engine_after(self, engine: Engine, actions: Sequence[str]) -> Engine:
        """Make a separate native engine in the state that actions lead to from another engine's state."""
        later = Engine(engine.game, put_alias=self._put_alias)
        later.load(engine.save())
        for action in actions:
            later.step(action)
        return later

    def _begin(self, task_id: str, options: Mapping[str, Any]) -> WorldState:
        if self._backend == "native":
            self._engine = Engine(self._tasks.game(task_id), put_alias=self._put_alias)
            self._playing = task_id
            return self._state_after(self._engine.reset(), self._engine)
        original = self._load_original(task_id)
        return self._state_after(original.observation, original)

    def _load_original(self, task_id: str) -> OriginalEngine:
        if self._original is not None:
            self._original.close()
        self._engine = self._original = None
        self._original = OriginalEngine(self._tasks.file(task_id), self._tasks.where(task_id))
        self._playing = task_id
        return self._original

    def _act(self, action: str) -> WorldState:
        if self._original is None:
            return self._state_after(self.engine.step(action), self.engine)
        observation = self._original.step(action)
        if self._engine is not None:
            self._engine.step(action)
        return self._state_after(observation, self._original)

    def _state_after(self, observation: str, engine: Engine | OriginalEngine) -> WorldState:
        won = engine.won
        return WorldState(observation, engine.score, won, won, engine.accepted, {"won": won})

    def _instruction(self) -> str:
        if self._original is not None and self._engine is None:
            return self._original.instruction
        return self.engine.game.instruction

    def _admissible(self) -> Sequence[str]:
        return self._original.admissible() if self._original is not None else self.engine.admissible()

    def _save(self) -> Any:
        return self._original.save() if self._original is not None else self.engine.save()

    def _load(self, task_id: str, saved: Any) -> None:
        if self._backend == "native":
            engine = self._engine if self._playing == task_id and self._engine is not None else None
            engine = engine or Engine(self._tasks.game(task_id), put_alias=self._put_alias)
            _bring_to(engine, saved)
            self._engine, self._playing = engine, task_id
            return
        original = self._original
        if original is None or self._playing != task_id:
            original = self._load_original(task_id)
        self._engine = None
        try:
            original.load(saved)
        except ValueError as error:
            raise SnapshotError(str(error)) from error

    def _native_game(self, task_id: str) -> Game:
        if self._backend == "native":
            return self._tasks.game(task_id)
        return read_game(self._tasks.file(task_id), self._tasks.where(task_id))


class AlfworldOracle(Oracle[Engine]):
    """Knows the way in a household: by knowing everything, or by looking for what it needs.

    Args:
        env: The environment it belongs to.
        expert: ``"shortest"`` or ``"explorer"``.
        thoughts: ``"varied"`` or ``"brief"``.
    """

    def __init__(self, env: AlfworldEnv, expert: Expert, thoughts: Thoughts = "varied") -> None:
        super().__init__(env)
        self._world = env
        self._expert = expert
        self._thoughts = thoughts

    def _state_now(self) -> Engine:
        return self._world.engine

    def _state_of(self, snapshot: Snapshot) -> Engine:
        return self._world.engine_at(snapshot)

    def _plan(self, state: Engine, after: Sequence[str]) -> list[str] | None:
        engine = self._world.engine_after(state, after) if after else state
        # The explorer's plan is the way it would really take, with the detours of an agent that has to look first.
        return shortest_plan(engine) if self._expert == "shortest" else explore(engine)

    def _next_action(self) -> str | None:
        if self._expert == "shortest":
            return super()._next_action()
        step = next_step(self._world.engine)
        return None if step is None else step.command

    def _thought(self, action: str) -> str:
        engine = self._world.engine
        if self._expert == "explorer":
            step = next_step(engine)
            why = step.reason if step is not None and step.command == action else None
        else:
            why = reason(engine, action)
        why = why or reason_off_plan(action)
        if self._thoughts == "brief":
            return word_briefly(why, engine.game.goal)
        seed = f"{engine.game.task}|{action}|{engine.held}|{engine.location}|{len(engine.seen)}"
        return word(why, seed)

    def _is_informative(self, action: str) -> bool:
        """Return True if the action reveals something new: it looks, or goes to or opens what has not been seen yet."""
        verb, _, rest = action.strip().partition(" ")
        if verb not in ("go", "open"):
            return verb in ("look", "examine", "inventory", "help")
        engine = self._world.engine
        r = engine.game.receptacle_by_name.get(rest.removeprefix("to "))
        if r is None:
            return False
        return r not in engine.seen or (engine.revealed and engine.last_command == action)


def _bring_to(engine: Engine, saved: Any) -> None:
    try:
        if "commands" in saved:  # a snapshot of the original engine
            engine.reset()
            for command in saved["commands"]:
                engine.step(command)
        else:
            engine.load(saved)
    except (TypeError, ValueError, AttributeError) as error:
        raise SnapshotError(f"The snapshot's state cannot be restored: {error}") from error


@cache
def _tables_digest() -> str:
    """Digest what generated households depend on."""
    data = files("step_envs.alfworld").joinpath("data")
    digest = hashlib.sha256()
    for name in ("domain.pddl", "grammar.twl2", "households.json"):
        digest.update(data.joinpath(name).read_bytes())
    return f"sha256:{digest.hexdigest()}"
