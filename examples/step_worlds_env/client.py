"""The client, by the names that OpenEnv's AutoEnv and AutoAction look for."""

from step_envs.integrations.openenv_client import TextAction as StepWorldsAction
from step_envs.integrations.openenv_client import TextEnvClient as StepWorldsEnv
from step_envs.integrations.openenv_client import TextObservation as StepWorldsObservation

__all__ = ["StepWorldsAction", "StepWorldsEnv", "StepWorldsObservation"]
