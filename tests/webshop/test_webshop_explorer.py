"""``expert="explorer"``: a shopper that knows only what pages have said, from any state, in any process."""

import json
import multiprocessing
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import step_envs
from step_envs.agents import OracleAgent
from step_envs.collection import rollout
from step_envs.errors import SnapshotError, UnknownNameError
from step_envs.testing import check_text_env
from step_envs.webshop.env import WebShopEnv
from step_envs.webshop.expert import Shopper
from step_envs.webshop.shop.instruction_parser import search_words
from step_envs.wrappers import ReActWrapper, RecordTrajectory

ENV_ID = "STeP-WebShop-v0"
GOALS = step_envs.list_tasks(ENV_ID, "test")


def make(**options: Any) -> WebShopEnv:
    world = gym.make(ENV_ID, **{"split": "test", "expert": "explorer", **options}).unwrapped
    assert isinstance(world, WebShopEnv)
    return world


def follow(world: WebShopEnv, most: int = 60) -> list[tuple[str, str, str]]:
    """Do what the oracle says until the episode ends, and return action, thought and answer of each step."""
    steps: list[tuple[str, str, str]] = []
    while not (world.terminated or world.truncated) and len(steps) < most:
        action = world.oracle.next_action()
        if action is None:
            break
        assert world.accepts(action), action
        thought = world.oracle.thought(action)
        steps.append((action, thought, world.step(action)[0]))
    return steps


def test_names_and_modes_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown expert 'psychic'. Known: shortest, explorer."):
        WebShopEnv(expert="psychic")
    for mode in ("text_rich", "html", "url"):
        with pytest.raises(ValueError, match='expert="explorer" reads pages as text: it needs observation_mode="text"'):
            WebShopEnv(expert="explorer", observation_mode=mode)


@pytest.mark.slow
def test_it_keeps_the_contract() -> None:
    check_text_env(ENV_ID, expert="explorer", oracle_tasks=0)


def test_the_oracle_agent_shops_by_reading_and_buys_in_time() -> None:
    env = RecordTrajectory(ReActWrapper(gym.make(ENV_ID, split="test", expert="explorer")))
    scores = []
    for task_id in GOALS[:40]:
        trajectory = rollout(env, OracleAgent(), task_id=task_id)
        turns = [turn for turn in trajectory.turns if turn.role == "assistant" and turn.kind == "expert"]
        assert 3 <= len(turns) <= 10
        assert turns[-1].action == "click[buy now]"
        assert all(turn.content.splitlines()[0].endswith(".") for turn in turns)
        assert trajectory.terminated and not trajectory.truncated
        scores.append(trajectory.score)
    assert sum(scores) / len(scores) > 0.85
    assert sum(score == 1.0 for score in scores) > 20


def test_it_clicks_values_of_options_and_never_their_names() -> None:
    """The text of a page shows both alike, and the instruction names the option as often as its value."""
    shopper = Shopper("i need a hdmi cable, pack of 2, size 6 feet, and price lower than 40.00 dollars")
    page = (
        "WebShop [SEP] Instruction: [SEP] x [SEP] Back to Search [SEP] < Prev [SEP] pack [SEP] pack of 1 [SEP] "
        "pack of 2 [SEP] size [SEP] 6 feet [SEP] hdmi cable, pack of 2 [SEP] Price: $9.00 [SEP] Rating: N.A. [SEP] "
        "Description [SEP] Features [SEP] Reviews [SEP] Buy Now"
    )
    clickables = ["back to search", "< prev", "pack of 1", "pack of 2", "6 feet", "features", "buy now"]
    shopper.see(page, clickables)
    step = shopper.next_step(3)
    assert step is not None
    clicked = []
    while step.action not in ("click[buy now]", "click[back to search]") and len(clicked) < 5:
        clicked.append(step.action)
        shopper.see(page, clickables, step.action)
        step = shopper.next_step(3)
        assert step is not None
    assert clicked == ["click[pack of 2]", "click[6 feet]"]


@pytest.mark.parametrize(
    "word", ["größe", "gro\u0308ße", "красный", "红色", "हिन्दी", "เสื้อ", "עִבְרִית", "العَرَبِيَّة", "t-shirt", "l'oreal"]
)
def test_a_query_keeps_the_letters_of_every_script(word: str) -> None:
    assert search_words(f"i want a {word}, and price lower than 20.00 dollars") == word.lower()


def test_only_legal_actions_are_played() -> None:
    world = make()
    for task_id in GOALS[:40]:
        world.reset(options={"task_id": task_id})
        while not world.terminated:
            action = world.oracle.next_action()
            assert action in world.admissible_actions()
            assert world.step(action)[4]["valid_action"]


