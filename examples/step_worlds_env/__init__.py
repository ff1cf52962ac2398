"""Text worlds of step-envs as an OpenEnv environment."""

from .client import StepWorldsAction, StepWorldsEnv, StepWorldsObservation

__all__ = ["StepWorldsAction", "StepWorldsEnv", "StepWorldsObservation"]
