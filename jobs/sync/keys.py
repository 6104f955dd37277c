"""The keys of the configuration of sync, table by table.

Every key is explained in ``example.toml`` beside this module, and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping

from catalog.files.opening import Limits
from catalog.surveys.registry import SURVEYS, all_catalogs
from jobs.sync.values import (
    Key,
    anything,
    choice,
    flag,
    line,
    number,
    path,
    quantity,
    several,
    tables,
    text,
    whole,
)

_LINES = several(line)
_CLASSES = several(choice("STAR", "GALAXY", "QSO", "all"))
_RADIUS = Key("radius", quantity("arcsec", "2 arcsec"), 2.0)
_MAX_BAD = Key("max_bad", number(0, 1), 0.1)
NAME_KEY = Key("name", line)
_RELEASE = Key("release", line)
_PATHS = Key("paths", several(path), ())
_FETCH = Key("fetch", flag, False)
_AS_RELEASE = Key("as_release", flag, False)
_CATALOG = (_PATHS, _RELEASE, _AS_RELEASE, _FETCH, _MAX_BAD, Key("note", text, ""))

#: Kind of a source -> its keys, beside ``name`` and ``kind``.
SOURCE_KEYS: Mapping[str, tuple[Key, ...]] = {
    **{c.kind: _CATALOG for _, c in all_catalogs() if c.label_set},
    "specobj": (
        _PATHS, _RELEASE, _AS_RELEASE, _FETCH, Key("classes", _CLASSES, ("STAR",)), _MAX_BAD,
    ),
    "spectra": (_PATHS, _MAX_BAD),
    "labels": (
        _PATHS, Key("survey", choice(*SURVEYS)), Key("label_set", line),
        Key("key", line, ""), Key("hdu", line, ""), Key("allow_overflow", flag, False), _MAX_BAD,
        Key("max_rows", whole, Limits.max_rows), Key("max_bytes", whole, Limits.max_bytes),
        Key("note", text, ""),
    ),
    "sppparams": (_RELEASE, _MAX_BAD, Key("note", text, "")),
    "positions": (Key("left", line, "apogee/dr14"), _RELEASE, _RADIUS, _MAX_BAD),
}  # fmt: skip
CROSSMATCH_KEYS = (NAME_KEY, Key("left", line, "apogee/dr14"), Key("right", line, "sdss"), _RADIUS)
#: The numbers of a selection, as `sample create` has them.
RULE_KEYS = (
    Key("needs", _LINES, None), Key("instruments", _LINES, None), Key("min_sn", number(0), None),
    Key("max_bad_fraction", number(0, 1), None),
    Key("max_rv_difference", quantity("km/s", "60 km/s"), None),
    Key("min_teff", quantity("K", "4000 K"), None), Key("max_teff", quantity("K", "7000 K"), None),
    Key("aspcap_bad", _LINES, None), Key("max_distance", number(0), None),
)  # fmt: skip
SAMPLE_KEYS = (
    NAME_KEY, Key("crossmatch", line), Key("preset", line, "clean"), Key("reference", line, ""),
    Key("against", line, "sspp/dr12"), *RULE_KEYS, Key("fetch_spectra", line, ""), _MAX_BAD,
)  # fmt: skip
NORMALIZATION_KEYS = (Key("recipe", line), Key("sample", line, None))
PREDICTION_KEYS = (Key("model", line), Key("label_set", line), Key("sample", line, None))
EXPORT_KEYS = (
    Key("file", path), Key("content", line, ""), Key("sql", text, ""), Key("against", _LINES, ()),
    Key("sample", line, None), Key("recipe", line, None), Key("safe_cells", flag, False),
    Key("timeout", quantity("s", "10 min"), 600.0),
)  # fmt: skip
REPORT_KEYS = (
    Key("folder", path), Key("sample", line, None), Key("reference", line, None),
    Key("models", _LINES, ()), Key("seed", whole, 0),
)  # fmt: skip
ARCHIVE_KEYS = (
    Key("folder", path, "archive"), Key("url", line, ""), Key("skyserver_url", line, ""),
)  # fmt: skip
#: The lists of tables, in the order of the work.
LISTS = (
    "sources", "crossmatches", "samples", "normalizations", "predictions", "exports", "reports",
)  # fmt: skip
TOP_KEYS = (
    Key("home", path, ""), Key("database_url", line, "", secret=True),
    Key("reader_url", line, "", secret=True), Key("log", path, ""),
    Key("time_budget", quantity("s", "2 h"), None), Key("archive", anything, {}),
    *(Key(name, tables, []) for name in LISTS),
)  # fmt: skip
