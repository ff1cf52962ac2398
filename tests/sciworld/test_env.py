"""STeP-SciWorld-v0: the contract, the transcripts of the original, and the traps on the way."""

import json
import lzma
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import psutil
import pytest
from children import suspend
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from step_envs.errors import EngineError, UnknownNameError
from step_envs.sciworld.engine import Simulator
from step_envs.sciworld.env import SciWorldEnv
from step_envs.sciworld.tasks import SIMPLIFICATIONS, TASK_TYPES
from step_envs.testing import check_text_env
from step_envs.testing.conformance import check_vector
from step_envs.testing.garbled import check_garbled
from step_envs.testing.plays import maker

FIND_PLANT = {"task_id": "find-plant/0"}


@pytest.fixture
def env() -> Iterator[SciWorldEnv]:
    env = SciWorldEnv(max_steps=None)
    yield env
    env.close()


# The engine lists some actions that its parser then refuses (allenai/ScienceWorld#48).
ENGINE_LISTS_TOO_MUCH = {"admissible_is_valid": False}


@pytest.mark.slow
def test_it_keeps_the_contract() -> None:
    check_text_env("STeP-SciWorld-v0", task_types=["lifespan-longest-lived"], steps=4, **ENGINE_LISTS_TOO_MUCH)


def test_garbled_input_is_refused_as_in_every_world() -> None:
    """One of the checks of ``check_text_env``; all of them take a minute here, and are in the test above."""
    options = {"task_types": ["lifespan-longest-lived"]}
    check_garbled(maker("STeP-SciWorld-v0", options), "STeP-SciWorld-v0", 4, options)


@pytest.mark.slow
def test_eight_vector_environments_equal_eight_single_ones() -> None:
    options = {"task_types": ["find-plant", "boil"]}
    check_vector(maker("STeP-SciWorld-v0", options), "STeP-SciWorld-v0", 8, 6, options)


