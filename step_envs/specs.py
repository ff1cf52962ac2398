"""Specifications in one line of text, ``name:option=value,...``, by which agents and teachers are named."""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from step_envs.errors import unknown_name

_SECRETS = ("apikey", "key", "token", "secret", "password")
"""Options that nothing here takes, by which people try to give a key; their values are quoted nowhere."""


def read_option(text: str, where: str) -> tuple[str, Any]:
    """Read ``name=value``; the value is JSON where it can be, else text.

    Args:
        text: The option.
        where: What it was found in, as the beginning of a sentence, e.g. ``"In agent 'novice:x',"``.

    Raises:
        ValueError: There is no ``=``, or no name before it.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"{where} {text!r} is not of the form name=value.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def make_from_spec(spec: str, known: Mapping[str, str], kind: str, **further: Any) -> Any:
    """Make an object from its specification.

    Args:
        spec: ``name`` or ``name:option=value,option=value``; an object of one's own is named by its place,
            ``my_module.MyAgent``. Values are JSON where they can be, else text.
        known: Built-in names -> ``module:attribute``.
        kind: What is made, for error messages, e.g. ``"agent"``.
        **further: Arguments beside those of the specification.

    Raises:
        UnknownNameError: The name is not known and is no place either.
        ValueError: An option is malformed, unknown or has a wrong value, or the place cannot be imported.
    """
    name, _, text = spec.partition(":")
    factory = _find(name, known, kind)
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, value = read_option(part, f"In {kind} {spec!r},")
        if key.replace("_", "").lower() in _SECRETS:
            raise ValueError(
                f"A key does not belong into the {kind} {name!r}, which is written into records: put it into an "
                "environment variable (OPENAI_API_KEY, or the one that api_key_env= names)."
            )
        options[key] = value
    try:
        return factory(**options, **further)
    except TypeError as error:
        raise ValueError(f"The {kind} {name!r} cannot be made from {text!r}: {error}.") from error


def _find(name: str, known: Mapping[str, str], kind: str) -> Callable[..., Any]:
    """Find what makes an object: by its name, or by its place where it is not built in."""
    place = known.get(name)
    if place is None and "." not in name:
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
