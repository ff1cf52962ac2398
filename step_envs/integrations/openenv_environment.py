"""The server's side of our worlds in OpenEnv: an environment for each session, and the tasks as its Task API shows them.

OpenEnv makes an ``Environment`` for each WebSocket connection, and a further one for every question about tasks. So ours
is cheap to make: it takes a world from a pool with the first reset and gives it back when the session ends.
"""

import asyncio
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import gymnasium as gym
from gymnasium.error import ResetNeeded

from step_envs import __version__
from step_envs.core import TextEnv
from step_envs.errors import SnapshotError, missing_package, quoted, unknown_name
from step_envs.integrations.openenv_client import Question, TextAction, TextObservation, TextState
from step_envs.options import option_names
from step_envs.registration import env_class
from step_envs.serve.limits import LARGEST_SNAPSHOT
from step_envs.serve.worlds import Worlds

try:
    from openenv.core.env_server.interfaces import Environment
    from openenv.core.env_server.types import EnvironmentMetadata
except ModuleNotFoundError as error:
    raise missing_package("openenv", "The adapter for OpenEnv", "openenv") from error

RESET_OPTIONS = ("seed", "episode_id", "split", "index", "task_id", "injected_state")
"""What a client may give to ``reset``."""

LONGEST_ID = 255
"""Characters of an episode id, as OpenEnv's HTTP route has it."""

CALLERS_FAULTS = (ResetNeeded, TypeError, ValueError)
"""After these a world can begin another episode; after any other error nobody knows."""


class WorldPool:
    """The environments of a server, which are kept and used again, and their tasks.

    Args:
        env_id: Id of the environment.
        options: What all environments are made with, as JSON values or paths.

    Raises:
        UnknownNameError: There is no such environment, split, task type or option.
        DataError: Data that was named is absent.
    """

    def __init__(self, env_id: str, options: Mapping[str, Any] | None = None) -> None:
        made = {
            name: os.fspath(value) if isinstance(value, os.PathLike) else value
            for name, value in (options or {}).items()
        }
        self._worlds = Worlds([env_id], made)
        (self.env_id,) = self._worlds.ids
        cls = env_class(env_id)
        self.option_names = option_names(cls) or frozenset(made)
        self.tasks = self._worlds.tasks(self.env_id, {})
        self.default_split: str = made.get("split") or cls.default_split
        self._task_types = made.get("task_types")
        self.ids(self.default_split)
        self._lock = threading.Lock()
        self._free: list[TextEnv] = []
        self._closed = False

    def ids(self, split: str) -> Sequence[str]:
        """List the tasks of a split, of the server's task types."""
        if not isinstance(split, str):
            raise unknown_name("split", split, self.tasks.splits)
        return self.tasks.select(split, self._task_types)

    def task_at(self, split: str, index: int) -> str:
        """Return a task by its place in a split."""
        ids = self.ids(split)
        if not isinstance(index, int) or isinstance(index, bool):
            raise TypeError(f"The index of a task is an int, got {quoted(index)}.")
        if not 0 <= index < len(ids):
            raise IndexError(f"Split {split!r} has the tasks 0 to {len(ids) - 1}, and no task {index}.")
        return ids[index]

    def take(self) -> TextEnv:
        """Return an environment that nobody uses."""
        with self._lock:
            if self._free:
                return self._free.pop()
        return self._worlds.make(self.env_id, {})

    def give_back(self, world: TextEnv) -> None:
        """Keep an environment for the next session."""
        with self._lock:
            if not self._closed:
                self._free.append(world)
                return
        world.close()

    def close(self) -> None:
        """Close the environments; one that is in use is closed when it is given back."""
        with self._lock:
            self._closed, free, self._free = True, self._free, []
        for world in free:
            world.close()


