"""Redis: postern.redis and the store in it, with the real server, one that lies, Sentinels and a fail-over, and the real daemons."""

import json
import os
import re
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "system"), os.path.join(os.path.dirname(HERE), "milter")]

from harness.fake_server import FakeServer  # noqa: E402
from harness.postern import Postern  # noqa: E402
from harness.process import BIN, BUILD, PATIENCE, SANITIZE, Folder, loopback_address, wait_until  # noqa: E402
from harness.redis_server import Redis, free_port, greet  # noqa: E402
from milter_client import MilterClient  # noqa: E402

CTL = os.path.join(BIN, "posternctl")
SANDBOX = "available" if SANITIZE else "required"  # sanitizers do without the list of system calls


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("redis")
        self.addCleanup(self.folder.remove)

    def redis(self, name="redis", **kwargs):
        server = Redis(self.folder, name, **kwargs).start()
        self.addCleanup(server.stop)
        return server

    def fake(self, handle):
        server = FakeServer(handle, address=loopback_address())
        self.addCleanup(server.stop)
        return server

    def run_filter(self, code, options, deeds=True):
        """Runs the body of filter_message; what it gives note(…) comes back as text."""
        path = self.folder.write("filter.lua", f"""
            local redis, store, async = require "postern.redis", require "postern.store", require "postern.async"
            local function text(v)
                if type(v) ~= "table" then return math.type(v) == "float" and "float " .. v or tostring(v) end
                local keys, out = {{}}, {{}}
                for k in pairs(v) do keys[#keys + 1] = k end
                table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
                for _, k in ipairs(keys) do out[#out + 1] = (type(k) == "number" and "" or k .. "=") .. text(v[k]) end
                return "{{" .. table.concat(out, " ") .. "}}"
            end
            function filter_message(msg)
                local function note(...)
                    local out = {{}}
                    for i = 1, select("#", ...) do out[i] = text((select(i, ...))) end
                    msg:log("n", table.concat(out, ", "))
                end
                {code}
            end""")
        words = [CTL, "run", "--json", *(["--deeds"] if deeds else []), "-o", "worker.allow_network=yes", "-o", "worker.state_dir=" + self.folder()]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        done = subprocess.run([*words, path, self.folder.write("mail.eml", "Subject: x\n\nx\n")], capture_output=True, timeout=60 * PATIENCE, check=False)
        self.assertTrue(done.stdout, done.stderr.decode())
        result = json.loads(done.stdout)
        self.assertIsNone(result["error"], f"{result['error']}\n{done.stderr.decode()}")
        return [line.removeprefix("n=") for line in result["log"] if line.startswith("n=")]


