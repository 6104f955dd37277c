"""Windows of well-known features of optical star spectra, and of foreground features.

All wavelengths are in vacuum, those of the grid. Sources:

* line centres: NIST Atomic Spectra Database, air wavelengths put into vacuum by the inverse of
  Morton (2000, ApJS 130, 403); windows hold line and wings at a resolution of 2000;
* bands of molecules and iron: index bands of Worthey et al. (1994, ApJS 94, 687), put into vacuum;
* the atmosphere: bands of O2 and H2O as in Smette et al. (2015, A&A 576, A77);
* diffuse interstellar bands: Hobbs et al. (2009, ApJ 705, 32), put into vacuum, with twice their
  full width at half maximum; the one at 8623: Munari et al. (2008, A&A 488, 969).

The windows of `LINES` are in the frame of the star, those of the atmosphere in that of the
observer, those of the gas near the latter: within some 50 km/s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

LIGHT_SPEED = 299_792.458  # [km/s]


@dataclass(frozen=True)
class Window:
    """A stretch of spectrum with a name.

    Parameters
    ----------
    name : str
        Name of the feature.
    low, high : float [Angstrom, vacuum]
        Its ends.
    """

    name: str
    low: float
    high: float

    @property
    def middle(self) -> float:
        """Middle of the window [Angstrom]."""
        return 0.5 * (self.low + self.high)


def _around(name: str, center: float, half_width: float) -> Window:
    """Return a window around the centre of a line [Angstrom]."""
    return Window(name, center - half_width, center + half_width)


LINES: tuple[Window, ...] = (
    _around("Ca K", 3934.78, 15.0),
    Window("Ca H, H epsilon", 3952.0, 3988.0),  # 3969.59 and 3971.20
    _around("H delta", 4102.89, 20.0),
    _around("Ca 4227", 4227.92, 8.0),
    Window("G band", 4282.6, 4317.6),  # CH
    _around("H gamma", 4341.69, 20.0),
    Window("Fe 4383", 4370.4, 4421.6),
    _around("H beta", 4862.71, 20.0),
    Window("Mg b", 5158.0, 5196.0),  # 5168.76, 5174.12, 5185.05
    Window("Fe 5270", 5247.1, 5287.1),
    Window("Fe 5335", 5313.6, 5353.6),
    Window("Na D", 5881.0, 5908.0),  # 5891.58, 5897.56
    _around("H alpha", 6564.60, 20.0),
    Window("Ca triplet", 8490.0, 8511.0),  # 8500.36
    Window("Ca triplet", 8532.0, 8557.0),  # 8544.44
    Window("Ca triplet", 8652.0, 8677.0),  # 8664.52
)
"""Features of the star; windows of one name belong together."""

REGIONS: Mapping[str, tuple[Window, ...]] = MappingProxyType(
    {
        "telluric": (
            Window("O2 gamma", 6278.0, 6325.0),
            Window("O2 B", 6866.0, 6950.0),
            Window("H2O 7200", 7160.0, 7360.0),
            Window("O2 A", 7593.0, 7715.0),
            Window("H2O 8200", 8125.0, 8360.0),
            Window("H2O 9000", 8930.0, 9280.0),
        ),
        "interstellar": (
            Window("DIB 4429", 4410.0, 4450.0),
            _around("DIB 5706", 5706.7, 4.0),
            _around("DIB 5782", 5782.1, 4.0),
            _around("DIB 5799", 5798.7, 3.0),
            Window("Na D", 5888.5, 5900.5),  # the cores alone: the wings are the star's
            _around("DIB 6205", 6204.7, 5.0),
            _around("DIB 6286", 6285.5, 6.0),
            _around("DIB 6615", 6615.4, 3.0),
            _around("K I 7667", 7667.0, 3.0),
            _around("K I 7701", 7701.1, 3.0),
            _around("DIB 8623", 8622.8, 6.0),
        ),
        "sky": (  # emission lines that leave the largest residuals: [O I]
            _around("[O I] 5579", 5578.9, 5.0),
            _around("[O I] 6302", 6302.0, 5.0),
            _around("[O I] 6366", 6365.5, 5.0),
        ),
    }
)
"""Features that do not come from the star, by name of the region."""


def find_pixels(
    windows: Iterable[Window], wavelength: ArrayLike, margin: float = 0.0
) -> NDArray[np.bool_]:
    """Return True for pixels that lie in any of some windows.

    Parameters
    ----------
    windows : iterable of Window
        Such as `LINES`, or one of `REGIONS`.
    wavelength : array_like, shape (p,) [Angstrom, vacuum]
        Wavelengths of the pixels, in the frame of the windows.
    margin : float [km/s]
        By how much the windows are widened on both sides. In rest-frame spectra the features of
        atmosphere and gas lie up to the velocity of the star away from their places.

    Returns
    -------
    ndarray of bool, shape (p,)
    """
    wave = np.asarray(wavelength, dtype=np.float64)
    inside = np.zeros(wave.shape, dtype=bool)
    stretch = 1.0 + margin / LIGHT_SPEED
    for window in windows:
        inside |= (wave >= window.low / stretch) & (wave <= window.high * stretch)
    return inside
