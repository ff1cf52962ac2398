"""Worlds for SkyRL Gym: an environment class, and the rows of a dataset that name its tasks.

SkyRL makes one environment for each episode, from the columns of a row: here ``step_env`` (an environment id), ``task_id``
and ``settings`` (arguments of ``ChatTasks``, as JSON, because every row of a Parquet column has the same fields). A row's
``prompt`` is the conversation at the start of the episode, so that the trainer's prompt filter counts the right number of
tokens. SkyRL's workers import this module before they make an environment; importing it registers the class.

Ran with skyrl-gym 0.4.0.
"""

import json
from typing import Any

from step_envs.errors import missing_package
from step_envs.integrations.chat_tasks import ChatEpisode, ChatTasks, shared_tasks

try:
    import skyrl_gym
    from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput
except ModuleNotFoundError as error:
    raise missing_package("skyrl-gym", "The adapter for SkyRL Gym", "skyrl-gym") from error

NAME = "step-envs"
"""The ``env_class`` that SkyRL knows the environment by."""


class StepEnvsEnv(BaseTextEnv):  # type: ignore[misc]  # SkyRL Gym is not followed by the type checker
    """Plays one episode of one task.

    The reward of a turn is the change in score. The episode ends where the world or its step limit ends it, or after
    ``max_turns`` turns if the row or the trainer sets them.

    Args:
        env_config: SkyRL's configuration of the environment; not used.
        extras: The other columns of the row: ``step_env``, ``task_id``, ``settings``, and columns that SkyRL adds.

    Raises:
        ValueError: The row lacks a column; it is not one that ``rows`` made.
    """

    def __init__(self, env_config: Any = None, extras: dict[str, Any] | None = None) -> None:
        super().__init__()
        row = extras or {}
        for name in ("step_env", "task_id"):
            if not row.get(name):
                raise ValueError(
                    f"The row has no column {name!r}: make rows with step_envs.integrations.skyrl_gym.rows."
                )
        self._tasks = shared_tasks(row["step_env"], json.loads(row.get("settings") or "{}"))
        self._task_id = row["task_id"]
        self.max_turns = row.get("max_turns")
        self._episode: ChatEpisode | None = None

    def init(self, prompt: list[dict[str, str]]) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """Begin the episode, and return its own conversation; the row's prompt is the same."""
        self.close()
        self.turns = 0
        self._episode = self._tasks.begin(self._task_id, agent="skyrl")
        return self._episode.messages, {"task_id": self._task_id}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Carry out the action of a reply."""
        episode = self._running()
        self.turns += 1
        observation = episode.reply(action)
        if self.max_turns is not None and self.turns >= self.max_turns:
            episode.stop()
        return BaseTextEnvStepOutput(
            observations=[] if episode.over else [{"role": "user", "content": observation}],
            reward=episode.last_reward,
            done=episode.over,
            metadata=episode.metrics(),
        )

    def get_metrics(self) -> dict[str, Any]:
        """Return what the episode was worth: ``success``, ``score``, ``reward``, ``steps``."""
        return dict(self._running().metrics())

    def close(self) -> None:
        """Free the environment of the episode."""
        if self._episode is not None:
            self._episode.close()
            self._episode = None

    def _running(self) -> ChatEpisode:
        if self._episode is None:
            raise ValueError("No episode is running: call init() first.")
        return self._episode


def rows(env: str, **settings: Any) -> list[dict[str, Any]]:
    """Make the rows of a dataset: ``datasets.Dataset.from_list(rows(...)).to_parquet(...)``.

    Args:
        env: Id of the environment.
        **settings: Further arguments of ``ChatTasks``, e.g. ``split="train", episodes=100``.
    """
    with ChatTasks(env, **settings) as tasks:
        # What is drawn is in the rows; an environment for one of them need not draw again.
        played = {name: value for name, value in settings.items() if name not in ("episodes", "seed")}
        return [
            {
                "prompt": tasks.first_messages(task_id),
                "env_class": NAME,
                "step_env": env,
                "task_id": task_id,
                "settings": json.dumps(played, sort_keys=True),
            }
            for task_id in tasks.task_ids
        ]


if NAME not in skyrl_gym.registry:
    skyrl_gym.register(id=NAME, entry_point=f"{__name__}:StepEnvsEnv")
