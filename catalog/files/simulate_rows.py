"""The stars of the simulated survey, and the rows that its two catalogs have about them."""

from __future__ import annotations

import numpy as np

from catalog.files.specobjid import pack_specobjid

DUPLICATE, STAR_BAD = 1 << 4, 1 << 23
N_UNLABELLED, YEARS_APART = 4, 7.0
MASYR_DEG = 1 / 3.6e6
STAR_FIELDS = ("ra", "dec", "teff", "logg", "fe_h", "alpha", "rv", "pmra", "pmdec", "h_mag")
ALLSTAR_TEXT = "APSTAR_ID:S45 TARGET_ID:S34 APOGEE_ID:S18 TELESCOPE:S8 FIELD:S16"
ALLSTAR_FLOATS = """J H K SNR VHELIO_AVG VSCATTER TEFF TEFF_ERR LOGG LOGG_ERR M_H M_H_ERR ALPHA_M
    ALPHA_M_ERR FE_H FE_H_ERR O_FE O_FE_ERR SI_FE SI_FE_ERR"""
SSPP = """SPECOBJID:S22 SPECPRIMARY:>i4 PLUG_RA:>f8 PLUG_DEC:>f8 RUN2D:S3 MJD:>i4 PLATE:>i2
    FIBER:>i2 SPECTYPE_SUBCLASS:S20 FLAG:S5 TEFF_ADOP:>f4 TEFF_ADOP_UNC:>f4 LOGG_ADOP:>f4
    LOGG_ADOP_UNC:>f4 FEH_ADOP:>f4 FEH_ADOP_UNC:>f4 AFE:>f4 AFE_UNC:>f4 RV_ADOP:>f4
    RV_ADOP_UNC:>f4 V_MAG:>f4 BV:>f4 G_MAG:>f4 SNR:>f4 ZWARNING:>i4"""


