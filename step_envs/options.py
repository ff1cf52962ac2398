"""The names of the arguments that an environment takes, read from its constructor.

A misspelt argument has to be named with the nearest that exist, for ``gymnasium.make``, for ``list_tasks`` and for a server
alike. A table of names would have to be kept beside every constructor; the constructor itself is the table.
"""

import inspect
from typing import Any, Unpack, get_args, get_origin, get_type_hints


def option_names(cls: type[Any], *typed: type[Any]) -> frozenset[str] | None:
    """Return the names of the arguments that an environment takes.

    Args:
        cls: Class of the environment.
        *typed: Typed dicts that stand for a ``**kwargs`` of the constructor that says nothing.

    Returns:
        The names; None if it takes any (``**kwargs`` without a type).
    """
    names = set(getattr(cls, "more_options", ()))
    for parameter in inspect.signature(cls.__init__).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            names.add(parameter.name)
            continue
        if typed:
            names.update(name for one in typed for name in get_type_hints(one))
            continue
        try:
            handed_on = get_type_hints(cls.__init__).get(parameter.name)
        except NameError:  # an annotation that was imported for type checkers only
            return None
        if get_origin(handed_on) is not Unpack:
            return None
        # Typed **options: the names are those of the TypedDict.
        names.update(get_type_hints(get_args(handed_on)[0]))
    return frozenset(names - {"self", "tasks"})
