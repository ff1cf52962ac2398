"""``brief=True``: the same worlds in fewer words, with names that can be copied."""

import json
import re
import sys
from functools import cache
from pathlib import Path

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import step_envs
from step_envs.agents import NoviceAgent, OracleAgent, rollout
from step_envs.testing import check_text_env
from step_envs.webshop.shop.page_reader import read_results
from step_envs.wrappers import ReActWrapper, RecordTrajectory, TeacherMonitorWrapper
from step_envs.wrappers.teachers import OracleTeacher

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import own_world  # noqa: F401  (registers Coin-v0)

ALFWORLD = ("STeP-ALFWorld-v0", {"source": "generated", "household": "small", "expert": "explorer"})
FULL = ("STeP-ALFWorld-v0", {"source": "generated", "expert": "explorer"})
WEBSHOP = ("STeP-WebShop-v0", {"size": 500, "goals": "human", "split": "test", "expert": "explorer"})
SCIWORLD = ("STeP-SciWorld-v0", {"expert": "explorer", "task_types": ["find-animal", "find-plant", "use-thermometer"]})
WORLDS = [ALFWORLD, FULL, WEBSHOP, SCIWORLD]
EPISODES = {"STeP-ALFWorld-v0": 25, "STeP-WebShop-v0": 25, "STeP-SciWorld-v0": 6}
"""How many are played: fewer where an engine outside Python takes most of the time."""

worlds = pytest.mark.parametrize(("env_id", "options"), WORLDS)
# Every episode of ScienceWorld is played in two worlds, which takes long in an engine outside Python.
long_worlds = pytest.mark.parametrize(
    ("env_id", "options"), [ALFWORLD, FULL, WEBSHOP, pytest.param(*SCIWORLD, marks=pytest.mark.slow)]
)

WORD = re.compile(r"[\w'&.+-]*[\w'&]")
COMMANDS = frozenset(
    [
        "go",
        "to",
        "open",
        "close",
        "take",
        "from",
        "move",
        "use",
        "clean",
        "heat",
        "cool",
        "with",
        "search",
        "click",
        "pick",
        "up",
        "focus",
        "on",
        "in",
        "teleport",
        "look",
        "around",
        "wait",
        "features",
        "prev",
        "buy",
        "now",
        "back",
    ]
)
BRIEF_THOUGHTS = COMMANDS | frozenset(
    [
        "goal",
        "no",
        "not",
        "yet",
        "try",
        "seen",
        "is",
        "here",
        "it",
        "hand",
        "at",
        "has",
        "have",
        "read",
        "its",
        "choose",
        "another",
        "price",
        "right",
        "too",
        "high",
        "put",
        "see",
        "what",
        "needed",
        "second",
        "of",
        "others",
        "this",
        "these",
        "an",
        "earlier",
        "one",
        "was",
        "better",
        "anew",
        "none",
        "nothing",
        "found",
        "for",
        "again",
        "under",
        "lamp",
    ]
)


@cache
def pair(env_id, options):
    """Return a plain and a brief environment that are otherwise the same."""
    read = json.loads(options)
    return tuple(gym.make(env_id, brief=brief, **read).unwrapped for brief in (False, True))


def in_full(world, observation, action):
    """Return a brief action as the plain world knows it, read from the plain page."""
    number = re.fullmatch(r"click\[(\d+)\]", action)
    if world.env_id != "STeP-WebShop-v0" or number is None or "Page " not in observation:
        return action
    listed = read_results(observation.split(" [SEP] "))
    place = int(number[1]) - 1
    return f"click[{listed[place].asin.lower()}]" if 0 <= place < len(listed) else action


