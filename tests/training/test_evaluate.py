"""Evaluation: figures that can be counted by hand, the protocols, resuming, and what is refused."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import own_world  # noqa: F401  (registers Coin-v0)
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from step_envs.agents import rollout
from step_envs.agents.base import AGENTS, Agent, Reply
from step_envs.cli import app
from step_envs.collection import collect
from step_envs.errors import StoreError
from step_envs.statistics import clustered_bootstrap, wilson
from step_envs.store import read_trajectories
from step_envs.training.behaviour import has_loop, measure_behaviour
from step_envs.training.comparison import ComparisonError, compare
from step_envs.training.evaluation import EvalConfig, Evaluation, evaluate, reward_of, summarize
from step_envs.trajectory import Trajectory
from step_envs.wrappers import ReActWrapper, RecordTrajectory


class Scripted(Agent):
    """Says what it was given, one reply after the other."""

    name = "scripted"

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        return Reply(self.replies.pop(0)) if self.replies else None


class NearOnly(Agent):
    """Follows the oracle where the coin is near, and looks around elsewhere."""

    name = "near"

    def act(self, env: gym.Env[str, str]) -> Reply | None:
        world: Any = env.unwrapped
        action = "look"
        if world.tasks.type_of(env.get_wrapper_attr("recorder")._info["task_id"]) == "near":
            action = world.oracle.next_action()
        return Reply(f"Thought: so be it\nAction: {action}")


@pytest.fixture(autouse=True)
def _near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AGENTS, "near", f"{__name__}:NearOnly")


def config(**changes: Any) -> EvalConfig:
    return EvalConfig(**({"env": "Coin-v0", "agent": "near", "env_options": {"max_steps": 6}} | changes))


def played(*replies: str, task: str = "coin/study/hall", seed: int = 0) -> Trajectory:
    env = RecordTrajectory(ReActWrapper(gym.make("Coin-v0", max_steps=None)))
    return rollout(env, Scripted(*replies), seed=seed, task_id=task)


def say(*actions: str) -> list[str]:
    return [f"Thought: so be it\nAction: {action}" for action in actions]


def test_the_figures_are_those_of_the_episodes(tmp_path: Path) -> None:
    found = evaluate(config(), tmp_path / "run")
    # Of the six training tasks the coin is in the hall in two.
    assert (found.overall.episodes, found.overall.tasks, found.failed) == (6, 6, 0)
    assert found.overall.success == found.overall.success_wilson == wilson(2, 6)
    assert {name: figures.success.value for name, figures in found.by_task_type.items()} == {"near": 1.0, "far": 0.0}
    assert found.overall.reward == wilson(2, 6)
    assert found.stop_reasons == {"max_steps": 4, "success": 2}
    assert found.agent["name"] == "near"
    assert found.behaviour.invalid.value == 0.0
    assert found.behaviour.looped.value == pytest.approx(4 / 6)
    assert Evaluation.read(tmp_path / "run") == found
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["schema"] == "step-evaluation/1"


def test_episodes_of_one_task_count_together(tmp_path: Path) -> None:
    found = evaluate(config(per_task=4), tmp_path)
    assert (found.overall.episodes, found.overall.tasks) == (24, 6)
    trajectories = list(read_trajectories(tmp_path))
    clustered = clustered_bootstrap([float(one.success) for one in trajectories], [one.task_id for one in trajectories])
    assert found.overall.success_clustered.value == pytest.approx(1 / 3)
    assert found.overall.success_wilson == wilson(8, 24)
    assert found.overall.success.low == min(wilson(8, 24).low or 0, clustered.low or 0)
    assert (found.overall.success.high or 0) - (found.overall.success.low or 0) > 1.5 * (
        (wilson(8, 24).high or 0) - (wilson(8, 24).low or 0)
    )


def test_two_agents_play_the_same_tasks_and_a_part_of_them_is_drawn_by_the_seed(tmp_path: Path) -> None:
    chosen = {}
    for name, agent, seed in (("a", "oracle", 1), ("b", "near", 1), ("c", "near", 5)):
        evaluate(config(agent=agent, episodes=3, per_task=2, seed=seed), tmp_path / name)
        chosen[name] = sorted(one.task_id for one in read_trajectories(tmp_path / name))
    assert chosen["a"] == chosen["b"] != chosen["c"]
    assert len(set(chosen["a"])) == 3
    assert len(chosen["a"]) == 6


def test_an_evaluation_that_was_stopped_goes_on(tmp_path: Path) -> None:
    whole = evaluate(config(per_task=2), tmp_path / "whole")
    evaluate(config(per_task=2), tmp_path / "cut")
    lines = (tmp_path / "cut" / "trajectories.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut" / "trajectories.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:40])
    (tmp_path / "cut" / "evaluation.json").unlink()
    with pytest.raises(StoreError, match="already holds a run: add --resume"):
        evaluate(config(per_task=2), tmp_path / "cut")
    again = evaluate(config(per_task=2), tmp_path / "cut", resume=True)
    assert again.model_copy(update={"seconds": 0.0}) == whole.model_copy(update={"seconds": 0.0})


def test_evaluations_of_two_versions_of_a_protocol_are_not_compared(tmp_path: Path) -> None:
    lost = played(*say("go right", "take coin", "eat coin"))
    science = {"env": "STeP-SciWorld-v0", "protocol": "eto"}
    for name in ("easy", "eto"):
        options = {"env": {"simplification": name, "max_ticks": 200}}
        one = lost.model_copy(update={"env_id": "STeP-SciWorld-v0", "protocol": options})
        (tmp_path / name).mkdir()
        (tmp_path / name / "trajectories.jsonl").write_text(one.to_json() + "\n")
        summarize(EvalConfig(**science), [one]).write(tmp_path / name)  # type: ignore[arg-type]
    assert compare(tmp_path / "easy", tmp_path / "easy").episodes == 1
    with pytest.raises(
        ComparisonError,
        match=r"protocol had simplification='easy' in the first and simplification='eto' in the second, as earlier",
    ):
        compare(tmp_path / "easy", tmp_path / "eto")


def test_the_protocols(tmp_path: Path) -> None:
    eto = EvalConfig(env="STeP-SciWorld-v0", split="eto_test", protocol="eto").run()
    # The set of simplifications that ETO's published episodes were played with, by their first looks.
    assert eto.env_options == {"simplification": "eto", "max_ticks": 200}
    assert (eto.episodes, eto.teacher) == (211, None)
    assert EvalConfig(env="STeP-ALFWorld-v0", protocol="eto", episodes=3).run().env_options == {}
    with pytest.raises(
        ValueError, match=r"ETO's protocol sets max_steps: leave it out, or evaluate with the protocol own\."
    ):
        EvalConfig(env="STeP-ALFWorld-v0", env_options={"max_steps": 9}, protocol="eto").run()
    lost = played(*say("go right", "take coin", "eat coin"))
    assert lost.reward == -1.0
    science = lost.model_copy(update={"env_id": "STeP-SciWorld-v0"})
    assert (reward_of(science, "own"), reward_of(science, "eto"), reward_of(lost, "eto")) == (-1.0, 0.5, -1.0)


def test_what_cannot_be_evaluated_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There are 6 tasks to play, not 7: ask for fewer episodes, or for several"):
        config(episodes=7).run()
    with pytest.raises(ValidationError, match="protocol"):
        config(protocol="mine")
    with pytest.raises(
        StoreError, match=r"holds no evaluation \(evaluation.json\): make one with `step-envs eval --out"
    ):
        Evaluation.read(tmp_path)


def test_behaviour_is_counted() -> None:
    one = played(
        *say("dance", "look", "look", "go right"), "no action at all", *say("take coin", "go left", "put coin in box")
    )
    found = measure_behaviour([one, played(*say("take coin"), task="coin/hall/hall")])
    assert found.steps == 9
    assert found.invalid.value == pytest.approx(2 / 9)
    assert found.without_action.value == pytest.approx(1 / 9)
    assert found.repeated.value == pytest.approx(1 / 9)
    assert found.looped == wilson(0, 2)
    assert found.overcame_invalid == wilson(1, 1)
    assert (found.reflections, found.judged, found.reflections_right.value) == (0, 0, None)


def test_reflections_are_judged_by_what_was_done() -> None:
    one = played(
        "Thought: That was a mistake.\nAction: look",  # nothing to look back at yet
        *say("go left"),
        'Thought: "go left" had no effect.\nAction: go right',
        "Thought: My last step was wrong.\nAction: dance",
        *say("take coin"),
    )
    found = measure_behaviour([one], make_world=lambda: gym.make("Coin-v0", max_steps=None))
    assert (found.reflections, found.judged, found.reflections_right.value) == (2, 2, 0.5)
    assert measure_behaviour([one], reflection="so be it").reflections == 2


def test_loops() -> None:
    a, b, c = ("look", "A hall."), ("go left", "Nothing."), ("go left", "A study.")
    assert has_loop([a, a, a])
    assert has_loop([c, a, b, a, b, a, b])
    assert not has_loop([a, a, b, a, a])
    assert not has_loop([b, c, b, b, c, b])
    assert not has_loop([])


def test_no_episode_at_all_gives_no_figures() -> None:
    found = summarize(config(), [])
    assert found.overall.success == (None, None, None)
    assert found.overall.steps is None


def command(*words: str) -> Any:
    return CliRunner().invoke(app, ["eval", *words], env={"COLUMNS": "100"})


def test_the_command(tmp_path: Path) -> None:
    common = ("--env", "Coin-v0", "--concurrency", "2", "--env-option", "max_steps=6")
    shown = command(*common, "--agent", "near", "--out", str(tmp_path / "near"))
    assert shown.exit_code == 0, shown.output
    assert "33.3 % [9.7, 70.0]" in shown.output
    assert "episodes with a loop" in shown.output
    again = command(*common, "--agent", "near", "--out", str(tmp_path / "near"), "--resume", "--json")
    assert json.loads(again.stdout)["overall"]["success"][0] == pytest.approx(1 / 3)
    command(*common, "--agent", "oracle", "--out", str(tmp_path / "oracle"))
    compared = command("--compare", str(tmp_path / "near"), str(tmp_path / "oracle"))
    assert compared.exit_code == 0, compared.output
    assert "+66.7 [" in compared.output
    assert "Succeeded only the second: 4 (coin/attic/hall" in compared.output
    recovered = command(
        "--env", "Coin-v0", "--agent", "oracle", "--recovery", "--out", str(tmp_path / "recovery"), "--json"
    )
    assert recovered.exit_code == 0, recovered.output
    assert json.loads(recovered.stdout)["with_error"]["success"][0] == 1.0
    for words, sentence in (
        (("--env", "Coin-v0"), "Name the folder of the evaluation with --out, or two evaluations with --compare A B."),
        (("--after", "2", "--out", "x"), "--after says where the error of --recovery comes"),
        (("--compare", str(tmp_path), str(tmp_path)), "holds no evaluation"),
        (("--env", "Coin-v0", "--agent", "nobody", "--out", "x"), "Unknown agent 'nobody'"),
    ):
        refused = command(*words)
        assert refused.exit_code == 2
        assert sentence in " ".join(refused.output.split())


def test_an_evaluation_is_made_longer_and_never_shorter(tmp_path: Path) -> None:
    evaluate(config(episodes=2), tmp_path / "run")
    begun = (tmp_path / "run" / "trajectories.jsonl").read_bytes()
    longer = evaluate(config(episodes=5), tmp_path / "run", resume=True)
    assert (longer.overall.episodes, longer.overall.tasks, longer.config.episodes) == (5, 5, 5)
    assert (tmp_path / "run" / "trajectories.jsonl").read_bytes().startswith(begun)
    assert Evaluation.read(tmp_path / "run").config.episodes == 5
    whole = evaluate(config(episodes=5), tmp_path / "whole")
    assert whole.model_dump(exclude={"seconds"}) == longer.model_dump(exclude={"seconds"})
    with pytest.raises(
        StoreError, match=r"was started with episodes=5, not 2, and can only be made longer: ask for 5 or"
    ):
        evaluate(config(episodes=2), tmp_path / "run", resume=True)
    with pytest.raises(StoreError, match="was started with seed=0, not 1"):
        evaluate(config(episodes=5, seed=1), tmp_path / "run", resume=True)


def test_a_task_can_be_played_more_times(tmp_path: Path) -> None:
    evaluate(config(episodes=2, per_task=2), tmp_path)
    begun = (tmp_path / "trajectories.jsonl").read_bytes()
    longer = evaluate(config(episodes=2, per_task=3), tmp_path, resume=True)
    assert (longer.overall.episodes, longer.overall.tasks) == (6, 2)
    assert (tmp_path / "trajectories.jsonl").read_bytes().startswith(begun)


def test_an_evaluation_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    # It listed its tasks, and so played them in another order.
    listed = config(episodes=3, per_task=2).run().model_copy(update={"episodes": 3})
    collect(listed, tmp_path)
    begun = (tmp_path / "trajectories.jsonl").read_bytes()
    found = evaluate(config(episodes=3), tmp_path, resume=True)
    assert found.overall.episodes == 3 and (tmp_path / "trajectories.jsonl").read_bytes() == begun