def draw_stars(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw giants like APOGEE's, at random places north of declination -10.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    n : int
        Number of stars.

    Returns
    -------
    numpy.ndarray
        Records of shape (n,): ra, dec [deg], teff [K], logg, fe_h, alpha [dex], rv [km/s], pmra,
        pmdec [mas/yr], h_mag [mag].
    """
    stars = np.zeros(n, [(name, "f8") for name in STAR_FIELDS])
    stars["ra"] = rng.uniform(0, 360, n)
    stars["dec"] = np.degrees(np.arcsin(rng.uniform(-0.17, 0.93, n)))
    stars["teff"] = 3900 + 1700 * rng.beta(2.5, 1.8, n)
    stars["fe_h"] = np.clip(-0.35 + 0.4 * rng.standard_normal(n), -2.3, 0.45)
    # The giant branch: hotter giants are smaller, metal-poor ones hotter at the same size.
    branch = 0.5 + 3.3 * (stars["teff"] - 3900) / 1700 + 0.35 * (stars["fe_h"] + 0.35)
    stars["logg"] = np.clip(branch + 0.2 * rng.standard_normal(n), 0.4, 3.85)
    stars["alpha"] = np.clip(0.03 - 0.18 * stars["fe_h"], -0.05, 0.32)
    stars["alpha"] += 0.03 * rng.standard_normal(n)
    stars["rv"] = rng.normal(-20, 70, n)
    stars["pmra"], stars["pmdec"] = rng.normal(0, 5, (2, n))
    stars["h_mag"] = rng.uniform(10, 13.5, n)
    return stars


def star_names(stars: np.ndarray) -> np.ndarray:
    """Make 2MASS names from positions: 2MHHMMSSss+DDMMSSs.

    Parameters
    ----------
    stars : numpy.ndarray
        Records of `draw_stars`, shape (n,).

    Returns
    -------
    numpy.ndarray
        Byte strings, shape (n,).
    """
    time, dec = np.floor(stars["ra"] * 24000).astype(int), np.abs(stars["dec"]) * 36000
    arc = np.floor(dec).astype(int)
    return np.array(
        [
            f"2M{t // 360000:02d}{t // 6000 % 60:02d}{t % 6000:04d}{'-' if south else '+'}"
            f"{a // 36000:02d}{a // 600 % 60:02d}{a % 600:03d}".encode()
            for t, a, south in zip(time.tolist(), arc.tolist(), stars["dec"] < 0, strict=True)
        ]
    )


def allstar_rows(
    rng: np.random.Generator,
    stars: np.ndarray,
    names: np.ndarray,
    star_of_row: np.ndarray,
    n_matched: int,
    release: str,
) -> np.ndarray:
    """Make the rows of allStar.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    stars, names : numpy.ndarray
        Records of `draw_stars` and their names, shape (n_stars,).
    star_of_row : numpy.ndarray
        Index of the star of each row, shape (n_rows,). A star's later rows are second
        observations by the other telescope, marked as duplicates.
    n_matched : int
        So many stars, the first ones, have labels in any case; the next few have none.
    release : {'dr14', 'dr17'}
        Layout and sentinels.

    Returns
    -------
    numpy.ndarray
        Big-endian records, shape (n_rows,).
    """
    # Of the other stars every fifth has no labels.
    unlabelled = rng.random(len(stars)) < 0.2
    unlabelled[:n_matched] = False
    unlabelled[n_matched : n_matched + N_UNLABELLED] = True
    missing = unlabelled[star_of_row]
    second = np.ones(len(star_of_row), bool)
    second[np.unique(star_of_row, return_index=True)[1]] = False
    stars, names = stars[star_of_row], names[star_of_row]
    n, dr17 = len(stars), release == "dr17"
    motions = ("GAIAEDR3_PMRA", "GAIAEDR3_PMDEC") if dr17 else ("PMRA", "PMDEC")
    wide = ">i8" if dr17 else ">i4"
    fields = f"{ALLSTAR_TEXT} RA:>f8 DEC:>f8 NVISITS:>i4 EXTRATARG:>i2 {' '.join(motions)} "
    fields += f"STARFLAG:{wide} ASPCAPFLAG:{wide} {ALLSTAR_FLOATS}"
    rows = np.zeros(n, record_type(fields))
    telescope = np.where(second, b"apo1m", b"apo25m")
    field = np.array([f"{4000 + int(ra) // 4}".encode() for ra in stars["ra"]])
    target = _join(field, b".", names)
    texts = {
        "TELESCOPE": telescope,
        "FIELD": field,
        "APOGEE_ID": names,
        "TARGET_ID": target,
        "APSTAR_ID": _join(b"apogee.", telescope, b".s.stars.", target),
    }
    for name, text in texts.items():  # blank-padded, as IDL writes them
        rows[name] = np.strings.ljust(text, rows.dtype[name].itemsize)
    rows["RA"], rows["DEC"] = stars["ra"], stars["dec"]
    rows["NVISITS"], rows["EXTRATARG"] = rng.integers(1, 13, n), np.where(second, DUPLICATE, 0)
    rows["SNR"] = rng.lognormal(4.8, 0.4, n) * np.where(second, 0.5, 1)
    rows["VHELIO_AVG"], rows["VSCATTER"] = stars["rv"], rng.lognormal(-2.5, 0.6, n)
    for i, band in enumerate("HKJ"):
        rows[band] = stars["h_mag"] + (0.0, -0.15, 0.6)[i] + rng.normal(0, 0.02, n)
    rows["J"][rng.random(n) < 0.01] = 99.999
    for name, motion in zip(motions, ("pmra", "pmdec"), strict=True):
        rows[name] = stars[motion]
    truth = {
        "TEFF": (stars["teff"], 60.0),
        "LOGG": (stars["logg"], 0.06),
        "M_H": (stars["fe_h"], 0.02),
        "FE_H": (stars["fe_h"], 0.02),
        "ALPHA_M": (stars["alpha"], 0.02),
        "O_FE": (stars["alpha"] + 0.02, 0.03),
        "SI_FE": (stars["alpha"] - 0.02, 0.03),
    }
    gone = np.nan if dr17 else -9999.0
    for name, (value, error) in truth.items():
        rows[name] = np.where(missing, gone, value + 0.5 * error * rng.standard_normal(n))
        rows[f"{name}_ERR"] = np.where(missing, gone, error)
    no_motion = rng.random(n) < 0.1
    for name in motions:
        rows[name][no_motion] = gone
    rows["ASPCAPFLAG"] = np.where(missing | (rng.random(n) < 0.04), STAR_BAD, 0)
    return rows


def sspp_rows(rng: np.random.Generator, stars: np.ndarray, n_own: int, n_repeat: int) -> np.ndarray:
    """Make the rows of ssppOut, one per spectrum, with biased and scattered labels.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    stars : numpy.ndarray
        Records of `draw_stars`, one per spectrum, shape (n_rows,).
    n_own, n_repeat : int
        The first spectra are the only or best ones of their stars, the next ones repeats.

    Returns
    -------
    numpy.ndarray
        Big-endian records, shape (n_rows,).
    """
    n = len(stars)
    rows = np.zeros(n, record_type(SSPP))
    number = np.arange(n)
    plate = 1960 + 97 * (number // 60) % 6000
    repeats = slice(n_own, n_own + n_repeat)
    plate[repeats] = 8954 + number[repeats] // 60  # a specObjID beyond 2**63
    rows["PLATE"], rows["MJD"] = plate, 52_000 + plate // 2
    rows["FIBER"] = 1 + 10 * (number % 60) + rng.integers(0, 10, n)
    rows["RUN2D"] = np.where(rows["PLATE"] < 2500, b"26 ", b"103")
    keys = zip(rows["PLATE"], rows["MJD"], rows["FIBER"], rows["RUN2D"], strict=True)
    ids = [pack_specobjid(int(p), int(m), int(f), r.decode().strip()) for p, m, f, r in keys]
    rows["SPECOBJID"] = [f"{i:>22d}".encode() for i in ids if i is not None]
    rows["SPECPRIMARY"] = (number < n_own) | (number >= n_own + n_repeat)
    moved = MASYR_DEG * YEARS_APART
    east = stars["pmra"] * moved + rng.normal(0, 0.1, n) / 3600
    rows["PLUG_RA"] = (stars["ra"] + east / np.cos(np.radians(stars["dec"]))) % 360
    rows["PLUG_DEC"] = stars["dec"] + stars["pmdec"] * moved + rng.normal(0, 0.1, n) / 3600
    failed = rng.random(n) < 0.1
    noise = rng.standard_normal((4, n)) * np.where(rng.random(n) < 0.02, 6, 1)
    truth = {
        "TEFF_ADOP": (stars["teff"] + 110 - 0.04 * (stars["teff"] - 4800), 90.0),
        "LOGG_ADOP": (stars["logg"] + 0.15, 0.3),
        "FEH_ADOP": (stars["fe_h"] - 0.1, 0.15),
        "AFE": (stars["alpha"], 0.1),
    }
    for (name, (value, scatter)), draw in zip(truth.items(), noise, strict=True):
        rows[name] = np.where(failed, -9999.0, value + scatter * draw)
        rows[f"{name}_UNC"] = np.where(failed, -9999.0, 0.7 * scatter)
    rows["FLAG"] = np.where(failed, b"Nnnnn", b"nnnnn")
    rows["SPECTYPE_SUBCLASS"] = np.where(stars["teff"] > 5000, b"G8".ljust(20), b"K3".ljust(20))
    rows["RV_ADOP"], rows["RV_ADOP_UNC"] = stars["rv"] + rng.normal(0, 4, n), 4.0
    rows["BV"] = 1.0 - (stars["teff"] - 4800) / 2200
    rows["V_MAG"] = stars["h_mag"] + 2.5
    rows["G_MAG"] = rows["V_MAG"] + 0.56 * rows["BV"]
    rows["SNR"] = np.exp(rng.uniform(np.log(15), np.log(100), n))
    return rows


def record_type(text: str) -> np.dtype:
    """Make a record type from words.

    Parameters
    ----------
    text : str
        ``NAME:TYPE`` words with NumPy's type codes; big-endian float32 where there is no type.

    Returns
    -------
    numpy.dtype
    """
    words = [word.partition(":") for word in text.split()]
    return np.dtype([(name, kind or ">f4") for name, _, kind in words])


def _join(*parts: np.ndarray | bytes) -> np.ndarray:
    """Concatenate byte strings element by element."""
    whole = np.asarray(parts[0])
    for part in parts[1:]:
        whole = np.strings.add(whole, np.asarray(part))
    return whole
