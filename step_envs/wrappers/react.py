"""The world as a chat: actions are replies of the form ``Thought: ...`` / ``Action: ...``, in the ETO format.

ETO's published data, and the models trained on it, share one layout of manual, task, replies and observations.
``ReActWrapper`` writes exactly that layout. It keeps the conversation itself, so that a turn which a teacher injects
reaches every agent; an agent that kept its own history would have to be told.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

import gymnasium as gym

from step_envs.core import ReActFormat, TextEnv
from step_envs.errors import unknown_name
from step_envs.replies import THOUGHT_ANSWER, ReadReply, ReplyFormat, ReplyFormatName, is_think_action, read_reply
from step_envs.replies import reply_format as format_of
from step_envs.trajectory import Turn
from step_envs.wrappers.chat_wrapper import ChatWrapper
from step_envs.wrappers.conversation import Conversation, took_no_step
from step_envs.wrappers.reply import Reply, as_reply

_OBSERVATION_STYLES = ("full", "eto")
_ARRIVAL = re.compile(r"\AYou arrive at [^.]{1,40}\. (?=\S)")
_STYLES = ("eto", "system", "plain")
_MOST_THOUGHTS = 10
"""Thoughts in a row that cost no step. Those after them do, so that an agent that only thinks meets the step limit."""
_THOUGHTS_EXPLAINED = (
    f'An action that begins with "think:" is answered by "{THOUGHT_ANSWER}" and takes no step, '
    f"up to {_MOST_THOUGHTS} in a row."
)
_THINKS_TOO_LONG = f"{THOUGHT_ANSWER} Take another action now: this thought cost a step."


class ReActWrapper(ChatWrapper):
    r"""Turns a text environment into a chat and owns the conversation.

    ``env.get_wrapper_attr("messages")`` is what an agent should see next. An agent answers with a string or, if it has more
    to record than the text, with a ``Reply``. A reply without an action is answered with the format message and costs a
    step.

    Args:
        env: A text environment.
        style: ``"eto"`` puts the manual into a first user turn that is answered by "OK", as ETO's data does and every chat
            template accepts; ``"system"`` puts it into a system turn; ``"plain"`` leaves it out, for models that are
            trained on this world and have no room for it: the conversation begins with the task.
        format: Prompt texts; None uses the environment's own.
        reply_format: How a reply names its action: ``"react"`` (``Thought: ...`` / ``Action: ...``), ``"action-tags"``
            (``<think>...</think><action>...</action>``, as verl-agent and RAGEN train it) or ``"tool-calls"``. The manual
            asks for this form, and teachers' corrections are written in it.
        tolerant: Also take actions in common variants of the form: ``**Action:** look``, ``ACTION: look``, in backquotes,
            in a fence, with a final period. Without it such a reply gets the format message, which names the variant.
        observation_style: ``"full"`` shows what the engine says; ``"eto"`` leaves out "You arrive at loc 12. " after
            ``go to``, as ETO's published ALFWorld data does.
        think_actions: Answer actions that only think (``think: ...``, ``think[...]``), as the prompts of ReAct have them,
            with "OK." and at no step of the world, up to ten in a row. The environment's own manual says so. Such a turn
            is an agent's turn like any other; a teacher judges it together with the action that follows it.

    Attributes:
        conversation: The turns so far.
        reply_format: The format of replies, an object.

    Raises:
        TypeError: There is no ``TextEnv`` at the bottom, or a ``TimeLimit`` in between.
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
        reply_format: ReplyFormatName = "react",
        tolerant: bool = False,
        observation_style: Literal["full", "eto"] = "full",
        think_actions: bool = False,
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
        self.reply_format = format_of(reply_format)
        self.format = _in_format(format or world.react, self.reply_format)
        self.tolerant = tolerant
        if observation_style not in _OBSERVATION_STYLES:
            raise unknown_name("observation style", observation_style, _OBSERVATION_STYLES)
        self.observation_style = observation_style
        self.think_actions = think_actions
        if think_actions and format is None:
            self.format = replace(self.format, manual=f"{self.format.manual}\n\n{_THOUGHTS_EXPLAINED}")
        self._thoughts_in_a_row = 0
        self._last_read: tuple[Reply, ReadReply] | None = None
        self.conversation = Conversation()

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation so far: ``role`` and ``content`` of every turn."""
        return self.conversation.messages()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode and its conversation.

        Returns:
            The task as it is put to the agent, and ``info``.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        task = self.format.task.format(instruction=info["instruction"], observation=observation)
        self.conversation = Conversation()
        self._thoughts_in_a_row = 0
        if self.style == "system":
            self.conversation.add(Turn(role="system", content=self.format.manual, kind="instruction"))
        elif self.style == "eto":
            self.conversation.add(Turn(role="user", content=self.format.manual, kind="instruction"))
            self.conversation.add(Turn(role="assistant", content="OK", kind="instruction"))
        self.conversation.add(Turn(role="user", content=task, kind="instruction", score=info["score"]))
        return task, info

    def resume(self, snapshot: bytes, turns: Iterable[Turn]) -> tuple[str, dict[str, Any]]:
        """Go on from a moment of an episode: its state, and what had been said up to it.

        Args:
            snapshot: The state, as ``TextEnv.snapshot()`` gives it.
            turns: The conversation up to that moment.

        Returns:
            The environment's own observation of that moment, and ``info``.

        Raises:
            SnapshotError: The bytes are not a snapshot of this environment.
        """
        observation, info = text_env(self.env).restore(snapshot)
        self.conversation = Conversation()
        self._thoughts_in_a_row = 0
        for turn in turns:
            self.conversation.add(turn)
            if turn.role == "assistant":
                self._thoughts_in_a_row = self._thoughts_in_a_row + 1 if took_no_step(turn) else 0
        return observation, info

    @property
    def protocol(self) -> dict[str, Any]:
        """How replies are read, for the record."""
        changed: dict[str, Any] = {}
        if self.observation_style != "full":
            changed["observation_style"] = self.observation_style
        if self.think_actions:
            changed["think_actions"] = True
        read = {"reply_format": self.reply_format.name, "tolerant": self.tolerant}
        return {"style": self.style} | read | changed

    def read(self, reply: str | Reply) -> ReadReply:
        """Read a reply as ``step`` does: what is kept of it, and its action.

        Raises:
            TypeError: The reply is neither a string nor a ``Reply``.
        """
        given = as_reply(reply)
        if self._last_read is None or self._last_read[0] is not given:
            # A teacher and this wrapper look at the same reply several times, and to read one takes longer than a step.
            self._last_read = given, self._read(given)
        return self._last_read[1]

    def _read(self, given: Reply) -> ReadReply:
        if given.parts is not None:
            return ReadReply(self.reply_format.write(*given.parts), given.parts.action or None)
        return read_reply(
            given.text, self.reply_format, finish=given.finish, tolerant=self.tolerant, tool_calls=given.tool_calls
        )

    def takes_no_step(self, reply: str | Reply) -> bool:
        """Return True if ``step`` would answer this reply without a step of the world, because it only thinks."""
        return self._only_thinks(self.read(reply).action) and self._thoughts_in_a_row < _MOST_THOUGHTS

    def _only_thinks(self, action: str | None) -> bool:
        return self.think_actions and is_think_action(action)

    def step(self, action: str | Reply) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out the action of a reply.

        Args:
            action: The whole reply. A plain string is the reply of an agent, at an unknown cost.

        Returns:
            The observation as it is put to the agent, reward, terminated, truncated, ``info``.

        Raises:
            TypeError: The reply is neither a string nor a ``Reply``.
        """
        reply = as_reply(action)
        read = self.read(reply)
        if self.takes_no_step(reply):
            self._thoughts_in_a_row += 1
            observation = self.format.observation_prefix + THOUGHT_ANSWER
            _, reward, terminated, truncated, info = text_env(self.env).free_step(observation)
            # Without reward and score: the world was not asked.
            self.conversation.add_reply(reply, read, observation)
            return observation, reward, terminated, truncated, info
        if self._only_thinks(read.action):
            observation = self.format.observation_prefix + _THINKS_TOO_LONG
            _, reward, terminated, truncated, info = text_env(self.env).pass_step(observation)
        elif read.action is None:
            observation = self.format.format_error + (f", not {read.found!r}" if read.found else "")
            _, reward, terminated, truncated, info = text_env(self.env).pass_step(observation)
        else:
            self._thoughts_in_a_row = 0
            raw, reward_, terminated, truncated, info = self.env.step(read.action)
            reward = float(reward_)
            if self.observation_style == "eto":
                raw = _ARRIVAL.sub("", raw)
            observation = self.format.observation_prefix + raw
        self.conversation.add_reply(
            reply,
            read,
            observation,
            reward=reward,
            score=info["score"],
            valid_action=info["valid_action"],
            ended_in_failure=terminated and not info["success"],
        )
        return observation, reward, terminated, truncated, info


