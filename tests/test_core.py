"""The contract: what every environment inherits, tested on the smallest world there is."""

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import own_world
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from hypothesis import given
from hypothesis import strategies as st

import step_envs
from step_envs import TextSpace, WorldState
from step_envs.errors import EngineError, SnapshotError, UnknownNameError, missing_package, unknown_name
from step_envs.registration import option_names
from step_envs.testing import ConformanceError, check_text_env
from step_envs.vector import TextVectorEnv


def make(**kwargs: Any) -> own_world.CoinEnv:
    return own_world.CoinEnv(**kwargs)


def test_a_third_party_world_passes_the_conformance_kit() -> None:
    check_text_env("Coin-v0")


def test_rewards_add_up_to_the_score() -> None:
    env = make()
    env.reset(options={"task_id": "coin/study/hall"})
    rewards = [env.step(action)[1] for action in ("go right", "take coin", "go left", "put coin in box")]
    assert rewards == [0.0, 0.5, 0.0, 0.5]


def test_a_failure_can_be_below_zero() -> None:
    env = make()
    env.reset(options={"task_id": "coin/hall/hall"})
    env.step("take coin")
    _, reward, terminated, _, info = env.step("eat coin")
    assert (reward, terminated, info["score"], info["success"]) == (-1.5, True, -1.0, False)


def test_a_named_task_does_not_shift_the_tasks_that_seeds_pick() -> None:
    env = make()
    env.reset(seed=4)
    expected = [env.reset()[1]["task_id"] for _ in range(5)]
    env.reset(seed=4)
    env.reset(options={"task_id": "coin/hall/hall"})
    assert [env.reset()[1]["task_id"] for _ in range(4)] == expected[1:]


