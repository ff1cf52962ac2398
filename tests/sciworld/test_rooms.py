"""Reading the world: rooms, routes, kinds of actions."""

from step_envs.sciworld.planning.plan_executor import object_of, options_of
from step_envs.sciworld.planning.rooms import DOORS, door_is_shut, holder_of, room_of, route
from step_envs.sciworld.planning.steps import ActionKind, action_kind, had_no_effect

KITCHEN = "\n\t".join(
    (
        "This room is called the kitchen. In it, you see: ",
        "the agent",
        "a substance called air",
        "a counter. On the counter is: a bowl (containing a red apple, a banana), a drawer.",
        "a cupboard. The cupboard door is open. In the cupboard is: a ceramic cup (containing nothing), a tin cup.",
        "a glass jar (containing a substance called sodium chloride)",
        "a lighter",
        "a table. On the table is: a glass cup (containing nothing).\nYou also see:",
        "A door to the bathroom (that is open)",
        "A door to the hallway (that is closed)",
    )
)


def test_reading_a_room() -> None:
    assert room_of(KITCHEN) == "kitchen"
    assert room_of("The door is open.") == ""
    assert door_is_shut(KITCHEN, "hallway")
    assert not door_is_shut(KITCHEN, "bathroom")
    assert holder_of("banana", KITCHEN) == "bowl"
    assert holder_of("bowl", KITCHEN) == "counter"
    assert holder_of("tin cup", KITCHEN) == "cupboard"
    assert holder_of("sodium chloride", KITCHEN) == "glass jar"
    assert holder_of("lighter", KITCHEN) == ""
    assert holder_of("counter", KITCHEN) == ""
    assert holder_of("axe", KITCHEN) is None


def test_routes_lead_through_doors() -> None:
    assert route(KITCHEN, "foundry") == ["outside", "foundry"]
    assert route(KITCHEN, "bedroom") == ["hallway", "bedroom"]
    assert route(KITCHEN, "kitchen") == []
    assert route(KITCHEN, "attic") == []
    assert all(room in DOORS[other] for room, others in DOORS.items() for other in others)


def test_kinds_of_actions() -> None:
    assert action_kind("Look  Around") is ActionKind.LOOK
    assert action_kind("use thermometer in inventory on ice") is ActionKind.MEASURE
    assert action_kind("wait1") is ActionKind.WAIT
    assert action_kind("3") is ActionKind.ANSWER
    assert action_kind("go to kitchen") is ActionKind.TRAVEL
    assert action_kind("move jug to sink") is ActionKind.WATER
    assert action_kind("open fridge") is ActionKind.ACT
    assert had_no_effect("The door is already open.")
    assert had_no_effect("No known action matches that input.")
    assert not had_no_effect("The fridge is now open.")
    assert object_of("move metal pot to stove") == "metal pot"
    assert options_of("Ambiguous request: ...\n0:\tfocus on apple\n12:\tgo\n") == {"0": "focus on apple", "12": "go"}
