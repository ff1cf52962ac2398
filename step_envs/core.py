"""The contract that every environment keeps: ``TextEnv``.

A world supplies what only it can know (how a task begins, what an action does, what is admissible, how to save itself).
Everything that must be alike in all worlds is written here, once: which task a seed picks, the reward, the step limit,
``info``, snapshots, and the errors on misuse. So the public methods are final, and worlds implement the private ones.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypedDict, final

import gymnasium as gym
from gymnasium.error import ClosedEnvironmentError, ResetNeeded

from step_envs.brief_texts import BriefTexts
from step_envs.errors import SnapshotError, unknown_name
from step_envs.options import option_names
from step_envs.oracle import Oracle
from step_envs.react_format import ReActFormat
from step_envs.rendering import Frame, frame_text, print_frame
from step_envs.snapshots import RestorePoint, Snapshot, read_snapshot, snapshot_faults, write_snapshot
from step_envs.spaces import TextSpace, is_too_long, refuse_too_long, require_text
from step_envs.tasks import TaskSet
from step_envs.world_state import WorldState
from step_envs.world_traits import WorldTraits

__all__ = ["ReActFormat", "TextEnv", "TextEnvOptions", "WorldState"]


class TextEnvOptions(TypedDict, total=False):
    """Keyword arguments that every environment takes and hands on to ``TextEnv``; see there for their meaning."""

    split: str
    task_types: Sequence[str] | None
    max_steps: int | Literal["eto"] | None
    admissible_actions: bool
    render_mode: str | None
    brief: bool


class TextEnv(WorldTraits, gym.Env[str, str], ABC):
    """A text world behind the Gymnasium contract.

    Observations and actions are ``str``; every string is a legal action, which the engine answers as it always does.
    ``info`` holds at reset and at every step: ``task_id``, ``split``, ``instruction`` (str), ``score`` (float, the
    engine's score over its maximum), ``success``, ``valid_action`` (bool), ``steps`` (int), ``details`` (dict), and with
    ``admissible_actions=True`` also ``admissible_actions`` (tuple of str). ``reward`` is the change in score, so that the
    rewards of an episode add up to its final score. ``terminated``: the engine ended the episode. ``truncated``: the step
    limit did.

    Args:
        tasks: What there is to play.
        split: The split that seeds pick tasks from; None takes ``default_split``.
        task_types: Types to pick from; None means all.
        max_steps: Steps after which an episode is truncated; ``"eto"`` is the ETO protocol's limit for the task, None
            means no limit.
        admissible_actions: Put the admissible actions into every ``info`` (they can cost more than the step itself).
        render_mode: ``"human"`` prints the episode as it goes; ``"ansi"`` makes ``render()`` return the present moment as
            text. Both show task, last action, observation and score.
        brief: Say the same in far fewer words, with names that are short to copy, for models too small to copy long ones.
            It changes instruction, observations, prompt, names in actions and the oracle's thoughts, and nothing else:
            see ``step_envs.brief_texts``.
        **unknown: Nothing; an argument that no world takes ends here, and is named.

    Raises:
        UnknownNameError: A split, type, argument or other name does not exist; the message names the nearest that do.
        ValueError: ``max_steps`` is below 1, or ``brief=True`` for a world that has no brief texts.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human", "ansi"], "render_fps": 1}  # type: ignore[misc]

    def __init__(
        self,
        tasks: TaskSet,
        *,
        split: str | None = None,
        task_types: Sequence[str] | None = None,
        max_steps: int | Literal["eto"] | None = "eto",
        admissible_actions: bool = False,
        render_mode: str | None = None,
        brief: bool = False,
        **unknown: Any,
    ) -> None:
        for name in unknown:
            known = option_names(type(self)) or option_names(TextEnv, TextEnvOptions) or ()
            raise unknown_name(f"option of {self.env_id}", name, sorted(known))
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise unknown_name("render mode", render_mode, self.metadata["render_modes"])
        if isinstance(max_steps, bool) or not (
            max_steps is None or max_steps == "eto" or (isinstance(max_steps, int) and max_steps >= 1)
        ):
            raise ValueError(f'max_steps must be a positive int, None or "eto", got {max_steps!r}.')
        if brief:
            if self.brief_react is None:
                raise ValueError(f"{type(self).__name__} has no brief texts: leave out brief=True.")
            self.react = self.brief_react
        self.tasks = tasks
        self.brief = brief
        self.split = self.default_split if split is None else split
        self.render_mode = render_mode
        self.observation_space = TextSpace()
        self.action_space = TextSpace()
        self._task_ids = tasks.select(self.split, task_types)
        self._max_steps = max_steps
        self._list_admissible = admissible_actions
        self._state: WorldState | None = None
        self._brief_texts: BriefTexts | None = None  # a world that has them sets them where ``brief`` asks for it
        self._task_id = ""
        self._task_split = ""
        self._last_action: str | None = None
        self._steps = 0
        self._limit: int | None = None
        self._closed = False

    # What a world supplies.

    @classmethod
    @abstractmethod
    def task_set(cls, **kwargs: Any) -> TaskSet:
        """Find the tasks for the keyword arguments the environment would be made with, without starting an engine."""

    @property
    @abstractmethod
    def oracle(self) -> Oracle[Any]:
        """The oracle, which computes plans from the current state to success."""

    @abstractmethod
    def provenance(self) -> dict[str, str]:
        """Return versions and digests of engine and data, for the record of a trajectory."""

    @abstractmethod
    def _begin(self, task_id: str, options: Mapping[str, Any]) -> WorldState:
        """Start a task afresh. ``options`` are those of ``reset``; their names have been checked."""

    @abstractmethod
    def _act(self, action: str) -> WorldState:
        """Carry out an action."""

    @abstractmethod
    def _instruction(self) -> str:
        """Return the current task in words."""

    @abstractmethod
    def _admissible(self) -> Sequence[str]:
        """List the actions that the engine would accept now."""

    @abstractmethod
    def _save(self) -> Any:
        """Return the state of the world as a JSON value."""

    @abstractmethod
    def _load(self, task_id: str, saved: Any) -> None:
        """Bring the world to a state that ``_save`` returned, in this process or another, or that ``_remember`` returned.

        Errors that wrong data raises (``ValueError``, ``LookupError``, ``TypeError``, ...) become ``SnapshotError``.
        """

    # What a world may know better.

    def _remember(self) -> Any:
        """Return the state of the world for this process alone, where that is cheaper than ``_save``.

        It goes to ``_load`` and to the oracle's ``_state_of`` as it is, so later steps must not change it.

        Returns:
            What JSON makes of ``_save()``, or an object whose method ``save()`` returns what ``_save`` would have.
        """
        return json.loads(json.dumps(self._save()))

    def _accepts(self, action: str) -> bool:
        """Return True if the engine would accept ``action`` now; for worlds that accept more than they list."""
        return action in self._admissible()

    def _out_of_time(self) -> bool:
        """Return True if a limit of this world's own, other than the step limit, truncates the episode now."""
        return False

    def _task_type(self, task_id: str) -> str:
        """Return the type of a task."""
        return self.tasks.type_of(task_id)

    # What is alike in all worlds.

    @final
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Picks the task (and reseeds the choice of later tasks); None goes on with the present random stream.
            options: ``{"task_id": ...}`` names the task instead, of any split.

        Returns:
            Observation and ``info``.

        Raises:
            UnknownNameError: An option or task does not exist; the message names the nearest that do.
            TypeError: ``options`` is not a dict, or the task id in it is not a str.
            gymnasium.error.ClosedEnvironmentError: The environment is closed.
        """
        self._require_open()
        super().reset(seed=seed)
        if not isinstance(options, Mapping | None):
            raise TypeError(f"options of reset() is a dict, got {type(options).__name__}: {options!r}.")
        options = dict(options or {})
        for name in options:
            if name not in self.reset_options:
                raise unknown_name("reset option", name, self.reset_options)
        self._state = None
        # Drawn even when a task is named, so that naming one does not shift the tasks picked after it.
        index = int(self.np_random.integers(len(self._task_ids)))
        task_id = self._choose(options, self._task_ids[index])
        state = self._begin(task_id, options)
        self._enter(task_id, state, steps=0)
        info = self._info(state)
        self._show(state)
        return self._observation(state), info

    @final
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out an action.

        Args:
            action: Any string. One of more than ``spaces.MAX_ACTION_LENGTH`` characters does not reach the engine: it costs
                a step, the observation says so, and ``valid_action`` is False.

        Returns:
            Observation, reward (change in score), terminated, truncated, ``info``.

        Raises:
            ResetNeeded: No episode is running.
            TypeError: The action is not a string.
            EngineError: The engine hung or cannot be kept alive.
        """
        state = self._require_running("step")
        require_text(action, "An action")
        if is_too_long(action):
            # Engines need time or memory that grows with the square of a text's length, and one of them is shared by all
            # environments of a process: a single action of a megabyte would end every episode in it.
            return self._advance(replace(state, observation=refuse_too_long(action), valid_action=False), action)
        return self._advance(self._act(self._to_engine(action)), action)

    @final
    def pass_step(self, observation: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Count a step without touching the world, for a reply that holds no action.

        Args:
            observation: The observation in place of the engine's.

        Returns:
            As ``step``; ``valid_action`` is False.
        """
        state = self._require_running("pass_step")
        require_text(observation, "An observation")
        return self._advance(replace(state, observation=observation, valid_action=False), None)

    @final
    def free_step(self, observation: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Answer an action that is none of the world's, and neither count a step nor touch the world.

        Args:
            observation: The observation.

        Returns:
            As ``step``: reward 0, and ``info`` as it is, with ``valid_action`` True.
        """
        state = self._require_running("free_step")
        require_text(observation, "An observation")
        return observation, 0.0, False, False, self._info(replace(state, valid_action=True))

    @final
    def admissible_actions(self) -> tuple[str, ...]:
        """List the actions that the engine would accept in the current state."""
        self._require_state("admissible_actions")
        texts = self._brief_texts
        return tuple(self._admissible() if texts is None else dict.fromkeys(map(texts.to_brief, self._admissible())))

    @final
    def accepts(self, action: str) -> bool:
        """Return True if the engine would accept ``action`` in the current state.

        Raises:
            TypeError: The action is not a str.
        """
        require_text(action, "An action")
        self._require_state("accepts")
        return not is_too_long(action) and self._accepts(self._to_engine(action))

    @final
    def task_type(self, task_id: str) -> str:
        """Return the type of a task of this world.

        Raises:
            TypeError: The task id is not a str.
            UnknownNameError: There is no such task.
        """
        return self._task_type(require_text(task_id, "A task id"))

    @final
    def snapshot(self) -> bytes:
        """Save the episode as it is now.

        Returns:
            UTF-8 JSON that ``restore`` of any environment with this id takes, in this process or another.
        """
        state = self._require_state("snapshot")
        return write_snapshot(Snapshot(self._task_id, self._steps, state, self._save()), self.env_id)

    @final
    def restore_point(self) -> RestorePoint:
        """Remember the episode as it is now, for this environment alone; far cheaper than ``snapshot`` where that matters.

        Returns:
            What ``restore`` and the oracle take like a snapshot; ``bytes()`` of it is the snapshot.
        """
        state = self._require_state("restore_point")
        return RestorePoint(self, self.env_id, Snapshot(self._task_id, self._steps, state, self._remember()))

    @final
    def open_snapshot(self, snapshot: bytes | RestorePoint) -> Snapshot:
        """Open a snapshot without going back to it, and check that it is one of this environment and its tasks.

        Raises:
            SnapshotError: It is not.
        """
        if isinstance(snapshot, RestorePoint):
            if snapshot.made_by(self):
                return snapshot.snapshot
            snapshot = bytes(snapshot)
        opened = read_snapshot(snapshot, self.env_id)
        with snapshot_faults():
            self.tasks.split_of(opened.task_id)
        return opened

    @final
    def restore(self, snapshot: bytes | RestorePoint) -> tuple[str, dict[str, Any]]:
        """Go back to exactly the state a snapshot or restore point was taken in.

        Returns:
            The observation and ``info`` of that moment.

        Raises:
            SnapshotError: The bytes are not a snapshot of this environment. Where the frame of the snapshot is right and
                the world's own part is not, the running episode is lost as well.
        """
        self._require_open()
        opened = self.open_snapshot(snapshot)
        self._state = None
        try:
            with snapshot_faults():
                self._load(opened.task_id, opened.world)
        except SnapshotError as error:
            advice = ": call reset() to go on."
            raise SnapshotError(f"{str(error).removesuffix(advice).rstrip('.')}{advice}") from error
        self._enter(opened.task_id, opened.state, opened.steps)
        info = self._info(opened.state)
        self._show(opened.state)
        return self._observation(opened.state), info

    def render(self) -> str | None:
        """Return task, last action, observation and score as text in render mode ``"ansi"``, else None.

        In render mode ``"human"`` the episode is printed as it goes, by ``reset`` and ``step``.
        """
        if self.render_mode is None:
            gym.logger.warn(
                "render() shows nothing without a render mode: make the environment with "
                'render_mode="human" or render_mode="ansi".'
            )
            return None
        state = self._require_state("render")
        return frame_text(self._frame(state)) if self.render_mode == "ansi" else None

    @property
    def terminated(self) -> bool:
        """Whether the engine has ended the running episode."""
        return self._state is not None and self._state.done

    @property
    def truncated(self) -> bool:
        """Whether a limit has ended the running episode."""
        if self._state is None or self._state.done:
            return False
        return (self._limit is not None and self._steps >= self._limit) or self._out_of_time()

    def require_episode(self, purpose: str) -> WorldState:
        """Return the state of the running episode.

        Args:
            purpose: What needs it, as the end of a sentence: ``"asking the oracle"``.

        Raises:
            ResetNeeded: No episode was begun.
            gymnasium.error.ClosedEnvironmentError: The environment is closed.
        """
        self._require_open()
        if self._state is None:
            raise ResetNeeded(f"No episode is running: call reset() before {purpose}.")
        return self._state

    def close(self) -> None:
        """Free what the environment holds. It cannot be used afterwards; closing it again does nothing."""
        self._closed = True
        self._state = None
        super().close()

    def __getstate__(self) -> object:
        """Return what ``copy`` and ``pickle`` need.

        Raises:
            TypeError: The engine runs outside Python, so that a copy would drive the same engine.
        """
        if self.waits_outside_python:
            raise TypeError(
                f"A {type(self).__name__} cannot be copied or pickled: make another environment and give "
                "its restore() the bytes of snapshot()."
            )
        return super().__getstate__()

    # Within.

    def _choose(self, options: Mapping[str, Any], drawn: str) -> str:
        """Return the task of an episode: the one named in ``options``, else the one that the seed picked."""
        task_id = options.get("task_id", drawn)
        if isinstance(task_id, list | tuple):
            raise TypeError(
                "A list of task ids starts one task in each environment of a vector: make that with "
                "gymnasium.make_vec(id, num_envs), without vectorization_mode; here a task id is a str."
            )
        name = require_text(task_id, "A task id")
        self.tasks.split_of(name)  # raises for a task that does not exist
        return name

    def _enter(self, task_id: str, state: WorldState, steps: int) -> None:
        self._task_id = task_id
        # For ``info``: this environment's split if the task is in it, else the task's official split.
        self._task_split = self.split if self.tasks.holds(self.split, task_id) else self.tasks.split_of(task_id)
        self._last_action = None
        self._state = state
        self._steps = steps
        self._limit = self.tasks.max_steps(task_id) if self._max_steps == "eto" else self._max_steps

    def _require_running(self, call: str) -> WorldState:
        state = self._require_state(call)
        if state.done or self.truncated:
            raise ResetNeeded(f"The episode is over: call reset() before the next {call}().")
        return state

    def _advance(self, state: WorldState, action: str | None) -> tuple[str, float, bool, bool, dict[str, Any]]:
        # What a task begins with counts towards its first reward, so that the rewards add up to the final score.
        before = 0.0 if self._steps == 0 or self._state is None else self._state.score
        self._state = state
        self._steps += 1
        self._last_action = action
        info = self._info(state)
        self._show(state)
        return self._observation(state), state.score - before, state.done, self.truncated, info

    def _to_engine(self, action: str) -> str:
        return action if self._brief_texts is None else self._brief_texts.to_engine(action)

    def _observation(self, state: WorldState) -> str:
        """Return what is shown of a state. The state itself keeps the engine's words, also in snapshots."""
        texts = self._brief_texts
        if texts is None:
            return state.observation
        if self._steps:
            return texts.observation(state.observation)
        return texts.first_observation(state.observation, self._instruction())

    def _task_in_words(self) -> str:
        instruction = self._instruction()
        return instruction if self._brief_texts is None else self._brief_texts.instruction(instruction)

    def _frame(self, state: WorldState) -> Frame:
        shown = replace(state, observation=self._observation(state))
        return Frame(self._task_id, self._task_in_words(), self._steps, self._last_action, shown, self.truncated)

    def _show(self, state: WorldState) -> None:
        """Print the present moment in render mode ``"human"``."""
        if self.render_mode == "human":
            print_frame(self._frame(state))

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedEnvironmentError("This environment is closed: make another one.")

    def _require_state(self, call: str) -> WorldState:
        return self.require_episode(f"{call}()")

    def _info(self, state: WorldState) -> dict[str, Any]:
        info: dict[str, Any] = {
            "task_id": self._task_id,
            "split": self._task_split,
            "instruction": self._task_in_words(),
            "score": state.score,
            "success": state.success,
            "valid_action": state.valid_action,
            "steps": self._steps,
            "details": dict(state.details),
        }
        if self._list_admissible:
            info["admissible_actions"] = self.admissible_actions()
        return info


def text_env(env: gym.Env[Any, Any]) -> TextEnv:
    """Return the text environment inside its wrappers: ``env.unwrapped``, with a type that editors and checkers know.

    Gymnasium's own type of ``env.unwrapped`` has no ``oracle``, no ``snapshot`` and no ``restore``.

    Args:
        env: What ``gymnasium.make`` returned, with any wrappers around it.

    Raises:
        TypeError: It is no text environment.
    """
    inner = env.unwrapped
    if not isinstance(inner, TextEnv):
        raise TypeError(f"{type(inner).__name__} is no text environment: give what gymnasium.make returned for one.")
    return inner
