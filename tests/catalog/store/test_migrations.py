"""Upgrades: migrations make the tables of the models, the code makes all the rest."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from astropy import units
from astropy.io.votable.ucd import check_ucd

from catalog.errors import ConfigurationError, ExitCode, LockedError
from catalog.store import (
    columns,
    derived,
    functions,
    schema,
    upgrade,
    views,
)
from catalog.store import (
    immutability_triggers as triggers,
)
from catalog.store.db import Database, open_database
from catalog.store.head import REVISIONS, head_revision, require_schema_at_head, schema_revision
from catalog.store.immutability_triggers import Trigger
from catalog.store.server_errors import translated_errors
from catalog.store.sql_function import Function
from catalog.store.upgrade import Upgrade, alembic_config, upgrade_schema
from catalog.store.views import View
from tests.support import factories

EVERY_FUNCTION = (*functions.FUNCTIONS, *triggers.FUNCTIONS)
Monkey = pytest.MonkeyPatch


@pytest.fixture
def empty(server_url: sa.URL, admin: sa.Engine) -> Iterator[Database]:
    """A database in which nothing is."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with admin.connect() as conn:
        conn.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE template0'))
    db = open_database(server_url.set(database=name))
    yield db
    db.engine.dispose()
    with admin.connect() as conn:
        conn.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
def other(db: Database) -> Iterator[Database]:
    """The same database with connections of its own, as another program has them."""
    second = open_database(db.engine.url)
    yield second
    second.engine.dispose()


@pytest.fixture
def code(monkeypatch: Monkey) -> Monkey:
    """What the code defines may be changed for a test."""
    return monkeypatch


def change_views(code: Monkey, *changed: View, without: str = "") -> None:
    """As if this version had other views: changed or new ones, and one less."""
    new = {v.name: v for v in (*views.VIEWS, *changed)}
    new.pop(without, None)
    code.setattr(views, "VIEWS", tuple(new.values()))


def run(db: Database, *statements: str) -> None:
    with db.begin() as conn:
        for statement in statements:
            conn.exec_driver_sql(statement)


def one(db: Database, query: str) -> object:
    with db.reader() as conn:
        return conn.scalar(sa.text(query))


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


# --------------------------------------------------------------------------- tables


def test_revisions_are_those_of_the_migrations() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    assert [s.revision for s in script.walk_revisions()] == list(reversed(REVISIONS))
    assert all(len(r) <= 32 for r in REVISIONS)  # the width of Alembic's column
    assert head_revision() == script.get_current_head()


def test_migrations_hold_tables_and_indexes_only(empty: Database) -> None:
    with empty.begin() as conn:
        upgrade.command.upgrade(alembic_config(conn), "head")
    kinds = {kind for kind, _ in things(empty)}
    assert kinds == {"r", "i", "S", "constraint"}
    assert one(empty, "SELECT count(*) FROM pg_description WHERE objoid IN (SELECT oid FROM "
               "pg_class WHERE relnamespace = 'public'::regnamespace)") == 0  # fmt: skip


def test_up_from_nothing_and_again(empty: Database) -> None:
    with empty.reader() as conn:
        assert schema_revision(conn) is None
    done = upgrade_schema(empty)
    assert (done.before, done.after) == (None, head_revision())
    require_schema_at_head(empty)
    made = things(empty)
    assert {name for kind, name in made if kind == "r"} == set(schema.metadata.tables)
    assert upgrade_schema(empty) == Upgrade(head_revision(), head_revision())
    assert things(empty) == made


def test_of_two_upgrades_at_once_one_finds_nothing_to_do(empty: Database) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(upgrade_schema, [empty, empty]))
    head = head_revision()
    assert sorted((d.before or "", d.after, bool(d.remade)) for d in both) == [
        ("", head, True), (head, head, False)
    ]  # fmt: skip


def test_a_failing_upgrade_leaves_nothing_behind(empty: Database, code: Monkey) -> None:
    change_views(code, View("wrong", "SELECT 1 / nonsense AS n FROM source", "Wrong"))
    with pytest.raises(sa.exc.ProgrammingError, match="nonsense"):
        upgrade_schema(empty)
    assert things(empty) == set()


