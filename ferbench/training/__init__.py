"""Training: recipes, losses, optimizers, schedules, and one loop.

recipe      everything that decides the weights, as TOML and as one record
losses      what is minimised, a table
optimizers  how, a table
schedules   how the learning rate moves, a table
loop        epochs, validation, the best one kept; continues where it was stopped
statistics  batch statistics that are right from the first epoch on
state       what a stopped training needs to continue
log         one row per epoch, as CSV, curves and TensorBoard

Importing this package imports no torch.
"""

from ferbench.training.recipe import TrainRecipe, read_recipe, recipe_names

__all__ = ["TrainRecipe", "read_recipe", "recipe_names"]