class Commands(Base):
    """postern.redis."""

    def test_replies(self):
        server = self.redis()
        notes = self.run_filter(r"""
            note(redis.call("SET", "k", "a\0\r\nb"))
            note(redis.call("GET", "k") == "a\0\r\nb")
            note(redis.call("GET", "none"))
            note(select("#", redis.call("GET", "none")))
            note(redis.call("INCRBY", "n", 41), math.type(redis.call("INCR", "n")))
            note(redis.call("SET", "f", 0.1), redis.call("GET", "f"))
            note(redis.call("RPUSH", "l", "a", "b", 3), redis.call("LRANGE", "l", 0, -1))
            note(redis.call("MGET", "f", "none", "n"))
            note(redis.call("LPUSH", "k", 1))
            note(redis.call("EVAL", "return { 1, { 'x', false }, redis.error_reply('MINE') }", 0))
            note(redis.call("NONSENSE"))
            note(#redis.call("GETRANGE", redis.call("SETRANGE", "big", 999999, "x") and "big", 0, -1))
            """, {"redis.server": server.path})
        self.assertEqual(notes[0:9], ["OK", "true", "nil", "1", "41, integer", "OK, 0.10000000000000001", "3, {a b 3}", "{0.10000000000000001 false 42}",
                                      "nil, WRONGTYPE Operation against a key holding the wrong kind of value"])
        self.assertEqual(notes[9], "{1 {x false} {err=ERR MINE}}")
        self.assertTrue(notes[10].startswith("nil, ERR unknown command"), notes[10])
        self.assertEqual(notes[11], "1000000")

    def test_pipeline_and_transaction(self):
        server = self.redis()
        notes = self.run_filter("""
            note(redis.pipeline{ { "SET", "k", 1 }, { "LPUSH", "k", 1 }, { "INCR", "k" }, { "GET", "none" } })
            note(redis.transaction{ { "INCR", "k" }, { "LPUSH", "k", 1 }, { "GET", "none" } })
            note(redis.transaction{ { "INCR", "k" }, { "NONSENSE" } })
            note(redis.call("GET", "k"))
            local many = {}
            for i = 1, 1000 do many[i] = { "INCR", "many" } end
            note(redis.pipeline(many)[1000])
            """, {"redis.server": server.server})
        wrong = "WRONGTYPE Operation against a key holding the wrong kind of value"
        self.assertEqual(notes[0], "{OK false 2 false errors={%s}}" % wrong)
        self.assertEqual(notes[1], "{3 false false errors={%s}}" % wrong)
        self.assertTrue(notes[2].startswith("nil, ERR unknown command"), notes[2])
        self.assertEqual(notes[3:], ["3", "1000"])

    def test_misuse(self):
        notes = self.run_filter("""
            for _, call in ipairs{ function() redis.call() end, function() redis.call(1) end, function() redis.call("GET", {}) end,
                                   function() redis.call("GET", true) end, function() redis.call("Subscribe", "x") end, function() redis.call("SELECT", 1) end,
                                   function() redis.call("SET", "k", ("x"):rep(17 * 1024 * 1024)) end, function() redis.pipeline() end,
                                   function() redis.pipeline{} end, function() redis.pipeline{ "GET" } end, function() redis.pipeline{ {} } end,
                                   function() redis.transaction{ { "MULTI" } } end, function() table.sort({ 2, 1 }, function() redis.call("PING") end) end } do
                local ok, why = pcall(call)
                if ok or not why:find("filter.lua:", 1, true) then note(tostring(why)) end
            end""", {"redis.server": "/nowhere"})
        self.assertEqual(notes, [])

    def test_without_deeds_nothing_is_asked(self):
        server = self.redis()
        notes = self.run_filter('note(redis.call("SET", "k", 1))', {"redis.server": server.server}, deeds=False)
        self.assertIn("--deeds", notes[0])
        self.assertIsNone(server.ask("GET", "k"))

    def test_password_database_and_links(self):
        server = self.redis(password="pass word")
        secret = self.folder.write("secret", "pass word\n", mode=0o600)
        options = {"redis.server": server.server, "redis.password_file": secret, "redis.database": 3}
        code = """
            note(redis.call("SET", "k", "v"))
            local tasks = {}
            for i = 1, 20 do tasks[i] = function() return redis.call("INCR", "n") end end
            local seen = {}
            for _, n in ipairs(async.all(tasks)) do seen[n] = true end
            note(#seen)"""
        self.assertEqual(self.run_filter(code, options), ["OK", "20"])
        self.assertIn("db3:keys=2", server.ask("INFO", "keyspace").decode())
        received = int(re.search(r"total_connections_received:(\d+)", server.ask("INFO", "stats").decode()).group(1))
        self.run_filter('for i = 1, 50 do redis.call("INCR", "n") end', options)
        again = int(re.search(r"total_connections_received:(\d+)", server.ask("INFO", "stats").decode()).group(1))
        self.assertEqual(again - received, 2, "fifty calls take one connection, and this one asks on another")
        self.assertIn("nil, redis", self.run_filter('note(redis.call("GET", "k"))', {"redis.server": server.server})[0])
        wrong = self.folder.write("wrong", "x", mode=0o600)
        self.assertIn("WRONGPASS", self.run_filter('note(redis.call("GET", "k"))', {**options, "redis.password_file": wrong})[0])
        os.chmod(secret, 0o644)
        self.assertIn("redis.password_file: others may read", self.run_filter('note(redis.call("GET", "k"))', options)[0])
        user = {**options, "redis.user": "mail"}
        os.chmod(secret, 0o600)
        server.ask("ACL", "SETUSER", "mail", "on", ">pass word", "~*", "+@all")
        self.assertEqual(self.run_filter('note(redis.call("ACL", "WHOAMI"))', user), ["mail"])

    def test_tls(self):
        key, certificate = self.folder("key.pem"), self.folder("cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
                        "-days", "2", "-subj", "/CN=redis.example", "-addext", "subjectAltName=DNS:redis.example"], check=True, capture_output=True)
        server = Redis(self.folder)
        port = free_port(server.address)  # an address of this test alone: the port stays free
        server.settings = ["--tls-port", str(port), "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-auth-clients", "no"]
        server.start()
        self.addCleanup(server.stop)
        options = {"redis.server": f"{server.address}:{port}", "redis.tls": "yes", "redis.ca_file": certificate, "redis.tls_name": "redis.example"}
        code = 'for i = 1, 3 do note(redis.call("INCR", "n")) end note(#redis.call("GETRANGE", redis.call("SETRANGE", "b", 99999, "x") and "b", 0, -1))'
        self.assertEqual(self.run_filter(code, options), ["1", "2", "3", "100000"])
        self.assertIn("tls: ", self.run_filter('note(redis.call("PING"))', {**options, "redis.tls_name": "other.example"})[0])
        self.assertEqual(self.run_filter('note(redis.call("PING"))', {**options, "redis.tls_name": "", "redis.tls_verify": "no"}), ["PONG"])


