"""Episodes that were never played: the conversation and the outcome are given."""

from collections.abc import Sequence

from step_envs.trajectory import Actor, Trajectory, Turn


def make_episode(
    replies: Sequence[str],
    score: float,
    *,
    task: str = "coin",
    values: Sequence[float | None] | None = None,
    valid: Sequence[bool | None] | None = None,
    observation: str = "Observation: box {} is empty.",
    manual: bool = True,
) -> Trajectory:
    """Make an episode: manual, "OK", task, and every reply with the observation that answers it.

    Args:
        replies: The replies.
        score: The final score; the last reply earns it.
        task: Name of the task.
        values: The values of the start and after each reply.
        valid: Whether the engine understood each action; all by default.
        observation: The observations; the number of the reply is put in.
        manual: Begin with the manual and the "OK" to it.
    """
    start, *after = values or [None] * (len(replies) + 1)
    turns = [
        Turn(role="user", content="You act in a world of boxes.", kind="instruction"),
        Turn(role="assistant", content="OK", kind="instruction"),
    ]
    turns = [
        *(turns if manual else []),
        Turn(role="user", content=f"Your task is to find the {task}.", kind="instruction", value=start),
    ]
    for number, reply in enumerate(replies):
        turns += [
            Turn(
                role="assistant",
                content=reply,
                kind="agent",
                loss=1.0,
                action=reply.rpartition("Action: ")[2],
                reward=score if number == len(replies) - 1 else 0.0,
                score=score if number == len(replies) - 1 else 0.0,
                valid_action=True if valid is None else valid[number],
                value=after[number],
            ),
            Turn(role="user", content=observation.format(number), kind="observation"),
        ]
    return Trajectory(
        env_id="box",
        task_id=task,
        task_type="find",
        split="train",
        instruction=f"Find the {task}.",
        agent=Actor(name="made"),
        valued_by=None if values is None else Actor(name="made", params={"discount": 1.0}),
        turns=tuple(turns),
        score=score,
        success=score == 1,
        reward=score,
        steps=len(replies),
        terminated=score == 1,
        truncated=score != 1,
        stop_reason="success" if score == 1 else "max_steps",
        errors=0,
        unknown_verdicts=0,
    )
