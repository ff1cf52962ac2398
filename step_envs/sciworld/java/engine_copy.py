"""One isolated copy of the ScienceWorld engine inside the shared Java process.

The engine keeps its random generator, its counters and its simplifications in global variables, so two engines in one class
loader corrupt each other's episodes. A process for each engine would be isolated too, but takes 200 MB and a second to
start. So each copy has a class loader and a connection of its own; then copies also run in parallel.

A copy does not recover: if the process is dead or does not answer, its methods raise and the copy is of no more use.
``step_envs.sciworld.engine`` makes a new one and replays the episode.
"""

from dataclasses import dataclass, replace
from typing import Any

from step_envs.errors import EngineError
from step_envs.sciworld.java.jvm import Jvm

_ENGINE = "scienceworld.runtime.pythonapi.PythonInterface"

_ERROR = "ERROR"
"""How the engine's answer begins where it could not load a task."""

# The engine answers these outside the world: they take no tick and do not change the score.
_QUERIES = frozenset({"help", "objects", "task"})
_STEPS_BETWEEN_LOOKS = 20
"""After so many steps of an episode, the size of the heap is looked at again."""

_JAVA_BLANKS = "".join(map(chr, range(0x21)))  # the characters that Java's String.trim() removes

# The stock interface says this if the world says nothing: a pending question was not answered with a number.
_NO_ANSWER = (
    "Unknown action.  Type 'help' for a list of actions, and 'objects' for a list of possible object referents. "
)


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


