"""``python -m step_envs.cli``, the same as the command ``step-envs``."""

from step_envs.cli import main

main()
