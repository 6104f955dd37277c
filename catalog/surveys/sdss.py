"""SDSS: optical spectra of the SDSS and BOSS spectrographs; SSPP labels those of SEGUE."""

from __future__ import annotations

from catalog.surveys.survey import (
    Catalog,
    Detail,
    Instrument,
    Key,
    OtherName,
    Ref,
    SpectrumFormat,
    Survey,
)

_IDENTITY = ("specobjid", "plate", "mjd", "fiberid", "run2d")

SDSS = Survey(
    name="sdss",
    title="SDSS",
    key=Key(
        columns=("survey_key", "specobjid", "specobj_id"),
        read=Ref("catalog.files.identifiers:spectrum_id"),
        others=(OtherName(column="specobjid"),),
    ),
    detail=Detail(table="sdss_spectrum", of_spectrum=_IDENTITY),
    catalogs=(
        Catalog(
            kind="sspp",
            product="SEGUE's ssppOut",
            open=Ref("catalog.surveys.sspp:open_sspp"),
            recognise=Ref("catalog.surveys.release:recognise_sspp"),
            foreign=Ref("catalog.fits.foreign:SSPP"),
            label_set="sspp",
            description="SSPP labels of SDSS spectra, as published in ssppOut",
            flags=Ref("catalog.flags:sspp_row_flags"),
            flag_bits=Ref("catalog.flags:SSPP_FLAG"),
            flags_title="SSPP: the letters of FLAG",
            mark="in_sspp",
            own=(
                "in_sspp", "sspp_flag", "bv", "v_mag", "g_mag", "snr_sspp", "rv_adop",
                "rv_adop_err", "spectype",
            ),
            places=Ref("catalog.archive.places:SSPPOUT"),
            fetched="dr12",
            fetch_example="--release dr12 --to archive",
            example="survey/ssppOut-dr12.fits --release dr12",
            next_step="crosslabel ingest spectra PATHS",
        ),
        Catalog(
            kind="specobj",
            product="SDSS's specObj",
            open=Ref("catalog.surveys.specobj:open_specobj"),
            recognise=Ref("catalog.surveys.release:recognise_specobj"),
            foreign=Ref("catalog.fits.foreign:SPECOBJ"),
            mark="in_specobj",
            yields_to="in_sspp",
            columns=(*_IDENTITY, "is_primary"),
            places=Ref("catalog.archive.places:SPECOBJ"),
            fetched="dr17",
            size="4 to 7 GB",
            fetch_example="--list specobj.txt",
            example="specObj-dr17.fits --release dr17",
        ),
    ),
    spectra=(
        SpectrumFormat(
            files="SDSS and BOSS spec-PLATE-MJD-FIBER.fits",
            read=Ref("catalog.surveys.sdss_spectrum:read_spectrum"),
        ),
    ),
    instruments=(
        Instrument(name="SDSS", sdss_masks=True),
        Instrument(name="BOSS", sdss_masks=True),
    ),
    ingest_hint="crosslabel ingest spectra FOLDER; or, for SDSS, ingest sspp or ingest specobj",
    named_by=(("named by specObj", "in_specobj"), ("named by SkyServer", "in_skyserver")),
    citations=(
        "SSPP: Lee et al. 2008, AJ 136, 2022.",
        "SDSS data release 14: Abolfathi et al. 2018, ApJS 235, 42; for other releases, as "
        "https://www.sdss.org/science/publications/data-release-publications/ says.",
    ),
)  # fmt: skip
