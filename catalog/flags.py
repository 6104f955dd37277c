"""Names and meanings of the surveys' flag bits.

ASPCAPFLAG: https://www.sdss4.org/dr17/irspec/apogee-bitmasks/ (the bits used here are the same in
DR12 to DR17). SSPP's FLAG is five letters; each letter gets a bit of its own
(https://www.sdss4.org/dr17/spectro/sspp_flags/).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

ASPCAPFLAG: dict[int, tuple[str, str]] = {
    0: ("TEFF_WARN", "Teff near the edge of the grid or otherwise uncertain"),
    1: ("LOGG_WARN", "log g near the edge of the grid or otherwise uncertain"),
    2: ("VMICRO_WARN", "microturbulence uncertain"),
    3: ("M_H_WARN", "metallicity near the edge of the grid or otherwise uncertain"),
    4: ("ALPHA_M_WARN", "alpha enhancement uncertain"),
    5: ("C_M_WARN", "carbon abundance uncertain"),
    6: ("N_M_WARN", "nitrogen abundance uncertain"),
    7: ("STAR_WARN", "any of the main warnings is set"),
    8: ("CHI2_WARN", "high chi-square"),
    9: ("COLORTE_WARN", "Teff disagrees with the colour"),
    10: ("ROTATION_WARN", "lines are broad: the star may rotate"),
    11: ("SN_WARN", "S/N below 70"),
    16: ("TEFF_BAD", "Teff at the edge of the grid"),
    17: ("LOGG_BAD", "log g at the edge of the grid"),
    18: ("VMICRO_BAD", "microturbulence at the edge of the grid"),
    19: ("M_H_BAD", "metallicity at the edge of the grid"),
    20: ("ALPHA_M_BAD", "alpha enhancement at the edge of the grid"),
    21: ("C_M_BAD", "carbon abundance at the edge of the grid"),
    22: ("N_M_BAD", "nitrogen abundance at the edge of the grid"),
    23: ("STAR_BAD", "any of the main bad bits is set: do not use"),
    24: ("CHI2_BAD", "very high chi-square"),
    25: ("COLORTE_BAD", "Teff disagrees strongly with the colour"),
    26: ("ROTATION_BAD", "lines are very broad"),
    27: ("SN_BAD", "S/N below 50"),
}


def aspcap_flag_bits(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the flags of rows of allStar: ASPCAPFLAG, 0 where it is unknown.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (n,)
        With ``aspcapflag``.
    """
    return np.ma.MaskedArray(columns["aspcapflag"]).filled(0).astype(np.int64)


#: Letter of SSPP's FLAG -> (bit, name, meaning). Case matters.
SSPP_LETTERS: dict[str, tuple[int, str, str]] = {
    "d": (0, "POSSIBLE_WHITE_DWARF", "critical: possibly a white dwarf"),
    "D": (1, "WHITE_DWARF", "critical: likely a white dwarf"),
    "E": (2, "EMISSION", "critical: emission lines"),
    "h": (3, "HELIUM", "critical: helium line detected"),
    "H": (4, "HOT", "critical: too hot"),
    "l": (5, "SOLAR_NA", "critical: sodium line, possibly late type"),
    "S": (6, "NOISE", "critical: sky spectrum, no signal"),
    "V": (7, "RV_MISMATCH", "critical: radial velocities disagree"),
    "N": (8, "LOW_SN", "critical: noisy at the ends of the spectrum"),
    "C": (9, "COLOR_MISMATCH", "Teff disagrees with the colour"),
    "B": (10, "BALMER_MISMATCH", "Balmer lines disagree with each other"),
    "g": (11, "MILD_G_BAND", "mild G-band feature"),
    "G": (12, "STRONG_G_BAND", "strong G-band feature"),
}
SSPP_FLAG: dict[int, tuple[str, str]] = {bit: (n, m) for bit, n, m in SSPP_LETTERS.values()}


def sspp_flag_bits(letters: np.ndarray) -> np.ndarray:
    """SSPP's FLAG as bits.

    Parameters
    ----------
    letters : ndarray of bytes, shape (n,)
        Such as ``b"nnnnn"`` (normal) or ``b"nnngn"``.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    bits = np.zeros(len(letters), np.int64)
    for letter, (bit, _, _) in SSPP_LETTERS.items():
        bits |= (np.char.find(letters, letter.encode()) >= 0).astype(np.int64) << bit
    return bits


def sspp_row_flags(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the flags of rows of ssppOut: the letters of FLAG as bits.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (n,)
        With ``sspp_flag`` [bytes].
    """
    return sspp_flag_bits(columns["sspp_flag"])
