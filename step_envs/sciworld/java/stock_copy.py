"""The stock backend: the original engine without changes, one class loader for each simulator.

The engine keeps its random generator, its counters and its simplifications in global variables, so two engines in one class
loader corrupt each other's episodes. A process for each engine would be isolated too, but takes 200 MB and a second to
start. So each copy has a class loader and a connection of its own; then copies also run in parallel.

It is what the fast backend is compared with, and what is left where the fast backend cannot be used.
"""

from dataclasses import replace
from typing import Any

from typing_extensions import override

from step_envs.errors import EngineError
from step_envs.sciworld.java.engine_copy import EngineCopy, EngineReply, lines, points
from step_envs.sciworld.java.jvm import Jvm

_ENGINE = "scienceworld.runtime.pythonapi.PythonInterface"
_ROUTES = "scienceworld.goldagent.PathFinder$"

# The engine answers these outside the world: they take no tick and do not change the score.
_QUERIES = frozenset({"help", "objects", "task"})
_STEPS_BETWEEN_LOOKS = 20
"""After so many steps of an episode, the size of the heap is looked at again."""

_JAVA_BLANKS = "".join(map(chr, range(0x21)))  # the characters that Java's String.trim() removes

# The stock interface says this if the world says nothing: a pending question was not answered with a number.
_NO_ANSWER = (
    "Unknown action.  Type 'help' for a list of actions, and 'objects' for a list of possible object referents. "
)


class StockCopy(EngineCopy):
    """An engine with its classes to itself; see ``EngineCopy``."""

    def __init__(self, jvm: Jvm, timeout: float) -> None:
        self._world: Any = None
        self._last = EngineReply("", 0, False, 0)
        super().__init__(jvm, timeout)

    @override
    def _start(self) -> Any:
        gateway, jars, keep = self._connection.gateway, self.jvm.jars, self._keep
        java = gateway.jvm.java
        self._join = java.lang.String.join
        loaders = java.lang.ClassLoader
        parent = loaders.getSystemClassLoader() if jars.shared is not None else loaders.getPlatformClassLoader()
        urls = keep(gateway.new_array(java.net.URL, 1))
        urls[0] = keep(keep(keep(java.io.File(str(jars.own))).toURI()).toURL())
        self._loader = keep(java.net.URLClassLoader(urls, keep(parent)))
        engine = keep(self._loader.loadClass(_ENGINE))
        constructor = keep(engine.getDeclaredConstructor(keep(gateway.new_array(java.lang.Class, 0))))
        return keep(constructor.newInstance(keep(gateway.new_array(java.lang.Object, 0))))

    @override
    def _load(self, task: str, variation: int, simplification: str) -> EngineReply:
        self._load_world(task, variation, simplification, gold=False)
        return self._act("look around")

    def _load_world(self, task: str, variation: int, simplification: str, *, gold: bool) -> None:
        fault = self._server.load(task, variation, simplification, gold)
        if fault:
            raise EngineError(f"ScienceWorld refused to load {task}/{variation}: {fault}")
        if self._world is not None:
            self._free(self._world)
        self._collect_garbage(self._runtime.totalMemory())
        option = self._server.agentInterface()
        self._world = option.get()
        self._free(option)

    @override
    def _step(self, action: str, *, draw: bool) -> EngineReply:
        if self.replies_given % _STEPS_BETWEEN_LOOKS == _STEPS_BETWEEN_LOOKS - 1:
            self._collect_garbage(self._runtime.totalMemory())
        if draw:
            self._free(self._world.getValidActionObjectCombinations())
        if action.strip(_JAVA_BLANKS).lower() in _QUERIES:
            self._last = replace(self._last, observation=self._server.step(action))
            return self._last
        return self._act(action)

    def _act(self, action: str) -> EngineReply:
        # The stock interface's step() does this and then as much again, for a history that nobody asked for. The answer
        # is a Scala tuple, which arrives as the text "(observation,score,completed)".
        answer = self._world.step(action)
        observation, score, completed = answer.toString()[1:-1].rsplit(",", 2)
        self._free(answer)
        self._last = EngineReply(
            observation=observation or _NO_ANSWER,
            score=points(score),
            done=completed == "true" or points(score) < 0,
            moves=self._world.getCurIterations(),
        )
        return self._last

    @override
    def look(self) -> str:
        text: str = self._server.freeActionLook()
        return text

    @override
    def inventory(self) -> str:
        text: str = self._server.freeActionInventory()
        return text

    @override
    def task_description(self) -> str:
        text: str = self._server.freeActionTaskDesc()
        return text

    @override
    def goal_progress(self) -> str:
        text: str = self._server.getGoalProgressStr()
        return text

    @override
    def _list_valid_actions(self) -> tuple[str, ...]:
        return self._texts(self._server.getValidActionObjectCombinations())

    @override
    def _gold_path(self, task: str, variation: int, simplification: str) -> tuple[str, ...]:
        # The engine draws a route through the house when it first needs one, and keeps it: a gold path would depend on
        # those computed before it.
        finder = self._keep(self._keep(self._loader.loadClass(_ROUTES)).getField("MODULE$")).get(None)
        routes = self._keep(self._keep(finder).precomputedExhaustivePaths())
        routes.clear()
        self.replies_given = 0  # the engine is at the start of the task afterwards, before the first look around
        self._load_world(task, variation, simplification, gold=True)
        return self._texts(self._server.getGoldActionSequence())

    @override
    def close(self) -> None:
        if self._world is not None:
            self._keep(self._world)
            self._world = None
        super().close()

    def _free(self, java_object: Any) -> None:
        self._connection.free(java_object._get_object_id())

    def _texts(self, texts: Any) -> tuple[str, ...]:
        """Return the lines of a Java list.

        They come in one call: the stock library is slow because it asks for each element separately.
        """
        joined: str = self._join("\n", texts)
        self._free(texts)
        return lines(joined)
