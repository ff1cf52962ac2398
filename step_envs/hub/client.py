"""The client of the hub, and what its errors mean in one sentence.

``huggingface_hub`` reports most faults as an HTTP status with an address. The same status means different things to who
pushes and who loads, and a 401 says "not found" of a private repository. So every call is made inside ``hub_errors``.
"""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from step_envs.confidential import masked, note_secret
from step_envs.errors import HubError, missing_package, quoted, shortened

_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_PATIENCE = 300.0
"""Seconds; a commit with thousands of files keeps the hub busy for a while."""
_TRY_AGAIN = "Run the same command again later; what has arrived is not sent twice."


def import_hub(purpose: str) -> Any:
    """Import ``huggingface_hub``.

    Raises:
        gymnasium.error.DependencyNotInstalled: It is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise missing_package("huggingface_hub", purpose, "data") from error
    return huggingface_hub


def check_name(repo: str) -> None:
    """Raise ``ValueError`` for what cannot be the name of a repository."""
    if not _NAME.fullmatch(repo) or len(repo) > 96 or ".." in repo or "--" in repo or repo.endswith(".git"):
        raise ValueError(
            f"{quoted(repo)} is no name of a repository: write USER/NAME, with letters, digits, '-', '_' and '.'."
        )


def make_client(purpose: str, *, writes: bool) -> Any:
    """Make the client, with the token that ``hf auth login`` or ``HF_TOKEN`` gives.

    Args:
        purpose: What it is for, as the subject of a sentence.
        writes: The token is needed, not only used if there is one.

    Raises:
        HubError: The hub must not be asked (``HF_HUB_OFFLINE``), or there is no token.
        gymnasium.error.DependencyNotInstalled: ``huggingface_hub`` is missing.
    """
    hub = import_hub(purpose)
    from huggingface_hub import constants

    from step_envs import __version__

    if constants.HF_HUB_OFFLINE:
        raise HubError(f"{purpose} needs the network, and HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set: unset it.")
    token = hub.get_token()
    if token is not None:
        note_secret(token)
    elif writes:
        raise HubError(
            f"{purpose} needs a token that may write: run `hf auth login`, or set HF_TOKEN "
            "(https://huggingface.co/settings/tokens)."
        )
    if not sys.stderr.isatty():
        hub.utils.disable_progress_bars()
    return hub.HfApi(library_name="step-envs", library_version=__version__)


@contextmanager
def hub_errors(repo: str, *, writes: bool) -> Iterator[None]:
    """Turn the errors of ``huggingface_hub`` into one sentence each.

    Args:
        repo: The repository that is worked on.
        writes: It is being written to.

    Raises:
        HubError: An error of the hub, of the way to it, or of the disk, occurred in the block.
    """
    from huggingface_hub import get_session
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    session = get_session()
    # The library's client waits for ever, and a hub that accepts a request and says nothing would hang the command.
    usual = getattr(session, "timeout", None)
    session.timeout = patience()
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise HubError(f"The hub cannot be asked for {repo}, for HF_HUB_OFFLINE is set: unset it.") from error
    except (HTTPError, OSError) as error:
        raise HubError(masked(_sentence(error, repo, writes))) from error
    finally:
        session.timeout = usual


def patience() -> float:
    """Return how many seconds to wait for an answer: long, unless ``HF_HUB_DOWNLOAD_TIMEOUT`` says something else."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT) if "HF_HUB_DOWNLOAD_TIMEOUT" in os.environ else _PATIENCE


def _sentence(error: Exception, repo: str, writes: bool) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    status = getattr(getattr(error, "response", None), "status_code", None)
    said = _said(error)
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no such revision: name a branch, a tag or a commit of it."
    if isinstance(error, GatedRepoError):
        return f"{repo} is gated: ask for access on its page, and log in with `hf auth login`."
    if status == 401 and "credentials" in said.lower():
        return "The hub does not know this token: run `hf auth login`, or set HF_TOKEN to one that is valid."
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return (
            f"There is no {repo} on the hub that this token may see: check the name, or log in with `hf auth login` if it "
            "is private."
        )
    if status == 403:
        what = "write to" if writes else "read"
        return f"The token may not {what} {repo}{said and f' ({said})'}: use one with that right, or another name."
    if status in (409, 412):
        return f"{repo} was changed by somebody else at the same time, and nothing was written: run the command again."
    if status == 429:
        return f"The hub takes no more requests for now (429). {_TRY_AGAIN}"
    if status is not None and status >= 500:
        return f"The hub answered with an error of its own ({status}). {_TRY_AGAIN}"
    if status is not None:
        return f"The hub refused the request about {repo} ({status}){said and f': {said}'}."
    if isinstance(error, OSError) and error.filename is not None:
        return f"Cannot use {os.fsdecode(error.filename)}: {error.strerror}."
    first: BaseException = error
    while first.__cause__ is not None:  # the library wraps "timed out" into a paragraph of advice
        first = first.__cause__
    reason = shortened(" ".join(str(first).split()) or type(first).__name__)
    return f"The hub cannot be reached ({reason.rstrip('.')}). {_TRY_AGAIN}"


def _said(error: Exception) -> str:
    """Return what the server says is wrong, without the address and the number of the request."""
    told = getattr(error, "server_message", None) or getattr(getattr(error, "response", None), "headers", {}).get(
        "X-Error-Message"
    )
    return shortened(" ".join(str(told).split())).rstrip(".") if told else ""


def is_same_file(remote: Any, path: Path) -> bool:
    """Return True if a file of a repository has the content of a file on this machine.

    Args:
        remote: An entry of ``siblings``, listed with ``files_metadata=True``.
        path: The file here.
    """
    # The hub names a large file by its SHA-256, and a small one as git does.
    lfs = remote.lfs
    digest = hashlib.sha256() if lfs else hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return bool(digest.hexdigest() == (lfs["sha256"] if lfs else remote.blob_id))