def test_a_plan_is_what_it_then_does_from_a_snapshot_too() -> None:
    world, other = make(), make()
    found = 0
    for task_id in GOALS[:25]:
        world.reset(options={"task_id": task_id})
        for _ in range(3):
            saved = world.snapshot()
            plan = world.oracle.plan()
            assert other.oracle.plan(saved) == plan
            assert world.snapshot() == saved
            other.restore(saved)
            assert other.snapshot() == saved
            assert other.oracle.plan() == plan
            played = [action for action, _, _ in follow(other)]
            if plan is None:
                assert not other._state or other._state.score < 1.0
            else:
                assert played == plan
                assert other.oracle.plan() == []
                assert other.oracle.next_action() is None
                assert world.oracle.plan(after=plan[:1]) == plan[1:]
                assert world.oracle.plan(after=plan) == []
                found += 1
            world.step(str(world.oracle.next_action()))
    assert found > 40


def test_the_planner_can_still_be_asked() -> None:
    world = make()
    world.reset(options={"task_id": GOALS[0]})
    best = world.oracle.best_plan()
    assert best is not None and best[1] == 1.0
    assert world.oracle.best_plan(world.snapshot()) == best


def _moves(saved: bytes) -> list[tuple[str, str, str]]:
    world = make(max_steps=None)
    world.restore(saved)
    return follow(world)


def test_another_process_goes_on_alike() -> None:
    world = make(max_steps=None)
    saved = []
    for seed in range(3):
        world.reset(seed=seed)
        wander(world, seed)
        saved.append(world.snapshot())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_moves, saved) == [_moves(snapshot) for snapshot in saved]


def wander(world: WebShopEnv, seed: int, count: int = 6) -> None:
    """Do as somebody else would: searches for other things, clicks here and there, nonsense."""
    draw = np.random.default_rng(seed)
    for _ in range(count):
        odd = ["search[shoes]", "search[<r>]", "search[zzzz]", "search[<c>]", "foo", "click[description]"]
        actions = [action for action in world.admissible_actions() if action != "click[buy now]"]
        world.step(str(draw.choice(odd if draw.random() < 0.4 else actions)))


def test_it_takes_over_anywhere_and_buys() -> None:
    world, ignorant = make(max_steps=None), make(max_steps=None)
    default = make(max_steps=None, expert="shortest")
    scores = []
    for seed in range(60):
        world.reset(seed=seed)
        wander(world, seed)
        # A snapshot of an environment with the default oracle holds no history: then the shopper knows one page.
        default.restore(world.snapshot())
        assert default.snapshot() != world.snapshot()
        ignorant.restore(default.snapshot())
        again = ignorant.snapshot()
        assert ignorant.oracle.plan(again) == ignorant.oracle.plan()
        for shop in (world, ignorant):
            steps = follow(shop)
            assert steps[-1][0] == "click[buy now]" and len(steps) <= 20, steps
            assert shop._state is not None
            scores.append(shop._state.score)
    assert sum(scores) / len(scores) > 0.7


def test_it_hurries_where_few_steps_are_left() -> None:
    for limit in range(3, 10):
        world = make(max_steps=limit)
        for task_id in GOALS[:10]:
            world.reset(options={"task_id": task_id})
            steps = follow(world)
            assert world.terminated and steps[-1][0] == "click[buy now]"


def test_it_knows_nothing_of_the_goal_but_the_instruction() -> None:
    world = make()
    for task_id in GOALS[:10]:
        world.reset(options={"task_id": task_id})
        goal = world.engine.goal.to_dict()
        hidden = {"asin": "B000000000", "name": "x", "query": "y", "attributes": ["zz"], "goal_options": ["none"]}
        answers = []
        for given_goal in (goal, goal | hidden):
            world.reset(options={"task_id": task_id, "goal": given_goal})
            answers.append([step[:2] for step in follow(world)] + [world.oracle.thought("click[buy now]")])
        assert answers[0][:-1] == answers[1][:-1]


def test_thoughts_on_what_it_would_not_do_tell_nothing_hidden() -> None:
    world = make()
    world.reset(options={"task_id": GOALS[0]})
    goal = world.engine.goal.to_dict() | {"attributes": ["secret word"]}
    world.reset(options={"goal": goal})
    world.step(str(world.oracle.next_action()))
    for action in ("click[buy now]", "search[lamp]", "foo", "click[next >]", "click[back to search]"):
        assert "secret" not in world.oracle.thought(action)
    world.step(str(world.oracle.next_action()))
    assert world.oracle.next_action() != "click[buy now]"
    assert "secret" not in world.oracle.thought("click[Buy Now]")
    assert world.oracle.thought("click[Buy Now]").endswith("I buy it.")


