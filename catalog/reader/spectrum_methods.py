"""Methods that give spectra: one as an object, many as matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from catalog.reader.blocks import SpectrumBlock, SpectrumList, list_spectra, read_blocks
from catalog.reader.reading import OpenCatalog
from catalog.reader.spectra import read_spectrum
from catalog.reader.tables import number_of_rows
from catalog.store.grids import RecipeGrid, find_grid

if TYPE_CHECKING:
    from specutils import Spectrum


class SpectrumCatalog(OpenCatalog):
    """The spectra of an open catalog."""

    def spectrum(self, key: str | int, recipe: str | None = None) -> Spectrum:
        """One optical spectrum as a ``specutils.Spectrum``.

        Parameters
        ----------
        key : str or int
            ``plate-mjd-fiber`` (its newest reduction) or ``plate-mjd-fiber-run2d``, any other key
            of a survey as text, a specObjID (text or integer, exact beyond 2^63), or a
            ``source_id`` of this catalog.
        recipe : str, optional
            Normalized by this recipe, such as ``default``; as it was observed if not given.

        Returns
        -------
        Spectrum
            ``spectral_axis`` in vacuum [Angstrom]; ``flux`` [1e-17 erg/s/cm2/Angstrom; LAMOST:
            relative], or over continuum [1]; ``uncertainty`` as inverse variance; ``mask`` is True
            where there is no information. ``meta`` says whose spectrum it is, from which file, in
            which frame; with ``and_mask`` as observed, with ``continuum`` as normalized.

        Raises
        ------
        UsageError
            If there is no such spectrum, several have the name, or it is not normalized.
        """
        grid = None if recipe is None else find_grid(recipe)
        with self._reading() as conn:
            return read_spectrum(conn, key, grid)

    def spectra(
        self, sample: str | None = None, recipe: str | None = None, *, rows: int = 500
    ) -> Iterator[SpectrumBlock]:
        """Optical spectra as matrices, by survey and key, a block at a time.

        Parameters
        ----------
        sample : str, optional
            Those of this sample's accepted pairs; all if not given.
        recipe : str, optional
            Normalized by this recipe; as they were observed if not given. Those that are not
            normalized are left out, with a `LimitWarning`.
        rows : int
            Largest number of spectra in a block: 500 take 15 MB.

        Returns
        -------
        iterator of SpectrumBlock
            All on the same wavelengths, read as the loop goes on.

        Raises
        ------
        UsageError
            If there are none.

        Examples
        --------
        >>> for block in cat.spectra("clean", "default"):
        ...     print(block.survey_key[0], block.flux.shape)  # doctest: +SKIP
        """
        grid = None if recipe is None else find_grid(recipe)
        rows = number_of_rows(rows, 1, "Give the spectra of a block: 1 or more")
        with self._reading() as conn:
            listed = list_spectra(conn, sample, grid, stacklevel=3)
        return self._spectrum_blocks(listed, grid, rows)

    def _spectrum_blocks(
        self, listed: SpectrumList, grid: RecipeGrid | None, rows: int
    ) -> Iterator[SpectrumBlock]:
        """The listed spectra, all from one state of the database."""
        with self._reading() as conn:
            yield from read_blocks(conn, listed, grid, rows)
