"""Making recipes from a line of text: ``step``, ``eto:beta=0.5``, ``my_module.MyRecipe``."""

from typing import Any

from step_envs.specs import find_named, make_from_spec
from step_envs.training.recipes.base import Recipe

RECIPES = {
    "golden": "step_envs.training.recipes.golden:Golden",
    "step": "step_envs.training.recipes.step:Step",
    "corrections": "step_envs.training.recipes.corrections:Corrections",
    "scripted-errors": "step_envs.training.recipes.scripted_errors:ScriptedErrors",
    "dagger": "step_envs.training.recipes.dagger:Dagger",
    "rejection-sampling": "step_envs.training.recipes.rejection_sampling:RejectionSampling",
    "steca": "step_envs.training.recipes.steca:Steca",
    "eto": "step_envs.training.recipes.eto:Eto",
    "ipr": "step_envs.training.recipes.ipr:Ipr",
    "distillation": "step_envs.training.recipes.distillation:Distillation",
    "sdft": "step_envs.training.recipes.sdft:Sdft",
    "estimator": "step_envs.training.recipes.estimator:Estimator",
    # These two play through the rollouts for TRL, which stand on a higher floor.
    "grpo": "step_envs.integrations.grpo_recipe:Grpo",
    "spa-rl": "step_envs.integrations.grpo_recipe:SpaRl",
}
"""Name of each built-in recipe -> its module and class."""


def make_recipe(spec: str, **further: Any) -> Recipe:
    """Make a recipe from ``name`` or ``name:option=value,...``.

    Args:
        spec: The specification. A recipe of your own is named by its module and class, ``my_module.MyRecipe``.
        **further: Arguments in addition to those of the specification.

    Raises:
        UnknownNameError: There is no such recipe.
        ValueError: An option is malformed or unknown to the recipe, or the named object is no recipe.
    """
    recipe = make_from_spec(spec, RECIPES, "recipe", **further)
    if not isinstance(recipe, Recipe):
        raise ValueError(  # noqa: TRY004  (it is the user's words that are wrong)
            f"The recipe {spec!r} is a {type(recipe).__name__}, not a step_envs.training.recipes.Recipe."
        )
    return recipe


def recipe_class(name: str) -> type[Recipe]:
    """Return the class of a recipe, whose card and command can be read without its options.

    Raises:
        UnknownNameError: There is no such recipe.
    """
    found = find_named(name, RECIPES, "recipe")
    assert isinstance(found, type) and issubclass(found, Recipe)
    return found