@long_worlds
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 300),
    choices=st.lists(
        st.one_of(st.integers(0, 10_000), st.just("plan"), st.sampled_from(("click[3]", "dance", "look"))), max_size=9
    ),
)
def test_a_brief_world_is_the_plain_one_in_other_words(env_id, options, seed, choices):
    plain, brief = pair(env_id, json.dumps(options))
    shown, info = plain.reset(seed=seed)
    brief_shown, brief_info = brief.reset(seed=seed)
    for choice in choices:
        assert brief.snapshot() == plain.snapshot()
        actions = brief.admissible_actions()
        action = actions[choice % len(actions)] if isinstance(choice, int) else choice
        if choice == "plan":
            action = brief.oracle.next_action() or "look"
        named = in_full(plain, shown, action)
        if not plain.waits_outside_python:  # there it takes as long as the step itself
            assert brief.accepts(action) == plain.accepts(named)
        shown, *outcome, info = plain.step(named)
        brief_shown, *brief_outcome, brief_info = brief.step(action)
        assert brief_outcome == outcome
        assert {**brief_info, "instruction": ""} == {**info, "instruction": ""}
        if outcome[1] or outcome[2]:
            break
    # Snapshots are the same bytes, so that each world goes on where the other one stopped.
    saved = plain.snapshot()
    assert brief.snapshot() == saved
    brief.reset(seed=seed + 1)
    assert brief.restore(saved) == (brief_shown, brief_info)
    plain.reset(seed=seed + 1)
    assert plain.restore(brief.snapshot()) == (shown, info)


@pytest.mark.parametrize(("env_id", "options"), [FULL, WEBSHOP, pytest.param(*SCIWORLD, marks=pytest.mark.slow)])
def test_a_brief_world_keeps_the_contract(env_id, options):
    check_text_env(env_id, brief=True, **options)


@cache
def golden(env_id, options, brief):
    """Play golden episodes of the first tasks, and return them."""
    env = RecordTrajectory(ReActWrapper(gym.make(env_id, brief=brief, **json.loads(options)), style="plain"))
    tasks = [env.reset(seed=seed)[1]["task_id"] for seed in range(EPISODES[env_id])]
    played = [rollout(env, OracleAgent(), seed=0, task_id=task) for task in tasks]
    env.close()
    return played


def words_shown(trajectory):
    return sum(len(turn.content.split()) for turn in trajectory.turns if turn.role == "user")


@long_worlds
def test_golden_episodes_succeed_as_often_in_fewer_words(env_id, options):
    plain, brief = (golden(env_id, json.dumps(options), brief) for brief in (False, True))
    if env_id != "STeP-WebShop-v0":  # there the shopper reads other words
        assert all(played.success for played in (*plain, *brief))
        assert [played.steps for played in brief] == [played.steps for played in plain]
    assert sum(map(words_shown, plain)) > 1.8 * sum(map(words_shown, brief))


@worlds
def test_every_name_of_a_golden_reply_was_said_before(env_id, options):
    named = missing = 0
    for played in golden(env_id, json.dumps(options), True):
        said: set[str] = set()
        for turn in played.turns:
            words = WORD.findall(turn.content)
            if turn.role == "assistant":
                thought, _, action = turn.content.removeprefix("Thought: ").partition("\nAction: ")
                names = [word for word in WORD.findall(action) if word not in COMMANDS]
                names += [word for word in WORD.findall(thought) if word.lower() not in BRIEF_THOUGHTS]
                named += len(names)
                missing += sum(name not in said for name in names)
            said.update(words)
    assert named > 50 and missing <= 0.01 * named


@worlds
def test_the_plan_can_be_played_as_it_is(env_id, options):
    brief = pair(env_id, json.dumps(options))[1]
    seen, count = 0, EPISODES[env_id] // 3
    for seed in range(count):
        brief.reset(seed=seed)
        plan = brief.oracle.plan()
        if plan is None:  # a shopper does not always find what was asked for
            continue
        seen += 1
        assert plan[0] == brief.oracle.next_action()
        saved = brief.snapshot()
        # Imagined actions are brief ones too.
        assert brief.oracle.plan(saved, after=plan[:2]) == plan[2:]
        for action in plan:
            info = brief.step(action)[-1]
        assert info["success"]
    assert seen >= 2


