"""``--print-config``: write settings as TOML, in the form that ``--config`` reads.

Python reads TOML and does not write it. What settings consist of is little (text, numbers, truth values, lists and
tables), so it is written here. TOML has no word for nothing, so None is written as the text "None", as it is typed in
options, and ``read_config_file`` reads it as None again.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import typer
from pydantic import BaseModel

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def print_settings(settings: BaseModel, command: str, *, unset: Collection[str] = ()) -> None:
    """Print all settings of a command as a file for ``--config``.

    Args:
        settings: The settings.
        command: The command that takes the file, for a comment at the top.
        unset: Fields to name in a comment only, because nobody has set them and their value is not fixed.

    Raises:
        ValueError: A setting holds a key.
    """
    from step_envs.confidential import refuse_secrets

    values = settings.model_dump(mode="json", by_alias=True, exclude=set(unset))
    refuse_secrets(values, "", instead="give it by environment variable.")
    lines = [f"# {command}"]
    if unset:
        lines.append(f"# Not set, so that the recipe decides: {', '.join(unset)}")
    typer.echo("\n".join([*lines, *toml_lines(values)]))


def toml_lines(table: Mapping[str, Any], name: str = "") -> Iterator[str]:
    """Write a table of JSON values as the lines of a TOML file.

    Args:
        table: The values; a table among them becomes a section.
        name: Name of the section, as TOML writes it; empty for the whole file.
    """
    if name:
        yield ""
        yield f"[{name}]"
    for key, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{_key(key)} = {_value(value)}"
    # After the section of a table, a key would belong to that section.
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from toml_lines(value, f"{name}.{_key(key)}" if name else _key(key))


def _key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else _text(text)


def _value(value: Any) -> str:
    if value is None:
        return _text("None")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value).lower()  # True, 3, 2e-05, inf


def _text(text: str) -> str:
    """Write text in quotes: as in JSON, but TOML does not know the halves of a pair that JSON may write."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
