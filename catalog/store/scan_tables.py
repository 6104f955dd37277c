"""The tables of scans: which settings were tried, how they did, and what each fold chose.

They name the sample and label set within the parameters, not by id: what was found stays true
after those are gone.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Integer, LargeBinary, Table, Text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import JSONB

from catalog.store.table_parts import Double, col, key, metadata, now, opt, ref

scan = Table(
    "scan",
    metadata,
    key("scan_id"),
    col("name", Text),
    col("preset", Text),
    col("params", JSONB),
    col("params_hash", Text),
    opt("n_trials", Integer),
    opt("best_settings", JSONB),
    opt("best_loss", Double),
    opt("metrics", JSONB),
    opt("chunk_key", Text),
    opt("state_bytes", LargeBinary),
    now("created_at"),
    Unique("name"),
    comment="Searches for the best settings of a preset; the scores are those of stars that did "
    "not choose",
)

scan_trial = Table(
    "scan_trial",
    metadata,
    ref("scan_id", "scan.scan_id", cascade=True, primary_key=True),
    col("trial", Integer, primary_key=True),
    col("fold", Integer, primary_key=True),
    col("trial_settings", JSONB),
    col("trial_state", Text),
    opt("inner_loss", Double),
    opt("failure", Text),
    CheckConstraint("trial_state IN ('open','done','failed')", name="trial_state"),
    comment="Settings that a scan tried in each fold, judged on stars of the fold's training part",
)

scan_fold = Table(
    "scan_fold",
    metadata,
    ref("scan_id", "scan.scan_id", cascade=True, primary_key=True),
    col("fold", Integer, primary_key=True),
    col("trial", Integer),
    col("trial_settings", JSONB),
    opt("inner_loss", Double),
    opt("outer_loss", Double),
    opt("failure", Text),
    comment="What each fold of a scan chose, and how that did on the stars that it held out",
)
