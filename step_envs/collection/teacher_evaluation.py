"""Evaluate a teacher: compare its verdicts with the oracle's, and try out whether its corrections lead to success.

If each teacher corrected episodes of its own, the episodes would differ, and so would the steps that teachers are asked
about. So a novice plays, the oracle corrects it, and the teacher is only asked for its verdict on every step: all
teachers judge the same steps.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym

from step_envs.agents.novice import NoviceAgent
from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.rollouts import rollout
from step_envs.core import TextEnv
from step_envs.endpoint import Gateway, UsesChatModel
from step_envs.errors import EngineError
from step_envs.statistics import Interval, bootstrap, wilson
from step_envs.trajectory import Usage, Verdict
from step_envs.wrappers.react import ReActWrapper
from step_envs.wrappers.teacher_monitor import TeacherMonitorWrapper
from step_envs.wrappers.teachers.base import Teacher, TeacherContext
from step_envs.wrappers.teachers.judging import judge
from step_envs.wrappers.teachers.making import make_teacher
from step_envs.wrappers.teachers.oracle import OracleTeacher

_MOST_ERRORS = 10**6  # no episode is ended for its errors
Status = Literal["ok", "error", "unknown"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdicts on one step.

    Attributes:
        label: The oracle's verdict.
        said: The teacher's verdict.
        back_on_track: After the teacher's correction, the oracle completed the task; None if there was no correction.
        usage: Tokens, seconds and cost of the teacher's verdict.
    """

    label: Status
    said: Status
    back_on_track: bool | None
    usage: Usage