def test_models_and_migrations_make_the_same_tables(db: Database) -> None:
    """Comments too: these are set after the migrations."""
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


# --------------------------------------------------------------------------- what is derived


def test_the_database_has_the_objects_of_the_code_and_no_others(db: Database) -> None:
    found = things(db)
    assert {n for kind, n in found if kind == "v"} == {v.name for v in views.VIEWS}
    assert {n for kind, n in found if kind == "function"} == {f.name for f in EVERY_FUNCTION}
    assert {n for kind, n in found if kind == "trigger"} == {t.name for t in triggers.TRIGGERS}
    for function in EVERY_FUNCTION:
        assert one(db, f"SELECT obj_description('{function.name}({function.signature})'"
                   "::regprocedure, 'pg_proc')") == function.comment  # fmt: skip
    assert all(d.create.startswith("CREATE OR REPLACE ") for d in derived.derived_objects())


def test_a_new_label_gets_its_columns_and_an_old_one_keeps_them(db: Database, code: Monkey) -> None:
    def stellar_label_columns() -> set[str]:
        query = """SELECT attname::text FROM pg_attribute
                   WHERE attrelid = 'stellar_label'::regclass AND attnum > 0"""
        with db.reader() as conn:
            return set(conn.execute(sa.text(query)).scalars())

    before = stellar_label_columns()
    speed = columns.Label("km/s", "phys.veloc.rotat", "Rotation", (0.0, 1e3), "km/s")
    with code.context() as newer:
        newer.setitem(columns.LABELS, "v_sini", speed)
        for name in ("v_sini", "v_sini_err"):
            newer.setitem(columns.VOCABULARY, name, speed)
        with pytest.raises(ConfigurationError, match="columns labels"):
            require_schema_at_head(db)
        assert set(upgrade_schema(db).remade) == {"columns labels", "comments all"}
        require_schema_at_head(db)
        assert stellar_label_columns() == before | {"v_sini", "v_sini_err"}
        assert upgrade_schema(db).remade == ()
    upgrade_schema(db)
    assert stellar_label_columns() == before | {"v_sini", "v_sini_err"}


def test_what_is_at_head_is_not_touched(db: Database, other: Database) -> None:
    """Nothing is locked: an upgrade does not wait for a session that holds every view and table."""

    def written() -> object:
        return one(db, "SELECT count(*) || max(xmin::text) FROM derived_object")

    before = written()
    names = ", ".join((*schema.metadata.tables, *(v.name for v in views.VIEWS)))
    with other.begin() as conn:
        conn.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
        conn.exec_driver_sql("LOCK TABLE stellar_label IN ROW EXCLUSIVE MODE")
        assert upgrade_schema(db).remade == ()
    assert written() == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE derived_object SET definition_sha256 = 'x' WHERE name = 'best_match'",
        "DROP VIEW best_match CASCADE",
        "DROP TRIGGER keep_model ON model",
        "ALTER TABLE stellar_label DISABLE TRIGGER guard_stellar_label_insert_new",
        "DROP FUNCTION compare_label_sets",
        "DELETE FROM derived_object WHERE kind = 'comments'",
        "DELETE FROM derived_object WHERE kind = 'trigger'",
    ],
)
def test_what_differs_is_said_and_mended(db: Database, damage: str) -> None:
    made = things(db)
    run(db, damage)
    if "DELETE" in damage and "trigger" in damage:
        run(db, *(f"DROP TRIGGER {t.name} ON {t.table}" for t in triggers.TRIGGERS))
    with pytest.raises(ConfigurationError, match=r"crosslabel db upgrade") as caught:
        require_schema_at_head(db)
    assert caught.value.exit_code == ExitCode.CONFIG
    done = upgrade_schema(db)
    assert done.before == done.after
    assert done.remade
    require_schema_at_head(db)
    assert things(db) == made
    assert one(db, "SELECT bool_and(tgenabled = 'O') FROM pg_trigger WHERE NOT tgisinternal")


