"""The page: template, style, script and data in one HTML file that sends no request.

A content security policy in the file itself allows the one script and the one style that it holds, by their hashes, and
nothing else: no request, no picture, no form, no second script. So text that an environment or a model wrote cannot run as
markup or script, even if the page's own script had a fault.
"""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from step_envs.collection.failures import FailureGroup
from step_envs.files import replacing
from step_envs.runs import run_names
from step_envs.text import visible
from step_envs.trajectory import Trajectory
from step_envs.viewer.pack import COLUMNS, SCHEMA, Packer, RowTable, failure_row, inert

if TYPE_CHECKING:
    from step_envs.viewer.tokens import TokenPacker

_SCRIPTS = (
    "text.js", "data.js", "state.js", "list.js", "chart.js", "turns.js", "tokens.js", "compare.js", "overview.js",
    "pane.js", "keys.js", "main.js",
)  # fmt: skip
_FOLLOWING = "live.js"
"""What only the page that follows a run has: the one script that sends requests."""
_STYLES = ("theme.css", "layout.css", "episode.css")
_MARKERS = re.compile(r"<!--(TITLE|POLICY|STYLE|DATA|TOKENS|SCRIPT)-->")


@dataclass(frozen=True)
class WrittenPage:
    """The page file that was written, with its figures.

    Attributes:
        path: The file.
        trajectories: How many it holds.
        size: Its size in bytes.
        tokenized: For how many of the trajectories it holds the tokens.
        token_size: Bytes of ``size`` that the tokens take.
    """

    path: Path
    trajectories: int
    size: int
    tokenized: int
    token_size: int


class Page:
    """One HTML file about one run or several.

    Args:
        runs: Run folders or trajectory files, whose names the page shows.
        tokens: Adds the token view; None leaves it out.

    Raises:
        ValueError: The same run is named twice.
    """

    def __init__(self, runs: Sequence[Path], *, tokens: "TokenPacker | None" = None) -> None:
        self.names = run_names(runs)
        self._packer = Packer(self.names)
        self._tokens = tokens
        self._failures: list[dict[str, Any]] = []

    def add(self, run: int, trajectory: Trajectory) -> None:
        """Add a trajectory.

        Args:
            run: Number of its run in ``runs``.
            trajectory: The episode.
        """
        chunk, at = self._packer.add(run, trajectory)
        if self._tokens is not None:
            self._tokens.add(chunk, at, trajectory)

    def add_failures(self, run: int, groups: Iterable[FailureGroup]) -> None:
        """Add the episodes of a run that have no trajectory.

        Args:
            run: Number of the run in ``runs``.
            groups: Why they have none.
        """
        self._failures += [failure_row(run, group) for group in groups]

    def write(self, path: Path) -> WrittenPage:
        """Write the file, whole or not at all.

        Raises:
            StoreError: It cannot be written.
        """
        tokens = self._tokens
        more: dict[str, Any] = {} if tokens is None else {"tokenizer": tokens.about()}
        if self._failures:
            more["failures"] = self._failures
        parts: dict[str, Iterable[str]] = {
            "TITLE": [_title(self.names)],
            "POLICY": [_policy()],
            "STYLE": [f"<style>{_style()}</style>"],
            "DATA": _elements(self._packer.blocks(more)),
            "TOKENS": () if tokens is None else _elements(tokens.blocks()),
            "SCRIPT": [f"<script>{_script()}</script>"],
        }
        sizes = dict.fromkeys(parts, 0)
        # The template is cut at its markers before anything is put in, so that nothing in the data can pass for a marker.
        with replacing(path) as temporary, temporary.open("wb") as file:
            for place, piece in enumerate(_MARKERS.split(_asset("template.html"))):
                if place % 2 == 0:
                    file.write(piece.encode())
                else:
                    sizes[piece] = sum(file.write(text.encode()) for text in parts[piece])
            size = file.tell()
        return WrittenPage(
            path=path,
            trajectories=self._packer.trajectories,
            size=size,
            tokenized=0 if tokens is None else tokens.trajectories,
            token_size=sizes["TOKENS"],
        )


def following_page(names: Sequence[str]) -> bytes:
    """Make the page that follows runs: it holds no episode, and asks the server it came from for them.

    Args:
        names: The names of the runs.
    """
    head = {"schema": SCHEMA, "runs": list(names), "columns": COLUMNS, "tables": RowTable().tables(), "live": True}
    parts = {
        "TITLE": _title(names),
        "POLICY": _policy(following=True),
        "STYLE": f"<style>{_style()}</style>",
        "DATA": "".join(piece for piece in _elements([("index", [inert(head | {"rows": []})])])),
        "TOKENS": "",
        "SCRIPT": f"<script>{_script(following=True)}</script>",
    }
    pieces = _MARKERS.split(_asset("template.html"))
    return "".join(parts[piece] if at % 2 else piece for at, piece in enumerate(pieces)).encode()


def _title(names: Sequence[str]) -> str:
    return html.escape(visible(f"{' and '.join(names)} - step-envs"))


def _elements(blocks: Iterable[tuple[str, Iterable[str]]]) -> Iterator[str]:
    for name, pieces in blocks:
        yield f'<script type="application/json" id="{name}">'
        yield from pieces
        yield "</script>\n"


@cache
def _asset(name: str) -> str:
    return (resources.files("step_envs.viewer") / "page" / name).read_text(encoding="utf-8")


@cache
def _style() -> str:
    return "\n" + "\n".join(_asset(name) for name in _STYLES)


@cache
def _script(*, following: bool = False) -> str:
    names = (*_SCRIPTS[:-1], _FOLLOWING, _SCRIPTS[-1]) if following else _SCRIPTS
    return '\n"use strict";\n(() => {\n' + "\n".join(_asset(name) for name in names) + "})();\n"


@cache
def _policy(*, following: bool = False) -> str:
    rules = [
        "default-src 'none'",
        f"script-src '{_hash(_script(following=following))}'",
        f"style-src '{_hash(_style())}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if following:
        rules.append("connect-src 'self'")
    return f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">'


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
