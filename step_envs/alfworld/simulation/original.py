"""The original engine, the package alfworld over TextWorld, with the same handles as ours: for who must quote the original.

It takes a second to load a game and a tenth of a second for a step. Its planner is a C library with global state, and it
changes the command line of the whole process: only one call at a time is let in.
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

_ONE_AT_A_TIME = threading.RLock()


class OriginalEngine:
    """Plays one game on the original engine.

    Args:
        game_file: The contents of a ``game.tw-pddl``.
        source: Where it came from, for messages.

    Attributes:
        commands: What was played since the game began.
        accepted: Whether the last command was one.
        won: Whether the goal holds.
        instruction: The task, as the first observation has it.
        observation: What was answered last: the game begins when it is loaded.

    Raises:
        gymnasium.error.DependencyNotInstalled: The package alfworld is not installed.
        EngineError: The engine cannot load the game.
    """

    def __init__(self, game_file: bytes, source: str) -> None:
        self._env = _make_env()
        self._source = source
        # As a dictionary: given a path, the engine leaves the file open.
        with self._faults_named("load"), _alone():
            self._env.load(json.loads(game_file))
        self._listed: list[str] = []
        self.reset()

    def reset(self) -> str:
        """Begin the game afresh and give the first observation."""
        with self._faults_named("reset"), _alone():
            state = self._env.reset()
        self.commands: list[str] = []
        observation = self._answer(state)
        self.instruction = observation.rpartition("Your task is to: ")[2]
        return observation

    def step(self, command: str) -> str:
        """Carry out a command and give the observation."""
        with self._faults_named("step"), _alone():
            state, _, _ = self._env.step(command)
        self.commands.append(command)
        return self._answer(state)

    @property
    def score(self) -> float:
        """1.0 when the goal holds, else 0.0."""
        return 1.0 if self.won else 0.0

    def admissible(self) -> list[str]:
        """List the commands that would be accepted, in plain string order."""
        return list(self._listed)

    def save(self) -> dict[str, Any]:
        """Give the state as the commands that led to it: the engine has no other way to be brought to a state."""
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
        """End the engine."""
        with _alone():
            self._env.close()

    def _answer(self, state: Mapping[str, Any]) -> str:
        self.observation = observation = str(state["feedback"])
        self.accepted = observation != NOTHING_HAPPENS
        self.won = bool(state["won"])
        self._listed = list(state["admissible_commands"])
        return observation

    @contextmanager
    def _faults_named(self, call: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise EngineError(f"{self._source}: the original engine failed in {call}: {error!r}.") from error


def _make_env() -> Any:
    try:
        with _alone():
            import textworld
            from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
            from textworld.envs.pddl import PddlEnv
    except ImportError as error:
        raise missing_package(error.name or "alfworld", 'backend="textworld"', "alfworld") from error
    wanted = textworld.EnvInfos(feedback=True, won=True, admissible_commands=True)
    return AlfredInfos(AlfredDemangler(PddlEnv(wanted), shuffle=False))


@contextmanager
def _alone() -> Iterator[None]:
    """Let one thread in, and undo what the engine's planner does to the command line of the whole process."""
    with _ONE_AT_A_TIME:
        arguments = list(sys.argv)
        try:
            yield
        finally:
            sys.argv[:] = arguments