def episodes(folder: Path) -> list[dict[str, Any]]:
    with lzma.open(folder / "parity" / "sciworld.jsonl.xz", "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.parity
def test_transcripts_of_the_original_come_out_the_same(test_data: Path) -> None:
    envs: dict[str, SciWorldEnv] = {}
    # All of them are replayed in the tests of the engine; here it is the way from there into the contract that is tried.
    chosen = [e for number, e in enumerate(episodes(test_data)) if number % 4 == 0 or e["simplification"] != "easy"]
    for episode in chosen:
        simplification = episode["simplification"]
        env = envs.setdefault(simplification, SciWorldEnv(simplification=simplification, max_steps=None))
        task_id = f"{episode['task']}/{episode['variation']}"
        observation, info = env.reset(options={"task_id": task_id})
        _same(task_id, -1, episode["reset"], observation, info)
        assert info["instruction"] == episode["taskDesc"]
        for number, step in enumerate(episode["steps"]):
            observation, _, terminated, _, info = env.step(step["action"])
            _same(task_id, number, step, observation, info)
            if "valid" in step:
                assert list(env.admissible_actions()) == sorted(step["valid"]), (task_id, number)
            if terminated:
                assert step["score"] in (100, -100)
                break
            assert -100 < step["score"] < 100
    for env in envs.values():
        env.close()


def _same(task_id: str, number: int, recorded: dict[str, Any], observation: str, info: dict[str, Any]) -> None:
    details = info["details"]
    found = (observation, details["raw_score"], details["moves"], details["look"], details["inv"])
    wanted = tuple(recorded[name] for name in ("obs", "score", "moves", "look", "inv"))
    assert found == wanted, (task_id, number)


def test_score_reward_and_success(env: SciWorldEnv) -> None:
    _, info = env.reset(options={"task_id": "lifespan-longest-lived/0"})
    plan = env.oracle.plan()
    assert plan
    total = 0.0
    for action in plan:
        assert not info["success"]
        _, reward, terminated, _, info = env.step(action)
        total += reward
    assert (info["score"], info["success"], terminated) == (1.0, True, True)
    assert total == pytest.approx(1.0)


@pytest.mark.slow
def test_a_wrong_focus_fails_the_task_for_good(env: SciWorldEnv) -> None:
    env.reset(options=FIND_PLANT)
    before = env.snapshot()
    _, _, terminated, _, info = env.step("focus on agent")
    if not terminated:
        pytest.fail("focus on a thing that is not living must fail the task")
    assert (info["score"], info["success"], info["details"]["raw_score"]) == (-1.0, False, -100)
    with pytest.raises(gym.error.ResetNeeded):
        env.step("reset task")
    assert env.oracle.plan() is None
    env.restore(before)
    assert env.oracle.plan()


def test_an_ambiguous_action_asks_and_its_numbers_are_admissible() -> None:
    env = SciWorldEnv(simplification="openContainers", max_steps=None)
    env.reset(options={"task_id": "use-thermometer/0"})
    observation, _, _, _, info = env.step("open door")
    assert observation.startswith("Ambiguous request: Please enter the number")
    assert info["valid_action"]
    assert info["details"]["moves"] == 0
    numbers = env.admissible_actions()
    assert set(numbers) == {str(i) for i in range(len(numbers))}
    observation, _, _, _, info = env.step("0")
    assert info["valid_action"]
    env.step("open door")
    observation, _, _, _, info = env.step("look around")
    assert observation.startswith("Unknown action.")
    assert not info["valid_action"]
    env.close()


@pytest.mark.slow
def test_ticks_are_not_steps(env: SciWorldEnv) -> None:
    env.reset(options=FIND_PLANT)
    moves = [env.step(action)[4]["details"]["moves"] for action in ("look around", "wait1", "wait", "nonsense")]
    assert moves == [0, 2, 13, 13]
    limited = SciWorldEnv(max_steps=None, max_ticks=20)
    limited.reset(options=FIND_PLANT)
    assert [limited.step("wait")[3] for _ in range(2)] == [False, True]
    limited.close()


def test_the_step_limit_is_etos() -> None:
    env = gym.make("STeP-SciWorld-v0")
    env.reset(options={"task_id": "lifespan-longest-lived/0"})
    assert [env.step("inventory")[3] for _ in range(10)] == [False] * 9 + [True]
    env.close()


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"split": "eto_tset"}, "Unknown split 'eto_tset'. Did you mean 'eto_test'"),
        ({"task_types": ["boli"]}, "Unknown task type 'boli'. Did you mean 'boil'"),
        ({"simplification": "esay"}, "Unknown simplification 'esay'. Did you mean 'easy'?"),
        ({"simplification": "easy,openDoor"}, "Unknown simplification 'openDoor'. Did you mean 'openDoors'"),
    ],
)
def test_unknown_names_come_with_the_nearest(kwargs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        SciWorldEnv(**kwargs)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("kwargs", "error", "sentence"),
    [
        ({"simplification": None}, TypeError, "simplification takes names in one string, .* got None"),
        ({"simplification": ["easy"]}, TypeError, "simplification takes names in one string, .* got \\['easy'\\]"),
        ({"max_ticks": 0}, ValueError, "max_ticks must be a positive int or None, got 0"),
        ({"max_ticks": "200"}, ValueError, "max_ticks must be a positive int or None, got '200'"),
    ],
)
def test_options_of_the_wrong_kind_are_refused(kwargs: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        SciWorldEnv(**kwargs)


def test_moves(env: SciWorldEnv) -> None:
    for action in ("go to kitchen", "Go  kitchen", "teleport to outside"):
        assert env.is_move(action)
    for action in ("go", "open door to kitchen", "gobble", "look around", "move pot to stove", ""):
        assert not env.is_move(action)


@pytest.mark.slow
def test_our_names_of_simplifications_are_the_engines() -> None:
    simulator = Simulator()
    for simplification in ("", *SIMPLIFICATIONS, ",".join(SIMPLIFICATIONS[1:])):
        assert simulator.load("boil", 0, simplification).observation.startswith("This ")
    with pytest.raises(UnknownNameError):
        simulator.load("boil", 0, "openWindows")
    simulator.close()


def test_a_java_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(gym.error.DependencyNotInstalled, match=str(tmp_path)):
        SciWorldEnv(java=tmp_path / "java").reset(seed=0)


@pytest.fixture
def endless_episode() -> Iterator[SciWorldEnv]:
    env = SciWorldEnv(max_steps=None)
    env.reset(options={"task_id": "lifespan-longest-lived/0"})
    yield env
    env.close()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200))
def test_any_string_is_answered(endless_episode: SciWorldEnv, action: str) -> None:
    # All examples act in one episode: loading a task takes far longer than an action.
    observation, _, terminated, truncated, _ = endless_episode.step(action)
    assert isinstance(observation, str) and not terminated and not truncated


