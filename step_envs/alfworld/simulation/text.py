"""The texts of observations, byte for byte as in the original games.

Models and published data know these bytes, so the oddities of the original stay: lists are ordered by id, the article is
always ``a``, and two items are joined by ``, and``.
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


def join_names(names: Sequence[str]) -> str:
    """Join names to ``nothing``, ``X``, ``X, and Y`` or ``X, Y, and Z``."""
    if not names:
        return "nothing"
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])}, and {names[-1]}"


def join_with_articles(names: Iterable[str]) -> str:
    """Join names, each with its article."""
    return join_names([f"a {name}" for name in names])


def first_observation(around: str, task: str) -> str:
    """Write the first observation: what is around, and the task."""
    return f"-= Welcome to TextWorld, ALFRED! =-\n\n{around}\n\n{task}"


def room_overview(receptacles: Iterable[str]) -> str:
    """Write what ``look`` shows at a location without furniture."""
    return f"You are in the middle of a room. Looking quickly around you, you see {join_with_articles(receptacles)}."


def view_from_here(receptacles: Sequence[str], floor: Iterable[str]) -> str:
    """Write what ``look`` shows at a location with furniture."""
    return f"You are facing the {join_names(receptacles)}. Next to it, you see {join_with_articles(floor)}."


def condition_of(name: str, *, clean: bool, hot: bool, cool: bool, sliced: bool, lamp: bool, lit: bool) -> str:
    """Write what ``examine`` shows of a held thing.

    The original goes through these cases one after the other, so a cooled thing is ``cool`` together with another state and
    ``cold`` alone.

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