def _in_format(texts: ReActFormat, chosen: ReplyFormat) -> ReActFormat:
    return replace(texts, manual=chosen.manual(texts.manual), format_error=chosen.format_error(texts.format_error))


def step_chat(env: gym.Env[str, Any], reply: str | Reply) -> tuple[str, float, bool, bool, dict[str, Any]]:
    """Send a reply to a chat environment.

    Gymnasium types an environment by one type of action, here ``str``; that a chat also takes a ``Reply`` is said here.
    """
    observation, reward, terminated, truncated, info = env.step(reply)
    return observation, float(reward), terminated, truncated, info


def text_env(env: gym.Env[Any, Any]) -> TextEnv:
    """Return the text environment at the bottom of a stack of wrappers.

    Raises:
        TypeError: The environment at the bottom is of another kind.
    """
    inner = env.unwrapped
    if not isinstance(inner, TextEnv):
        raise TypeError(f"This wrapper needs a step_envs text environment, got {type(inner).__name__}.")
    return inner


def react_wrapper(env: gym.Env[Any, Any], wanted_by: str) -> ReActWrapper:
    """Return the ``ReActWrapper`` in a stack of wrappers.

    Args:
        env: The outermost wrapper.
        wanted_by: Who needs it, for the error message.

    Raises:
        TypeError: There is none.
    """
    layer: gym.Env[Any, Any] = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, ReActWrapper):
            return layer
        layer = layer.env
    raise TypeError(f"{wanted_by} records a chat: wrap the environment in ReActWrapper first.")
