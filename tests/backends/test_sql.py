"""postern.sql: SQLite and the real PostgreSQL, whole, dying, slow, behind a proxy that lies; and both through the real daemons."""

import functools
import json
import os
import socket
import sqlite3
import subprocess
import sys
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.environ["POSTERN_SOURCE"], "tests")]

from http_fakes import certificate  # noqa: E402
from test_frame import CTL, PATIENCE, SANDBOX, Base  # noqa: E402

from fixture import SystemTest  # noqa: E402
from harness.postgres_server import Postgres, Proxy  # noqa: E402
from harness.process import Folder, wait_until  # noqa: E402

HEAD = """
local sql, async = require "postern.sql", require "postern.async"
local notes = {}
local function text(v)
    if type(v) ~= "table" then return math.type(v) == "float" and "float " .. v or tostring(v) end
    local keys, out = {}, {}
    for k in pairs(v) do keys[#keys + 1] = k end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for _, k in ipairs(keys) do out[#out + 1] = (type(k) == "number" and "" or k .. "=") .. text(v[k]) end
    return "{" .. table.concat(out, " ") .. "}"
end
"""
EVIL = ["'", "''; DROP TABLE t; --", "$1", "\\'; DELETE FROM t", "%s %n", "é\u202e\U0001f600", "\x1b[31m\n\t", "E'\\\\x41'", "1 OR 1=1", "/*", "\\"]


def lua(value):
    """A Python text or bytes as a string of Lua."""
    data = value.encode() if isinstance(value, str) else value
    return '"' + "".join(f"\\{byte:03d}" for byte in data) + '"'


@functools.cache
def postgres():
    """One server for all classes: to make its files takes longer than most tests."""
    home = Folder("sql")
    unittest.addModuleCleanup(home.remove)
    certificate(home, "server", "IP:127.0.0.1,DNS:db.test")
    server = Postgres(home, certificate=(home("server.pem"), home("server.key"))).start()
    unittest.addModuleCleanup(server.stop)
    return server


class SqlBase(Base):
    def words(self, options=(), deeds=True):
        words = [CTL, "run", "--json", *(["--deeds"] if deeds else []), "-o", "worker.allow_network=yes", "-o", "worker.write_paths=" + self.folder()]
        for option in options:
            words += ["-o", option]
        return [*words, self.folder("filter.lua"), self.folder.write("mail.eml", "Subject: x\n\nx\n")]

    def write_filter(self, opened, code):
        self.folder.write("filter.lua", HEAD + f"""
            local db = sql.open{{ {opened} }}
            function filter_message(msg)
                local function note(...)
                    local out = {{}}
                    for i = 1, select("#", ...) do out[i] = text((select(i, ...))) end
                    msg:log("n", table.concat(out, ", "))
                end
                {code}
            end""")

    def read_notes(self, out, err):
        self.assertTrue(out, err.decode())
        result = json.loads(out)
        self.assertIsNone(result["error"], f"{result['error']}\n{err.decode()}")
        return [line.removeprefix("n=") for line in result["log"] if line.startswith("n=")]

    def ask(self, opened, code, *options, deeds=True):
        """What the body of filter_message notes of its data base `db`."""
        self.write_filter(opened, code)
        done = subprocess.run(self.words(options, deeds), capture_output=True, timeout=60 * PATIENCE, check=False)
        self.log = done.stderr.decode()
        return self.read_notes(done.stdout, done.stderr)

    def begin(self, opened, code, *options):
        """The same, not waited for."""
        self.write_filter(opened, code)
        return subprocess.Popen(self.words(options), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, process):
        return self.read_notes(*process.communicate(timeout=60 * PATIENCE))


