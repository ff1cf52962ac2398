"""What the household says: every wording of the game, byte for byte, and nothing else.

Lists are ordered by id, the article is always ``a``, and two items are joined by ``, and``: so it is in the original.
"""

from collections.abc import Iterable, Sequence

NOTHING_HAPPENS = "Nothing happens."

NOT_CARRYING = "You are not carrying anything."

HELP = """\
Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""


def listed(items: Sequence[str]) -> str:
    """Join items into a sentence part: ``nothing``, ``X``, ``X, and Y``, ``X, Y, and Z``."""
    if not items:
        return "nothing"
    if len(items) == 1:
        return items[0]
    return f"{', '.join(items[:-1])}, and {items[-1]}"


def a_list(names: Iterable[str]) -> str:
    """Join names into a sentence part, each with its article."""
    return listed([f"a {name}" for name in names])


def opening(around: str, task: str) -> str:
    """Say what the player reads first: what is around, and the task."""
    return f"-= Welcome to TextWorld, ALFRED! =-\n\n{around}\n\n{task}"


def in_the_middle(receptacles: Iterable[str]) -> str:
    """Say what a look around shows where there is no furniture."""
    return f"You are in the middle of a room. Looking quickly around you, you see {a_list(receptacles)}."


def facing(receptacles: Sequence[str], floor: Iterable[str]) -> str:
    """Say what a look around shows where there is furniture."""
    return f"You are facing the {listed(receptacles)}. Next to it, you see {a_list(floor)}."


def condition(name: str, *, clean: bool, hot: bool, cool: bool, sliced: bool, lamp: bool, lit: bool) -> str:
    """Say what a closer look at a held thing shows.

    The original tests these cases one after the other: a cold thing is ``cool`` beside other states and ``cold`` alone.

    Args:
        name: The thing's display name.
        clean: It has been cleaned.
        hot: It has been heated.
        cool: It has been cooled; never together with ``hot``.
        sliced: It has been sliced.
        lamp: It can be switched on.
        lit: It has been switched on.
    """
    states = [word for word, holds in (("hot", hot), ("cool", cool), ("clean", clean)) if holds]
    if states and sliced:
        return f"This is a {' and '.join(states)} sliced {name}."
    if states:
        return f"This is a {'cold' if states == ['cool'] else ' and '.join(states)} {name}."
    if lamp and lit:
        return f"This {name} is on."
    if sliced:
        return f"This is a sliced {name}."
    return f"There's nothing special about {name}."
