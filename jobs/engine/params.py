"""Parameters of jobs: frozen dataclasses, stored as JSON, digested into one hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, TypeVar

#: Mark of a field that changes nothing but how fast the answer comes: it stays out of the hash.
NOT_HASHED = {"hashed": False}
#: Mark of a field that is younger than runs in ledgers: an empty value leaves their hashes alone.
HASHED_IF_SET = {"hashed": "if set"}


def to_dict(params: Any) -> dict[str, Any]:
    """Return a parameter record as JSON-able values."""
    return json.loads(json.dumps(dataclasses.asdict(params), default=str))


def params_hash(params: Any) -> str:
    """Digest of everything in ``params`` that changes the answer, stable under field order."""
    values = to_dict(params)
    for field in dataclasses.fields(params):
        hashed = field.metadata.get("hashed", True)
        if not hashed or (hashed == "if set" and not values[field.name]):
            del values[field.name]
    return digest(values)


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value, stable under key order; the first 32 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


P = TypeVar("P")


def from_dict(kind: type[P], values: dict[str, Any]) -> P:
    """Return the parameter record stored as ``values``; JSON lists become tuples again."""
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{k: _tuples(v) for k, v in values.items() if k in names})


def _tuples(value: Any) -> Any:
    """Lists, at any depth, as the tuples that frozen records hold."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
