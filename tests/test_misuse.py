"""Every world says the same of the same misuse: closed, not yet reset, copied, asked for what it does not know."""

import copy
import pickle
from typing import Any

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
import stuck_world  # noqa: F401  (registers Stuck-v0)
from gymnasium.error import ClosedEnvironmentError, ResetNeeded

from step_envs import TextEnv, list_tasks
from step_envs.agents import ChatAgent, NoviceAgent
from step_envs.collection import CollectConfig
from step_envs.errors import UnknownNameError
from step_envs.registration import make_vector
from step_envs.sciworld.env import SciWorldEnv
from step_envs.wrappers import ReActWrapper, RecordTrajectory, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OpenAITeacher, OracleTeacher

WORLDS = ["Coin-v0", "STeP-ALFWorld-v0", "STeP-WebShop-v0", "STeP-SciWorld-v0"]


def make(env_id: str) -> TextEnv:
    world = gym.make(env_id).unwrapped
    assert isinstance(world, TextEnv)
    return world


@pytest.mark.parametrize("env_id", WORLDS)
def test_a_first_reset_that_fails_harms_no_later_episode(env_id: str) -> None:
    """Gymnasium's passive checker refused every step after it."""
    env = gym.make(env_id)
    with pytest.raises(UnknownNameError):
        env.reset(options={"task_id": "nowhere"})
    env.reset(seed=0)
    for _ in range(3):
        env.step("look")
    env.close()


def test_runs_and_vectors_do_so_with_worlds_that_have_the_checker() -> None:
    assert not gym.spec("Stuck-v0").disable_env_checker
    env, envs = CollectConfig(env="Stuck-v0", episodes=1).make_env(), make_vector("Stuck-v0", 1)
    for one, action in ((env, "look"), (envs, ("look",))):
        with pytest.raises(UnknownNameError):
            one.reset(options={"task_id": "nowhere"})
        one.reset(seed=0)
        for _ in range(3):
            one.step(action)
        one.close()


@pytest.mark.parametrize("env_id", WORLDS)
def test_a_first_reset_of_a_vector_that_fails_harms_no_later_episode(env_id: str) -> None:
    envs = gym.make_vec(env_id, num_envs=2)
    with pytest.raises(UnknownNameError):
        envs.reset(options={"task_id": "nowhere"})
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(("look", "look"))
    envs.close()


@pytest.mark.parametrize("env_id", WORLDS)
def test_a_closed_environment_says_so(env_id: str) -> None:
    world = make(env_id)
    world.reset(seed=0)
    saved = world.snapshot()
    world.close()
    world.close()
    for call in (
        world.reset,
        lambda: world.step("look"),
        lambda: world.pass_step("again"),
        world.snapshot,
        lambda: world.restore(saved),
        world.admissible_actions,
    ):
        with pytest.raises(ClosedEnvironmentError, match=r"^This environment is closed: make another one\.$"):
            call()


@pytest.mark.parametrize("env_id", [world for world in WORLDS if world != "Coin-v0"])
def test_an_oracle_is_asked_after_reset(env_id: str) -> None:
    world = make(env_id)
    for ask in (
        world.oracle.plan,
        world.oracle.next_action,
        lambda: world.oracle.thought("look"),
        lambda: world.oracle.plan(after=["look"]),
    ):
        with pytest.raises(ResetNeeded, match=r"^No episode is running: call reset\(\) before asking the oracle\.$"):
            ask()
    world.close()


def test_an_engine_outside_python_cannot_be_copied() -> None:
    world = make("STeP-SciWorld-v0")
    for copier in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(
            TypeError, match=r"^A SciWorldEnv cannot be copied or pickled: make another environment and"
        ):
            copier(world)
    world.close()


def test_an_engine_in_python_can_be_copied() -> None:
    world = make("STeP-ALFWorld-v0")
    world.reset(seed=0)
    twin = copy.deepcopy(world)
    assert twin.step("look") == world.step("look")
    assert twin.step("inventory") == world.step("inventory")


