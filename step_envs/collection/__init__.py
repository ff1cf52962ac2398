"""Collection: episodes are played, in threads or on Ray, and their trajectories kept in a run folder."""

from step_envs.collection.collector import Progress, collect
from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.rollouts import RolloutStoppedError, rollout

__all__ = ["CollectConfig", "EpisodePlan", "Progress", "RolloutStoppedError", "collect", "rollout"]