class Lies(Base):
    """Servers that hang, close, send byte by byte, too much, or nonsense: nil and why, in time."""

    def ask(self, handle, code='note(redis.call("GET", "k"))', **options):
        server = self.fake(handle)
        given = {"redis.server": server.server, "redis.timeout": f"{400 * PATIENCE}ms", "redis.connect_time": f"{300 * PATIENCE}ms", **options}
        return server, self.run_filter(code, given)

    def test_answers(self):
        def after_greeting(data):
            def handle(connection):
                greet(connection)
                connection.sendall(data)
            return handle
        for data, wanted in ((b"$3\r\nabc\r\n", "abc"), (b"", "closed"), (b"$10\r\nabc", "closed"), (b"HTTP/1.1 200 OK\r\n\r\n", "no RESP2"),
                             (b"$999999999\r\n", "redis.max_reply"), (b"*2\r\n*999999999\r\n", "redis.max_reply"), (b"*1\r\n" * 20, "redis.max_reply"),
                             (b"+" + b"x" * 40000, "redis.max_reply"), (b":12x\r\n", "no RESP2")):
            _, notes = self.ask(after_greeting(data))
            self.assertIn(wanted, notes[0], data[:40])

    def test_byte_by_byte(self):
        def handle(connection):
            greet(connection)
            for byte in b"*2\r\n$5\r\nab\r\nc\r\n:-7\r\n":
                connection.sendall(bytes([byte]))
                time.sleep(0.002)
            connection.recv(1)
        self.assertEqual(self.ask(handle, 'note(redis.call("LRANGE", "k", 0, 1))')[1], ["{ab\r\nc -7}"])

    def test_silence(self):
        def hang(connection):
            connection.recv(4096)
            connection.recv(4096)
            time.sleep(30)
        server, notes = self.ask(hang, 'for i = 1, 3 do note(redis.call("GET", "k")) end')
        self.assertTrue(all("timeout" in text for text in notes), notes)
        self.assertEqual(server.n, 1, "who does not answer is left alone for redis.retry_time")

        def hang_later(connection):
            greet(connection)
            time.sleep(30)
        _, notes = self.ask(hang_later, 'note(redis.call("GET", "k")) note(store.get("k"))', **{"store.backend": "redis", "store.timeout": f"{300 * PATIENCE}ms"})
        self.assertTrue(all("timeout" in text for text in notes), notes)

    def test_what_a_cancelled_call_asked_is_no_answer_for_the_next(self):
        turns = []

        def handle(connection):
            data = greet(connection)
            turns.append(data)
            if b"slow" in data:
                time.sleep(0.5 * PATIENCE)
            connection.sendall(b"$4\r\nslow\r\n" if b"slow" in data else b"$4\r\nnext\r\n")
            connection.recv(10)
        _, notes = self.ask(handle, """
            note(async.timeout(0.1, function() return redis.call("GET", "slow") end))
            note(redis.call("GET", "next"))""", **{"redis.timeout": "5s"})
        self.assertEqual(notes[-1], "next")
        self.assertEqual(len(turns), 2)

    def test_more_than_was_asked(self):
        def handle(connection):
            greet(connection)
            connection.sendall(b"$1\r\na\r\n$1\r\nb\r\n")
            connection.recv(10)
        server, notes = self.ask(handle, 'note(redis.call("GET", "k")) note(redis.call("GET", "k"))')
        self.assertEqual((notes, server.n), (["a", "a"], 2))

    def test_entries_of_the_store_that_are_none(self):
        server = self.redis()
        for key, command in (("text", ("SET",)), ("list", ("RPUSH",))):
            server.ask(*command, "postern:" + key, "x")
        for key, kind, end, value in (("kind", 9, 0, "x"), ("integer", 1, 0, "x"), ("float", 2, 0, "1.5"), ("bool", 3, 0, 2), ("table", 5, 0, "\xff"),
                                      ("end", 4, "soon", "x"), ("nan", 2, 0, "7ff8000000000000")):
            server.ask("HSET", "postern:" + key, "k", kind, "e", end, "v", value)
        notes = self.run_filter("""
            for _, key in ipairs{ "text", "list", "kind", "integer", "float", "bool", "table", "end", "nan" } do
                local ok, value, why = pcall(store.get, key)
                note(key, not ok and "error" or value, why)
            end
            note(store.set("kind", 1), store.get("kind"))""", {"redis.server": server.server, "store.backend": "redis"})
        self.assertTrue(notes[-1].endswith("true, 1"), notes)
        for text in notes[:-1]:
            self.assertRegex(text, "^[a-z]+, (nil, the store in redis: |error)", notes)


