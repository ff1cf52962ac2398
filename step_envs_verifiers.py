"""The name under which verifiers finds our worlds: ``vf-eval step-envs-verifiers``.

verifiers looks plugins up as modules at the top, never inside a package, and takes the classes that ``__all__`` names.
"""

from step_envs.integrations.verifiers import ReplyHarness, StepEnvsEnv, StepEnvsTaskset

__all__ = ["ReplyHarness", "StepEnvsEnv", "StepEnvsTaskset"]
