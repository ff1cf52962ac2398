"""ScienceWorld behind the contract: ``STeP-SciWorld-v0``."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, ClassVar, Literal

from step_envs.core import TextEnv, WorldState
from step_envs.errors import unknown_name
from step_envs.sciworld.engine import Reply, Simulator
from step_envs.sciworld.java.jars import find_engine_jar
from step_envs.sciworld.oracle import SciWorldOracle
from step_envs.sciworld.planning.action_history import Episode
from step_envs.sciworld.planning.replay_simulator import FULL_SCORE
from step_envs.sciworld.planning.steps import NOT_UNDERSTOOD
from step_envs.sciworld.prompt import REACT
from step_envs.sciworld.tasks import SciWorldTasks

SIMPLIFICATIONS = (
    "easy",
    "teleportAction",
    "openDoors",
    "openContainers",
    "selfWateringFlowerPots",
    "noElectricalAction",
)


class SciWorldEnv(TextEnv):
    """The 30 science tasks of ScienceWorld 1.2.3, on the original engine.

    ``score`` is the engine's score over 100; a wrong ``focus on`` makes it -1.0 and ends the episode. ``success`` is a
    score of 100 and nothing else. ``valid_action`` is False when the engine did not understand the action. ``details``
    holds ``moves`` (ticks of the engine's clock), ``raw_score`` (-100 to 100), ``look`` (the room) and ``inv`` (the
    inventory). When the engine asks which of several objects is meant, its numbers are the admissible actions.

    Args:
        split: ``train``, ``dev``, ``test`` (official), ``eto_train``, ``eto_dev``, ``eto_test`` (ETO's, the
            54 tasks of its train list that are also in its dev list left out) or ``eto_train_published`` (with them).
        task_types: Names of tasks to play, e.g. ``["boil", "melt"]``; None means all 30 (ETO's splits: 24).
        simplification: The engine's simplifications, separated by commas; ``""`` means none. ``easy`` is the ETO
            protocol's: teleport, open doors, self-watering pots, and no electrical actions where the task needs none.
        max_steps: See ``TextEnv``.
        max_ticks: Ticks of the engine's clock after which an episode is truncated as well (ETO: 200); None means no limit.
        admissible_actions: See ``TextEnv``.
        render_mode: See ``TextEnv``.
        java: A Java executable; None takes ``STEP_ENVS_JAVA``, else the one that came with the package.
        timeout: Seconds after which an engine call is given up.

    Raises:
        UnknownNameError: A split, task or simplification does not exist.
        TypeError: ``simplification`` is not a string.
        ValueError: A limit is not above 0.
        gymnasium.error.DependencyNotInstalled: Java or the engine is missing.
    """

    env_id: ClassVar[str] = "STeP-SciWorld-v0"
    default_split: ClassVar[str] = "train"
    react = REACT
    eto_options: ClassVar[Mapping[str, Any]] = {"simplification": "easy", "max_ticks": 200}
    eto_reward: ClassVar[Literal["final", "highest"]] = "highest"
    waits_outside_python: ClassVar[bool] = True
    host_options: ClassVar[tuple[str, ...]] = ("java", "timeout")

    def __init__(
        self,
        *,
        split: str = "train",
        task_types: Sequence[str] | None = None,
        simplification: str = "easy",
        max_steps: int | Literal["eto"] | None = "eto",
        max_ticks: int | None = None,
        admissible_actions: bool = False,
        render_mode: str | None = None,
        java: str | os.PathLike[str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._tasks = self.task_set()
        super().__init__(
            self._tasks,
            split=split,
            task_types=task_types,
            max_steps=max_steps,
            admissible_actions=admissible_actions,
            render_mode=render_mode,
        )
        if not isinstance(simplification, str):
            raise TypeError(
                f'simplification takes names in one string, separated by commas ("" for none), got {simplification!r}.'
            )
        if isinstance(max_ticks, bool) or not (max_ticks is None or (isinstance(max_ticks, int) and max_ticks >= 1)):
            raise ValueError(f"max_ticks must be a positive int or None, got {max_ticks!r}.")
        for name in filter(None, simplification.split(",")):
            if name not in SIMPLIFICATIONS:
                raise unknown_name("simplification", name, SIMPLIFICATIONS)
        self._simplification = simplification
        self._max_ticks = max_ticks
        self._simulator = Simulator(java, timeout)
        self._oracle = SciWorldOracle(self, java, timeout)
        self._episode = Episode("", 0, simplification, ())
        self._description = ""
        self._moves = 0

    @classmethod
    def task_set(cls, **kwargs: Any) -> SciWorldTasks:
        """Give the tasks; nothing the environment is made with changes what there is."""
        return SciWorldTasks()

    @property
    def oracle(self) -> SciWorldOracle:
        """The oracle, which computes plans from the current state to success."""
        return self._oracle

    @property
    def episode(self) -> Episode:
        """The task and the actions so far: all there is to a state of this deterministic world."""
        return self._episode

    def provenance(self) -> dict[str, str]:
        """Name the versions and the digest of the engine."""
        return _engine_versions()

    def _accepts(self, action: str) -> bool:
        # The list leaves out much that the engine understands; a second simulator tries it.
        return super()._accepts(action) or self._oracle.understood(action)

    def close(self) -> None:
        """End the simulators; the last environment to close ends the Java process."""
        self._simulator.close()
        self._oracle.close()
        super().close()

    def _begin(self, task_id: str, options: Mapping[str, Any]) -> WorldState:
        name, variation = self._tasks.parse(task_id)
        return self._start(Episode(name, variation, self._simplification, ()))

    def _start(self, episode: Episode) -> WorldState:
        reply = self._simulator.load(episode.task, episode.variation, episode.simplification)
        self._episode = episode
        self._description = self._simulator.task_description()
        return self._state_after(reply)

    def _act(self, action: str) -> WorldState:
        reply = self._simulator.step(action)
        self._episode = self._episode.then(action)
        return self._state_after(reply)

    def _state_after(self, reply: Reply) -> WorldState:
        self._moves = reply.moves
        return WorldState(
            observation=reply.observation,
            score=reply.score / FULL_SCORE,
            success=reply.score == FULL_SCORE,
            done=reply.done,
            valid_action=not reply.observation.startswith(NOT_UNDERSTOOD),
            details={
                "moves": reply.moves,
                "raw_score": reply.score,
                "look": self._simulator.look(),
                "inv": self._simulator.inventory(),
            },
        )

    def _out_of_time(self) -> bool:
        return self._max_ticks is not None and self._moves > self._max_ticks

    def _instruction(self) -> str:
        return self._description

    def _admissible(self) -> Sequence[str]:
        return self._simulator.valid_actions()

    def _save(self) -> Any:
        return {"simplification": self._episode.simplification, "actions": list(self._episode.actions)}

    def _load(self, task_id: str, saved: Any) -> None:
        target = Episode.saved(self._tasks, task_id, saved)
        if not (self._simulator.loaded and self._episode.leads_to(target)):
            self._start(target.beginning())
        for action in target.actions[len(self._episode.actions) :]:
            self._act(action)


@cache
def _engine_versions() -> dict[str, str]:
    digest = hashlib.sha256(find_engine_jar().read_bytes()).hexdigest()
    return {"scienceworld": version("scienceworld"), "scienceworld.jar": f"sha256:{digest}"}
