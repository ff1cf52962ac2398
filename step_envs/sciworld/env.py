"""ScienceWorld behind the contract: ``STeP-SciWorld-v0``.

The state of the world is the list of actions so far: the engine can neither save nor copy its state, but it is
deterministic. So a snapshot holds the actions, and restoring one replays them, or only the missing ones if the running
episode leads there.
"""

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, ClassVar, Literal, NamedTuple, Unpack

from typing_extensions import override

from step_envs.core import TextEnv, TextEnvOptions, WorldState
from step_envs.sciworld.brief_texts import SciWorldBriefTexts
from step_envs.sciworld.engine import DEFAULT_BACKEND, Backend, EngineReply, Simulator
from step_envs.sciworld.java.jars import engine_digest
from step_envs.sciworld.oracle import ExpertName, SciWorldOracle
from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.plan_executor import can_teleport
from step_envs.sciworld.planning.replay_simulator import FULL_SCORE, StateView
from step_envs.sciworld.planning.steps import NOT_UNDERSTOOD, normalize
from step_envs.sciworld.prompt import BRIEF_REACT, REACT
from step_envs.sciworld.tasks import SCIWORLD_TASKS, SciWorldTasks, read_simplification
from step_envs.spaces import require_text

_MOVES = ("go ", "teleport to ")

_TAKEN_BACK: Mapping[str, tuple[str, ...]] = {
    "open ": ("close ",),
    "activate ": ("deactivate ",),
    "pick up ": ("put down ", "drop ", "move "),
    "connect ": ("disconnect ",),
}
"""Beginning of an action -> those of the actions that take it back, each before the name of the same thing."""

_TERTIARY = re.compile(r"(to create (\w+-\w+) paint\..*completely done, focus on the )\w+( paint\.)", re.DOTALL)
"""The instruction of a tertiary colour, whose last sentence names the intermediate colour instead of the final one."""


class _Description(NamedTuple):
    """A task in words: as the engine has it, and as it is shown."""

    engine: str
    shown: str

    @classmethod
    def of(cls, text: str, *, mend: bool) -> "_Description":
        return cls(text, _TERTIARY.sub(r"\g<1>\g<2>\g<3>", text) if mend else text)

    @property
    def mended(self) -> bool:
        return self.shown != self.engine

    def put_into(self, observation: str) -> str:
        """Mend an observation that repeats the task, as that of the action ``task``."""
        if not self.mended:
            return observation
        # The action has another heading than the description, and the same sentences below it.
        return observation.replace(self.engine.partition("\n")[2], self.shown.partition("\n")[2])


