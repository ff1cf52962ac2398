"""The names of the arguments that a class or a function takes, read from its signature.

A misspelt argument has to be named with the nearest that exist: of environments for ``gymnasium.make``, ``list_tasks`` and
a server, of agents and teachers in their specifications. A table of names would have to be kept beside every constructor;
the constructor itself is the table.
"""

import inspect
from collections.abc import Callable
from typing import Any, Unpack, get_args, get_origin, get_type_hints


def keyword_names(function: Callable[..., Any], *typed: type[Any]) -> frozenset[str] | None:
    """Return the names of the arguments that a function takes.

    Args:
        function: The function; of a class, its ``__init__``.
        *typed: Typed dicts that stand for a ``**kwargs`` of the function that says nothing.

    Returns:
        The names; None if it takes any (``**kwargs`` without a type).
    """
    names: set[str] = set()
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            names.add(parameter.name)
            continue
        if typed:
            names.update(name for one in typed for name in get_type_hints(one))
            continue
        try:
            handed_on = get_type_hints(function).get(parameter.name)
        except NameError:  # an annotation that was imported for type checkers only
            return None
        if get_origin(handed_on) is not Unpack:
            return None
        # Typed **options: the names are those of the TypedDict.
        names.update(get_type_hints(get_args(handed_on)[0]))
    return frozenset(names - {"self"})


def option_names(cls: type[Any], *typed: type[Any]) -> frozenset[str] | None:
    """Return the names of the arguments that an environment takes from its user; see ``keyword_names``."""
    names = keyword_names(cls.__init__, *typed)
    return None if names is None else (names | set(getattr(cls, "more_options", ()))) - {"tasks"}
