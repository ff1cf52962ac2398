"""One engine inside the shared Java process, as Python sees it; the two backends are its two kinds.

``stock_copy`` plays the original classes as they are, in a class loader of their own. ``lane_copy`` plays them with the
parts replaced that take most of the time, many simulators in one class loader. Both give the same bytes.

A copy does not recover: if the process is dead or does not answer, its methods raise and the copy is of no more use.
``step_envs.sciworld.engine`` makes a new one and replays the episode.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from step_envs.errors import EngineError
from step_envs.sciworld.java.jvm import Jvm

ERROR = "ERROR"
"""How the engine's answer begins where it could not load a task."""


@dataclass(frozen=True)
class EngineReply:
    """The engine's answer to an action or to the start of a task.

    Attributes:
        observation: The engine's text.
        score: The engine's score, from -100 (failed) to 100 (task fully done).
        done: Whether the engine ended the episode: task completed, or failed. The engine knows no step limit.
        moves: Ticks of the engine's clock so far. One action takes 0, 1 or more.
    """

    observation: str
    score: int
    done: bool
    moves: int


class EngineCopy(ABC):
    """An engine that is ready to load tasks. Not safe for two threads at once.

    Args:
        jvm: The process to live in.
        timeout: Seconds that a call may take.

    Raises:
        EngineError: Java cannot load the engine.
        JvmDeadError: The process is dead. Every method may raise this.
        JvmTimeoutError: The process does not answer in time. Every method may raise this.
        LaneLostError: The engine is gone, through a fault that is not its own. Every method may raise this.

    Attributes:
        jvm: The process that it lives in.
        replies_given: How many replies it has given since the task was loaded, the first look around included.
    """

    def __init__(self, jvm: Jvm, timeout: float) -> None:
        from step_envs.sciworld.java.py4j_connection import Py4jConnection  # py4j is imported only when it is used

        self.jvm = jvm
        self.replies_given = 0
        self._kept_ids: list[str] = []
        # Listing the valid actions draws random numbers, and the stock library lists them once after every step. To play
        # the same episode we must draw exactly as often: also if nobody asks for the list, and once if somebody asks twice.
        self._valid: tuple[str, ...] | None = ()
        self._timeout = timeout
        self._connection = Py4jConnection(jvm, timeout)
        try:
            for target in jvm.take_garbage():
                self._connection.free(target)
            java = self._connection.gateway.jvm.java
            if not jvm.stdout_closed:
                # The engine prints every step to standard output. Nobody reads the pipe, and a full one would block Java.
                java.lang.System.setOut(java.io.PrintStream(java.io.OutputStream.nullOutputStream()))
                jvm.stdout_closed = True
            self._runtime = self._keep(java.lang.Runtime.getRuntime())
            self._server = self._start()
        except BaseException as error:
            fault = self.java_message(error)
            self.close()
            if fault is None:
                raise
            raise EngineError(f"ScienceWorld's engine cannot be loaded: {fault}") from error

    @abstractmethod
    def _start(self) -> Any:
        """Make the Java object that is the engine."""

    def _keep(self, java_object: Any) -> Any:
        """Record an object that is to be freed with this copy; one forgotten object keeps all its classes in memory."""
        self._kept_ids.append(java_object._get_object_id())
        return java_object

    def load(self, task: str, variation: int, simplification: str) -> EngineReply:
        """Load a task and look around, as the stock library's ``reset()`` does; that takes no tick."""
        reply = self._load(task, variation, simplification)
        if reply.observation.startswith(ERROR):
            # The engine reports a wrong name as if it were a world that has failed at its start.
            raise EngineError(f"ScienceWorld refused to load {task}/{variation}: {reply.observation}")
        self._valid = None
        self.replies_given = 1
        return reply

    @abstractmethod
    def _load(self, task: str, variation: int, simplification: str) -> EngineReply:
        """Load a task and look around."""

    def step(self, action: str) -> EngineReply:
        """Give the engine one input and return its answer."""
        reply = self._step(action, draw=self._valid is None)
        self._valid = None
        self.replies_given += 1
        return reply

    @abstractmethod
    def _step(self, action: str, *, draw: bool) -> EngineReply:
        """Give the engine one input; first draw the random numbers of the list of valid actions if ``draw``."""

    @abstractmethod
    def look(self) -> str:
        """Return what a look around shows; this is no action."""

    @abstractmethod
    def inventory(self) -> str:
        """Return what the agent carries; this is no action."""

    @abstractmethod
    def task_description(self) -> str:
        """Return the task in the engine's words."""

    @abstractmethod
    def goal_progress(self) -> str:
        """Return the engine's table of subgoals."""

    def valid_actions(self) -> tuple[str, ...]:
        """Return every action that the engine would carry out now, sorted. Asking again gives the same list."""
        if self._valid is None:
            self._valid = self._list_valid_actions()
        return self._valid

    @abstractmethod
    def _list_valid_actions(self) -> tuple[str, ...]:
        """List the valid actions, and draw the random numbers that this takes."""

    def gold_path(self, task: str, variation: int, simplification: str, timeout: float) -> tuple[str, ...]:
        """Return the engine's own solution of a task. ``replies_given`` tells if the episode has to be replayed."""
        self._connection.set_timeout(timeout)
        path = self._gold_path(task, variation, simplification)
        self._connection.set_timeout(self._timeout)
        if path and path[0].startswith(ERROR):
            raise EngineError(f"ScienceWorld has no solution of {task}/{variation}: {path[0]}")
        return path

    @abstractmethod
    def _gold_path(self, task: str, variation: int, simplification: str) -> tuple[str, ...]:
        """Compute the engine's own solution."""

    def java_message(self, error: BaseException) -> str | None:
        """Return Java's message if engine code threw the error; None for any other error."""
        return self._connection.java_message(error)

    def close(self) -> None:
        """End the copy. The process frees its memory when the next copy is made."""
        self.jvm.discard(self._kept_ids)
        self._connection.close()

    def abandon(self) -> None:
        """Let go of the parent's copy in a forked child, without disturbing the parent."""
        self._connection.abandon()

    def _collect_garbage(self, heap_bytes: int) -> None:
        """Have the process collect garbage if its heap has grown much since it last did."""
        limit = self.jvm.garbage_limit
        if limit.reached(heap_bytes):
            used = 0
            try:
                self._runtime.gc()
                used = self._runtime.totalMemory() - self._runtime.freeMemory()
            finally:
                limit.collected(used)


def points(score: str) -> int:
    """Return the engine's score, a fraction in text, in points from -100 to 100."""
    return round(100 * float(score))


def lines(text: str) -> tuple[str, ...]:
    """Return the lines of a text; none for an empty text."""
    return tuple(text.split("\n")) if text else ()