def test_default_snapshots_hold_no_history() -> None:
    world = make(expert="shortest")
    world.reset(seed=0)
    world.step("search[lamp]")
    saved = json.loads(world.snapshot())["world"]
    assert list(saved) == ["shop", "score", "own_goal"]
    assert list(saved["shop"]) == ["goal", "session_id", "session", "page", "observations", "actions"]
    explorer = make()
    explorer.reset(seed=0)
    explorer.step("search[lamp]")
    saved = json.loads(explorer.snapshot())["world"]
    assert saved["shop"].pop("history") == {"start": None, "actions": ["search[lamp]"]}
    assert saved == json.loads(world.snapshot())["world"]


def test_a_shop_where_nothing_is_found_is_given_up() -> None:
    shopper = Shopper("wug, and price lower than 5.00 dollars")
    shopper.see("WebShop [SEP] Instruction: [SEP] wug [SEP] Search", ["search"])
    step = shopper.next_step(10)
    assert step is not None and step.action == "search[wug]"
    nothing = "Instruction: [SEP] wug [SEP] Back to Search [SEP] Page 1 (Total results: 0) [SEP] Next >"
    shopper.see(nothing, ["back to search", "next >"], "search[wug]")
    assert shopper.next_step(9) is None
    stranger = Shopper("wug")
    stranger.see(nothing, ["back to search", "next >"])
    step = stranger.next_step(9)
    assert step is not None and step.action == "click[back to search]"


INSTRUCTIONS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["", " ", "[SEP]", "Next >", "<r>", "<<c> x]", "Buy Now", "a\nb", "[x]", "İ", "\ud800", "red lamp"]
    ),
)


@given(INSTRUCTIONS, st.lists(st.one_of(st.text(max_size=12), st.integers(0, 30)), max_size=8), st.integers(-2, 12))
@settings(max_examples=80, deadline=None)
def test_any_instruction_and_any_history_are_answered(wish: str, actions: list[str | int], left: int) -> None:
    world = _SHARED.setdefault("world", make(max_steps=None))
    world.reset(seed=0)
    goal = world.engine.goal.to_dict() | {"instruction_text": wish}
    world.reset(options={"goal": goal})
    for action in actions:
        if isinstance(action, int):
            listed = world.admissible_actions()
            action = listed[action % len(listed)]
        if world.step(action)[2]:
            break
    world.oracle.plan()
    action = world.oracle.next_action()
    assert action is None or world.oracle.thought(action)
    shopper = Shopper(wish)
    shopper.look(world.engine)
    shopper.next_step(left)


_SHARED: dict[str, WebShopEnv] = {}


def _wreck(value: Any, draw: Any) -> Any:
    """Change one thing somewhere in a JSON value: delete it, give it another type, or another value."""
    if isinstance(value, dict) and value and draw(st.integers(0, 5)):
        name = draw(st.sampled_from(sorted(value)))
        if not draw(st.integers(0, 3)):
            return {key: kept for key, kept in value.items() if key != name}
        return value | {name: _wreck(value[name], draw)}
    if isinstance(value, list) and value and draw(st.integers(0, 2)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _wreck(value[place], draw), *value[place + 1 :]]
    other = st.sampled_from(
        [None, True, False, 0, -1, 7, 10**30, 1e308, -0.5, float("inf"), float("nan"), "", "x", "results", "item",
         "sub", "done", "index", "<r>", "B000000000", [], {}, [[]], [None], ["x"], {"x": "y"}, {"x": 1}]
    )  # fmt: skip
    return draw(other)


@given(st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_garbled_snapshot_is_refused_at_once_or_plays_on(data: st.DataObject) -> None:
    expert = data.draw(st.sampled_from(["shortest", "explorer"]))
    world = _SHARED.setdefault(expert, make(expert=expert, max_steps=None))
    world.reset(seed=data.draw(st.integers(0, 5)))
    for _ in range(data.draw(st.integers(0, 4))):
        world.step(data.draw(st.sampled_from(world.admissible_actions())))
        if world.terminated:
            break
    saved = json.loads(world.snapshot())
    for _ in range(data.draw(st.integers(1, 3))):
        saved["world"] = _wreck(saved["world"], data.draw)
    garbled = json.dumps(saved).encode()
    before = world.engine.save()
    try:
        world.restore(garbled)
    except SnapshotError:
        assert world.engine.save() == before
        with pytest.raises(SnapshotError):
            world.oracle.plan(garbled)
        return
    world.oracle.plan(garbled)
    for choice in range(3):
        world.oracle.plan()
        if world.terminated:
            break
        actions = world.admissible_actions()
        world.step(actions[choice % len(actions)] if actions else "foo")
    world.snapshot()
