"""Packs trajectories into blocks of data inside a page: a small index that is read at once, and conversations on demand.

The index has a row for each trajectory, which is all that the list, its filters and the figures need. The conversations
are kept in chunks of a few hundred kilobytes, compressed; the page unpacks a chunk when one of its episodes is opened. So
the time to open a page hardly depends on how much was said. Until the page is written, rows and chunks wait in temporary
files, so that a run may be larger than memory.
"""

import base64
import gzip
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from tempfile import TemporaryFile
from typing import Any

from step_envs.collection.failures import FailureGroup
from step_envs.text import visible
from step_envs.trajectory import Trajectory, Turn

SCHEMA = "step-view/1"
COLUMNS = (
    "run", "episode", "task", "env", "type", "split", "agent", "teacher", "stop", "success", "score", "steps", "strip",
    "corrections", "unknown", "tokens", "cost", "seconds", "instruction", "chunk", "at",
)  # fmt: skip
"""The columns of a row of the index, in order."""

_CHUNK = 400_000  # characters: unpacked and parsed in about ten milliseconds
_EXCERPT = 300  # characters of the task that the list shows and searches
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def inert(value: object) -> str:
    r"""Write a JSON value so that it can stand in a script element: in ASCII, and without a character of markup.

    >>> print(inert("</script>"))
    "\u003c/script\u003e"
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


def packed(text: str) -> str:
    """Compress text and write it as a JSON string of base64; the same text gives the same string."""
    data = gzip.compress(text.encode(), compresslevel=6, mtime=0)
    return f'"{base64.b64encode(data).decode()}"'


class Names:
    """Numbers distinct texts in the order in which they first come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """Return the number of a text."""
        return self._numbers.setdefault(name, len(self._numbers))

    def list(self) -> list[str]:
        """List the texts by number."""
        return list(self._numbers)


