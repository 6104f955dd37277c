"""LAMOST: low-resolution optical spectra; labels of them come as anyone's tables do."""

from __future__ import annotations

from catalog.surveys.survey import Instrument, Key, Ref, SpectrumFormat, Survey

LAMOST = Survey(
    name="lamost",
    title="LAMOST",
    key=Key(columns=("survey_key", "obsid")),
    spectra=(
        SpectrumFormat(
            files="LAMOST spec-*.fits",
            recognise=Ref("catalog.surveys.lamost_spectrum:is_lamost"),
            read=Ref("catalog.surveys.lamost_spectrum:read_lamost"),
        ),
    ),
    instruments=(Instrument(name="LAMOST", relative_flux=True),),
    ingest_hint="crosslabel ingest spectra FOLDER; or, for SDSS, ingest sspp or ingest specobj",
)