class Both:
    """What holds for either data base. self.opened: what sql.open is given."""

    TABLE = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, data {blob}, weight {real}, big BIGINT)"

    def fresh(self, code, *options):
        return self.ask(self.opened, f'db:exec("DROP TABLE IF EXISTS t") assert(db:exec("{self.TABLE.format(**self.types)}"))\n' + code, *options)

    def test_a_blob_that_changes_while_it_is_sent(self):
        notes = self.fresh(r"""
            local blob = sql.blob(("x"):rep(100000))
            async.all{
                function() note(db:exec("INSERT INTO t (id, data) VALUES (1, $1)", blob)) end,
                function() blob.blob = nil for _ = 1, 5 do collectgarbage() local _ = ("y"):rep(100000) end end,
            }
            note(db:value("SELECT data FROM t") == ("x"):rep(100000))""")
        self.assertEqual(notes, ["1", "true"])

    def test_values(self):
        notes = self.fresh(r"""
            note(db:exec("INSERT INTO t VALUES ($1, $2, $3, $4, $5)", 1, "one", sql.blob("a\0\xff"), 1.5, math.maxinteger))
            note(db:exec("INSERT INTO t VALUES ($1, $2, $3, $4, $5)", 2, nil, nil, nil, math.mininteger))
            note(db:exec("INSERT INTO t VALUES (3, $1, $2, $3, $4)", "", sql.blob(""), 0.1, nil))
            local rows = db:query("SELECT * FROM t ORDER BY id")
            note(#rows, rows[1].data == "a\0\xff", rows[1].weight, rows[1].big == math.maxinteger, math.type(rows[1].id))
            note(rows[2], rows[2].name, rows[3].name == "", rows[3].data == "", rows[3].weight == 0.1)
            note(db:row("SELECT name, id FROM t WHERE id = $1", 1), db:row("SELECT id FROM t WHERE id = $1", 9))
            note(db:value("SELECT name FROM t WHERE id = $1", 1), db:value("SELECT name FROM t WHERE id = 2"), db:value("SELECT id FROM t WHERE id = 7"))
            note(db:exec("UPDATE t SET name = name WHERE id > $1", 1), db:exec("DELETE FROM t WHERE id > $1", 5), db:exec("SELECT 1"))
            note(select("#", db:row("SELECT id FROM t WHERE id = 9")), #db:query("SELECT id FROM t WHERE id = 9"))
            """)
        self.assertEqual(notes, ["1", "1", "1", "3, true, float 1.5, true, integer", "{big=-9223372036854775808 id=2}, nil, true, true, true",
                                 "{id=1 name=one}, nil", "one, nil, nil", "2, 0, 0", "1, 0"])

    def test_values_are_never_part_of_the_text(self):
        notes = self.fresh("local evil = {" + ",".join(map(lua, EVIL)) + """}
            for i, v in ipairs(evil) do
                assert(db:exec("INSERT INTO t (id, name) VALUES ($1, $2)", i, v) == 1)
                if db:value("SELECT name FROM t WHERE name = $1", v) ~= v then note("changed", i) end
            end
            note(db:value("SELECT count(*) FROM t"), #evil)""")
        self.assertEqual(notes, [f"{len(EVIL)}, {len(EVIL)}"])

    def test_one_statement(self):
        notes = self.fresh("""
            db:exec("INSERT INTO t (id) VALUES (1)")
            for _, text in ipairs{ "DELETE FROM t; DELETE FROM t", "SELECT 1; DELETE FROM t", "DELETE FROM t;;SELECT 1", "SELECT 1; -- a\\nDELETE FROM t",
                                   "BEGIN", "SELECT * FROM nowhere", "SELEKT", " ", "-- nothing", "SELECT id FROM t WHERE id = $1", "SELECT $2" } do
                local rows, why = db:query(text)
                note(rows, #why > 8)
            end
            note(db:value("SELECT count(*) FROM t"), db:value("SELECT 1; "), db:value("SELECT 2 -- more\\n"))""")
        self.assertEqual(notes, ["nil, true"] * 11 + ["1, 1, 2"])

    def test_refusals(self):
        notes = self.fresh("""
            assert(db:exec("INSERT INTO t (id, name) VALUES (1, 'one')"))
            local n, why, code = db:exec("INSERT INTO t (id, name) VALUES (2, $1)", "one")
            note(n, why:lower():find("unique") ~= nil, code)
            local rows, nul = db:query("SELECT id FROM t WHERE name = $1", "a\\0b") note(rows, nul)
            local many, limit = db:query("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100) SELECT x FROM c") note(many, limit)
            note(db:query("SELECT id, id FROM t"))
            note(db:value("SELECT count(*) FROM t"))
            for i = 1, 9 do db:query("SELECT * FROM nowhere") end
            note(db:value("SELECT count(*) FROM t"))""", "sql.max_rows=50", "backend.failures=2")
        self.assertEqual(notes[0], "nil, true, " + self.unique)
        self.assertIn("parameter 1 has a NUL", notes[1])
        self.assertIn("nil, the result has more than 50 rows (max_rows)", notes[2])
        self.assertIn("nil, two columns have the name id", notes[3])
        self.assertEqual(notes[4:], ["1", "1"])  # what the author does wrong is no failure of the data base

    def test_large_results(self):
        notes = self.fresh(f"""
            local data = ("x"):rep(3000000)
            note(db:exec("INSERT INTO t (id, data) VALUES (1, $1)", sql.blob(data)), db:value("SELECT data FROM t") == data)
            local small = sql.open{{ {self.opened}, max_bytes = 1000000 }}
            note(small:value("SELECT data FROM t"))
            note(small:value("SELECT id FROM t"))
            note(db:exec("INSERT INTO t (id, data) VALUES (2, $1)", sql.blob(("x"):rep(17 * 1024 * 1024))))
            local many = {{ n = 1000 }}
            for i = 1, 1000 do many[i] = i end
            note(db:value("SELECT count(*) FROM t WHERE id IN (" .. ("?,"):rep({self.marks}) .. "{self.list})", table.unpack(many, 1, {self.marks or 1000})))
            """, "worker.lua_memory=512M")
        self.assertEqual(notes[0], "1, true")
        self.assertRegex(notes[1], r"^nil, (the result has more than 1000000 bytes|a row is larger than max_bytes)")
        self.assertEqual(notes[2], "1")
        self.assertIn("nil, the parameters have more than", notes[3])

    def test_transactions(self):
        notes = self.fresh("""
            local function count() return db:value("SELECT count(*) FROM t") end
            note(db:transaction(function(tx) tx:exec("INSERT INTO t (id) VALUES (1)") return tx:value("SELECT count(*) FROM t"), "and more" end), count())
            note(db:transaction(function(tx) tx:exec("INSERT INTO t (id) VALUES (2)") end), count())
            note(db:transaction(function(tx) tx:exec("INSERT INTO t (id) VALUES (3)") return nil, "no" end)) note(count())
            note(pcall(db.transaction, db, function(tx) tx:exec("INSERT INTO t (id) VALUES (4)") error("mine", 0) end)) note(count())
            local kept
            local ok, why = db:transaction(function(tx)
                kept = tx
                tx:exec("INSERT INTO t (id) VALUES (5)")
                tx:exec("INSERT INTO t (id) VALUES (5)")
                note((tx:exec("INSERT INTO t (id) VALUES (6)")))
                return true
            end)
            note(ok, why ~= nil, count())
            note(pcall(function() local r = kept:value("SELECT 1") end))
            note(async.timeout(0.2, db.transaction, db, function(tx) tx:exec("INSERT INTO t (id) VALUES (7)") async.sleep(20) end)) note(count())
            note(db:transaction(function(tx) return tx:exec("INSERT INTO t (id) VALUES (8)") end), count())
            for _ = 1, 15 do -- more often than there are connections
                async.timeout(0.01, db.transaction, db, function(tx) tx:exec("INSERT INTO t (id) VALUES (9)") tx:value("%s") end)
                db:transaction(function(tx) async.timeout(0.01, tx.value, tx, "%s") tx:exec("INSERT INTO t (id) VALUES (9)") end)
            end
            note(count())""" % (self.slow, self.slow), "backend.failures=1000")
        self.assertEqual(notes[:9], ["1, and more, 1".replace(", and more", ""), "true, 2", "nil, no", "2", "false, mine", "2", "nil", "nil, true, 2", notes[8]])
        self.assertRegex(notes[8], r"^false, filter.lua:\d+: tx:value: the transaction is over$")
        self.assertTrue(notes[9].startswith("nil"), notes[9])
        self.assertEqual(notes[10:], ["2", "1, 3", "3"])

    def test_a_transaction_is_one_functions(self):
        note, = self.fresh("""
            local r = db:transaction(function(tx)
                local r = async.all{ function() return tx:value("%s") end, function() local v = tx:value("SELECT 1") return v end }
                return tostring(r.errors[1] or r.errors[2])
            end)
            note(r)""" % self.short)
        self.assertIn(self.at_once, note)

    def test_slow(self):
        notes = self.fresh(f"""
            local quick = sql.open{{ {self.opened}, timeout = 0.2 }}
            note(quick:value("{self.slow}"))
            note(async.timeout(0.2, db.value, db, "{self.slow}"))
            note(db:value("SELECT 1"))
            for i = 1, 4 do quick:value("{self.slow}") end
            note(quick:value("SELECT 1"))""", "sql.timeout=30s", "backend.failures=3")
        self.assertEqual(notes[0], "nil, timeout, nil"[:12])
        self.assertTrue(notes[1].startswith("nil"), notes[1])
        self.assertEqual(notes[2], "1" if not self.breaks_together else notes[2])
        self.assertIn("left alone for", notes[3])

    def test_the_hooks_deadline(self):
        """A statement is no longer than it; whether the filter still gets the answer is a matter of microseconds."""
        self.write_filter(self.opened, f'note(db:value("{self.slow}"))')
        done = subprocess.run(self.words(("sql.timeout=60s", "milterd.message_time=500ms", "milterd.stage_time=400ms", "multiplexor.kill_grace=100ms")), capture_output=True,
                              timeout=60 * PATIENCE, check=False)
        result = json.loads(done.stdout)
        self.assertTrue("n=nil, timeout" in result["log"] or "did not end in time" in result["error"], result)

    def test_without_deeds(self):
        notes = self.ask(self.opened, 'note(db:value("SELECT 1"))', deeds=False)
        self.assertIn("nil, data bases are not asked where no deeds are done", notes[0])

    def test_on_failure(self):
        self.write_filter(self.nowhere + ", on_failure = 'tempfail'", 'pcall(db.value, db, "SELECT 1")')
        done = subprocess.run(self.words(), capture_output=True, timeout=60 * PATIENCE, check=False)
        result = json.loads(done.stdout)
        self.assertEqual(result["verdict"], "tempfail", result)
        notes = self.ask(self.nowhere, 'for i = 1, 3 do note(db:value("SELECT 1")) end', "backend.failures=2")
        self.assertTrue(all(note.startswith("nil, ") for note in notes), notes)
        self.assertIn("left alone for", notes[2])


