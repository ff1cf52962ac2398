"""Paired comparison and the recovery test: what is told apart, what is not, and what is refused."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import own_world  # noqa: F401  (registers Coin-v0)
import pytest

from step_envs.agents.base import make_agent
from step_envs.agents.error_injection import ErrorInjectionAgent, wrong_action
from step_envs.collection.config import CollectConfig
from step_envs.collection.run_settings import RunSettings
from step_envs.statistics import mcnemar
from step_envs.store import read_trajectories
from step_envs.training.comparison import ComparisonError, compare, compare_episodes
from step_envs.training.evaluation import EvalConfig, evaluate
from step_envs.training.recovery import Recovery, error_injection_spec, recover, summarize
from step_envs.trajectory import Actor, Trajectory


def outcome(task: int, success: bool, *, episode: int = 0, kind: str = "near") -> Trajectory:
    return Trajectory(
        env_id="Coin-v0",
        task_id=f"task {task}",
        task_type=kind,
        split="train",
        episode=episode,
        instruction="Do it.",
        agent=Actor(name="x"),
        turns=(),
        score=float(success),
        success=success,
        reward=float(success),
        steps=1,
        terminated=True,
        truncated=False,
        stop_reason="success" if success else "failure",
        errors=0,
        unknown_verdicts=0,
    )


def outcomes(text: str, **more: Any) -> list[Trajectory]:
    return [outcome(task, mark == "+", **more) for task, mark in enumerate(text)]


def test_pairs_are_counted_and_tasks_named() -> None:
    found = compare_episodes(outcomes("++++----"), outcomes("+++-+---"))
    assert (found.episodes, found.tasks, found.unpaired) == (8, 8, 0)
    assert (found.only_first, found.only_second) == (1, 1)
    assert (found.tasks_only_first, found.tasks_only_second) == (("task 3",), ("task 4",))
    assert (found.success.first, found.success.second, found.success.difference.value) == (0.5, 0.5, 0.0)
    assert found.success.p == 1.0
    assert found.success.verdict == found.reward.verdict == "no difference"


def test_a_difference_is_called_one_only_where_interval_and_test_agree() -> None:
    clear = compare_episodes(outcomes("-" * 20 + "+" * 20), outcomes("+" * 10 + "-" * 10 + "+" * 20))
    assert clear.success.verdict == "second is better"
    assert clear.success.p == mcnemar([False] * 10, [True] * 10).p
    turned = compare_episodes(outcomes("+" * 10 + "-" * 10), outcomes("-" * 20))
    assert turned.success.verdict == "first is better"
    # All three tasks say so, and the bootstrap of three is sure of it; the test is not.
    few = compare_episodes(outcomes("---"), outcomes("+++"))
    assert few.success.difference == (1.0, 1.0, 1.0)
    assert few.success.p == 0.25
    assert few.success.verdict == "no difference"


def test_no_probability_is_written_as_nothing() -> None:
    from rich.console import Console

    from step_envs.cli.eval_tables import comparison_table

    console = Console(width=100, record=True, file=StringIO())
    console.print(comparison_table(compare_episodes(outcomes("-" * 40), outcomes("+" * 40))))
    shown = console.export_text()
    assert "< 0.001" in shown
    assert "0.000" not in shown


def test_episodes_of_a_task_are_taken_together() -> None:
    first = [outcome(task, False, episode=task + 3 * turn) for turn in range(10) for task in range(3)]
    second = [outcome(task, True, episode=task + 3 * turn) for turn in range(10) for task in range(3)]
    found = compare_episodes(first, second)
    assert (found.episodes, found.tasks) == (30, 3)
    assert found.success.p == 0.25
    assert found.success.verdict == "no difference"


def test_types_apart_and_what_has_no_partner_left_out() -> None:
    first = [*outcomes("++", kind="near"), outcome(7, False, kind="far"), outcome(9, True)]
    second = [*outcomes("--", kind="near"), outcome(7, True, kind="far")]
    found = compare_episodes(first, second)
    assert (found.episodes, found.unpaired) == (3, 1)
    assert {name: difference.difference.value for name, difference in found.by_task_type.items()} == {
        "near": -1,
        "far": 1,
    }
    with pytest.raises(ComparisonError, match=r"^first and second have no task in common\.$"):
        compare_episodes(outcomes("+"), [outcome(5, True)])


def test_evaluations_that_are_not_alike_are_refused(tmp_path: Path) -> None:
    for name, changes in (("a", {}), ("test", {"split": "test"}), ("steps", {"env_options": {"max_steps": 3}})):
        evaluate(EvalConfig(env="Coin-v0", **changes), tmp_path / name)
    assert compare(tmp_path / "a", tmp_path / "a").success.difference == (0.0, 0.0, 0.0)
    with pytest.raises(
        ComparisonError, match=r"cannot be compared: the split of the first is None, of the second 'test'\."
    ):
        compare(tmp_path / "a", tmp_path / "test")
    with pytest.raises(
        ComparisonError, match=r"the env options of the first is \{\}, of the second \{'max_steps': 3\}\."
    ):
        compare(tmp_path / "a", tmp_path / "steps")


def wrong_turns(out: Path) -> list[tuple[str, list[str], str | None]]:
    found = []
    for one in read_trajectories(out):
        kinds = [turn.kind for turn in one.turns if turn.role == "assistant" and turn.kind != "instruction"]
        action = next((turn.action for turn in one.turns if turn.kind == "error"), None)
        found.append((one.task_id, kinds, action))
    return sorted(found)


def test_recovery_begins_inside_a_real_error_that_is_not_fatal(tmp_path: Path) -> None:
    config = EvalConfig(env="Coin-v0", agent="oracle", per_task=3, seed=2)
    found = recover(config, tmp_path)
    assert Recovery.read(tmp_path) == found
    assert found.with_error.episodes + found.left_out == 18
    assert found.with_error.success.value == found.without_error.success.value == 1.0
    assert (found.with_error.steps or 0) > (found.without_error.steps or 0)
    assert found.lost.verdict == "no difference"
    assert found.recovered_of_solved == found.solved == found.with_error.episodes
    erring, unharmed = wrong_turns(tmp_path / "with-error"), wrong_turns(tmp_path / "without-error")
    for (task, kinds, action), (other, others, none) in zip(erring, unharmed, strict=True):
        assert task == other
        assert none is None
        assert kinds.count("error") == 1
        assert "error" not in others
        assert action != "eat coin"
    assert len({action for _, _, action in erring}) > 2
    one = next(read_trajectories(tmp_path / "with-error"))
    assert [turn.loss for turn in one.turns if turn.kind == "error"] == [0.0]
    assert one.agent.params["agent"] == "oracle"
    recover(config, tmp_path, resume=True)


def test_recovery_continues_what_an_earlier_version_began(tmp_path: Path) -> None:
    config = EvalConfig(env="Coin-v0", agent="oracle", seed=2)
    whole = recover(config, tmp_path)
    run = tmp_path / "with-error"
    # Its agent had another name, and its record had no settings of how to run.
    began = json.loads((run / "config.json").read_text())
    began = {name: value for name, value in began.items() if name not in RunSettings.model_fields}
    began["agent"] = began["agent"].replace("error_injection.inject_error", "misled.misled")
    (run / "config.json").write_text(json.dumps(began))
    lines = (run / "trajectories.jsonl").read_bytes().splitlines(keepends=True)
    (run / "trajectories.jsonl").write_bytes(b"".join(lines[:2]))
    assert recover(config, tmp_path, resume=True) == whole


def test_an_episode_that_failed_on_one_side_counts_on_neither(tmp_path: Path) -> None:
    config = EvalConfig(env="Coin-v0", agent="oracle")
    recover(config, tmp_path)
    erring, unharmed = (list(read_trajectories(tmp_path / name)) for name in ("with-error", "without-error"))
    whole = summarize(config, erring, unharmed)
    found = summarize(config, erring[1:], unharmed, failed=1)
    assert found.with_error.episodes == found.without_error.episodes == whole.with_error.episodes - 1
    assert found.recovered_of_solved == found.solved == whole.solved - 1
    assert (found.left_out, found.failed) == (whole.left_out + 1, 1)


def test_the_errors_of_recovery_do_not_depend_on_who_is_tested(tmp_path: Path) -> None:
    for agent in ("novice:error_rate=0.1", "random"):
        recover(EvalConfig(env="STeP-ALFWorld-v0", agent=agent, episodes=4), tmp_path / agent[:3], concurrency=2)
    first, second = (
        [
            (task, kinds[: kinds.index("error")], action)
            for task, kinds, action in wrong_turns(tmp_path / name / "with-error")
        ]
        for name in ("nov", "ran")
    )
    assert first == second
    assert all(set(kinds) <= {"expert"} for _, kinds, _ in first)


def test_a_set_number_of_steps_before_the_error(tmp_path: Path) -> None:
    recover(EvalConfig(env="Coin-v0", agent="oracle"), tmp_path, after=1)
    for _, kinds, _ in wrong_turns(tmp_path / "with-error"):
        assert kinds[:2] == ["expert", "error"]


@pytest.mark.parametrize("task", ["coin/study/hall", "coin/attic/study", "coin/hall/hall"])
def test_a_wrong_action_is_wrong_by_the_oracle(task: str) -> None:
    world: Any = CollectConfig(env="Coin-v0", episodes=1, teacher=None).make_env().unwrapped
    world.reset(options={"task_id": task})
    for number in range(20):
        before, plan = world.snapshot(), world.oracle.plan()
        action = wrong_action(world, np.random.default_rng(number))
        assert world.snapshot() == before
        rest = world.oracle.plan(after=[action])
        assert rest is not None
        assert len(rest) >= len(plan)


def test_who_goes_on_is_named_within_the_specification() -> None:
    spec = error_injection_spec("novice:error_rate=0.5", after=None, error=True)
    assert spec == "step_envs.agents.error_injection.inject_error:after=null,error=true,agent=novice:error_rate=0.5"
    agent = make_agent(error_injection_spec("chat:model=m,base_url=http://localhost:1/v1", after=2, error=False))
    assert isinstance(agent, ErrorInjectionAgent)
    assert agent.chat is agent._agent.chat  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="cannot be tested for recovery: there may be no semicolon in it"):
        error_injection_spec("chat:model=a;b", after=1, error=True)
