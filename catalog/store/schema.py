"""The tables, as SQLAlchemy 2 metadata. Every column takes its comment from `columns.VOCABULARY`.

`migrations/` makes them (a test keeps the two equal); comments are set by `comments`. Ids are
identity columns except where a natural key serves; blobs are little-endian arrays (see
`catalog.store.spectra`).
"""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from catalog.store.columns import LABELS, error_of
from catalog.store.derived_table import derived_object as derived_object
from catalog.store.evaluation_tables import evaluation as evaluation
from catalog.store.evaluation_tables import evaluation_repeat as evaluation_repeat
from catalog.store.evaluation_tables import evaluation_score as evaluation_score
from catalog.store.evaluation_tables import learning_curve as learning_curve
from catalog.store.file_tables import fetch_outcome as fetch_outcome
from catalog.store.file_tables import fetched_file as fetched_file
from catalog.store.file_tables import file_stamp as file_stamp
from catalog.store.scan_tables import scan as scan
from catalog.store.scan_tables import scan_fold as scan_fold
from catalog.store.scan_tables import scan_trial as scan_trial
from catalog.store.table_parts import Double, Timestamp, col, key, now, opt, ref
from catalog.store.table_parts import metadata as metadata

# ---------------------------------------------------------------------------- what was read

input_file = Table(
    "input_file",
    metadata,
    key("input_file_id"),
    col("path", Text),
    col("size", BigInteger),
    col("sha256", Text),
    col("kind", Text),
    opt("release", Text),
    opt("n_rows", BigInteger),
    opt("note", Text),
    now("ingested_at"),
    UniqueConstraint("sha256", "kind", "path", "release", postgresql_nulls_not_distinct=True),
    comment="A file that was read, known by its content; a row for each release it was read as",
)

quarantine = Table(
    "quarantine",
    metadata,
    ref("input_file_id", "input_file.input_file_id", primary_key=True),
    col("item_key", Text, primary_key=True),
    col("reason_code", Text),
    col("detail", Text),
    now("first_seen"),
    col("attempts", Integer, server_default="1"),
    comment="Rows and files that were refused, with the reason",
)

# ---------------------------------------------------------------------------- sources and stars

star = Table(
    "star",
    metadata,
    key("star_id"),
    col("star_key", Text),
    UniqueConstraint("star_key"),
    comment="Physical stars: what several sources are entries of",
)

source = Table(
    "source",
    metadata,
    key("source_id"),
    col("survey", Text),
    col("survey_key", Text),
    col("ra", Double),
    col("dec", Double),
    col("healpix29", BigInteger),
    opt("epoch", Double),
    opt("pmra", REAL),
    opt("pmdec", REAL),
    ref("star_id", "star.star_id", nullable=True),
    UniqueConstraint("survey", "survey_key"),
    CheckConstraint("ra >= 0 AND ra < 360 AND dec >= -90 AND dec <= 90", name="position"),
    Index(None, "survey", "healpix29"),
    Index(None, "star_id"),
    comment="Entries of the surveys' catalogs: survey, key and ICRS position",
)

apogee_star = Table(
    "apogee_star",
    metadata,
    ref("source_id", "source.source_id", cascade=True, primary_key=True),
    col("apogee_id", Text),
    opt("target_id", Text),
    col("apstar_id", Text),
    col("data_release", Text),
    opt("telescope", Text),
    opt("field", Text),
    opt("snr", REAL),
    opt("vhelio_avg", REAL),
    opt("vscatter", REAL),
    opt("nvisits", Integer),
    opt("starflag", BigInteger),
    opt("aspcapflag", BigInteger),
    opt("extratarg", BigInteger),
    opt("j", REAL),
    opt("h", REAL),
    opt("k", REAL),
    col("is_primary", Boolean),
    Index(None, "data_release", "apogee_id"),
    comment="APOGEE's own columns of a source, from allStar",
)

sdss_spectrum = Table(
    "sdss_spectrum",
    metadata,
    ref("source_id", "source.source_id", cascade=True, primary_key=True),
    opt("specobjid", Numeric(20, 0)),
    col("plate", Integer),
    col("mjd", Integer),
    col("fiberid", Integer),
    col("run2d", Text),
    opt("is_primary", Boolean),
    opt("in_sspp", Boolean),
    opt("in_specobj", Boolean),
    opt("in_skyserver", Boolean),
    opt("sspp_flag", Text),
    opt("bv", REAL),
    opt("v_mag", REAL),
    opt("g_mag", REAL),
    opt("snr_sspp", REAL),
    opt("rv_adop", REAL),
    opt("rv_adop_err", REAL),
    opt("spectype", Text),
    UniqueConstraint("plate", "mjd", "fiberid", "run2d"),
    Index(None, "specobjid"),
    comment="SDSS's own columns of a source: its identity, and what SSPP says beside labels",
)

