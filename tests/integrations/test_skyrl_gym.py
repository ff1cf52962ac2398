"""SkyRL Gym plays our worlds: the same conversations and scores as ``step-envs eval``."""

from typing import Any

import pytest
from own_evaluation import WORLDS, played

pytestmark = pytest.mark.integrations
skyrl_gym = pytest.importorskip("skyrl_gym", reason="make test-integrations")

from step_envs.integrations.skyrl_gym import NAME, StepEnvsEnv, rows


def make(row: dict[str, Any], **columns: Any) -> Any:
    """Make an environment as SkyRL's generator does."""
    extras = {name: value for name, value in row.items() if name not in ("prompt", "env_class")}
    return skyrl_gym.make(row["env_class"], env_config={}, extras=extras | columns)


@pytest.mark.parametrize("world", WORLDS)
def test_the_scores_are_those_of_our_own_evaluation(world: str) -> None:
    own = played(world)
    made = rows(world, episodes=len(own.episodes), protocol="eto")
    found, rewards = {}, {}
    for row in made:
        env = make(row)
        messages, _ = env.init(row["prompt"])
        assert messages == row["prompt"]
        done, rewards[row["task_id"]] = False, 0.0
        while not done:
            reply = own.script.reply(messages)
            output = env.step(reply)
            messages = [*messages, {"role": "assistant", "content": reply}, *output["observations"]]
            rewards[row["task_id"]] += output["reward"]
            done = output["done"]
        found[row["task_id"]] = env.get_metrics()
        env.close()
    assert found == own.metrics
    assert rewards == pytest.approx({task_id: one.reward for task_id, one in own.episodes.items()})
    aggregate = StepEnvsEnv.aggregate_metrics(list(found.values()))
    assert aggregate["success"] == pytest.approx(own.evaluation.overall.success.value)


def test_the_trainer_may_end_an_episode() -> None:
    (row,) = rows("STeP-ALFWorld-v0", split="train", episodes=1)
    env = make(row, max_turns=2)
    env.init(row["prompt"])
    assert not env.step("Action: look")["done"]
    last = env.step("Action: look")
    assert last["done"] and last["observations"] == [] and env.get_metrics()["steps"] == 2
    env.init(row["prompt"])
    assert not env.step("Action: look")["done"]
    env.close()


def test_a_row_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"The row has no column 'task_id': make rows with step_envs\."):
        skyrl_gym.make(NAME, env_config={}, extras={"step_env": "STeP-ALFWorld-v0"})
    (row,) = rows("STeP-ALFWorld-v0", episodes=1)
    with pytest.raises(ValueError, match=r"No episode is running: call init\(\) first\."):
        make(row).step("Action: look")
