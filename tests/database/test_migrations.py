"""Migrations: they make what the models say, up and down, with and without rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import factories
import numpy as np
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from astropy import units
from astropy.io.votable.ucd import check_ucd

from catalog.errors import ConfigurationError, ExitCode
from catalog.store import columns, functions, guards, schema, views
from catalog.store.bulk import upsert_arrays
from catalog.store.db import (
    Database,
    alembic_config,
    head_revision,
    open_database,
    require_schema_at_head,
    schema_revision,
    translated_errors,
    upgrade_schema,
)

EVERY_FUNCTION = (*functions.FUNCTIONS, *guards.FUNCTIONS)


@pytest.fixture
def empty(server_url: sa.URL, admin: sa.Engine) -> Iterator[Database]:
    """A database in which nothing is."""
    with admin.connect() as conn:
        conn.execute(sa.text("DROP DATABASE IF EXISTS test_empty WITH (FORCE)"))
        conn.execute(sa.text("CREATE DATABASE test_empty TEMPLATE template0"))
    db = open_database(server_url.set(database="test_empty"))
    yield db
    db.engine.dispose()
    with admin.connect() as conn:
        conn.execute(sa.text("DROP DATABASE test_empty WITH (FORCE)"))


def migrate(db: Database, to: Callable[..., None], revision: str) -> None:
    with db.engine.begin() as conn:
        to(alembic_config(conn), revision)


def things(db: Database) -> set[tuple[str, str]]:
    """Kind and name of everything in the schema, save Alembic's own table."""
    query = """
        SELECT relkind::text, relname::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'alembic%'
        UNION ALL SELECT 'function', proname FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT 'trigger', tgname FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT 'constraint', conname FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic%'"""
    with db.reader() as conn:
        return {tuple(row) for row in conn.execute(sa.text(query))}


def test_there_is_one_head() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [head_revision()]


def test_up_from_nothing_and_down_again(empty: Database) -> None:
    with empty.reader() as conn:
        assert schema_revision(conn) is None
    migrate(empty, command.upgrade, "head")
    require_schema_at_head(empty)
    made = things(empty)
    assert {name for kind, name in made if kind == "r"} == set(schema.metadata.tables)
    migrate(empty, command.upgrade, "head")  # nothing left to do
    assert things(empty) == made
    migrate(empty, command.downgrade, "base")
    assert things(empty) == set()
    migrate(empty, command.upgrade, "head")
    assert things(empty) == made


def test_of_two_upgrades_at_once_one_finds_nothing_to_do(empty: Database) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(upgrade_schema, [empty, empty])
    head = head_revision()
    assert sorted([one, two], key=str) == [(head, head), (None, head)]


def test_a_failing_migration_leaves_nothing_behind(empty: Database) -> None:
    with empty.begin() as conn:
        conn.execute(sa.text("CREATE TABLE stellar_label (mine int)"))  # in the way
    with pytest.raises(sa.exc.ProgrammingError, match=r"already exists"):
        migrate(empty, command.upgrade, "head")
    assert things(empty) == {("r", "stellar_label")}


def test_models_and_migrations_make_the_same_tables(db: Database) -> None:
    options = {"compare_server_default": True, "compare_type": True}
    with db.engine.connect() as conn:
        assert (
            compare_metadata(MigrationContext.configure(conn, opts=options), schema.metadata) == []
        )


def test_check_constraints_and_conditions_of_indexes_are_the_models(db: Database) -> None:
    """Autogenerate looks at neither."""
    with db.engine.connect() as conn:
        rows = conn.execute(sa.text("SELECT conname FROM pg_constraint WHERE contype = 'c'"))
        made = set(rows.scalars())
        conn.execute(sa.text("CREATE SCHEMA twin"))
        conn.execute(sa.text("SET LOCAL search_path = twin"))
        schema.metadata.create_all(conn)
        definitions = """
            SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE contype = 'c' AND connamespace = '{0}'::regnamespace
            UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes
            WHERE schemaname = '{0}' AND tablename NOT LIKE 'alembic%'"""
        found = []
        for name in ("public", "twin"):
            conn.execute(sa.text(f"SET LOCAL search_path = {name}"))
            rows = conn.execute(sa.text(definitions.format(name)))
            found.append({(t, n, d.replace(f"{name}.", "")) for t, n, d in rows})
        conn.rollback()
    assert made
    assert found[0] == found[1]


