"""What states are worth, by the oracle and by continuations."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from credit_worlds import WORLDS

from step_envs.agents import NoviceAgent
from step_envs.credit import (
    Moment,
    StateValueFunction,
    make_value_function,
    make_world,
    replay,
    step_advantages,
)
from step_envs.credit.annotation import with_values
from step_envs.credit.oracle_value import OracleValue
from step_envs.credit.rollout_value import RolloutValue
from step_envs.errors import UnknownNameError
from step_envs.trajectory import Actor, Trajectory

Episodes = Callable[..., list[Trajectory]]


def known(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


@pytest.mark.parametrize("env_id", WORLDS)
def test_the_oracle_discounts_its_distance(env_id: str, episodes: Episodes) -> None:
    trajectory = episodes(env_id)[0]
    found = OracleValue(discount=0.9).values(trajectory)
    world = make_world(trajectory.env_id, trajectory.protocol)
    for turn in replay(trajectory, world):
        distance = world.oracle.distance()
        ended = world.restore_point().snapshot.state
        expected = ended.score if ended.done else 0.0 if distance is None else 0.9**distance
        assert found[turn.number] == pytest.approx(max(0.0, expected))
    assert [value is not None for value in found].count(True) == 1 + sum(
        turn.role == "assistant" and turn.kind != "instruction" for turn in trajectory.turns
    )
    world.close()


@pytest.mark.parametrize("env_id", WORLDS)
def test_continuations_of_an_agent_that_never_errs_are_worth_what_the_oracle_says(
    env_id: str, episodes: Episodes
) -> None:
    exact, tried = OracleValue(), RolloutValue("oracle", n=1)
    for trajectory in episodes(env_id):
        assert tried.values(trajectory) == pytest.approx(exact.values(trajectory))
    exact.close()
    tried.close()


def test_continuations_of_an_agent_that_errs_are_worth_less(episodes: Episodes) -> None:
    exact, tried = OracleValue(), RolloutValue("novice:error_rate=0.5", n=4)
    for trajectory in episodes("STeP-ALFWorld-v0"):
        best, found = known(exact.values(trajectory)), known(tried.values(trajectory))
        assert all(value <= most + 1e-9 for value, most in zip(found, best, strict=True))
        assert sum(found) < sum(best)


def test_continuations_are_the_same_again_and_others_with_another_seed(episodes: Episodes) -> None:
    trajectory = episodes("STeP-ALFWorld-v0")[0]
    first, again = (RolloutValue("novice:error_rate=0.5", n=2).values(trajectory) for _ in range(2))
    assert first == again
    assert first != RolloutValue("novice:error_rate=0.5", n=2, seed=1).values(trajectory)


def test_a_continuation_sees_the_conversation_up_to_its_state(
    episodes: Episodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent is shown what the recorded one was shown, and plays at most as many steps as are allowed."""
    trajectory = episodes("STeP-ALFWorld-v0")[0]
    shown: list[list[dict[str, str]]] = []
    steps = 0

    def begin(self: NoviceAgent, env: object, rng: np.random.Generator) -> None:
        shown.append(env.get_wrapper_attr("messages"))  # type: ignore[attr-defined]

    def act(self: NoviceAgent, env: object) -> str:
        nonlocal steps
        steps += 1
        return "Action: look"

    monkeypatch.setattr(NoviceAgent, "begin", begin)
    monkeypatch.setattr(NoviceAgent, "act", act)
    found = RolloutValue("novice", n=1, max_steps=3).values(trajectory)
    messages = [{"role": turn.role, "content": turn.content} for turn in trajectory.turns]
    places = [number for number, value in enumerate(found) if value is not None]
    ends = [number + (1 if number == places[0] else 2) for number in places]
    # The last state is that of success, from which nobody continues.
    assert shown == [messages[:end] for end in ends[:-1]]
    assert steps == 3 * len(shown)
    assert [found[number] for number in places] == [0.0] * len(shown) + [1.0]


@pytest.mark.parametrize("env_id", WORLDS)
def test_a_right_step_costs_nothing_and_a_wrong_one_does(env_id: str, episodes: Episodes) -> None:
    for trajectory in episodes(env_id):
        function = OracleValue()
        valued = with_values(trajectory, function.values(trajectory), function.describe())
        for turn, advantage in zip(valued.turns, step_advantages(valued), strict=True):
            if advantage is None:
                continue
            if turn.kind == "correction":
                assert advantage >= -1e-9
            elif turn.kind == "error":
                assert advantage < -1e-9


