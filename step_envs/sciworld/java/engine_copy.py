"""One isolated copy of the ScienceWorld engine inside the shared Java process.

The engine keeps its random generator, its counters and its simplifications in global variables, so each copy
has a class loader and a connection of its own, which is also what lets copies run in parallel.

A session knows nothing of recovery: when the process is dead or silent it raises, and is finished. Bringing
the episode back is the trade of :mod:`step_envs.sciworld.engine`.
"""

from dataclasses import dataclass, replace
from typing import Any

from step_envs.errors import EngineError
from step_envs.sciworld.java.jvm import Jvm

_ENGINE = "scienceworld.runtime.pythonapi.PythonInterface"

# What the engine answers by itself, outside the world: no tick, no change of score.
_QUERIES = frozenset({"help", "objects", "task"})
_JAVA_BLANKS = "".join(map(chr, range(0x21)))  # what Java's String.trim() takes off

# The outer interface says this where the world says nothing: a pending question was answered with no number.
_NO_ANSWER = (
    "Unknown action.  Type 'help' for a list of actions, and 'objects' for a list of possible object referents. "
)


@dataclass(frozen=True)
class Reply:
    """What the engine answers to an action or to a task start.

    Attributes:
        observation: The engine's text.
        score: The engine's score, from -100 (failed) to 100 (task fully done).
        done: Whether the engine ended the episode: task completed, or failed. Knows nothing of a step limit.
        moves: Ticks of the engine's clock so far. One action takes 0, 1 or more.
    """

    observation: str
    score: int
    done: bool
    moves: int


