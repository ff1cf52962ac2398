"""Recipes: each method of the family as one small file that says which data, which weights, which trainer.

A method differs from its relatives in what a step is taken to be worth, and in what is then done with it. All recipes take
the same trajectories and give a checkpoint, so that they can be compared on the same tasks, model and compute.
"""

from step_envs.training.recipes.base import PreparedTraining, Recipe, RecipeCard, TrainingStart, Watch
from step_envs.training.recipes.making import RECIPES, make_recipe
from step_envs.training.recipes.material import Material

__all__ = ["RECIPES", "Material", "PreparedTraining", "Recipe", "RecipeCard", "TrainingStart", "Watch", "make_recipe"]
