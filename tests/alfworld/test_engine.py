"""The rules and the wording, one by one, on households made by hand."""

import json

import pytest
from alfworld_original import commands as random_commands
from alfworld_small import engine, game_file, play

from step_envs.alfworld.engine import Engine
from step_envs.alfworld.games.game import read_game
from step_envs.alfworld.games.goal import LOOK, SIMPLE, TWO


def test_opening_lists_receptacles_by_id_and_the_first_look_sees_nothing():
    game = engine(("Cabinet1@1+", "Cabinet2@2", "Desk@3"), ("Mug:Cabinet1",), task=(SIMPLE, "Mug", "Desk"))
    assert game.reset() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a cabinet 2, a cabinet 1, and a desk 1.\n\n"
        "Your task is to: do it."
    )
    assert game.step("look") == "You are in the middle of a room. Looking quickly around you, you see nothing."
    # The first id has the highest number: Cabinet1 is cabinet 2.
    assert game.step("go to cabinet 2") == "You arrive at cabinet 2. The cabinet 2 is closed."
    assert game.step("go to cabinet 1") == "You arrive at cabinet 1. On the cabinet 1, you see nothing."


def test_every_command_says_its_words():
    game = engine()
    said = [
        game.step(command)
        for command in (
            "go to fridge 1",
            "open fridge 1",
            "examine fridge 1",
            "take apple 1 from fridge 1",
            "close fridge 1",
            "inventory",
            "cool apple 1 with fridge 1",
            "go to microwave 1",
            "heat apple 1 with microwave 1",
            "go to sinkbasin 1",
            "clean apple 1 with sinkbasin 1",
            "examine apple 1",
            "go to countertop 1",
            "move apple 1 to countertop 1",
            "look",
            "take knife 1 from countertop 1",
            "slice apple 1 with knife 1",
            "inventory",
            "go to desk 1",
            "use desklamp 1",
            "look",
        )
    ]
    assert said == [
        "You arrive at fridge 1. The fridge 1 is closed.",
        "You open the fridge 1. The fridge 1 is open. In it, you see a apple 1.",
        "The fridge 1 is open. In it, you see a apple 1.",
        "You pick up the apple 1 from the fridge 1.",
        "You close the fridge 1.",
        "You are carrying: a apple 1.",
        "You cool the apple 1 using the fridge 1.",
        "You arrive at microwave 1. The microwave 1 is closed.",
        "You heat the apple 1 using the microwave 1.",
        "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing.",
        "You clean the apple 1 using the sinkbasin 1.",
        "This is a hot and clean apple 1.",
        "You arrive at countertop 1. On the countertop 1, you see a knife 1, and a mug 1.",
        "You move the apple 1 to the countertop 1.",
        "You are facing the countertop 1. Next to it, you see nothing.",
        "You pick up the knife 1 from the countertop 1.",
        "You sliced the apple 1 with the knife 1.",
        "You are carrying: a knife 1.",
        "You arrive at desk 1. On the desk 1, you see a desklamp 1.",
        "You turn on the desklamp 1.",
        "You are facing the desk 1. Next to it, you see nothing.",
    ]
    assert game.step("help").startswith("Available commands:\n  look:") and game.step("help").endswith("object\n")
    assert engine().step("inventory") == "You are not carrying anything."


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ((), "There's nothing special about apple 1."),
        (("isClean", "isHot", "isSliced"), "This is a hot and clean sliced apple 1."),
        (("isClean", "isCool", "isSliced"), "This is a cool and clean sliced apple 1."),
        (("isClean", "isSliced"), "This is a clean sliced apple 1."),
        (("isHot", "isSliced"), "This is a hot sliced apple 1."),
        (("isCool", "isSliced"), "This is a cool sliced apple 1."),
        (("isClean", "isHot"), "This is a hot and clean apple 1."),
        (("isClean", "isCool"), "This is a cool and clean apple 1."),
        (("isHot",), "This is a hot apple 1."),
        (("isClean",), "This is a clean apple 1."),
        (("isCool",), "This is a cold apple 1."),
        (("isSliced",), "This is a sliced apple 1."),
        (("toggleable", "isToggled"), "This apple 1 is on."),
        (("toggleable",), "There's nothing special about apple 1."),
        (("toggleable", "isToggled", "isSliced"), "This apple 1 is on."),
        (("isReceptacleObject", "isHot"), "This is a normal apple 1. In it, you see nothing."),
    ],
)
def test_a_held_thing_shows_its_condition(states, text):
    game = engine(facts=[f"{state} Apple_bar_0" for state in states])
    play(game, "go to fridge 1", "open fridge 1", "take apple 1 from fridge 1")
    assert game.step("examine apple 1") == text


