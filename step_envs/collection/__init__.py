"""Collection: play episodes in threads, in processes or on Ray, and keep their trajectories in a run folder.

``collect`` is the main job; ``rollout`` plays a single episode.
"""

from step_envs.collection.cluster import Cluster
from step_envs.collection.collector import collect
from step_envs.collection.config import CollectConfig, EpisodePlan
from step_envs.collection.progress import Progress
from step_envs.collection.rollouts import RolloutStoppedError, rollout

__all__ = ["Cluster", "CollectConfig", "EpisodePlan", "Progress", "RolloutStoppedError", "collect", "rollout"]
