"""Turn values into a reward for every reply, for reinforcement learning on steps (SPA-RL, arXiv 2505.20732).

A final score alone says nothing about single steps. The differences of values do, and they add up to the value after the
last reply. With a progress estimator that is the predicted outcome, and each difference is the contribution of a reply.
"""

from step_envs.credit.episode_tokens import acting_replies
from step_envs.errors import DataError, quoted
from step_envs.trajectory import Trajectory


def contribution_rewards(
    trajectory: Trajectory,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    grounding: float = 0.5,
    from_start: bool = False,
) -> list[float | None]:
    """Compute ``alpha * contribution + beta * grounding`` for every reply.

    The contribution of a reply is the value after it minus the value after the reply before it. With ``from_start=False``
    that of the first reply includes the value of the start, so that with ``alpha=1`` and ``beta=0`` the rewards add up to
    the value after the last reply. Whoever compares replies of different places with each other wants ``from_start=True``:
    the value of the start is no merit of the first reply.

    Args:
        trajectory: An episode with values, as ``annotate`` writes it; see ``ProgressEstimator``.
        alpha: Weight of the contribution.
        beta: Weight of the grounding; SPA-RL's is not published, 0 leaves it out.
        from_start: Compare the first reply with the value of the start. Without a value there, 0 is taken.
        grounding: What a valid action gets on top; an action that the engine did not understand, or that did not run, gets
            nothing.

    Returns:
        One number for each turn; None for turns that are no replies.

    Raises:
        DataError: A reply has no value.
    """
    rewards: list[float | None] = [None] * len(trajectory.turns)
    replies = acting_replies(trajectory)
    before = 0.0
    if from_start and replies and replies[0]:
        before = trajectory.turns[replies[0] - 1].value or 0.0
    for index in replies:
        turn = trajectory.turns[index]
        if turn.value is None:
            raise DataError(
                f"Turn {index} of {trajectory.env_id} {quoted(trajectory.task_id)} has no value: write values with "
                "step-envs annotate, and leave out the episodes that get none."
            )
        rewards[index] = alpha * (turn.value - before) + beta * grounding * bool(turn.valid_action)
        before = turn.value
    return rewards
