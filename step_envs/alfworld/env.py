"""ALFWorld as a Gymnasium environment: ``STeP-ALFWorld-v0``.

The environment plays one of two engines: the native one of this package, or the original one of the package alfworld.
Only the native engine can be asked for plans and thoughts. So with the original engine, a native engine follows along: it
is made at the first question and brought to the same state by the same commands.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any, ClassVar, Literal, Unpack

from typing_extensions import override

from step_envs.alfworld.brief_texts import AlfworldBriefTexts
from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.game import Game, read_game
from step_envs.alfworld.generation.household import HouseholdSize
from step_envs.alfworld.oracle import AlfworldOracle, ExpertName, ThoughtStyle
from step_envs.alfworld.prompt import BRIEF_REACT, REACT
from step_envs.alfworld.simulation.original import OriginalEngine
from step_envs.alfworld.simulation.state import saved_commands
from step_envs.alfworld.tasks import AlfworldTasks, GameSource, find_tasks
from step_envs.core import TextEnv, TextEnvOptions, WorldState
from step_envs.errors import unknown_name
from step_envs.snapshots import Snapshot
from step_envs.spaces import require_text

BACKENDS = ("native", "textworld")


class AlfworldEnv(TextEnv):
    """Household tasks of ALFWorld: the official games, and generated households.

    ``score`` is 1.0 when the goal holds, else 0.0, and reaching the goal ends the episode. ``valid_action`` is False where
    the engine answers ``Nothing happens.`` ``details`` holds ``won`` (bool).

    Args:
        data_path: Folder or archive of official games; None looks where ``ALFWORLD_DATA`` says and in
            ``~/.cache/alfworld``.
        source: ``"official"`` or ``"generated"`` games; ``"auto"`` plays official games where they are named or found, and
            generated ones otherwise.
        household: Size of generated households: ``"full"`` is the size of official ones, ``"small"`` has 4 to 7 receptacles
            and about as many things, no two of a kind except what the task asks two of.
        backend: ``"native"`` is this package's engine; ``"textworld"`` is the original engine of the package alfworld,
            which gives the same answers thousands of times slower.
        expert: What ``oracle`` knows: ``"shortest"`` knows where everything is and takes a shortest way; ``"explorer"``
            knows what has been observed and searches for the rest.
        thoughts: Wording of the oracle's thoughts: ``"varied"`` sentences, or ``"brief"`` ones that begin with the goal and
            differ in names only, for models too small to learn more. With ``brief=True`` they are always brief.
        put_alias: Accept ``put X in/on Y`` as well as ``move X to Y`` (native backend only).
        **options: ``split``, ``task_types``, ``max_steps``, ``admissible_actions``, ``render_mode`` and ``brief``, see
            ``TextEnv``. The splits are ``train``, ``valid_seen`` and ``valid_unseen``; the task types are the six official
            ones, e.g. ``"pick_two_obj_and_place"``.

    Raises:
        UnknownNameError: A split, type, source, size, backend, expert or kind of thoughts does not exist.
        DataError: Official games were named or asked for and are not there.
        gymnasium.error.DependencyNotInstalled: ``backend="textworld"`` without the package alfworld.
    """

    env_id: ClassVar[str] = "STeP-ALFWorld-v0"
    default_split: ClassVar[str] = "train"
    react = REACT
    brief_react = BRIEF_REACT
    host_options: ClassVar[tuple[str, ...]] = ("data_path", "backend")

    def __init__(
        self,
        *,
        data_path: str | os.PathLike[str] | None = None,
        source: GameSource = "auto",
        household: HouseholdSize = "full",
        backend: Literal["native", "textworld"] = "native",
        expert: ExpertName = "shortest",
        thoughts: ThoughtStyle = "varied",
        put_alias: bool = False,
        **options: Unpack[TextEnvOptions],
    ) -> None:
        if backend not in BACKENDS:
            raise unknown_name("backend", backend, BACKENDS)
        if put_alias and backend != "native":
            raise ValueError('put_alias=True needs backend="native": the original engine knows one wording only.')
        self._tasks = find_tasks(data_path, source, household)
        super().__init__(self._tasks, **options)
        self._backend = backend
        self._put_alias = put_alias
        self._engine: Engine | None = None
        self._original: OriginalEngine | None = None
        self._playing = ""
        self._oracle = AlfworldOracle(self, expert, "brief" if self.brief else thoughts)
        if self.brief:
            self._brief_texts = AlfworldBriefTexts()

    @classmethod
    @override
    def task_set(cls, **kwargs: Any) -> AlfworldTasks:
        return find_tasks(kwargs.get("data_path"), kwargs.get("source", "auto"), kwargs.get("household", "full"))

    @property
    @override
    def oracle(self) -> AlfworldOracle:
        return self._oracle

    @property
    def engine(self) -> Engine:
        """The native engine in the state of the running episode, also with ``backend="textworld"``.

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

    def engine_at(self, snapshot: Snapshot) -> Engine:
        """Make a separate native engine in the state of a snapshot.

        Raises:
            ValueError: The snapshot's own part is not a saved state of this game.
        """
        engine = Engine(self._native_game(snapshot.task_id), put_alias=self._put_alias)
        engine.load(snapshot.world)
        return engine

    @override
    def provenance(self) -> dict[str, str]:
        digest = self._tasks.digest(self._playing) if self._playing else ""
        named = {"engine": self._backend, "game": f"sha256:{digest}"} if digest else {"engine": self._backend}
        if self._backend == "native":
            return {**named, "tables": _tables_digest()}
        return {**named, "alfworld": version("alfworld"), "textworld": version("textworld")}

    @classmethod
    @override
    def is_move(cls, action: str) -> bool:
        return require_text(action, "An action").strip().startswith("go to ")

    @classmethod
    @override
    def takes_back(cls, action: str, earlier: str) -> bool:
        verb, _, rest = require_text(action, "An action").strip().partition(" ")
        before, _, named = require_text(earlier, "An action").strip().partition(" ")
        if verb == "close":
            return before == "open" and rest == named
        thing = named.partition(" from ")[0]
        return verb in ("move", "put") and before == "take" and bool(thing) and rest.startswith(f"{thing} ")

    @override
    def close(self) -> None:
        if self._original is not None:
            self._original.close()
            self._original = None
        super().close()

    @override
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
        self._original = OriginalEngine(self._tasks.game_file(task_id), self._tasks.source_of(task_id))
        self._playing = task_id
        return self._original

    @override
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

    @override
    def _instruction(self) -> str:
        if self._original is not None and self._engine is None:
            return self._original.instruction
        return self.engine.game.instruction

    @override
    def _admissible(self) -> Sequence[str]:
        return self._original.admissible() if self._original is not None else self.engine.admissible()

    @override
    def _save(self) -> Any:
        return self._original.save() if self._original is not None else self.engine.save()

    @override
    def _remember(self) -> Any:
        return self._original.save() if self._original is not None else self.engine.copy()

    @override
    def _load(self, task_id: str, saved: Any) -> None:
        if isinstance(saved, Engine):
            self._engine, self._playing = saved.copy(), task_id
            return
        if self._backend == "native":
            engine = self._engine if self._playing == task_id and self._engine is not None else None
            engine = engine or Engine(self._tasks.game(task_id), put_alias=self._put_alias)
            engine.load(saved)
            self._engine, self._playing = engine, task_id
            return
        saved_commands(saved)  # raises before the running game is given up
        original = self._original
        if original is None or self._playing != task_id:
            original = self._load_original(task_id)
        self._engine = None
        original.load(saved)

    def _native_game(self, task_id: str) -> Game:
        if self._backend == "native":
            return self._tasks.game(task_id)
        return read_game(self._tasks.game_file(task_id), self._tasks.source_of(task_id))


@cache
def _tables_digest() -> str:
    """Return the digest of the data files that generated households are made from."""
    data = files("step_envs.alfworld").joinpath("data")
    digest = hashlib.sha256()
    for name in ("domain.pddl", "grammar.twl2", "households.json"):
        digest.update(data.joinpath(name).read_bytes())
    return f"sha256:{digest.hexdigest()}"