def test_what_lies_inside_a_vessel_shows_whatever_happens_to_it():
    game = engine(facts=["inReceptacleObject Knife_bar_1 Mug_bar_3", "inReceptacleObject Apple_bar_0 Mug_bar_3"])
    play(game, "go to countertop 1", "take mug 1 from countertop 1")
    assert game.step("examine mug 1") == "This is a normal mug 1. In it, you see a apple 1, and a knife 1."
    play(game, "go to microwave 1", "heat mug 1 with microwave 1")
    assert game.step("examine mug 1") == "This is a normal mug 1. In it, you see a apple 1, and a knife 1."


def test_one_cannot_go_to_where_one_stands():
    game = engine(("Shelf1@1", "Shelf2@1", "Desk@2"), ("Mug:Desk",), task=(SIMPLE, "Mug", "Shelf"))
    play(game, "go to shelf 1")
    assert game.step("go to shelf 1") == game.step("go to shelf 2") == "Nothing happens."
    assert "go to shelf 2" not in game.admissible()
    assert game.step("examine shelf 2") == "On the shelf 2, you see nothing."
    assert game.step("look") == "You are facing the shelf 2, and shelf 1. Next to it, you see nothing."


def test_what_has_no_door_cannot_be_closed_whatever_the_file_says():
    game = engine(facts=["opened Desk_bar_0"])
    play(game, "go to desk 1")
    assert "close desk 1" not in game.admissible() and game.step("close desk 1") == "Nothing happens."


def test_a_thing_can_only_be_examined_in_the_hand():
    game = engine()
    play(game, "go to countertop 1")
    assert game.step("examine mug 1") == "Nothing happens."
    play(game, "take mug 1 from countertop 1", "examine mug 1")


def test_a_lamp_only_ever_turns_on_even_in_a_closed_drawer():
    game = engine(("Drawer@1+", "Desk@2"), ("DeskLamp:Drawer", "Book:Desk"), task=(LOOK, "Book", "DeskLamp"))
    play(game, "go to drawer 1")
    for _ in range(3):
        assert play(game, "use desklamp 1") == "You turn on the desklamp 1."
    play(game, "go to desk 1", "take book 1 from desk 1")
    assert not game.won
    play(game, "go to drawer 1")
    assert game.won  # switched on before: only holding and place must be right now
    play(game, "go to desk 1")
    assert not game.won and game.score == 0.0


def test_appliances_work_closed_and_keep_nothing():
    game = engine()
    play(
        game,
        "go to fridge 1",
        "open fridge 1",
        "take apple 1 from fridge 1",
        "close fridge 1",
        "cool apple 1 with fridge 1",
    )
    assert play(game, "inventory") == "You are carrying: a apple 1."
    play(game, "go to microwave 1", "heat apple 1 with microwave 1")
    assert play(game, "examine apple 1") == "This is a hot apple 1."
    play(game, "go to fridge 1", "cool apple 1 with fridge 1")
    assert play(game, "examine apple 1") == "This is a cold apple 1."


def test_look_lists_only_what_was_taken_from_a_receptacle_here():
    game = engine(
        ("Shelf1@1", "Shelf2@1", "Desk@2"), ("Mug:Shelf1", "Vase:Shelf2", "Book:Desk"), task=(SIMPLE, "Book", "Shelf")
    )
    play(game, "go to shelf 1", "take mug 1 from shelf 2")
    assert game.step("look").endswith("Next to it, you see nothing.")


