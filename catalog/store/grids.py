"""On which pixels normalized spectra lie: a copy of what `models.spectra.recipes` says, by version.

The tables of spectra hold no wavelengths, and whoever reads them need not know how they were made.
A test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from catalog.errors import UsageError
from catalog.words import names_near


@dataclass(frozen=True)
class RecipeGrid:
    """The pixels of a recipe.

    Attributes
    ----------
    recipe : str
    version : int
    first_index : int
        Pixel i lies at loglam = 3.5 + 1e-4 * (first_index + i).
    n_pixels : int
    rest_frame : bool
        Whether spectra are shifted into the frame of the star.
    """

    recipe: str
    version: int
    first_index: int
    n_pixels: int
    rest_frame: bool


#: The newest version of each recipe.
RECIPE_GRIDS: Mapping[str, RecipeGrid] = MappingProxyType(
    {
        grid.recipe: grid
        for grid in (
            RecipeGrid("default", 1, 911, 3534, True),
            RecipeGrid("seed-2018", 1, 966, 3577, False),
            RecipeGrid("masked", 1, 911, 3534, True),
        )
    }
)


def find_grid(recipe: str) -> RecipeGrid:
    """The pixels of the recipe of that name.

    Raises
    ------
    UsageError
        If there is none; the message lists them.
    """
    if recipe not in RECIPE_GRIDS:
        todo = names_near(recipe, RECIPE_GRIDS, "Recipes")
        raise UsageError(f"there is no recipe {recipe}", todo)
    return RECIPE_GRIDS[recipe]
