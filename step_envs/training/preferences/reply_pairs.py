"""One preference pair of two replies that were given in the same state of a world.

Whoever has two replies and a snapshot makes the pair here: a teacher that corrected one of them (``pairs``), or
a search that tried both. So a pair always says from which bytes both sides start, and how far the oracle is from success
after either.
"""

from collections.abc import Sequence

from step_envs.core import TextEnv
from step_envs.snapshots import RestorePoint
from step_envs.training.preferences.pair_data import PairMessage, PairSource, PreferencePair, as_context, digest
from step_envs.trajectory import Turn


def reply_pair(
    world: TextEnv,
    state: bytes | RestorePoint,
    turns: Sequence[Turn],
    chosen: Turn,
    rejected: Turn,
    *,
    chosen_source: PairSource = "agent",
    episode: int | None = None,
) -> PreferencePair:
    """Pair two replies to the same conversation.

    Args:
        world: The world. Its running episode is not changed, only its oracle is asked.
        state: The state that both replies answer.
        turns: The conversation before both replies.
        chosen: The better reply.
        rejected: The worse one.
        chosen_source: Who wrote the better one.
        episode: Number of the episode that the worse one was given in.

    Raises:
        SnapshotError: The state is not one of this world.
        pydantic.ValidationError: Both replies are the same, or there is no conversation before them.
    """
    snapshot = world.open_snapshot(state)
    return PreferencePair(
        env_id=world.env_id,
        task_id=snapshot.task_id,
        kind="step",
        prompt=as_context(turns),
        chosen=(PairMessage(role="assistant", content=chosen.content, loss=1.0),),
        rejected=(PairMessage(role="assistant", content=rejected.content, loss=1.0),),
        chosen_source=chosen_source,
        rejected_source="agent",
        chosen_score=chosen.score,
        rejected_score=rejected.score,
        chosen_distance=_distance(world, state, chosen.action),
        rejected_distance=_distance(world, state, rejected.action),
        episode=episode,
        turn=len(turns),
        state=digest(bytes(state)),
    )


def _distance(world: TextEnv, state: bytes | RestorePoint, action: str | None) -> int | None:
    return world.oracle.distance(state, after=[] if action is None else [action])
