"""Trajectories in the forms that training code reads: messages with loss, ShareGPT, Parquet, ``datasets``.

Every row of a form has the same keys, nested ones included, with None where there is nothing to say: Parquet and
``datasets`` would otherwise fill in what is missing by themselves. A store is read trajectory by trajectory, so that its
size does not matter, and what is written replaces its target in one step or not at all. The same trajectories give the
same bytes.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from step_envs.errors import StoreError, missing_package, unknown_name
from step_envs.store import read_trajectories
from step_envs.trajectory import Actor, Trajectory, Turn, Usage

StrPath = str | os.PathLike[str]
Source = StrPath | Iterable[StrPath] | Iterable[Trajectory]
"""Trajectories, or where they are: run folders or files, one or several."""

Keep = Callable[[Trajectory], bool]

SCHEMA = "step-export/1"
_BATCH = 256  # trajectories held at once, and the size of a row group
_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}


def export(
    source: Source,
    out: StrPath,
    format: str = "messages",
    *,
    overwrite: bool = False,
    keep: Keep | None = None,
) -> int:
    """Write trajectories in another form.

    Args:
        source: Trajectories, or the run folders or files that hold them.
        out: The file to write, or the folder for ``datasets``; what is missing of the path is made.
        format: A name from ``FORMATS``: ``messages`` (JSON Lines), ``sharegpt`` (a JSON list, as ETO's), ``parquet``, or
            ``datasets`` (a folder for ``datasets.load_from_disk``).
        overwrite: Replace what is there.
        keep: Says of each trajectory whether to export it; None keeps all.

    Returns:
        Rows written. All forms have a row for every trajectory kept, except that ``sharegpt`` has none for those in which
        nobody but the instructions spoke.

    Raises:
        UnknownNameError: There is no such format.
        StoreError: The source cannot be read or does not fit the form, or the target is there already or cannot be written.
        gymnasium.error.DependencyNotInstalled: ``pyarrow`` or ``datasets`` is missing.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    out = Path(out)
    folder = format == "datasets"
    _refuse_to_destroy(source, out, overwrite=overwrite, folder=folder)
    with _replacing(out) as temporary:
        return FORMATS[format](_rows(source, keep), temporary)


def to_dataset(source: Source, *, keep: Keep | None = None) -> Any:
    """Make a ``datasets.Dataset``, held in memory in Arrow's compact form.

    Args:
        source: Trajectories, or the run folders or files that hold them.
        keep: Says of each trajectory whether to take it; None keeps all.

    Returns:
        A ``datasets.Dataset`` with a row for every trajectory kept: the columns of ``table_row``.

    Raises:
        StoreError: The source cannot be read.
        gymnasium.error.DependencyNotInstalled: ``datasets`` is missing.
    """
    datasets, pyarrow = _import_datasets(), _import_pyarrow()
    digest = hashlib.sha256()
    schema = _schema(pyarrow)
    batches = list(_record_batches(_digested(_rows(source, keep), digest), pyarrow, schema))
    table = pyarrow.Table.from_batches(batches, schema)
    return datasets.Dataset(table, fingerprint=digest.hexdigest()[:16])


# Rows.


def message_row(trajectory: Trajectory, row_id: str | None = None) -> dict[str, Any]:
    """Make the row of the ``messages`` form.

    Args:
        trajectory: The episode.
        row_id: Its name in the file; None takes the task id.

    Returns:
        What identifies the episode and how it ended, and ``messages``: ``role``, ``content`` and ``loss`` (0 to 1) of every
        turn. The keys are the same in every row.
    """
    return {
        "id": trajectory.task_id if row_id is None else row_id,
        "env_id": trajectory.env_id,
        "task_id": trajectory.task_id,
        "task_type": trajectory.task_type,
        "split": trajectory.split,
        "seed": trajectory.seed,
        "episode": trajectory.episode,
        "instruction": trajectory.instruction,
        "agent": trajectory.agent.name,
        "teacher": trajectory.teacher.name if trajectory.teacher is not None else None,
        "score": trajectory.score,
        "success": trajectory.success,
        "reward": trajectory.reward,
        "steps": trajectory.steps,
        "stop_reason": trajectory.stop_reason,
        "errors": trajectory.errors,
        "unknown_verdicts": trajectory.unknown_verdicts,
        "messages": trajectory.messages(),
    }


def table_row(trajectory: Trajectory, row_id: str | None = None) -> dict[str, Any]:
    """Make the row of the ``parquet`` and ``datasets`` forms.

    Args:
        trajectory: The episode.
        row_id: Its name in the file; None takes the task id.

    Returns:
        ``message_row`` and the rest of the record: ``turns`` says of each message what kind it is, its action, reward,
        score and verdict; ``protocol``, ``versions``, ``agent_config`` and ``teacher_config``, whose keys vary, are JSON.
    """
    return message_row(trajectory, row_id) | {
        "terminated": trajectory.terminated,
        "truncated": trajectory.truncated,
        "turns": [_turn_row(turn) for turn in trajectory.turns],
        "usage": _usage_row(trajectory.usage),
        "protocol": _json(trajectory.protocol),
        "versions": _json(trajectory.versions),
        "agent_config": _actor(trajectory.agent),
        "teacher_config": _actor(trajectory.teacher),
    }


def sharegpt_row(trajectory: Trajectory, row_id: str | None = None) -> dict[str, Any] | None:
    """Make the row of the ``sharegpt`` form, as ETO publishes its data, with a loss for every turn.

    Args:
        trajectory: The episode.
        row_id: Its name in the file; None takes the task id.

    Returns:
        ``id`` and ``conversations``: ``from`` (``system``, ``human`` or ``gpt``), ``value`` and ``loss`` (0 to 1) of every
        turn up to the last reply, since nothing answers the observation after it. None where nobody replied.
    """
    replies = [i for i, turn in enumerate(trajectory.turns) if turn.role == "assistant" and turn.kind != "instruction"]
    if not replies:
        return None
    return {
        "id": trajectory.task_id if row_id is None else row_id,
        "conversations": [
            {"from": _SPEAKERS[turn.role], "value": turn.content, "loss": turn.loss}
            for turn in trajectory.turns[: replies[-1] + 1]
        ],
    }


def _turn_row(turn: Turn) -> dict[str, Any]:
    verdict = turn.verdict
    return {
        "kind": turn.kind,
        "action": turn.action,
        "reward": turn.reward,
        "score": turn.score,
        "valid_action": turn.valid_action,
        "verdict": None
        if verdict is None
        else {
            "status": verdict.status,
            "error": verdict.error,
            "reason": verdict.reason,
            "reflection": verdict.reflection,
            "corrected_action": verdict.corrected_action,
            "undo": verdict.undo,
            "usage": _usage_row(verdict.usage),
        },
        "usage": _usage_row(turn.usage),
        "shortened": turn.shortened,
    }


def _usage_row(usage: Usage | None) -> dict[str, Any] | None:
    return None if usage is None else usage.model_dump()


def _actor(actor: Actor | None) -> str | None:
    return None if actor is None else _json(actor.model_dump())


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


# Forms.

_Row = tuple[str, Trajectory]


def _write_messages(rows: Iterator[_Row], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row_id, trajectory in rows:
            file.write(json.dumps(message_row(trajectory, row_id), ensure_ascii=False) + "\n")
            count += 1
    return count


def _write_sharegpt(rows: Iterator[_Row], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        for row_id, trajectory in rows:
            row = sharegpt_row(trajectory, row_id)
            if row is not None:
                file.write((",\n" if count else "\n") + json.dumps(row, ensure_ascii=False))
                count += 1
        file.write("\n]\n")
    return count


def _write_parquet(rows: Iterator[_Row], path: Path) -> int:
    pyarrow = _import_pyarrow()
    from pyarrow.parquet import ParquetWriter

    schema = _schema(pyarrow)
    count = 0
    with ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in _record_batches(rows, pyarrow, schema):
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _write_dataset(rows: Iterator[_Row], path: Path) -> int:
    datasets, pyarrow = _import_datasets("Export to datasets"), _import_pyarrow()
    from datasets.table import MemoryMappedTable
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    # In a folder of its own, for datasets refuses to save beside the file it reads.
    rough = path / "rough" / "rows.arrow"
    rough.parent.mkdir(parents=True)
    schema = _schema(pyarrow)
    digest = hashlib.sha256()
    count = 0
    with pyarrow.OSFile(str(rough), "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
        for batch in _record_batches(_digested(rows, digest), pyarrow, schema):
            writer.write_batch(batch)
            count += batch.num_rows
    # Left to itself, datasets makes the fingerprint from the time the file was written.
    dataset = datasets.Dataset(MemoryMappedTable.from_file(str(rough)), fingerprint=digest.hexdigest()[:16])
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        # An empty dataset is saved as no shard at all unless one is asked for, and then cannot be loaded.
        dataset.save_to_disk(str(path), num_shards=None if count else 1)
    finally:
        if shown:
            enable_progress_bar()
    shutil.rmtree(rough.parent)
    return count


FORMATS: dict[str, Callable[[Iterator[_Row], Path], int]] = {
    "messages": _write_messages,
    "sharegpt": _write_sharegpt,
    "parquet": _write_parquet,
    "datasets": _write_dataset,
}
"""The forms there are, and what writes them."""


def _record_batches(rows: Iterator[_Row], pyarrow: Any, schema: Any) -> Iterator[Any]:
    while chunk := [table_row(trajectory, row_id) for row_id, trajectory in islice(rows, _BATCH)]:
        try:
            batch = pyarrow.RecordBatch.from_pylist(chunk, schema=schema)
        except OverflowError as error:
            names = f"{chunk[0]['id']!r} to {chunk[-1]['id']!r}"
            raise StoreError(
                f"A whole number in the trajectories {names}, such as a seed, does not fit into the 64 bits of parquet and "
                "datasets: export to messages or sharegpt."
            ) from error
        yield batch


def _schema(pa: Any) -> Any:
    """Spell out the columns of ``table_row``: guessed from the first rows, a column of Nones would have no type."""
    usage = pa.struct(
        [
            ("prompt_tokens", pa.int64()),
            ("completion_tokens", pa.int64()),
            ("requests", pa.int64()),
            ("cached", pa.int64()),
            ("seconds", pa.float64()),
            ("cost", pa.float64()),
        ]
    )
    verdict = pa.struct(
        [
            *((name, pa.string()) for name in ("status", "error", "reason", "reflection", "corrected_action")),
            ("undo", pa.bool_()),
            ("usage", usage),
        ]
    )
    message = pa.struct([("role", pa.string()), ("content", pa.string()), ("loss", pa.float64())])
    turn = pa.struct(
        [
            ("kind", pa.string()),
            ("action", pa.string()),
            ("reward", pa.float64()),
            ("score", pa.float64()),
            ("valid_action", pa.bool_()),
            ("verdict", verdict),
            ("usage", usage),
            ("shortened", pa.int64()),
        ]
    )
    types = {
        **dict.fromkeys(("id", "env_id", "task_id", "task_type", "split"), pa.string()),
        **dict.fromkeys(("seed", "episode"), pa.int64()),
        **dict.fromkeys(("instruction", "agent", "teacher"), pa.string()),
        "score": pa.float64(),
        "success": pa.bool_(),
        "reward": pa.float64(),
        "steps": pa.int64(),
        "stop_reason": pa.string(),
        **dict.fromkeys(("errors", "unknown_verdicts"), pa.int64()),
        "messages": pa.list_(message),
        **dict.fromkeys(("terminated", "truncated"), pa.bool_()),
        "turns": pa.list_(turn),
        "usage": usage,
        **dict.fromkeys(("protocol", "versions", "agent_config", "teacher_config"), pa.string()),
    }
    return pa.schema(list(types.items()), metadata={"step_envs": SCHEMA})


# Reading and writing.


def _rows(source: Source, keep: Keep | None) -> Iterator[_Row]:
    """Read trajectories and name each after its task, with a number from the second of a task on."""
    counts: Counter[str] = Counter()
    used: set[str] = set()
    for trajectory in filter(keep or (lambda trajectory: True), _trajectories(source)):
        task = trajectory.task_id
        counts[task] += 1
        row_id = task if counts[task] == 1 else f"{task}#{counts[task]}"
        while row_id in used:
            counts[task] += 1
            row_id = f"{task}#{counts[task]}"
        used.add(row_id)
        yield row_id, trajectory


def _trajectories(source: Source) -> Iterator[Trajectory]:
    for item in [source] if isinstance(source, (str, os.PathLike)) else source:
        if isinstance(item, Trajectory):
            yield item
            continue
        try:
            yield from read_trajectories(item)
        except OSError as error:
            # Not to be taken for a fault of what is written meanwhile.
            raise StoreError(f"Cannot read {item}: {error.strerror}.") from error


def _digested(rows: Iterator[_Row], digest: Any) -> Iterator[_Row]:
    for row_id, trajectory in rows:
        digest.update(trajectory.to_json().encode())
        yield row_id, trajectory


def _refuse_to_destroy(source: Source, out: Path, *, overwrite: bool, folder: bool) -> None:
    stores: Sequence[Any] = []
    if isinstance(source, (str, os.PathLike)):
        stores = [source]
    elif isinstance(source, Sequence):
        stores = [item for item in source if not isinstance(item, Trajectory)]
    for store in map(Path, stores):
        if out.resolve() in (store.resolve(), (store / "trajectories.jsonl").resolve()):
            raise StoreError(f"{out} is what is to be exported: name another file to write to.")
    if not out.exists():
        return
    if out.is_dir() != folder:
        kind, wanted = ("folder", "file") if out.is_dir() else ("file", "folder")
        raise StoreError(f"{out} is a {kind}, and a {wanted} is to be written: name another place.")
    if not overwrite:
        raise StoreError(f"{out} is already there: name another place, or ask for it to be overwritten.")
    if folder and any(out.iterdir()) and not (out / "dataset_info.json").is_file():
        raise StoreError(f"{out} holds something other than a dataset: name another folder.")


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Give a place to write to beside ``out``, and put it in the place of ``out`` if all went well."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for file in [temporary] if temporary.is_file() else list(temporary.iterdir()):
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if out.is_dir():
            shutil.rmtree(out)
        temporary.replace(out)
    except OSError as error:
        raise StoreError(f"Cannot write {out}: {error.strerror or str(error).rstrip('.')}.") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        elif temporary.exists():
            temporary.unlink()


def _import_pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise missing_package("pyarrow", "Export to Parquet or datasets", "data") from error
    return pyarrow


def _import_datasets(purpose: str = "to_dataset") -> Any:
    try:
        import datasets
    except ImportError as error:
        raise missing_package("datasets", purpose, "data") from error
    return datasets