def test_views_and_functions_are_those_of_the_code(db: Database) -> None:
    """Each is made anew from the code beside the migrated one, and PostgreSQL compares them."""
    with db.engine.connect() as conn:

        def definition(view: str) -> str:
            return conn.scalar(sa.text(f"SELECT pg_get_viewdef('public.{view}'::regclass)"))

        names = conn.execute(sa.text("SELECT viewname FROM pg_views WHERE schemaname = 'public'"))
        assert set(names.scalars()) == {v.name for v in views.VIEWS}
        migrated = {v.name: definition(v.name) for v in views.VIEWS}
        bodies = _functions(conn)
        assert len(bodies) == len(EVERY_FUNCTION)
        triggers = _triggers(conn)
        for view in views.VIEWS:
            conn.exec_driver_sql(view.create.replace("CREATE", "CREATE OR REPLACE", 1))
            assert definition(view.name) == migrated[view.name]
            assert _comment(conn, f"'{view.name}'::regclass", "pg_class") == view.comment
        for function in EVERY_FUNCTION:
            signature = f"{function.name}({function.signature})"
            create = function.create.replace("CREATE", "CREATE OR REPLACE", 1)
            conn.exec_driver_sql(create.strip().replace("%", "%%"))
            assert _comment(conn, f"'{signature}'::regprocedure", "pg_proc") == function.comment
        assert _functions(conn) == bodies
        for trigger in guards.TRIGGERS:
            conn.exec_driver_sql(f"DROP TRIGGER {trigger.name} ON {trigger.table}")
        assert _triggers(conn) == {}
        for trigger in guards.TRIGGERS:
            conn.exec_driver_sql(trigger.create)
        assert _triggers(conn) == triggers
        conn.rollback()


def _functions(conn: sa.Connection) -> dict[str, str]:
    query = """SELECT oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc
               WHERE pronamespace = 'public'::regnamespace"""
    return {row[0]: row[1] for row in conn.execute(sa.text(query))}


def _triggers(conn: sa.Connection) -> dict[str, str]:
    query = "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
    return {row[0]: row[1] for row in conn.execute(sa.text(query))}


def _comment(conn: sa.Connection, oid: str, catalog: str) -> str | None:
    return conn.scalar(sa.text(f"SELECT obj_description({oid}, '{catalog}')"))


def test_every_column_says_what_it_is(db: Database) -> None:
    query = """
        SELECT c.relname, c.relkind::text, obj_description(c.oid), a.attname,
               col_description(c.oid, a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'm')
          AND NOT a.attisdropped AND c.relname <> 'alembic_version'"""
    with db.reader() as conn:
        rows = conn.execute(sa.text(query)).all()
    assert {r.relname for r in rows} == set(schema.metadata.tables) | {v.name for v in views.VIEWS}
    for table, _, about, column, comment in rows:
        assert about, table
        assert column in columns.VOCABULARY, f"{table}.{column}"
        assert comment == columns.VOCABULARY[column].comment, f"{table}.{column}"


@pytest.mark.parametrize("function", functions.FUNCTIONS, ids=lambda f: f.name)
def test_columns_that_functions_return_are_in_the_vocabulary(function: functions.Function) -> None:
    table = re.search(r"RETURNS TABLE \(([^)]*)\)", function.create)
    for field in table.group(1).split(",") if table else ():
        assert field.split()[0] in columns.VOCABULARY


