"""Ask the oracle what it would have done in every state of an agent's episode (DAgger).

The agent's episode is played again, and the oracle is asked in the state before each reply. Where both act alike, the
agent's own reply is trained in its place. Elsewhere the conversation up to there is one more trajectory, which ends with
the oracle's reply: only that reply is trained, and the agent's own errors are nothing but context.

Such a conversation is read whole for one reply that is trained. An episode that failed has dozens of them, nearly alike, so
without a limit they take most of the compute and teach the least.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from step_envs.core import TextEnv
from step_envs.credit.episode_replay import ReplayError, WorldPool, replay
from step_envs.replies import reply_format
from step_envs.snapshots import RestorePoint
from step_envs.trajectory import Trajectory, Turn


def label_episodes(
    trajectories: Iterable[Trajectory], *, max_labels: int | None = None, seed: int = 0
) -> tuple[list[Trajectory], Counter[str]]:
    """Label the states of episodes with the oracle's reply.

    Args:
        trajectories: Episodes of an agent, without a teacher.
        max_labels: The most states of an episode that are labelled because the oracle disagrees, drawn at random; None
            sets no limit.
        seed: Decides which are drawn.

    Returns:
        For each episode its own conversation, if the oracle agrees with a reply in it, and one conversation for each state
        in which it does not; and reason -> number of episodes that are left out.
    """
    found: list[Trajectory] = []
    left_out: Counter[str] = Counter()
    pool = WorldPool()
    try:
        for trajectory in trajectories:
            world = pool.world_for(trajectory.env_id, trajectory.protocol)
            try:
                points = [(turn.number, turn.before) for turn in replay(trajectory, world) if turn.before is not None]
            except ReplayError:
                # One episode from another version of the data should not cost all others.
                left_out["that the world does not repeat"] += 1
                continue
            labels, agreed = _labels(trajectory, points, world)
            if max_labels is not None and len(labels) > max_labels:
                rng = np.random.default_rng([seed, trajectory.episode or 0, len(found)])
                labels = [labels[at] for at in sorted(rng.permutation(len(labels))[:max_labels])]
            labelled = [*labels, *agreed]
            left_out["without a state from which a way is known"] += not labelled
            found += labelled
    finally:
        pool.close()
    return found, +left_out


def _labels(
    trajectory: Trajectory, points: list[tuple[int, RestorePoint]], world: TextEnv
) -> tuple[list[Trajectory], list[Trajectory]]:
    """Return a conversation for each state in which the oracle disagrees, and the episode's own if it agrees somewhere."""
    write = reply_format(trajectory.protocol.get("reply_format", "react")).write
    context = [turn.model_copy(update={"loss": 0.0}) for turn in trajectory.turns]
    labels: list[Trajectory] = []
    agreed: list[int] = []
    for at, before in points:
        world.restore(before)
        action = world.oracle.next_action()
        if action is None:
            continue
        own = trajectory.turns[at]
        if own.action == action and own.loss:
            agreed.append(at)
            continue
        content = write(world.oracle.thought(action), action)
        label = Turn(role="assistant", content=content, kind="expert", loss=1.0, action=action)
        labels.append(trajectory.model_copy(update={"turns": (*context[:at], label)}))
    if not agreed:
        return labels, []
    turns = [trajectory.turns[at] if at in agreed else turn for at, turn in enumerate(context)]
    return labels, [trajectory.model_copy(update={"turns": tuple(turns)})]
