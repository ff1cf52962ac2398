"""The world as a chat: actions are replies of the form ``Thought: ...`` / ``Action: ...``, in the ETO format."""

import re
from typing import Any, Literal

import gymnasium as gym

from step_envs.core import ReActFormat, TextEnv
from step_envs.errors import unknown_name
from step_envs.trajectory import Kind, Turn, Usage
from step_envs.wrappers.conversation import Conversation

_ACTION = re.compile(r"Action:\s?(.*)", re.DOTALL)
_NEXT_FIELD = re.compile(r"\n\s*(?:Thought|Action|Observation):", re.IGNORECASE)
_STYLES = ("eto", "system", "plain")


def parse_action(reply: str) -> str | None:
    r"""Find the action in a reply.

    It is what follows the first ``Action:``, up to the next line that begins a field of its own (models run on and invent
    observations), without surrounding white space.

    Args:
        reply: ``Thought: ...`` and ``Action: ...``.

    Returns:
        The action, or None where there is none or it is empty.

    Examples:
        >>> parse_action("Thought: it may be cold\\nAction: open fridge")
        'open fridge'
    """
    found = _ACTION.search(reply)
    if found is None:
        return None
    return _NEXT_FIELD.split(found[1], maxsplit=1)[0].strip() or None


def cut_after_action(reply: str) -> str:
    """Leave out what a reply goes on with after its action: observations and further steps that a model made up.

    Nobody carried those out or judged them, so that they must be neither context nor training text.
    """
    found = _ACTION.search(reply)
    if found is None:
        return reply
    return reply[: found.start(1)] + _NEXT_FIELD.split(found[1], maxsplit=1)[0]


class ReActWrapper(gym.Wrapper[str, str, str, str]):
    r"""Turns a text environment into a chat and owns the conversation.

    ``env.get_wrapper_attr("messages")`` is what an agent should see next. A reply without an action is answered with the
    format message and costs a step.

    Args:
        env: A text environment.
        style: ``"eto"`` puts the manual into a first user turn answered by "OK", as ETO's data does and every chat template
            takes; ``"system"`` puts it into a system turn; ``"plain"`` leaves it out, for models that are trained on this
            world and have no room for it: the conversation begins with the task.
        format: Prompt texts; None takes the environment's own.

    Attributes:
        conversation: The turns so far.
        speaker: Kind of the turns that ``step`` writes: ``agent`` or ``expert``.
        reply_loss: Weight of those turns; a teacher sets it to 0, and each turn to 1 when it was judged right.
        reply_usage: What the next reply cost, to be recorded with it.
        reply_shortened: How many observations its writer only saw shortened, to be recorded with it.

    Raises:
        TypeError: What is wrapped is not a ``TextEnv``.
        UnknownNameError: There is no such style.

    Examples:
        >>> import gymnasium as gym, step_envs
        >>> env = ReActWrapper(gym.make("STeP-SciWorld-v0"))
        >>> task, info = env.reset(seed=0)
        >>> observation, *_ = env.step("Thought: first I look\\nAction: look around")
        >>> observation.startswith("Observation: ")
        True
        >>> env.close()
    """

    def __init__(
        self,
        env: gym.Env[str, str],
        *,
        style: Literal["eto", "system", "plain"] = "eto",
        format: ReActFormat | None = None,
    ) -> None:
        super().__init__(env)
        if style not in _STYLES:
            raise unknown_name("style", style, _STYLES)
        world, layer = text_env(env), env
        while isinstance(layer, gym.Wrapper):
            if isinstance(layer, gym.wrappers.TimeLimit):
                raise TypeError("max_episode_steps= does not count replies without an action: use max_steps= instead.")
            layer = layer.env
        self.style = style
        self.format = format or world.react
        self.conversation = Conversation()
        self.speaker: Kind = "agent"
        self.reply_loss = 1.0
        self.reply_usage: Usage | None = None
        self.reply_shortened = 0

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation so far: ``role`` and ``content`` of every turn."""
        return self.conversation.messages()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode.

        Returns:
            The task as it is put to the agent, and ``info``.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        task = self.format.task.format(instruction=info["instruction"], observation=observation)
        self.conversation = Conversation()
        if self.style == "system":
            self.conversation.add(Turn(role="system", content=self.format.manual, kind="instruction"))
        elif self.style == "eto":
            self.conversation.add(Turn(role="user", content=self.format.manual, kind="instruction"))
            self.conversation.add(Turn(role="assistant", content="OK", kind="instruction"))
        self.conversation.add(Turn(role="user", content=task, kind="instruction", score=info["score"]))
        return task, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out the action of a reply.

        Args:
            action: The whole reply.

        Returns:
            The observation as it is put to the agent, reward, terminated, truncated, ``info``.
        """
        if not isinstance(action, str):
            raise TypeError(f"A reply is a str, got {type(action).__name__}: {action!r}.")
        parsed = parse_action(action)
        if parsed is None:
            observation = self.format.format_error
            _, reward, terminated, truncated, info = text_env(self.env).pass_step(observation)
        else:
            raw, reward_, terminated, truncated, info = self.env.step(parsed)
            reward = float(reward_)
            observation = self.format.observation_prefix + raw
        self.conversation.add(
            Turn(
                role="assistant",
                content=cut_after_action(action),
                kind=self.speaker,
                loss=self.reply_loss,
                action=parsed,
                reward=reward,
                score=info["score"],
                valid_action=info["valid_action"],
                usage=self.reply_usage,
                shortened=self.reply_shortened,
            )
        )
        self.reply_usage, self.reply_shortened = None, 0
        self.conversation.add(Turn(role="user", content=observation, kind="observation"))
        return observation, reward, terminated, truncated, info


def text_env(env: gym.Env[Any, Any]) -> TextEnv:
    """Find the text environment at the bottom of a stack of wrappers.

    Raises:
        TypeError: There is another kind of environment at the bottom.
    """
    inner = env.unwrapped
    if not isinstance(inner, TextEnv):
        raise TypeError(f"This wrapper needs a step_envs text environment, got {type(inner).__name__}.")
    return inner


def react_wrapper(env: gym.Env[Any, Any], wanted_by: str) -> ReActWrapper:
    """Find the ``ReActWrapper`` in a stack of wrappers.

    Raises:
        TypeError: There is none.
    """
    layer: gym.Env[Any, Any] = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, ReActWrapper):
            return layer
        layer = layer.env
    raise TypeError(f"{wanted_by} records a chat: wrap the environment in ReActWrapper first.")
