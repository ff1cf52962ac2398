"""Episodes recorded with the original engine, and the walkthroughs of all official games."""

import json
import lzma
from pathlib import Path

import pytest
from alfworld_small import splits_of_games

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.tasks import OfficialTasks

pytestmark = pytest.mark.parity


def test_recorded_episodes_are_repeated_to_the_letter(official: OfficialTasks, test_data: Path):
    path = test_data / "parity" / "alfworld.jsonl.xz"
    steps = 0
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            episode = json.loads(line)
            name = "/".join(episode["gamefile"].split("/")[-4:-1])
            game = Engine(official.game(name))
            start = episode["reset"]
            assert (game.reset(), game.admissible(), game.won) == (start["obs"], start["admissible"], start["won"])
            assert list(game.game.walkthrough) == start.get("walkthrough", list(game.game.walkthrough))
            for step in episode["steps"]:
                answer = game.step(step["action"])
                assert (answer, game.admissible(), game.score, game.won) == (
                    step["obs"], step["admissible"], step["score"], step["won"],
                ), (name, step["action"])  # fmt: skip
                assert game.accepted == (step["obs"] != "Nothing happens.")
                steps += 1
    assert steps >= 923


def wins(official: OfficialTasks, name: str) -> bool:
    """Play a walkthrough; all its commands must be admissible."""
    game = Engine(official.game(name))
    assert not game.won
    for command in game.game.walkthrough:
        assert command in game.admissible(), (name, command)
        game.step(command)
    return game.won


def test_some_walkthroughs_win(official: OfficialTasks):
    names = [name for split in splits_of_games(official) for name in official.ids(split)[::25]]
    assert len(names) > 100 and all(wins(official, name) for name in names)


@pytest.mark.slow
def test_all_walkthroughs_win(official: OfficialTasks):
    names = [name for split in splits_of_games(official) for name in official.ids(split)]
    assert len(names) == 3687 and all(wins(official, name) for name in names)
