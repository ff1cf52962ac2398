"""Drives the original engine (the package alfworld over TextWorld) beside ours, and reports every difference."""

import json
import random
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.game import read_game

ODD = (
    "",
    "LOOK",
    "look ",
    " inventory",
    "look around",
    "go to the moon 1",
    "take apple 1",
    "think: where is it?",
    "go  to bed 1",
)
FAVOURED = ("take", "move", "put", "open", "close", "use", "heat", "cool", "clean", "slice")


class Original:
    """One original engine that can be given game after game."""

    def __init__(self) -> None:
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
        from textworld.envs.pddl import PddlEnv

        wanted = textworld.EnvInfos(won=True, admissible_commands=True, extras=["gamefile", "walkthrough"])
        self._env = AlfredInfos(AlfredDemangler(PddlEnv(wanted), shuffle=False))

    def load(self, game: dict[str, Any]) -> None:
        self._env.load(game)

    def reset(self) -> tuple[str, list[str], bool, list[str]]:
        state = self._env.reset()
        return state.feedback, list(state["admissible_commands"]), bool(state["won"]), state["extra.walkthrough"]

    def step(self, command: str) -> tuple[str, list[str], bool, float]:
        state, score, _ = self._env.step(command)
        return state.feedback, list(state["admissible_commands"]), bool(state["won"]), float(score)

    def close(self) -> None:
        self._env.close()


def commands(engine: Engine, rng: random.Random, steps: int) -> Iterator[str]:
    """Play at random: mostly what changes something, sometimes what is no command, always the walkthrough's first half."""
    names = [r.name for r in engine.game.receptacles] + [o.name for o in engine.game.things]
    walkthrough = list(engine.game.walkthrough)
    for _ in range(steps):
        admissible = engine.admissible()
        chance = rng.random()
        changing = [command for command in admissible if command.startswith(FAVOURED)]
        if walkthrough and chance < 0.25 and walkthrough[0] in admissible:
            yield walkthrough.pop(0)
        elif chance < 0.33:
            yield rng.choice(ODD)
        elif chance < 0.40:
            verb = rng.choice(
                (
                    "take {} from {}",
                    "move {} to {}",
                    "put {} in/on {}",
                    "open {}",
                    "use {}",
                    "examine {}",
                    "go to {}",
                    "heat {} with {}",
                    "slice {} with {}",
                )
            )
            yield verb.format(rng.choice(names), rng.choice(names))
        elif changing and chance < 0.75:
            yield rng.choice(changing)
        else:
            yield rng.choice(admissible)


def differences(
    original: Original, game: dict[str, Any], source: str, seed: int, steps: int, fixed: Sequence[str] = ()
) -> list[str]:
    """Play one game on both engines: the ``fixed`` commands, then random ones.

    Returns:
        One line for every answer that differs in any way.
    """
    original.load(game)
    feedback, admissible, won, _ = original.reset()
    engine = Engine(read_game(json.dumps(game), source))
    found = []
    if (engine.reset(), engine.admissible(), engine.won) != (feedback, admissible, won):
        found.append(f"{source} reset: {feedback!r}")
    for command in chain(fixed, commands(engine, random.Random(seed), steps)):
        answer = original.step(command)
        ours = (engine.step(command), engine.admissible(), engine.won, engine.score)
        if ours != answer:
            found.append(f"{source} {command!r}: ours {ours!r}, original {answer!r}")
            break
    return found