@pytest.mark.parametrize(
    ("env_id", "options", "sentence"),
    [
        ("STeP-SciWorld-v0", {"splt": "dev"}, "Unknown option of STeP-SciWorld-v0 'splt'. Did you mean 'split'?"),
        (
            "STeP-ALFWorld-v0",
            {"data_pth": "."},
            "Unknown option of STeP-ALFWorld-v0 'data_pth'. Did you mean 'data_path'",
        ),
        (
            "STeP-WebShop-v0",
            {"task_type": "x"},
            "Unknown option of STeP-WebShop-v0 'task_type'. Did you mean 'task_types'",
        ),
    ],
)
def test_tasks_are_not_listed_by_options_that_are_not_there(
    env_id: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UnknownNameError) as error:
        list_tasks(env_id, **options)
    assert str(error.value).startswith(sentence)


def test_tasks_are_listed_with_all_that_an_environment_takes() -> None:
    assert len(list_tasks("STeP-WebShop-v0", "test", backend="http", site_url="http://127.0.0.1:9", site_goals=30)) > 0
    assert list_tasks("STeP-SciWorld-v0", "dev", timeout=5.0, max_steps=None) == list_tasks("STeP-SciWorld-v0", "dev")


@pytest.mark.parametrize("env_id", WORLDS)
def test_a_misspelt_argument_is_named_with_the_nearest(env_id: str) -> None:
    for name, nearest in (("max_step", "max_steps"), ("task_type", "task_types")):
        with pytest.raises(
            UnknownNameError, match=rf"^Unknown option of {env_id} '{name}'\. Did you mean .*'{nearest}'"
        ):
            gym.make(env_id, **{name: 5})


def world() -> Any:
    return ReActWrapper(gym.make("Coin-v0"))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: SciWorldEnv(max_step=5), "option of STeP-SciWorld-v0 'max_step'. Did you mean 'max_steps'"),
        (lambda: ReActWrapper(world(), tolerent=True), "argument of ReActWrapper 'tolerent'. Did you mean 'tolerant'"),
        (
            lambda: TeacherMonitorWrapper(world(), OracleTeacher(), max_error=2),
            "argument of TeacherMonitorWrapper 'max_error'. Did you mean 'max_errors'",
        ),
        (lambda: RecordTrajectory(world(), stor=1), "argument of RecordTrajectory 'stor'. Did you mean 'store'"),
        (lambda: OracleTeacher(strickt=True), "argument of OracleTeacher 'strickt'. Did you mean 'strict'"),
        (lambda: NoviceAgent(error_rat=1), "argument of NoviceAgent 'error_rat'. Did you mean 'error_rate'"),
        (lambda: ChatAgent("m", temperatur=1), "argument of ChatAgent 'temperatur'. Did you mean 'temperature'"),
        (lambda: OpenAITeacher("m", max_token=5), "argument of OpenAITeacher 'max_token'. Did you mean 'max_tokens'"),
    ],
)
def test_a_misspelt_argument_of_a_class_is_named_with_the_nearest(make: Any, what: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        make()
    assert str(caught.value).startswith(f"Unknown {what}")
    assert isinstance(caught.value, TypeError) == what.startswith("argument")


def test_classes_of_ones_own_keep_their_arguments_and_can_be_copied() -> None:
    class Own(OracleTeacher):
        def __init__(self, colour: str, **more: Any) -> None:
            super().__init__()
            self.colour, self.more = colour, more

    made = Own("red", size=3)
    assert (copy.copy(made).colour, copy.deepcopy(made).more) == ("red", {"size": 3})
    with pytest.raises(TypeError):
        Own()  # type: ignore[call-arg]


def test_a_misspelt_id_is_named_with_the_nearest() -> None:
    for name, nearest in (("alfworld", "ALFWorld"), ("STeP-Webshop-v0", "WebShop"), ("sciworld", "SciWorld")):
        with pytest.raises(
            UnknownNameError, match=rf"^Unknown environment '{name}'\. Did you mean 'STeP-{nearest}-v0'\?$"
        ):
            list_tasks(name)


def test_an_option_of_a_running_site_needs_that_backend() -> None:
    with pytest.raises(ValueError, match=r'^site_url= is for backend="http", a running site: leave it out, or name'):
        gym.make("STeP-WebShop-v0", site_url="http://127.0.0.1:9")
