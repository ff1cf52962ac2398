"""Plans that come with the package: for the common simplifications, nobody has to wait for the engine's solution.

To compute the plan of one variation takes from 0.1 s to some seconds, in the engine; to look it up takes a millisecond. So
the compressed plans are computed once (``scripts/gold_plan_tables.py``) and shipped in ``data/``, one file for each
simplification. With each plan stands what replanning needs to know about its steps: where each is done, and what the engine
answered. So when an agent leaves the plan, the plan does not have to be replayed first.

A table holds only for the engine and the version of plan compression that it was made with. Both stand in its first line; a
table that does not fit is not used.

A file is a row of xz streams, so that one block can be read without the others; ``xz -dc`` shows all of them. Each stream
is a line of JSON. The first says what the table was made with, and where the blocks are. Each other one is a block: up to
128 variations of one task, as lists of numbers of the block's own list of entries. The same actions come back in all
variations, so a plan takes about twenty bytes.
"""

import json
import lzma
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import groupby
from typing import Any, NamedTuple, Self

from step_envs.sciworld.java.jars import engine_digest
from step_envs.sciworld.planning.action_history import ActionHistory
from step_envs.sciworld.planning.plan_compression import VERSION, mark_soft, steps_by_action
from step_envs.sciworld.planning.replay_simulator import ReplaySimulator
from step_envs.sciworld.planning.steps import ActionKind, PlanStep
from step_envs.sciworld.tasks import TASK_TYPES

SCHEMA = "sciworld-plans/1"
TABLES = ("easy", "eto")
"""The simplifications that there are tables for."""

_BLOCK = 128
_BLOCKS_KEPT = 64
# Blocks are smaller than this dictionary, and to read one, all of the dictionary is allocated.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20}]


class PlanEntry(NamedTuple):
    """An action of a plan, and the step of the solution that begins with it.

    Attributes:
        action: The action.
        room: Where the step is done; None if no step begins with the action: it is travel, an answer, or had no effect.
        observation: What the engine answered, where replanning reads it; otherwise empty.
        asked: True if the engine asked which object is meant; then the next action is the answer.
    """

    action: str
    room: str | None = None
    observation: str = ""
    asked: bool = False

    @classmethod
    def of(cls, action: str, step: PlanStep | None) -> Self:
        """Record an action of a plan and its step."""
        if step is None:
            return cls(action)
        asked = step.answer is not None
        return cls(action, step.room, step.observation if asked or step.kind is ActionKind.ACT else "", asked)


class KnownPlan(NamedTuple):
    """A plan from the start of a task to success.

    Attributes:
        entries: Its actions; none if no plan is known.
    """

    entries: tuple[PlanEntry, ...]

    @classmethod
    def record(cls, simulator: ReplaySimulator, task: ActionHistory, actions: Sequence[str]) -> Self:
        """Replay a plan and record its steps."""
        steps = steps_by_action(simulator, task, actions) if actions else {}
        return cls(tuple(PlanEntry.of(action, steps.get(index)) for index, action in enumerate(actions)))

    @property
    def actions(self) -> list[str]:
        """The actions in order."""
        return [entry.action for entry in self.entries]

    @property
    def steps(self) -> list[PlanStep]:
        """The steps as replanning reads them, without ticks, scores and the times that they began at."""
        steps: list[PlanStep] = []
        for index, (action, room, observation, asked) in enumerate(self.entries):
            if room is not None:
                answer = self.entries[index + 1].action if asked else None
                steps.append(PlanStep(action, room, observation, 0, 0, answer=answer))
        return mark_soft(steps)


def shipped_plan(task: ActionHistory) -> KnownPlan | None:
    """Return the plan of a task that comes with the package.

    Returns:
        The plan, without entries where the engine's own solution does not succeed; None if there is no table for this
        engine and simplification, or the variation is not in it.

    Raises:
        DependencyNotInstalled: The engine is not installed.
    """
    if task.simplification not in TABLES:
        return None
    table = _shipped_table(task.simplification)
    return table.plan(task.task, task.variation) if table.fits(engine_digest()) else None


class PlanTable:
    """The plans of one simplification.

    Args:
        content: What ``pack_table`` returned.
    """

    def __init__(self, content: bytes) -> None:
        first = lzma.LZMADecompressor()
        self._header = json.loads(first.decompress(content))
        self._blocks = first.unused_data

    def fits(self, engine: str) -> bool:
        """Return True if the table was made with an engine and with this version of plan compression."""
        made_with = (self._header["schema"], self._header["engine"], self._header["compression"])
        return made_with == (SCHEMA, engine, VERSION)

    @property
    def tasks(self) -> dict[str, list[int]]:
        """The variations that are in the table, by task."""
        tasks: dict[str, list[int]] = {}
        for name, number, *_ in self._header["blocks"]:
            tasks.setdefault(name, []).extend(map(int, self._block(name, number)["plans"]))
        return tasks

    def plan(self, task: str, variation: int) -> KnownPlan | None:
        """Return the plan of a variation; None if it is not in the table."""
        block = self._block(task, variation // _BLOCK)
        numbers = block["plans"].get(str(variation))
        return None if numbers is None else KnownPlan(tuple(PlanEntry(*block["entries"][i]) for i in numbers))

    @lru_cache(maxsize=_BLOCKS_KEPT)  # noqa: B019 - tables live as long as the process
    def _block(self, task: str, number: int) -> dict[str, Any]:
        for name, index, start, size in self._header["blocks"]:
            if (name, index) == (task, number):
                block: dict[str, Any] = json.loads(lzma.decompress(self._blocks[start : start + size]))
                return block
        return {"entries": [], "plans": {}}


@lru_cache
def _shipped_table(simplification: str) -> PlanTable:
    return PlanTable(files("step_envs.sciworld").joinpath(f"data/plans_{simplification}.xz").read_bytes())


def pack_table(simplification: str, engine: str, plans: Mapping[tuple[str, int], KnownPlan]) -> bytes:
    """Write plans as a table: the same plans give the same bytes.

    Args:
        simplification: The simplification that the plans were made with.
        engine: Digest of the engine's jar that they were made with.
        plans: Task and variation -> plan.
    """
    blocks, places, start = [], [], 0
    order = sorted(plans, key=lambda key: (list(TASK_TYPES).index(key[0]), key[1]))
    for (task, number), keys in groupby(order, lambda key: (key[0], key[1] // _BLOCK)):
        numbers: dict[PlanEntry, int] = {}
        rows = {str(key[1]): [numbers.setdefault(entry, len(numbers)) for entry in plans[key].entries] for key in keys}
        entries = [_short(entry) for entry in numbers]
        blocks.append(_stream({"task": task, "entries": entries, "plans": rows}))
        places.append((task, number, start, len(blocks[-1])))
        start += len(blocks[-1])
    made_with = {"schema": SCHEMA, "engine": engine, "compression": VERSION, "simplification": simplification}
    return b"".join([_stream({**made_with, "blocks": places}), *blocks])


def _short(entry: PlanEntry) -> list[Any]:
    """Leave out what is as the entry has it by default."""
    return list(entry) if entry.asked else list(entry[:3]) if entry.room is not None else [entry.action]


def _stream(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"
    return lzma.compress(text.encode(), check=lzma.CHECK_CRC32, filters=_FILTERS)
