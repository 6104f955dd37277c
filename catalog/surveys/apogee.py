"""APOGEE: infrared spectra of giants, whose labels ASPCAP publishes in allStar."""

from __future__ import annotations

from catalog.surveys.survey import Catalog, Detail, Key, OtherName, Ref, Survey

APOGEE = Survey(
    name="apogee",
    title="APOGEE",
    key=Key(
        columns=(
            "survey_key", "apogee_id", "2mass", "2mass_id", "tmass_id", "tmass", "twomass",
            "twomass_id",
        ),
        read=Ref("catalog.files.identifiers:two_mass_id"),
        has_release=True,
        # AP stands for 2M before the numbers of a star that 2MASS does not know.
        others=(OtherName(column="apogee_id", main_only=True, swap=("2M", "AP")),),
    ),
    detail=Detail(
        table="apogee_star",
        is_main="is_primary",
        release="data_release",
        snr="snr",
        radial_velocity="vhelio_avg",
        flags="aspcapflag",
        names=("apogee_id", "target_id", "apstar_id"),
    ),
    catalogs=(
        Catalog(
            kind="apogee",
            product="APOGEE's allStar",
            open=Ref("catalog.surveys.allstar:open_allstar"),
            recognise=Ref("catalog.surveys.release:recognise_allstar"),
            foreign=Ref("catalog.fits.foreign:ALLSTAR"),
            label_set="aspcap",
            description="ASPCAP labels of APOGEE stars, as published in allStar",
            flags=Ref("catalog.flags:aspcap_flag_bits"),
            flag_bits=Ref("catalog.flags:ASPCAPFLAG"),
            flags_title="ASPCAP: ASPCAPFLAG",
            star="apogee_id",
            places=Ref("catalog.archive.places:ALLSTAR"),
            example="survey/allStar-l31c.2.fits --release dr14",
            next_step="crosslabel crossmatch, once the spectra are in as well",
        ),
    ),
    ingest_hint="crosslabel ingest apogee allStar-....fits --release dr14",
    citations=("ASPCAP: García Pérez et al. 2016, AJ 151, 144.",),
)  # fmt: skip