class TextEnvironment(Environment):  # type: ignore[misc]
    """One session: plays one episode at a time.

    OpenEnv makes an object of this class for every question about tasks, too, so an environment is taken from the pool only
    by the first reset.

    Args:
        pool: The environments of the server.
        extensions: Also take snapshots, go back to them, and ask the oracle.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, pool: WorldPool, *, extensions: bool = False) -> None:
        super().__init__()
        self._pool, self._extensions = pool, extensions
        self._world: TextEnv | None = None
        self._observation: TextObservation | None = None
        self._episode_id: str | None = None
        self._closed = False

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        split: str | None = None,
        index: int | None = None,
        task_id: str | None = None,
        injected_state: str | None = None,
        **unknown: Any,
    ) -> TextObservation:
        """Begin an episode; one that was running is over, even if this fails.

        Args:
            seed: Picks the task, as ``gym.make(env_id, split=split).reset(seed=seed)`` does.
            episode_id: A name for the episode; None makes one up.
            split: The split that the seed or the index picks from; None is the server's.
            index: Place of the task in the split; the seed then picks nothing.
            task_id: Names the task, of any split.
            injected_state: A snapshot to go back to; only with the extensions.
            **unknown: Nothing; OpenEnv would drop a misspelt name without a word.

        Raises:
            UnknownNameError: There is no such split, task or argument.
            IndexError: The split has no such task.
            ValueError: Arguments contradict one another, or are not for clients to set.
            TypeError: An argument has the wrong type.
        """
        self._observation = None
        self._refuse(unknown)
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or seed < 0):
            raise ValueError(f"A seed is an int from 0, got {quoted(seed)}.")
        if episode_id is not None and not (isinstance(episode_id, str) and len(episode_id) <= LONGEST_ID):
            raise ValueError(f"An episode_id is a text of at most {LONGEST_ID} characters, got {quoted(episode_id)}.")
        if injected_state is not None:
            if (seed, split, index, task_id) != (None, None, None, None):
                raise ValueError("injected_state= is a whole episode with its task: leave the other arguments out.")
            saved = self._snapshot(injected_state)
            return self._begin(episode_id, lambda world: world.restore(saved))
        if task_id is not None and (split, index) != (None, None):
            raise ValueError("A task is named by task_id=, or by split= and index=: leave one of them out.")
        if index is not None:
            task_id = self._pool.task_at(self._pool.default_split if split is None else split, index)
        elif split is not None:
            ids = self._pool.ids(split)
            task_id = ids[int(gym.utils.seeding.np_random(seed)[0].integers(len(ids)))]
        options = None if task_id is None else {"task_id": task_id}
        return self._begin(episode_id, lambda world: world.reset(seed=seed, options=options))

    def step(self, action: TextAction, timeout_s: float | None = None, **kwargs: Any) -> TextObservation:
        """Carry out an action, or answer a question.

        Args:
            action: The action.
            timeout_s: Not used; worlds have time limits of their own.
            **kwargs: Not used.

        Raises:
            ResetNeeded: No episode is running, or it is over.
        """
        world, seen = self._world, self._observation
        if world is None or seen is None:
            raise ResetNeeded("No episode is running: call reset() first, in the same WebSocket session.")
        question = getattr(action, "ask", None)
        with self._whole_world():
            if question is not None:
                answer = self._answer(world, question, action.action)
                update = {"reward": 0.0, "metadata": {**seen.metadata, "answer": answer}}
                answered: TextObservation = seen.model_copy(update=update)
                return answered
            text, reward, _, _, info = world.step(action.action)
        return self._observe(world, text, info, reward=reward)

    @property
    def state(self) -> TextState:
        """The state of the session. It is ready at once, because OpenEnv asks for it in its event loop."""
        known = {} if self._observation is None else self._observation.metadata
        shown = {name: known[name] for name in TextState.model_fields if name in known}
        return TextState(
            env_id=self._pool.env_id, episode_id=self._episode_id, step_count=known.get("steps", 0), **shown
        )

    def close(self) -> None:
        """Free the environment. The session is over: OpenEnv also closes one that was idle too long."""
        self._closed = True
        world, self._world = self._world, None
        if world is not None:
            self._pool.give_back(world)

    def get_metadata(self) -> EnvironmentMetadata:
        """Return what the server says of itself."""
        return EnvironmentMetadata(
            name=self._pool.env_id, description=f"The text world {self._pool.env_id} of step-envs", version=__version__
        )

    # The tasks, as OpenEnv's TaskProvider asks for them. It asks in its event loop, hence the threads.

    async def list_splits(self) -> list[dict[str, str]]:
        """List the splits by name and kind."""
        return [{"name": name, "type": _split_kind(name)} for name in self._pool.tasks.splits]

    async def num_tasks(self, split: str) -> int:
        """Count the tasks of a split."""
        return len(await asyncio.to_thread(self._pool.ids, split))

    async def list_tasks(self, split: str) -> list[dict[str, Any]]:
        """List the tasks of a split in their fixed order."""
        return await self.get_task_range(split)

    async def get_task(self, split: str, index: int) -> dict[str, Any]:
        """Return ``id``, ``index``, ``split`` and ``type`` of a task."""
        task_id = await asyncio.to_thread(self._pool.task_at, split, index)
        return self._describe(split, index, task_id)

    async def get_task_range(
        self, split: str, start: int | None = None, stop: int | None = None
    ) -> list[dict[str, Any]]:
        """List the tasks of a slice of a split."""

        def describe() -> list[dict[str, Any]]:
            ids = self._pool.ids(split)
            return [self._describe(split, index, ids[index]) for index in range(len(ids))[start:stop]]

        return await asyncio.to_thread(describe)

    # Within.

    def _describe(self, split: str, index: int, task_id: str) -> dict[str, Any]:
        return {"id": task_id, "index": index, "split": split, "type": self._pool.tasks.type_of(task_id)}

    def _refuse(self, unknown: Mapping[str, Any]) -> None:
        for name in unknown:
            if name in self._pool.option_names:
                raise ValueError(f"The option {name!r} is the server's to set, not a client's: give it to create_app.")
            raise unknown_name("argument of reset", name, RESET_OPTIONS)

    def _begin(self, episode_id: str | None, start: Callable[[TextEnv], tuple[str, dict[str, Any]]]) -> TextObservation:
        if self._closed:
            raise ResetNeeded("This session is closed, perhaps because it was idle too long: connect again.")
        self._world = world = self._world or self._pool.take()
        with self._whole_world():
            text, info = start(world)
        self._episode_id = episode_id or str(uuid.uuid4())
        return self._observe(world, text, info, instruction=str(info["instruction"]))

    def _observe(
        self, world: TextEnv, text: str, info: dict[str, Any], *, reward: float | None = None, instruction: str = ""
    ) -> TextObservation:
        terminated, truncated = world.terminated, world.truncated
        shown = info.pop("admissible_actions", None)
        self._observation = TextObservation(
            text=text,
            instruction=instruction,
            admissible_actions=None if shown is None else list(shown),
            reward=reward,
            done=terminated or truncated,
            metadata={**info, "terminated": terminated, "truncated": truncated},
        )
        return self._observation

    def _snapshot(self, text: object) -> bytes:
        if not self._extensions:
            raise ValueError("This server takes no snapshots: start it with create_app(..., extensions=True).")
        if not isinstance(text, str):
            raise SnapshotError(f"A snapshot is a str, as ask='snapshot' answers it, got {type(text).__name__}.")
        if len(text) > LARGEST_SNAPSHOT:
            raise SnapshotError(f"A snapshot has at most {LARGEST_SNAPSHOT:,} characters, got {len(text):,}.")
        return text.encode("utf-8", "surrogatepass")

    @staticmethod
    def _answer(world: TextEnv, question: Question, action: str) -> Any:
        match question:
            case "snapshot":
                return world.snapshot().decode()
            case "plan":
                return world.oracle.plan()
            case "next_action":
                return world.oracle.next_action()
            case "thought":
                return world.oracle.thought(action)
            case "admissible_actions":
                return list(world.admissible_actions())

    @contextmanager
    def _whole_world(self) -> Iterator[None]:
        """Throw the environment away after a fault of its engine, so that no later session gets it."""
        try:
            yield
        except CALLERS_FAULTS:
            raise
        except BaseException:
            world, self._world = self._world, None
            if world is not None:
                with suppress(Exception):
                    world.close()
            raise


def _split_kind(name: str) -> str:
    """Return the kind of a split, in the three words that the Task API has."""
    return "train" if "train" in name else "test" if "test" in name else "validation"
