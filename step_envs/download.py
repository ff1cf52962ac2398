"""Downloads one file: streamed, resumed where it broke off, and refused where something else comes in place of it.

A web page, a file that never ends, another release, a file that somebody changed: each is refused in one sentence before
anything reads it. Of every file that a world downloads, size and SHA-256 stand beside its address (``PublishedFile``).

Nothing else in this package downloads data, and only commands that a user asks for by name call this. ``pooch`` was tried:
it begins anew where a download broke off, and takes the web page that a server sends in place of a file for the file.
"""

import hashlib
import html
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from step_envs.errors import DataError
from step_envs.file_locks import lock_file

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the bytes expected in all (None: unknown)."""

LARGEST: Final = 16 << 30
"""Bytes of a file whose size is not known beforehand. The largest that a world downloads has 5.5 GB."""

_CHUNK: Final = 1 << 18
_TIMEOUT: Final = 30.0
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_TITLE_WITHIN: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file as its authors published it.

    Attributes:
        size: Its bytes.
        sha256: Its SHA-256, in hexadecimal.
    """

    size: int
    sha256: str


def fetch(
    url: str,
    target: Path,
    *,
    otherwise: str,
    published: PublishedFile | None = None,
    progress: Progress | None = None,
) -> str:
    """Download a file, or the rest of it: an earlier attempt's bytes are kept in ``.part`` beside it.

    Args:
        url: The address.
        target: The file to make; it appears only when it is complete.
        otherwise: What the user can do if the file cannot be downloaded, as the end of a sentence, e.g. ``"get it by
            other means"``.
        published: What the file must be; None takes any, up to ``LARGEST``.
        progress: Called after each block.

    Returns:
        The SHA-256 of what came, in hexadecimal, for the record.

    Raises:
        DataError: There is no network, the server refuses, breaks off, sends a web page, more bytes than the file has or
            another file, or another process is downloading the same file; the message says which.
        OSError: The file cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("ab") as file, _claimed(file, part, url):
            most = LARGEST if published is None else published.size
            _receive(url, file, otherwise, progress, most)
            file.flush()
            digest = _digest_of(part)
            _require(published, digest, url, file, otherwise)
            if os.name != "nt":
                part.replace(target)  # while it is locked
        if os.name == "nt":
            part.replace(target)  # Windows renames no open file
    except DataError:
        # Nothing was received, so that there is nothing to go on from.
        if part.exists() and not part.stat().st_size:
            part.unlink()
        raise
    return digest


def _digest_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _require(published: PublishedFile | None, digest: str, url: str, file: BinaryIO, otherwise: str) -> None:
    """Remove what came, and raise an error, if it is not the file that was published."""
    if published is None or digest == published.sha256:
        return
    file.truncate(0)
    raise DataError(
        f"What came from {url} is not the file that its authors published (its SHA-256 is {digest}, not "
        f"{published.sha256}): it was removed; try again, or {otherwise}."
    )


@contextmanager
def _claimed(file: BinaryIO, part: Path, url: str) -> Iterator[None]:
    """Keep other processes from writing to the same file, where two downloads would mix their bytes."""
    try:
        unlock = lock_file(file.fileno())
        mine = part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat())
    except BlockingIOError:
        mine = False
    if not mine:
        raise DataError(f"Another process is downloading {url} to {part}: wait for it, then run the command again.")
    try:
        yield
    finally:
        unlock()


def _receive(url: str, file: BinaryIO, otherwise: str, progress: Progress | None, most: int) -> None:
    """Append the bytes that a file still lacks."""
    have = file.tell()
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            if answer.headers.get_content_type() == "text/html":
                raise DataError(f"{url} answers with a web page{_title(answer)} instead of the file: {otherwise}.")
            if answer.status != http.client.PARTIAL_CONTENT:
                file.truncate(0)
                file.seek(0)
                have = 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            if total is not None and total > most:
                raise _too_large(url, file, f"{total:,}", most, otherwise)
            while chunk := answer.read(_CHUNK):
                if have + len(chunk) > most:
                    raise _too_large(url, file, "more", most, otherwise)
                file.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(have, total)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # there was nothing left to send
        raise DataError(
            f"{url} cannot be had, the server says {error.code} {error.reason}: try again later, or {otherwise}."
        ) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{url} cannot be reached ({reason}): run the command again where there is a network (it goes on where it "
            f"stopped), or {otherwise}."
        ) from error
    if total is not None and have != total:
        raise DataError(f"{url} broke off after {have} of {total} bytes: run the command again, it goes on from there.")


def _too_large(url: str, file: BinaryIO, size: str, most: int, otherwise: str) -> DataError:
    file.truncate(0)
    return DataError(f"{url} sends {size} bytes, where the file has at most {most:,}: it is another file; {otherwise}.")


def _title(answer: http.client.HTTPResponse) -> str:
    page = answer.read(_TITLE_WITHIN).decode("utf-8", errors="replace")
    found = _TITLE.search(page)
    return f" titled {' '.join(html.unescape(found[1]).split())!r}" if found else ""
