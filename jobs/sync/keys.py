"""The keys of the configuration of sync, table by table.

Every key is explained in ``example.toml`` beside this module, and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobs.sync.values import (
    Key,
    anything,
    choice,
    flag,
    number,
    quantity,
    tables,
    text,
    texts,
    whole,
)

_RADIUS = Key("radius", quantity("arcsec", "2 arcsec"), 2.0)
_MAX_BAD = Key("max_bad", number(0, 1), 0.1)
NAME_KEY = Key("name", text)
_RELEASE = Key("release", text)
_PATHS = Key("paths", texts, ())
_FETCH = Key("fetch", flag, False)
_CATALOG = (_PATHS, _RELEASE, _FETCH, _MAX_BAD, Key("note", text, ""))

#: Kind of a source -> its keys, beside ``name`` and ``kind``.
SOURCE_KEYS: Mapping[str, tuple[Key, ...]] = {
    "apogee": _CATALOG,
    "sspp": _CATALOG,
    "specobj": (_PATHS, _RELEASE, _FETCH, Key("classes", texts, ("STAR",)), _MAX_BAD),
    "spectra": (_PATHS, _MAX_BAD),
    "labels": (
        _PATHS, Key("survey", choice("apogee", "sdss", "lamost")), Key("label_set", text),
        Key("key", text, ""), _MAX_BAD, Key("note", text, ""),
    ),
    "sppparams": (_RELEASE, _MAX_BAD, Key("note", text, "")),
    "positions": (Key("left", text, "apogee/dr14"), _RELEASE, _RADIUS, _MAX_BAD),
}  # fmt: skip
CROSSMATCH_KEYS = (NAME_KEY, Key("left", text, "apogee/dr14"), Key("right", text, "sdss"), _RADIUS)
#: The numbers of a selection, as `sample create` has them.
RULE_KEYS = (
    Key("needs", texts, None), Key("instruments", texts, None), Key("min_sn", number(0), None),
    Key("max_bad_fraction", number(0, 1), None),
    Key("max_rv_difference", quantity("km/s", "60 km/s"), None),
    Key("min_teff", quantity("K", "4000 K"), None), Key("max_teff", quantity("K", "7000 K"), None),
    Key("aspcap_bad", texts, None), Key("max_distance", number(0), None),
)  # fmt: skip
SAMPLE_KEYS = (
    NAME_KEY, Key("crossmatch", text), Key("preset", text, "clean"), Key("reference", text, ""),
    Key("compared", text, "sspp/dr12"), *RULE_KEYS, Key("fetch_spectra", text, ""), _MAX_BAD,
)  # fmt: skip
NORMALIZATION_KEYS = (Key("recipe", text), Key("sample", text, None))
PREDICTION_KEYS = (Key("model", text), Key("label_set", text), Key("sample", text, None))
EXPORT_KEYS = (
    Key("file", text), Key("content", text, ""), Key("sql", text, ""), Key("against", texts, ()),
    Key("sample", text, None), Key("recipe", text, None), Key("safe_cells", flag, False),
    Key("timeout", quantity("s", "10 min"), 600.0),
)  # fmt: skip
REPORT_KEYS = (
    Key("folder", text), Key("sample", text, None), Key("reference", text, None),
    Key("models", texts, ()), Key("seed", whole, 0),
)  # fmt: skip
ARCHIVE_KEYS = (
    Key("folder", text, "archive"), Key("url", text, ""), Key("skyserver_url", text, ""),
)  # fmt: skip
_LISTS = (
    "sources", "crossmatches", "samples", "normalizations", "predictions", "exports", "reports",
)  # fmt: skip
TOP_KEYS = (
    Key("home", text, ""), Key("database_url", text, ""), Key("log", text, ""),
    Key("time_budget", quantity("s", "2 h"), None), Key("archive", anything, {}),
    *(Key(name, tables, []) for name in _LISTS),
)  # fmt: skip
