"""The shop against recordings of the original: every observation, address, available action, reward and component."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from step_envs.webshop.catalogue.catalogue import Catalogue
from step_envs.webshop.catalogue.goals import Goal
from step_envs.webshop.engine import ShopEngine
from step_envs.webshop.shop.reward import score_purchase

pytestmark = pytest.mark.parity

EPISODE_COUNT = 20

Recorded = Callable[[str], list[dict[str, Any]]]


class RecordedNouns:
    """Stands for the recording's tagger: gives nouns whose overlap is the recorded title score."""

    def __init__(self) -> None:
        self.score = Fraction(1)

    def __call__(self, title: str) -> list[str]:
        hits, length = self.score.numerator, self.score.denominator
        if title == self.goal_name:
            # Repeats count in the length and not in the overlap, which is how a title can score less than 1 with itself.
            return [f"shared{i if i < hits else 0}" if self.same else f"goal{i}" for i in range(length)]
        return [f"goal{i}" for i in range(hits)]

    def expect(self, goal_name: str, title: str, score: float) -> None:
        self.goal_name, self.same = goal_name, goal_name == title
        self.score = Fraction(score).limit_denominator(200)


def check(engine: ShopEngine, observation: str, expected: dict[str, Any]) -> None:
    assert observation == expected["obs_text"]
    assert engine.available_actions() == expected["available"]
    assert engine.page.url == expected["url"]
    assert engine.observe("url") == expected["url"]
    if "obs_text_rich" in expected:
        assert engine.observe("text_rich") == expected["obs_text_rich"]


@pytest.mark.parametrize("number", range(EPISODE_COUNT))
def test_transcript(number: int, thousand: Catalogue, recorded: Recorded) -> None:
    episode = recorded("webshop")[number]
    nouns = RecordedNouns()
    engine = ShopEngine(thousand, nouns=nouns)
    goal = Goal.from_dict(episode["goal"])
    outcome = engine.begin(goal, str(episode["goal_index"]))
    check(engine, outcome.observation, episode["reset"])
    for step in episode["steps"]:
        if "reward_info" in step:
            place = thousand.number_of(step["session"]["asin"])
            assert place is not None
            nouns.expect(goal.name, thousand.product(place).title, step["reward_info"]["title_score"])
        outcome = engine.act(step["action"])
        check(engine, outcome.observation, step)
        assert (outcome.reward, outcome.done) == (step["reward"], step["done"])
        session = engine.session
        assert step["session"] == {
            "page": session.page,
            "asin": session.asin,
            "options": session.options,
            "keywords": session.keywords,
        }
        assert outcome.details.get("reward_info") == step.get("reward_info")
        assert outcome.details.get("price") == step.get("price")


def test_all_transcripts_are_played(recorded: Recorded) -> None:
    assert len(recorded("webshop")) == EPISODE_COUNT


def test_transcripts_survive_saving_and_loading_at_every_step(thousand: Catalogue, recorded: Recorded) -> None:
    for episode in recorded("webshop"):
        here, there = ShopEngine(thousand), ShopEngine(thousand)
        here.begin(Goal.from_dict(episode["goal"]), str(episode["goal_index"]))
        for step in episode["steps"]:
            there.load(here.save())
            outcome = here.act(step["action"])
            assert there.act(step["action"]) == outcome
            assert there.save() == here.save()


def test_goals_and_their_drawn_limits_equal_the_original_seeded_with_zero(
    thousand: Catalogue, recorded: Recorded
) -> None:
    for episode in recorded("webshop"):
        kind = "human" if episode["human_goals"] else "synthetic"
        assert thousand.goal(kind, episode["goal_index"]).to_dict() == episode["goal"]


def test_reward_cases(thousand: Catalogue, recorded: Recorded) -> None:
    cases = recorded("webshop_rewards")
    assert len(cases) == 346
    for case in cases:
        goal = Goal.from_dict(case["goal"])
        place = thousand.number_of(case["asin"])
        assert place is not None
        nouns = {case["purchased_name"]: case["purchased_nouns"], goal.name: case["goal_nouns"]}
        if case["purchased_name"] == goal.name:
            assert case["purchased_nouns"] == case["goal_nouns"]
        reward, info = score_purchase(thousand.product(place), goal, case["price"], case["options"], nouns.__getitem__)
        assert (reward, info) == (case["reward"], case["info"])


def test_full_reward_is_out_of_reach_for_458_goals_only_in_strict_mode(thousand: Catalogue) -> None:
    goals = thousand.goals("synthetic")
    unreachable = {True: 0, False: 0}
    for number in range(len(goals)):
        product = thousand.product(goals.product_number(number))
        goal = goals.goal(number, product)
        for strict in (True, False):
            _, info = score_purchase(product, goal, 1.0, dict(goal.goal_options), lambda title: ["x"], strict=strict)
            unreachable[strict] += info.get("r_option", 1.0) < 1.0
    assert unreachable == {True: 458, False: 0}
