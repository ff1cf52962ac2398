"""The errors that this package raises on purpose, one class for each kind of outside fault.

Every message says in one sentence what is wrong, where, and what to do. A missing optional package is
``gymnasium.error.DependencyNotInstalled`` and a call in the wrong order ``gymnasium.error.ResetNeeded``, as Gymnasium's
users expect; everything else that this package raises on purpose is here.
"""

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gymnasium.error import DependencyNotInstalled, NameNotFound

if TYPE_CHECKING:
    from pydantic import ValidationError


_LONGEST_WORD = 5000
_LONG_WORD = re.compile(rf"\S{{{_LONGEST_WORD},}}")
_LONGEST_MESSAGE = 20_000
_LONGEST_NAME = 500
"""Characters of a name for which near ones are looked for."""


class StepEnvsError(Exception):
    """Base of every error that step-envs raises on purpose; its message stays a sentence whatever it quotes."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(readable(one) if isinstance(one, str) else one for one in arguments))


class UnknownNameError(StepEnvsError, ValueError):
    """A name the caller gave (task, split, option, ...) does not exist; the message lists the nearest that do."""


class UnknownEnvironmentError(UnknownNameError, NameNotFound):
    """An environment id is not registered; the message lists the nearest that are."""


class DataError(StepEnvsError):
    """Data that was named or needed is absent, incomplete or malformed."""


class EngineError(StepEnvsError, RuntimeError):
    """A world's engine died, hung or gave an unreadable answer, and restarting it did not help."""


class RemoteError(EngineError):
    """A server of environments cannot be reached, refuses the request, or no longer has the session."""


class SnapshotError(StepEnvsError, ValueError):
    """Bytes given to ``restore`` are not a snapshot of this environment."""


class TeacherError(StepEnvsError, RuntimeError):
    """A teacher gave no usable verdict, and the caller had set ``on_unknown="raise"``."""


class EndpointError(StepEnvsError, RuntimeError):
    """A language model cannot be asked with these settings: key or price is missing, or the server refuses the request."""


class RequestRefusedError(EndpointError):
    """An endpoint refuses the request itself (a wrong key, model or parameter), so that sending it again would not help.

    Attributes:
        status: The HTTP status.
        kind: What is wrong, e.g. ``context`` where the conversation is too long; see ``step_envs.endpoint.servers.Kind``.
    """

    def __init__(self, message: str, status: int, kind: str = "other") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind

    def __reduce__(self) -> tuple[type["RequestRefusedError"], tuple[str, int, str]]:
        """Travel between processes with status and kind."""
        return type(self), (str(self), self.status, self.kind)


class EndpointDownError(EndpointError):
    """The endpoint returned no usable chat completion after all attempts."""


class BudgetSpentError(StepEnvsError):
    """The next request to a language model could cost more than the budget has left."""


class TemplateError(StepEnvsError, ValueError):
    """With this chat template or tokenizer, the tokens that the model would generate cannot be told from the others."""


class ContextTooSmallError(StepEnvsError, ValueError):
    """The task alone, with room for a reply, does not fit a model's context window."""


class ClusterError(StepEnvsError, RuntimeError):
    """A cluster cannot be reached, has no free resources, or keeps losing its workers."""


class HubError(StepEnvsError):
    """The Hugging Face Hub cannot be asked, refuses the request, or holds something other than what is expected."""


class StoreError(StepEnvsError):
    """A trajectory file or a run folder cannot be read or written as asked."""


def unknown_name(kind: str, name: object, known: Iterable[str], *, nearest: int = 3) -> UnknownNameError:
    """Return the error for a name that does not exist.

    Args:
        kind: What the name was meant to be, e.g. ``"task"``.
        name: The name as given.
        known: The names that exist.
        nearest: How many close names to list at most.

    Returns:
        The error, ready to raise: it names the closest known names, or all of them when there are at most eight.
    """
    names = list(known)
    # Nothing is near a name of a million characters, and to find that out would take minutes.
    close = (
        difflib.get_close_matches(str(name), names, n=nearest, cutoff=0.5) if len(str(name)) <= _LONGEST_NAME else []
    )
    if close:
        hint = f"Did you mean {_either(close)}?"
    elif len(names) <= 8:
        hint = f"Known: {', '.join(names)}." if names else f"There is no {kind} at all."
    else:
        hint = f"There are {len(names)}, for example {_either(names[:nearest])}."
    return UnknownNameError(f"Unknown {kind} {quoted(name)}. {hint}")


def readable(message: str) -> str:
    """Shorten what is too long for a sentence in a message: a name without end, or a file that was quoted whole."""
    if len(message) <= _LONGEST_WORD:
        return message
    message = _LONG_WORD.sub(lambda found: shortened(found[0]), message)
    return message if len(message) <= _LONGEST_MESSAGE else shortened(message, 2000)


def shortened(text: str, most: int = 200) -> str:
    """Return a text that fits into a sentence: of a long one the beginning, the end, and how long it is.

    Examples:
        >>> shortened("a" * 5)
        'aaaaa'
        >>> shortened("a" * 90 + "z" * 9_910, 20)
        'aaaaaa…zz (10,000 characters)'
    """
    if len(text) <= most:
        return text
    return f"{text[: most * 3 // 10]}…{text[-(most // 10) :]} ({len(text):,} characters)"


def quoted(value: object, most: int = 200) -> str:
    """Return the representation of a value that fits into a sentence; see ``shortened``."""
    if isinstance(value, str) and len(value) > most:
        return f"{value[: most * 3 // 10] + '…' + value[-(most // 10) :]!r} ({len(value):,} characters)"
    return shortened(repr(value), most)


def first_fault(error: "ValidationError") -> str:
    """Describe the first fault of data that failed validation, and its place: ``"Field required (at turns.3.role)"``."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = shortened(".".join(map(str, first["loc"])))
    return shortened(str(first["msg"]), 1000) + (f" (at {where})" if where else "")


def validation_sentence(error: "ValidationError") -> str:
    """Say in one sentence which value is wrong and why; a validator's own sentence is taken as it stands."""
    first = error.errors(include_url=False)[0]
    where = shortened(".".join(map(str, first["loc"])))
    if first["type"] == "value_error":
        text = str(first["ctx"]["error"])
        return text if text.endswith((".", "?")) else f"{where}: {text}." if where else f"{text}."
    if first["type"] == "missing":
        return f"{where} is missing."
    return f"{where or error.title}: {first['msg']}, got {quoted(first['input'])}."


def missing_package(package: str, purpose: str, extra: str | None) -> DependencyNotInstalled:
    """Return the error for a package that is not installed.

    Args:
        package: The package that could not be imported.
        purpose: What needs it, as the subject of a sentence, e.g. ``"Parquet export"``.
        extra: The extra of step-envs that brings it; None when it belongs to the core set.
    """
    target = f"step-envs[{extra}]" if extra else "step-envs"
    return DependencyNotInstalled(
        f'{purpose} needs the package {package!r}, which is not installed: run `pip install "{target}"`.'
    )


def _either(names: list[str]) -> str:
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
