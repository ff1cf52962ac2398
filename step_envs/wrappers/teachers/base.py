"""What a teacher is asked and what it answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from step_envs.core import TextEnv
from step_envs.options import NamesOptions
from step_envs.snapshots import RestorePoint
from step_envs.trajectory import Actor, Verdict


class _BytesOnDemand:
    """A field of a frozen dataclass that takes a snapshot or a restore point, and is bytes to whoever reads it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._given = f"_{name}"

    def __get__(self, context: object, owner: type) -> bytes:
        if context is None:
            raise AttributeError(self._given)  # so dataclass() learns that the field has no default
        given: bytes | RestorePoint = getattr(context, self._given)
        return bytes(given)

    def __set__(self, context: object, given: bytes | RestorePoint) -> None:
        object.__setattr__(context, self._given, given)


@dataclass(frozen=True)
class TeacherContext:
    """Everything that a teacher may look at to judge one action.

    Attributes:
        env: The world itself, in the state that a correction would be carried out in. A teacher may try things in it, but
            must leave it as it found it.
        messages: The conversation before the reply: ``role`` and ``content`` of every turn.
        reply: The agent's reply.
        action: The action in the reply; None if there is none.
        executed: The action was carried out (intervention ``"after"``), so ``observation`` is known.
        observation: What the agent was shown after the action; None if it was not carried out.
        info: ``info`` after the action, or before it if it was not carried out.
        before: Snapshot of the state before the action, as bytes.
        complaint: Why the last verdict could not be used, if the teacher is asked a second time.
        previous_action: The action of the reply before; None if there was none.
        protocol: How the episode is played; see ``Trajectory.protocol``.
    """

    env: TextEnv
    messages: list[dict[str, str]]
    reply: str
    action: str | None
    executed: bool
    observation: str | None
    info: dict[str, Any]
    before: _BytesOnDemand = _BytesOnDemand()
    complaint: str | None = None
    previous_action: str | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)

    @property
    def point_before(self) -> bytes | RestorePoint:
        """The state before the action, for ``restore`` and the oracle: the cheaper the more often it is asked for."""
        given: bytes | RestorePoint = self.__dict__["_before"]
        return given


class Teacher(NamesOptions, ABC):
    """Judges each action of an agent."""

    plain_python: ClassVar[bool] = False
    """True if it only computes, in Python, and needs little memory: then ``collect`` may play it in several processes."""

    @abstractmethod
    def judge(self, context: TeacherContext) -> Verdict:
        """Judge whether the action was right and, if not, say what was wrong, why, and what to do instead.

        Raises:
            TeacherError: There is no verdict; the wrapper records it as ``unknown``.
        """

    def describe(self) -> Actor:
        """Return name, model and parameters of the teacher, for the record."""
        return Actor(name=type(self).__name__)
