"""Malformed game files of every kind: one clear sentence that names file and reason, never a guess."""

import json

import pytest
from alfworld_small import game_file

from step_envs.alfworld.games.game import display_names, read_game
from step_envs.alfworld.games.goal import HEAT, SIMPLE, TWO
from step_envs.alfworld.generation.generator import generate_household
from step_envs.alfworld.generation.writer import write_game
from step_envs.alfworld.tasks import AlfworldTasks, GeneratedTasks
from step_envs.errors import DataError


def refused(fields: object, source: str = "here/game.tw-pddl") -> str:
    with pytest.raises(DataError) as caught:
        read_game(fields if isinstance(fields, str | bytes) else json.dumps(fields), source)
    message = str(caught.value)
    assert message.startswith(f"{source}: ") and message.endswith(".") and "\n" not in message
    return message


@pytest.mark.parametrize("text", ["", "{", '{"pddl_domain": "(define', "null", "[1]", b"\xff\xfe\x00", '"text"'])
def test_what_is_no_json_object(text):
    message = refused(text)
    assert "not valid JSON" in message or "holds a JSON object" in message


def test_what_is_nested_too_deep_to_be_walked_through():
    assert "not valid JSON" in refused("[" * 100_000)
    fields, deep = game_file(), "(and " * 5000 + ")" * 5000
    problem = str(fields["pddl_problem"])
    said = "nested more than 100 deep"
    assert said in refused({**fields, "pddl_problem": f"{problem[: problem.index('(:goal')]}(:goal {deep}))"})
    assert said in refused({**fields, "pddl_domain": f"(define (:action look {deep}))"})


def test_every_truncation_is_refused():
    whole = json.dumps(game_file())
    for length in range(0, len(whole) - 1, 997):
        assert "not valid JSON" in refused(whole[:length])


@pytest.mark.parametrize("key", ["pddl_domain", "grammar", "pddl_problem"])
@pytest.mark.parametrize("value", [None, 3, ["x"]])
def test_missing_keys(key, value):
    fields = game_file()
    del fields[key]
    assert repr(key) in refused(fields)
    assert repr(key) in refused({**fields, key: value})


def test_flags_and_walkthroughs_of_wrong_kinds():
    assert "'solvable'" in refused({**game_file(), "solvable": False})
    assert "'solvable'" in refused({**game_file(), "solvable": None})
    assert "'walkthrough'" in refused({**game_file(), "walkthrough": "look"})
    assert "'walkthrough'" in refused({**game_file(), "walkthrough": [1]})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("(:init", "(:start", "section (:init"),
        ("(:goal", "(:wish", "section (:goal"),
        ("(:objects", "(:things", "section (:objects"),
        (
            "(objectType Apple_bar_0 AppleType)",
            "(objectKind Apple_bar_0 AppleType)",
            "predicate that the engine does not know",
        ),
        ("(objectType Apple_bar_0 AppleType)", "(objectType Apple_bar_0)", "should have 2 arguments"),
        (
            "(objectType Apple_bar_0 AppleType)",
            "(objectType Pear_bar_0 AppleType)",
            "'pear_bar_0', which is not declared as object",
        ),
        ("(objectType Apple_bar_0 AppleType)", "()", "predicate that the engine does not know"),
        ("(objectType Apple_bar_0 AppleType)", "(objectType\nApple_bar_0)", "(objecttype apple_bar_0) should have"),
        ("(objectType Apple_bar_0 AppleType)", "stray", "'stray"),
        ("(atLocation agent1 loc_bar_0)", "", "in one place at the start, it is in 0"),
        ("(atLocation agent1 loc_bar_0)", "(atLocation agent1 loc_bar_0) (atLocation agent1 loc_bar_1)", "it is in 2"),
        ("(receptacleAtLocation Fridge_bar_0 loc_bar_2)", "", "'fridge_bar_0' stands nowhere"),
        ("(receptacleType Fridge_bar_0 FridgeType)", "", "'fridge_bar_0' has no type"),
        (
            "(objectType Apple_bar_0 AppleType)",
            "(objectType Apple_bar_0 AppleType) (objectType Apple_bar_0 MugType)",
            "more than one type",
        ),
        ("agent1 - agent", "agent1 - robot", "unknown kind 'robot'"),
        ("(receptacletype ?r CounterTopType)", "(receptacletype ?r CounterTopType) (openable ?r)", "none of the six"),
        ("(exists (?o - object)", "(forall (?o - object)", "none of the six"),
    ],
)
def test_damaged_problems(old, new, said):
    fields = game_file()
    problem = str(fields["pddl_problem"])
    if "countertoptype" in problem and old not in problem:
        old, new = old.replace("CounterTopType", "countertoptype"), new.replace("CounterTopType", "countertoptype")
    assert old in problem, problem[-600:]
    assert said in refused({**fields, "pddl_problem": problem.replace(old, new)})


def test_problems_cut_short():
    problem = str(game_file()["pddl_problem"])
    for length in range(0, len(problem) - 3, 211):
        refused({**game_file(), "pddl_problem": problem[:length]})


