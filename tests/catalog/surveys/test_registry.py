"""The records of surveys: what they name exists, and no two surveys share a name."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace

import pytest

from catalog.store.entries import entry_rows
from catalog.store.schema import metadata
from catalog.surveys import registry
from catalog.surveys.registry import SURVEYS, all_catalogs, find_catalog, in_words, register
from catalog.surveys.survey import Catalog, Detail, Instrument, Ref, Survey


def refs(record: object) -> list[Ref]:
    """All references of a record and of the records in it."""
    if isinstance(record, Ref):
        return [record]
    if isinstance(record, tuple):
        return [ref for part in record for ref in refs(part)]
    if hasattr(record, "__dataclass_fields__"):
        return [ref for f in fields(record) for ref in refs(getattr(record, f.name))]
    return []


@pytest.mark.parametrize("survey", SURVEYS.values(), ids=lambda survey: survey.name)
def test_what_a_record_names_exists(survey: Survey) -> None:
    found = refs(survey)
    assert found
    assert all(ref.load() is not None for ref in found)
    if survey.detail is None:
        return
    columns = set(metadata.tables[survey.detail.table].columns.keys())
    detail = survey.detail
    roles = (detail.is_main, detail.release, detail.snr, detail.radial_velocity, detail.flags)
    named = {*roles, *detail.names, *detail.of_spectrum, *(o.column for o in survey.key.others)}
    named |= {column for _, column in survey.named_by}
    for catalog in survey.catalogs:
        named |= {catalog.mark, catalog.yields_to, *catalog.columns, *catalog.own}
    assert named - {""} <= columns


def test_a_kind_of_catalog_finds_its_survey() -> None:
    assert {c.kind: survey.name for survey, c in all_catalogs()} == {
        "apogee": "apogee", "sspp": "sdss", "specobj": "sdss",
    }  # fmt: skip
    survey, catalog = find_catalog("sspp")
    assert (survey.title, catalog.label_set) == ("SDSS", "sspp")
    assert in_words(["a"]) == "a"
    assert in_words(["a", "b", "c"]) == "a, b or c"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "sdss"},
        {"catalogs": (Catalog(kind="sspp", product="x", open=Ref("x:x")),)},
        {"catalogs": (Catalog(kind="labels", product="x", open=Ref("x:x")),)},
        {"catalogs": (Catalog(kind="x", product="x", open=Ref("x:x"), label_set="aspcap"),)},
        {"instruments": (Instrument(name="BOSS"),)},
    ],
)
def test_a_survey_cannot_take_the_names_of_another(
    change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "SURVEYS", dict(SURVEYS))
    own = Survey(name="own", title="Own")
    with pytest.raises(ValueError, match="other surveys have these names"):
        register(replace(own, **change))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="without labels need a job"):
        register(replace(own, catalogs=(Catalog(kind="x", product="x", open=Ref("x:x")),)))
    register(own)
    assert registry.SURVEYS["own"] is own
    assert "own" not in SURVEYS


def test_roles_of_several_surveys_are_rows_of_one_query() -> None:
    query = entry_rows(
        [
            Detail(table="a", is_main="best", snr="sn"),
            Detail(table="nothing", names=("x",)),
            Detail(table="b", flags="bits"),
        ]
    )
    assert query == (
        "(SELECT source_id, best AS is_main, NULL::text AS release, sn AS snr, NULL::real AS "
        "radial_velocity, NULL::bigint AS flags FROM a UNION ALL SELECT source_id, NULL::boolean "
        "AS is_main, NULL::text AS release, NULL::real AS snr, NULL::real AS radial_velocity, "
        "bits AS flags FROM b)"
    )


def test_records_load_no_reader() -> None:
    code = (
        "import sys, catalog.surveys.registry; "
        "print([m for m in ('numpy', 'sqlalchemy', 'catalog.fits') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
