"""The command that was typed, put together again for the records of what it made."""

import shlex
from typing import Any

import typer

from step_envs.confidential import masked


def typed_command(ctx: typer.Context) -> str:
    """Return the command line of a verb, with what was typed and no default.

    Args:
        ctx: The call of the verb.

    Returns:
        One line for a shell: arguments first, options in the order of the help.
    """
    arguments: list[str] = []
    options: list[str] = []
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if source is None or source.name != "COMMANDLINE":
            continue
        value: Any = ctx.params[parameter.name or ""]
        values = value if isinstance(value, (list, tuple)) else [value]
        if parameter.param_type_name == "argument":
            arguments += map(str, values)
        elif isinstance(value, bool):
            options.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            options += [word for one in values for word in (max(parameter.opts, key=len), str(one))]
    return masked(shlex.join(["step-envs", ctx.info_name or "", *arguments, *options]))