@pytest.mark.parametrize(
    ("key", "old", "new", "said"),
    [
        ("pddl_domain", "(not (holdsAny ?a))", "", "action"),
        ("pddl_domain", ":action CoolObject", ":action FreezeObject", "action"),
        ("pddl_domain", "(define", "(", "action"),
        ("pddl_domain", "(increase (total-cost) 5))))", "", "PDDL domain"),
        ("grammar", "You arrive at", "You come to", "the grammar is another"),
        ("grammar", '"task"', '"chore"', "rule 'task'"),
        ("grammar", '"list_empty": [{"rhs": "nothing"}],', "", "the grammar is another"),
        ("grammar", "is to: do it.", "is to: do \\x it.", "task sentence is not valid JSON"),
    ],
)
def test_other_rules_and_wordings_name_the_other_backend(key, old, new, said):
    fields = game_file()
    assert old in str(fields[key])
    message = refused({**fields, key: str(fields[key]).replace(old, new)})
    assert said in message and 'backend="textworld"' in message


@pytest.mark.parity
@pytest.mark.parametrize(
    ("key", "old", "new", "said"),
    [
        ("grammar", "You arrive at {r.name}", "You reach {r.name}", "'GotoLocation.feedback'"),
        ("grammar", "move {o} to {r}", "place {o} at {r}", "'place {o} at {r}'"),
        ("grammar", "You move the {o.name} to the {r.name}", "You put the {o.name} in/on the {r.name}", "mixes"),
        ("grammar", "look around your current location", "look about", "'help'"),
        ("grammar", "alarmclock with", "#alarmclock# with", "grammar symbols"),
        ("grammar", "grammar ::", 'grammar :: """["task"]""" grammar ::', "a block of the grammar holds a list"),
        ("pddl_domain", "(receptacleType ?r FridgeType)", "(receptacleType ?r SafeType)", "'coolobject'"),
        ("pddl_domain", "(:action look", "(:action stare", "'look'"),
    ],
)
def test_official_files_with_one_thing_changed(official, key, old, new, said):
    task = next(
        name for name in official.ids("valid_unseen") if name.startswith("valid_unseen/look_at_obj_in_light-AlarmClock")
    )
    fields = json.loads(official.game_file(task))
    assert old in fields[key] or key == "grammar"
    changed = fields[key].replace(old, new)
    if changed == fields[key]:
        pytest.skip("this game words its task the other way")
    message = refused({**fields, key: changed})
    assert said in message and 'backend="textworld"' in message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"things": ("Apple:CounterTop", "Mug:Desk")}, "already holds"),
        ({"task": (SIMPLE, "Apple", "Safe")}, "cannot be reached"),
        ({"task": (SIMPLE, "Pear", "Desk")}, "cannot be reached"),
        ({"task": (SIMPLE, "Apple", "Desk")}, "cannot be reached"),  # a desk accepts no apple
        ({"task": (TWO, "Apple", "CounterTop")}, "cannot be reached"),
        ({"task": (HEAT, "Knife", "CounterTop")}, "cannot be reached"),
        ({"things": ("Apple", "Mug:Desk")}, "cannot be reached"),  # it lies in nothing, so it cannot be taken
        ({"without": ["pickupable Apple_bar_0"]}, "cannot be reached"),
    ],
)
def test_games_that_cannot_be_played(fields, said):
    class OneGame(GeneratedTasks):
        read = AlfworldTasks.read

        def game_file(self, task_id):
            return json.dumps(game_file(**fields)).encode()

    with pytest.raises(DataError, match=said) as caught:
        OneGame().game("generated/pick_and_place_simple/0")
    assert str(caught.value).startswith("generated/pick_and_place_simple/0: ")


def test_things_without_a_type_lie_about_and_fit_nowhere():
    game = read_game(json.dumps(game_file(without=["objectType Mug_bar_3 MugType"])), "x")
    assert [thing.type for thing in game.things if thing.name == "mug 1"] == [""]


def test_display_names_count_down_in_the_order_of_ids():
    ids = ["mug_bar_1", "mug_bar_0", "desk_bar_0", "desklamp_bar_0", "sink_bar_0_bar_sinkbasin", "sink_bar_0", "agent1"]
    assert display_names(ids) == {
        "mug_bar_0": "mug 2",
        "mug_bar_1": "mug 1",
        "desk_bar_0": "desk 1",
        "desklamp_bar_0": "desklamp 1",
        "sink_bar_0_bar_sinkbasin": "sinkbasin 1",
        "sink_bar_0": "sink 1",
    }


def test_a_file_survives_other_line_breaks_and_comments():
    household = generate_household(SIMPLE, 5)
    fields = json.loads(write_game(household))
    problem = fields["pddl_problem"].replace("\n", "\r\n").replace("(:init", "; a comment ( here\r\n(:init")
    assert (
        read_game(json.dumps({**fields, "pddl_problem": problem}), "x").things
        == read_game(json.dumps(fields), "x").things
    )
