"""The rows of the exports: one trajectory as one record, with the same keys whatever the trajectory."""

import json
from collections.abc import Iterator
from typing import Any

from step_envs.credit.advantages import step_advantages
from step_envs.trajectory import Actor, Trajectory, Turn, Usage

_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}


def message_row(trajectory: Trajectory, row_id: str | None = None) -> dict[str, Any]:
    """Make the row of the ``messages`` form.

    Args:
        trajectory: The episode.
        row_id: Its name in the file; None takes the task id.

    Returns:
        What identifies the episode and how it ended, and ``messages``: ``role``, ``content`` and ``loss`` (0 to 1) of every
        turn up to the last reply, because trainers skip rows that end on an observation. Every row has the same keys.
    """
    return {
        "id": trajectory.task_id if row_id is None else row_id,
        "env_id": trajectory.env_id,
        "task_id": trajectory.task_id,
        "task_type": trajectory.task_type,
        "split": trajectory.split,
        "seed": trajectory.seed,
        "episode": trajectory.episode,
        "instruction": trajectory.instruction,
        "agent": trajectory.agent.name,
        "teacher": trajectory.teacher.name if trajectory.teacher is not None else None,
        "score": trajectory.score,
        "success": trajectory.success,
        "reward": trajectory.reward,
        "steps": trajectory.steps,
        "stop_reason": trajectory.stop_reason,
        "errors": trajectory.errors,
        "unknown_verdicts": trajectory.unknown_verdicts,
        "messages": trajectory.messages()[: _ends_at(trajectory)],
    }


def turn_rows(trajectory: Trajectory, row_id: str | None = None) -> Iterator[dict[str, Any]]:
    """Make the rows of the ``turns`` form: one for every trained turn, which is the last message of its row.

    Args:
        trajectory: The episode.
        row_id: Its name in the file; None takes the task id.

    Yields:
        ``id``, the episode's name and the number of the turn in it; what identifies the episode; ``turn``, ``kind``,
        ``action``, ``loss`` (above 0, to 1), ``value`` and ``advantage`` (see ``credit``; None without values) of the
        trained turn; and ``messages``: ``role`` and ``content`` of all turns
        up to it. Trainers that train the last message of a row, and know no weights, train exactly this turn.
    """
    whole = message_row(trajectory, row_id)
    about = {name: whole[name] for name in ("env_id", "task_id", "task_type", "split", "episode", "score", "success")}
    messages = [{"role": turn.role, "content": turn.content} for turn in trajectory.turns]
    advantages = step_advantages(trajectory)
    for number, turn in enumerate(trajectory.turns):
        if turn.loss:
            yield {
                "id": f"{whole['id']}/{number}",
                **about,
                "turn": number,
                "kind": turn.kind,
                "action": turn.action,
                "loss": turn.loss,
                "value": turn.value,
                "advantage": advantages[number],
                "messages": messages[: number + 1],
            }


def table_row(trajectory: Trajectory, row_id: str | None = None) -> dict[str, Any]:
    """Make the row of the ``parquet`` and ``datasets`` forms.

    Args:
        trajectory: The episode.
        row_id: Its name in the file; None takes the task id.

    Returns:
        ``message_row`` with all messages, and the rest of the record: ``turns`` says of each message what kind it is, its
        action, reward, score, value, verdict and logprobs; ``protocol``, ``versions``, ``agent_config``, ``teacher_config``
        and ``value_config``, whose keys vary, are JSON.
    """
    return message_row(trajectory, row_id) | {
        "messages": trajectory.messages(),
        "terminated": trajectory.terminated,
        "truncated": trajectory.truncated,
        "turns": [_turn_row(turn) for turn in trajectory.turns],
        "usage": _usage_row(trajectory.usage),
        "protocol": _json(trajectory.protocol),
        "versions": _json(trajectory.versions),
        "agent_config": _actor(trajectory.agent),
        "teacher_config": _actor(trajectory.teacher),
        "value_config": _actor(trajectory.valued_by),
    }


def sharegpt_row(trajectory: Trajectory, row_id: str | None = None) -> dict[str, Any] | None:
    """Make the row of the ``sharegpt`` form, as ETO publishes its data, with a loss for every turn.

    Args:
        trajectory: The episode.
        row_id: Its name in the file; None takes the task id.

    Returns:
        ``id`` and ``conversations``: ``from`` (``system``, ``human`` or ``gpt``), ``value`` and ``loss`` (0 to 1) of every
        turn up to the last reply, since nothing answers the observation after it. None where there is no reply.
    """
    end = _ends_at(trajectory)
    if not end:
        return None
    return {
        "id": trajectory.task_id if row_id is None else row_id,
        "conversations": [
            {"from": _SPEAKERS[turn.role], "value": turn.content, "loss": turn.loss} for turn in trajectory.turns[:end]
        ],
    }


def _ends_at(trajectory: Trajectory) -> int:
    """Count the turns up to the last reply that acts or has a loss, so that nothing trained is lost; 0 if there is none."""
    return max((number for number, turn in enumerate(trajectory.turns, 1) if is_reply(turn) or turn.loss), default=0)


def is_reply(turn: Turn) -> bool:
    """Return whether a turn is a reply that acts; the "OK" to the instructions is none."""
    return turn.role == "assistant" and turn.kind != "instruction"


def _turn_row(turn: Turn) -> dict[str, Any]:
    verdict = turn.verdict
    return {
        "kind": turn.kind,
        "action": turn.action,
        "reward": turn.reward,
        "score": turn.score,
        "valid_action": turn.valid_action,
        "verdict": None
        if verdict is None
        else {
            "status": verdict.status,
            "error": verdict.error,
            "reason": verdict.reason,
            "reflection": verdict.reflection,
            "corrected_action": verdict.corrected_action,
            "category": verdict.category,
            "undo": verdict.undo,
            "usage": _usage_row(verdict.usage),
        },
        "usage": _usage_row(turn.usage),
        "shortened": turn.shortened,
        "value": turn.value,
        "logprobs": None
        if turn.logprobs is None
        else [{"token": text, "logprob": logprob} for text, logprob in turn.logprobs],
    }


def _usage_row(usage: Usage | None) -> dict[str, Any] | None:
    return None if usage is None else usage.model_dump()


def _actor(actor: Actor | None) -> str | None:
    return None if actor is None else _json(actor.model_dump())


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