class Session:
    """A copy of the engine, ready to load tasks. Not for two threads at once.

    Attributes:
        jvm: The process it lives in.
        answers: How many replies it has given since the task was loaded, the look around included.

    Args:
        jvm: The process to live in.
        timeout: Seconds that a call may take.

    Raises:
        JvmDeadError: The process is dead. So may every method.
        JvmSilentError: The process does not answer in time. So may every method.
    """

    def __init__(self, jvm: Jvm, timeout: float) -> None:
        from step_envs.sciworld.java.py4j_connection import Line  # py4j: imported where it is used

        self.jvm = jvm
        self.answers = 0
        self._held: list[str] = []
        self._world: Any = None
        self._last = Reply("", 0, False, 0)
        self._valid: tuple[str, ...] | None = ()
        self._line = Line(jvm, timeout)
        self._timeout = timeout
        try:
            for target in jvm.take_garbage():
                self._line.free(target)
            self._server = self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> Any:
        gateway, jars, keep = self._line.gateway, self.jvm.jars, self._keep
        java = gateway.jvm.java
        if not self.jvm.silenced:
            # The engine narrates every step on standard output; nobody reads it.
            java.lang.System.setOut(java.io.PrintStream(java.io.OutputStream.nullOutputStream()))
            self.jvm.silenced = True
        self._join = java.lang.String.join
        loaders = java.lang.ClassLoader
        parent = loaders.getSystemClassLoader() if jars.shared is not None else loaders.getPlatformClassLoader()
        urls = keep(gateway.new_array(java.net.URL, 1))
        urls[0] = keep(keep(keep(java.io.File(str(jars.own))).toURI()).toURL())
        loader = keep(java.net.URLClassLoader(urls, keep(parent)))
        engine = keep(loader.loadClass(_ENGINE))
        constructor = keep(engine.getDeclaredConstructor(keep(gateway.new_array(java.lang.Class, 0))))
        return keep(constructor.newInstance(keep(gateway.new_array(java.lang.Object, 0))))

    def _keep(self, java_object: Any) -> Any:
        """Notes an object to be freed with the session: one that is forgotten keeps all the classes alive."""
        self._held.append(java_object._get_object_id())
        return java_object

    def load(self, task: str, variation: int, simplification: str) -> Reply:
        """Loads a task and looks around, as the stock ``reset()`` does; that takes no time."""
        self._load(task, variation, simplification, gold=False)
        return self.step("look around")

    def _load(self, task: str, variation: int, simplification: str, *, gold: bool) -> None:
        fault = self._server.load(task, variation, simplification, gold)
        if fault:
            raise EngineError(f"ScienceWorld refused to load {task}/{variation}: {fault}")
        if self._world is not None:
            self._free(self._world)
        option = self._server.agentInterface()
        self._world = option.get()
        self._free(option)
        self._valid = ()
        self.answers = 0

    def step(self, action: str) -> Reply:
        """Gives the engine one input."""
        self._draw()
        if action.strip(_JAVA_BLANKS).lower() in _QUERIES:
            self._last = replace(self._last, observation=self._server.step(action))
        else:
            self._last = self._act(action)
        self._valid = None
        self.answers += 1
        return self._last

    def _act(self, action: str) -> Reply:
        # Not through the outer interface's step(), which does this and then twice as much again for a history
        # that nobody asked for. The answer is a Scala tuple, here as text: "(observation,score,completed)".
        answer = self._world.step(action)
        observation, score, completed = answer.toString()[1:-1].rsplit(",", 2)
        self._free(answer)
        points = round(100 * float(score))
        return Reply(
            observation=observation or _NO_ANSWER,
            score=points,
            done=completed == "true" or points < 0,
            moves=self._world.getCurIterations(),
        )

    def _draw(self) -> None:
        """Takes the random numbers that the stock library takes between two steps.

        Listing the valid actions draws from the generator that also moves the bees, and the stock library lists
        them once after every step. The episode that it plays is only met by drawing as often: neither less,
        where nobody asks for the list, nor more, where somebody asks twice.
        """
        if self._valid is None:
            self._free(self._world.getValidActionObjectCombinations())

    def look(self) -> str:
        """What a look around shows, without it being an action."""
        text: str = self._server.freeActionLook()
        return text

    def inventory(self) -> str:
        """What the agent carries, without looking being an action."""
        text: str = self._server.freeActionInventory()
        return text

    def task_description(self) -> str:
        """The task in the engine's words."""
        text: str = self._server.freeActionTaskDesc()
        return text

    def goal_progress(self) -> str:
        """The engine's table of subgoals."""
        text: str = self._server.getGoalProgressStr()
        return text

    def valid_actions(self) -> tuple[str, ...]:
        """Every action that the engine would carry out now, sorted. Asking again gives the same list."""
        if self._valid is None:
            self._valid = self._texts(self._server.getValidActionObjectCombinations())
        return self._valid

    def gold_path(self, task: str, variation: int, simplification: str, timeout: float) -> tuple[str, ...]:
        """The engine's own solution. Leaves the engine at the start of the task, before the look around."""
        self._line.patience(timeout)
        self._load(task, variation, simplification, gold=True)
        path = self._texts(self._server.getGoldActionSequence())
        self._line.patience(self._timeout)
        return path

    def task_variations(self, task: str) -> int:
        """How many variations a task has; the engine says 0 to a task that it does not know."""
        count: int = self._server.getTaskMaxVariations(task)
        return count

    def task_names(self) -> tuple[str, ...]:
        """The tasks that the engine knows."""
        return self._texts(self._server.getTaskNames())

    def simplifications(self) -> tuple[str, ...]:
        """The simplifications that the engine knows, without ``easy``."""
        return tuple(self._server.getPossibleSimplifications().split(", "))

    def java_words(self, error: BaseException) -> str | None:
        """What Java says of an exception that engine code threw; None for any other error."""
        return self._line.java_words(error)

    def close(self) -> None:
        """Ends the copy. The process frees its memory when the next copy is made."""
        world = [] if self._world is None else [self._world._get_object_id()]
        self.jvm.discard([*self._held, *world])
        self._line.close()

    def abandon(self) -> None:
        """In a forked child: lets go of the parent's copy without disturbing it."""
        self._line.abandon()

    def _free(self, java_object: Any) -> None:
        self._line.free(java_object._get_object_id())

    def _texts(self, texts: Any) -> tuple[str, ...]:
        """A Java list of lines in one call: a round trip for each is what makes the stock library slow."""
        joined: str = self._join("\n", texts)
        self._free(texts)
        return tuple(joined.split("\n")) if joined else ()
