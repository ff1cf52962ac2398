"""The original engine, the package alfworld over TextWorld, behind the methods of our own engine.

It is for results that must come from the original. It takes a second to load a game and a tenth of a second for a step. Its
planner is a C library with global state that also overwrites ``sys.argv``. So a lock lets in one call at a time, and
``sys.argv`` is put back after each.
"""

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from step_envs.alfworld.simulation.state import saved_commands
from step_envs.alfworld.simulation.text import NOTHING_HAPPENS
from step_envs.errors import EngineError, missing_package

_LOCK = threading.RLock()


class OriginalEngine:
    """Plays one game on the original engine.

    Args:
        game_file: The contents of a ``game.tw-pddl``.
        source: Where they come from, for messages.

    Attributes:
        commands: Commands since the start of the game.
        accepted: The last command was understood and its precondition held.
        won: The goal holds.
        instruction: The task, as the first observation has it.
        observation: The last answer; the first observation after loading.

    Raises:
        gymnasium.error.DependencyNotInstalled: The package alfworld is not installed.
        EngineError: The engine cannot load the game.
    """

    def __init__(self, game_file: bytes, source: str) -> None:
        self._env = _make_env()
        self._source = source
        # Load from a dictionary: given a path, the engine leaves the file open.
        with self._errors_named("load"), _exclusive():
            self._env.load(json.loads(game_file))
        self._listed: list[str] = []
        self.reset()

    def reset(self) -> str:
        """Go to the start of the game and return the first observation."""
        with self._errors_named("reset"), _exclusive():
            state = self._env.reset()
        self.commands: list[str] = []
        observation = self._answer(state)
        self.instruction = observation.rpartition("Your task is to: ")[2]
        return observation

    def step(self, command: str) -> str:
        """Carry out a command and return the observation."""
        with self._errors_named("step"), _exclusive():
            state, _, _ = self._env.step(command)
        self.commands.append(command)
        return self._answer(state)

    @property
    def score(self) -> float:
        """1.0 when the goal holds, else 0.0."""
        return 1.0 if self.won else 0.0

    def admissible(self) -> list[str]:
        """List the commands that would be accepted now, sorted as strings."""
        return list(self._listed)

    def save(self) -> dict[str, Any]:
        """Return the commands that led to the present state; the engine knows no other way to get there."""
        return {"commands": list(self.commands)}

    def load(self, saved: Any) -> None:
        """Go to a state that ``save`` returned, by playing its commands again.

        Raises:
            ValueError: ``saved`` is not such a state; nothing was changed.
        """
        commands = saved_commands(saved)
        if self.commands != commands[: len(self.commands)]:
            self.reset()
        for command in commands[len(self.commands) :]:
            self.step(command)

    def close(self) -> None:
        """Close the engine."""
        with _exclusive():
            self._env.close()

    def _answer(self, state: Mapping[str, Any]) -> str:
        self.observation = observation = str(state["feedback"])
        self.accepted = observation != NOTHING_HAPPENS
        self.won = bool(state["won"])
        self._listed = list(state["admissible_commands"])
        return observation

    @contextmanager
    def _errors_named(self, call: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise EngineError(f"{self._source}: the original engine failed in {call}: {error!r}.") from error


def _make_env() -> Any:
    try:
        with _exclusive():
            import textworld
            from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
            from textworld.envs.pddl import PddlEnv
    except ImportError as error:
        raise missing_package(error.name or "alfworld", 'backend="textworld"', "alfworld") from error
    wanted = textworld.EnvInfos(feedback=True, won=True, admissible_commands=True)
    return AlfredInfos(AlfredDemangler(PddlEnv(wanted), shuffle=False))


@contextmanager
def _exclusive() -> Iterator[None]:
    """Let in one thread at a time, and put back ``sys.argv``, which the engine's planner overwrites."""
    with _LOCK:
        arguments = list(sys.argv)
        try:
            yield
        finally:
            sys.argv[:] = arguments
