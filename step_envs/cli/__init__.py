"""The command ``step-envs``: one file per verb; each calls the library and prints the result.

If the user's input is wrong, one sentence on standard error says what is wrong, with exit code 2; ``--debug`` before
the verb shows the traceback instead.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import getdoc
from typing import Annotated, Any, NoReturn

import typer
from gymnasium.error import DependencyNotInstalled, UnregisteredEnv
from typer.core import TyperGroup

from step_envs.cli.exit_codes import INTERRUPTED, WRONG_INPUT
from step_envs.confidential import masked
from step_envs.errors import StepEnvsError, validation_sentence


class _Group(TyperGroup):
    """Runs a verb; turns errors about the user's input into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except (StepEnvsError, DependencyNotInstalled, UnregisteredEnv, ValueError, OSError) as error:
            # If the reader of our output has left (`| head`), Click ends the process quietly.
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            _exit_with_sentence(error)


def _exit_with_sentence(error: Exception) -> NoReturn:
    from rich.console import Console
    from rich.text import Text

    from step_envs.cli.render import visible

    Console(emoji=False, stderr=True, soft_wrap=True).print(Text(visible(_sentence(error)), style="red"))
    raise typer.Exit(WRONG_INPUT) from None


def _sentence(error: Exception) -> str:
    from pydantic import ValidationError

    if isinstance(error, OSError) and error.filename is not None:
        return f"Cannot use {os.fsdecode(error.filename)}: {error.strerror}."
    return masked(validation_sentence(error) if isinstance(error, ValidationError) else str(error))


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Markup would swallow the brackets of pip install "step-envs[data]".
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_VERBS = (
    "play",
    "tasks",
    "data",
    "collect",
    "annotate",
    "eval",
    "teacher-eval",
    "export",
    "push",
    "load",
    "train",
    "reproduce",
    "view",
    "report",
    "serve",
    "doctor",
)


def _summary(verb: Callable[..., Any]) -> str:
    """Return the first sentence of a verb's help; without it, Typer cuts the help where the line of the index ends."""
    return " ".join((getdoc(verb) or "").partition("\n\n")[0].split())


for _verb in _VERBS:
    _name = _verb.replace("-", "_")
    _function = getattr(import_module(f"step_envs.cli.{_name}"), _name)
    app.command(_verb, short_help=_summary(_function))(_function)


def _version(wanted: bool) -> None:
    if wanted:
        from step_envs import __version__

        typer.echo(f"step-envs {__version__}")
        raise typer.Exit


@app.callback()
def _step_envs(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Text environments for language agents, and a teacher that turns their mistakes into training data.

    Start with `step-envs doctor`, then `step-envs collect --out runs/first`, then `step-envs view runs/first`.

    Exit codes: 0 done, 1 done in part or something is missing (see the verb), 2 wrong input, 130 interrupted.
    """


def main() -> None:
    """Run the command; the entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets an escape for it; without this, Python would raise an error.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    # However it was started: completion is installed for the program of this name.
    app(prog_name="step-envs")