def test_look_lists_a_thing_moved_between_two_receptacles_of_one_place():
    game = engine(("Desk1@1", "Desk2@1", "Shelf@2"), ("Mug:Desk1", "Book:Shelf"), task=(SIMPLE, "Book", "Desk"))
    play(game, "go to desk 1", "take mug 1 from desk 2", "move mug 1 to desk 1")
    assert game.step("look") == "You are facing the desk 2, and desk 1. Next to it, you see a mug 1."
    play(game, "take mug 1 from desk 1", "move mug 1 to desk 2")
    # Now it is known not to be in desk 1 any more, and it is in desk 2.
    assert game.step("look") == "You are facing the desk 2, and desk 1. Next to it, you see a mug 1."


def test_a_thing_in_two_receptacles_stays_in_the_other_one():
    game = engine(facts=["inReceptacle Apple_bar_0 Desk_bar_0"])
    play(game, "go to desk 1", "take apple 1 from desk 1")
    play(game, "go to fridge 1", "open fridge 1")
    assert game.step("examine fridge 1") == "The fridge 1 is open. In it, you see a apple 1."


def test_slicing_needs_the_place_of_the_thing_and_a_knife():
    game = engine(things=("Apple:Fridge", "Knife:CounterTop", "Mug:CounterTop", "ButterKnife:CounterTop"))
    play(game, "go to countertop 1", "take butterknife 1 from countertop 1")
    assert game.step("slice apple 1 with butterknife 1") == "Nothing happens."
    play(game, "go to fridge 1")
    assert game.step("slice apple 1 with knife 1") == "Nothing happens."
    # The door may be closed.
    assert play(game, "slice apple 1 with butterknife 1") == "You sliced the apple 1 with the butterknife 1."


def test_a_stale_place_stays_when_a_thing_is_taken_elsewhere():
    game = engine(
        things=("Apple:Fridge", "Knife:CounterTop"),
        facts=["objectAtLocation Apple_bar_0 loc_bar_5"],
    )
    play(game, "go to fridge 1", "open fridge 1", "take apple 1 from fridge 1", "go to countertop 1")
    play(game, "move apple 1 to countertop 1", "take knife 1 from countertop 1", "go to desk 1")
    assert play(game, "slice apple 1 with knife 1") == "You sliced the apple 1 with the knife 1."


@pytest.mark.parametrize(
    "command",
    [
        "",
        " ",
        "LOOK",
        "Look",
        "look around",
        "go to",
        "go to  fridge 1",
        "go fridge 1",
        "open fridge",
        "take apple 1",
        "take apple 1 from fridge 2",
        "put apple 1 in/on fridge 1",
        "move apple 1 in fridge 1",
        "use apple 1",
        "heat apple 1 with fridge 1",
        "inventory please",
        "help me",
        "examine",
        "\x00",
        "go to fridge 1\nlook",
    ],
)
def test_anything_else_is_answered_and_changes_nothing(command):
    game = engine()
    before = game.save(), game.admissible()
    assert game.step(command) == "Nothing happens."
    assert not game.accepted
    assert (game.save(), game.admissible()) == before


def test_white_space_around_a_command_does_not_count():
    game = engine()
    assert game.step(" \tgo to fridge 1\n") == "You arrive at fridge 1. The fridge 1 is closed."


def test_nothing_is_ever_too_full_but_types_must_fit():
    game = engine(("Shelf@1", "Safe@2"), [f"Vase{''}:Safe" for _ in range(30)], task=(SIMPLE, "Vase", "Shelf"))
    play(game, "go to safe 1")
    for number in range(1, 31):
        play(game, f"take vase {number} from safe 1", "go to shelf 1", f"move vase {number} to shelf 1", "go to safe 1")
    assert len(game.contents[game.game.receptacle_by_name["shelf 1"]]) == 30