class EngineCopy:
    """A copy of the engine, ready to load tasks. Not safe for two threads at once.

    Args:
        jvm: The process to live in.
        timeout: Seconds that a call may take.

    Raises:
        JvmDeadError: The process is dead. Every method may raise this.
        JvmTimeoutError: The process does not answer in time. Every method may raise this.

    Attributes:
        jvm: The process that it lives in.
        replies_given: How many replies it has given since the task was loaded, the first look around included.
    """

    def __init__(self, jvm: Jvm, timeout: float) -> None:
        from step_envs.sciworld.java.py4j_connection import Py4jConnection  # py4j is imported only when it is used

        self.jvm = jvm
        self.replies_given = 0
        self._kept_ids: list[str] = []
        self._world: Any = None
        self._last = EngineReply("", 0, False, 0)
        self._valid: tuple[str, ...] | None = ()
        self._connection = Py4jConnection(jvm, timeout)
        self._timeout = timeout
        try:
            for target in jvm.take_garbage():
                self._connection.free(target)
            self._server = self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> Any:
        gateway, jars, keep = self._connection.gateway, self.jvm.jars, self._keep
        java = gateway.jvm.java
        if not self.jvm.stdout_closed:
            # The engine prints every step to standard output. Nobody reads the pipe, and a full one would block Java.
            java.lang.System.setOut(java.io.PrintStream(java.io.OutputStream.nullOutputStream()))
            self.jvm.stdout_closed = True
        self._join = java.lang.String.join
        self._runtime = keep(java.lang.Runtime.getRuntime())
        loaders = java.lang.ClassLoader
        parent = loaders.getSystemClassLoader() if jars.shared is not None else loaders.getPlatformClassLoader()
        urls = keep(gateway.new_array(java.net.URL, 1))
        urls[0] = keep(keep(keep(java.io.File(str(jars.own))).toURI()).toURL())
        loader = keep(java.net.URLClassLoader(urls, keep(parent)))
        engine = keep(loader.loadClass(_ENGINE))
        constructor = keep(engine.getDeclaredConstructor(keep(gateway.new_array(java.lang.Class, 0))))
        return keep(constructor.newInstance(keep(gateway.new_array(java.lang.Object, 0))))

    def _keep(self, java_object: Any) -> Any:
        """Record an object that is to be freed with this copy; one forgotten object keeps all its classes in memory."""
        self._kept_ids.append(java_object._get_object_id())
        return java_object

    def load(self, task: str, variation: int, simplification: str) -> EngineReply:
        """Load a task and look around, as the stock library's ``reset()`` does; that takes no tick."""
        self._load(task, variation, simplification, gold=False)
        reply = self.step("look around")
        if reply.observation.startswith(_ERROR):
            # The engine reports a wrong name as if it were a world that has failed at its start.
            raise EngineError(f"ScienceWorld refused to load {task}/{variation}: {reply.observation}")
        return reply

    def _load(self, task: str, variation: int, simplification: str, *, gold: bool) -> None:
        fault = self._server.load(task, variation, simplification, gold)
        if fault:
            raise EngineError(f"ScienceWorld refused to load {task}/{variation}: {fault}")
        if self._world is not None:
            self._free(self._world)
        self._collect_garbage()
        option = self._server.agentInterface()
        self._world = option.get()
        self._free(option)
        self._valid = ()
        self.replies_given = 0

    def _collect_garbage(self) -> None:
        """Have the process collect garbage if its heap has grown much since it last did."""
        limit = self.jvm.garbage_limit
        if limit.reached(self._runtime.totalMemory()):
            used = 0
            try:
                self._runtime.gc()
                used = self._runtime.totalMemory() - self._runtime.freeMemory()
            finally:
                limit.collected(used)

    def step(self, action: str) -> EngineReply:
        """Give the engine one input and return its answer."""
        if self.replies_given % _STEPS_BETWEEN_LOOKS == _STEPS_BETWEEN_LOOKS - 1:
            self._collect_garbage()
        self._draw_random_numbers()
        if action.strip(_JAVA_BLANKS).lower() in _QUERIES:
            self._last = replace(self._last, observation=self._server.step(action))
        else:
            self._last = self._act(action)
        self._valid = None
        self.replies_given += 1
        return self._last

    def _act(self, action: str) -> EngineReply:
        # The stock interface's step() does this and then as much again, for a history that nobody asked for. The answer
        # is a Scala tuple, which arrives as the text "(observation,score,completed)".
        answer = self._world.step(action)
        observation, score, completed = answer.toString()[1:-1].rsplit(",", 2)
        self._free(answer)
        points = round(100 * float(score))
        return EngineReply(
            observation=observation or _NO_ANSWER,
            score=points,
            done=completed == "true" or points < 0,
            moves=self._world.getCurIterations(),
        )

    def _draw_random_numbers(self) -> None:
        """Draw the random numbers that the stock library draws between two steps.

        Listing the valid actions draws from the generator that also moves the bees, and the stock library lists them once
        after every step. To play the same episode we must draw exactly as often: also if nobody asks for the list, and only
        once if somebody asks twice.
        """
        if self._valid is None:
            self._free(self._world.getValidActionObjectCombinations())

    def look(self) -> str:
        """Return what a look around shows; this is no action."""
        text: str = self._server.freeActionLook()
        return text

    def inventory(self) -> str:
        """Return what the agent carries; this is no action."""
        text: str = self._server.freeActionInventory()
        return text

    def task_description(self) -> str:
        """Return the task in the engine's words."""
        text: str = self._server.freeActionTaskDesc()
        return text

    def goal_progress(self) -> str:
        """Return the engine's table of subgoals."""
        text: str = self._server.getGoalProgressStr()
        return text

    def valid_actions(self) -> tuple[str, ...]:
        """Return every action that the engine would carry out now, sorted. Asking again gives the same list."""
        if self._valid is None:
            self._valid = self._texts(self._server.getValidActionObjectCombinations())
        return self._valid

    def gold_path(self, task: str, variation: int, simplification: str, timeout: float) -> tuple[str, ...]:
        """Return the engine's own solution. It leaves the engine at the start of the task, before the first look around."""
        self._connection.set_timeout(timeout)
        self._load(task, variation, simplification, gold=True)
        path = self._texts(self._server.getGoldActionSequence())
        self._connection.set_timeout(self._timeout)
        if path and path[0].startswith(_ERROR):
            raise EngineError(f"ScienceWorld has no solution of {task}/{variation}: {path[0]}")
        return path

    def task_variations(self, task: str) -> int:
        """Return the number of variations of a task; 0 for a task that the engine does not know."""
        count: int = self._server.getTaskMaxVariations(task)
        return count

    def task_names(self) -> tuple[str, ...]:
        """Return the names of the engine's tasks."""
        return self._texts(self._server.getTaskNames())

    def simplifications(self) -> tuple[str, ...]:
        """Return the names of the engine's simplifications, without ``easy``."""
        return tuple(self._server.getPossibleSimplifications().split(", "))

    def java_message(self, error: BaseException) -> str | None:
        """Return Java's message if engine code threw the error; None for any other error."""
        return self._connection.java_message(error)

    def close(self) -> None:
        """End the copy. The process frees its memory when the next copy is made."""
        world = [] if self._world is None else [self._world._get_object_id()]
        self.jvm.discard([*self._kept_ids, *world])
        self._connection.close()

    def abandon(self) -> None:
        """Let go of the parent's copy in a forked child, without disturbing the parent."""
        self._connection.abandon()

    def _free(self, java_object: Any) -> None:
        self._connection.free(java_object._get_object_id())

    def _texts(self, texts: Any) -> tuple[str, ...]:
        """Return the lines of a Java list.

        They come in one call: the stock library is slow because it asks for each element separately.
        """
        joined: str = self._join("\n", texts)
        self._free(texts)
        return tuple(joined.split("\n")) if joined else ()
