"""Places of files in the Science Archive Server, per data release.

Paths are relative to the archive's root (``https://data.sdss.org/sas``) and made from integers and
checked names only. Releases moved things: every item has a list of places, best first, and what is
found where the last release had it is recorded as found there. Sources: https://data.sdss.org/sas,
the bulk pages https://www.sdss.org/dr17/data_access/bulk/ and their like of earlier releases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from catalog.errors import BadInputError, UsageError
from catalog.surveys.registry import find_catalog
from catalog.words import names_near

RELEASES = ("dr12", "dr13", "dr14", "dr15", "dr16", "dr17")

_REDUX = "apogee/spectro/redux"
#: allStar of each release; DR15 had no new APOGEE data and points to DR14's.
ALLSTAR: dict[str, tuple[str, ...]] = {
    "dr12": (
        f"dr12/{_REDUX}/r5/allStar-v603.fits",
        f"dr12/{_REDUX}/r5/stars/l25_6d/v603/allStar-v603.fits",
    ),
    "dr13": (
        f"dr13/{_REDUX}/r6/stars/l30e/l30e.2/allStar-l30e.2.fits",
        f"dr13/{_REDUX}/r6/allStar-l30e.2.fits",
    ),
    "dr14": (
        f"dr14/{_REDUX}/r8/stars/l31c/l31c.2/allStar-l31c.2.fits",
        f"dr14/{_REDUX}/r8/allStar-l31c.2.fits",
    ),
    "dr15": (
        f"dr15/{_REDUX}/r8/stars/l31c/l31c.2/allStar-l31c.2.fits",
        f"dr14/{_REDUX}/r8/stars/l31c/l31c.2/allStar-l31c.2.fits",
    ),
    "dr16": ("dr16/apogee/spectro/aspcap/r12/l33/allStar-r12-l33.fits",),
    "dr17": ("dr17/apogee/spectro/aspcap/dr17/synspec_rev1/allStar-dr17-synspec_rev1.fits",),
}
#: ssppOut has not changed after DR12; later releases may carry a copy.
SSPPOUT = {
    release: tuple(
        dict.fromkeys(f"{r}/sdss/sspp/ssppOut-dr12.fits" for r in ("dr12", release, "dr17"))
    )
    for release in RELEASES
}
#: specObj of each release; DR15 had no new optical spectra of the BOSS spectrographs.
SPECOBJ = {
    release: tuple(
        f"{r}/sdss/spectro/redux/specObj-{r}.fits"
        for r in ((release, "dr14") if release == "dr15" else (release,))
    )
    for release in RELEASES
}

#: The release in which a BOSS reduction was published, for spectra that a later one redid.
_HOME_OF_RUN2D = {
    "v5_7_0": "dr12", "v5_7_2": "dr12", "v5_9_0": "dr13", "v5_10_0": "dr14", "v5_13_0": "dr16",
    "v5_13_2": "dr17",
}  # fmt: skip
_RUN2D = re.compile(r"v?[0-9][0-9_]{0,15}")


@dataclass(frozen=True, order=True)
class SpectrumKey:
    """The natural key of an SDSS or BOSS spectrum."""

    plate: int
    mjd: int
    fiberid: int
    run2d: str

    def __str__(self) -> str:
        return f"{self.plate}-{self.mjd}-{self.fiberid}-{self.run2d}"


def check_archive_release(release: str) -> str:
    """The release in lower case.

    Raises
    ------
    UsageError
        If nothing is known of where it keeps things.
    """
    found = release.lower()
    if found not in RELEASES:
        raise UsageError(
            f"the places of release {release} are not known", names_near(found, RELEASES, "Known")
        )
    return found


def catalog_places(kind: str, release: str) -> tuple[str, ...]:
    """Return the places of a catalog, by the kind that its survey's record gives it, best first.

    Raises
    ------
    UsageError
        If the release is not known, or the archive does not have such catalogs.
    """
    _, catalog = find_catalog(kind)
    if catalog.places is None:
        raise UsageError(f"{catalog.product} is not in the archive", "Ingest a file of your own")
    places: Mapping[str, tuple[str, ...]] = catalog.places.load()
    return places[check_archive_release(release)]


def spectrum_places(key: SpectrumKey, release: str) -> tuple[str, ...]:
    """The places of a spectrum, best first: lite files before full ones.

    Parameters
    ----------
    key : SpectrumKey
        Its natural key.
    release : str
        The release to look in first; the one that published a BOSS reduction comes after it.

    Raises
    ------
    UsageError
        If the release is not known.
    BadInputError
        BAD_ID, where the key could lead out of the archive's folders.
    """
    release = check_archive_release(release)
    if not _RUN2D.fullmatch(key.run2d) or min(key.plate, key.mjd, key.fiberid) < 0:
        raise BadInputError(
            "BAD_ID", f"{key} cannot be the key of a spectrum", "Look at table sdss_spectrum"
        )
    boss = key.run2d.startswith("v")
    found = list(_in_release(key, release, boss))
    if boss and (home := _HOME_OF_RUN2D.get(key.run2d, release)) != release:
        found += _in_release(key, home, boss)
    return tuple(dict.fromkeys(found))


def _in_release(key: SpectrumKey, release: str, boss: bool) -> list[str]:
    """The places within one release."""
    number = int(release.removeprefix("dr"))
    trees = [("boss" if number == 12 else "eboss") if boss else "sdss"]
    trees += ["sdss"] * boss  # links in the tree of SDSS lead to BOSS's reductions
    kinds = ["spectra/lite", "spectra/full", "spectra"]
    if number < 16:  # before DR16 full files lay in the folder itself
        kinds = ["spectra/lite", "spectra", "spectra/full"]
    name = f"spec-{key.plate:04d}-{key.mjd}-{key.fiberid:04d}.fits"
    return [
        f"{release}/{tree}/spectro/redux/{key.run2d}/{kind}/{key.plate:04d}/{name}"
        for tree in dict.fromkeys(trees)
        for kind in kinds
    ]
