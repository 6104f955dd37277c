"""The login that people's SQL runs as: what it can read, and that it can do nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa

from catalog.errors import ConfigurationError, UsageError
from catalog.export.query import query_errors, query_selection
from catalog.export.rows import read_blocks, schema_of
from catalog.export.selection import columns_of
from catalog.store.db import Database, open_database
from catalog.store.derived import stale_objects
from catalog.store.functions import FUNCTIONS
from catalog.store.head import require_schema_at_head
from catalog.store.people import limit_time, people_sql
from catalog.store.reader_role import add_reader, make_reader
from catalog.store.schema import metadata
from catalog.store.server_errors import translated_errors
from catalog.store.upgrade import upgrade_schema
from catalog.store.views import VIEWS
from tests.conftest import cloned, libpq_url, reader_login
from tests.support import factories

#: Extensions that need languages which are not on every machine.
NEED_LANGUAGES = ("plperl", "plperlu", "plpython3u", "pltcl", "pltclu")
RUN = """CREATE FUNCTION run(q text) RETURNS text LANGUAGE plpgsql {} AS $$
    DECLARE found text; BEGIN EXECUTE q INTO found; RETURN found; END $$"""

#: SELECT of these must be refused. Grouped by what they are after.
EXPRESSIONS = """
pg_read_file('/etc/passwd')
pg_read_file('pg_hba.conf')
pg_read_binary_file('/etc/passwd')
pg_ls_dir('/')
pg_stat_file('/etc/passwd')
pg_ls_logdir()
pg_ls_waldir()
pg_ls_tmpdir()
pg_ls_archive_statusdir()
pg_ls_logicalsnapdir()
pg_current_logfile()
pg_hba_file_rules()
pg_ident_file_mappings()
pg_show_all_file_settings()
current_setting('data_directory')
current_setting('hba_file')
lo_import('/etc/passwd')
lo_import('/etc/passwd', 99)
lo_export(1, '/tmp/crosslabel-attack')
lo_create(0)
lo_creat(-1)
lo_from_bytea(0, 'x')
lo_get(1)
lo_put(1, 0, 'x')
lo_open(1, 131072)
lo_unlink(1)
lo_truncate(0, 1)
loread(0, 1)
lowrite(0, 'x')
pg_terminate_backend(pg_backend_pid())
pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
pg_log_backend_memory_contexts(pg_backend_pid())
pg_reload_conf()
pg_rotate_logfile()
pg_promote()
pg_advisory_lock(1)
pg_advisory_lock(1, 2)
pg_advisory_lock_shared(1)
pg_advisory_xact_lock(1)
pg_advisory_xact_lock_shared(1, 2)
pg_try_advisory_lock(1)
pg_try_advisory_lock_shared(1)
pg_try_advisory_xact_lock(1, 2)
pg_advisory_unlock_all()
pg_advisory_lock(hashtextextended('crosslabel ' || target, 0)) FROM job_run
pg_notify('crosslabel', 'x')
pg_export_snapshot()
pg_logical_emit_message(false, 'a', 'b')
pg_logical_emit_message(true, 'a', 'b'::bytea)
set_config('role', 'crosslabel', false)
set_config('role', current_setting('is_superuser'), true)
set_config('session_authorization', 'crosslabel', false)
set_config('session_replication_role', 'replica', false)
set_config('log_statement', 'all', false)
set_config('temp_file_limit', '-1', false)
set_config('transaction_read_only', 'off', true)
set_config('transaction_isolation', 'serializable', true)
set_config('dynamic_library_path', '/tmp', false)
set_config('session_preload_libraries', 'x', false)
set_config('allow_system_table_mods', 'on', false)
set_config('zero_damaged_pages', 'on', false)
set_config('lc_messages', 'C', false)
set_config('archive_command', 'x', false)
nextval('source_source_id_seq')
setval('source_source_id_seq', 1)
currval('source_source_id_seq')
pg_switch_wal()
pg_create_restore_point('x')
pg_backup_start('x')
pg_backup_stop()
pg_wal_replay_pause()
pg_create_physical_replication_slot('x')
pg_create_logical_replication_slot('x', 'pgoutput')
pg_drop_replication_slot('x')
pg_replication_origin_create('x')
pg_replication_slot_advance('x', '0/0')
pg_stat_reset()
pg_stat_reset_shared('bgwriter')
pg_stat_reset_single_table_counters(1)
pg_import_system_collations('pg_catalog')
pg_get_backend_memory_contexts()
pg_get_shmem_allocations()
pg_tablespace_size('pg_global')
brin_summarize_new_values('source_pkey')
gin_clean_pending_list('pk_source')
pg_nextoid('pg_class', 'oid', 'pg_class_oid_index')
binary_upgrade_set_next_pg_type_oid(1)
query_to_xml('SELECT * FROM pg_authid', true, true, '')
query_to_xml('DELETE FROM source', true, true, '')
query_to_xml('SELECT pg_advisory_lock(7)', true, true, '')
query_to_xml('SELECT set_config(''role'', ''crosslabel'', false)', true, true, '')
query_to_xml_and_xmlschema('SELECT lo_create(0)', true, true, '')
query_to_xmlschema('SELECT pg_read_file(''/etc/passwd'')', true, true, '')
table_to_xml('pg_authid', true, true, '')
schema_to_xml('theirs', true, true, '')
ts_stat('SELECT rolpassword::tsvector FROM pg_authid')
ts_rewrite('a'::tsquery, 'SELECT lo_create(0)::text::tsquery, ''b''::tsquery')
* FROM pg_authid
* FROM pg_shadow
* FROM pg_user_mapping
* FROM pg_statistic
* FROM pg_largeobject
* FROM pg_subscription
* FROM pg_hba_file_rules
* FROM pg_file_settings
* FROM pg_shmem_allocations
* FROM pg_backend_memory_contexts
* FROM theirs.secret
* FROM secret
* FROM mine
* FROM source FOR UPDATE
* FROM source FOR KEY SHARE
* FROM dblink('dbname=postgres', 'SELECT 1') AS t (a int)
dblink_connect('dbname=postgres')
dblink_connect_u('dbname=postgres')
dblink_exec('dbname=postgres', 'DELETE FROM source')
dblink_get_notify()
* FROM crosstab('SELECT 1, set_config(''role'', ''none'', false), 1') AS t (a int, b int)
* FROM crosstab('DELETE FROM source RETURNING 1, 2, 3') AS t (a bigint, b int)
* FROM connectby('pg_authid', 'oid', 'oid', '1', 0) AS t (a oid, b oid, c int)
postgres_fdw_disconnect_all()
* FROM over_there
get_raw_page('pg_authid', 0)
pgstattuple('pg_authid')
* FROM pgrowlocks('source')
bt_index_check('pk_source'::regclass)
pg_prewarm('source')
heap_force_kill('source'::regclass, ARRAY['(0,1)']::tid[])
pg_truncate_visibility_map('source')
pg_buffercache_evict(1)
xpath_table('a', 'b', 'pg_authid', '/', 'true')
run('SELECT pg_read_file(''/etc/passwd'')')
run('DELETE FROM source')
run('RESET ROLE')
granted('SELECT pg_read_file(''/etc/passwd'')')
granted('SET ROLE crosslabel')
granted('SET SESSION AUTHORIZATION DEFAULT; DELETE FROM source')
granted('SET LOCAL transaction_read_only = off')
granted('COPY source TO PROGRAM ''cat''')
granted('COMMIT; DELETE FROM source')
granted('CREATE TEMPORARY TABLE t (a int)')
granted('SELECT pg_advisory_lock(9)')
granted('SELECT pg_terminate_backend(' || pg_backend_pid() || ')')
""".strip().splitlines()

#: Whole statements, in a session that has set itself to read and write.
STATEMENTS = """
DELETE FROM source
INSERT INTO star (star_key) VALUES ('x')
UPDATE label_set SET status = 'building'
TRUNCATE source
WITH gone AS (DELETE FROM source RETURNING 1) SELECT * FROM gone
MERGE INTO star USING source ON false WHEN NOT MATCHED THEN INSERT (star_key) VALUES ('x')
CREATE TABLE t (a int)
CREATE TEMPORARY TABLE t (a int)
SELECT 1 AS a INTO TEMPORARY t
CREATE VIEW v AS SELECT 1
CREATE SCHEMA s
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'
CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'
CREATE EXTENSION file_fdw
CREATE ROLE evil SUPERUSER
CREATE DATABASE evil
CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw
CREATE USER MAPPING FOR CURRENT_USER SERVER there OPTIONS (user 'crosslabel')
CREATE PUBLICATION p FOR ALL TABLES
CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p
CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION refuse_changing_model()
CREATE RULE r AS ON SELECT TO source DO INSTEAD NOTHING
CREATE INDEX ON source (ra)
DROP TABLE source
DROP VIEW best_match
DROP TRIGGER keep_model ON model
ALTER TABLE source DISABLE TRIGGER ALL
ALTER TABLE source OWNER TO CURRENT_USER
ALTER ROLE crosslabel_reader SUPERUSER
ALTER ROLE crosslabel PASSWORD 'x'
ALTER SYSTEM SET fsync = off
ALTER DATABASE template1 SET fsync = off
GRANT crosslabel TO crosslabel_reader
GRANT pg_read_server_files TO crosslabel_reader
GRANT INSERT ON source TO crosslabel_reader
GRANT SELECT ON source TO PUBLIC
REASSIGN OWNED BY crosslabel TO crosslabel_reader
SET ROLE crosslabel
SET SESSION AUTHORIZATION crosslabel
SET session_replication_role = replica
LOCK TABLE source IN EXCLUSIVE MODE
COMMENT ON TABLE source IS 'x'
CLUSTER source
REINDEX TABLE source
CHECKPOINT
LOAD '/tmp/x.so'
COPY source TO '/tmp/crosslabel-attack'
COPY source TO PROGRAM 'cat'
COPY source FROM '/etc/passwd'
COPY pg_authid TO STDOUT
IMPORT FOREIGN SCHEMA public FROM SERVER there INTO public
SECURITY LABEL ON TABLE source IS 'x'
DO $$ BEGIN EXECUTE 'DELETE FROM source'; END $$
DO $$ BEGIN PERFORM pg_read_file('/etc/passwd'); END $$
DO $$ BEGIN EXECUTE 'SET ROLE crosslabel'; END $$
""".strip().splitlines()


@pytest.fixture(scope="module")
def attacked(
    server_url: sa.URL, admin: sa.Engine, template: str, superuser: None
) -> Iterator[Database]:
    """A catalog with every extension that ships and what people make; looked at in the end."""
    with cloned(server_url, admin, template) as db:
        with db.begin() as conn:
            factories.add_sources(conn, "apogee", ["a", "b"])
            conn.exec_driver_sql(RUN.format("SECURITY DEFINER"))
            conn.exec_driver_sql(RUN.replace("run", "granted").format(""))
            conn.exec_driver_sql("GRANT EXECUTE ON FUNCTION run(text) TO PUBLIC")  # till upgraded
            conn.exec_driver_sql("CREATE SCHEMA theirs; CREATE TABLE theirs.secret (a int)")
            conn.exec_driver_sql("CREATE TABLE secret (a int); CREATE VIEW mine AS TABLE source")
        install_extensions(db)
        with db.begin() as conn:
            add_reader(conn, str(db.reader_url.username))
            conn.exec_driver_sql(f"GRANT EXECUTE ON FUNCTION granted TO {db.reader_url.username}")
            conn.exec_driver_sql("CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw")
            conn.exec_driver_sql("CREATE FOREIGN TABLE over_there (a int) SERVER there")
        before = state(db)
        yield db
        assert state(db) == before


def install_extensions(db: Database) -> None:
    query = "SELECT name FROM pg_available_extensions WHERE installed_version IS NULL ORDER BY 1"
    with db.reader() as conn:
        names = set(conn.execute(sa.text(query)).scalars())
    wanted = [n for n in sorted(names) if not n.endswith(NEED_LANGUAGES)
              and not n.startswith(("jsonb_pl", "hstore_pl", "ltree_pl", "bool_pl"))]  # fmt: skip
    assert {"dblink", "tablefunc", "postgres_fdw"} <= set(wanted)
    with db.begin() as conn:
        for name in wanted:
            conn.exec_driver_sql(f'CREATE EXTENSION IF NOT EXISTS "{name}" CASCADE')


def state(db: Database) -> list[object]:
    """What an attack could change."""
    with db.reader() as conn:
        return [
            conn.execute(sa.text(query)).all()
            for query in (
                "SELECT * FROM source ORDER BY 1", "SELECT * FROM label_set",
                "SELECT oid FROM pg_largeobject_metadata", "SELECT * FROM pg_replication_slots",
                "SELECT rolname, rolsuper, rolconfig FROM pg_roles ORDER BY 1",
                "SELECT relname, relacl::text FROM pg_class WHERE relpersistence <> 't' ORDER BY 1",
                "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory'",
            )
        ]  # fmt: skip


def answer(db: Database, query: str, **options: float) -> list[dict[str, object]]:
    """The rows of a query as `export --sql` gets them."""
    with translated_errors(), query_errors(), people_sql(db) as conn:
        selection = query_selection(conn, query, **options)
        columns = columns_of(conn, selection)
        table = pa.Table.from_batches(read_blocks(conn, selection, columns), schema_of(columns))
        return table.to_pylist()


@pytest.mark.parametrize("attack", EXPRESSIONS)
def test_a_query_is_refused(attacked: Database, attack: str) -> None:
    with pytest.raises(UsageError):
        answer(attacked, f"SELECT {attack}")


@pytest.mark.parametrize("attack", [*(f"SELECT {e}" for e in EXPRESSIONS), *STATEMENTS])
def test_the_login_itself_may_not(attacked: Database, attack: str) -> None:
    """Whatever the session has set: nothing is left to the text being a SELECT, or read-only."""
    undone = ("set_config('transaction_", "SET LOCAL transaction_read_only")
    if any(u in attack for u in undone):
        pytest.skip("a session may set this in a transaction of its own")
    with psycopg.connect(libpq_url(attacked.reader_url), autocommit=True) as conn:
        conn.execute("SET default_transaction_read_only = off")
        conn.execute("SET statement_timeout = '20s'")
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(attack).fetchall()
    assert not isinstance(caught.value, psycopg.errors.QueryCanceled)


def test_there_are_a_hundred_attacks_and_more() -> None:
    assert len(set(EXPRESSIONS)) == len(EXPRESSIONS) > 130
    assert len(set(STATEMENTS)) == len(STATEMENTS) > 50


def test_nothing_of_an_extension_or_of_people_can_be_called_or_read(attacked: Database) -> None:
    """Of all extensions that ship: hundreds of functions."""
    role = attacked.reader_url.username
    functions = """
        SELECT count(*), array_agg(p.oid::regprocedure::text)
                         FILTER (WHERE has_function_privilege(:role, p.oid, 'EXECUTE'))
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')"""
    relations = """
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v', 'f')
          AND has_table_privilege(:role, c.oid, 'SELECT') AND n.nspname NOT LIKE 'pg_toast%'"""
    with attacked.reader() as conn:
        n, callable_ = conn.execute(sa.text(functions), {"role": role}).one()
        readable = set(conn.execute(sa.text(relations), {"role": role}).scalars())
    assert n > 500
    assert {f.split("(")[0] for f in callable_} == {f.name for f in FUNCTIONS} | {"granted"}
    ours = {*metadata.tables, *(v.name for v in VIEWS), "alembic_version"}
    assert readable - ours <= {"pg_stat_statements", "pg_stat_statements_info"}  # given to all
    assert ours <= readable


