"""Vector environments of the worlds: random play in every mode of Gymnasium that can carry text, and tasks for each."""

import random
from typing import Any

import gymnasium as gym
import numpy as np
import own_world
import pytest
from gymnasium.vector import AutoresetMode

from step_envs import list_tasks
from step_envs.batched_info import add_info
from step_envs.errors import UnknownNameError
from step_envs.registration import make_vector

ALFWORLD, SCIWORLD, WEBSHOP = "STeP-ALFWorld-v0", "STeP-SciWorld-v0", "STeP-WebShop-v0"
MODES: dict[str, dict[str, Any]] = {
    "vector entry point": {},
    "sync": {"vectorization_mode": "sync"},
    "async": {"vectorization_mode": "async", "vector_kwargs": {"shared_memory": False}},
}


def play(vector: Any, steps: int, seed: int = 0) -> None:
    """Play admissible actions and some that are not, and reset by hand where nothing else does."""
    dice = random.Random(seed)
    by_hand = vector.metadata["autoreset_mode"] == AutoresetMode.DISABLED
    _, infos = vector.reset(seed=seed)
    listed = list(infos["admissible_actions"])
    for _ in range(steps):
        actions = tuple(dice.choice(some) if some and dice.random() < 0.9 else "dance" for some in listed)
        _, _, terminated, truncated, infos = vector.step(actions)
        listed = list(infos["admissible_actions"])
        over = terminated | truncated
        if by_hand and over.any():
            _, fresh = vector.reset(options={"reset_mask": over})
            listed = [fresh["admissible_actions"][i] if over[i] else some for i, some in enumerate(listed)]
    vector.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", [ALFWORLD, WEBSHOP])
def test_random_play_in_every_mode(env_id: str, mode: str) -> None:
    play(gym.make_vec(env_id, 3, admissible_actions=True, **MODES[mode]), 150)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", [ALFWORLD, WEBSHOP, SCIWORLD])
def test_long_random_play_in_every_mode(env_id: str, mode: str) -> None:
    # A thousand steps of ScienceWorld in eight environments, each with its list of actions, take minutes in each mode.
    steps = 40 if env_id == SCIWORLD else 1000
    play(gym.make_vec(env_id, 8, admissible_actions=True, **MODES[mode]), steps)


@pytest.mark.parametrize("autoreset", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("mode", ["vector entry point", "sync"])
def test_random_play_with_every_way_to_reset(autoreset: str, mode: str) -> None:
    kwargs: dict[str, Any] = {"autoreset_mode": autoreset}
    if mode == "sync":
        kwargs = {"vectorization_mode": "sync", "vector_kwargs": kwargs}
    play(gym.make_vec(WEBSHOP, 3, admissible_actions=True, **kwargs), 150)


def test_an_autoreset_mode_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"^Unknown autoreset_mode 'SameSteps'\. Did you mean 'SameStep'"):
        gym.make_vec(WEBSHOP, 2, autoreset_mode="SameSteps")
    with pytest.raises(
        UnknownNameError, match=r"^Unknown option of STeP-ALFWorld-v0 'max_step'\. Did you mean 'max_st"
    ):
        gym.make_vec(ALFWORLD, 2, max_step=5)


def test_wrappers_go_around_each_environment() -> None:
    vector = make_vector(ALFWORLD, 2, wrappers=[lambda env: gym.wrappers.TimeLimit(env, 1)])
    vector.reset(seed=0)
    assert vector.step(("look", "look"))[3].all()
    vector.close()


def test_infos_of_a_vector_are_those_of_single_environments() -> None:
    vector = gym.make_vec(WEBSHOP, 2)
    singles = [gym.make(WEBSHOP) for _ in range(2)]
    infos = vector.reset(seed=4)[1]
    expected = [env.reset(seed=4 + i)[1] for i, env in enumerate(singles)]
    for actions in (("search[mug]", "dance"), ("click[back to search]", "search[red]"), ("search[a]", "click[next >]")):
        for name in ("page", "asin", "keywords", "result_page"):
            assert list(infos["details"][name]) == [info["details"][name] for info in expected]
        assert list(infos["score"]) == [info["score"] for info in expected]
        infos = vector.step(actions)[4]
        expected = [env.step(action)[4] for env, action in zip(singles, actions, strict=True)]
    vector.close()


def test_each_environment_can_be_given_a_task_of_its_own() -> None:
    ids = list_tasks(ALFWORLD, "valid_seen")[:3]
    vector = gym.make_vec(ALFWORLD, 3)
    assert list(vector.reset(options={"task_id": list(ids)})[1]["task_id"]) == list(ids)
    drawn = gym.make(ALFWORLD).reset(seed=6)[1]["task_id"]
    assert list(vector.reset(seed=5, options={"task_id": (ids[2], None, ids[0])})[1]["task_id"]) == [
        ids[2],
        drawn,
        ids[0],
    ]
    mask = np.array([True, False, True])
    options = {"task_id": [ids[0], None, ids[1]], "reset_mask": mask}
    infos = vector.reset(options=options)[1]
    assert list(infos["task_id"]) == [ids[0], None, ids[1]] and "reset_mask" in options
    assert list(vector.reset(options={"task_id": ids[1]})[1]["task_id"]) == [ids[1]] * 3
    with pytest.raises(
        ValueError, match=r"^options\['task_id'\] lists 2 values for 3 environments: give one for each\.$"
    ):
        vector.reset(options={"task_id": ids[:2]})
    vector.close()


def test_a_list_of_tasks_for_one_environment_says_what_to_do() -> None:
    sentence = (
        r"^A list of task ids starts one task in each environment of a vector: make that with gymnasium\.make_vec"
    )
    with pytest.raises(TypeError, match=sentence):
        own_world.CoinEnv().reset(options={"task_id": ["coin/hall/hall"]})
    with pytest.raises(TypeError, match=sentence):
        gym.make_vec("Coin-v0", 1, vectorization_mode="sync").reset(options={"task_id": ["coin/hall/hall"]})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((1, 2), np.int64),
        ((1, None), object),
        ((None, 1), object),
        ((1, 0.5), object),
        ((True, 3), object),
        ((1, 10**30), object),
        (({"a": 1}, None), object),
        ((None, {"a": 1}), object),
        (({"a": 1}, "text"), object),
        (({"_a": 1}, {"a": 1}), object),
        (({"a": 1}, {"_a": 1}), object),
        (([1], (2,)), object),
        ((np.zeros(2), np.zeros(3)), object),
    ],
)
def test_values_of_any_types_are_batched_without_loss(values: tuple[Any, Any], kind: type) -> None:
    batched: dict[str, Any] = {}
    for place, value in enumerate(values):
        batched = add_info(batched, {"x": value}, place, 2)
    assert batched["x"].dtype == kind and batched["_x"].all()
    for got, value in zip(batched["x"], values, strict=True):
        assert got is value or np.array_equal(got, value) or got == value


def test_dicts_of_one_form_are_batched_as_gymnasium_does() -> None:
    infos = [{"d": {"n": 1, "s": "a"}}, {"d": {"n": 2}}, {}]
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    vector = gym.vector.SyncVectorEnv([own_world.CoinEnv] * 3)
    for place, info in enumerate(infos):
        ours = add_info(ours, info, place, 3)
        theirs = vector._add_info(theirs, info, place)
    assert str(ours) == str(theirs)
    vector.close()
