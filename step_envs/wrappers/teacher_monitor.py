"""The teacher who watches every step: ``TeacherMonitorWrapper``.

For each reply of the agent: the action runs and its observation is kept; the teacher judges; a wrong turn is marked
``error`` and loses its loss weight, and the teacher's own turn (reflection and corrected action) runs after it. What comes
out is the trajectory of an agent that noticed its mistake and recovered, with every turn weighted for training.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import gymnasium as gym
from gymnasium.error import ResetNeeded

from step_envs.errors import TeacherError, unknown_name
from step_envs.trajectory import Actor, StopReason, Trajectory, Turn, Verdict
from step_envs.wrappers.conversation import Conversation
from step_envs.wrappers.react import cut_after_action, parse_action, react_wrapper, text_env
from step_envs.wrappers.record import Recorder
from step_envs.wrappers.teachers.base import Teacher, TeacherContext
from step_envs.wrappers.teachers.judging import judge, one_line

_INTERVENE = ("after", "before")
_ON_UNKNOWN = ("continue", "discard", "raise")
NOT_CARRIED_OUT = "This action was stopped before it was carried out."
"""The observation after a wrong action that intervention ``"before"`` kept from running."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Where a reply, or the correction after it, has led."""

    observation: str
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    reason: StopReason | None = None
    unjudged: str | None = None
    """Why there is no verdict."""