def test_only_what_changed_is_made_again(db: Database, code: Monkey) -> None:
    def ids() -> dict[str, tuple[object, ...]]:
        query = "SELECT relname, oid, xmin::text FROM pg_class WHERE relkind = 'v'"
        with db.reader() as conn:
            return {r[0]: tuple(r[1:]) for r in conn.execute(sa.text(query))}

    before = ids()
    query = views.JOB_PROGRESS.query.replace("GROUP BY", "WHERE r.run_id > 0 GROUP BY")
    change_views(code, View("job_progress", query, views.JOB_PROGRESS.comment))
    assert upgrade_schema(db).remade == ("view job_progress",)
    after = ids()
    assert before["job_progress"][0] == after["job_progress"][0]  # replaced in place
    assert {n for n in before if before[n] != after[n]} <= {"job_progress"}
    assert "run_id > 0" in str(one(db, "SELECT pg_get_viewdef('job_progress'::regclass)"))


def fewer_columns(view: View, column: str) -> View:
    """The view without a column, which CREATE OR REPLACE refuses."""
    assert f", {column}" in view.query
    return View(view.name, view.query.replace(f", {column}", "", 1), view.comment)


def test_a_view_of_another_shape_is_made_again_with_its_dependents(db, code) -> None:
    """`label_comparison` stands on `best_match`; a new column in front is another shape."""
    query = "SELECT 1 AS n, * FROM (" + views.BEST_MATCH.query + ") b"
    change_views(code, View("best_match", query, "With a number"))
    with db.reader() as conn:
        (before,) = conn.execute(sa.text("SELECT 'label_comparison'::regclass::oid")).scalars()
    code.setitem(columns.VOCABULARY, "n", columns.VOCABULARY["n_rows"])
    assert "view best_match" in upgrade_schema(db).remade
    require_schema_at_head(db)
    assert one(db, "SELECT count(n) FROM best_match") == 0
    assert one(db, "SELECT 'label_comparison'::regclass::oid") != before
    assert one(db, "SELECT obj_description('label_comparison'::regclass)") == (
        views.LABEL_COMPARISON.comment
    )


@pytest.mark.usefixtures("superuser")
def test_grants_and_owners_survive(db: Database, code: Monkey) -> None:
    run(
        db, "DROP ROLE IF EXISTS colleague", "DROP ROLE IF EXISTS boss",
        "CREATE ROLE colleague", "CREATE ROLE boss",
        "GRANT SELECT ON current_label_set TO colleague WITH GRANT OPTION",
        "GRANT SELECT (kind), UPDATE (name) ON current_label_set TO PUBLIC",
        "GRANT SELECT ON stellar_label_long TO colleague",
        "ALTER VIEW stellar_label_long OWNER TO boss",
        "REVOKE EXECUTE ON FUNCTION sample_id_of(text) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION sample_id_of(text) TO colleague",
    )  # fmt: skip
    query = """
        SELECT c.relname, pg_get_userbyid(c.relowner), a.attname,
               ARRAY(SELECT unnest(c.relacl)::text ORDER BY 1)::text, a.attacl::text
        FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v'
        UNION ALL
        SELECT oid::regprocedure::text, pg_get_userbyid(proowner), NULL,
               ARRAY(SELECT unnest(proacl)::text ORDER BY 1)::text, NULL
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace"""

    def rights() -> set[tuple[object, ...]]:
        with db.reader() as conn:
            return {tuple(r) for r in conn.execute(sa.text(query))}

    def ids() -> tuple[object, object]:
        return (one(db, "SELECT 'stellar_label_long'::regclass::oid"),
                one(db, "SELECT 'sample_id_of(text)'::regprocedure::oid"))  # fmt: skip

    before, old = rights(), ids()
    try:
        slimmer = fewer_columns(views.CURRENT_LABEL_SET, "published_at")
        change_views(code, slimmer)
        named = functions.SAMPLE_ID_OF.create.replace("sample_name", "the_name")
        changed = Function("sample_id_of", "text", named, functions.SAMPLE_ID_OF.comment)
        code.setattr(functions, "FUNCTIONS", (changed, *(
            f for f in functions.FUNCTIONS if f.name != "sample_id_of")))  # fmt: skip
        upgrade_schema(db)
        new = ids()
        assert old[0] != new[0]  # both were dropped: one for its columns, one for its arguments
        assert old[1] != new[1]
        assert rights() == before
    finally:
        run(db, "DROP OWNED BY colleague, boss CASCADE", "DROP ROLE colleague", "DROP ROLE boss")