def test_a_task_of_another_split_can_be_named_and_says_so() -> None:
    _, info = make(split="train").reset(options={"task_id": "coin/hall/attic"})
    assert info["split"] == "test"


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"split": "tain"}, "Unknown split 'tain'. Did you mean 'train'?"),
        ({"task_types": ["nera"]}, "Unknown task type 'nera'. Did you mean 'near'?"),
        ({"render_mode": "humans"}, "Unknown render mode 'humans'. Did you mean 'human' or 'ansi'?"),
        ({"max_step": 5}, "Unknown option of Coin-v0 'max_step'. Did you mean 'max_steps'?"),
        ({"max_steps": 0}, 'max_steps must be a positive int, None or "eto", got 0.'),
    ],
)
def test_wrong_arguments_are_named(kwargs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        make(**kwargs)
    assert str(error.value) == sentence


def test_an_empty_list_of_task_types_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^task_types names no type: leave it away to play all\.$"):
        make(task_types=[])


def test_a_string_of_task_types_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^task_types takes a list of names, got the single string 'near'\.$"):
        make(task_types="near")


def test_wrong_reset_options_are_named() -> None:
    env = make()
    with pytest.raises(UnknownNameError, match=r"^Unknown reset option 'task'\. Did you mean 'task_id'\?$"):
        env.reset(options={"task": "coin/hall/hall"})
    with pytest.raises(UnknownNameError, match=r"^Unknown task 'coin/halls/hall'\. Did you mean 'coin/hall/hall'"):
        env.reset(options={"task_id": "coin/halls/hall"})
    with pytest.raises(TypeError, match=r"^A task id is a str, got int: 3\.$"):
        env.reset(options={"task_id": 3})


def test_calls_in_the_wrong_order() -> None:
    env = make(max_steps=1)
    with pytest.raises(ResetNeeded, match=r"^No episode is running: call reset\(\) before step\(\)\.$"):
        env.step("look")
    env.reset(seed=0)
    env.step("look")
    with pytest.raises(ResetNeeded, match=r"^The episode is over: call reset\(\) before the next step\(\)\.$"):
        env.step("look")


def test_a_failed_reset_leaves_no_episode_behind() -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(UnknownNameError):
        env.reset(options={"task_id": "nowhere"})
    with pytest.raises(ResetNeeded):
        env.step("look")


def test_passing_a_step_costs_one_and_leaves_the_world() -> None:
    env = make()
    env.reset(options={"task_id": "coin/hall/hall"})
    before = dict(env.state)
    observation, reward, _, _, info = env.pass_step("Say it again.")
    assert (observation, reward, info["steps"], info["valid_action"]) == ("Say it again.", 0.0, 1, False)
    assert env.state == before


@given(st.lists(st.sampled_from(["go left", "go right", "take coin", "eat coin", "put coin in box", "look", "x"])))
def test_a_snapshot_brings_back_any_state(actions: list[str]) -> None:
    env, other = make(max_steps=None), make(max_steps=None)
    observation, info = env.reset(options={"task_id": "coin/study/hall"})
    for action in actions:
        observation, _, terminated, _, info = env.step(action)
        if terminated:
            break
    assert other.restore(env.snapshot()) == (observation, info)
    assert other.snapshot() == env.snapshot()


def test_what_is_no_snapshot_is_refused() -> None:
    env = make()
    env.reset(seed=0)
    good = json.loads(env.snapshot())
    for wrong, sentence in [
        (b"\xff", "These bytes are not a snapshot"),
        (b"[]", 'These bytes are not a snapshot: no "schema": "step-snapshot/1" in them.'),
        (
            json.dumps(good | {"env_id": "X-v0"}).encode(),
            "This is a snapshot of 'X-v0'; it cannot be restored in 'Coin-v0'.",
        ),
        (json.dumps(good | {"steps": "many"}).encode(), "The snapshot lacks or garbles a field"),
        (json.dumps(good | {"state": {}}).encode(), "The snapshot lacks or garbles a field"),
        (json.dumps(good | {"steps": -5}).encode(), "The snapshot lacks or garbles a field (steps is -5)"),
        (json.dumps(good | {"steps": 1e400}).encode(), "The snapshot lacks or garbles a field (steps is inf)"),
        (json.dumps(good | {"task_id": "x"}).encode(), "The snapshot lacks or garbles a field"),
        (json.dumps(good | {"state": good["state"] | {"observation": None}}).encode(), "The snapshot lacks or garbles"),
        (
            json.dumps(good | {"state": good["state"] | {"score": float("nan")}}).encode(),
            "The snapshot lacks or garbles",
        ),
        (b"[" * 100_000, "These bytes are not a snapshot"),
    ]:
        with pytest.raises(SnapshotError) as error:
            env.restore(wrong)
        assert str(error.value).startswith(sentence)


def test_text_space_holds_any_text_and_samples_short_ones() -> None:
    space = TextSpace(seed=1)
    assert "café ☕ \x00" in space
    assert "" in space
    assert b"bytes" not in space
    assert "x" * 5 not in TextSpace(4)
    assert space == TextSpace()
    assert repr(TextSpace(9)) == "TextSpace(9)"
    samples = [space.sample() for _ in range(50)]
    assert samples == [again for other in [TextSpace(seed=1)] for again in (other.sample() for _ in range(50))]
    assert all(sample in space and len(sample) <= 32 for sample in samples)


def test_shared_memory_is_refused_loudly() -> None:
    with pytest.raises(TypeError, match="pass `shared_memory=False` to AsyncVectorEnv"):
        gym.make_vec("Coin-v0", 2, vectorization_mode="async")


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_vector_environments_reset_by_themselves(mode: str) -> None:
    vector = TextVectorEnv([lambda: gym.make("Coin-v0", max_steps=1)] * 2, autoreset_mode=mode)
    vector.reset(seed=0)
    _, _, _, truncated, _ = vector.step(("look", "look"))
    assert truncated.all()
    observations, _, _, truncated, infos = vector.step(("look", "look"))
    assert all(observation.startswith("This is the") for observation in observations)
    assert truncated.all() == (mode == "SameStep")
    assert list(infos["steps"]) == [0, 0]
    vector.close()


class SlowCoinEnv(own_world.CoinEnv):
    """Its engine is outside Python, takes its time, and dies of one action."""

    waits_outside_python = True
    at_work = 0

    def _act(self, action: str) -> WorldState:
        if action == "die":
            raise EngineError("The engine died.")
        SlowCoinEnv.at_work += 1
        time.sleep(0.2)
        SlowCoinEnv.at_work -= 1
        return super()._act(action)


def test_where_one_environment_of_a_vector_raises_no_other_is_still_at_work() -> None:
    vector = TextVectorEnv([SlowCoinEnv] * 3)
    vector.reset(seed=0)
    with pytest.raises(EngineError, match=r"^The engine died\.$"):
        vector.step(("die", "look", "look"))
    assert SlowCoinEnv.at_work == 0
    observations, _ = vector.reset(seed=0)
    assert observations == tuple(SlowCoinEnv().reset(seed=seed)[0] for seed in range(3))
    vector.close()


def test_async_vector_environments_work_without_shared_memory() -> None:
    vector = gym.vector.AsyncVectorEnv([lambda: own_world.CoinEnv()] * 2, shared_memory=False)
    observations, _ = vector.reset(seed=0)
    singles = [make().reset(seed=seed)[0] for seed in (0, 1)]
    assert list(observations) == singles
    vector.close()


class _Forgetful(own_world.CoinEnv):
    env_id = "Forgetful-v0"

    def _load(self, task_id: str, saved: Any) -> None:
        super()._load(task_id, saved)
        self.state["room"] = 0


class _Leaky(own_world.CoinEnv):
    env_id = "Leaky-v0"
    plays = 0

    def _world_state(self, answer: str | None) -> Any:
        type(self).plays += 1
        state = super()._world_state(answer)
        return type(state)(f"{state.observation} ({self.plays})", state.score, state.success, state.done)


class _Boastful(own_world.CoinEnv):
    env_id = "Boastful-v0"

    def _world_state(self, answer: str | None) -> Any:
        state = super()._world_state(answer)
        return type(state)(state.observation, state.score, success=state.score >= 0, done=state.done)


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (_Forgetful, "A snapshot of a restored state differs"),
        (_Leaky, "non-deterministic"),
        (_Boastful, "At reset, steps is 0 and success False."),
    ],
)
def test_the_kit_finds_what_is_broken(cls: type[own_world.CoinEnv], sentence: str) -> None:
    gym.register(cls.env_id, entry_point=cls, vector_entry_point=lambda num_envs=1, **kwargs: None)
    with pytest.raises(AssertionError, match=sentence):
        check_text_env(cls.env_id, task_types=["far"])
    del gym.registry[cls.env_id]
    assert issubclass(ConformanceError, AssertionError)


