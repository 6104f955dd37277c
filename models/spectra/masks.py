"""Bits of the SDSS spectrum masks, and the named sets of them that void a pixel.

The bits are those of SPPIXMASK, https://www.sdss4.org/dr17/algorithms/bitmasks/#SPPIXMASK, numbered
from 0, in both masks of a spectrum file: a bit of ``and_mask`` is set in all exposures, one of
``or_mask`` in any. The catalog keeps both as they are; a recipe names the set it goes by.

LAMOST numbers its bits otherwise, from 0 to 5, and no set here goes by those: its pixels without
information have ivar = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SPPIXMASK: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0: ("NOPLUG", "fibre: not in the plug map"),
        1: ("BADTRACE", "fibre: not traced on the detector"),
        2: ("BADFLAT", "fibre: low counts in the flat field"),
        3: ("BADARC", "fibre: no good wavelength solution"),
        4: ("MANYBADCOLUMNS", "fibre: over a tenth of the pixels in bad columns"),
        5: ("MANYREJECTED", "fibre: over a tenth of the pixels rejected"),
        6: ("LARGESHIFT", "fibre: lies elsewhere in the flat field than in the exposure"),
        7: ("BADSKYFIBER", "fibre: of the sky, with extreme residuals"),
        8: ("NEARWHOPPER", "fibre: within two of a very bright one"),
        9: ("WHOPPER", "fibre: very bright"),
        10: ("SMEARIMAGE", "fibre: smear correction available"),
        11: ("SMEARHIGHSN", "fibre: signal enough for the full smear correction"),
        12: ("SMEARMEDSN", "fibre: signal enough for a scaled smear correction only"),
        16: ("NEARBADPIXEL", "a bad pixel within 3 pixels of the trace"),
        17: ("LOWFLAT", "flat field below 0.5"),
        18: ("FULLREJECT", "all sub-exposures rejected the pixel; ivar = 0"),
        19: ("PARTIALREJECT", "some pixels rejected in the extraction"),
        20: ("SCATTEREDLIGHT", "much scattered light"),
        21: ("CROSSTALK", "much light of neighbouring fibres"),
        22: ("NOSKY", "no sky level at this wavelength; ivar = 0"),
        23: ("BRIGHTSKY", "sky brighter than the object by far: poor subtraction"),
        24: ("NODATA", "nothing observed; ivar = 0"),
        25: ("COMBINEREJ", "rejected in the sum of the exposures"),
        26: ("BADFLUXFACTOR", "low flux-calibration or flux-correction factor"),
        27: ("BADSKYCHI", "reduced chi-square of the sky residuals above 3"),
        28: ("REDMONSTER", "in a stretch of bad sky residuals"),
    }
)
"""Bit number -> (name, meaning)."""

BITS: Mapping[str, int] = MappingProxyType({name: bit for bit, (name, _) in SPPIXMASK.items()})
"""Name -> bit number."""

MASK_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "none": (),
        "standard": ("FULLREJECT", "NOSKY", "BRIGHTSKY", "NODATA", "BADFLUXFACTOR"),
        "strict": (
            "LOWFLAT",
            "FULLREJECT",
            "SCATTEREDLIGHT",
            "CROSSTALK",
            "NOSKY",
            "BRIGHTSKY",
            "NODATA",
            "COMBINEREJ",
            "BADFLUXFACTOR",
            "BADSKYCHI",
            "REDMONSTER",
        ),
    }
)
"""Name of a set -> names of the bits of ``and_mask`` that void a pixel."""


def mask_of(set_name: str) -> int:
    """Return the bits of a named set as one number, to be compared with a mask by ``&``.

    Parameters
    ----------
    set_name : str
        One of `MASK_SETS`.

    Raises
    ------
    ValueError
        If there is no such set.
    """
    if set_name not in MASK_SETS:
        raise ValueError(f"No mask set is called {set_name!r}; there are {', '.join(MASK_SETS)}.")
    return sum(1 << BITS[name] for name in MASK_SETS[set_name])