spectrum_blob = Table(
    "spectrum_blob",
    metadata,
    ref("source_id", "source.source_id", cascade=True, primary_key=True),
    ref("input_file_id", "input_file.input_file_id"),
    col("instrument", Text),
    opt("pipeline", Text),
    col("simulated", Boolean, server_default=text("false")),
    opt("class", Text),
    opt("subclass", Text),
    opt("z", REAL),
    opt("z_err", REAL),
    opt("zwarning", BigInteger),
    opt("sn_median", REAL),
    opt("bad_fraction", REAL),
    col("spectrum_state", Text),
    opt("first_index", Integer),
    opt("loglam0", Double),
    opt("dloglam", Double),
    opt("n_pixels", Integer),
    opt("flux", LargeBinary),
    opt("ivar", LargeBinary),
    opt("and_mask", LargeBinary),
    opt("or_mask", LargeBinary),
    opt("sha256", Text),
    CheckConstraint("(spectrum_state = 'ok') = (flux IS NOT NULL)", name="state"),
    comment="Optical spectra on the grid loglam = 3.5 + 1e-4 i; no arrays unless state is ok",
)

normalized_spectrum = Table(
    "normalized_spectrum",
    metadata,
    ref("source_id", "source.source_id", cascade=True, primary_key=True),
    col("recipe", Text, primary_key=True),
    col("recipe_version", Integer),
    col("spectrum_sha256", Text),
    opt("z", REAL),  # by which it was shifted; NULL where the recipe does not shift
    col("normalize_flags", BigInteger),
    col("good_fraction", REAL),
    col("flux", LargeBinary),
    col("ivar", LargeBinary),
    col("continuum", LargeBinary),
    comment="Spectra divided by their pseudo-continuum, on the fixed grid of the recipe",
)

# ---------------------------------------------------------------------------- crossmatch

crossmatch = Table(
    "crossmatch",
    metadata,
    key("crossmatch_id"),
    col("left_spec", Text),
    col("right_spec", Text),
    col("radius_arcsec", Double),
    now("created_at"),
    UniqueConstraint("left_spec", "right_spec", "radius_arcsec"),
    comment="Configurations of the positional crossmatch",
)

match = Table(
    "match",
    metadata,
    ref("crossmatch_id", "crossmatch.crossmatch_id", cascade=True, primary_key=True),
    ref("left_id", "source.source_id", primary_key=True),
    ref("right_id", "source.source_id", primary_key=True),
    col("sep_arcsec", Double),
    Index(None, "crossmatch_id", "right_id"),
    comment="All candidate pairs within the radius, inclusive",
)

match_coverage = Table(
    "match_coverage",
    metadata,
    ref("crossmatch_id", "crossmatch.crossmatch_id", cascade=True, primary_key=True),
    col("chunk_order", SmallInteger, primary_key=True),
    col("pixel", BigInteger, primary_key=True),
    col("left_digest", BigInteger),
    col("right_digest", BigInteger),
    comment="What each sky pixel held when it was last matched; differing digests mean new work",
)

# ---------------------------------------------------------------------------- samples

sample = Table(
    "sample",
    metadata,
    key("sample_id"),
    col("name", Text),
    ref("crossmatch_id", "crossmatch.crossmatch_id"),
    col("preset", Text),
    col("params", JSONB),
    opt("counts", JSONB),
    now("created_at"),
    UniqueConstraint("name"),
    comment="Named, reproducible selections of matches",
)

sample_member = Table(
    "sample_member",
    metadata,
    ref("sample_id", "sample.sample_id", cascade=True, primary_key=True),
    ref("left_id", "source.source_id", primary_key=True),
    ref("right_id", "source.source_id", primary_key=True),
    col("accepted", Boolean),
    opt("reason", Text),
    opt("label_distance", Double),
    CheckConstraint("accepted = (reason IS NULL)", name="reason"),
    comment="Every candidate pair of a sample, accepted or with the first reason that rejects it",
)

star_link = Table(
    "star_link",
    metadata,
    ref("sample_id", "sample.sample_id", cascade=True, primary_key=True),
    ref("right_id", "source.source_id", primary_key=True),
    ref("left_id", "source.source_id"),
    ref("star_id", "star.star_id"),
    col("sep_arcsec", Double),
    comment="Accepted pairs: each spectrum belongs to one star of the sample",
)

# ---------------------------------------------------------------------------- the ledger

job_run = Table(
    "job_run",
    metadata,
    key("run_id"),
    col("kind", Text),
    col("target", Text),
    col("params", JSONB),
    col("params_hash", Text),
    col("code_version", Text),
    col("state", Text),
    col("host", Text),
    col("pid", Integer),
    now("started_at"),
    now("heartbeat_at"),
    opt("finished_at", Timestamp),
    col("rows_written", BigInteger, server_default="0"),
    opt("error", Text),
    CheckConstraint("state IN ('running','paused','failed','succeeded','abandoned')", name="state"),
    Index(
        "uq_job_run_open", "kind", "target", unique=True,
        postgresql_where=text("state IN ('running', 'paused', 'failed')"),
    ),
    comment="Executions of jobs with fixed parameters; a lock, not a state, says that one is alive",
)  # fmt: skip