class Spool:
    """Keeps texts of ASCII characters in a temporary file, in order."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115  (it goes with this object)
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, text: str) -> None:
        """Add a text at the end."""
        self._ends.append(self._ends[-1] + self._file.write(text.encode("ascii")))

    def __iter__(self) -> Iterator[str]:
        """Yield the texts in order; between two of them none may be added."""
        return self.texts(0, len(self))

    def texts(self, start: int, stop: int) -> Iterator[str]:
        """Yield the texts from number ``start`` to before ``stop``, in order; between two of them none may be added."""
        stop = min(stop, len(self))
        if start < stop:
            self._file.seek(self._ends[start])
            for at in range(start, stop):
                yield self._file.read(self._ends[at + 1] - self._ends[at]).decode("ascii")
            self._file.seek(0, 2)


class RowTable:
    """Writes episodes as rows of the index, with numbers in the place of names that come again and again."""

    def __init__(self) -> None:
        self._tables = {name: Names() for name in ("env", "type", "split", "agent", "teacher")}

    def row(self, run: int, one: Trajectory, chunk: int, at: int) -> str:
        """Write the row of an episode as JSON.

        Args:
            run: Number of its run.
            one: The episode.
            chunk: The chunk that its conversation is in.
            at: Its place there.
        """
        tables = self._tables
        teacher = None if one.teacher is None else tables["teacher"].number(_title(one.teacher.name, one.teacher.model))
        values = [
            run,
            one.episode,
            one.task_id,
            tables["env"].number(one.env_id),
            tables["type"].number(one.task_type),
            tables["split"].number(one.split),
            tables["agent"].number(_title(one.agent.name, one.agent.model)),
            teacher,
            one.stop_reason,
            int(one.success),
            round(one.score, 4),
            one.steps,
            "".join(_mark(turn) for turn in one.turns if turn.role == "assistant" and turn.kind != "instruction"),
            sum(turn.kind == "correction" for turn in one.turns),
            one.unknown_verdicts,
            one.usage.prompt_tokens + one.usage.completion_tokens,
            one.usage.cost,
            round(one.usage.seconds, 2),
            one.instruction[:_EXCERPT],
            chunk,
            at,
        ]
        return inert(values)

    def tables(self) -> dict[str, list[str]]:
        """Return the names by number, of each column that holds numbers."""
        return {name: table.list() for name, table in self._tables.items()}


class Packer:
    """Collects trajectories one by one and makes the blocks of a page.

    Args:
        runs: Name of each run.
    """

    def __init__(self, runs: Sequence[str]) -> None:
        self.trajectories = 0
        self._runs = list(runs)
        self._table = RowTable()
        self._manual = Names()
        self._rows = Spool()
        self._chunk: list[str] = []
        self._size = 0
        self._blocks = Spool()

    def add(self, run: int, trajectory: Trajectory) -> tuple[int, int]:
        """Add a trajectory.

        Args:
            run: Number of its run.
            trajectory: The episode.

        Returns:
            The chunk it is in, and its place there.
        """
        if self._size >= _CHUNK:
            self._close()
        place = len(self._blocks), len(self._chunk)
        self._rows.append(self._table.row(run, trajectory, *place))
        item = self._item(trajectory)
        self._chunk.append(item)
        self._size += len(item)
        self.trajectories += 1
        return place

    def blocks(self, more: Mapping[str, Any]) -> Iterator[tuple[str, Iterable[str]]]:
        """Yield the blocks: name, and pieces of JSON text that is safe within a script element.

        Args:
            more: Further fields of the index.
        """
        self._close()
        tables = self._table.tables()
        head = inert({"schema": SCHEMA, "runs": self._runs, "columns": COLUMNS, "tables": tables, **more})
        yield "index", self._index(head.removesuffix("}"))
        yield "manual", [packed(json.dumps(self._manual.list()))]
        for number, block in enumerate(self._blocks):
            yield f"chunk-{number}", [block]

    def _index(self, head: str) -> Iterator[str]:
        yield f'{head},"rows":['
        for number, row in enumerate(self._rows):
            yield f",{row}" if number else row
        yield "]}"

    def _item(self, trajectory: Trajectory) -> str:
        task = max((at for at, turn in enumerate(trajectory.turns) if turn.kind == "instruction"), default=0)
        # The manual is alike in all episodes of a world: it is kept once.
        numbers = [self._manual.number(turn.content) for turn in trajectory.turns[:task]]
        return item_of(trajectory, numbers)

    def _close(self) -> None:
        if self._chunk:
            self._blocks.append(packed(f"[{','.join(self._chunk)}]"))
        self._chunk, self._size = [], 0


def item_of(trajectory: Trajectory, manual: Sequence[int] = ()) -> str:
    """Write a conversation as JSON.

    Args:
        trajectory: The episode.
        manual: Numbers of the texts with which its first turns begin, which are left out here.
    """
    # The page does not show logprobs, which take several times the room of the text.
    turns = tuple(
        turn.model_copy(update={"content": ""} if at < len(manual) else {"logprobs": None})
        for at, turn in enumerate(trajectory.turns)
    )
    record = trajectory.model_copy(update={"turns": turns}).model_dump_json(by_alias=True, exclude_defaults=True)
    return f'{{"manual":{json.dumps(list(manual))},"record":{record}}}'


def failure_row(run: int, group: FailureGroup) -> dict[str, Any]:
    """Return a group of failed episodes as JSON values for the page.

    Args:
        run: Number of its run.
        group: The group.
    """
    return {
        "run": run,
        "reason": visible(group.example.reason),
        "episodes": group.episodes,
        "episode": group.example.episode,
        "task": group.example.task_id,
        "advice": group.advice,
    }


def _mark(turn: Turn) -> str:
    if turn.kind == "error":
        return "x"
    if turn.verdict is not None and turn.verdict.status == "unknown":
        return "u"
    return {"correction": "c", "expert": "e"}.get(turn.kind, "a")


def _title(name: str, model: str | None) -> str:
    return name if model is None else f"{name} {model}"
