"""The fast backend: the same bytes as the stock backend, in a fraction of the time.

Three things make the difference. The work that only the random stream needs is done without making its result, and sets
of objects without comparing each with all others (``src/stepenvs/engine``). A step is one call over the bridge, whose
answer holds all that an environment shows. And many simulators share one loaded and compiled engine (``lanes``).
"""

from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from step_envs.sciworld.java.engine_copy import EngineCopy, EngineReply, lines, points
from step_envs.sciworld.java.jvm import Jvm, LaneLostError
from step_envs.sciworld.java.lanes import Lanes

_LANE_LOST = "stepenvs.lanes.LaneLostException"


@dataclass(frozen=True)
class _LaneReply:
    """All that one step gives; ``src/stepenvs/lanes/Reply.java`` writes it."""

    reply: EngineReply
    look: str
    inventory: str
    heap_bytes: int

    @classmethod
    def read(cls, text: str) -> "_LaneReply":
        head, _, texts = text.partition("\n")
        score, completed, ticks, heap_bytes, observation_length, look_length = head.split(" ")
        inventory_start = int(observation_length) + int(look_length)
        return cls(
            EngineReply(
                observation=texts[: int(observation_length)],
                score=points(score),
                done=completed == "true" or points(score) < 0,
                moves=int(ticks),
            ),
            look=texts[int(observation_length) : inventory_start],
            inventory=texts[inventory_start:],
            heap_bytes=int(heap_bytes),
        )


class LaneCopy(EngineCopy):
    """An engine that shares its classes with others; see ``EngineCopy``.

    The caller holds the turn of the lane during every call but ``gold_path``, which waits for a lane for gold paths.

    Args:
        jvm: The process to live in.
        timeout: Seconds that a call may take.
        lane: Number of its lane.
        lanes: All lanes.
    """

    def __init__(self, jvm: Jvm, timeout: float, lane: int, lanes: Lanes) -> None:
        self._lane = lane
        self._lanes = lanes
        self._look = self._inventory = ""
        super().__init__(jvm, timeout)

    @override
    def _start(self) -> Any:
        self._class_path = self.jvm.lane_class_path()
        self._simulators = self._connection.gateway.jvm.stepenvs.lanes.Simulator
        return self._keep(self._simulators.open(self._lane, self._class_path))

    @override
    def _load(self, task: str, variation: int, simplification: str) -> EngineReply:
        return self._read(self._call(self._server.load, task, variation, simplification))

    @override
    def _step(self, action: str, *, draw: bool) -> EngineReply:
        return self._read(self._call(self._server.step, action, draw))

    def _read(self, text: str) -> EngineReply:
        answer = _LaneReply.read(text)
        self._look, self._inventory = answer.look, answer.inventory
        self._collect_garbage(answer.heap_bytes)
        return answer.reply

    @override
    def look(self) -> str:
        return self._look

    @override
    def inventory(self) -> str:
        return self._inventory

    @override
    def task_description(self) -> str:
        return self._call(self._server.taskDescription)

    @override
    def goal_progress(self) -> str:
        return self._call(self._server.goalProgress)

    @override
    def _list_valid_actions(self) -> tuple[str, ...]:
        return lines(self._call(self._server.validActions))

    @override
    def _gold_path(self, task: str, variation: int, simplification: str) -> tuple[str, ...]:
        with self._lanes.gold_turn() as lane:
            path = self._call(self._simulators.goldPath, lane, self._class_path, task, variation, simplification)
        return lines(path)

    def _call(self, method: Any, *arguments: Any) -> str:
        try:
            answer: str = method(*arguments)
        except Exception as error:
            message = self.java_message(error)
            if message is not None and message.startswith(_LANE_LOST):
                raise LaneLostError(message) from error
            raise
        return answer