job_chunk = Table(
    "job_chunk",
    metadata,
    ref("run_id", "job_run.run_id", cascade=True, primary_key=True),
    col("chunk_key", Text, primary_key=True),
    col("ordinal", Integer),
    col("state", Text, server_default="pending"),
    col("attempts", Integer, server_default="0"),
    col("rows_written", BigInteger, server_default="0"),
    opt("elapsed_s", REAL),
    opt("error", Text),
    opt("finished_at", Timestamp),
    UniqueConstraint("run_id", "ordinal"),
    CheckConstraint("state IN ('pending','done','failed')", name="state"),
    comment="The parts of a run; each commits its rows and its mark in one transaction",
)

# ---------------------------------------------------------------------------- label sets, models

model = Table(
    "model",
    metadata,
    key("model_id"),
    col("name", Text),
    col("edition", Integer),
    col("status", Text),
    col("preset", Text),
    col("params", JSONB),
    col("params_hash", Text),
    col("seed", BigInteger),
    col("labels", ARRAY(Text)),
    # no foreign key: label_set points here, and a cycle would hinder dumps
    opt("label_set_id", BigInteger),
    ref("sample_id", "sample.sample_id", nullable=True),
    col("recipe", Text),
    col("recipe_version", Integer),
    opt("first_index", Integer),
    opt("n_pixels", Integer),
    opt("metrics", JSONB),
    opt("artifact", LargeBinary),
    opt("sha256", Text),
    opt("versions", JSONB),
    ref("run_id", "job_run.run_id", nullable=True),
    now("created_at"),
    UniqueConstraint("name", "edition"),
    CheckConstraint("status IN ('building','complete')", name="status"),
    comment="Trained networks with everything they were made from",
)

training_member = Table(
    "training_member",
    metadata,
    ref("model_id", "model.model_id", cascade=True, primary_key=True),
    ref("source_id", "source.source_id", primary_key=True),
    ref("star_id", "star.star_id"),
    col("fold", Integer),
    comment="The spectra a model was trained on, with the fold that held each out",
)

training_history = Table(
    "training_history",
    metadata,
    ref("model_id", "model.model_id", cascade=True, primary_key=True),
    col("network", Text, primary_key=True),
    col("fold", Integer, primary_key=True),
    col("training_epoch", Integer, primary_key=True),
    opt("loss", Double),
    opt("val_loss", Double),
    comment="Loss curves",
)

training_checkpoint = Table(
    "training_checkpoint",
    metadata,
    ref("model_id", "model.model_id", cascade=True, primary_key=True),
    col("chunk_key", Text),
    col("state_bytes", LargeBinary),
    comment="Where an unfinished training stands, written with the chunk that made it",
)

label_set = Table(
    "label_set",
    metadata,
    key("label_set_id"),
    col("name", Text),
    col("edition", Integer),
    col("status", Text),
    col("kind", Text),
    opt("inputs_hash", Text),
    ref("run_id", "job_run.run_id", nullable=True),
    ref("model_id", "model.model_id", nullable=True),
    col("description", Text, server_default=""),
    col("params", JSONB, server_default="{}"),
    opt("n_rows", BigInteger),
    now("created_at"),
    opt("published_at", Timestamp),
    UniqueConstraint("name", "edition"),
    CheckConstraint("status IN ('building','complete')", name="status"),
    CheckConstraint("kind IN ('survey','out_of_fold','prediction')", name="kind"),
    comment="Editions of label sets; complete ones never change",
)

stellar_label = Table(
    "stellar_label",
    metadata,
    ref("label_set_id", "label_set.label_set_id", cascade=True, primary_key=True),
    ref("source_id", "source.source_id", primary_key=True),
    *(opt(name, REAL) for label in LABELS for name in (label, error_of(label))),
    col("flags", BigInteger, server_default="0"),
    Index(None, "source_id"),
    comment="Labels: one row per label set and source",
)

unlabelled_source = Table(
    "unlabelled_source",
    metadata,
    ref("label_set_id", "label_set.label_set_id", cascade=True, primary_key=True),
    ref("source_id", "source.source_id", primary_key=True),
    Index(None, "source_id"),
    comment="Sources in the files of an edition of a survey's labels that have no label there",
)

flag_bit = Table(
    "flag_bit",
    metadata,
    col("producer", Text, primary_key=True),
    col("bit", SmallInteger, primary_key=True),
    col("name", Text),
    col("meaning", Text),
    comment="What the bits of stellar_label.flags and normalize_flags mean, per producer",
)

label_set_file = Table(
    "label_set_file",
    metadata,
    ref("label_set_id", "label_set.label_set_id", cascade=True, primary_key=True),
    ref("input_file_id", "input_file.input_file_id", primary_key=True),
    comment="The files that an edition of a label set was made from",
)

prediction_detail = Table(
    "prediction_detail",
    metadata,
    ref("label_set_id", "label_set.label_set_id", cascade=True, primary_key=True),
    ref("source_id", "source.source_id", primary_key=True),
    opt("raw_sigma", ARRAY(REAL)),
    opt("ensemble_std", ARRAY(REAL)),
    opt("chi2", REAL),
    opt("distance", REAL),
    opt("half_width95", ARRAY(REAL)),
    comment="What only networks know about a label row, 1:1; arrays in the order of model.labels",
)
