"""Unit, UCD and description of every column, by name.

Names carry meaning: one name means one thing in every table and view. The comments in the
database, the units of FITS exports and the schema page all come from this vocabulary.
UCDs follow the IVOA UCD1+ list; units are VOUnits.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.surveys.registry import SURVEYS, all_instruments, in_words


@dataclass(frozen=True)
class Meaning:
    """Unit (empty: none), UCD and description of a column."""

    unit: str
    ucd: str
    description: str

    @property
    def comment(self) -> str:
        """The comment stored in the database: ``description [unit] (ucd)``."""
        unit = f" [{self.unit}]" if self.unit else ""
        return f"{self.description}{unit} ({self.ucd})"


@dataclass(frozen=True)
class Label(Meaning):
    """A label: a column, what it can be, and how files of others call it and leave it out.

    Attributes
    ----------
    limits : tuple of float
        Smallest and largest value that a star can have; what lies outside is damage.
    measured_in : str
        Its unit in Astropy's spelling, for the reading of declared units (`catalog.files.units`):
        that of log g says of what it is the logarithm.
    missing : tuple of float
        Numbers that stand for no value of this label. (What many surveys write for any quantity,
        such as -9999, is in `catalog.files.missing`, and counts outside the limits only.)
    names : tuple of str
        What else files call it, best first: in lower case, with one ``_`` for all that is no letter
        or digit, so that ``[Fe/H]`` is ``fe_h``.
    """

    limits: tuple[float, float]
    measured_in: str
    missing: tuple[float, ...] = ()
    names: tuple[str, ...] = ()


#: The elements of which ASPCAP gives an abundance relative to iron, as ``<element>_fe``.
ELEMENTS = tuple(
    "c ci n o na mg al si p s k ca ti tiii v cr mn co ni cu ge ce rb y nd yb".split()  # noqa: SIM905
)
_SPECIAL = {"ci": "C (from C I lines)", "tiii": "Ti (from Ti II lines)"}
# Abundances beyond 10 dex are beyond every model grid; -9.99 is how SSPP, LAMOST and others leave
# one out.
_NO_ABUNDANCE = (-9.99, -9.999, -9.9, 9.99, 9.999)


def _abundance(ucd: str, description: str, *names: str) -> Label:
    """Return the label of an abundance."""
    return Label("dex", ucd, description, (-10.0, 10.0), "dex", _NO_ABUNDANCE, names)


LABELS: dict[str, Label] = {
    # The hottest known stars have about 2e5 K.
    "teff": Label(
        "K",
        "phys.temperature.effective",
        "Effective temperature",
        (500.0, 300_000.0),
        "K",
        missing=(0.0, -1.0),
        names=("t_eff", "teff_k", "teff_adop", "teffadop"),
    ),
    # White dwarfs stay below 10.
    "logg": Label(
        "dex",
        "phys.gravity",
        "Surface gravity, log10 of cm/s2",
        (-5.0, 12.0),
        "dex(cm/s2)",
        names=("log_g", "logg_adop", "loggadop"),
    ),
    # DR12 of APOGEE calls the overall abundances PARAM_*, DR10 METALS.
    "m_h": _abundance("phys.abund.Z", "Metallicity [M/H]", "mh", "param_m_h", "metals"),
    "alpha_m": _abundance(
        "phys.abund", "Alpha enhancement [alpha/M]", "alpham", "a_m", "param_alpha_m"
    ),
    "fe_h": _abundance("phys.abund.Fe", "Iron abundance [Fe/H]", "feh", "feh_adop", "fehadop"),
} | {
    f"{e}_fe": _abundance("phys.abund", f"Abundance [{_SPECIAL.get(e, e.title())}/Fe]", f"{e}fe")
    for e in ELEMENTS
}
"""The labels of the catalog: the columns of ``stellar_label`` (and, with ``_err``, their errors)."""


def error_of(label: str) -> str:
    """Return the name of the column that holds a label's error."""
    return f"{label}_err"


#: Statistics of test minus reference in the tables of evaluations; errors end in ``_err``.
STATISTICS = ("bias", "sigma_mad", "mae", "seed_bias", "seed_scatter", "outlier_fraction", "slope")

