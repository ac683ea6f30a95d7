"""Recipes: what is set otherwise for known data sets, and by rules for the shape of all others.

The only place that knows a data set by its name, or an image by its size. docs/recipes.md has the rules.
"""

from typing import TYPE_CHECKING

from twinlatent.lazy import lazily

if TYPE_CHECKING:
    from twinlatent.recipes.files import names
    from twinlatent.recipes.reading import kept_in, recipe_for, recipe_of, shipped
    from twinlatent.recipes.recipe import PURPOSES, Recipe
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "twinlatent.recipes.files": ("names",),
            "twinlatent.recipes.reading": ("kept_in", "recipe_for", "recipe_of", "shipped"),
            "twinlatent.recipes.recipe": ("PURPOSES", "Recipe"),
        },
    )

__all__ = ["PURPOSES", "Recipe", "kept_in", "names", "recipe_for", "recipe_of", "shipped"]
