"""Hostile actions: whatever is sent, every world answers with text, soon, and in little memory."""

import random
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import own_world
import pytest

from step_envs import TextEnv
from step_envs.spaces import MAX_ACTION_LENGTH

ALFWORLD, SCIWORLD, WEBSHOP = "STeP-ALFWorld-v0", "STeP-SciWorld-v0", "STeP-WebShop-v0"
TOO_LONG = "The action has 1,000,000 characters and was not carried out: at most 4,096 are read."
PIECES = (
    *("İ", "ß", "ﬃ", "Å", "\u0301", "\u202e", "\u200b", "\ud800", "\x00", "\x1b[2J", "\n", "\r", "\t", " ", "　"),
    *(
        "[",
        "]",
        "search[",
        "click[",
        "<r>",
        "<q> ",
        "<c>",
        "<a>",
        "<<",
        "buy now",
        "next >",
        "< prev",
        "{}",
        "%s",
        "\\",
    ),
    *(
        "go to ",
        "take ",
        " from ",
        "move ",
        " in/on ",
        "open ",
        "use ",
        "examine ",
        "1",
        "0",
        "-1",
        "99999999999999999999",
    ),
    *(
        "focus on ",
        "connect ",
        " to ",
        "pour ",
        " into ",
        "mix ",
        "wait",
        "reset task",
        "task",
        "objects",
        "help",
        "agent",
    ),
    *("'", '"', "`", "(", "(.*)*", "$(", "../", "Action:", "Observation:", "<|im_end|>", "🧪", "冷", "س", "٣", "²"),
)


def hostile(dice: random.Random) -> str:
    """Put an action together: of a few pieces, of one piece many times, of any characters, or an admissible one garbled."""
    kind = dice.randrange(4)
    if kind == 0:
        return "".join(dice.choices(PIECES, k=dice.randrange(1, 8)))
    if kind == 1:
        piece = dice.choice(PIECES)
        return (piece * (MAX_ACTION_LENGTH // len(piece) + 1))[: dice.choice((40, 400, MAX_ACTION_LENGTH))]
    if kind == 2:
        return "".join(chr(dice.randrange(0x110000)) for _ in range(dice.randrange(60)))
    return dice.choice(("search[", "click[", "go to ", "focus on ")) + dice.choice(PIECES) * dice.randrange(300)


def attack(world: TextEnv, count: int, seed: int = 0) -> None:
    """Send hostile actions; each is answered with text within a second of processor time, and all within 500 MB."""
    dice = random.Random(seed)
    world.reset(seed=seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        action = hostile(dice)
        if number % 10 == 0:
            listed = world.admissible_actions()
            if listed:
                cut = dice.randrange(1, 40)
                action = dice.choice(listed)[:cut] + dice.choice(PIECES) + dice.choice(listed)[cut:]
        begun = time.process_time()
        observation, _, terminated, truncated, info = world.step(action)
        assert time.process_time() - begun < 1, ascii(action[:80])
        assert type(observation) is str and type(info["valid_action"]) is bool
        if terminated or truncated or number % 500 == 499:
            world.reset(seed=number)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024


@pytest.fixture(params=[ALFWORLD, WEBSHOP])
def world(request: pytest.FixtureRequest) -> Iterator[TextEnv]:
    env = gym.make(request.param, max_steps=None)
    yield env.unwrapped  # type: ignore[misc]
    env.close()


def test_hostile_actions_are_answered(world: TextEnv) -> None:
    attack(world, 5_000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_very_many_hostile_actions_are_answered(world: TextEnv) -> None:
    attack(world, 49_000, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sciworld_answers_hostile_actions() -> None:
    env = gym.make(SCIWORLD, max_steps=None)
    attack(env.unwrapped, 2_000)  # type: ignore[arg-type]
    env.close()


def _check_too_long(world: TextEnv) -> None:
    _, begun = world.reset(seed=0)
    before = world.snapshot()
    for character in ("İ", "a", "[", "🧪"):
        action = character * 1_000_000
        calls: list[Callable[[], Any]] = [
            lambda action=action: world.accepts(action),  # type: ignore[misc]
            lambda action=action: world.oracle.is_informative(action),  # type: ignore[misc]
        ]
        assert [call() for call in calls] == [False, False]
        assert "\n" not in world.oracle.thought(action)
        assert world.snapshot() == before
        observation, reward, terminated, truncated, info = world.step(action)
        assert (observation, reward, terminated, truncated) == (TOO_LONG, begun["score"], False, False)
        assert (info["valid_action"], info["steps"]) == (False, 1)
        world.restore(before)
    assert world.oracle.plan(after=["İ" * 1_000_000]) == world.oracle.plan()


def test_an_action_of_a_megabyte_is_refused_as_text(world: TextEnv) -> None:
    _check_too_long(world)


@pytest.mark.slow
def test_an_action_of_a_megabyte_does_not_reach_the_java_process() -> None:
    env = gym.make(SCIWORLD, task_types=["find-plant"], max_steps=None)
    _check_too_long(env.unwrapped)  # type: ignore[arg-type]
    env.close()


def test_the_longest_action_that_is_read_reaches_the_engine() -> None:
    env = own_world.CoinEnv()
    env.reset(seed=0)
    assert env.step("x" * (MAX_ACTION_LENGTH + 1))[0].startswith("The action has 4,097 characters")
    assert not env.step("x" * MAX_ACTION_LENGTH)[0].startswith("The action has")


def test_the_moment_is_rendered_with_task_action_observation_and_score(capsys: pytest.CaptureFixture[str]) -> None:
    env = own_world.CoinEnv(render_mode="ansi")
    observation, info = env.reset(options={"task_id": "coin/hall/hall"})
    assert env.render() == f"Task coin/hall/hall: {info['instruction']}\n{observation}\nScore: 0.00"
    observation = env.step("take coin\x1b[2J")[0]
    assert env.render() == (
        f"Task coin/hall/hall: {info['instruction']}\nAction 1: take coin␛[2J\n{observation}\nScore: 0.00"
    )
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("env_id", ["Coin-v0", ALFWORLD, WEBSHOP])
def test_human_rendering_prints_the_episode_as_it_goes(env_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    env = gym.make(env_id, render_mode="human", max_steps=2)
    _, info = env.reset(seed=0)
    said = capsys.readouterr().out
    assert info["task_id"] in said and info["instruction"].split()[0] in said and "Score: 0.00" in said
    env.step("dance \x1b[31m[bold]red[/bold]")
    assert "Action 1: dance ␛[31m[bold]red[/bold]\n" in capsys.readouterr().out
    env.step("dance")
    assert "Score: 0.00 (the step limit is reached)" in capsys.readouterr().out
    assert env.render() is None
    env.close()