_TEXT = """
source_id | | meta.id;meta.main | Surrogate key of a source
survey | | meta.id;meta.dataset | Survey of the source: {surveys}
survey_key | | meta.id | Key of the source in its survey
ra | deg | pos.eq.ra;meta.main | Right ascension, ICRS
dec | deg | pos.eq.dec;meta.main | Declination, ICRS
healpix29 | | pos.healpix | HEALPix cell of the position, nested, order 29
epoch | yr | time.epoch | Julian year of the position
pmra | mas/yr | pos.pm;pos.eq.ra | Proper motion in right ascension, times cos(dec)
pmdec | mas/yr | pos.pm;pos.eq.dec | Proper motion in declination
star_id | | meta.id.parent | Surrogate key of the physical star
star_key | | meta.id | Name of the physical star: its 2MASS-style APOGEE_ID
apogee_id | | meta.id | APOGEE_ID: 2MASS-style name of the star
target_id | | meta.id | TARGET_ID: telescope, field and APOGEE_ID
apstar_id | | meta.id | APSTAR_ID: unique name of the combined APOGEE spectrum
data_release | | meta.version | SDSS data release of the row
telescope | | instr.tel | Telescope of the observation
field | | meta.id;obs.field | Name of the field
snr | | stat.snr | Signal-to-noise ratio per pixel of the APOGEE spectrum
vhelio_avg | km/s | spect.dopplerVeloc | Mean heliocentric radial velocity
vscatter | km/s | stat.stdev;spect.dopplerVeloc | Scatter of the visit velocities
nvisits | | meta.number | Number of APOGEE visits
starflag | | meta.code.qual | STARFLAG bits of APOGEE
aspcapflag | | meta.code.qual | ASPCAPFLAG bits of ASPCAP
extratarg | | meta.code | EXTRATARG bits; bit 4 marks duplicates
j | mag | phot.mag;em.IR.J | 2MASS J magnitude
h | mag | phot.mag;em.IR.H | 2MASS H magnitude
k | mag | phot.mag;em.IR.K | 2MASS Ks magnitude
is_primary | | meta.code | Whether this is the survey's main row of the star
specobjid | | meta.id | SDSS specObjID, unsigned 64-bit
plate | | meta.id | SDSS plate number
mjd | d | time.epoch | Modified Julian date of the SDSS spectrum
fiberid | | meta.id | SDSS fibre number
run2d | | meta.version | Version of the SDSS reduction
sspp_flag | | meta.code.qual | SSPP's FLAG: five letters, nnnnn is normal
bv | mag | phot.color;em.opt.B;em.opt.V | B-V colour adopted by SSPP
v_mag | mag | phot.mag;em.opt.V | V magnitude adopted by SSPP
g_mag | mag | phot.mag;em.opt.B | g magnitude used by SSPP
snr_sspp | | stat.snr | Signal-to-noise ratio given by SSPP
rv_adop | km/s | spect.dopplerVeloc | Radial velocity adopted by SSPP
rv_adop_err | km/s | stat.error;spect.dopplerVeloc | Error of rv_adop
spectype | | src.class | Spectral type given by SSPP
in_sspp | | meta.code | Whether the spectrum has a row in an SSPP catalog
in_specobj | | meta.code | Whether the spectrum has a row in specObj
in_skyserver | | meta.code | Whether SkyServer named the spectrum when it was asked about a star
instrument | | instr | Spectrograph: {instruments}
pipeline | | meta.version | Version of the reduction, where it is not part of the key: LAMOST's
class | | src.class | Class of the pipeline: STAR, GALAXY or QSO
subclass | | src.class | Subclass of the pipeline
z | | src.redshift | Redshift of the pipeline
z_err | | stat.error;src.redshift | Error of z
zwarning | | meta.code.qual | ZWARNING bits of the pipeline
sn_median | | stat.snr | Median of flux * sqrt(ivar) over good pixels
bad_fraction | | meta.code.qual;arith.ratio | Fraction of pixels with ivar = 0
spectrum_state | | meta.code.qual | ok, or why there are no usable pixels
first_index | | meta.number | Index of the first pixel on the grid loglam = 3.5 + 1e-4 i
loglam0 | | em.wl | log10 of the first vacuum wavelength in Angstrom
dloglam | | em.wl;spect.binSize | Step of log10 wavelength
n_pixels | | meta.number | Number of pixels
flux | | phot.flux.density;em.wl | Flux, little-endian float32 (spectrum: 1e-17 erg/s/cm2/A; normalized: 1)
ivar | | stat.weight;phot.flux.density | Inverse variance of flux, little-endian float32; 0 is no information
and_mask | | meta.code.qual | Mask bits set in all exposures, little-endian int32
or_mask | | meta.code.qual | Mask bits set in any exposure, little-endian int32
continuum | | phot.flux.density;spect.continuum | Pseudo-continuum, little-endian float32
sha256 | | meta.checksum | SHA-256 of the content
input_file_id | | meta.id.parent | Surrogate key of an input file
path | | meta.id;meta.file | Path of the file when it was read
file_name | | meta.id;meta.file | Name of the file in its folder
size | byte | phys.size;meta.file | Size of the file
kind | | meta.code.class | Kind of the row
release | | meta.version | Data release
n_rows | | meta.number | Number of rows in the file
item_key | | meta.id | Row number, key or file name of the refused item; empty for the whole file
reason_code | | meta.code.error | Why it was refused; the codes are listed in docs/operations.md
outcome | | meta.code.status | matched, none (the archive has nothing) or failed (see reason_code)
url | | meta.ref.url | Address in the archive from which it came
remote_version | | meta.version | What the archive calls this version: ETag or Last-Modified
sha1 | | meta.checksum | SHA-1 that the archive publishes and the file was checked against
fetched_at | | time.processing | When the archive was last asked (UTC)
mtime_ns | ns | time | Modification time of the file, since 1970
ctime_ns | ns | time | Time of the last change of the file's inode, since 1970
content_digest | | meta.checksum | SHA-256 of an input; of an export, digest of what it was made from
definition_sha256 | | meta.checksum | SHA-256 of the statements that make a view, function, trigger or the comments
stamped_at | | time.processing | When this was noted (UTC)
detail | | meta.note | The refusal in words
attempts | | meta.number | How often it was tried
crossmatch_id | | meta.id | Surrogate key of a crossmatch configuration
left_spec | | meta.id | Left catalog: survey or survey/release
right_spec | | meta.id | Right catalog: survey or survey/release
radius_arcsec | arcsec | pos.angDistance | Search radius, inclusive
left_id | | meta.id | Source on the left side of a pair: the reference of the crossmatch
right_id | | meta.id | Source on the right side of a pair: the one with the spectrum
entries | | meta.id | Sources of whose labels one is taken: of the right one, if it has any
sources | | meta.id | Sources whose labels are taken, one per label set; NULL: it has none
label_values | | stat.value | Labels, by label set and in the order of the vocabulary
label_errors | | stat.error | Errors of label_values
is_flagged | | meta.code | Whether a label set flags it (flags is not 0)
trained_by | | meta.number | Place of the first label set whose network was trained on the star
trained_on | | meta.code | Whether a network behind one of the label sets was trained on the star
first_cell | | pos.healpix;stat.min | First cell of a range of healpix29
last_cell | | pos.healpix;stat.max | Last cell of a range of healpix29, inclusive
sep_arcsec | arcsec | pos.angDistance | Great-circle separation of the pair
chunk_order | | meta.number | HEALPix order of the chunks
pixel | | pos.healpix | HEALPix pixel of the chunk, nested
left_key | | meta.id | Key of the left source in its survey
right_key | | meta.id | Key of the right source in its survey
left_survey | | meta.id;meta.dataset | Survey of the left source
right_survey | | meta.id;meta.dataset | Survey of the right source
left_ra | deg | pos.eq.ra | Right ascension of the left source, ICRS
left_dec | deg | pos.eq.dec | Declination of the left source, ICRS
right_ra | deg | pos.eq.ra | Right ascension of the right source, ICRS
right_dec | deg | pos.eq.dec | Declination of the right source, ICRS
left_digest | | meta.checksum | Digest of the left sources of the pixel
right_digest | | meta.checksum | Digest of the right sources of the pixel and its neighbours
sample_id | | meta.id | Surrogate key of a sample
name | | meta.id | Name
preset | | meta.id | Preset that made it
params | | meta.note | Parameters as JSON
counts | | meta.number | Counts from file to sample, as JSON
accepted | | meta.code | Whether the pair is in the sample
reason | | meta.code.qual | First reason that rejects the pair; NULL if accepted
label_distance | | stat.value;arith.diff | Distance in labels and position of the preset seed-2018
recipe | | meta.id | Recipe of the normalization
recipe_version | | meta.version | Version of the recipe
spectrum_sha256 | | meta.checksum | Checksum of the spectrum that was normalized
normalize_flags | | meta.code.qual | Bits of the normalization (table flag_bit, producer normalize)
good_fraction | | stat.value;arith.ratio | Fraction of the recipe's pixels that carry information
label_set_id | | meta.id | Surrogate key of an edition of a label set
edition | | meta.version | Edition: 1, 2, 3...
status | | meta.code.status | building or complete
inputs_hash | | meta.checksum | Digest of what the edition was made from
description | | meta.note | In words
flags | | meta.code.qual | Bits of the producer (table flag_bit)
flags_left | | meta.code.qual | Bits of the label set on the left (table flag_bit)
flags_right | | meta.code.qual | Bits of the label set on the right (table flag_bit)
producer | | meta.id | Who sets the bit
bit | | meta.number | Bit number, from 0
meaning | | meta.note | What the bit means
model_id | | meta.id | Surrogate key of a model
labels | | meta.note | Names of the labels, in order
seed | | meta.number | Seed of the random numbers
metrics | | stat | Scores as JSON
artifact | | meta.id;meta.file | The model itself: a portable file without pickle
versions | | meta.version;meta.software | Versions of the software, as JSON
fold | | meta.number | Fold in which the row was held out; -1 the validation run, -2 the final fit
network | | meta.id | forward (spectrum to labels) or reverse (labels to spectrum)
training_epoch | | meta.number | Epoch of the training, from 1
loss | | stat.fit.residual | Training loss, in the preset's units
val_loss | | stat.fit.residual | Loss on held-out stars, in the preset's units
state_bytes | | meta.id;meta.file | Everything the next chunk of the training needs, as npz
chunk_key | | meta.id | Key of the chunk
ensemble_spread | | stat.stdev | Relative spread of the ensemble: largest over labels of spread / error
chi2 | | stat.fit.chi2 | Reduced chi-square of the spectrum given the prediction
distance | | stat | Distance of the spectrum from the training spectra
raw_sigma | | stat.error | Errors before calibration, one per label of the model
half_width95 | | stat.error | Half width of the interval of 95%, one per label of the model
ensemble_std | | stat.stdev | Standard deviation over the ensemble, one per label of the model
run_id | | meta.id | Surrogate key of a run
target | | meta.id | What the run writes; the lock is on it
params_hash | | meta.checksum | Digest of everything that changes the answer
code_version | | meta.version;meta.software | Version of crosslabel
state | | meta.code.status | State in the ledger
host | | meta.id | Host of the process
pid | | meta.id | Process
error | | meta.note | What went wrong
ordinal | | meta.number | Order of the chunk
rows_written | | meta.number | Rows inserted, changed or deleted
elapsed_s | s | time.duration | Time spent
created_at | | time.creation | When it was made (UTC)
published_at | | time.release | When it was published (UTC)
ingested_at | | time.processing | When it was read (UTC)
first_seen | | time.processing | When it was first refused (UTC)
started_at | | time.start | Start (UTC)
heartbeat_at | | time.processing | Last sign of life (UTC)
finished_at | | time.end | End (UTC)
n_in_radius | | meta.number | Candidates of the left source within the radius
left_rank | | stat.rank | Rank of the right source among the left one's candidates, by separation
right_rank | | stat.rank | Rank of the left source among the right one's candidates, by separation
label | | meta.id | Name of a label
unit | | meta.unit | Unit of the value
value | | stat.value | Value of the label
err | | stat.error | Error of the value
label_set | | meta.id | Label set with its edition
ref_set | | meta.id | Reference label set with its edition
test_set | | meta.id | Compared label set with its edition
ref_value | | stat.value | Value in the reference set
test_value | | stat.value | Value in the compared set
delta | | stat.value;arith.diff | Compared value minus reference value
delta_err | | stat.error;arith.diff | Combined error of the difference
n | | meta.number | Number of spectra
n_stars | | meta.number | Number of different stars among them
n_flagged | | meta.number | Number of them that a label set flags (flags is not 0)
n_spectra | | meta.number | Number of optical spectra
distance_arcsec | arcsec | pos.angDistance | Great-circle distance from the position that was asked for
model | | meta.id | Model with its edition
simulated | | meta.code | Whether nobody measured what it rests on
bias | | stat.value;stat.median | Median difference
bias_err | | stat.error;stat.median | Error of bias, from resampled stars
sigma_mad | | stat.stdev;arith.diff | Robust scatter: 1.4826 times the median absolute deviation
sigma_mad_err | | stat.error;arith.diff | Error of sigma_mad, from resampled stars
seed_bias | | stat.value;stat.mean | The notebook's bias: mean difference
seed_scatter | | stat.value;stat.mean | The notebook's scatter: mean absolute deviation about the mean
seed_bias_err | | stat.error;stat.mean | Error of seed_bias, from resampled stars
seed_scatter_err | | stat.error;stat.mean | Error of seed_scatter, from resampled stars
mae | | stat.value;stat.mean | Mean absolute difference
mae_err | | stat.error;stat.mean | Error of mae, from resampled stars
outlier_fraction | | stat.value;arith.ratio | Fraction farther than 3 sigma_mad from the bias
outlier_fraction_err | | stat.error;arith.ratio | Error of outlier_fraction, from resampled stars
slope | | stat.fit.param | Slope of compared on reference values, outliers clipped
slope_err | | stat.error;stat.fit.param | Error of slope, from resampled stars
sigma_mad_diff | | stat.value;arith.diff | sigma_mad minus that of the first set on the same spectra
sigma_mad_diff_err | | stat.error;arith.diff | Its error, from the same resampled stars for both
mae_diff | | stat.value;arith.diff | mae minus that of the first set on the same spectra
mae_diff_err | | stat.error;arith.diff | Its error, from the same resampled stars for both
evaluation_id | | meta.id | Surrogate key of an evaluation
test_sets | | meta.note | Compared label sets with their editions, in order
sample | | meta.id | Name of the sample that has the pairs; NULL: all mutual nearest pairs
settings | | meta.note | Edges of the bins, number and seed of the resamplings, as JSON
note | | meta.note | What people should know of a file that was read all the same
notes | | meta.note | What must be known to read the numbers
population | | meta.code.class | all, or giants (reference log g below 3.5) or dwarfs
bin_by | | meta.id | What the spectra are binned by: all (not at all), snr, or a label of the reference
bin | | meta.number | Number of the bin, from 0
bin_low | | stat.value;stat.min | Lower edge of the bin, inclusive; NULL: none
bin_high | | stat.value;stat.max | Upper edge of the bin, exclusive; NULL: none
n_sigma | | meta.number | Number of spectra whose label in the compared set has an error
coverage68 | | stat.value;arith.ratio | Fraction within the combined error; 0.683 if errors are right
coverage95 | | stat.value;arith.ratio | Fraction within the interval of 95%; 0.95 if errors are right
raw_coverage68 | | stat.value;arith.ratio | coverage68 with the errors before calibration
raw_coverage95 | | stat.value;arith.ratio | coverage95 with the errors before calibration
n_pairs | | meta.number | Number of pairs of spectra of one star
repeat_sigma | | stat.stdev;arith.diff | Robust scatter between spectra of one star, over sqrt 2
repeat_sigma_err | | stat.error;arith.diff | Error of repeat_sigma, from resampled stars
predicted_sigma | | stat.error;stat.median | Median error that the compared set states for those spectra
training_stars | | meta.number | Stars that each fold was trained on
scan_id | | meta.id | Surrogate key of a scan
trial | | meta.number | Number of the trial in the scan, from 0
trial_state | | meta.code.status | open, done or failed
trial_settings | | meta.note | Settings that were varied, as JSON
best_settings | | meta.note | Settings with the least mean loss on inner validation stars, as JSON
best_loss | | stat.fit.residual | Mean inner_loss of best_settings
n_trials | | meta.number | Number of trials that the folds chose among
inner_loss | | stat.fit.residual | Mean error of the validation stars within a fold's training part, in scaled labels
outer_loss | | stat.fit.residual | Mean error of the stars that the fold held out, in scaled labels
failure | | meta.note | Why it failed; NULL if it did not
pull_sigma | | stat.stdev;arith.ratio | Robust scatter of delta over its combined error
chunks | | meta.number | Number of chunks
chunks_done | | meta.number | Chunks done
chunks_failed | | meta.number | Chunks failed
"""


def _vocabulary() -> dict[str, Meaning]:
    """Return the lines above, with the labels and their errors."""
    table: dict[str, Meaning] = dict(LABELS)
    for label, of in LABELS.items():
        table[error_of(label)] = Meaning(of.unit, f"stat.error;{of.ucd}", f"Error of {label}")
        for side in ("left", "right"):  # of the function pairs
            name = f"{label}_{side}"
            about = f"{label} in the label set on the {side}"
            table[name] = Meaning(of.unit, of.ucd, about)
            table[error_of(name)] = Meaning(of.unit, f"stat.error;{of.ucd}", f"Error of {name}")
    known = {
        "{surveys}": in_words(list(SURVEYS)), "{instruments}": in_words(list(all_instruments())),
    }  # fmt: skip
    text = _TEXT.strip()
    for place, words in known.items():
        text = text.replace(place, words)
    for line in text.splitlines():
        name, unit, ucd, description = (part.strip() for part in line.split("|"))
        table[name] = Meaning(unit, ucd, description)
    return table


VOCABULARY: dict[str, Meaning] = _vocabulary()