def test_what_readers_are_for(attacked: Database) -> None:
    rows = answer(attacked, "SELECT survey, survey_key FROM source; ")
    assert rows == [
        {"survey": "apogee", "survey_key": "a"},
        {"survey": "apogee", "survey_key": "b"},
    ]
    for name in (*metadata.tables, *(v.name for v in VIEWS)):
        assert len(answer(attacked, f"SELECT count(*) AS n FROM {name}")) == 1
    with pytest.raises(UsageError, match="no complete label set a/b"):
        answer(attacked, "SELECT n FROM compare_label_sets('a/b', '{}')")
    (who,) = answer(attacked, "SELECT current_user::text AS a, session_user::text AS b")
    assert set(who.values()) == {attacked.reader_url.username}
    (read_only,) = answer(attacked, "SELECT current_setting('transaction_read_only') AS a")
    assert read_only == {"a": "on"}


def test_queries_of_others_are_not_shown(attacked: Database) -> None:
    with attacked.begin() as conn:
        conn.execute(sa.text("SELECT 'a secret' AS secret"))
        found = answer(attacked, "SELECT query FROM pg_stat_activity WHERE usename <> current_user")
    assert {r["query"] for r in found} <= {"<insufficient privilege>"}


def test_sessions_end_with_their_query(attacked: Database) -> None:
    answer(attacked, "SELECT set_config('statement_timeout', '0', false) AS a")
    answer(attacked, "SELECT set_config('search_path', 'theirs', false) AS a")
    (found,) = answer(attacked, "SELECT current_setting('search_path') AS a")
    assert "theirs" not in str(found["a"])
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crosslabel reader'"
    with attacked.reader() as conn:
        pids = f"{query} AND datname = current_database() AND state <> 'idle'"
        assert conn.scalar(sa.text(pids)) == 0


