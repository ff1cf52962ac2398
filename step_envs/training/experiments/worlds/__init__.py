"""What an experiment has to know about each world; everything else is the same in all of them.

``base``      what a world says: tasks, options, names
``alfworld``, ``webshop``, ``sciworld``     one each
"""

from collections.abc import Mapping

from step_envs.errors import unknown_name
from step_envs.training.experiments.worlds.alfworld import AlfworldExperiment
from step_envs.training.experiments.worlds.base import ExperimentWorld, Purpose
from step_envs.training.experiments.worlds.sciworld import SciWorldExperiment
from step_envs.training.experiments.worlds.webshop import WebShopExperiment

EXPERIMENT_WORLDS: Mapping[str, ExperimentWorld] = {
    world.env: world for world in (AlfworldExperiment(), WebShopExperiment(), SciWorldExperiment())
}
"""Id of the environment -> what an experiment knows about it."""

__all__ = ["EXPERIMENT_WORLDS", "ExperimentWorld", "Purpose", "experiment_world"]


def experiment_world(env: str) -> ExperimentWorld:
    """Return what an experiment knows about a world.

    Raises:
        UnknownNameError: No experiment can be run in it.
    """
    if env not in EXPERIMENT_WORLDS:
        raise unknown_name("world of an experiment", env, EXPERIMENT_WORLDS)
    return EXPERIMENT_WORLDS[env]
