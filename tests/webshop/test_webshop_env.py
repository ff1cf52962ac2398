"""``STeP-WebShop-v0`` behind the contract, on the embedded catalogue."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.error import ClosedEnvironmentError

import step_envs
from step_envs.errors import DataError, UnknownNameError
from step_envs.registration import option_names
from step_envs.testing import check_text_env
from step_envs.webshop.env import WebShopEnv

ENV_ID = "STeP-WebShop-v0"


@pytest.mark.slow
def test_it_keeps_the_contract() -> None:
    check_text_env(ENV_ID, oracle_tasks=3)


def test_the_embedded_catalogue_needs_nothing_and_has_all_splits() -> None:
    splits = {split: set(step_envs.list_tasks(ENV_ID, split)) for split in ("train", "eval", "test")}
    assert {split: len(ids) for split, ids in splits.items()} == {"train": 2500, "eval": 1000, "test": 500}
    assert not splits["train"] & splits["test"] and not splits["train"] & splits["eval"]
    assert not splits["eval"] & splits["test"]
    assert "generated-0-1000-human/0" in splits["test"]
    assert "generated-0-1000-human/1500" in splits["train"]


def test_rewards_add_up_and_details_hold_every_component() -> None:
    env = gym.make(ENV_ID)
    env.reset(seed=3)
    total, info = 0.0, {}
    for action in env.unwrapped.oracle.plan():
        _, reward, terminated, _, info = env.step(action)
        total += float(reward)
    assert terminated and total == info["score"] == 1.0 and info["success"]
    assert set(info["details"]["reward_info"]) >= {"r_type", "r_att", "w_att", "title_score", "r_price", "w_price"}
    assert info["details"]["nouns"] == "content-words"


def test_a_goal_given_in_full_is_played() -> None:
    env = gym.make(ENV_ID)
    env.reset(seed=0)
    goal = env.unwrapped.engine.goal.to_dict() | {
        "instruction_text": "i need a lamp, and price lower than 5.00 dollars"
    }
    observation, info = env.reset(options={"goal": goal})
    assert "i need a lamp" in observation
    assert info["instruction"] == goal["instruction_text"]
    assert info["details"]["goal"] == goal
    with pytest.raises(DataError, match="lacks asin"):
        env.reset(options={"goal": {}})
    with pytest.raises(DataError, match="at least one text"):
        env.reset(options={"goal": goal | {"attributes": []}})


def test_a_catalogue_that_is_not_there_names_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for nothing in (tmp_path, tmp_path / "none", ""):
        with pytest.raises(DataError, match="step-envs data webshop"):
            WebShopEnv(data_path=nothing)
    (tmp_path / "items_shuffle.json").write_text("[]")
    with pytest.raises(DataError, match="not imported yet"):
        WebShopEnv(data_path=tmp_path)


def test_names_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="observation mode"):
        WebShopEnv(observation_mode="image")
    with pytest.raises(UnknownNameError, match="goals"):
        WebShopEnv(goals="robot")
    with pytest.raises(UnknownNameError, match="tagger"):
        WebShopEnv(nouns="nltk")
    with pytest.raises(UnknownNameError, match="eto_test"):
        WebShopEnv(split="eto_test")


def test_the_world_tells_verbs_and_moves() -> None:
    world = WebShopEnv(size=40, goals="synthetic", split="test")
    verbs = {"search[red lamp]": "search", "click[Buy Now]": "click", "click [x]": "click", "look": "look", "[x]": ""}
    assert {action: world.verb_of(action) for action in verbs} == verbs
    moves = ("click[back to search]", "click[Back to Search]", "click[< prev]", "click[< Prev] again")
    others = ("click[next >]", "Click[< prev]", "search[< prev]", "click[b000000001]", "back to search", "")
    assert all(world.is_move(action) for action in moves)
    assert not any(world.is_move(action) for action in others)


def test_options_are_known_by_name() -> None:
    known = option_names(WebShopEnv)
    assert known is not None
    assert {"split", "task_types", "max_steps", "admissible_actions", "render_mode", "expert", "site_url"} <= known
    assert "options" not in known
    with pytest.raises(UnknownNameError, match="Did you mean 'expert'"):
        step_envs.list_tasks(ENV_ID, exprt="explorer")
    world = WebShopEnv(split="eval", task_types=["grocery"], max_steps=3, admissible_actions=True, render_mode="ansi")
    _, info = world.reset(seed=0)
    assert info["split"] == "eval" and world.task_type(info["task_id"]) == "grocery"
    assert info["admissible_actions"] and world.render() and world.step_limit == 3


def test_environments_share_a_catalogue_and_free_it_with_the_last_of_them() -> None:
    """In the original nothing is ever freed, and every environment loads everything anew (verl-agent#95, RAGEN PR#87)."""
    one, other = WebShopEnv(size=40, goals="synthetic", split="test"), WebShopEnv(size=40, goals="human", split="test")
    assert one.catalogue is other.catalogue
    catalogue = weakref.ref(one.catalogue)
    folder = str(one.catalogue.folder)
    for env in (one, other):
        env.reset(seed=0)
        env.step("search[lamp]")
        env.close()
    del one, other, env
    gc.collect()
    assert catalogue() is None
    if sys.platform == "linux":
        assert folder not in Path("/proc/self/maps").read_text()


def test_a_closed_environment_lets_go_of_its_catalogue_and_can_still_be_recorded() -> None:
    """The original's close() does nothing (AgentGym#62)."""
    env, other = (gym.make(ENV_ID, size=41, goals="synthetic", split="test") for _ in range(2))
    world = env.unwrapped
    _, info = env.reset(seed=0)
    assert world.oracle.plan()
    catalogue, folder = weakref.ref(world.catalogue), str(world.catalogue.folder)
    record = (world.task_type(info["task_id"]), world.provenance())
    other.close()
    assert env.step("search[lamp]")[4]["valid_action"]
    env.close()
    env.close()
    assert catalogue() is None
    if sys.platform == "linux":
        assert folder not in Path("/proc/self/maps").read_text()
    assert (world.task_type(info["task_id"]), world.provenance()) == record
    for use in ("engine", "catalogue", "oracle"):
        with pytest.raises(ClosedEnvironmentError, match="make another one"):
            getattr(world, use)
    with pytest.raises(ClosedEnvironmentError, match="make another one"):
        world.step("search[lamp]")


def test_splits_do_not_leak_between_environments_with_different_seeds() -> None:
    """verl-agent shuffles anew in every worker, so that test goals come up in training (ARL-Arena#7)."""
    test = set(step_envs.list_tasks(ENV_ID, "test"))
    for seed in range(50):
        env = gym.make(ENV_ID, split="train")
        _, info = env.reset(seed=seed)
        assert info["task_id"] not in test and info["split"] == "train"


def test_the_oracle_finds_the_way_from_everywhere() -> None:
    env = gym.make(ENV_ID, max_steps=None)
    world = env.unwrapped
    for seed, detour in enumerate(
        (
            ["search[shoes]", "click[next >]"],
            ["search[lamp]", "click[next >]", "click[< prev]"],
            ["search[coffee]", "FIRST", "click[description]"],
            ["search[coffee]", "FIRST", "click[features]", "click[< prev]"],
            ["search[zzzz]"],
            ["nonsense"],
        )
    ):
        env.reset(seed=seed)
        for action in detour:
            env.step(world.admissible_actions()[-1] if action == "FIRST" else action)
        before = world.snapshot()
        plan = world.oracle.plan()
        assert world.snapshot() == before
        assert plan
        for action in plan:
            assert world.oracle.thought(action)[0].isupper() or world.oracle.thought(action)[0] in "'\""
            assert world.accepts(action)
            _, _, terminated, _, info = env.step(action)
        assert terminated and info["success"]
        assert world.oracle.plan() == []


def test_nothing_special_is_needed_to_play() -> None:
    """No Java, no spaCy, no torch, no web server: what keeps the original from newer Pythons and from arm."""
    script = (
        "import sys, gymnasium as gym, step_envs\n"
        "env = gym.make('STeP-WebShop-v0', size=40, goals='synthetic', split='test')\n"
        "env.reset(seed=0); [env.step(action) for action in env.unwrapped.oracle.plan()]\n"
        "heavy = {'spacy', 'torch', 'jpype', 'jnius', 'flask', 'nltk', 'faiss', 'py4j', 'requests', 'bs4', 'selenium'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