class SciWorldEnv(TextEnv):
    """The 30 science tasks of ScienceWorld 1.2.3, on the original engine.

    ``score`` is the engine's score over 100; a wrong ``focus on`` makes it -1.0 and ends the episode. ``success`` is a
    score of 100 and nothing else. ``valid_action`` is False when the engine did not understand the action. ``details``
    holds ``moves`` (ticks of the engine's clock), ``raw_score`` (-100 to 100), ``look`` (the room) and ``inv`` (the
    inventory). When the engine asks which of several objects is meant, its numbers are the admissible actions.

    The splits are ``train``, ``dev``, ``test`` (official), ``eto_train``, ``eto_dev``, ``eto_test`` (ETO's, the 54 tasks of
    its train list that are also in its dev list left out) and ``eto_train_published`` (with them). The task types are the
    names of the 30 tasks, e.g. ``["boil", "melt"]`` (ETO's splits: 24 of them).

    Args:
        simplification: The engine's simplifications and sets of them, separated by commas; ``""`` means none. ``easy`` is
            teleport, open doors, self-watering pots, and no electrical actions where the task needs none. ``eto`` is what
            ETO's published episodes were played with: teleport, open doors, self-watering pots, open containers.
        max_ticks: Ticks of the engine's clock after which an episode is truncated as well (ETO: 200); None means no limit.
        expert: What ``oracle`` knows: ``"shortest"`` knows where everything is and goes straight there; ``"explorer"`` does
            not know where things are before it has seen them, and looks for them first.
        mend_instructions: Name the right colour in the instructions of ``chemistry-mix-paint-tertiary-color``, all of which
            ask at the end for the wrong one, so that whoever obeys fails. ``details`` then holds ``mended``.
        backend: ``"fast"`` replaces the parts of the engine that take most of the time; ``"stock"`` is the engine of the
            package ``scienceworld`` without changes. Both give the same bytes, and snapshots of one restore in the other.
        java: A Java executable; None takes ``STEP_ENVS_JAVA``, else the one that came with the package.
        timeout: Seconds after which an engine call is given up.
        **options: See ``TextEnv``.

    Raises:
        EngineError: The fast backend cannot be used with the installed engine.
        UnknownNameError: A split, task, simplification, expert or backend does not exist.
        TypeError: ``simplification`` is not a string.
        ValueError: A limit is not above 0.
        gymnasium.error.DependencyNotInstalled: Java or the engine is missing.
    """

    env_id: ClassVar[str] = "STeP-SciWorld-v0"
    default_split: ClassVar[str] = "train"
    react = REACT
    brief_react = BRIEF_REACT
    # ETO's programs ask for "easy", but of its own jar (1.1.3), where that also opens containers; see docs/sciworld.md.
    eto_options: ClassVar[Mapping[str, Any]] = {"simplification": "eto", "max_ticks": 200}
    eto_reward: ClassVar[Literal["final", "highest"]] = "highest"
    waits_outside_python: ClassVar[bool] = True
    host_options: ClassVar[tuple[str, ...]] = ("backend", "java", "timeout")

    def __init__(
        self,
        *,
        simplification: str = "easy",
        max_ticks: int | None = None,
        expert: ExpertName = "shortest",
        mend_instructions: bool = False,
        backend: Backend = DEFAULT_BACKEND,
        java: str | os.PathLike[str] | None = None,
        timeout: float = 60.0,
        **options: Unpack[TextEnvOptions],
    ) -> None:
        self._tasks = self.task_set()
        super().__init__(self._tasks, **options)
        if not isinstance(simplification, str):
            raise TypeError(
                f'simplification takes names in one string, separated by commas ("" for none), got {simplification!r}.'
            )
        if isinstance(max_ticks, bool) or not (max_ticks is None or (isinstance(max_ticks, int) and max_ticks >= 1)):
            raise ValueError(f"max_ticks must be a positive int or None, got {max_ticks!r}.")
        self._simplification = read_simplification(simplification)
        self._mend_instructions = mend_instructions
        self._max_ticks = max_ticks
        self._oracle = SciWorldOracle(self, expert, java, timeout, backend, brief=self.brief)
        self._simulator = Simulator(java, timeout, backend)
        self._history = ActionHistory("", 0, self._simplification, ())
        self._views: list[StateView] = []
        self._description = _Description("", "")
        self._moves = 0
        if self.brief:
            self._brief_texts = SciWorldBriefTexts(self._last_answer, teleports=can_teleport(self._history))

    @classmethod
    @override
    def task_set(cls, **kwargs: Any) -> SciWorldTasks:
        # The tasks are those of the engine, whatever the environment is made with.
        return SCIWORLD_TASKS

    @property
    @override
    def oracle(self) -> SciWorldOracle:
        return self._oracle

    @property
    def history(self) -> ActionHistory:
        """The task and the actions so far, which identify the state of this deterministic world."""
        return self._history

    @property
    def views(self) -> Sequence[StateView]:
        """What could be seen at the start of the running episode and after every action."""
        return self._views

    @override
    def provenance(self) -> dict[str, str]:
        return _engine_versions()

    @classmethod
    @override
    def is_move(cls, action: str) -> bool:
        return normalize(require_text(action, "An action")).startswith(_MOVES)

    @classmethod
    @override
    def takes_back(cls, action: str, earlier: str) -> bool:
        now, before = (normalize(require_text(one, "An action")) for one in (action, earlier))
        for beginning, inverses in _TAKEN_BACK.items():
            if before.startswith(beginning):
                thing = before.removeprefix(beginning).partition(" to ")[0]
                return any(now.partition(" to ")[0] == f"{inverse}{thing}" for inverse in inverses)
        return False

    @override
    def _accepts(self, action: str) -> bool:
        # The engine understands much that its own list leaves out: there the oracle's engine tries the action.
        return super()._accepts(action) or self._oracle.understood(action)

    @override
    def close(self) -> None:
        self._simulator.close()
        self._oracle.close()
        super().close()

    @override
    def _begin(self, task_id: str, options: Mapping[str, Any]) -> WorldState:
        name, variation = self._tasks.parse(task_id)
        return self._start(ActionHistory(name, variation, self._simplification, ()))

    def _start(self, task: ActionHistory) -> WorldState:
        reply = self._simulator.load(task.task, task.variation, task.simplification)
        self._history, self._views = task, []
        self._description = _Description.of(self._simulator.task_description(), mend=self._mend_instructions)
        return self._state_after(reply)

    @override
    def _act(self, action: str) -> WorldState:
        reply = self._simulator.step(action)
        self._history = self._history.then(action)
        return self._state_after(reply)

    def _last_answer(self) -> str:
        return self._description.put_into(self._views[-1].reply.observation)

    def _state_after(self, reply: EngineReply) -> WorldState:
        self._moves = reply.moves
        self._views.append(StateView(reply, self._simulator.look(), self._simulator.inventory()))
        mended = {"mended": "instruction"} if self._description.mended else {}
        return WorldState(
            observation=self._description.put_into(reply.observation),
            score=reply.score / FULL_SCORE,
            success=reply.score == FULL_SCORE,
            done=reply.done,
            valid_action=not reply.observation.startswith(NOT_UNDERSTOOD),
            details={
                "moves": reply.moves,
                "raw_score": reply.score,
                "look": self._views[-1].look,
                "inv": self._views[-1].inventory,
                **mended,
            },
        )

    @override
    def _out_of_time(self) -> bool:
        return self._max_ticks is not None and self._moves > self._max_ticks

    @override
    def _instruction(self) -> str:
        return self._description.shown

    @override
    def _admissible(self) -> Sequence[str]:
        return self._simulator.valid_actions()

    @override
    def _save(self) -> Any:
        return {"simplification": self._history.simplification, "actions": list(self._history.actions)}

    @override
    def _load(self, task_id: str, saved: Any) -> None:
        target = ActionHistory.from_snapshot(self._tasks, task_id, saved)
        if not (self._simulator.loaded and self._history.leads_to(target)):
            self._start(target.beginning())
        for action in target.actions[len(self._history.actions) :]:
            self._act(action)


@cache
def _engine_versions() -> dict[str, str]:
    return {"scienceworld": version("scienceworld"), "scienceworld.jar": f"sha256:{engine_digest()}"}
