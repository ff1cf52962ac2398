"""Options as text, ``name=value``: how command lines and specifications of agents and teachers write them."""

import json
from typing import Any


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
