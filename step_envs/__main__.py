"""Run the command ``step-envs`` as ``python -m step_envs``."""

from step_envs.cli import main

main()
