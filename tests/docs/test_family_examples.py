"""Run the examples of related methods, and check what they make: true records, exact masks, pairs from the same state."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import balanced_sampling
import feedback_rollouts
import pytest
import revised_trajectories
import search_pairs

from step_envs import TextEnv, Trajectory
from step_envs.agents import OracleAgent, ReplayAgent, Reply
from step_envs.collection import CollectConfig, rollout
from step_envs.credit import make_world, replay
from step_envs.store import read_trajectories
from step_envs.training import read_pairs, select
from step_envs.wrappers import parse_action


@pytest.fixture(scope="module")
def world() -> Iterator[TextEnv]:
    made = make_world(search_pairs.ENV, {"env": search_pairs.OPTIONS})
    yield made
    made.close()


@pytest.fixture(scope="module")
def revised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Trajectory]]]:
    folder = tmp_path_factory.mktemp("revised")
    return folder, revised_trajectories.run("novice:error_rate=0.6", "oracle", folder)


def replies(trajectory: Trajectory, *kinds: str) -> list[str]:
    return [turn.content for turn in trajectory.turns if turn.kind in kinds]


def test_search_compares_replies_to_the_same_state(
    tmp_path: Path, world: TextEnv, capsys: pytest.CaptureFixture[str]
) -> None:
    found = search_pairs.run("novice:error_rate=0.7", tmp_path, tasks=4)
    printed = capsys.readouterr().out.splitlines()
    for number, (method, pairs) in enumerate(found.items(), 1):
        assert list(read_pairs(tmp_path / f"{method}.jsonl")) == pairs
        share = sum(pair.confirmed for pair in pairs) / len(pairs)
        assert printed[number].split() == [method, "4", "of", "4", str(len(pairs)), f"{share:.0%}"]
        assert share > 0.6
    assert found["mcts"] and found["sport"]
    for pair in [*found["sport"], *found["mcts"]]:
        world.reset(options={"task_id": pair.task_id})
        for message in pair.prompt:
            if message.role == "assistant" and (action := parse_action(message.content)):
                observation, *_ = world.step(action)
                assert any(observation in other.content for other in pair.prompt)
        here = world.snapshot()
        assert hashlib.sha256(here).hexdigest() == pair.state
        for side, distance in ((pair.chosen, pair.chosen_distance), (pair.rejected, pair.rejected_distance)):
            assert [message.loss for message in side] == [1.0]
            world.restore(here)
            world.step(parse_action(side[0].content) or "")
            assert world.oracle.distance() == distance
        assert parse_action(pair.chosen[0].content) != parse_action(pair.rejected[0].content)


def test_balance_prefers_successes_that_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agents = ["oracle", "novice:error_rate=0.3", "novice:error_rate=0.9"]
    chosen = balanced_sampling.run(agents, tmp_path, probed=3, tasks=6, repeats=4)
    assert chosen == "novice:error_rate=0.3"
    golden, balanced, bold = (list(read_trajectories(tmp_path / f"probe-{number}")) for number in range(3))
    # The oracle always does the same: one way of four that are wanted, found in one of four episodes.
    assert balanced_sampling.balance(golden) == pytest.approx(1 / 4 * 1 / 4)
    assert balanced_sampling.balance(balanced) > 0.5 > balanced_sampling.balance(bold)
    assert balanced_sampling.balance(golden, wanted=1) == pytest.approx(1 / 4)
    assert len(list(read_trajectories(tmp_path / "explored"))) == 24
    assert "In balance: novice:error_rate=0.3. It played 24 episodes" in capsys.readouterr().out


def test_revised_and_recombined_episodes_are_what_the_world_answers(
    revised: tuple[Path, dict[str, list[Trajectory]]], world: TextEnv
) -> None:
    folder, made = revised
    assert made["revised"] and made["recombined"]
    for name, trajectories in made.items():
        assert list(read_trajectories(folder / name)) == trajectories
        for one in trajectories:
            answered = [turn.number for turn in replay(one, world)]
            assert len(answered) == 1 + len(replies(one, "agent", "error", "correction"))
            assert one.success and world.oracle.distance() == 0


def test_wrong_steps_of_revised_episodes_carry_no_loss(revised: tuple[Path, dict[str, list[Trajectory]]]) -> None:
    folder, made = revised
    weights = {"agent": 1.0, "correction": 1.0, "error": 0.0, "instruction": 0.0, "observation": 0.0}
    failed = {(one.task_id, one.seed): one for one in read_trajectories(folder / "explored") if not one.success}
    for one in [*made["revised"], *made["recombined"]]:
        assert all(turn.loss == weights[turn.kind] for turn in one.turns)
        assert {turn.verdict.status for turn in one.turns if turn.verdict is not None} <= {"ok", "error"}
    for one in made["revised"]:
        assert 1 <= one.errors <= 2
        first = next(index for index, turn in enumerate(one.turns) if turn.kind == "error")
        begun = [turn.content for turn in one.turns[: first + 2]]
        tried = [other for other in failed.values() if other.task_id == one.task_id]
        assert begun in [[turn.content for turn in other.turns[: first + 2]] for other in tried]
        assert one.turns[first + 2].kind == "correction"
    for one in made["recombined"]:
        assert one.errors == 0
        assert (one.task_id, one.seed) in failed
        said = replies(one, "agent")
        sources = [replies(other, "agent") for other in read_trajectories(folder / "explored")]
        ends = [source[at:] for source in sources for at in range(len(source) + 1)]
        begun = replies(failed[one.task_id, one.seed], "agent")
        assert any(said[:at] == begun[:at] and said[at:] in ends for at in range(len(said)))
    for name in ("revised", "recombined"):
        assert select(read_trajectories(folder / name)).kept == made[name]


def test_a_right_beginning_goes_on_with_the_end_of_another_episode() -> None:
    played = []
    for limit, opening in ((3, [Reply("Thought: I look first.\nAction: look")]), (20, [])):
        options = {**revised_trajectories.OPTIONS, "max_steps": limit}
        config = CollectConfig(env=revised_trajectories.ENV, env_options=options, episodes=1, teacher=None)
        agent = ReplayAgent(opening, then=OracleAgent())
        played.append(rollout(config.make_env(), agent, seed=0, task_id="generated-small/pick_and_place_simple/0"))
    unfinished, golden = played
    reviser = revised_trajectories.Reviser("oracle", "oracle")
    # Without its first two steps, which are those that the other one took after its look.
    end = golden.model_copy(update={"turns": golden.turns[7:]})
    made = reviser.recombine(unfinished, [end])
    assert made is not None and made.steps == golden.steps + 1 > unfinished.steps == 3
    assert replies(made, "agent", "expert")[:3] == replies(unfinished, "agent", "expert")
    assert replies(made, "expert") == replies(golden, "expert")
    assert reviser.recombine(unfinished, [unfinished]) is None


def test_feedback_helps_where_an_agent_fails_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = feedback_rollouts.compare(tmp_path, tasks=4, group=4)
    assert found[0.7, "none"]["success"] + 0.15 < found[0.7, "teacher"]["success"]
    alone, taught = found[0.9, "none"], found[0.9, "teacher"]
    assert alone["compared"] < taught["compared"]
    # Where an agent succeeds anyway, feedback takes the differences away.
    assert found[0.3, "teacher"]["success"] == 1 and found[0.3, "teacher"]["compared"] == 0
    watched = list(read_trajectories(tmp_path / "teacher-0.9"))
    assert all(turn.loss == 0 for one in watched for turn in one.turns if turn.kind == "error")
    trained = [sum(turn.kind == "agent" and turn.loss == 1 for turn in one.turns) for one in watched]
    assert taught["own trained"] == pytest.approx(sum(trained) / len(watched))
    assert len(capsys.readouterr().out.splitlines()) == 9


@pytest.mark.train
@pytest.mark.slow
def test_models_train_on_what_the_examples_make(
    tmp_path: Path, revised: tuple[Path, dict[str, list[Trajectory]]]
) -> None:
    pytest.importorskip("trl", reason="needs the extra train")
    import collect_and_finetune
    from transformers import AutoTokenizer

    from step_envs.training import PreferenceConfig, preference_tune
    from step_envs.training.recipes import Material, make_recipe
    from step_envs.training.recipes.base import TrainingStart
    from step_envs.training.tokens import tokenize_trajectory

    folder, made = revised
    texts = [turn.content for one in made["revised"] for turn in one.turns]
    model = collect_and_finetune.tiny_model(texts, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(model)
    start = TrainingStart(model, tokenizer, collect_and_finetune.FinetuneConfig(max_length=4096))
    material = Material.of(read_trajectories(folder / "revised"))
    assert make_recipe("step").prepare(material, start).kept == len(made["revised"])
    for one in made["revised"]:
        (sample,) = tokenize_trajectory(one, tokenizer)
        trained = tokenizer.decode([label for label in sample["labels"] if label >= 0])
        assert trained == "".join(turn.content + "<|im_end|>" for turn in one.turns if turn.loss)
    pairs = search_pairs.run("novice:error_rate=0.7", tmp_path, tasks=2)["mcts"]
    settings: dict[str, Any] = {"max_steps": 1, "batch_size": 2, "max_length": 4096}
    trained_on_pairs = preference_tune(pairs, model=model, out=tmp_path / "dpo", config=PreferenceConfig(**settings))
    assert (trained_on_pairs / "model.safetensors").is_file()
    on_cpu = {"use_cpu": True, "save_strategy": "no", "num_generations": 2, "per_device_train_batch_size": 4}
    logged = feedback_rollouts.train(str(model), tmp_path / "grpo", steps=2, fades=1, **on_cpu)
    # A model that has learnt nothing errs at every step; the second training step has no feedback any more.
    assert logged[0]["rewards/corrected/mean"] > 3 and logged[1]["rewards/corrected/mean"] == 0
