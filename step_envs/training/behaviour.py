"""Measure how an agent behaves: invalid actions, repeats, loops, and whether its reflections lead to a right action.

A success rate alone does not show whether an agent reflects or has only learnt more golden steps. A reflection is found
by its words; whether it was right is judged by the oracle, in the world, by replaying the episode up to that step.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from pydantic import BaseModel, ConfigDict

from step_envs.core import TextEnv
from step_envs.replies import visible_thought
from step_envs.statistics import Interval, task_mean
from step_envs.trajectory import Trajectory, Turn
from step_envs.wrappers.conversation import took_no_step
from step_envs.wrappers.teachers.base import TeacherContext
from step_envs.wrappers.teachers.oracle import OracleTeacher

REFLECTION = (
    r"\b(?:mistake|mistaken|wrong|incorrect|useless|no effect|not understood|nothing happened|"
    r"did(?: not|n't) work|should(?: not|n't)? have|held no action)\b"
)
"""Words of a thought that looks back at an error; the oracle teacher's own words are among them."""
_LONGEST_CYCLE = 6
_TIMES = 3


class Behaviour(BaseModel):
    """Figures of what an agent did, with 95 % bootstrap intervals that draw whole tasks; None if there is nothing to count.

    Attributes:
        steps: Replies of the agent.
        invalid: Share of the replies that the world did not understand, including replies without an action.
        without_action: Share of the replies without an action.
        repeated: Share of the replies with the same action as the reply before.
        looped: Share of the episodes in which a step and its answer, or a cycle of up to 6 steps, occurred three times in a
            row.
        overcame_invalid: Share of the episodes with an invalid action that still succeeded.
        reflections: Replies whose thought looks back at an error.
        judged: Reflections that the oracle could judge.
        reflections_right: Share of the judged reflections whose action was right.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int
    invalid: Interval
    without_action: Interval
    repeated: Interval
    looped: Interval
    overcame_invalid: Interval
    reflections: int
    judged: int
    reflections_right: Interval


def measure_behaviour(
    trajectories: Sequence[Trajectory],
    *,
    reflection: str = REFLECTION,
    make_world: Callable[[], gym.Env[Any, Any]] | None = None,
    most_judged: int = 500,
) -> Behaviour:
    """Compute how an agent behaved.

    Args:
        trajectories: Its episodes.
        reflection: Regular expression that finds a reflection in a thought; case does not matter.
        make_world: Makes the environment of the episodes, in which they are replayed to judge reflections; None judges
            none.
        most_judged: The most reflections to judge, from episodes in random order.
    """
    looks_back = re.compile(reflection, re.IGNORECASE)
    steps: list[tuple[str, Turn, Turn | None]] = []
    for one in trajectories:
        own = [turn for turn, _ in own_steps(one)]
        before: list[Turn | None] = [None, *own]
        steps += [(one.task_id, turn, last) for turn, last in zip(own, before, strict=False)]
    tasks = [task for task, _, _ in steps]
    slipped = [one for one in trajectories if any(turn.valid_action is False for turn, _ in own_steps(one))]
    reflecting = [one for one in trajectories if any(_reflects(one, looks_back))]
    judged = [] if make_world is None else _judge(reflecting, looks_back, make_world, most_judged)

    def share(marks: Iterable[bool]) -> Interval:
        return task_mean([float(mark) for mark in marks], tasks)

    return Behaviour(
        steps=len(steps),
        invalid=share(turn.valid_action is False for _, turn, _ in steps),
        without_action=share(turn.action is None for _, turn, _ in steps),
        repeated=share(
            last is not None and turn.action is not None and turn.action == last.action for _, turn, last in steps
        ),
        looped=task_mean(
            [float(has_loop(_exchanges(one))) for one in trajectories], [one.task_id for one in trajectories]
        ),
        overcame_invalid=task_mean([float(one.success) for one in slipped], [one.task_id for one in slipped]),
        reflections=sum(sum(_reflects(one, looks_back)) for one in reflecting),
        judged=len(judged),
        reflections_right=task_mean([float(right) for _, right in judged], [task for task, _ in judged]),
    )


def own_steps(trajectory: Trajectory) -> list[tuple[Turn, str]]:
    """Return the replies of the agent itself, each with the answer to it.

    Steps that were played for the agent before its turn do not count; if an expert played the whole episode, all steps do.
    """
    replies = [
        (turn, answer.content)
        for turn, answer in zip(trajectory.turns, trajectory.turns[1:], strict=False)
        if turn.role == "assistant" and turn.kind != "instruction"
    ]
    own = [(turn, answer) for turn, answer in replies if turn.kind == "agent"]
    return own or [(turn, answer) for turn, answer in replies if turn.kind == "expert"]


def has_loop(exchanges: Sequence[tuple[str | None, str]]) -> bool:
    """Return True if an exchange, or a cycle of at most 6 exchanges, occurs three times in a row.

    Args:
        exchanges: Action and answer of every step.
    """
    for length in range(1, _LONGEST_CYCLE + 1):
        same = 0
        for i in range(length, len(exchanges)):
            same = same + 1 if exchanges[i] == exchanges[i - length] else 0
            if same >= length * (_TIMES - 1):
                return True
    return False


def _exchanges(trajectory: Trajectory) -> list[tuple[str | None, str]]:
    return [(turn.action, answer) for turn, answer in own_steps(trajectory)]


def _reflects(trajectory: Trajectory, looks_back: re.Pattern[str]) -> Iterator[bool]:
    replied = False
    own = {id(turn) for turn, _ in own_steps(trajectory)}
    for turn in trajectory.turns:
        if turn.role == "assistant" and turn.kind != "instruction":
            # The first reply cannot look back at anything.
            yield replied and id(turn) in own and bool(looks_back.search(visible_thought(turn.content)))
            replied = True


def _judge(
    reflecting: Sequence[Trajectory],
    looks_back: re.Pattern[str],
    make_world: Callable[[], gym.Env[Any, Any]],
    most: int,
) -> list[tuple[str, bool]]:
    judged: list[tuple[str, bool]] = []
    env = make_world()
    try:
        order = np.random.default_rng(0).permutation(len(reflecting))
        for index in order:
            if len(judged) >= most:
                break
            judged += _play_again(env, reflecting[index], looks_back)
    finally:
        env.close()
    return judged[:most]


def _play_again(env: gym.Env[Any, Any], trajectory: Trajectory, looks_back: re.Pattern[str]) -> list[tuple[str, bool]]:
    world = env.unwrapped
    assert isinstance(world, TextEnv)
    world.reset(seed=trajectory.seed, options={"task_id": trajectory.task_id})
    oracle = OracleTeacher()
    said: list[dict[str, str]] = []
    previous_action: str | None = None
    judged: list[tuple[str, bool]] = []
    replies = (turn for turn in trajectory.turns if turn.role == "assistant" and turn.kind != "instruction")
    for turn, reflects in zip(replies, _reflects(trajectory, looks_back), strict=True):
        if took_no_step(turn):
            said.append({"role": "assistant", "content": turn.content})
            continue
        before = world.snapshot() if reflects else b""
        if turn.action is None:
            observation, _, terminated, truncated, info = world.pass_step(world.react.format_error)
        else:
            observation, _, terminated, truncated, info = world.step(turn.action)
        if reflects:
            verdict = oracle.judge(
                TeacherContext(
                    env=world,
                    messages=list(said),
                    reply=turn.content,
                    action=turn.action,
                    executed=True,
                    observation=observation,
                    info=info,
                    before=before,
                    previous_action=previous_action,
                )
            )
            if verdict.status != "unknown":
                judged.append((trajectory.task_id, verdict.status == "ok"))
        said.append({"role": "assistant", "content": turn.content})
        previous_action = turn.action
        if terminated or truncated:
            break
    return judged
