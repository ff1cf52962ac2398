"""What a shell offers at the Tab key for values that have names; the names of verbs and options it gets from Typer."""

from step_envs.registration import ENTRY_POINTS


def env_ids() -> list[str]:
    """Return the ids of the environments."""
    return list(ENTRY_POINTS)


def export_formats() -> list[str]:
    """Return the formats of ``step-envs export``."""
    from step_envs.exports import FORMATS, PAIR_FORMATS, PRIVILEGED_FORMATS

    return [*FORMATS, *PAIR_FORMATS, *PRIVILEGED_FORMATS]


def backend_names() -> list[str]:
    """Return the logging backends of ``step-envs train``."""
    from step_envs.training.reporting import BACKENDS

    return list(BACKENDS)


def recipe_names() -> list[str]:
    """Return the recipes of ``step-envs train``."""
    from step_envs.training.recipes import RECIPES

    return list(RECIPES)