def test_two_must_be_in_the_same_receptacle():
    game = engine(("Desk1@1", "Desk2@2", "Shelf@3"), ("Pen:Shelf", "Pen:Shelf"), task=(TWO, "Pen", "Desk"))
    play(game, "go to shelf 1", "take pen 1 from shelf 1", "go to desk 1", "move pen 1 to desk 1")
    play(game, "go to shelf 1", "take pen 2 from shelf 1", "go to desk 2", "move pen 2 to desk 2")
    assert not game.won
    play(game, "take pen 2 from desk 2", "go to desk 1", "move pen 2 to desk 1")
    assert game.won and game.score == 1.0


def test_the_alias_changes_what_is_understood_and_nothing_that_is_said():
    plain, alias = engine(), engine(put_alias=True)
    for game in (plain, alias):
        play(game, "go to countertop 1", "take mug 1 from countertop 1")
    assert plain.step("put mug 1 in/on countertop 1") == "Nothing happens."
    assert alias.step("put mug 1 in/on countertop 1") == "You move the mug 1 to the countertop 1."
    play(alias, "take mug 1 from countertop 1")
    assert not any(command.startswith("put") for command in alias.admissible())


def old_release(fields: dict[str, object]) -> dict[str, object]:
    """Word a game as release 2.1.1 does; only official grammars can be."""
    grammar = str(fields["grammar"])
    grammar = grammar[: grammar.index("action help")]
    for new, old in (
        ("You arrive at {r.name}", "You arrive at {lend.name}"),
        ("You move the {o.name} to the {r.name}", "You put the {o.name} in/on the {r.name}"),
        ("move {o} to {r}", "put {o} in/on {r}"),
    ):
        grammar = grammar.replace(new, old)
    domain = str(fields["pddl_domain"])
    return {
        **fields,
        "grammar": grammar,
        "pddl_domain": domain[: domain.index("(:action help")] + ")",
        "walkthrough": None,
    }


@pytest.mark.parity
def test_release_2_1_1_puts_arrives_at_places_and_has_no_help(official):
    task = next(name for name in official.ids("valid_unseen") if "pick_and_place_simple" in name)
    new = Engine(official.game(task))
    old = Engine(read_game(json.dumps(old_release(json.loads(official.game_file(task)))), "old"))
    assert old.game.walkthrough == ()
    assert old.step("help") == "Nothing happens." and "help" not in old.admissible()
    for command in new.game.walkthrough:
        answer, said = (
            new.step(command),
            old.step(
                command.replace("move ", "put ").replace(" to ", " in/on ") if command.startswith("move") else command
            ),
        )
        if command.startswith("go to"):
            assert said.partition(". ")[2] == answer.partition(". ")[2] and said.startswith("You arrive at loc ")
        elif command.startswith("move"):
            assert said.startswith("You put the ") and " in/on the " in said
        else:
            assert said == answer
    assert old.won and new.won


def test_saved_states_are_small_and_come_back_exactly():
    import random

    game = engine()
    saved = []
    for command in random_commands(game, random.Random(3), 200):
        saved.append(
            (
                json.dumps(game.save()),
                game.admissible(),
                game.won,
                game.step("look"),
                sorted(map(sorted, game.contents)),
            )
        )
        game.step(command)
    other = engine()
    for state, admissible, won, look, contents in random.Random(1).sample(saved, len(saved)):
        assert len(state) < 600
        other.load(json.loads(state))
        assert json.dumps(other.save()) == state
        assert (other.admissible(), other.won, sorted(map(sorted, other.contents))) == (admissible, won, contents)
        assert other.step("look") == look


@pytest.mark.parametrize(
    "change", [{"held": 99}, {"location": "x"}, {"location": -1}, {"moved": [[0]]}, {"opened": [77]}, {"clean": None}]
)
def test_states_of_other_games_are_refused(change):
    game = engine()
    before = game.save()
    with pytest.raises(ValueError, match=r"(no saved state|not in this household)"):
        game.load({**before, **change})
    assert game.save() == before


def test_who_begins_beside_furniture_is_told_of_that():
    fields = game_file(without=["atLocation agent1 loc_bar_0"], facts=["atLocation agent1 loc_bar_1"])
    game = Engine(read_game(json.dumps(fields), "beside"))
    around = "You are facing the countertop 1. Next to it, you see nothing."
    assert game.step("look") == around
    assert around in game.reset()
