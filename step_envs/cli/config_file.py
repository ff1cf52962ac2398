"""Put the settings of a run together: from the command line, from a file, and from defaults, in this order.

A file and an option cannot be told from a default by their value: ``--episodes 10`` may be typed or be the default. So
Click is asked for every option whether it was typed, and only then it wins over the file.
"""

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from step_envs.errors import DataError, UnknownNameError, unknown_name, validation_sentence
from step_envs.file_reading import check_json, read_text
from step_envs.specs import read_option

_MOST_BYTES = 2**24
"""Bytes of a file of settings: the ids of a million tasks fit in."""

Settings = TypeVar("Settings", bound=BaseModel)


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a TOML or JSON file of settings; the ending of its name says which it is. In TOML, "None" is None.

    Raises:
        DataError: The file cannot be read, or is no table of settings.
        ValueError: It has another ending.
    """
    parsers: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": json.loads}
    if path.suffix not in parsers:
        raise ValueError(f"{path} is neither a .toml nor a .json file: settings are read from one of these.")
    text = read_text(path, limit=_MOST_BYTES, fault=DataError)
    try:
        check_json(text.encode())
        found = parsers[path.suffix](text)
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply to be settings.") from error
    except ValueError as error:  # also the errors of both parsers and of the decoder
        raise DataError(f"{path} is not valid {path.suffix[1:].upper()}: {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} must hold settings by name, not a {type(found).__name__}.")
    return _without_none(found) if path.suffix == ".toml" else found


def _without_none(value: Any) -> Any:
    """Read the text "None" as None, as in options: TOML has no word for it."""
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_none(one) for one in value]
    return None if value == "None" else value


def was_given(ctx: typer.Context, name: str) -> bool:
    """Return True if an option was typed on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def settings(
    ctx: typer.Context,
    kind: type[Settings],
    file: Path | None,
    *,
    read: Mapping[str, Callable[[Any], Any]] | None = None,
    options: Mapping[str, Any] | None = None,
    renamed: Mapping[str, str] | None = None,
) -> Settings:
    """Make the settings of a run from the command line and a file.

    Args:
        ctx: The call of the verb; its options with the name of a field give the field's value.
        kind: The class of the settings.
        file: File given with ``--config``.
        read: Field -> function that reads the value from what was typed, e.g. the content of a file that is named.
        options: Field -> entries typed on the command line that are added to those of the file, e.g. to ``env_options``.
        renamed: Name of a parameter of the verb -> the field that it is for, where it could not have the field's name.

    Raises:
        DataError: The file cannot be read.
        UnknownNameError: The file has a key that is no field.
        ValueError: A value does not fit; the message names the file and the key if it is from the file.
    """
    fields = kind.model_fields
    from_file = {} if file is None else read_config_file(file)
    if isinstance(from_file.get("config"), dict) and "config" not in fields:
        # A result that keeps the settings it was made with: evaluation.json, recovery.json.
        from_file = from_file["config"]
    for key in from_file:
        if key not in fields:
            raise unknown_key(file, key, fields)
    values: dict[str, Any] = {}
    typed: set[str] = set()
    for parameter, value in ctx.params.items():
        name = (renamed or {}).get(parameter, parameter)
        if name not in fields or name in (options or {}):
            continue
        if was_given(ctx, parameter):
            typed.add(name)
            values[name] = read[name](value) if read is not None and name in read else value
        elif name not in from_file and value not in (None, [], ()):  # a repeatable option that was not typed is empty
            values[name] = value
    values = from_file | values
    for field, entries in (options or {}).items():
        if isinstance(values.setdefault(field, {}), dict):
            values[field] = values[field] | dict(entries)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        place = error.errors()[0]["loc"]
        if file is not None and place and place[0] in from_file and place[0] not in typed:
            raise wrong_value(file, error) from error
        raise


def unknown_key(file: Path | None, key: str, known: Iterable[str]) -> UnknownNameError:
    """Make the error for a key of a file that is no setting."""
    return UnknownNameError(f"In {file}: {unknown_name('key', key, known)}")


def wrong_value(file: Path, error: ValidationError) -> ValueError:
    """Make the error for a value in a file that does not fit."""
    where = ".".join(map(str, error.errors()[0]["loc"]))
    sentence = validation_sentence(error)
    return ValueError(f"In {file}: {sentence}" if sentence.startswith(where) else f"In {file}: {where}: {sentence}")


def env_options(env_option: Iterable[str] | None, task_type: Iterable[str] | None) -> dict[str, Any]:
    """Put together the options of an environment that were typed with ``--env-option`` and ``--task-type``."""
    options: dict[str, Any] = dict(read_option(pair, "--env-option") for pair in env_option or ())
    if task_type:
        options["task_types"] = list(task_type)
    return options
