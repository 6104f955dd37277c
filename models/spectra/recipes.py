"""The recipes by which spectra are normalized.

`seed-2018` repeats the original notebook: observed frame, two polynomials per spectrum. `default`
gave the best labels on real spectra: rest frame, ivar-weighted running Gaussian, mask bits used.
`masked` is `default` without foreground features, and with more of the mask bits.
The pixel grid belongs to the recipe and never depends on which spectra are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.spectra import grid, running_gaussian
from models.spectra.lines import REGIONS


@dataclass(frozen=True)
class Recipe:
    """Parameters of a normalization, and the pixels that it is on.

    Parameters
    ----------
    name : str
        Name by which the recipe is chosen.
    version : int
        Raised whenever the numbers that it gives change.
    first_index : int
        Grid index of pixel 0: loglam = 3.5 + 1e-4 * (first_index + i).
    n_pixels : int
        Number of pixels.
    rest_frame : bool
        Spectra are shifted by their redshift.
    mask_set : str
        Bits of ``and_mask`` that void a pixel: one of `models.spectra.masks.MASK_SETS`.
    split : float [Angstrom]
        Start of the red half.
    continuum : {"polynomial", "gaussian"}
        Two polynomials (`models.spectra.polynomial`), or a running Gaussian
        (`models.spectra.running_gaussian`).
    length : float [Angstrom]
        Length L of the running Gaussian.
    excluded : tuple of str
        Foreground features whose pixels are voided: names of `models.spectra.lines.REGIONS`.
    """

    name: str
    version: int
    first_index: int
    n_pixels: int
    rest_frame: bool
    mask_set: str
    split: float
    continuum: Literal["polynomial", "gaussian"]
    length: float = running_gaussian.LENGTH
    excluded: tuple[str, ...] = ()

    @property
    def wavelength(self) -> NDArray[np.float64]:
        """Vacuum wavelengths of the pixels, shape (n_pixels,) [Angstrom]."""
        return grid.grid_wavelength(self.first_index, self.n_pixels)


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        # 3950 to 8999 Angstrom, the crop of the notebook; pixel 2168 is the first of the red arm.
        "seed-2018": Recipe("seed-2018", 1, 966, 3577, False, "none", 6507.0, "polynomial"),
        # 3900 to 8800 Angstrom in the frame of the star.
        "default": Recipe("default", 1, 911, 3534, True, "standard", 6000.0, "gaussian"),
        "masked": Recipe(
            "masked", 1, 911, 3534, True, "strict", 6000.0, "gaussian", excluded=tuple(REGIONS)
        ),
    }
)