class Simulated(SqlBase):
    """Tests of filters: the fake answers, and no file is opened."""

    FILTER = """local sql = require "postern.sql"
        local db = sql.open{ sqlite = "/nowhere/x.db", name = "mail" }
        function filter_message(msg)
            local function note(...)
                local out = table.pack(...)
                for i = 1, out.n do out[i] = type(out[i]) == "table" and "table" or tostring(out[i]) end
                msg:log("n", table.concat(out, ", "))
            end
            local rows, why = db:query("SELECT a FROM t WHERE b = $1 AND c = $2", "x'", nil)
            note(rows and #rows or rows, rows and rows[1].a or why)
            note(db:row("row")) note(db:value("value")) note(db:value("null")) note(db:exec("exec")) note(db:value("bad")) note(db:value("down"))
            note(db:transaction(function(tx) tx:exec("exec") return tx:value("value") end))
            note(db:transaction(function(tx) tx:exec("bad") return 1 end))
            note(db:exec("blob", sql.blob("\\0")))
        end"""
    TESTS = """
        local asked = {}
        fake_backend("sql", function(request)
            asked[#asked + 1] = request
            assert(request.database == "mail" and request.backend == "sql")
            if request.sql:find("SELECT a", 1, true) then
                assert(request.parameters.n == 2 and request.parameters[1] == "x'" and request.parameters[2] == nil and request.op == "query")
                return { { a = 1 }, { a = 2 } }
            elseif request.sql == "row" then return { { a = 3 } }
            elseif request.sql == "value" then return { { a = "v" } }
            elseif request.sql == "null" then return { {} }
            elseif request.sql == "exec" then return 7
            elseif request.sql == "blob" then return #request.parameters[1].blob
            elseif request.sql == "bad" then return { error = "refused", code = "23505" }
            end
            return nil, "timeout"
        end)
        function test_it()
            local log = run{ eml = "Subject: x\\n\\nx\\n", sender = "a@example.org" }.log
            local wanted = { "2, 1", "table", "v", "nil", "7", "nil, refused, 23505", "nil, timeout", "v", "nil, refused, 23505", "1" }
            for i, line in ipairs(wanted) do assert(log[i] == "n=" .. line, log[i]) end
            assert(#log == #wanted)
            assert(asked[8].transaction and not asked[7].transaction)
        end"""

    def test_a_fake(self):
        self.folder.write("filter.lua", self.FILTER)
        self.folder.write("filter_test.lua", self.TESTS)
        done = subprocess.run([CTL, "test", "--filter", self.folder("filter.lua"), self.folder("filter_test.lua")], capture_output=True, text=True,
                              timeout=60 * PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Misuse(SqlBase):
    def test_misuse(self):
        rows = (("sql.open()", "a table expected"), ("sql.open{}", "sqlite = a path"), ("sql.open{ sqlite = 'x' }", "path of a file"),
                ("sql.open{ sqlite = '/x', postgres = '' }", "sqlite = a path, or"), ("sql.open{ sqlite = '/x', tiemout = 1 }", "no option 'tiemout'"),
                ("sql.open{ sqlite = '/x', timeout = 0 }", "timeout is a number from"), ("sql.open{ sqlite = '/x', connections = 1.5 }", "connections is"),
                ("sql.open{ sqlite = '/x', pooler = true }", "pooler is for postgres"), ("sql.open{ sqlite = '/x', on_failure = 'continue' }", "return or tempfail"),
                ("sql.open{ postgres = 'hsot=x password=very-secret' }", "no connection string"), ("sql.open{ postgres = 'service=x' }", "service is refused"),
                ("sql.open{ postgres = { hsot = 'x' } }", "no parameter 'hsot'"), ("sql.open{ postgres = { host = 'a,b', port = '1,2,3' } }", "as many ports"),
                ("sql.open{ postgres = { password = 'a', password_file = '/b' } }", "password or password_file"),
                ("db.query()", "call it as db:query"), ("db:query()", "statement is a text"), ("db:query('')", "statement is a text"),
                ("db:query('SELECT 1\\0')", "statement is a text"), ("db:query(('x'):rep(65537))", "statement is a text"),
                ("db:query('SELECT $1', {})", "parameter 1 is a table"), ("db:query('SELECT $1', print)", "parameter 1 is a function"),
                ("db:exec('SELECT $1', table.unpack({}, 1, 1001))", "at most 1000 parameters"), ("db:transaction()", "a function expected"),
                ("sql.blob(1)", "a string expected"))
        path = self.folder("x.db")
        notes = self.ask(f'sqlite = "{path}", create = true', "\n".join(f"note(pcall(function() local r = {call} end))" for call, _ in rows))
        for (call, text), note in zip(rows, notes, strict=True):
            self.assertIn(text, note, call)
            self.assertTrue(note.startswith("false, filter.lua:"), (call, note))
            self.assertNotIn("very-secret", note)


class Sqlite(Both, SqlBase):
    types = {"blob": "BLOB", "real": "REAL"}
    unique, breaks_together, marks, list = "2067", True, 999, "?"
    short, at_once = "SELECT 1", "nil"  # nothing else runs meanwhile
    slow = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"

    def setUp(self):
        super().setUp()
        self.path = self.folder("mail.db")
        self.opened, self.nowhere = f'sqlite = "{self.path}", create = true', f'sqlite = "{self.folder("none", "x.db")}"'

    def test_the_file(self):
        notes = self.ask(f'sqlite = "{self.path}"', 'note(db:value("SELECT 1"))')
        self.assertIn("unable to open database file", notes[0])
        with sqlite3.connect(self.path) as db:
            db.execute("CREATE TABLE t (a)")
            db.execute("INSERT INTO t VALUES (x'ff'), (CAST(x'ff41' AS TEXT)), (1.0), ('x')")
        db.close()
        notes = self.ask(f'sqlite = "{self.path}", read_only = true', """
            for _, row in ipairs(db:query("SELECT a FROM t")) do note(row.a == "\\xff" or row.a) end
            note(db:exec("DELETE FROM t"))
            note(db:exec("ATTACH 'x.db' AS x"))""")
        self.assertEqual(notes[:4], ["true", "\ufffdA", "float 1.0", "x"])
        self.assertIn("readonly", notes[4])
        self.assertIn("attached", notes[5])
        notes = self.ask('sqlite = "/usr/share/x.db", create = true', 'note(db:value("SELECT 1"))')
        self.assertIn("worker.write_paths", notes[0])
        self.folder.write("mail.db", b"garbage" * 1000)
        notes = self.ask(self.opened, 'note(db:value("SELECT count(*) FROM sqlite_schema"))')
        self.assertIn("file is not a database", notes[0])

    def test_another_writes(self):
        with sqlite3.connect(self.path) as db:
            db.execute("CREATE TABLE t (a)")
            db.commit()
            db.execute("BEGIN EXCLUSIVE")
            notes = self.ask(self.opened, """
                local r = async.all{ function() return (select(2, db:exec("INSERT INTO t VALUES (1)"))) end,
                                     function() async.sleep(0.05) return "meanwhile" end }
                note(r[1], r[2])""", "sql.timeout=300ms")
            self.assertEqual(notes, ["timeout: another process is writing, meanwhile"])
            sign = self.folder("sign.db")
            asking = self.begin(self.opened, f"""sql.open{{ sqlite = "{sign}", create = true }}:exec("CREATE TABLE t (a)")
                note(db:exec("INSERT INTO t VALUES (1)"))""", "sql.timeout=30s")
            wait_until(lambda: os.path.exists(sign), "the filter to be there")
            db.rollback()
        self.assertEqual(self.end(asking), ["1"])
        db.close()


class PostgresTest(Both, SqlBase):
    types = {"blob": "BYTEA", "real": "DOUBLE PRECISION"}
    unique, breaks_together, marks, list = "23505", True, 0, "SELECT 1"
    slow = "SELECT pg_sleep(30)"
    short, at_once = "SELECT 1 FROM pg_sleep(0.1)", "in use by a function that runs at the same time"

    def setUp(self):
        super().setUp()
        self.server = postgres()
        self.opened = f'postgres = "{self.server.conninfo()}"'
        self.nowhere = f'postgres = "host={self.folder()} dbname=x user=x"'

    def test_types(self):
        notes = self.ask(self.opened, """
            note(db:row("SELECT 1::int2 AS a, 2::int4 AS b, 3::int8 AS c, true AS d, false AS e, 1.5::float4 AS f, 1.10::numeric AS g, '{1,2}'::int[] AS h"))
            note(db:row("SELECT date '2026-11-22' AS a, '\\\\x00ff'::bytea = $1 AS b, json '{}' AS c, NULL AS d", sql.blob("\\0\\xff")))
            note(db:row("SELECT 'NaN'::float8 AS a, '-Infinity'::float8 AS b, $1::float8 AS c, $2::bool AS d, $3::int8 AS e", -1/0, true, math.mininteger))
            note(db:value("SELECT $1::text", "\\xff"))
            note(db:value("SELECT current_setting('client_encoding')"), db:value("SELECT current_setting('application_name')"))
            note(db:query("COPY pg_class TO STDOUT")) note(db:value("SELECT 1"))""")
        self.assertEqual(notes[0], "{a=1 b=2 c=3 d=true e=false f=float 1.5 g=1.10 h={1,2}}")
        self.assertEqual(notes[1], "{a=2026-11-22 b=true c={}}")
        self.assertIn("b=float -inf c=float -inf d=true e=-9223372036854775808", notes[2])
        self.assertIn("invalid byte sequence", notes[3])
        self.assertEqual(notes[4], "UTF8, postern")
        self.assertTrue(notes[5].startswith("nil"), notes[5])
        self.assertEqual(notes[6], "1")

    def test_side_by_side(self):
        notes = self.ask(self.opened, """
            local start, t = os.clock(), {}
            for i = 1, 10 do t[i] = function() return db:value("SELECT pg_backend_pid() FROM pg_sleep(0.1)") end end
            local pids, n = {}, 0
            for _, pid in ipairs((async.all(t))) do n = n + (pids[pid] and 0 or 1) pids[pid] = true end
            note(n)
            for i = 11, 35 do t[i] = t[1] end
            note(#async.all(t))
            note(db:value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postern'"))""")
        self.assertEqual(notes, ["10", "35", "10"])  # ten at the same time, and never more

    def test_prepared_once(self):
        notes = self.ask(self.opened, """
            for i = 1, 5 do db:value("SELECT $1::int", i) end
            note(db:value("SELECT count(*) FROM pg_prepared_statements"))
            db:exec("DROP TABLE IF EXISTS changing") db:exec("CREATE TABLE changing (a INTEGER)") db:exec("INSERT INTO changing VALUES (1)")
            note(db:row("SELECT * FROM changing"))
            db:exec("ALTER TABLE changing ADD b INTEGER DEFAULT 2")
            note(db:row("SELECT * FROM changing"))
            db:exec("DEALLOCATE ALL")
            note(db:row("SELECT * FROM changing"))
            for i = 1, 150 do db:value("SELECT " .. i) end
            note(db:value("SELECT count(*) <= 100 FROM pg_prepared_statements"), db:value("SELECT 149"))""")
        self.assertEqual(notes, ["2", "{a=1}", "{a=1 b=2}", "{a=1 b=2}", "true, 149"])
        pooled = self.ask(self.opened + ", pooler = true", 'db:value("SELECT 1") note(db:value("SELECT count(*) FROM pg_prepared_statements"))')
        self.assertEqual(pooled, ["0"])

    def test_passwords(self):
        secret = self.folder.write("secret", "geheim, sehr\n", mode=0o600)
        tcp = f"host = '{self.server.address}', port = {self.server.port}, dbname = 'mail', user = 'guarded'"
        for more, wanted in ((f"password_file = '{secret}'", "guarded"), ("password = 'geheim, sehr'", "guarded"),
                             ("password = 'wrong-word'", "nil, "), ("password_file = '/nowhere'", "nil, password_file"), ("", "nil, ")):
            note, = self.ask(f"postgres = {{ {tcp}, {more} }}", 'note(db:value("SELECT current_user"))')
            self.assertTrue(note.startswith(wanted), note)
            self.assertNotIn("geheim", note + self.log)
            self.assertNotIn("wrong-word", note + self.log)

    def test_tls(self):
        host = f"hostaddr={self.server.address} port={self.server.port} user=mail dbname=mail"
        code = 'note(db:value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))\n note(#(db:value("SELECT repeat(\'x\', 1000000)") or ""))'
        authority = self.server.folder("server.pem")
        can_read = ["worker.read_paths=" + self.server.folder()]
        self.assertEqual(self.ask(f'postgres = "{host} sslmode=require"', code), ["true", "1000000"])
        self.assertEqual(self.ask(f'postgres = "{host} host=db.test sslmode=verify-full sslrootcert={authority}"', code, *can_read), ["true", "1000000"])
        for more in (f"host=other.test sslmode=verify-full sslrootcert={authority}", "host=db.test sslmode=verify-full"):
            note = self.ask(f'postgres = "{host} {more}"', code, *can_read)[0]
            self.assertRegex(note, "^nil, .*(does not match host name|certificate verify failed)")

    def test_hosts_in_turn(self):
        note, = self.ask(f'postgres = "host={self.folder()},{self.server.address} port=5432,{self.server.port} user=mail dbname=mail"', 'note(db:value("SELECT 1"))')
        self.assertEqual(note, "1")

    def test_the_environment_counts_for_nothing(self):
        os.environ.update({"PGHOST": "192.0.2.1", "PGOPTIONS": "-c work_mem=77kB", "PGUSER": "root"})
        self.addCleanup(lambda: [os.environ.pop(name) for name in ("PGHOST", "PGOPTIONS", "PGUSER")])
        self.assertEqual(self.ask(self.opened, 'note(db:value("SELECT current_setting(\'work_mem\')"))'), ["4MB"])

    def test_a_server_that_ends_connections(self):
        notes = self.ask(self.opened, """
            local other = sql.open{ """ + self.opened + """, connections = 1 }
            local pid = db:value("SELECT pg_backend_pid()")
            note(other:value("SELECT pg_terminate_backend($1)", pid))
            async.sleep(0.1)
            note(db:value("SELECT pg_backend_pid() <> $1", pid))
            note(db:exec("SELECT pg_terminate_backend(pg_backend_pid())"))
            note(db:value("SELECT 1"))
            note(db:transaction(function(tx) tx:exec("SELECT pg_terminate_backend(pg_backend_pid())") return true end))
            note(db:value("SELECT 2"))""")
        self.assertEqual(notes[:2], ["true", "true"])
        self.assertIn("nil, terminating connection", notes[2])
        self.assertIn("it may have been done", notes[2])
        self.assertEqual(notes[3], "1")
        self.assertIn("nil, terminating connection", notes[4])
        self.assertEqual(notes[5], "2")

    def test_lost_on_the_way(self):
        """A reading is asked again, once; a change never, though it may look like a reading."""
        lost = []

        def answer(connection, number, data):
            if b"postern-marker" in data and len(lost) < limit:
                lost.append(number)
                connection.shutdown(socket.SHUT_RDWR)
                raise OSError
            connection.sendall(data)
        proxy = Proxy(self.server, answer)
        self.addCleanup(proxy.stop)
        opened = f'postgres = "{proxy.conninfo()}"'
        self.ask(self.opened, 'db:exec("DROP TABLE IF EXISTS w") db:exec("CREATE TABLE w (a TEXT)")')
        limit = 1
        self.assertEqual(self.ask(opened, 'note(db:value("SELECT \'postern-marker\'"))'), ["postern-marker"])
        lost.clear()
        limit = 2
        note, = self.ask(opened, 'note(db:value("SELECT \'postern-marker\'"))')
        self.assertTrue(note.startswith("nil, "), note)
        for call in ("exec", "query"):
            lost.clear()
            limit = 1
            note, = self.ask(opened, f"note(db:{call}(\"INSERT INTO w VALUES ('postern-marker') RETURNING a\"))")
            self.assertIn("it may have been done", note)
        self.assertEqual(self.ask(self.opened, 'note(db:value("SELECT count(*) FROM w"))'), ["2"])

    def test_lies(self):
        def cut(connection, _, data):
            connection.sendall(data[:len(data) // 2])
            connection.shutdown(socket.SHUT_RDWR)
            raise OSError

        def garbage(connection, number, data):
            connection.sendall(bytes(byte ^ 0x55 for byte in data) if b"\x01\x00" in data or number else data)

        def huge(connection, _, data):
            connection.sendall(data.replace(b"D\x00\x00", b"D\x7f\xff"))

        def mute(*_):
            pass
        for answer in (cut, garbage, huge, mute):
            with self.subTest(answer.__name__):
                proxy = Proxy(self.server, answer)
                self.addCleanup(proxy.stop)
                note, = self.ask(f'postgres = "{proxy.conninfo()}"', 'note(db:value("SELECT repeat(\'x\', 1000)"))', "sql.timeout=700ms", "sql.connect_timeout=500ms")
                self.assertTrue(note.startswith("nil, "), note)

    def test_servers_that_are_none(self):
        def closes(_):
            pass

        def hangs(connection):
            while connection.recv(1000):
                pass

        def speaks(connection):
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)

        def streams(connection):
            connection.recv(1000)
            while True:
                connection.sendall(b"R" * 65536)
        for handle in (closes, hangs, speaks, streams):
            with self.subTest(handle.__name__):
                server = self.server_of(handle)
                note, = self.ask(f'postgres = "host=127.0.0.1 port={server.port} user=x dbname=x"', 'note(db:value("SELECT 1"))',
                                 "sql.timeout=2s", "sql.connect_timeout=500ms")
                self.assertTrue(note.startswith("nil, "), note)

    def server_of(self, handle):
        return Base.server(self, handle)

    def test_a_large_row_is_given_up_early(self):
        notes = self.ask(self.opened, """note(db:value("SELECT repeat('x', 60000000)")) note(db:value("SELECT 1"))""", "sql.timeout=30s")
        self.assertRegex(notes[0], "^nil, (a row is larger than max_bytes|the result has more than 4194304 bytes)")
        self.assertEqual(notes[1], "1")


class Killed(SqlBase):
    def setUp(self):
        super().setUp()
        self.server = postgres()

    def test_killed_and_back(self):
        """Minus nine while a statement runs: an answer at once; the next is answered as soon as the server is back."""
        asking = self.begin(f'postgres = "{self.server.conninfo()}"', """
            note(db:exec("SELECT pg_sleep(60)"))
            for i = 1, 600 do
                local v, why = db:value("SELECT 42")
                if v then note(v) return end
                async.sleep(0.05)
            end""", "sql.timeout=50s", "backend.failures=1000", "milterd.message_time=100s")
        wait_until(lambda: self.server.said("pg_sleep(60)"), "the statement to run", 30)
        self.server.kill()
        self.server.start()
        notes = self.end(asking)
        self.assertTrue(notes[0].startswith("nil, "), notes)
        self.assertIn("it may have been done", notes[0])
        self.assertEqual(notes[1:], ["42"])


class Daemons(SystemTest):
    """With the sandbox, and a server over a UNIX socket and TCP."""

    FILTER = """local sql = require "postern.sql"
        local db = sql.open{ postgres = { host = config.host, port = tonumber(config.port), user = "mail", dbname = "mail" } }
        local lists = sql.open{ sqlite = config.file, create = true }
        function filter_init()
            assert(lists:exec("CREATE TABLE IF NOT EXISTS seen (uid TEXT)"))
        end
        function filter_message(msg)
            local n, why = lists:transaction(function(tx)
                tx:exec("INSERT INTO seen VALUES ($1)", msg.uid)
                return tx:value("SELECT count(*) FROM seen")
            end)
            local pid, err = db:value("SELECT pg_backend_pid()")
            return reject(("%s %s"):format(n or why, pid and math.type(pid) or err))
        end"""

    def setUp(self):
        super().setUp()
        self.folder = Folder("sqldaemons")
        self.addCleanup(self.folder.remove)
        os.chmod(self.folder(), 0o777)
        self.server = postgres()

    def options(self, host, **more):
        return {"worker.sandbox": SANDBOX, "worker.write_paths": self.folder(), "filter.host": host, "filter.port": str(self.server.port),
                "filter.file": self.folder("lists.db"), "multiplexor.min_workers": "1", "multiplexor.max_workers": "1", **more}

    def test_within_the_sandbox(self):
        before = self.server.said("set_config")
        self.start(self.FILTER, self.options(self.server.address, **{"worker.allow_network": "yes"}))
        for n in (1, 2, 3):
            self.assertReply(self.client().start().message(), f"550 5.7.1 {n} integer")
        self.assertEqual(self.server.said("set_config"), before + 1)  # one connection, kept from one mail to the next

    def test_without_leave(self):
        self.start(self.FILTER, self.options(self.server.address))
        self.assertReply(self.client().start().message(), "550 5.7.1 1 network: the sandbox: worker.allow_network")

    def test_by_socket(self):
        self.start(self.FILTER, self.options(self.server.home))
        self.assertReply(self.client().start().message(), "550 5.7.1 1 integer")


if __name__ == "__main__":
    unittest.main()