def test_time_is_up_by_our_clock_whatever_the_session_sets(attacked: Database) -> None:
    with pytest.raises(UsageError, match="took too long"):
        answer(attacked, "SELECT pg_sleep(60)::text AS a", timeout_s=0.05)
    with people_sql(attacked) as conn:
        limit_time(conn, 0.2)
        conn.execute(sa.text("SET statement_timeout = 0"))
        with pytest.raises(UsageError, match="took too long"), query_errors():
            conn.connection.driver_connection.execute("SELECT pg_sleep(60)")


def test_our_sql_and_peoples_never_share_a_session(attacked: Database) -> None:
    with attacked.reader() as conn, pytest.raises(AssertionError, match="people_sql only"):
        query_selection(conn, "SELECT 1 AS a")


# --------------------------------------------------------------------------- which login


def run(db: Database, *statements: str) -> None:
    with db.begin() as conn:
        for statement in statements:
            conn.exec_driver_sql(statement)


@pytest.fixture
def role(db: Database, superuser: None) -> Iterator[str]:
    """A login that has no rights yet."""
    name = "colleague_who_reads"
    run(db, f"DROP ROLE IF EXISTS {name}", f"CREATE ROLE {name} LOGIN")
    yield name
    run(db, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def opened(db: Database, reader: str | None, **options: bool) -> Database:
    """The database as with CROSSLABEL_READER_URL, or without."""
    url = None if reader is None else db.engine.url.set(username=reader, password=None)
    return open_database(db.engine.url, url, **options)


def ask(db: Database) -> object:
    try:
        return answer(db, "SELECT count(*) AS n FROM source")
    finally:
        db.engine.dispose()


def test_without_a_login_sql_of_people_is_refused(db: Database) -> None:
    with pytest.raises(ConfigurationError, match=r"none is named.*CROSSLABEL_READER_URL.*as-owner"):
        ask(opened(db, None))
    assert ask(opened(db, None, as_owner=True)) == [{"n": 0}]


def test_grants_make_a_reader_and_upgrades_keep_it(db: Database, role: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{role} may not read.*grant-reader {role}"):
        ask(opened(db, role))
    with db.begin() as conn:
        done, left = add_reader(conn, role)
        assert not left
        assert not stale_objects(conn)
    assert any("GRANT SELECT ON derived_object" in s for s in done)
    assert ask(opened(db, role)) == [{"n": 0}]
    as_it = open_database(db.engine.url.set(username=role, password=None))  # the URL itself
    assert ask(as_it) == [{"n": 0}]
    run(db, f"DROP OWNED BY {role}")
    with pytest.raises(ConfigurationError, match=f"reader {role}.*db upgrade"):
        require_schema_at_head(db)
    upgrade_schema(db)
    assert ask(opened(db, role)) == [{"n": 0}]


@pytest.mark.parametrize(
    ("grant", "what"),
    [
        ("GRANT INSERT ON source TO {}", "can write"),
        ("GRANT pg_read_all_data TO {}", "is a member of pg_read_all_data"),
        ("GRANT pg_signal_backend TO {}", "is a member of pg_signal_backend"),
        ("ALTER ROLE {} CREATEROLE", "can write"),
        ("ALTER ROLE {} SUPERUSER", "is a member of|can write"),
        ("GRANT crosslabel TO {}", "is a member of|can write"),
    ],
)
def test_a_login_that_can_more_is_none_for_readers(db, role, grant, what) -> None:
    if "crosslabel TO" in grant and db.engine.url.username != "crosslabel":
        pytest.skip("another owner")
    with db.begin() as conn:
        add_reader(conn, role)
    run(db, grant.format(role))
    with pytest.raises(ConfigurationError, match=what):
        ask(opened(db, role))


def test_owners_and_unknown_roles_are_not_made_readers(db: Database) -> None:
    with db.begin() as conn:
        with pytest.raises(ConfigurationError, match="owns the catalog"):
            make_reader(conn, str(db.engine.url.username))
        with pytest.raises(
            ConfigurationError, match=r'no role nobody "x".*CREATE ROLE "nobody ""x"'
        ):
            make_reader(conn, 'nobody "x"')


def test_another_database_is_not_read(db: Database, server_url, admin, template) -> None:
    with cloned(server_url, admin, template) as other:
        wrong = open_database(db.engine.url, reader_login(other.engine.url))
        with pytest.raises(ConfigurationError, match="names another database"):
            ask(wrong)


def test_a_login_that_does_not_get_in_is_said(db: Database) -> None:
    with pytest.raises(ConfigurationError, match=r"is not let in: .*nobody_here.*READER_URL"):
        ask(opened(db, "nobody_here"))


def test_an_owner_without_more_rights_grants_what_it_can(db: Database, role: str) -> None:
    """As on a server of one's own: the rest is printed for an administrator."""
    run(db, "DROP ROLE IF EXISTS plain_owner", "CREATE ROLE plain_owner LOGIN")
    try:
        with db.begin() as conn:
            names = [*metadata.tables, "alembic_version", *(v.name for v in VIEWS)]
            for name in names:
                kind = "TABLE" if name in metadata.tables else "VIEW"
                kind = "TABLE" if name == "alembic_version" else kind
                conn.exec_driver_sql(f"ALTER {kind} {name} OWNER TO plain_owner")
            for f in FUNCTIONS:
                signature = f"{f.name}({f.signature})"
                conn.exec_driver_sql(f"ALTER FUNCTION {signature} OWNER TO plain_owner")
            conn.exec_driver_sql("SET LOCAL ROLE plain_owner")
            done, left = add_reader(conn, role)
        assert [s.split(" ON ")[0] for s in done] == ["GRANT SELECT", "GRANT EXECUTE"]
        assert any(s.startswith("ALTER DEFAULT PRIVILEGES") for s in left)
        assert any("REVOKE TEMPORARY ON DATABASE" in s for s in left)
        plain = open_database(
            db.engine.url.set(username="plain_owner", password=None),
            db.engine.url.set(username=role, password=None),
        )
        assert ask(plain) == [{"n": 0}]
    finally:
        run(db, "REASSIGN OWNED BY plain_owner TO CURRENT_USER", "DROP ROLE plain_owner")


def test_the_command_prints_what_it_grants(db: Database, role: str, command_line) -> None:
    code, out, _ = command_line(db.engine.url, "db", "grant-reader", role, "--dry-run")
    assert code == 0
    assert f'TO "{role}";' in out
    with pytest.raises(ConfigurationError):
        ask(opened(db, role))
    code, out, _ = command_line(db.engine.url, "db", "grant-reader", role)
    assert code == 0
    assert "GRANT SELECT ON" in out
    assert ask(opened(db, role)) == [{"n": 0}]


def test_the_command_exports_as_the_reader(db, tmp_path, command_line, monkeypatch) -> None:
    path = tmp_path / "x.csv"
    query = ["export", "--sql", "SELECT session_user::text AS a", "--to", path]
    assert command_line(db.engine.url, *query)[0] == 0
    assert path.read_text().splitlines()[1] == db.reader_url.username
    assert command_line(db.engine.url, *query, "--as-owner")[0] == 0
    assert path.read_text().splitlines()[1] == db.engine.url.username