def test_views_of_people_stop_the_upgrade_and_are_named(db: Database, code: Monkey) -> None:
    run(
        db, "CREATE VIEW mine AS SELECT name, published_at FROM current_label_set",
        "CREATE VIEW mine_too AS SELECT * FROM mine",
    )  # fmt: skip
    before = things(db)
    change_views(code, fewer_columns(views.CURRENT_LABEL_SET, "published_at"))
    with pytest.raises(ConfigurationError, match=r"view mine depends .* view mine_too"):
        upgrade_schema(db)
    assert things(db) == before
    assert one(db, "SELECT count(published_at) FROM current_label_set") == 0  # as it was
    run(db, "DROP VIEW mine_too, mine")
    upgrade_schema(db)
    require_schema_at_head(db)


def test_views_of_people_on_what_is_replaced_stay(db: Database, code: Monkey) -> None:
    run(db, "CREATE VIEW mine AS SELECT name, published_at FROM current_label_set")
    query = views.CURRENT_LABEL_SET.query.replace("AS label_set\n", "AS label_set, params\n")
    change_views(code, View("current_label_set", query, "With parameters"))
    upgrade_schema(db)
    assert one(db, "SELECT count(*) FROM mine") == 0
    assert one(db, "SELECT count(params) FROM current_label_set") == 0


def test_what_the_code_no_longer_has_goes_and_what_others_made_stays(db, code) -> None:
    run(db, "CREATE VIEW mine AS SELECT 1 AS n", "CREATE FUNCTION mine() RETURNS int "
        "LANGUAGE sql AS 'SELECT 1'", "CREATE TRIGGER mine BEFORE TRUNCATE ON star "
        "EXECUTE FUNCTION refuse_truncate_of_complete()")  # fmt: skip
    kept = {("v", "mine"), ("function", "mine"), ("trigger", "mine")}
    before = things(db)
    change_views(code, without="evaluation_summary")
    last = triggers.TRIGGERS[-1]
    code.setattr(triggers, "TRIGGERS", triggers.TRIGGERS[:-1])
    code.setattr(triggers, "FUNCTIONS", triggers.FUNCTIONS[:-1])
    upgrade_schema(db)
    gone = {("v", "evaluation_summary"), ("trigger", last.name),
            ("function", "refuse_forgetting_members")}  # fmt: skip
    assert things(db) == before - gone
    assert kept < things(db)


def test_objects_of_others_are_never_replaced(db: Database, code: Monkey) -> None:
    run(db, "CREATE VIEW nearest AS SELECT 1 AS theirs")
    change_views(code, View("nearest", "SELECT 2 AS n_rows", "Ours"))
    with pytest.raises(ConfigurationError, match="did not make: view nearest"):
        upgrade_schema(db)
    assert one(db, "SELECT theirs FROM nearest") == 1


def test_guards_are_never_absent(db: Database, other: Database, code: Monkey) -> None:
    """While an upgrade that replaces every guard is open, a write waits; then it is refused."""
    with db.begin() as conn:
        left = factories.add_sources(conn, "apogee", ["a", "b"])
        factories.add_label_set(conn, "aspcap/dr14", left[:1], {"teff": np.array([4500.0], "f4")})
    changed = tuple(
        Trigger(t.name, t.table, t.create.replace(" EXECUTE", "  EXECUTE"))
        for t in triggers.TRIGGERS
    )
    code.setattr(triggers, "TRIGGERS", changed)
    write = f"INSERT INTO stellar_label (label_set_id, source_id) VALUES (1, {left[1]})"
    refused = []

    def second() -> None:
        try:
            run(other, write)
        except sa.exc.DBAPIError as exc:
            refused.append(exc.orig)

    with db.begin() as conn:
        remade = derived.remake(conn)
        assert len(remade) == len(changed)
        quick = "SET LOCAL lock_timeout = '50ms'"
        with pytest.raises(sa.exc.DBAPIError, match="lock timeout"):
            run(other, quick, write)
        waiting = threading.Thread(target=second)
        waiting.start()
    waiting.join(60)
    assert isinstance(refused[0], psycopg.errors.RaiseException)
    assert one(db, "SELECT count(*) FROM stellar_label") == 1