@pytest.mark.parametrize("env_id", ["STeP-ALFWorld-v0", "STeP-SciWorld-v0", "STeP-WebShop-v0"])
def test_specs_travel(env_id: str) -> None:
    spec = gym.spec(env_id)
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert EnvSpec.from_json(spec.to_json()).id == env_id


def test_an_annotation_that_only_type_checkers_can_read_is_no_obstacle() -> None:
    class Annotated(own_world.CoinEnv):
        def __init__(self, *, folder: "OnlyForTypeCheckers" = None, **options: Any) -> None:  # type: ignore[name-defined]  # noqa: F821
            super().__init__(**options)

    assert option_names(Annotated) is None


def test_error_sentences() -> None:
    assert str(unknown_name("split", "x", [])) == "Unknown split 'x'. There is no split at all."
    many = [f"task-{i:02}" for i in range(20)]
    assert str(unknown_name("task", "qqq", many)) == (
        "Unknown task 'qqq'. There are 20, for example 'task-00', 'task-01' or 'task-02'."
    )
    assert str(missing_package("pyarrow", "Parquet export", "data")) == (
        "Parquet export needs the package 'pyarrow', which is not installed: run `pip install \"step-envs[data]\"`."
    )


def test_importing_brings_nothing_heavy() -> None:
    import subprocess
    import sys

    heavy = [
        "torch",
        "transformers",
        "trl",
        "ray",
        "openai",
        "scienceworld",
        "py4j",
        "pydantic",
        "typer",
        "rich",
        "datasets",
        "pyarrow",
    ]
    code = f"import sys, step_envs; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_public_names_are_there() -> None:
    for name in step_envs.__all__:
        assert getattr(step_envs, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        step_envs.nothing  # noqa: B018


def test_the_conformance_kit_ends_where_a_second_process_cannot_start(tmp_path: Path) -> None:
    """A script without a guard is imported again by the second process, which dies of it; the kit must not wait for it."""
    script = tmp_path / "check.py"
    script.write_text("import own_world\nfrom step_envs.testing import check_text_env\ncheck_text_env('Coin-v0')\n")
    paths = os.pathsep.join([str(Path(__file__).parents[1] / "examples"), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, script], env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert 'put the call under `if __name__ == "__main__":`' in done.stderr