def test_huge_and_hostile_strings_are_answered(env: SciWorldEnv) -> None:
    env.reset(options=FIND_PLANT)
    for action in ("a" * 4096, "\x00" * 100, "\n\r\n", "\ud800\udfff", "x\ne\nyp\n", "c\no0\nload\n", "❄" * 1000):
        observation, _, terminated, _, info = env.step(action)
        assert observation == "No known action matches that input."
        assert (terminated, info["valid_action"]) == (False, False)
    assert env.step("inventory")[0].startswith("In your inventory")


@pytest.mark.slow
def test_asking_what_is_admissible_changes_nothing(env: SciWorldEnv) -> None:
    actions = ["wait", "look around", "wait1", "go to kitchen", "wait", "look around"]

    def play(ask: bool) -> list[str]:
        env.reset(options={"task_id": "grow-plant/3"})
        answers = []
        for action in actions:
            if ask:
                env.admissible_actions()
                env.accepts("open freezer")
            answers.append(env.step(action)[0])
        return answers

    assert play(ask=True) == play(ask=False)


@pytest.mark.slow
def test_a_killed_engine_comes_back_in_mid_episode_with_the_same_bytes(env: SciWorldEnv) -> None:
    actions = ["look around", "open door to kitchen", "go to kitchen", "look around", "open fridge", "look in fridge"]

    def play(kill_at: int | None) -> list[Any]:
        answers = [env.reset(options=FIND_PLANT)]
        for number, action in enumerate(actions):
            if number == kill_at:
                engines = [child for child in psutil.Process().children() if "java" in child.name()]
                assert engines
                for child in engines:
                    os.kill(child.pid, signal.SIGKILL)
            answers.append(env.step(action))
        return answers

    assert play(kill_at=4) == play(kill_at=None)


@pytest.mark.slow
def test_after_an_engine_was_given_up_restore_and_reset_go_on() -> None:
    env = SciWorldEnv(max_steps=None)
    first = env.reset(options=FIND_PLANT)
    env.step("look around")
    snapshot = env.snapshot()
    expected = env.step("wait1")
    for again in ("restore", "reset"):
        copy = env._simulator._holder.engine
        assert copy is not None
        copy._connection.set_timeout(1.0)
        suspend(copy.jvm.pid)
        with pytest.raises(EngineError, match=r"no answer within 1 s .*call reset\(\) or restore\(\)"):
            env.step("wait1")
        with pytest.raises(EngineError, match=r"was given up: call reset\(\) or restore\(\)"):
            env.step("wait1")
        if again == "restore":
            assert env.restore(snapshot)[1]["steps"] == 1
        else:
            assert env.reset(options=FIND_PLANT) == first
            env.step("look around")
        assert env.step("wait1") == expected
    env.close()


# In a process of its own: whatever else has run in this one may have left an environment open.
ALONE = """
import gymnasium as gym, psutil
import step_envs
{}
print("engines:", [child.pid for child in psutil.Process().children() if "java" in child.name()])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            "for env in [gym.make('STeP-SciWorld-v0') for _ in range(2)]: env.reset(seed=0), env.close()",
            id="closing the last environment ends java",
        ),
        pytest.param(
            "assert step_envs.list_tasks('STeP-SciWorld-v0', split='test', task_types=['boil'])[0] == 'boil/21'",
            id="listing tasks starts no engine",
        ),
    ],
)
def test_no_java_is_left(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE.format(code)], capture_output=True, text=True, timeout=300)
    assert done.stdout == "engines: []\n", done.stderr


def replay(names: Sequence[str], simplification: str, which: str) -> int:
    """Play the engine's own solution of one task of each name to success; return how many were played."""
    env, solver = SciWorldEnv(simplification=simplification, max_steps=None), Simulator()
    replayed = 0
    for name in names:
        test = env.tasks.select("test", [name])
        task_id = {"first": f"{name}/0", "first of test": test[0], "middle of test": test[len(test) // 2]}[which]
        solver.load(name, int(task_id.partition("/")[2]), simplification)
        _, info = env.reset(options={"task_id": task_id})
        for action in solver.gold_path():
            if info["success"]:
                break
            info = env.step(action)[4]
        assert info["success"], task_id
        replayed += 1
    env.close()
    solver.close()
    return replayed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "simplification"), [("first", ""), ("first of test", "easy"), ("middle of test", "")]
)
def test_the_engines_own_solutions_of_all_tasks_end_in_success(which: str, simplification: str) -> None:
    # The engine is what takes the time, and it works for two at once.
    names = list(TASK_TYPES)
    with ThreadPoolExecutor(2) as pool:
        played = pool.map(lambda some: replay(some, simplification, which), (names[::2], names[1::2]))
        assert sum(played) == 30
