"""What happened in an episode, and how arms are compared by it."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the extra train")

from step_envs.training.experiments.arm_comparisons import compare_arms
from step_envs.training.experiments.episode_figures import EpisodeFigures, measure_episode, measure_run
from step_envs.training.experiments.seed_records import EpisodeColumns
from step_envs.trajectory import Actor, Trajectory, Turn

pytestmark = pytest.mark.train


def episodes(successes: list[bool], invalid: int = 0) -> list[EpisodeFigures]:
    return [EpisodeFigures(f"task {i}", bool(won), float(won), 5, invalid) for i, won in enumerate(successes)]


def reply(action: str | None, valid: bool = True, thought: str = "x") -> Turn:
    content = f"Thought: {thought}\nAction: {action}" if action else "hm"
    return Turn(role="assistant", content=content, kind="agent", action=action, valid_action=valid)


def seen(content: str) -> Turn:
    return Turn(role="user", content=content, kind="observation")


def trajectory(*turns: Turn, success: bool = False) -> Trajectory:
    return Trajectory(
        env_id="x", task_id="t", task_type="x", split="train", instruction="", agent=Actor(name="x"), turns=turns,
        score=float(success), success=success, reward=0, steps=sum(turn.role == "assistant" for turn in turns),
        terminated=False, truncated=True, stop_reason="max_steps", errors=0, unknown_verdicts=0,
    )  # fmt: skip


def test_errors_are_told_by_kind() -> None:
    turns = (
        Turn(role="user", content="You see a shelf 1, a shelf 12 and a desk 1. Find the pen.", kind="instruction"),
        reply("go to shelf 2", valid=False),  # shelf 12 is not shelf 2
        seen("Nothing happens."),
        reply("go to shelf 2", valid=False, thought='"go to shelf 2" had no effect.'),
        seen("Nothing happens."),
        reply("open desk 1", valid=False),  # it was mentioned, but cannot be opened
        seen("Nothing happens."),
        reply(None),
        seen("Invalid format."),
        reply("go to desk 1"),
        seen("On the desk 1, you see a pen 3."),
        reply("take Pen 3 from the desk 1", valid=False),
        seen("Nothing happens."),
    )
    found = measure_episode(trajectory(*turns))
    assert (found.steps, found.invalid, found.unknown_names, found.repeated) == (6, 5, 1, 1)
    assert found.reflections == 1 and found.judged == 0


def test_valid_steps_are_judged_by_the_change_of_value() -> None:
    turns = (
        Turn(role="user", content="Find the pen.", kind="instruction"),
        reply("a"),
        seen("1"),
        reply("b", valid=False),
        seen("2"),
        reply("c"),
        seen("3"),
        reply("d"),
        seen("4"),
    )
    values = [0.5, 0.6, None, 0.6, None, 0.6, None, 0.4, None]
    found = measure_episode(trajectory(*turns), values)
    assert (found.judged, found.idle, found.lost) == (3, 1, 1)
    figures = measure_run([found])
    assert (figures.idle, figures.lost) == (1 / 3, 1 / 3)
    assert measure_run(episodes([True])).idle is None


def test_a_run_is_told_by_first_pass_and_recovery() -> None:
    found = measure_run([*episodes([True, True, False]), *episodes([True, False, False, False], invalid=1)])
    assert (found.episodes, found.met, found.steps) == (7, 4, 5.0)
    assert found.success.value == 3 / 7 and found.recovered.value == 1 / 4 and found.invalid == 4 / 35
    assert found.first_pass == 2 / 7
    assert measure_run(episodes([True])).recovered.value is None


def test_episodes_come_back_from_their_columns() -> None:
    tasks = [f"task {i}" for i in range(4)]
    before = episodes([True, False, True, True], invalid=2)
    assert EpisodeColumns.of(before).episodes(tasks) == before


def test_an_effect_is_found_over_seeds_and_the_named_comparisons_are_a_family() -> None:
    rng = np.random.default_rng(0)

    def arm(share: float) -> list[list[EpisodeFigures]]:
        return [episodes(list(rng.random(300) < share + rng.normal(0, 0.02))) for _ in range(8)]

    strong = arm(0.6)
    others = {"golden": arm(0.55), "same-tasks": arm(0.45), "d1": arm(0.6), "no-mask": arm(0.6)}
    found = {one.first: one for one in compare_arms("step", strong, others, against=("same-tasks", "no-mask"))}
    assert [name for name, one in found.items() if one.main] == ["same-tasks", "no-mask"]
    clear = found["same-tasks"]
    assert clear.verdict == "a difference" and len(clear.by_seed) == 8
    assert clear.p == pytest.approx(2 * clear.test.p) and clear.p < 0.01
    assert (clear.test.difference.low or 0) > 0.08
    assert found["no-mask"].verdict != "a difference"
    assert found["no-mask"].p >= found["no-mask"].test.p


def test_two_seeds_that_disagree_claim_nothing() -> None:
    low, high = [True] * 20 + [False] * 280, [True] * 280 + [False] * 20
    one, other = [episodes(low), episodes(high)], [episodes(high), episodes(high[:-40] + [False] * 40)]
    (found,) = compare_arms("step", other, {"d1": one})
    assert (found.test.difference.value or 0) > 0.3 and found.verdict == "undecided"


def test_runs_that_do_not_belong_together_are_not_compared() -> None:
    with pytest.raises(ValueError, match="d1 and step were not evaluated on the same tasks in the same order"):
        compare_arms("step", [episodes([True])], {"d1": [episodes([True, False])]})
    with pytest.raises(ValueError, match="d1 was trained with 1 seeds and step with 2"):
        compare_arms("step", [episodes([True])] * 2, {"d1": [episodes([True])]})