def test_an_upgrade_does_not_wait_for_ever(db, other, code) -> None:
    code.setattr(upgrade, "LOCK_SECONDS", "0.05")
    change_views(code, View("job_progress", "SELECT 1::bigint AS run_id", "Less"))
    with other.begin() as conn:
        conn.exec_driver_sql("LOCK TABLE job_progress IN ACCESS SHARE MODE")
        with pytest.raises(LockedError, match="other sessions use"):
            upgrade_schema(db)


# --------------------------------------------------------------------------- words


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
        assert field.split()[0].strip('"') in columns.VOCABULARY


def test_units_and_ucds_are_known_to_the_ivoa() -> None:
    for name, meaning in columns.VOCABULARY.items():
        assert check_ucd(meaning.ucd, check_controlled_vocabulary=True), f"{name}: {meaning.ucd}"
        assert meaning.description, name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        if meaning.unit:
            parsed = units.Unit(meaning.unit, parse_strict="raise")
            assert not isinstance(parsed, units.UnrecognizedUnit), name


# --------------------------------------------------------------------------- other versions


def at_revision(db: Database, revision: str) -> None:
    run(db, f"UPDATE alembic_version SET version_num = '{revision}'")


def test_a_database_without_the_schema_names_the_command(empty: Database) -> None:
    with pytest.raises(ConfigurationError, match=r"Run: crosslabel db upgrade") as caught:
        require_schema_at_head(empty)
    assert caught.value.exit_code == ExitCode.CONFIG == 78


@pytest.mark.parametrize("what", [require_schema_at_head, upgrade_schema])
def test_a_database_of_a_newer_version_asks_for_an_update(db: Database, what) -> None:
    at_revision(db, "2099_01_01_more")
    with pytest.raises(ConfigurationError, match=r"at 2099_01_01_more.*Update crossl") as caught:
        what(db)
    assert "db upgrade" not in str(caught.value)


@pytest.mark.parametrize("what", [require_schema_at_head, upgrade_schema])
@pytest.mark.parametrize("revision", ["0001", "0008"])
def test_a_catalog_from_before_the_first_release_says_what_to_do(db, what, revision) -> None:
    at_revision(db, revision)
    before = things(db)
    with pytest.raises(ConfigurationError, match=rf"at {revision}.*new home.*ingest again") as got:
        what(db)
    assert "models export" in str(got.value)
    assert things(db) == before


def test_an_outdated_database_names_the_command(db: Database, monkeypatch: Monkey) -> None:
    """As if this version had one migration more than the database."""
    at = head_revision()
    monkeypatch.setattr("catalog.store.head.REVISIONS", (*REVISIONS, "next"))
    with pytest.raises(ConfigurationError, match=rf"at {at}.*needs next.*crosslabel db upgrade"):
        require_schema_at_head(db)


def test_a_database_of_another_program_is_left_alone(empty: Database) -> None:
    run(empty, "CREATE TABLE source (theirs int)")
    with pytest.raises(ConfigurationError, match='of another program: relation "source"'):
        upgrade_schema(empty)
    assert things(empty) == {("r", "source")}


@pytest.mark.usefixtures("superuser")
def test_what_a_role_may_not_do_is_said(db: Database) -> None:
    with (
        pytest.raises(ConfigurationError, match="refuses: permission denied for table source"),
        translated_errors(),
        db.begin() as conn,
    ):
        conn.execute(sa.text("SET LOCAL ROLE pg_monitor; DELETE FROM source"))
