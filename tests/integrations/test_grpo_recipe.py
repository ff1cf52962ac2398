"""The recipes of reinforcement learning: the tasks of a run are played, and sampled tokens alone carry gradient."""

from statistics import fmean, pstdev
from typing import Any

import gymnasium as gym
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("trl", reason="needs the extra train")
pytest.importorskip("datasets", reason="needs the extra train")

from step_envs.agents.base import make_agent
from step_envs.collection.rollouts import rollout
from step_envs.errors import UnknownNameError
from step_envs.file_reading import read_json
from step_envs.integrations.trl_steps import process_advantages
from step_envs.training import build_dataset, finetune
from step_envs.training.finetuning import FinetuneConfig
from step_envs.training.recipes import Material, TrainingStart, Watch, make_recipe
from step_envs.training.tiny_model import TinyModelSize, learn_tokenizer, make_tiny_model
from step_envs.trajectory import Trajectory
from step_envs.wrappers import ReActWrapper, RecordTrajectory

pytestmark = [pytest.mark.train, pytest.mark.slow]
OPTIONS = "tasks=2,generations=4,max_tokens=40,temperature=0.5"


@pytest.fixture(scope="module")
def golden() -> list[Trajectory]:
    env = RecordTrajectory(ReActWrapper(gym.make("own_world:Coin-v0"), style="plain"))
    try:
        return [rollout(env, make_agent("oracle"), seed=seed) for seed in range(12)]
    finally:
        env.close()


@pytest.fixture(scope="module")
def start(golden: list[Trajectory], tmp_path_factory: pytest.TempPathFactory) -> TrainingStart:
    """A tiny model that has half learnt the task, so that its episodes differ."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = learn_tokenizer([turn.content for one in golden for turn in one.turns], ["coin", "box"])
    made = make_tiny_model(tokenizer, TinyModelSize(width=32, layers=2, heads=2), folder / "original")
    rows, _ = build_dataset(golden, tokenizer)
    learn = FinetuneConfig(loop="small", max_steps=400, batch_size=8, learning_rate=5e-3)
    base = finetune(rows, model=made, out=folder / "base", config=learn, tokenizer=tokenizer)
    config = FinetuneConfig(max_steps=2, learning_rate=1e-3, logging_steps=1, warmup=0.0, gradient_checkpointing=False)
    return TrainingStart(model=base, tokenizer=tokenizer, config=config)


def test_turns_are_compared_with_all_turns_of_their_task() -> None:
    found = process_advantages(["a", "a", "b"], [[0.5, 0.0], [0.0, 1.0], [2.0]], 0.5)
    rewards = [0.5, 0.0, 0.0, 1.0]
    scaled = [(one - fmean(rewards)) / pstdev(rewards) for one in rewards]
    assert found[0] == pytest.approx([scaled[0] + 0.5 * scaled[1], scaled[1]])
    assert found[1] == pytest.approx([scaled[2] + 0.5 * scaled[3], scaled[3]])
    assert found[2] == [0.0]
    assert process_advantages(["a", "a"], [[0.5, 0.0], [None]], 1.0)[1] == [0.0]
    assert process_advantages(["a"], [[]], 1.0) == [[]]


@pytest.mark.parametrize(
    "spec",
    [f"grpo:reward=score+potential,{OPTIONS}", f"grpo:reward=step,{OPTIONS}", f"spa-rl:{OPTIONS}"],
)
def test_sampled_tokens_alone_carry_gradient(
    spec: str, golden: list[Trajectory], start: TrainingStart, tmp_path: Any
) -> None:
    prepared = make_recipe(spec).prepare(Material(golden), start)
    tasks = {one.task_id for one in golden}
    assert (prepared.kept, prepared.unit, prepared.rows["episodes_per_step"]) == (len(tasks), "tasks", 8)
    checked: list[int] = []

    def watch(trainer: Any) -> None:
        compute, hidden = trainer.compute_loss, []

        def keep(module: Any, arguments: Any, output: Any) -> None:
            if output.requires_grad:
                output.retain_grad()
                hidden.append(output)

        def compare(model: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
            hidden.clear()
            loss = compute(model, inputs, *arguments, **named)
            (out,) = hidden
            (grad,) = torch.autograd.grad(loss, out, retain_graph=True)
            reached = grad.abs().sum(-1) > 0
            prompt = inputs["prompt_ids"].shape[1]
            may = inputs["completion_mask"].bool() & inputs["tool_mask"].bool()
            # What stands at a place is predicted at the place before.
            assert not reached[:, : prompt - 1].any()
            of_completion = reached[:, prompt - 1 : prompt - 1 + may.shape[1]]
            assert not (of_completion & ~may).any()
            checked.append(int(of_completion.sum()))
            return loss

        trainer.model.model.norm.register_forward_hook(keep)
        trainer.compute_loss = compare

    out = prepared.train(tmp_path / "model", Watch(watch))
    assert len(checked) == 2 and any(checked), "no token carried gradient"
    record = read_json(out / prepared.record)
    assert record["complete"] and record["figures"]["steps"] == 2
    # A training that is complete is not repeated.
    make_recipe(spec).prepare(Material(golden), start).train(tmp_path / "model", Watch(watch))
    assert len(checked) == 2


def test_a_turn_is_rewarded_by_what_it_contributed(
    golden: list[Trajectory], start: TrainingStart, tmp_path: Any
) -> None:
    played: list[Any] = []

    def watch(trainer: Any) -> None:
        play = trainer.rollout_func

        def remember(prompts: Any, one: Any) -> Any:
            made = play(prompts, one)
            played.append(made)
            return made

        trainer.rollout_func = remember

    make_recipe(f"spa-rl:values=oracle,{OPTIONS}").prepare(Material(golden), start).train(
        tmp_path / "model", Watch(watch)
    )
    rewards = [episode for made in played for episode in made["turn_rewards"]]
    won = [success for made in played for success in made["success"]]
    assert any(won), "the model never succeeded"
    for episode, success in zip(rewards, won, strict=True):
        # The contributions add up to what the value gained from the start to the end, which is 1 after a success.
        assert -1 <= sum(episode) < 1 and (sum(episode) > 0 or not success)
    # The first reply has no merit for where the episode begins: a right step gains a step, and no more.
    assert all(episode[0] < 0.06 for episode in rewards)
    assert any(reward < 0 for episode in rewards for reward in episode) or all(won)


def test_wrong_options_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown reward 'scores'\. Did you mean 'score'"):
        make_recipe("grpo:reward=scores")
    with pytest.raises(ValueError, match="generations must be a whole number of at least 2, got 1"):
        make_recipe("grpo:generations=1")
    with pytest.raises(UnknownNameError, match=r"Unknown value function 'oracles'\. Did you mean 'oracle'"):
        make_recipe("spa-rl:values=oracles")
