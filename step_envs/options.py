"""The names of the arguments that a class or a function takes, read from its signature.

A misspelt argument has to be named with the nearest that exist: of environments for ``gymnasium.make``, ``list_tasks`` and
a server, of agents and teachers in their specifications. A table of names would have to be kept beside every constructor;
the constructor itself is the table.
"""

import inspect
from collections.abc import Callable
from typing import Any, Self, Unpack, get_args, get_origin, get_type_hints

from step_envs.errors import UnknownNameError, unknown_name


class UnknownOptionError(UnknownNameError, TypeError):
    """A class was given an argument that it does not take; a ``TypeError``, as Python's own error for it is."""


class NamesOptions:
    """Base of classes that people make by hand: a misspelt argument is answered with the nearest that exist.

    Python names only what it was given. Here it is looked at before ``__init__``, so that no constructor has to.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Check the names of the arguments.

        Raises:
            UnknownOptionError: One of them does not exist.
        """
        known = keyword_names(cls.__init__) if kwargs else None
        for name in kwargs if known is not None else ():
            if known is not None and name not in known:
                raise UnknownOptionError(str(unknown_name(f"argument of {cls.__name__}", name, sorted(known))))
        return super().__new__(cls)


def keyword_names(function: Callable[..., Any], *typed: type[Any]) -> frozenset[str] | None:
    """Return the names of the arguments that a function takes.

    Args:
        function: The function; of a class, its ``__init__``.
        *typed: Typed dicts that stand for a ``**kwargs`` of the function that says nothing.

    Returns:
        The names; None if it takes any (``**kwargs`` without a type).
    """
    if function is object.__init__:
        # A class without a constructor takes nothing, although Python's signature of this one says that it takes any.
        return frozenset()
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