class TeacherMonitorWrapper(gym.Wrapper[str, str, str, str]):
    """Has a teacher judge every action, injects reflection and correction, and records the masked trajectory.

    An agent works with it unchanged: ``env.get_wrapper_attr("messages")`` is what it should see next, injected turns
    included, and one ``step`` carries out its reply and, after an error, the teacher's correction.

    Turns weigh in training as follows: ``agent`` 1, ``error`` 0, ``correction`` 1. A turn whose verdict is ``unknown``
    stays ``agent`` and weighs 0: nobody has said that it was right.

    Args:
        env: An environment under ``ReActWrapper``.
        teacher: Who judges.
        max_errors: Errors that are corrected; one more ends the episode. None takes the environment's own default.
        intervene: ``"after"`` runs the action, keeps its observation and corrects afterwards; where the error ended the
            episode or closed every way to success, the correction runs from the state before it. ``"before"`` keeps a
            wrong action from running at all.
        on_unknown: What to do without a usable verdict: ``"continue"`` goes on, ``"discard"`` ends the episode,
            ``"raise"`` raises ``TeacherError``.

    Raises:
        TypeError: There is no ``ReActWrapper`` below.
        UnknownNameError: An option has no such value.
    """

    def __init__(
        self,
        env: gym.Env[str, str],
        teacher: Teacher,
        *,
        max_errors: int | None = None,
        intervene: Literal["after", "before"] = "after",
        on_unknown: Literal["continue", "discard", "raise"] = "continue",
    ) -> None:
        super().__init__(env)
        if intervene not in _INTERVENE:
            raise unknown_name("value of intervene", intervene, _INTERVENE)
        if on_unknown not in _ON_UNKNOWN:
            raise unknown_name("value of on_unknown", on_unknown, _ON_UNKNOWN)
        self._world = text_env(env)
        self._react = react_wrapper(env, "TeacherMonitorWrapper")
        if env.has_wrapper_attr("recorder"):
            raise TypeError(
                "TeacherMonitorWrapper keeps the record itself: one of it, and RecordTrajectory above, not below."
            )
        # Nothing weighs anything until the teacher has said that it was right.
        self._react.reply_loss = 0.0
        self.teacher = teacher
        self.max_errors = self._world.max_errors if max_errors is None else max_errors
        if self.max_errors < 0:
            raise ValueError(f"max_errors must not be negative, got {max_errors}.")
        self.intervene = intervene
        self.on_unknown = on_unknown
        self.recorder = Recorder(env, "TeacherMonitorWrapper")
        self._info: dict[str, Any] = {}
        self._stepped = self._over = False

    @property
    def _conversation(self) -> Conversation:
        return self._react.conversation

    @property
    def trajectory(self) -> Trajectory:
        """The record so far; complete when the episode has ended."""
        describe = getattr(self.teacher, "describe", None)
        teacher = describe() if describe is not None else Actor(name=type(self.teacher).__name__)
        return self.recorder.trajectory(
            teacher,
            {"intervene": self.intervene, "max_errors": self.max_errors, "on_unknown": self.on_unknown},
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode and its record."""
        task, info = self.env.reset(seed=seed, options=options)
        self.recorder.begin(seed, info)
        self._info, self._stepped, self._over = info, False, False
        return task, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out a reply, have it judged, and carry out the correction if it was wrong.

        Args:
            action: The agent's whole reply.

        Returns:
            What the agent is shown last, the change in score over everything that was carried out, terminated, truncated
            (step limit, too many errors, or an unknown verdict with ``on_unknown="discard"``), ``info``.

        Raises:
            TeacherError: The verdict is unknown and ``on_unknown="raise"``.
        """
        if self._over:
            raise ResetNeeded("The episode is over: call reset() before the next step().")
        outcome = self._watch(action)
        self._over = outcome.terminated or outcome.truncated
        # As in TextEnv, what a task begins with counts towards the first reward.
        reward = outcome.info["score"] - (self._info["score"] if self._stepped else 0.0)
        self._info, self._stepped = outcome.info, True
        self.recorder.note(reward, outcome.terminated, outcome.truncated, outcome.info, outcome.reason)
        # After the step was noted: it was carried out, whatever is known of it.
        if outcome.unjudged is not None and self.on_unknown == "raise":
            raise TeacherError(f"The teacher gave no verdict in task {outcome.info['task_id']}: {outcome.unjudged}")
        return outcome.observation, reward, outcome.terminated, outcome.truncated, outcome.info

    def _watch(self, reply: str) -> _Outcome:
        messages, before, turn = self._conversation.messages(), self._world.snapshot(), len(self._conversation.turns)
        outcome = self._run(reply) if self.intervene == "after" else None
        failed = outcome is not None and outcome.terminated and not outcome.info["success"]
        after = self._world.snapshot() if failed else b""
        if failed:
            # The teacher, too, looks at the state that the correction will run from.
            self._world.restore(before)
        if outcome is not None and outcome.terminated and not failed:
            # The engine has spoken: the task is fully done. Nobody need be asked, and nobody may take it back.
            verdict = Verdict(status="ok")
        else:
            context = TeacherContext(
                env=self._world,
                messages=messages,
                reply=reply,
                action=parse_action(reply),
                executed=outcome is not None,
                observation=None if outcome is None else outcome.observation,
                info=self._info if outcome is None else outcome.info,
                before=before,
            )
            try:
                verdict = judge(self.teacher, context)
            except BaseException:
                # The record holds the end of the episode, so the world must, too, whatever became of the teacher.
                if failed:
                    self._world.restore(after)
                raise
        if verdict.status == "error":
            if outcome is None:
                # Where there is no action, there is nothing to keep from running: it gets the format message, as ever.
                outcome = self._run(reply) if parse_action(reply) is None else self._refuse(reply)
            self._conversation.change(turn, kind="error", loss=0.0, verdict=verdict)
            over = self._conversation.count("error") > self.max_errors
            if not over and (failed or verdict.undo or not outcome.truncated):
                if verdict.undo and not failed:
                    self._world.restore(before)
                return self._correct(verdict)
            if over:
                outcome = replace(outcome, truncated=not outcome.terminated, reason="max_errors")
        elif outcome is None:
            outcome = self._run(reply)
        if failed:
            self._world.restore(after)
        if verdict.status != "error":
            self._conversation.change(turn, loss=1.0 if verdict.status == "ok" else 0.0, verdict=verdict)
        if verdict.status == "unknown":
            outcome = replace(outcome, unjudged=verdict.reason or "")
            if self.on_unknown == "discard":
                return replace(outcome, truncated=not outcome.terminated, reason="unknown_verdict")
        return outcome

    def _run(self, reply: str) -> _Outcome:
        observation, _, terminated, truncated, info = self.env.step(reply)
        return _Outcome(observation, terminated, truncated, info)

    def _refuse(self, reply: str) -> _Outcome:
        observation = self._react.format.observation_prefix + NOT_CARRIED_OUT
        usage, shortened = self._react.reply_usage, self._react.reply_shortened
        self._react.reply_usage, self._react.reply_shortened = None, 0
        action = parse_action(reply)
        self._conversation.add(
            Turn(
                role="assistant",
                content=cut_after_action(reply),
                kind="agent",
                action=action,
                usage=usage,
                shortened=shortened,
            )
        )
        self._conversation.add(Turn(role="user", content=observation, kind="observation"))
        return _Outcome(observation, False, False, self._info)

    def _correct(self, verdict: Verdict) -> _Outcome:
        turn = len(self._conversation.turns)
        outcome = self._run(correction_reply(verdict))
        # A correction that itself ends the task in failure is nothing to learn.
        failed = outcome.terminated and not outcome.info["success"]
        self._conversation.change(turn, kind="correction", loss=0.0 if failed else 1.0)
        return outcome


def correction_reply(verdict: Verdict) -> str:
    """Write a verdict of status ``error`` as the reply of an agent that noticed its own mistake."""
    # A thought that quotes "Action:" would otherwise be read as the action.
    thought = one_line(verdict.thought() or "My last step was wrong.").replace("Action:", "action")
    # As the world takes it; only a line break would end it too early.
    action = " ".join((verdict.corrected_action or "").splitlines()).strip()
    return f"Thought: {thought}\nAction: {action}"
