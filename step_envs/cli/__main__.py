"""Run the command ``step-envs`` as ``python -m step_envs.cli``."""

from step_envs.cli import main

main()
