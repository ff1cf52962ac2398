"""A teacher watches every step of an agent, corrects its errors, and weights the turns for training.

For each reply of the agent the action runs and its observation is kept. Then the teacher judges. A wrong turn is marked
``error`` and gets the loss weight 0, and the teacher's own turn (reflection and corrected action) runs after it. The result
is the trajectory of an agent that noticed its mistake and recovered. Removing the wrong step instead would leave nothing to
recover from; training on it would teach the mistake.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import gymnasium as gym
from gymnasium.error import ResetNeeded

from step_envs.errors import TeacherError, unknown_name
from step_envs.snapshots import RestorePoint
from step_envs.trajectory import Actor, StopReason, Trajectory, Verdict
from step_envs.wrappers.backtracking import world_at
from step_envs.wrappers.chat_wrapper import ChatWrapper
from step_envs.wrappers.conversation import Conversation, took_no_step
from step_envs.wrappers.react import react_wrapper, step_chat, text_env
from step_envs.wrappers.record import Recorder
from step_envs.wrappers.reply import Reply, as_reply, react_reply
from step_envs.wrappers.teachers.base import Teacher, TeacherContext
from step_envs.wrappers.teachers.judging import judge
from step_envs.wrappers.teaching_schedule import ScheduledSteps, TeachingSchedule

_INTERVENE = ("after", "before")
_ON_UNKNOWN = ("continue", "discard", "raise")
NOT_CARRIED_OUT = "This action was stopped before it was carried out."
"""The observation after a wrong action that ``intervene="before"`` kept from running."""


@dataclass(frozen=True, slots=True)
class _StepResult:
    """What ``step`` returns after a reply or the correction after it, and what the record has to know.

    Attributes:
        observation: What the agent is shown.
        terminated: The engine ended the episode.
        truncated: A limit or a missing verdict ended it.
        info: The environment's ``info``.
        reason: Why the episode ends, if the step alone does not tell.
        unjudged: Why there is no verdict; None if there is one.
    """

    observation: str
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    reason: StopReason | None = None
    unjudged: str | None = None

    @property
    def failed(self) -> bool:
        """The engine ended the episode without success."""
        return self.terminated and not self.info["success"]

    def stopped(self, reason: StopReason) -> "_StepResult":
        """Return the result with the episode ended for a reason."""
        return replace(self, truncated=not self.terminated, reason=reason)


class TeacherMonitorWrapper(ChatWrapper):
    """Has a teacher judge every action, injects reflection and correction, and records the masked trajectory.

    An agent works with it unchanged: ``env.get_wrapper_attr("messages")`` is what it should see next, injected turns
    included, and one ``step`` carries out its reply and, after an error, the teacher's correction.

    The weights in training are: ``agent`` 1, ``error`` 0, ``correction`` 1. A turn whose verdict is ``unknown`` stays
    ``agent`` and weighs 0, because nobody has said that it was right. So does a turn that ``teach`` leaves out; it has no
    verdict at all. See ``step_envs.loss_weights``.

    Args:
        env: An environment under ``ReActWrapper``.
        teacher: The teacher that judges.
        max_errors: Number of errors that are corrected; one more ends the episode. None uses the environment's default.
        intervene: ``"after"`` runs the action, keeps its observation and corrects afterwards; if the error ended the
            episode or made success impossible, the correction runs from the state before it. ``"before"`` judges the
            action first, and a wrong one never runs.
        on_unknown: What to do without a usable verdict: ``"continue"`` goes on, ``"discard"`` ends the episode,
            ``"raise"`` raises ``TeacherError``.
        teach: Which steps are judged: ``"all"``, ``"share:0.5"`` (at random, by the episode's seed), ``"every:3"``,
            ``"falling:0.9"`` (step ``k`` with probability 0.9 to the power ``k - 1``), ``"first:5"`` or ``"after:5"``; see
            ``TeachingSchedule``. A step that completes the task needs no teacher: the engine says that it was right.

    Raises:
        TypeError: There is no ``ReActWrapper`` below, or something below keeps a record already.
        UnknownNameError: An option has no such value.
        ValueError: ``max_errors`` is negative, or ``teach`` has an impossible number.
    """

    def __init__(
        self,
        env: gym.Env[str, str],
        teacher: Teacher,
        *,
        max_errors: int | None = None,
        intervene: Literal["after", "before"] = "after",
        on_unknown: Literal["continue", "discard", "raise"] = "continue",
        teach: str = "all",
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
        if not callable(getattr(teacher, "judge", None)):
            raise TypeError(f"A teacher has a method judge(context), as OracleTeacher() has; got {teacher!r}.")
        self.teacher = teacher
        self.max_errors = self._world.max_errors if max_errors is None else max_errors
        if isinstance(self.max_errors, bool) or not isinstance(self.max_errors, int):
            raise TypeError(f"max_errors is an int or None, got {max_errors!r}.")
        if self.max_errors < 0:
            raise ValueError(f"max_errors must not be negative, got {max_errors}.")
        self.intervene = intervene
        self.on_unknown = on_unknown
        self._steps = ScheduledSteps(TeachingSchedule.parse(teach))
        self.recorder = Recorder(env, "TeacherMonitorWrapper")
        self._info: dict[str, Any] = {}
        self._stepped = self._over = False
        self._thoughts: list[int] = []

    @property
    def _conversation(self) -> Conversation:
        return self._react.conversation

    @property
    def trajectory(self) -> Trajectory:
        """The record so far; it is complete when the episode has ended."""
        describe = getattr(self.teacher, "describe", None)
        teacher = describe() if describe is not None else Actor(name=type(self.teacher).__name__)
        settings = {"intervene": self.intervene, "max_errors": self.max_errors, "on_unknown": self.on_unknown}
        return self.recorder.trajectory(teacher, settings | {"teach": str(self._steps.schedule)})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode and its record."""
        task, info = self.env.reset(seed=seed, options=options)
        self.recorder.begin(seed, info)
        self._steps.begin(seed)
        self._info, self._stepped, self._over = info, False, False
        self._thoughts = []
        return task, info

    def step(self, action: str | Reply) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Carry out a reply, have it judged, and carry out the correction if it was wrong.

        Args:
            action: The agent's whole reply, as a string or a ``Reply``.

        Returns:
            What the agent is shown last, the change in score over everything that was carried out, terminated, truncated
            (step limit, too many errors, or an unknown verdict with ``on_unknown="discard"``), ``info``.

        Raises:
            TeacherError: The verdict is unknown and ``on_unknown="raise"``.
        """
        if self._over:
            raise ResetNeeded("The episode is over: call reset() before the next step().")
        # Nothing weighs anything until the teacher has said that it was right, also if judging raises.
        reply = replace(as_reply(action), awaits_verdict=True)
        if self._react.takes_no_step(reply):
            # Nobody can say whether a thought was right before it is known where it led.
            self._thoughts.append(len(self._conversation.turns))
            result = self._run(reply)
        elif not self._steps.next_is_judged():
            result = self._run_unjudged(reply)
        else:
            result = self._watch_after(reply) if self.intervene == "after" else self._watch_before(reply)
        self._over = result.terminated or result.truncated
        # As in TextEnv, the score that a task begins with counts towards the first reward.
        reward = result.info["score"] - (self._info["score"] if self._stepped else 0.0)
        self._info, self._stepped = result.info, True
        self.recorder.note(reward, result.terminated, result.truncated, result.info, result.reason)
        # Raised after the step was noted, because the step was carried out, whatever is known of it.
        if result.unjudged is not None and self.on_unknown == "raise":
            raise TeacherError(f"The teacher gave no verdict in task {result.info['task_id']}: {result.unjudged}")
        return result.observation, reward, result.terminated, result.truncated, result.info

    def _add_verdict(self, turn: int, verdict: Verdict, thoughts: list[int]) -> None:
        """Record a verdict; thoughts that led to a right action were right, and others stay without weight."""
        self._conversation.add_verdict(turn, verdict)
        if verdict.status == "ok":
            for thought in thoughts:
                self._conversation.add_verdict(thought, Verdict(status="ok"))

    def _run_unjudged(self, reply: Reply) -> _StepResult:
        """Carry out a reply that the teacher is not asked about."""
        turn = len(self._conversation.turns)
        thoughts, self._thoughts = self._thoughts, []
        result = self._run(reply)
        if self._is_complete(result):
            self._add_verdict(turn, Verdict(status="ok"), thoughts)
        return result

    @staticmethod
    def _is_complete(result: _StepResult) -> bool:
        """Return True if the engine says that the task is done. No teacher has to be asked, and none may take it back."""
        return result.terminated and bool(result.info["success"])

    def _watch_after(self, reply: Reply) -> _StepResult:
        """Carry the reply out, have it judged, and correct it afterwards if it was wrong."""
        messages, before, turn = (
            self._conversation.messages(),
            self._world.restore_point(),
            len(self._conversation.turns),
        )
        thoughts, self._thoughts = self._thoughts, []
        result = self._run(reply)
        if self._is_complete(result):
            self._add_verdict(turn, Verdict(status="ok"), thoughts)
            return result
        context = self._context(messages, reply, before, result)
        # After a failure the correction will run from the state before the error, so the teacher looks at that state.
        with world_at(self._world, before) if result.failed else nullcontext():
            verdict = judge(self.teacher, context)
        if verdict.status == "error" and result.failed:
            # Whoever reads the record has to know from which state the correction ran.
            verdict = verdict.model_copy(update={"undo": True})
        self._add_verdict(turn, verdict, thoughts)
        if verdict.status != "error":
            return self._with_verdict(result, verdict)
        if self._has_too_many_errors():
            return result.stopped("max_errors")
        if verdict.undo:
            self._world.restore(before)
        elif result.truncated:
            return result
        return self._run(correction_reply(verdict))

    def _watch_before(self, reply: Reply) -> _StepResult:
        """Have the reply judged first, and carry it out only if it was not wrong."""
        messages, before, turn = (
            self._conversation.messages(),
            self._world.restore_point(),
            len(self._conversation.turns),
        )
        thoughts, self._thoughts = self._thoughts, []
        verdict = judge(self.teacher, self._context(messages, reply, before))
        if verdict.status != "error":
            result = self._run(reply)
            self._add_verdict(turn, verdict, thoughts)
            return self._with_verdict(result, verdict)
        # Without an action there is nothing to keep from running: the reply gets the format message and costs a step.
        result = self._run(reply) if self._react.read(reply).action is None else self._refuse(reply)
        self._add_verdict(turn, verdict, thoughts)
        if self._has_too_many_errors():
            return result.stopped("max_errors")
        if verdict.undo:
            self._world.restore(before)
        elif result.truncated:
            return result
        return self._run(correction_reply(verdict))

    def _context(
        self, messages: list[dict[str, str]], reply: Reply, before: RestorePoint, result: _StepResult | None = None
    ) -> TeacherContext:
        """Gather what the teacher is shown; without a result the action was not carried out."""
        read = self._react.read(reply)
        turns = self._conversation.turns if result is None else self._conversation.turns[:-2]
        replies = [turn for turn in turns if turn.role == "assistant" and not took_no_step(turn)]
        return TeacherContext(
            env=self._world,
            messages=messages,
            reply=read.content,
            action=read.action,
            executed=result is not None,
            observation=None if result is None else result.observation,
            info=self._info if result is None else result.info,
            before=before,
            previous_action=replies[-1].action if replies else None,
            protocol=self.recorder.protocol,
        )

    def _has_too_many_errors(self) -> bool:
        return self._conversation.count("error") > self.max_errors

    def _with_verdict(self, result: _StepResult, verdict: Verdict) -> _StepResult:
        """Say what follows from a verdict that is not ``error``."""
        if verdict.status == "ok":
            return result
        result = replace(result, unjudged=verdict.reason or "")
        return result.stopped("unknown_verdict") if self.on_unknown == "discard" else result

    def _run(self, reply: Reply) -> _StepResult:
        observation, _, terminated, truncated, info = step_chat(self.env, reply)
        return _StepResult(observation, terminated, truncated, info)

    def _refuse(self, reply: Reply) -> _StepResult:
        observation = self._react.format.observation_prefix + NOT_CARRIED_OUT
        self._conversation.add_reply(reply, self._react.read(reply), observation)
        return _StepResult(observation, False, False, self._info)


def correction_reply(verdict: Verdict) -> Reply:
    """Write a verdict of status ``error`` as the reply of an agent that noticed its own mistake."""
    thought = verdict.thought() or "My last step was wrong."
    # White space within the action is part of it; only a line break would end the action too early.
    action = " ".join((verdict.corrected_action or "").splitlines()).strip()
    return react_reply(thought, action, kind="correction")
