"""Live, against the installed package alfworld: random play on both engines, and generated games that must win there."""

import json
import random
from itertools import combinations

import pytest
from alfworld_original import Original, differences
from alfworld_small import game_file, splits_of_games
from test_engine import old_release

from step_envs.alfworld.games.goal import TASK_TYPES
from step_envs.alfworld.generation.generator import generate_household
from step_envs.alfworld.generation.writer import write_game
from step_envs.alfworld.tasks import GeneratedTasks, OfficialTasks

# Not alfworld itself: this folder of tests bears the same name and would be found.
pytest.importorskip("textworld", reason="the package alfworld is not installed: pip install 'step-envs[alfworld]'")
pytestmark = [pytest.mark.original, pytest.mark.slow, pytest.mark.timeout(3600)]

STEPS = 40
OFFICIAL_GAMES = 10
"""Of each release: loading one takes the original a second, and each step a fifth of one."""


@pytest.fixture(scope="module")
def original():
    engine = Original()
    yield engine
    engine.close()


@pytest.mark.parametrize(("size", "games"), [("generated", 12), ("generated-small", 60)])
def test_generated_games_play_alike(original, size: str, games: int):
    tasks = GeneratedTasks()
    names = [name for split in tasks.splits for name in tasks.ids(split)[: games // len(tasks.splits)]]
    names = [name.replace("generated/", f"{size}/") for name in names]
    found = [
        difference
        for number, name in enumerate(names)
        for difference in differences(original, json.loads(tasks.game_file(name)), name, number, STEPS)
    ]
    assert len(names) == games and found == []


@pytest.mark.parity
@pytest.mark.parametrize("release", ["as it is", "old", "newest"])
def test_official_games_play_alike_in_three_releases(original, official: OfficialTasks, release: str):
    import alfworld

    data = f"{alfworld.__path__[0]}/data"
    with open(f"{data}/alfred.pddl") as domain, open(f"{data}/alfred.twl2") as grammar:
        newest = {"pddl_domain": domain.read(), "grammar": grammar.read()}
    names = [name for split in splits_of_games(official) for name in official.ids(split)]
    found = []
    for number, name in enumerate(random.Random(release).sample(names, OFFICIAL_GAMES)):
        fields = json.loads(official.game_file(name))
        fields = {"as it is": fields, "old": old_release(fields), "newest": {**fields, **newest}}[release]
        found += differences(original, fields, name, number, STEPS)
    assert found == []


STATES = ("isClean", "isHot", "isCool", "isSliced", "toggleable", "isToggled", "isReceptacleObject")
TO_THE_APPLE = [
    "go to fridge 1",
    "open fridge 1",
    "take apple 1 from fridge 1",
    "examine apple 1",
    "look",
    "use apple 1",
]
TO_THE_MUG = [
    "look",
    "go to countertop 1",
    "take mug 1 from countertop 1",
    "examine mug 1",
    "move mug 1 to countertop 1",
]
TO_THE_KNIFE = ["go to countertop 1", "take knife 1 from countertop 1", "go to desk 1", "slice apple 1 with knife 1"]
CORNERS = {
    "in two receptacles": (
        ["inReceptacle Apple_bar_0 Desk_bar_0"],
        [],
        ["go to desk 1", "take apple 1 from desk 1", *TO_THE_APPLE],
    ),
    "a stale place": (["objectAtLocation Apple_bar_0 loc_bar_5"], [], [*TO_THE_KNIFE, "look"]),
    "a start beside furniture": (["atLocation agent1 loc_bar_1"], ["atLocation agent1 loc_bar_0"], TO_THE_MUG),
    "a full vessel": (["inReceptacleObject Knife_bar_1 Mug_bar_3"], [], TO_THE_MUG),
    "a thing without a type": ([], ["objectType Mug_bar_3 MugType"], TO_THE_MUG),
    "opened at the start": (
        ["opened Fridge_bar_0"],
        [],
        ["go to fridge 1", "take apple 1 from fridge 1", "close fridge 1"],
    ),
} | {
    " ".join(states): ([f"{state} Apple_bar_0" for state in states], [], TO_THE_APPLE)
    for count in (1, 2, 3)
    for states in combinations(STATES, count)
    if not {"isHot", "isCool"} <= set(states)
}


@pytest.mark.parametrize("corner", CORNERS)
def test_corners_are_alike(original, corner):
    facts, without, commands = CORNERS[corner]
    fields = game_file(facts=facts, without=without)
    assert differences(original, fields, corner, 0, 0, fixed=commands) == []


def test_generated_games_load_and_win(original):
    for task_type in TASK_TYPES:
        for seed in (0, 1_000_000, 2_000_000):
            game = json.loads(write_game(generate_household(task_type, seed)))
            original.load(game)
            assert not original.reset()[2]
            answers = [original.step(command) for command in game["walkthrough"]]
            assert answers[-1][2] and answers[-1][3] == 1.0, (task_type, seed)
            assert not any(feedback == "Nothing happens." for feedback, *_ in answers)
