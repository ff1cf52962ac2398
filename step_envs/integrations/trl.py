"""Worlds for TRL's ``GRPOTrainer``: as tools that a model calls, or as the chat that our evaluation plays.

TRL can play in two ways. ``environment_factory`` takes a class whose methods become tools: ``tool_environment`` makes one,
with the single tool ``act``. ``rollout_func`` takes a function that plays whole episodes and returns token ids with a mask:
``step_envs.integrations.trl_rollouts.ReActRollouts``. Both take the rows of ``rows``. Their rewards have names:

=================== ========================================================================================
``score``           what the world says: the reward of the protocol
``score+potential`` that, and half of the share of the oracle's plan that is done at the end
``step``            the score, and for each turn what it was worth beside other turns from the same state; only in
                    ``rollout_func``, see ``step_envs.integrations.trl_steps``
=================== ========================================================================================

With the score alone, a group whose episodes all fail has no variance and gives no gradient, so a model that seldom succeeds
learns nothing from most groups. The potential of a state is minus the oracle's distance from it, as a share of the whole
way. What an episode gains in potential (Ng, Harada and Russell, 1999) tells failures apart; the oracle computes it in
milliseconds, without a model.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

from step_envs.errors import unknown_name
from step_envs.integrations.chat_tasks import ChatEpisode, ChatTasks
from step_envs.replies import ReplyParts
from step_envs.wrappers.reply import Reply

RewardName = Literal["score", "score+potential", "step"]
POTENTIAL_WEIGHT = 0.5
"""Weight of the potential. An episode that fails one step before the end must be worth less than one that succeeds."""
_OVER = "The episode is over."


def episode_reward(episode: ChatEpisode, name: RewardName) -> float:
    """Return the reward of an episode that is over, by name."""
    if name == "score+potential":
        return episode.reward + POTENTIAL_WEIGHT * episode.progress()
    return episode.reward


def check_reward(name: str) -> None:
    """Raise ``UnknownNameError`` if no reward has this name."""
    if name not in get_args(RewardName):
        raise unknown_name("reward", name, get_args(RewardName))


def rows(tasks: ChatTasks) -> list[dict[str, Any]]:
    """Make the rows of a dataset: ``datasets.Dataset.from_list(rows(tasks))``.

    Returns:
        ``prompt``, the conversation at the start of the task, and ``task_id``, for each task. The last message of a prompt
        also names the task, because a rollout function is given the prompts alone.
    """
    found = []
    for task_id in tasks.task_ids:
        *before, last = tasks.first_messages(task_id)
        found.append({"prompt": [*before, last | {"task_id": task_id}], "task_id": task_id})
    return found


class ToolEnvironment:
    """One world for ``environment_factory``: TRL makes one for each rollout, and offers its method ``act`` as a tool.

    Every public method becomes a tool but ``reset`` and ``get_reward``, which TRL calls itself, so there are no others.
    """

    def __init__(self, tasks: ChatTasks, reward: RewardName) -> None:
        self._tasks, self._reward = tasks, reward
        self._episode: ChatEpisode | None = None

    def reset(self, **row: Any) -> None:
        """Begin the episode of a row; its prompt holds the whole conversation already."""
        if "task_id" not in row:
            raise ValueError("The row has no column 'task_id': make the dataset with step_envs.integrations.trl.rows.")
        self._end()
        self._episode = self._tasks.begin(row["task_id"], agent="trl")

    def act(self, action: str) -> str:
        """Take the next step in the world, and see what happens.

        Args:
            action: The next step, in the words that the task asks for.

        Returns:
            What the world answers.
        """
        episode = self._episode
        if episode is None or episode.over:
            return _OVER
        return episode.reply(Reply("", parts=ReplyParts("", " ".join(str(action).split()))))

    def get_reward(self) -> float:
        """Return the reward of the episode, which TRL ends here."""
        if self._episode is None:
            return 0.0
        self._episode.stop()
        return episode_reward(self._episode, self._reward)

    def _end(self) -> None:
        if self._episode is not None:
            self._episode.close()
            self._episode = None

    def __del__(self) -> None:
        self._end()


def tool_environment(tasks: ChatTasks, reward: RewardName = "score") -> Callable[[], ToolEnvironment]:
    """Return what ``GRPOTrainer(environment_factory=...)`` takes.

    Args:
        tasks: The tasks, made with ``reply_format="tool-calls"``, so that their prompts ask for tool calls.
        reward: Name of the reward.

    Raises:
        UnknownNameError: There is no such reward.
        ValueError: The tasks ask for replies of another form, or the reward is for each turn.
    """
    check_reward(reward)
    if reward == "step":
        raise ValueError("TRL rewards a rollout of tools as a whole: take another reward, or use ReActRollouts.")
    if tasks.reply_format != "tool-calls":
        raise ValueError(
            f"The prompts of these tasks ask for replies of the form {tasks.reply_format!r}, and TRL offers tools: "
            'make them with reply_format="tool-calls", or use ReActRollouts.'
        )

    def factory() -> ToolEnvironment:
        return ToolEnvironment(tasks, reward)

    return factory
