"""Figures of an experiment: recovery, differences with intervals over tasks and seeds, and when one is called one."""

import numpy as np
import pytest

from step_envs.training.experiments.figures import (
    EpisodeFigures,
    bootstrap_tasks_and_seeds,
    compare_arms,
    episode_figures,
    holm,
    run_figures,
)
from step_envs.trajectory import Actor, Trajectory, Turn


def episodes(successes: list[bool], invalid: int = 0) -> list[EpisodeFigures]:
    return [EpisodeFigures(f"task {i}", bool(won), 5, invalid, 0) for i, won in enumerate(successes)]


def test_what_counts_of_an_episode():
    turns = (
        Turn(role="user", content="Your task", kind="instruction"),
        Turn(role="assistant", content="Thought: x\nAction: go to shelf 9", kind="agent"),
        Turn(role="user", content="Observation: Nothing happens.", kind="observation"),
        Turn(role="assistant", content='Thought: "go to shelf 9" had no effect.\nAction: look', kind="agent"),
        Turn(role="user", content="Observation: You see a sign: Nothing happens. Or does it?", kind="observation"),
        Turn(role="assistant", content="hm", kind="agent"),
        Turn(
            role="user", content="Observation: Invalid format. The input must contains 'Action: '", kind="observation"
        ),
    )
    trajectory = Trajectory(
        env_id="x", task_id="t", task_type="x", split="train", instruction="", agent=Actor(name="x"), turns=turns,
        score=0, success=False, reward=0, steps=3, terminated=False, truncated=True, stop_reason="max_steps",
        errors=0, unknown_verdicts=0,
    )  # fmt: skip
    assert episode_figures(trajectory) == EpisodeFigures("t", False, 3, invalid=2, reflections=1)


def test_outcome_of_a_run():
    found = run_figures([*episodes([True, True, False]), *episodes([True, False, False, False], invalid=1)])
    assert (found.episodes, found.met, found.steps) == (7, 4, 5.0)
    assert found.success.value == 3 / 7 and found.recovered.value == 1 / 4 and found.invalid == 4 / 35
    assert run_figures(episodes([True])).recovered.value is None


def test_a_clear_difference_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    weak = [episodes(list(rng.random(300) < 0.4)) for _ in range(2)]
    strong = [episodes(list(rng.random(300) < 0.6)) for _ in range(2)]
    alike = [episodes(list(rng.random(300) < 0.6)) for _ in range(2)]
    clear, none = compare_arms("strong", {"weak": weak, "alike": alike}, strong)
    assert clear.found and (clear.difference.low or 0) > 0 and clear.p < clear.p_adjusted < 0.01
    assert not none.found and (none.difference.low or 0) < 0 < (none.difference.high or 0)
    assert len(clear.by_seed) == 2 and all(p < 0.01 for _, p in clear.by_seed)


def test_seeds_that_contradict_each_other_are_no_difference():
    low, high = [True] * 20 + [False] * 280, [True] * 280 + [False] * 20
    one = [episodes(low), episodes(high)]
    other = [episodes(high), episodes(high[:-40] + [False] * 40)]
    (found,) = compare_arms("other", {"one": one}, other)
    assert (found.difference.value or 0) > 0.3 and not found.found


def test_runs_of_different_tasks_are_not_compared():
    with pytest.raises(ValueError, match="were not evaluated on the same tasks in the same order"):
        compare_arms("b", {"a": [episodes([True, False])]}, [episodes([True])])


@pytest.mark.slow
def test_the_interval_covers_the_truth_and_widens_with_the_seeds():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        differences = (rng.random((4, 80)) < 0.5).astype(float) - (rng.random((4, 80)) < 0.4)
        interval = bootstrap_tasks_and_seeds(differences)
        hits += (interval.low or 0) <= 0.1 <= (interval.high or 0)
    assert hits >= 52
    apart = np.concatenate([np.ones((1, 80)), np.zeros((1, 80))])
    wide = bootstrap_tasks_and_seeds(apart)
    assert (wide.low, wide.high) == (0.0, 1.0) and wide == bootstrap_tasks_and_seeds(apart)


def test_holm_is_never_below_what_it_adjusts():
    assert holm([0.01, 0.04, 0.03]) == [0.03, 0.06, 0.06]
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
