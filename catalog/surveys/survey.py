"""The record of a survey: what it is called, how its sources are named, what can be read of it.

Records are data and light: readers and lists of bits are named by where they are defined and are
imported when they are used. So commands, choices and SQL can be made from `SURVEYS`
(`catalog.surveys.registry`) without loading a file format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Ref:
    """An object of a module, imported when it is used.

    Parameters
    ----------
    path : str
        ``module:name``.
    """

    path: str

    def load(self) -> Any:
        """Import the module and return the object."""
        module, _, name = self.path.partition(":")
        return getattr(import_module(module), name)


@dataclass(frozen=True, kw_only=True)
class OtherName:
    """A column of the detail table that also names a source.

    Attributes
    ----------
    column : str
        Name of the column.
    main_only : bool
        Whether the name is that of a star: it then means the main rows of the star only.
    swap : tuple of (str, str) or None
        Two beginnings of the name that mean the same, each tried where the other is not known.
    """

    column: str
    main_only: bool = False
    swap: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Key:
    """The key of a survey: the names of its sources.

    Attributes
    ----------
    columns : tuple of str
        What tables of labels call the column of the key, best first.
    read : Ref
        ``read(cell)``: the one reading of a key, or other name, from a cell of a file.
    has_release : bool
        Whether keys begin with ``release/``, so that each release has sources of its own.
    others : tuple of OtherName
        What else names a source.
    """

    columns: tuple[str, ...] = ("survey_key",)
    read: Ref = Ref("catalog.files.identifiers:plain_id")
    has_release: bool = False
    others: tuple[OtherName, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Detail:
    """The table 1:1 with ``source`` that holds a survey's own columns, and what they mean.

    The columns that are named here have a role, whatever the survey calls them; an empty name
    means that the survey has no such column.

    Attributes
    ----------
    table : str
        Its name in `catalog.store.schema`.
    is_main : str
        Boolean: whether the row is the main one of its star. Without it all rows are.
    release : str
        Data release.
    snr : str
        Signal-to-noise ratio, by which the best row of a star is chosen.
    radial_velocity : str
        Heliocentric radial velocity [km/s].
    flags : str
        Bits of `Catalog.flag_bits` that say how good the labels are.
    names : tuple of str
        Columns of text that name a source or its star.
    of_spectrum : tuple of str
        Columns that a file of a spectrum fills too.
    """

    table: str
    is_main: str = ""
    release: str = ""
    snr: str = ""
    radial_velocity: str = ""
    flags: str = ""
    names: tuple[str, ...] = ()
    of_spectrum: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """A catalog file of a survey that can be ingested.

    Attributes
    ----------
    kind : str
        The word of the commands: ``crosslabel ingest KIND``; also the kind of such input files.
    product : str
        What people call it, such as ``APOGEE's allStar``.
    open : Ref
        ``open(path, release)``: a context manager that gives the open file, a
        `catalog.surveys.formats.CatalogFile`.
    recognise : Ref or None
        ``recognise(table)``: the releases that an open FITS table can be of.
    foreign : Ref or None
        The `catalog.files.magic.Foreign` that other readers refuse such a file as.
    label_set : str
        The first part of the names of its label sets, ``<label_set>/<release>``; empty: no labels.
    description : str
        Of the label sets.
    flags : Ref or None
        ``flags(columns)``: the flag bits of the labels, shape (n,); None: no bits.
    flag_bits : Ref or None
        Bit -> (name, meaning).
    flags_title : str
        What people call the flags, in the documentation.
    star : str
        The column of the rows that names their star; empty where they name none.
    mark : str
        Boolean column of the detail table that is true of the rows that this catalog has.
    yields_to : str
        Mark of a catalog whose positions stay as they are.
    columns : tuple of str
        Columns of the detail table that it has; empty: all of them.
    own : tuple of str
        Columns of the detail table that only this catalog fills.
    places : Ref or None
        Release -> paths in the archive, best first; None where it cannot be fetched.
    fetched : str
        The release that is fetched unless one is named; empty: one must be named.
    size : str
        How large the file is, where that matters.
    example, fetch_example : str
        Arguments of the commands, for their help.
    next_step : str
        What people do after the ingest.
    """

    kind: str
    product: str
    open: Ref
    recognise: Ref | None = None
    foreign: Ref | None = None
    label_set: str = ""
    description: str = ""
    flags: Ref | None = None
    flag_bits: Ref | None = None
    flags_title: str = ""
    star: str = ""
    mark: str = ""
    yields_to: str = ""
    columns: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    places: Ref | None = None
    fetched: str = ""
    size: str = ""
    example: str = "FILE --release RELEASE"
    fetch_example: str = "--release dr17"
    next_step: str = ""


@dataclass(frozen=True, kw_only=True)
class SpectrumFormat:
    """A layout of files with one optical spectrum.

    Attributes
    ----------
    files : str
        What people call the files, such as ``LAMOST spec-*.fits``.
    recognise : Ref or None
        ``recognise(file)``: whether an open `catalog.fits.file.FitsFile` has this layout; None:
        it is read as this where no other layout is recognised.
    read : Ref
        ``read(path)``: the `catalog.surveys.spectrum.SpectrumFile`.
    """

    files: str
    read: Ref
    recognise: Ref | None = None


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """A spectrograph.

    Attributes
    ----------
    name : str
        As `SpectrumFile.instrument` has it.
    relative_flux : bool
        Whether its fluxes are relative: they have no unit.
    sdss_masks : bool
        Whether its mask bits are those of SPPIXMASK (`models.spectra.masks`).
    """

    name: str
    relative_flux: bool = False
    sdss_masks: bool = False


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A survey: all that the rest of crosslabel has to know of it.

    Attributes
    ----------
    name : str
        As ``source.survey`` has it, in lower case.
    title : str
        As people write it.
    key : Key
        How its sources are named.
    detail : Detail or None
        Its own columns; None where it has none.
    catalogs : tuple of Catalog
        What can be ingested; the first one with labels gives those of a sample's stars.
    spectra : tuple of SpectrumFormat
        Files of spectra that can be read.
    instruments : tuple of Instrument
        Its spectrographs.
    ingest_hint : str
        The command that brings in its sources.
    named_by : tuple of (str, str)
        Who else names its sources, in words, and the boolean column of the detail table that says
        so: what they named stays when labels are removed.
    citations : tuple of str
        What to cite, a line each.
    """

    name: str
    title: str
    key: Key = Key()
    detail: Detail | None = None
    catalogs: tuple[Catalog, ...] = ()
    spectra: tuple[SpectrumFormat, ...] = ()
    instruments: tuple[Instrument, ...] = ()
    ingest_hint: str = ""
    named_by: tuple[tuple[str, str], ...] = ()
    citations: tuple[str, ...] = ()

    @property
    def names_stars(self) -> bool:
        """Return True where its rows name stars, so that it can be the reference of a sample."""
        return any(c.star for c in self.catalogs)

    @property
    def label_set(self) -> str:
        """The first part of the names of its own label sets; empty where it has none."""
        return next((c.label_set for c in self.catalogs if c.label_set), "")

    @property
    def read_key(self) -> Callable[[object], str]:
        """The reading of its keys."""
        read: Callable[[object], str] = self.key.read.load()
        return read