@dataclass(frozen=True)
class TeacherReport:
    """Quality of a teacher in one environment.

    Attributes:
        teacher: Specification of the teacher.
        env: Id of the environment.
        episodes: Episodes played.
        steps: Steps that the oracle could judge.
        errors: Steps that are wrong according to the oracle.
        precision: Share of the steps called wrong that are wrong (Wilson interval).
        recall: Share of the wrong steps that the teacher found; a step without a verdict counts as not found (Wilson).
        f1: Harmonic mean of precision and recall (bootstrap over episodes).
        back_on_track: Share of the teacher's corrections after which the task could be completed (Wilson).
        unknown: Share of the steps without a verdict (Wilson).
        tokens_per_step: Tokens read and written per step.
        cost_per_step: US dollars per step; None if prices are not known.
        seconds_per_step: Seconds that a step waited for its verdict.
    """

    teacher: str
    env: str
    episodes: int
    steps: int
    errors: int
    precision: Interval
    recall: Interval
    f1: Interval
    back_on_track: Interval
    unknown: Interval
    tokens_per_step: float
    cost_per_step: float | None
    seconds_per_step: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; a share is ``[value, low, high]``."""
        return {name: list(value) if isinstance(value, Interval) else value for name, value in vars(self).items()}


def evaluate_teacher(
    spec: str,
    env: str,
    *,
    env_options: dict[str, Any] | None = None,
    split: str | None = None,
    episodes: int = 20,
    error_rate: float = 0.3,
    seed: int = 0,
    gateway: Gateway | None = None,
    concurrency: int = 1,
    on_progress: Callable[[int], object] = lambda done: None,
) -> TeacherReport:
    """Measure a teacher against the oracle.

    Args:
        spec: The teacher, as ``name:option=value,...``.
        env: Id of the environment.
        env_options: Further keyword arguments of the environment.
        split: The split; None is the environment's default.
        episodes: Number of episodes; with the same seed and rate they are the same for every teacher.
        error_rate: Rate of the novice's mistakes.
        seed: Decides the tasks and the mistakes.
        gateway: The gateway for a teacher that is a model.
        concurrency: Episodes played at once.
        on_progress: Called after every episode with the number of episodes that are done.

    Raises:
        UnknownNameError: There is no such environment, split or teacher.
        EndpointError: The model cannot be asked, or has stopped to answer.
    """
    novice = f"novice:error_rate={error_rate}"
    options = {**(env_options or {}), "max_steps": None}
    config = CollectConfig(env=env, env_options=options, split=split, episodes=episodes, agent=novice, seed=seed)
    planned = CollectConfig(
        env=env, env_options=env_options or {}, split=split, episodes=episodes, seed=seed
    ).episodes_to_play()
    make_teacher(spec)
    counting, done = threading.Lock(), 0

    def one(plan: EpisodePlan) -> list[Judgement]:
        nonlocal done
        judgements = _judge_episode(spec, config, plan, gateway)
        with counting:
            done += 1
            on_progress(done)
        return judgements

    with ThreadPoolExecutor(concurrency, thread_name_prefix="teacher-eval") as pool:
        by_episode = list(pool.map(one, planned))
    if gateway is not None:
        gateway.require_up()
    return make_report(spec, env, by_episode)


def make_report(spec: str, env: str, by_episode: Sequence[Sequence[Judgement]]) -> TeacherReport:
    """Compute the figures from the judgements of each episode."""
    judged = [[one for one in episode if one.label != "unknown"] for episode in by_episode]
    steps = [one for episode in judged for one in episode]
    found = sum(one.label == one.said == "error" for one in steps)
    called = sum(one.said == "error" for one in steps)
    errors = sum(one.label == "error" for one in steps)
    corrections = [one.back_on_track for one in steps if one.back_on_track is not None]
    usage = sum((one.usage for one in steps), Usage())
    count = max(len(steps), 1)
    return TeacherReport(
        teacher=spec,
        env=env,
        episodes=len(by_episode),
        steps=len(steps),
        errors=errors,
        precision=wilson(found, called),
        recall=wilson(found, errors),
        f1=bootstrap(judged, _f1),
        back_on_track=wilson(sum(corrections), len(corrections)),
        unknown=wilson(sum(one.said == "unknown" for one in steps), len(steps)),
        tokens_per_step=(usage.prompt_tokens + usage.completion_tokens) / count,
        cost_per_step=None if usage.cost is None else usage.cost / count,
        seconds_per_step=usage.seconds / count,
    )


def _f1(episodes: Sequence[Sequence[Judgement]]) -> float | None:
    steps = [one for episode in episodes for one in episode]
    called = sum(one.said == "error" for one in steps)
    errors = sum(one.label == "error" for one in steps)
    if called + errors == 0:
        return None
    return 2 * sum(one.label == one.said == "error" for one in steps) / (called + errors)


def _judge_episode(spec: str, config: CollectConfig, plan: EpisodePlan, gateway: Gateway | None) -> list[Judgement]:
    teacher = make_teacher(spec)
    if gateway is not None and isinstance(teacher, UsesChatModel):
        teacher.chat.connect(gateway)
    options = config.env_options if config.split is None else config.env_options | {"split": config.split}
    panel = _ComparingTeacher(teacher)
    world: gym.Env[str, str] = gym.make(config.env, **options)
    # The step limit must count only the novice's steps, and not the steps that are tried out and undone.
    limit = world.unwrapped.tasks.max_steps(plan.task_id) if isinstance(world.unwrapped, TextEnv) else None
    env = TeacherMonitorWrapper(ReActWrapper(world), panel, max_errors=_MOST_ERRORS)
    agent = config.make_agent()
    assert isinstance(agent, NoviceAgent)

    def stopped() -> bool:
        if gateway is not None:
            gateway.require_up()
        return False

    try:
        rollout(_LimitedReplies(env, limit), agent, seed=plan.seed, task_id=plan.task_id, stopped=stopped)
    finally:
        env.close()
    return panel.judgements


class _LimitedReplies(gym.Wrapper[str, str, str, str]):
    """Truncates the episode after a number of replies."""

    def __init__(self, env: gym.Env[str, str], limit: int | None) -> None:
        super().__init__(env)
        self._left = limit

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._left is not None:
            self._left -= 1
            truncated = truncated or self._left <= 0
        return observation, float(reward), terminated, truncated, info


class _ComparingTeacher(Teacher):
    """Asks both teachers for their verdict, records both, and returns the oracle's."""

    def __init__(self, teacher: Teacher) -> None:
        self._oracle, self._teacher = OracleTeacher(), teacher
        self.judgements: list[Judgement] = []

    def judge(self, context: TeacherContext) -> Verdict:
        label = judge(self._oracle, context)
        said = judge(self._teacher, context)
        back = _leads_to_success(said, context) if said.status == "error" else None
        self.judgements.append(Judgement(label.status, said.status, back, said.usage or Usage()))
        return label


def _leads_to_success(verdict: Verdict, context: TeacherContext) -> bool:
    """Return True if the oracle completes the task after the correction; the state is restored afterwards."""
    world, now = context.env, context.env.snapshot()
    try:
        if verdict.undo:
            world.restore(context.before)
        _, _, over, _, info = world.step(verdict.corrected_action or "")
        for action in () if over else world.oracle.plan() or ():
            _, _, over, _, info = world.step(action)
            if over:
                break
        return bool(info["success"])
    except EngineError:
        return False
    finally:
        world.restore(now)
