"""The record of an episode: a ``Trajectory`` made from the conversation and from how the episode ended.

``RecordTrajectory`` and ``TeacherMonitorWrapper`` both keep a record, so what they share is a ``Recorder``. It makes a
trajectory at any moment, also of an episode that is still running or was broken off.
"""

import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Any

import gymnasium as gym

from step_envs.confidential import without_secrets
from step_envs.store import TrajectoryStore
from step_envs.trajectory import Actor, StopReason, Trajectory, Usage
from step_envs.wrappers.chat_wrapper import ChatWrapper
from step_envs.wrappers.react import react_wrapper, step_chat, text_env
from step_envs.wrappers.reply import Reply

_UNNAMED = Actor(name="unnamed")


class Recorder:
    """Keeps the outcome of the running episode and makes its trajectory on demand.

    Args:
        env: A stack of wrappers with a ``ReActWrapper`` in it.
        wanted_by: Name of the wrapper that records, for error messages.

    Attributes:
        agent: Who acts; ``rollout`` sets it.
        episode: Number of the episode within its run; None outside a run.
    """

    def __init__(self, env: gym.Env[str, str], wanted_by: str) -> None:
        self._react = react_wrapper(env, wanted_by)
        self._world = text_env(env)
        made_with = {} if env.spec is None else env.spec.kwargs
        open_options = {k: v for k, v in made_with.items() if k not in self._world.secret_options}
        self._make_kwargs: dict[str, Any] = without_secrets(open_options)
        self.agent = _UNNAMED
        self.episode: int | None = None
        self._seed: int | None = None
        self._info: dict[str, Any] | None = None
        self._terminated = self._truncated = False
        self._stop_reason: StopReason = "running"
        self._reward = 0.0
        self._started = 0.0

    @property
    def protocol(self) -> dict[str, Any]:
        """The arguments that the environment was made with, and how replies are read."""
        return {"env": self._make_kwargs} | self._react.protocol

    def begin(self, seed: int | None, info: dict[str, Any]) -> None:
        """Start the record of an episode."""
        self._seed, self._info = seed, info
        self._terminated = self._truncated = False
        self._stop_reason = "running"
        self._reward = 0.0
        self._started = time.perf_counter()

    def note(
        self,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
        reason: StopReason | None = None,
    ) -> None:
        """Note the outcome of a step.

        Args:
            reward: Change in score.
            terminated: The engine ended the episode.
            truncated: A limit ended it.
            info: The environment's ``info``.
            reason: Why the episode ends, if the step alone does not tell.
        """
        self._info = info
        self._reward += reward
        self._terminated, self._truncated = terminated, truncated
        if reason is not None:
            self._stop_reason = reason
        elif terminated:
            self._stop_reason = "success" if info["success"] else "failure"
        elif truncated:
            self._stop_reason = "max_steps"

    def stop(self) -> None:
        """Note that the agent gave up before the episode ended."""
        if self._stop_reason == "running":
            self._truncated = True
            self._stop_reason = "agent_stopped"

    def trajectory(self, teacher: Actor | None = None, protocol: dict[str, Any] | None = None) -> Trajectory:
        """Make the trajectory of the episode so far.

        Args:
            teacher: Who taught; None if nobody did.
            protocol: Settings to record besides the environment's arguments and the style of the chat.

        Raises:
            gymnasium.error.ResetNeeded: No episode has begun.
        """
        if self._info is None:
            raise gym.error.ResetNeeded("There is no trajectory yet: call reset() first.")
        info, turns = self._info, tuple(self._react.conversation.turns)
        verdicts = [turn.verdict for turn in turns if turn.verdict is not None]
        paid = [*(turn.usage for turn in turns), *(verdict.usage for verdict in verdicts)]
        usage = sum((usage for usage in paid if usage is not None), Usage())
        return Trajectory(
            env_id=self._world.env_id,
            task_id=info["task_id"],
            task_type=self._world.task_type(info["task_id"]),
            split=info["split"],
            seed=self._seed,
            episode=self.episode,
            protocol=self.protocol | (protocol or {}),
            instruction=info["instruction"],
            agent=_without_secrets(self.agent),
            teacher=None if teacher is None else _without_secrets(teacher),
            versions=package_versions() | self._world.provenance(),
            turns=turns,
            score=info["score"],
            success=info["success"],
            reward=self._reward,
            steps=info["steps"],
            terminated=self._terminated,
            truncated=self._truncated,
            stop_reason=self._stop_reason,
            errors=sum(turn.kind == "error" for turn in turns),
            unknown_verdicts=sum(verdict.status == "unknown" for verdict in verdicts),
            usage=usage.model_copy(update={"seconds": time.perf_counter() - self._started}),
        )


def _without_secrets(actor: Actor) -> Actor:
    return actor.model_copy(update={"params": without_secrets(actor.params)})


class RecordTrajectory(ChatWrapper):
    """Records what happens in a chat environment, and keeps the trajectory of every episode that ends.

    ``env.get_wrapper_attr("trajectory")`` is the record so far; it is complete when the episode ends. A
    ``TeacherMonitorWrapper`` below keeps a record itself; then it is that one.

    Args:
        env: An environment under ``ReActWrapper``, with or without a teacher.
        store: A store to which complete trajectories are appended, or a function that is called with them; None keeps only
            the latest.

    Raises:
        TypeError: There is no ``ReActWrapper`` below.
    """

    def __init__(
        self, env: gym.Env[str, str], store: TrajectoryStore | Callable[[Trajectory], object] | None = None
    ) -> None:
        super().__init__(env)
        self._watched = env.has_wrapper_attr("recorder")
        self.recorder: Recorder = (
            env.get_wrapper_attr("recorder") if self._watched else Recorder(env, "RecordTrajectory")
        )
        self._keep = store.append if isinstance(store, TrajectoryStore) else store

    @property
    def trajectory(self) -> Trajectory:
        """The record so far; it is complete when the episode has ended."""
        below: Trajectory | None = self.env.get_wrapper_attr("trajectory") if self._watched else None
        return below or self.recorder.trajectory()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode and its record."""
        task, info = self.env.reset(seed=seed, options=options)
        if not self._watched:
            self.recorder.begin(seed, info)
        return task, info

    def step(self, action: str | Reply) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out a reply and record it."""
        observation, reward, terminated, truncated, info = step_chat(self.env, action)
        if not self._watched:
            self.recorder.note(reward, terminated, truncated, info)
        if (terminated or truncated) and self._keep is not None:
            self._keep(self.trajectory)
        return observation, reward, terminated, truncated, info


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of the packages that every trajectory depends on."""
    return {name: version(name) for name in ("step-envs", "gymnasium", "pydantic")}
