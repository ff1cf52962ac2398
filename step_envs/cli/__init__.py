"""The command ``step-envs``: one file a verb, each of which calls the library and shows what came of it.

What is wrong with what the user typed is said in one sentence on standard error, with exit code 2; ``--debug`` before the
verb shows the traceback instead.
"""

import os
import sys
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from gymnasium.error import DependencyNotInstalled, UnregisteredEnv
from typer.core import TyperGroup

from step_envs.errors import StepEnvsError

WRONG_INPUT = 2
"""Exit code when what was asked for does not exist or cannot be done."""
INTERRUPTED = 130
"""Exit code after Ctrl-C."""


class _Group(TyperGroup):
    """Runs a verb and turns what it raises about the user's input into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except (StepEnvsError, DependencyNotInstalled, UnregisteredEnv, ValueError, OSError) as error:
            # A reader of our output that left early is Click's to deal with.
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            _complain(error)


def _complain(error: Exception) -> NoReturn:
    from rich.console import Console
    from rich.text import Text

    from step_envs.cli.render import visible

    Console(stderr=True, soft_wrap=True).print(Text(visible(_sentence(error)), style="red"))
    raise typer.Exit(WRONG_INPUT) from None


def _sentence(error: Exception) -> str:
    from pydantic import ValidationError

    if isinstance(error, OSError) and error.filename is not None:
        return f"Cannot use {os.fsdecode(error.filename)}: {error.strerror}."
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(map(str, first["loc"])) or error.title
    return f"{name}: {first['msg']}, got {first['input']!r}."


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
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
    "eval",
    "teacher-eval",
    "export",
    "train",
    "reproduce",
    "view",
    "report",
    "serve",
    "doctor",
)
for _verb in _VERBS:
    _name = _verb.replace("-", "_")
    app.command(_verb)(getattr(import_module(f"step_envs.cli.{_name}"), _name))


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
    """Text worlds for language agents, and a teacher who turns their mistakes into training data.

    Start with `step-envs doctor`, then `step-envs collect --out runs/first`, then `step-envs view runs/first`.

    Exit codes: 0 done, 1 done in part or something is missing (see the verb), 2 wrong input, 130 interrupted.
    """


def main() -> None:
    """Run the command; the entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its escape, not a crash.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    app()
