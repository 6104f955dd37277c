"""The catalog as people use it in a notebook or a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from astropy.table import Table

from catalog.export.query import Params
from catalog.reader.reading import DEFAULT_LIMIT
from catalog.reader.requested import REQUESTS, list_of
from catalog.reader.selections import comparison_says
from catalog.reader.spectrum_methods import SpectrumCatalog
from catalog.reader.tables import read_table
from catalog.store.people import TIMEOUT_S

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord


class Catalog(SpectrumCatalog):
    """A catalog that is open for reading.

    Methods give Astropy tables with units, descriptions and UCDs (``column.meta["ucd"]``). What is
    NULL is masked, with NaN under the mask (columns without NULL are plain, and the functions of
    ``numpy.ma`` take both); identifiers beyond 64 bits with sign (``specobjid``)
    are exact, as text; times are UTC. ``table.meta`` says what the rows are and what they were
    made from, ``table.to_pandas()`` gives a data frame and ``QTable(table)`` quantities.

    A table has at most ``limit`` rows, 100,000 if not said; where there are more, a `LimitWarning`
    says how many. ``limit=None`` gives all, `iterate` all in blocks.
    """

    def label_sets(self, *, all_editions: bool = False) -> Table:
        """Label sets: name, edition, kind, number of rows, model; the newest editions or all."""
        return self._table("label_sets", None, all_editions=all_editions)

    def samples(self) -> Table:
        """Samples: name, preset, crossmatch with radius [arcsec], spectra and stars accepted."""
        return self._table("samples", None)

    def models(self, *, all_editions: bool = False) -> Table:
        """Trained models: name, edition, preset, labels, what they learned from."""
        return self._table("models", None, all_editions=all_editions)

    def cone(
        self,
        ra: float | SkyCoord,
        dec: float | None = None,
        *,
        radius: Any = None,
        radius_arcsec: float | None = None,
        survey: str | None = None,
        limit: int | None = DEFAULT_LIMIT,
    ) -> Table:
        """Return sources around a position, the nearest first.

        Parameters
        ----------
        ra, dec : float, Angle or Quantity
            ICRS position; plain numbers are degrees. Or a single ``SkyCoord`` in place of both.
        radius : Quantity or Angle
            Largest great-circle distance, inclusive; up to 180 degrees.
        radius_arcsec : float
            The same as a number [arcsec].
        survey : str, optional
            ``apogee``, ``sdss`` or ``lamost`` only.
        limit : int or None
            Largest number of rows; None: all.

        Returns
        -------
        Table
            Survey and key of each source, position [deg], ``distance_arcsec``, APOGEE's name, H
            magnitude and S/N, SDSS's plate, MJD, fibre, specObjID, and its spectrum's S/N.
        """
        return self._table(
            "cone", limit, ra, dec, radius=radius, radius_arcsec=radius_arcsec, survey=survey
        )

    def stars(
        self,
        sample: str | None = None,
        *,
        where: str | None = None,
        params: Params = None,
        limit: int | None = DEFAULT_LIMIT,
    ) -> Table:
        """Physical stars: main APOGEE entry of the newest release, number of optical spectra.

        Parameters
        ----------
        sample : str, optional
            Only the stars of this sample; ``n_spectra`` then counts its spectra.
        where : str, optional
            Condition in SQL on the columns of the table, such as ``"h < 10 AND n_spectra > 1"``.
        params : mapping or sequence, optional
            What ``%(name)s`` or ``%s`` in ``where`` stand for.
        limit : int or None
            Largest number of rows; None: all.
        """
        return self._table("stars", limit, sample, where=where, params=params)

    def labels(
        self,
        name: str,
        *,
        sample: str | None = None,
        where: str | None = None,
        params: Params = None,
        columns: Sequence[str] | None = None,
        limit: int | None = DEFAULT_LIMIT,
    ) -> Table:
        """Return labels of one label set, with their errors and flags.

        Parameters
        ----------
        name : str
            Such as ``aspcap/dr14`` (newest edition) or ``aspcap/dr14@1``.
        sample : str, optional
            Only sources of this sample's accepted pairs.
        where : str, optional
            Condition in SQL on the columns of the table, such as ``"teff < 4500 AND flags = 0"``.
        params : mapping or sequence, optional
            What ``%(name)s`` or ``%s`` in ``where`` stand for.
        columns : sequence of str, optional
            Only these columns.
        limit : int or None
            Largest number of rows; None: all.

        Returns
        -------
        Table
            Keys and positions of the sources, labels that the set has (``teff`` [K], the others
            [dex]), errors ``<label>_err``, ``flags``, whose bits ``meta["notes"]`` explains.

        Raises
        ------
        UsageError
            If there is no such label set, sample or column; the message names those that exist.
        """
        return self._table(
            "labels", limit, name, sample=sample, where=where, params=params, columns=columns
        )

    def matches(
        self,
        sample: str | None = None,
        *,
        rejected: bool = False,
        limit: int | None = DEFAULT_LIMIT,
    ) -> Table:
        """Return pairs of an APOGEE entry (left) and an optical spectrum (right).

        Parameters
        ----------
        sample : str, optional
            Pairs that this sample accepts, with the labels by which it was selected; all mutual
            nearest pairs of the crossmatches if not given.
        rejected : bool
            All candidate pairs of the sample, with ``accepted`` and the ``reason`` that rejects.
        limit : int or None
            Largest number of rows; None: all.
        """
        return self._table("matches", limit, sample, rejected=rejected)

    def compare(self, ref: str, tests: str | Sequence[str], sample: str | None = None) -> Table:
        """Bias and scatter of label sets against a reference, as ``crosslabel compare`` has them.

        Only stars that all of the sets label take part, and never those that a network was
        trained on. Errors of the numbers, from resampled stars, are printed by the command.

        Parameters
        ----------
        ref : str
            Reference label set; differences are test minus reference.
        tests : str or sequence of str
            What to compare with it.
        sample : str, optional
            Use this sample's pairs; all mutual nearest pairs if not given.

        Returns
        -------
        Table
            A row per label and set: ``bias`` (median) and ``sigma_mad`` (1.4826 MAD), the
            notebook's ``seed_bias`` and ``seed_scatter``, ``mae``, in the ``unit`` of the label.
            ``meta["notes"]`` says what was left out.
        """
        with self._reading() as conn:
            table, _ = read_table(conn, REQUESTS["compare"](conn, ref, tests, sample), None)
            labels = set(table["label"].tolist())
            table.meta["notes"] = comparison_says(conn, ref, list_of(tests), sample, labels)
        return table

    def differences(
        self,
        ref: str,
        tests: str | Sequence[str],
        sample: str | None = None,
        *,
        label: str | None = None,
        limit: int | None = DEFAULT_LIMIT,
    ) -> Table:
        """Return the stars behind `compare`: values of both sets, difference, combined error.

        Parameters
        ----------
        ref, tests, sample
            As in `compare`.
        label : str, optional
            Only this label; the values then have its unit.
        limit : int or None
            Largest number of rows; None: all.
        """
        return self._table("differences", limit, ref, tests, sample, label=label)

    def sql(
        self,
        query: str,
        params: Params = None,
        *,
        limit: int | None = DEFAULT_LIMIT,
        timeout_s: float = TIMEOUT_S,
    ) -> Table:
        """Return the rows of a SELECT, in its own order; nothing can be written.

        Columns that are named as in the catalog come with unit and description.

        Parameters
        ----------
        query : str
            One SELECT; ``docs/schema.md`` lists tables, views and functions.
        params : mapping or sequence, optional
            What ``%(name)s`` or ``%s`` in the query stand for; never paste values into the text.
        limit : int or None
            Largest number of rows; None: all.
        timeout_s : float
            Seconds after which the server gives up.

        Raises
        ------
        UsageError
            If it is no single SELECT, names what does not exist, would write, or takes too long.

        Examples
        --------
        >>> cat.sql("SELECT survey_key, h FROM source JOIN apogee_star USING (source_id) "
        ...         "WHERE h < %(faintest)s", {"faintest": 8.0})  # doctest: +SKIP
        """
        return self._table("sql", limit, query, params, timeout_s=timeout_s)