@long_worlds
def test_a_teacher_corrects_in_brief_names(env_id, options):
    env = RecordTrajectory(
        TeacherMonitorWrapper(
            ReActWrapper(gym.make(env_id, brief=True, **options), style="plain"), teacher=OracleTeacher(), max_errors=3
        )
    )
    corrections = []
    for seed in range(EPISODES[env_id] // 3):
        played = rollout(env, NoviceAgent(error_rate=0.6), seed=seed)
        corrections += [turn for turn in played.turns if turn.kind == "correction"]
    env.close()
    assert corrections
    for turn in corrections:
        assert "Goal: " in turn.content
        assert re.search(r"b0\w{8}|\$\d", turn.content.lower()) is None


def test_first_messages_hold_task_and_place():
    texts = {}
    for env_id, options in (ALFWORLD, WEBSHOP, SCIWORLD):
        env = ReActWrapper(gym.make(env_id, brief=True, **options), style="plain")
        texts[env_id] = env.reset(seed=0)[0]
        assert env.get_wrapper_attr("messages") == [{"role": "user", "content": texts[env_id]}]
        env.close()
    assert re.fullmatch(r"task: [a-z ]+\nroom: [a-z0-9 ,]+", texts["STeP-ALFWorld-v0"])
    assert re.fullmatch(r"task: [^\n|]+ \| price lower than \d+", texts["STeP-WebShop-v0"])
    assert re.fullmatch(r"task: [^\n]+\nrooms: hallway, [a-z ,]+\n[a-z ]+: [^\n]+", texts["STeP-SciWorld-v0"])


def test_the_shop_lists_numbers_and_takes_ids_too():
    plain, brief = pair(WEBSHOP[0], json.dumps(WEBSHOP[1]))
    plain.reset(seed=5)
    brief.reset(seed=5)
    search = plain.admissible_actions()[0]
    listed = read_results(plain.step(search)[0].split(" [SEP] "))
    page = brief.step(search)[0]
    assert [f"[{place}]" for place in range(1, 11)] == re.findall(r"\[\d+\]", page)
    assert set(brief.admissible_actions()) == {
        *(f"click[{n}]" for n in range(1, 11)),
        "click[back to search]",
        "click[next >]",
    }
    third, saved = listed[2], brief.snapshot()
    by_number = brief.step("click[3]")
    assert by_number[-1]["details"]["asin"] == third.asin
    brief.restore(saved)
    assert brief.step(f"click[{third.asin.lower()}]") == by_number
    # A number means a product on a result page only, and only where there is one.
    assert not brief.accepts("click[3]")
    brief.restore(saved)
    assert not brief.accepts("click[11]") and not brief.accepts("click[03]") and not brief.accepts("click[0]")


def test_chosen_options_are_said():
    brief = pair(WEBSHOP[0], json.dumps(WEBSHOP[1]))[1]
    for seed in range(20):
        page, _ = brief.reset(seed=seed)
        while (action := brief.oracle.next_action()) not in (None, "click[buy now]"):
            page = brief.step(action)[0]
        options = brief.engine.session.options
        if options:
            chosen = " ".join(f"[{value}]" for value in options.values())
            assert page.startswith("page: ") and page.endswith(f" | chosen {chosen}")
            return
    pytest.fail("no episode chose an option")


@pytest.mark.parametrize(
    ("env_id", "options", "message"),
    [
        ("Coin-v0", {}, "CoinEnv has no brief texts: leave out brief=True."),
        (
            "STeP-WebShop-v0",
            {"observation_mode": "html"},
            "brief=True has pages of its own: leave out observation_mode=, num_prev_obs= and num_prev_actions=.",
        ),
        (
            "STeP-WebShop-v0",
            {"num_prev_obs": 1},
            "brief=True has pages of its own: leave out observation_mode=, num_prev_obs= and num_prev_actions=.",
        ),
        ("STeP-WebShop-v0", {"backend": "http"}, "WebShopSiteEnv has no brief texts: leave out brief=True."),
    ],
)
def test_what_has_no_brief_texts_says_so(env_id, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        gym.make(env_id, brief=True, **options)


def test_other_texts_are_shown_as_they_are():
    for env_id, options in (ALFWORLD, WEBSHOP, SCIWORLD):
        brief = pair(env_id, json.dumps(options))[1]
        brief.reset(seed=0)
        message = brief.react.format_error
        assert brief.pass_step(message)[0] == message
        assert brief.restore(brief.snapshot())[0] == message


@pytest.mark.parametrize("env_id", ["STeP-ALFWorld-v0", "STeP-WebShop-v0", "STeP-SciWorld-v0"])
def test_without_the_option_nothing_is_brief(env_id):
    tasks = step_envs.list_tasks(env_id)
    assert step_envs.list_tasks(env_id, brief=True) == tasks
    env = gym.make(env_id).unwrapped
    assert not env.brief and env.react is type(env).react
    env.close()
