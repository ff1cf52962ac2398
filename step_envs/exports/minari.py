"""The export to Minari: a trajectory as an episode of the chat, for offline reinforcement learning.

An episode is the conversation of the agent under ``ReActWrapper``. Observations are texts, the task first; actions are the
whole replies, errors and corrections included. Every text is as it was recorded. Loading the dataset needs no step-envs.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from step_envs.errors import StoreError, missing_package
from step_envs.exports.rows import is_reply, table_row
from step_envs.exports.sources import Row
from step_envs.trajectory import Trajectory, Turn

_NAMESPACE = "step-envs"
_UNDERSTOOD = {True: 1, False: 0, None: -1}
_PACKAGES = {"minari": "minari", "pyarrow.dataset": "pyarrow", "PIL.Image": "pillow"}
"""What the export imports, and what brings it: Minari needs Pillow for its Arrow files, and does not ask for it."""


def write_minari(rows: Iterator[Row], path: Path) -> int:
    """Write a folder for ``minari.MinariDataset`` and return the number of its episodes.

    Raises:
        StoreError: The trajectories are of several environments.
        gymnasium.error.DependencyNotInstalled: ``minari`` or what it needs is missing.
    """
    _import_packages()
    import minari
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import METADATA_FILE_NAME, MinariStorage
    from minari.serialization import serialize_space

    seen, said = _Texts(), _Texts()
    storage: Any = MinariStorage.new(path, seen.space(), said.space(), data_format="arrow")
    # After every episode Minari would look at all files there are, to add up their sizes, and write its own file anew,
    # three times over. That file is written once, below, when the spaces are known, too.
    storage.get_size = lambda: 0.0
    storage.update_metadata = lambda metadata: None
    env_id: str | None = None
    openings: dict[str, int] = {}
    count = steps = 0
    for row_id, trajectory in rows:
        episode = _episode(trajectory)
        if episode is None:
            continue
        env_id = env_id or trajectory.env_id
        if trajectory.env_id != env_id:
            raise StoreError(
                f"The trajectories are of the environments {env_id} and {trajectory.env_id}, and a Minari dataset has one: "
                "export the runs of each by themselves."
            )
        opening, data = episode
        seen.add(data["observations"])
        said.add(data["actions"])
        storage.update_episodes([EpisodeBuffer(id=count, **data)])
        number = openings.setdefault(json.dumps(opening), len(openings))
        storage.update_episode_metadata([_metadata(row_id, trajectory) | {"opening": number}], [count])
        count += 1
        steps += len(data["actions"])
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    metadata = MinariStorage.read_raw_metadata(path) | {
        "total_episodes": count,
        "total_steps": steps,
        "observation_space": serialize_space(seen.space()),
        "action_space": serialize_space(said.space()),
        "dataset_id": _dataset_id(env_id),
        "minari_version": minari.__version__,
        "description": "Chats in a text world, recorded by step-envs: an action is a whole reply.",
        "dataset_size": round(size / 1e6, 1),  # in MB
        "env_id": env_id,
        "openings": [json.loads(opening) for opening in openings],
    }
    (path / METADATA_FILE_NAME).write_text(json.dumps(metadata))
    return count


class _Texts:
    """Collects texts and makes the smallest space that holds them.

    The spaces are Gymnasium's own ``Text`` with every character that occurs: Minari writes it and reads it back wherever
    Gymnasium is. ``TextSpace`` would need a reader of its own, which a process without step_envs does not have.
    """

    def __init__(self) -> None:
        self._characters: set[str] = set()
        self._longest = 0

    def add(self, texts: list[str]) -> None:
        for text in texts:
            self._characters.update(text)
            self._longest = max(self._longest, len(text))

    def space(self) -> Any:
        from gymnasium.spaces import Text

        return Text(self._longest, min_length=0, charset="".join(sorted(self._characters)))


def _episode(trajectory: Trajectory) -> tuple[list[dict[str, str]], dict[str, Any]] | None:
    """Split a trajectory into the messages before the task and the fields of an ``EpisodeBuffer``.

    Return None where there is no reply. ``infos`` is as long as ``observations``, as Minari has it: entry 0 belongs to the
    reset, entry i + 1 to action i.
    """
    turns = trajectory.turns
    first = next((i for i, turn in enumerate(turns) if is_reply(turn)), None)
    if first is None:
        return None
    start = first
    while start and turns[start - 1].role == "user":
        start -= 1
    heard: list[list[str]] = [[]]
    replies: list[Turn] = []
    for turn in turns[start:]:
        if is_reply(turn):
            replies.append(turn)
            heard.append([])
        else:
            heard[-1].append(turn.content)
    ended = [False] * (len(replies) - 1)
    # An episode that is still running is cut off where its record ends, as Minari's own collector has it.
    cut_off = trajectory.truncated or not trajectory.terminated
    return [{"role": turn.role, "content": turn.content} for turn in turns[:start]], {
        "observations": ["\n\n".join(texts) for texts in heard],
        "actions": [turn.content for turn in replies],
        "rewards": [turn.reward or 0.0 for turn in replies],
        "terminations": [*ended, trajectory.terminated],
        "truncations": [*ended, cut_off],
        # Lists, for Minari 0.5 cannot read back arrays of one dimension. Each with one type whatever the episode, for it
        # cannot read episodes whose types differ: no None. It reads texts without the NUL characters that end them.
        "infos": {
            "loss": [0.0, *(turn.loss for turn in replies)],
            "kind": ["instruction", *(turn.kind for turn in replies)],
            "action": ["", *(turn.action or "" for turn in replies)],
            "score": [_number(turns[first - 1].score if first else None), *(_number(turn.score) for turn in replies)],
            "valid_action": [-1, *(_UNDERSTOOD[turn.valid_action] for turn in replies)],
        },
    }


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _metadata(row_id: str, trajectory: Trajectory) -> dict[str, Any]:
    """Return the columns about the trajectory as a whole; ``name`` is its row id, for ``id`` is Minari's episode number."""
    row = table_row(trajectory, row_id)
    del row["messages"], row["turns"]
    return {"schema": trajectory.schema_name, "name": row.pop("id")} | row


def _dataset_id(env_id: str | None) -> str:
    """Return a dataset id as Minari requires: letters, digits, ``-`` and ``_``, and a version at the end."""
    name = re.sub(r"[^-\w]+", "-", env_id or "empty")
    return f"{_NAMESPACE}/{name}" if re.search(r".-v\d+$", name) else f"{_NAMESPACE}/{name}-v0"


def _import_packages() -> None:
    from importlib import import_module

    for module, package in _PACKAGES.items():
        try:
            import_module(module)
        except ImportError as error:
            raise missing_package(package, "Export to Minari", "minari") from error
