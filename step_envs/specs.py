"""Reads specifications of agents and teachers: one line of text, ``name:option=value,...``."""

import inspect
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from step_envs.confidential import holds_secret
from step_envs.errors import quoted, unknown_name
from step_envs.options import keyword_names


def read_option(text: str, where: str) -> tuple[str, Any]:
    """Read ``name=value``; the value is JSON where it can be, else text.

    Args:
        text: The option.
        where: Where it stands, as the beginning of the error message, e.g. ``"In agent 'novice:x',"``.

    Raises:
        ValueError: There is no ``=``, or no name before it.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"{where} {text!r} is not of the form name=value.")
    if value == "None":
        # As the documentation of Python writes it.
        return name, None
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def nested_spec(text: str) -> str:
    """Return the specification that stands as an option inside another one.

    Args:
        text: The option: a semicolon stands for each of its commas, and ``|`` for those of a third one inside it.
    """
    return text.replace(";", ",").replace("|", ";")


def make_from_spec(spec: str, known: Mapping[str, str], kind: str, **further: Any) -> Any:
    """Build the object that a specification names.

    Args:
        spec: ``name`` or ``name:option=value,option=value``. A class of one's own is named by its import path,
            ``my_module.MyAgent``. Values are read as JSON if possible, else as text.
        known: Built-in names -> ``module:attribute``.
        kind: What is made, for error messages, e.g. ``"agent"``.
        **further: Arguments beside those of the specification.

    Raises:
        UnknownNameError: The name is neither known nor an import path.
        ValueError: An option is malformed, unknown or has a wrong value, or the path cannot be imported.
    """
    if not isinstance(spec, str):
        raise TypeError(f"The specification of the {kind} is a str, got {spec!r}.")
    name, _, text = spec.partition(":")
    if holds_secret(text):
        # Before anything of it is quoted in an error.
        raise ValueError(
            f"A key does not belong into the {kind} {name!r}, which is written into records: put it into an "
            "environment variable (OPENAI_API_KEY, or the one that api_key_env= names)."
        )
    factory = find_named(name, known, kind)
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, value = read_option(part, f"In {kind} {spec!r},")
        if key in options:
            raise ValueError(f"In {kind} {spec!r}, {key!r} is given twice.")
        options[key] = value
    fault = _wrong_option(factory, options, further)
    if fault is not None:
        raise ValueError(f"The {kind} {name!r} cannot be made from {quoted(text)}: {fault}")
    try:
        return factory(**options, **further)
    except TypeError as error:
        raise ValueError(f"The {kind} {name!r} cannot be made from {quoted(text)}: {error}.") from error


def _wrong_option(factory: Callable[..., Any], options: Mapping[str, Any], further: Mapping[str, Any]) -> str | None:
    """Return a sentence about the first option that a class or function does not take or lacks; None if all is well."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return None  # nobody knows what it takes
    for one in parameters:
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) or one.default is not one.empty:
            continue
        if one.name not in options and one.name not in further:
            return f"The option {one.name!r} is missing."
    names = keyword_names(factory.__init__ if inspect.isclass(factory) else factory)
    if names is None:
        return None  # it takes any
    free = [name for name in sorted(names) if name not in further]
    wrong = next((key for key in options if key not in free), None)
    return None if wrong is None else str(unknown_name("option", wrong, free))


def find_named(name: str, known: Mapping[str, str], kind: str) -> Callable[..., Any]:
    """Return the class or function of a built-in name or an import path."""
    place = known.get(name)
    if place is None and ("." not in name or not all(name.split("."))):
        raise unknown_name(kind, name, known)
    module, _, attribute = place.partition(":") if place is not None else name.rpartition(".")
    try:
        factory: Callable[..., Any] = getattr(import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        if place is not None:
            raise
        raise ValueError(
            f"The {kind} {name!r} cannot be found: {error}. Its module must be importable: try PYTHONPATH=FOLDER."
        ) from error
    return factory