def test_units_and_ucds_are_known_to_the_ivoa() -> None:
    for name, meaning in columns.VOCABULARY.items():
        assert check_ucd(meaning.ucd, check_controlled_vocabulary=True), f"{name}: {meaning.ucd}"
        assert meaning.description, name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        if meaning.unit:
            parsed = units.Unit(meaning.unit, parse_strict="raise")
            assert not isinstance(parsed, units.UnrecognizedUnit), name


def test_down_and_up_with_rows_present(db: Database) -> None:
    with db.begin() as conn:
        stars = factories.add_stars(conn, ["2M00000001+0000001", "2M00000002+0000002"])
        left = factories.add_sources(conn, "apogee", ["a", "b"], star_id=stars)
        right = factories.add_sources(conn, "sdss", ["1-2-3-26", "1-2-4-26"])
        crossmatch = factories.add_matches(conn, left, right)
        factories.add_sample(conn, "clean", crossmatch, left, right, stars)
        teff = {"teff": np.array([4500.0, 5000.0], "f4")}
        factories.add_label_set(conn, "aspcap/dr14", left, teff)
        edition = factories.add_label_set(conn, "sspp/dr12", right, teff)
        file = conn.execute(
            schema.input_file.insert()
            .values(path="f", size=1, sha256="0", kind="spectrum")
            .returning(schema.input_file.c.input_file_id)
        ).scalar_one()
        upsert_arrays(
            conn, schema.spectrum_blob,
            {"source_id": right[:1], "input_file_id": np.array([file]),
             "instrument": np.array([b"SDSS"]), "spectrum_state": np.array([b"empty"])},
        )  # fmt: skip
        run = factories.add_run(conn, target="x")
        conn.execute(schema.job_chunk.insert().values(run_id=run, chunk_key="c", ordinal=0))
        assert edition
    made = things(db)
    migrate(db, command.downgrade, "base")
    assert things(db) == set()
    with pytest.raises(ConfigurationError, match=r"no crosslabel schema yet"):
        require_schema_at_head(db)
    migrate(db, command.upgrade, "head")
    assert things(db) == made
    with db.reader() as conn:
        assert conn.scalar(sa.text("SELECT count(*) FROM stellar_label")) == 0


def test_a_database_that_is_not_at_head_names_the_command(empty: Database) -> None:
    with pytest.raises(ConfigurationError, match=r"Run: crosslabel db upgrade") as caught:
        require_schema_at_head(empty)
    assert caught.value.exit_code == ExitCode.CONFIG == 78


def test_a_database_of_a_newer_version_asks_for_an_update(db: Database) -> None:
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match=r"at 9999.*Update crosslabel") as caught:
        require_schema_at_head(db)
    assert "db upgrade" not in str(caught.value)


def test_an_outdated_database_names_the_command(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this version had one migration more than the database."""
    at = head_revision()
    monkeypatch.setattr("catalog.store.db.head_revision", lambda: "9999")
    with pytest.raises(ConfigurationError, match=rf"at {at}.*needs 9999.*crosslabel db upgrade"):
        require_schema_at_head(db)


def test_a_database_of_another_program_is_left_alone(empty: Database) -> None:
    with empty.begin() as conn:
        conn.execute(sa.text("CREATE TABLE source (theirs int)"))
    with pytest.raises(ConfigurationError, match='of another program: relation "source"'):
        upgrade_schema(empty)
    assert things(empty) == {("r", "source")}


def test_a_newer_schema_is_not_upgraded(db: Database) -> None:
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="Update crosslabel"):
        upgrade_schema(db)


def test_what_a_role_may_not_do_is_said(db: Database) -> None:
    with (
        pytest.raises(ConfigurationError, match="refuses: permission denied for table source"),
        translated_errors(),
        db.begin() as conn,
    ):
        conn.execute(sa.text("SET LOCAL ROLE pg_monitor; DELETE FROM source"))