def test_without_values_there_are_no_advantages(episodes: Episodes) -> None:
    trajectory = episodes("STeP-ALFWorld-v0")[0]
    assert step_advantages(trajectory) == [None] * len(trajectory.turns)
    undiscounted = with_values(trajectory, [0.5] * len(trajectory.turns), Actor(name="mine"))
    assert set(step_advantages(undiscounted)) == {None, 0.0}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("oracle:discount=1", "With discount=1 the oracle values all states alike: take less than 1."),
        ("oracle:discount=0", "discount must be above 0 and at most 1, got 0."),
        ("rollouts:agent=novice,n=0", "n must be a whole number of at least 1, got 0."),
        ("rollouts:agent=novice,seed=-1", "seed must be a whole number of at least 0, got -1."),
        (
            "rollouts:agent=5",
            "The value function 'rollouts' cannot be made from 'agent=5': agent is the specification of an agent, got 5.",
        ),
        ("rollouts:agent=novice,n=1.5", "n must be a whole number of at least 1, got 1.5."),
        ("rollouts", "The value function 'rollouts' cannot be made from '': The option 'agent' is missing."),
        ("pathlib.Path", "The value function 'pathlib.Path' is a PosixPath, not a step_envs.credit.ValueFunction."),
    ],
)
def test_wrong_specifications(spec: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        make_value_function(spec)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown value function 'rollout'\. Did you mean 'rollouts'\?"):
        make_value_function("rollout:agent=novice")
    with pytest.raises(UnknownNameError, match=r"Unknown agent 'novize'\. Did you mean 'novice'\?"):
        make_value_function("rollouts:agent=novize")


def test_where_no_way_is_known_from_the_start_nothing_is_known(
    episodes: Episodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    trajectory = episodes("STeP-ALFWorld-v0")[0]
    world = make_world(trajectory.env_id, trajectory.protocol)
    monkeypatch.setattr(type(world.oracle), "_plan", lambda self, state, after: None)
    assert OracleValue().values(trajectory) == [None] * len(trajectory.turns)


def test_a_reply_without_a_value_breaks_the_chain_of_advantages(episodes: Episodes) -> None:
    trajectory = episodes("STeP-ALFWorld-v0")[0]
    function = OracleValue()
    values = function.values(trajectory)
    third = [number for number, value in enumerate(values) if value is not None][2]
    whole = step_advantages(with_values(trajectory, values, function.describe()))
    broken = step_advantages(
        with_values(trajectory, [*values[:third], None, *values[third + 1 :]], function.describe())
    )
    changed = [number for number, pair in enumerate(zip(whole, broken, strict=True)) if pair[0] != pair[1]]
    assert changed == [third, third + 2]
    assert [broken[number] for number in changed] == [None, None]


def test_what_was_stopped_before_it_ran_has_no_advantage(episodes: Episodes) -> None:
    function = OracleValue()
    for trajectory in episodes("STeP-ALFWorld-v0", "before"):
        advantages = step_advantages(with_values(trajectory, function.values(trajectory), function.describe()))
        kinds = {
            turn.kind for turn, advantage in zip(trajectory.turns, advantages, strict=True) if advantage is not None
        }
        assert kinds <= {"agent", "correction"}


def test_a_value_that_is_no_share_is_refused(episodes: Episodes) -> None:
    trajectory = episodes("STeP-ALFWorld-v0")[0]
    number = len(trajectory.turns)
    with pytest.raises(ValueError, match=r"^mine gave the value 1\.5: values are from 0 to 1\.$"):
        with_values(trajectory, [1.5] * number, Actor(name="mine"))
    with pytest.raises(ValueError, match=rf"^mine gave 1 values for {number} turns\.$"):
        with_values(trajectory, [0.5], Actor(name="mine"))

    class Broken(StateValueFunction):
        def running_value(self, moment: Moment) -> float:
            return float("nan")

    with pytest.raises(ValueError, match=r"^Broken gave nan as the value of a state\.$"):
        Broken().values(trajectory)
    assert Broken(discount=0.5).describe() == Actor(name="Broken", params={"discount": 0.5})


def test_an_agent_that_never_succeeds_comes_to_an_end(episodes: Episodes) -> None:
    trajectory = episodes("STeP-ALFWorld-v0")[0]
    protocol = trajectory.protocol | {"env": trajectory.protocol["env"] | {"max_steps": None}}
    endless = trajectory.model_copy(update={"protocol": protocol})
    assert len(known(RolloutValue("random", n=1).values(endless))) > 1