class StoreOnRedis(Base):
    def test_the_tests_of_every_back_end(self):
        server = self.redis()
        done = subprocess.run([os.path.join(BUILD, "tests", "test_store")], env={**os.environ, "POSTERN_TEST_REDIS": server.path}, capture_output=True,
                              text=True, timeout=100 * PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("[  PASSED  ] 12 test(s).", done.stdout + done.stderr)

    def test_posternctl_and_time_to_live(self):
        server = self.redis()
        options = ("-o", f"redis.server={server.server}", "-o", "store.backend=redis", "-o", "store.prefix=mx:")

        def store(*words, data=None):
            done = subprocess.run([CTL, "store", *words, *options], input=data, capture_output=True, text=True, timeout=60 * PATIENCE, check=False)
            return done.returncode, done.stdout, done.stderr
        self.assertEqual(store("list")[:2], (0, "none\n"))
        rows = [{"key": f"k{i:04}", "value": {"n": [i, True]}} for i in range(700)] + [{"key": "short", "value": 1.5, "expires": int(time.time()) + 1000}]
        self.assertEqual(store("import", data="".join(json.dumps(row) + "\n" for row in rows)), (0, "imported: 701, ended already: 0, wrong: 0\n", ""))
        exported = [json.loads(line) for line in store("export")[1].splitlines()]
        self.assertEqual([row["key"] for row in exported], [row["key"] for row in rows])
        self.assertEqual(store("get", "k0007")[:2], (0, '{"n":[7,true]}\n'))
        self.assertTrue(900000 < server.ask("PTTL", "mx:short") <= 1000000)
        self.assertEqual(server.ask("PTTL", "mx:k0001"), -1)
        self.assertEqual(store("expire")[:2], (0, "removed: 0\n"))
        self.assertEqual((store("delete", "k0007")[0], store("get", "k0007")[0]), (0, 1))
        server.kill()
        code, out, err = store("list")
        self.assertEqual((code, out), (71, ""))
        self.assertIn(f"redis {server.server}: refused", err)

    def test_full(self):
        server = self.redis(settings=["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"])
        notes = self.run_filter("""
            local i, ok, why = 0, nil, nil
            repeat i = i + 1 ok, why = store.set("k" .. i, ("x"):rep(60000)) until not ok or i > 200
            note(i < 200, why)
            note(store.get("k1") ~= nil, store.delete("k1"))""", {"redis.server": server.server, "store.backend": "redis"})
        self.assertRegex(notes[0], "^true, the store in redis: OOM ")
        self.assertEqual(notes[1], "true, true")

    def test_ten_at_once(self):
        server = self.redis()
        notes = self.run_filter("""
            local tasks = {}
            for i = 1, 10 do
                tasks[i] = function()
                    for _ = 1, 10 do assert(store.update("n", function(old) return (old or 0) + 1 end)) end
                    return #assert(store.keys("n"))
                end
            end
            local counts = async.all(tasks)
            note(store.get("n"), counts[1], next(counts.errors))""", {"redis.server": server.path, "store.backend": "redis", "store.timeout": "20s"})
        self.assertEqual(notes, ["100, 1, nil"])


class Sentinels(Base):
    def test_a_fail_over(self):
        master, one, two = (Redis(self.folder, name) for name in ("master", "one", "two"))
        master.start()
        self.addCleanup(master.stop)
        for replica in (one, two):
            replica.settings = ["--replicaof", master.address, str(master.port)]
            replica.start()
            self.addCleanup(replica.stop)
        wait_until(lambda: b"master_link_status:up" in one.ask("INFO", "replication") and b"master_link_status:up" in two.ask("INFO", "replication"),
                   "the replicas to follow", 20)
        sentinel = Redis(self.folder, "sentinel", sentinel_of=master).start()
        self.addCleanup(sentinel.stop)
        wait_until(lambda: len(sentinel.ask("SENTINEL", "replicas", "mail")) == 2, "the sentinel to know both replicas", 30)
        dead = Redis(self.folder, "dead")
        dead.port = 1
        postern = Postern("""
            local store, redis = require "postern.store", require "postern.redis"
            function filter_message(msg)
                local n, why = store.incr("n")
                local role = redis.call("ROLE")
                return reject(n and "number " .. n .. " of " .. (role or {"?"})[1] or "none: " .. why)
            end""", {"store.backend": "redis", "redis.sentinels": f"{dead.server}, {sentinel.server}", "redis.master": "mail", "redis.retry_time": "50ms",
                     "worker.allow_network": "yes", "worker.sandbox": SANDBOX, "worker.state_dir": self.folder(), "multiplexor.min_workers": 2, "multiplexor.max_workers": 2})
        self.addCleanup(postern.stop)

        def answer():
            with MilterClient(postern.spec, 30 * PATIENCE) as client:
                return client.start().message(headers=[("Subject", " x")]).text or ""
        self.assertIn("number 1 of master", answer())
        self.assertIn("number 2 of master", answer())
        wait_until(lambda: all(replica.ask("HGET", "postern:n", "v") == b"2" for replica in (one, two)), "the replicas to have it", 20)
        workers = sorted(worker["pid"] for worker in postern.workers())
        master.kill()
        self.assertIn("none: the store: redis ", answer())  # whichever: refused, closed; told at once and no hang
        # By both workers, and by the store and postern.redis in each: they have clients of their own.
        wait_until(lambda: all("of master" in answer() for _ in range(6)), lambda: f"the new master to be found:\n{postern.logs()}", 40)
        self.assertEqual(sorted(worker["pid"] for worker in postern.workers()), workers, "without a restart")
        # A master that becomes a replica in good order: the link may stay, and the write is refused.
        old = one if b"role:master" in one.ask("INFO", "replication") else two
        other = two if old is one else one
        before = int(re.search(r"number (\d+)", answer()).group(1))
        wait_until(lambda: other.ask("HGET", "postern:n", "v") == str(before).encode(), "the replica to follow", 20)
        # The Sentinel gives a fail-over up when the replica does not answer it in time: it is told again.
        asked = 0.0

        def has_changed():
            nonlocal asked
            if b"role:slave" in old.ask("INFO", "replication"):
                return True
            if time.monotonic() - asked > 10:
                asked = time.monotonic()
                sentinel.ask("SENTINEL", "failover", "mail")
            return False
        wait_until(has_changed, "the roles to change", 60)
        found = wait_until(lambda: re.search(r"number (\d+)", answer()), "the other master to be found", 40)
        self.assertGreater(int(found.group(1)), before)

    def test_a_replica_refuses_and_the_master_is_asked_for_again(self):
        """The links stay open, and the server at their end has become a replica: what it refuses is asked of the new master."""
        first, second = self.redis("first"), self.redis("second")
        named = [first]

        def name_master(connection):
            while connection.recv(4096):
                host, port = named[0].address.encode(), str(named[0].port).encode()
                connection.sendall(b"*2\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(host), host, len(port), port))

        def switch():
            wait_until(lambda: first.ask("HGET", "postern:n", "v") == b"1", "the first entry", 20)
            named[0] = second
            first.ask("REPLICAOF", second.address, second.port)
        thread = threading.Thread(target=switch)
        thread.start()
        self.addCleanup(thread.join)
        notes = self.run_filter("""
            note(redis.call("SET", "k", 1), store.incr("n"))
            repeat async.sleep(0.02) until redis.call("ROLE")[1] == "slave"
            note(redis.call("SET", "k", 2), store.incr("n"))
            """, {"redis.sentinels": self.fake(name_master).server, "store.backend": "redis"})
        self.assertEqual(notes, ["OK, 1", "OK, 1"])
        self.assertEqual(second.ask("GET", "k"), b"2")


if __name__ == "__main__":
    unittest.main()
