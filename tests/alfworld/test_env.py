"""The environment: the contract, its options, and both backends answering alike."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import gymnasium as gym
import pytest

import step_envs
from step_envs.alfworld.env import AlfworldEnv
from step_envs.alfworld.games.game import read_game
from step_envs.alfworld.simulation import original
from step_envs.alfworld.tasks import OFFICIAL_COUNTS, GeneratedTasks
from step_envs.errors import DataError, SnapshotError, UnknownNameError
from step_envs.testing import check_text_env

ENV = "STeP-ALFWorld-v0"
TASK = "generated/pick_cool_then_place_in_recep/2000003"


def has_original() -> bool:
    from importlib.util import find_spec

    # Not alfworld itself: this folder of tests bears the same name and would be found.
    return find_spec("textworld") is not None


def needs_original(test):
    """Run a test with ``make test-original`` alone."""
    return pytest.mark.original(pytest.mark.skipif(not has_original(), reason="needs the extra alfworld")(test))


@pytest.fixture(autouse=True)
def _no_official_games(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)


@pytest.mark.parametrize("expert", ["shortest", "explorer"])
def test_it_keeps_the_contract(expert):
    check_text_env(ENV, source="generated", expert=expert, oracle_tasks=6)


def test_small_households_keep_the_contract():
    check_text_env(ENV, household="small", expert="explorer", thoughts="brief", oracle_tasks=6)
    assert all(name.startswith("generated-small/") for name in step_envs.list_tasks(ENV, household="small"))
    with pytest.raises(ValueError, match=r'source="official" asks for official games, household=.small. for generated'):
        gym.make(ENV, household="small", source="official")
    with pytest.raises(ValueError, match=r"data_path='games' asks for official games, household='small'"):
        step_envs.list_tasks(ENV, household="small", data_path="games")
    with pytest.raises(UnknownNameError, match="Unknown household 'smal'"):
        gym.make(ENV, household="smal")


def test_brief_thoughts_name_the_goal_and_little_else():
    env = gym.make(ENV, household="small", expert="explorer", thoughts="brief")
    env.reset(options={"task_id": "generated-small/pick_heat_then_place_in_recep/502"})
    said = []
    while (action := env.unwrapped.oracle.next_action()) is not None:
        said.append(env.unwrapped.oracle.thought(action))
        env.step(action)
    assert said[0] == "Goal: hot apple in fridge; no apple yet, try fridge 1."
    assert said[-3:] == [
        "Goal: hot apple in fridge; apple 1 is in hand, heat it.",
        "Goal: hot apple in fridge; apple 1 is in hand, go to fridge 1.",
        "Goal: hot apple in fridge; apple 1 is in hand, put it in fridge 1.",
    ]
    env.reset(options={"task_id": "generated-small/look_at_obj_in_light/0"})
    assert env.unwrapped.oracle.thought("look").endswith(" under desklamp; look around.")
    env.reset(options={"task_id": "generated-small/pick_two_obj_and_place/0"})
    assert env.unwrapped.oracle.thought("dance").startswith("Goal: two ")
    with pytest.raises(UnknownNameError, match="Unknown kind of thoughts 'short'"):
        gym.make(ENV, thoughts="short")


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore::step_envs.alfworld.tasks.PartialDataWarning")
def test_it_keeps_the_contract_with_official_games(official, official_path):
    check_text_env(ENV, data_path=official_path, split="valid_unseen", oracle_tasks=6)


@pytest.fixture
def small_games(tmp_path):
    """A folder whose split valid_unseen is complete and has small households, which the original loads in half a second."""
    tasks, kinds = GeneratedTasks(), ("pick_and_place_simple", "look_at_obj_in_light", "pick_clean_then_place_in_recep")
    for number in range(OFFICIAL_COUNTS["valid_unseen"]):
        kind = kinds[number % len(kinds)]
        trial = tmp_path / "valid_unseen" / f"{kind}-Mug-None-Desk-{number}" / f"trial_{number}"
        trial.mkdir(parents=True)
        (trial / "game.tw-pddl").write_bytes(tasks.game_file(f"generated-small/{kind}/{number}"))
    return tmp_path


@needs_original
@pytest.mark.slow
def test_the_original_keeps_the_contract_too(small_games):
    check_text_env(ENV, data_path=small_games, split="valid_unseen", backend="textworld", steps=4, num_envs=2)


@needs_original
@pytest.mark.slow
def test_both_backends_say_the_same_and_read_each_others_way():
    native = gym.make(ENV, source="generated", admissible_actions=True)
    other = gym.make(ENV, source="generated", admissible_actions=True, backend="textworld")
    argv = list(sys.argv)
    assert native.reset(options={"task_id": TASK}) == other.reset(options={"task_id": TASK})
    snapshot = b""
    for action in native.unwrapped.oracle.plan():
        assert other.unwrapped.oracle.next_action() == action
        assert other.unwrapped.oracle.thought(action) == native.unwrapped.oracle.thought(action)
        snapshot = other.unwrapped.snapshot()
        assert native.step(action) == other.step(action)
    assert sys.argv == argv
    observation, info = native.unwrapped.restore(snapshot)
    assert (observation, info) == other.unwrapped.restore(snapshot) and not info["success"]
    with pytest.raises(SnapshotError, match="commands"):
        other.unwrapped.restore(native.unwrapped.snapshot())
    assert other.unwrapped.provenance()["engine"] == "textworld"
    other.close()


def test_the_original_is_called_by_one_thread_at_a_time(monkeypatch):
    inside, most = [], []

    class Planner:
        def load(self, game):
            inside.append(game)
            sys.argv[:] = ["planner"]
            time.sleep(0.02)
            most.append(len(inside))
            inside.clear()

        def reset(self):
            return {"feedback": "Your task is to: do it.", "won": False, "admissible_commands": []}

    argv = list(sys.argv)
    monkeypatch.setattr(original, "_make_env", Planner)
    with ThreadPoolExecutor(4) as threads:
        engines = list(threads.map(lambda number: original.OriginalEngine(b"{}", str(number)), range(8)))
    assert most == [1] * len(engines) and sys.argv == argv


@pytest.mark.skipif(has_original(), reason="the package alfworld is installed")
def test_the_missing_original_names_what_to_install():
    env = gym.make(ENV, source="generated", backend="textworld")
    with pytest.raises(gym.error.DependencyNotInstalled, match=r"step-envs\[alfworld\]"):
        env.reset(seed=0)


def test_an_episode_by_the_explorer():
    env = gym.make(ENV, expert="explorer", max_steps=None)
    observation, info = env.reset(options={"task_id": TASK})
    assert observation.endswith(f"Your task is to: {info['instruction']}")
    assert info["split"] == "valid_unseen" and info["details"] == {"won": False}
    oracle, total, terminated = env.unwrapped.oracle, 0.0, False
    planned = oracle.plan()
    assert planned is not None
    for action in planned:
        assert oracle.next_action() == action and len(oracle.thought(action)) > 20
        before = env.unwrapped.snapshot()
        assert oracle.plan(before, after=[action]) == planned[planned.index(action) + 1 :] or action in planned[1:]
        _, reward, terminated, _, info = env.step(action)
        total += reward
    assert terminated and info["success"] and total == info["score"] == 1.0
    assert oracle.plan() == [] and oracle.next_action() is None


def test_the_step_limit_is_etos():
    env = gym.make(ENV)
    env.reset(seed=0)
    answers = [env.step("dance") for _ in range(40)]
    assert answers[0][0] == "Nothing happens." and answers[0][4]["valid_action"] is False
    assert [answer[3] for answer in answers] == [False] * 39 + [True]


def test_types_sources_and_other_names():
    two = step_envs.list_tasks(ENV, "valid_seen", task_types=["pick_two_obj_and_place"], source="generated")
    assert len(two) == 24 and all(name.startswith("generated/pick_two_obj_and_place/") for name in two)
    for name, value in (("backend", "nativ"), ("expert", "x"), ("source", "x"), ("split", "test")):
        with pytest.raises(UnknownNameError, match="Unknown"):
            gym.make(ENV, **{name: value})
    with pytest.raises(ValueError, match="put_alias"):
        gym.make(ENV, backend="textworld", put_alias=True)
    with pytest.raises(DataError, match="step-envs data alfworld"):
        gym.make(ENV, source="official")


def test_the_put_alias_is_understood():
    env = gym.make(ENV, source="generated", put_alias=True)
    env.reset(options={"task_id": TASK})
    plan = env.unwrapped.oracle.plan()
    for action in plan:
        if action.startswith("move "):
            thing, receptacle = action.removeprefix("move ").split(" to ")
            action = f"put {thing} in/on {receptacle}"
            assert env.unwrapped.oracle.plan(after=[action]) == []
        info = env.step(action)[4]
    assert info["success"]


def test_a_failed_reset_leaves_no_other_game_behind(monkeypatch):
    env: AlfworldEnv = gym.make(ENV, source="generated").unwrapped
    env.reset(options={"task_id": TASK})
    snapshot = env.snapshot()
    env.reset(seed=0)

    with monkeypatch.context() as patch:
        patch.setattr(env.tasks, "read", lambda task_id: read_game(b"{", task_id))
        with pytest.raises(DataError, match="not valid JSON"):
            env.reset(options={"task_id": "generated/pick_two_obj_and_place/77"})
    for ask in (env.oracle.plan, env.oracle.next_action, lambda: env.oracle.thought("look")):
        with pytest.raises(gym.error.ResetNeeded, match="asking the oracle"):
            ask()
    env.restore(snapshot)
    assert env.engine.game.source == TASK and env.oracle.plan()
    env.close()
    with pytest.raises(gym.error.ClosedEnvironmentError):
        env.oracle.plan()


def test_snapshots_are_small_and_refuse_garbage():
    env: AlfworldEnv = gym.make(ENV, source="generated").unwrapped
    env.reset(options={"task_id": TASK})
    for action in env.oracle.plan()[:4]:
        env.step(action)
    snapshot = env.snapshot()
    assert len(snapshot) < 1200
    for change in (
        {"world": 3},
        {"task_id": 5},
        {"task_id": "x"},
        {"world": {"held": 999}},
        {"world": {"commands": 7}},
        {"world": None},
    ):
        with pytest.raises(SnapshotError):
            env.restore(json.dumps({**json.loads(snapshot), **change}).encode())
        with pytest.raises(SnapshotError):
            env.oracle.plan(json.dumps({**json.loads(snapshot), **change}).encode())
    assert env.restore(snapshot)[1]["steps"] == 4


def test_looking_is_informative_the_first_time():
    env: AlfworldEnv = gym.make(ENV, source="generated", max_steps=None).unwrapped
    env.reset(options={"task_id": TASK})
    oracle = env.oracle
    assert all(oracle.is_informative(action) for action in ("look", "inventory", "examine mug 1", "go to countertop 1"))
    assert not any(
        oracle.is_informative(action) for action in ("take mug 1 from desk 1", "go to the moon 1", "dance", "")
    )
    env.step("go to countertop 1")
    assert oracle.is_informative("go to countertop 1")  # it was, when it was done
    env.step("go to fridge 1")
    assert not oracle.is_informative("go to countertop 1")  # and would not be now
    assert oracle.is_informative("open fridge 1")
    env.step("open fridge 1")
    assert oracle.is_informative("open fridge 1")
    env.step("close fridge 1")
    assert not oracle.is_informative("open fridge 1")


def test_provenance_names_engine_and_game():
    env: AlfworldEnv = gym.make(ENV, source="generated").unwrapped
    assert env.provenance()["engine"] == "native"
    env.reset(seed=0)
    assert env.provenance()["game"].startswith("sha256:") and env.provenance()["tables"].startswith("sha256:")


def test_going_somewhere_is_a_move():
    env: AlfworldEnv = gym.make(ENV, source="generated").unwrapped
    assert env.is_move("go to fridge 1") and env.is_move(" go to fridge 1")
    assert not any(env.is_move(action) for action in ("", "go", "look", "move mug 1 to desk 1", "open fridge 1"))


@pytest.mark.parametrize("number", ["007", "-1", "٣", "1_0", " 1", "3000000", "9" * 5000])
def test_a_seed_has_one_spelling(number):
    tasks = gym.make(ENV, source="generated").unwrapped.tasks
    for ask in (tasks.split_of, tasks.type_of, tasks.game):
        with pytest.raises(UnknownNameError, match="Unknown task"):
            ask(f"generated/pick_two_obj_and_place/{number}")
