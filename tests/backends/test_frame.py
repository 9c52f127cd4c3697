"""Streams to servers that do what they like, and calls of back ends that fail: the declared answer, the breaker, the marks."""

import array
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import unittest

sys.path[:0] = [os.path.join(os.environ["POSTERN_SOURCE"], "tests"), os.path.join(os.environ["POSTERN_SOURCE"], "tests", "system")]

from fixture import SystemTest  # noqa: E402
from harness.fake_server import FakeServer  # noqa: E402
from harness.process import BIN, PATIENCE, SANITIZE, Folder, wait_until  # noqa: E402

CTL = os.path.join(BIN, "posternctl")
SANDBOX = "available" if SANITIZE else "required"  # sanitizers do without the list of system calls


def certificate(folder, names):
    """A server's context with a certificate of its own, and its file."""
    key, file = folder("key.pem"), folder("cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", file,
                    "-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={names}"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return context, file


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("backends")
        self.addCleanup(self.folder.remove)

    def server(self, handle, **kwargs):
        server = FakeServer(handle, **kwargs)
        self.addCleanup(server.stop)
        return server

    def run_filter(self, code, *options):
        """The report of posternctl run on a filter_message(msg) with this body."""
        path = self.folder.write("filter.lua", f"""local net, backends = require "postern.internal.net", require "postern.internal.backends"
            local async = require "postern.async"
            function filter_message(msg)
                local function note(...) msg:log("n", table.concat({{ (tostring((...))), tostring((select(2, ...))) }}, ", ")) end
                {code}
            end""")
        mail = self.folder.write("mail.eml", "Subject: x\n\nx\n")
        words = [CTL, "run", "--json", "-o", "worker.allow_network=yes"]
        for option in options:
            words += ["-o", option]
        done = subprocess.run([*words, path, mail], capture_output=True, timeout=60 * PATIENCE, check=False)
        self.assertTrue(done.stdout, done.stderr.decode())
        result = json.loads(done.stdout)
        result["notes"] = [line[2:] for line in result["log"] if line.startswith("n=")]
        return result

    def notes(self, code, *options):
        result = self.run_filter(code, *options)
        self.assertIsNone(result["error"], result["error"])
        return result["notes"]


class Streams(Base):
    def connect(self, server, more=""):
        return f'local s, e = net.connect{{ address = "127.0.0.1", port = {server.port}, timeout = 20 {more} }} assert(s, e)\n'

    def test_reading(self):
        def handle(connection):
            wanted = connection.recv(100)
            for byte in b"line one\r\nline two\n\nabcdef" + b"x" * 50000 if wanted == b"bytes" else b"":
                connection.sendall(bytes([byte]))
        server = self.server(handle)
        self.assertEqual(self.notes(self.connect(server) + """
            note(s:write("bytes")) note(s:read_line(100)) note(s:read_line(8)) note(s:read_line(0)) note(s:read(6)) note(s:read(0))
            note(#s:read_end(100000)) note(s:read_end(0)) note(s:read_some()) note(s:read(1)) note(s:write("x"))"""),
                         ["true, nil", "line one, nil", "line two, nil", ", nil", "abcdef, nil", ", nil", "50000, nil", ", nil", ", nil",
                          "nil, closed", "nil, closed"])

    def test_bounds(self):
        server = self.server(lambda connection: connection.sendall(b"x" * 100000))
        for call in ("read_line(1000)", "read_end(99999)"):
            self.assertEqual(self.notes(self.connect(server) + f"note(s:{call}) note(s:read(1))"), ["nil, too long", "nil, too long"])
        self.assertEqual(self.notes(self.connect(server) + "note(#s:read_end(100000))"), ["100000, nil"])

    def test_large_writes(self):
        got = []

        def handle(connection):
            time.sleep(0.2)
            n = 0
            while piece := connection.recv(65536):
                n += len(piece)
                if n == 20 << 20:
                    break
            got.append(n)
            connection.sendall(b"ok")
        server = self.server(handle)
        self.assertEqual(self.notes(self.connect(server) + 'note(s:write(("y"):rep(20 << 20))) note(s:read(2))'), ["true, nil", "ok, nil"])
        self.assertEqual(got, [20 << 20])

    def test_silence_and_refusal(self):
        server = self.server(lambda connection: time.sleep(20))
        closed = socket.socket()
        self.addCleanup(closed.close)
        closed.bind(("127.0.0.1", 0))
        notes = self.notes(self.connect(server) + f"""
            s:timeout(0.1) note(s:read(1)) note(s:read(1))
            note(net.connect{{ address = "127.0.0.1", port = {closed.getsockname()[1]} }}) note(net.connect{{ path = "/nonexistent/socket" }})
            note(pcall(net.connect, {{ address = "example.org", port = 1 }})) note(pcall(net.connect, {{ path = ("x"):rep(200) }}))
            note(pcall(s.read, s, -1))""")
        self.assertEqual(notes[:4], ["nil, timeout", "nil, timeout", "nil, refused", "nil, No such file or directory"])
        for note, text in zip(notes[4:], ("is no address", "1 to 107 bytes", "a number of bytes")):
            self.assertIn(text, note)

    def test_parts_of_what_is_written(self):
        server = self.server(lambda connection: connection.sendall(connection.makefile("rb").read()))
        notes = self.notes(self.connect(server) + """
            for _, w in ipairs{ { 2, 3 }, { 5 }, { 1, 0 }, { 7, 9 }, { 6, 99 } } do s:write("abcdef", table.unpack(w)) end
            for _, w in ipairs{ { 0 }, { 8 }, { 1, -1 } } do note(pcall(s.write, s, "abcdef", table.unpack(w))) end
            s:write("", 1) s:write(msg, 10, 1) s:end_write() note(s:read_end(20))""")
        self.assertEqual(notes[3], "bcdeffx, nil")
        for note, text in zip(notes, ("a place in it", "a place in it", "a number of bytes")):
            self.assertIn(text, note)

    def test_one_reads_while_its_twin_writes(self):
        size = 8 << 20  # more than the sockets hold

        def echo(connection):
            while piece := connection.recv(65536):
                connection.sendall(piece)
        server = self.server(echo)
        notes = self.notes(self.connect(server) + f"""
            local r = async.all{{ function() local twin <close> = s:twin() return twin:write(("z"):rep({size})) end,
                                 function() return #s:read({size}) end }}
            note(r[1], r[2]) note(s:write("x")) note(s:read(1)) s:close() note(s:twin()) note(s:rest())""")
        self.assertEqual(notes, [f"true, {size}", "true, nil", "x, nil", "nil, closed", "closed, nil"])

    def test_at_rest(self):
        server = self.server(lambda connection: (connection.recv(1), connection.sendall(b"ab"), connection.recv(1)))
        notes = self.notes(self.connect(server) + """
            note(s:rest()) s:write("x") note(s:read(1)) note(s:rest()) note(s:read(1)) note(s:rest()) s:write("x")
            note(s:read_some()) note(s:rest())""")
        self.assertEqual(notes, ["idle, nil", "a, nil", "more, nil", "b, nil", "idle, nil", ", nil", "closed, nil"])

    def test_one_function_at_a_time(self):
        server = self.server(lambda connection: (connection.recv(1), connection.sendall(b"ab")))
        notes = self.notes(self.connect(server) + """
            local r = async.all{ function() return s:read(2) end, function() return s:write("x") end }
            note(r.errors[2]:match("in use"))""")
        self.assertEqual(notes[0], "in use, nil")

    def test_cancelled(self):
        server = self.server(lambda connection: time.sleep(20))
        notes = self.notes(self.connect(server, ', what = "the scanner"') + """
            note(async.timeout(0.05, function() local s <close> = s return s:read(1) end))
            note(s:read(1))""")
        self.assertRegex(notes[0], r"^nil, timeout: the scanner \(filter.lua:\d+\)$")
        self.assertEqual(notes[1], "nil, closed")

    def test_unix_and_descriptors(self):
        path = self.folder("s")

        def handle(connection):
            fds = array.array("i")
            data, ancillary, _, _ = connection.recvmsg(10, socket.CMSG_LEN(4))
            fds.frombytes(ancillary[0][2])
            with os.fdopen(fds[0], "rb") as file:
                connection.sendall(b"%d %d %s" % (len(data), len(file.read()), b"\n"))
        self.server(handle, path=path)
        self.assertEqual(self.notes(f'local s = assert(net.connect{{ path = "{path}" }}) note(s:send_memory(("z"):rep(70000))) note(s:read_line(20))'),
                         ["true, nil", "1 70000 , nil"])

    def test_tls(self):
        context, file = certificate(self.folder, "DNS:scanner.test,IP:127.0.0.1")
        server = self.server(lambda connection: connection.sendall(connection.recv(100) * 10000), context=context)

        def tls(options):
            return self.notes(self.connect(server) + f"""
                local ok, e = s:tls{{ {options} }} note(ok, e)
                if ok then s:write("hello") note(#s:read(50000)) end""")
        ca = f'ca_file = "{file}"'
        for options in (f'name = "scanner.test", {ca}', f'name = "127.0.0.1", {ca}', 'name = "whatever.test", verify = false'):
            self.assertEqual(tls(options), ["true, nil", "50000, nil"], options)
        for options in (f'name = "other.test", {ca}', f'name = "127.0.0.2", {ca}', 'name = "scanner.test"', 'name = "x", ca_file = "/dev/null"'):
            self.assertTrue(tls(options)[0].startswith("nil, tls: "), options)

    def test_tls_with_one_that_has_none(self):
        server = self.server(lambda connection: connection.sendall(b"220 hello\r\n"))
        note, = self.notes(self.connect(server) + 'local ok, e = s:tls{ name = "x", verify = false } note(ok, e)')
        self.assertTrue(note.startswith("nil, tls: "), note)


class BackEnds(Base):
    BAD = 'local n = 0 local function bad() n = n + 1 return nil, "timeout" end\n'

    def test_answers(self):
        self.assertEqual(self.notes('note(backends.call("fake", function() return "clean" end)) note(backends.call("fake", function() return false end))'),
                         ["clean, nil", "false, nil"])

    def test_tempfail_cannot_be_caught(self):
        for code in ("backends.call('fake', bad)", "pcall(backends.call, 'fake', bad)", "pcall(pcall, backends.call, 'fake', bad)",
                     "async.all{ function() backends.call('fake', bad) end, function() async.sleep(20) end }",
                     "pcall(async.any, { function() pcall(backends.call, 'fake', bad) end })",
                     "coroutine.wrap(function() pcall(coroutine.wrap(function() backends.call('fake', bad) end)) end)()",
                     "xpcall(backends.call, function() return accept() end, 'fake', bad)",
                     "table.sort({ 2, 1 }, function() pcall(backends.call, 'fake', bad) return true end)",
                     "local c <close> = setmetatable({}, { __close = function() while true do end end }) backends.call('fake', bad)"):
            result = self.run_filter(self.BAD + f"msg:add_header('X', 'y') msg.state.x = 1 {code} do return accept() end")
            self.assertIsNone(result["error"], code)
            self.assertEqual((result["verdict"], result["reply"]["code"]), ("tempfail", 451), (code, result))
            self.assertIn("deferred=fake: timeout", result["log"], code)
            self.assertNotIn("X", json.dumps(result.get("changes", [])), code)

    def test_the_line_of_the_filter_is_named(self):
        """Also where a task of it has handed over to a module and is gone from the stack."""
        clamav = 'local clamav = require "postern.clamav"\n'
        for code in ("local r = clamav.scan(msg)", "async.all{ function() return clamav.scan(msg) end }",
                     "async.all{ function() local r = clamav.scan(msg) return r end }", "coroutine.wrap(function() return clamav.scan(msg) end)()"):
            result = self.run_filter(f"{clamav}do {code} end", "clamav.sockets=unix:/nonexistent/clamd.ctl")
            self.assertEqual(result["verdict"], "tempfail", code)
            self.assertRegex("\n".join(result["log"]), r"hook=filter_message filter\.lua:\d+: clamav: ", code)

    def test_continue_marks_the_mail(self):
        result = self.run_filter(self.BAD + """
            local r = backends.call("fake", bad, { msg = msg })
            note(r.status, r.error)
            local store = require "postern.store"
            local key = store.keys("unscanned/")[1] note(key:match("/fake$"), store.get(key).why)""", "backend.on_failure=continue",
                                 "backend.unscanned_header=X-Unseen")
        self.assertIsNone(result["error"])
        self.assertEqual(result["notes"], ["unscanned, timeout", "/fake, timeout"])
        self.assertIn("unscanned=fake: timeout", result["log"])
        self.assertIn("X-Unseen", json.dumps(result))

    def test_return(self):
        self.assertEqual(self.notes(self.BAD + 'note(backends.call("fake", bad, { msg = msg }))', "backend.on_failure=return"), ["nil, timeout"])
        self.assertEqual(self.notes(self.BAD + 'note(backends.call("fake", bad, { on_failure = "return" }))'), ["nil, timeout"])

    def test_one_policy_for_all(self):
        """What a section does not say itself says [backend]."""
        scan = 'note(require("postern.clamav").scan(msg).status)'
        gone = ("clamav.sockets=unix:/nonexistent/clamd.ctl", "backend.on_failure=continue")
        self.assertEqual(self.notes(scan, *gone), ["unscanned, nil"])
        self.assertEqual(self.run_filter(scan, *gone, "clamav.on_failure=tempfail")["verdict"], "tempfail")
        shown = subprocess.run([CTL, "config", "-o", "backend.on_failure=return", "-o", "rspamd.on_failure=continue"], capture_output=True, text=True, check=True)
        self.assertRegex(shown.stdout, r"(?m)^# clamav +return .*(?:\n.*)*^# rspamd +continue ")
        refused = subprocess.run([CTL, "config", "-o", "backend.on_failure=backend"], capture_output=True, text=True, check=False)
        self.assertEqual((refused.returncode, refused.stdout), (2, ""), refused.stderr)

    def test_breaker(self):
        notes = self.notes(self.BAD + """
            for _ = 1, 5 do backends.call("fake", bad) end note(n)
            note(backends.call("fake", bad)) note(backends.call("other", bad)) note(n)
            async.sleep(0.3) backends.call("fake", bad) note(n) note(backends.call("fake", bad))
            async.sleep(0.3)
            local r = async.all{ function() return backends.call("fake", function() async.sleep(0.05) n = n + 10 return "good" end) end,
                function() return backends.call("fake", bad) end }
            note(r[1], r.errors[2] and r.errors[2]:match("left alone")) note(n)
            note(backends.call("fake", function() return "better" end))""",
                           "backend.on_failure=return", "backend.failures=3", "backend.retry_time=250ms")
        self.assertEqual(notes[0], "3, nil")
        self.assertRegex(notes[1], "^nil, left alone for 1 s more after 3 failures in a row$")
        self.assertEqual(notes[2:4], ["nil, timeout", "4, nil"])
        self.assertEqual(notes[4], "5, nil")
        self.assertIn("left alone", notes[5])
        self.assertEqual(notes[6:], ["good, left alone", "15, nil", "better, nil"])

    def test_errors_and_lost_time_count(self):
        notes = self.notes("""
            for _ = 1, 2 do pcall(backends.call, "fake", function() error("x") end) end
            async.timeout(0.01, backends.call, "fake", function() async.sleep(9) end)
            note(backends.call("fake", function() return 1 end))""", "backend.on_failure=return", "backend.failures=3")
        self.assertIn("left alone", notes[0])

    def test_cancelled_while_it_had_time(self):
        """Nobody's failure: another was quicker. What the one that tries again leaves undone, the next one does."""
        notes = self.notes(self.BAD + """
            local function slow() return backends.call("fake", function() async.sleep(20) return 1 end) end
            local function quick() async.sleep(0.01) return "quick" end
            for _ = 1, 4 do async.any{ slow, quick } end
            note(backends.call("fake", function() return "asked" end))
            for _ = 1, 3 do backends.call("fake", bad) end
            async.sleep(0.3)
            note(async.any{ slow, quick })
            note(backends.call("fake", function() return "asked" end))""",
                           "backend.on_failure=return", "backend.failures=3", "backend.retry_time=250ms")
        self.assertEqual(notes, ["asked, nil", "quick, 2", "asked, nil"])

    def test_config_shows_a_table(self):
        done = subprocess.run([CTL, "config", "-o", "backend.on_failure=continue", "-o", "backend.failures=9"], capture_output=True, text=True, check=True)
        self.assertRegex(done.stdout, r"# back end +on_failure +failures +retry_time\n# backend +continue +9 +30s")


class Daemons(SystemTest):
    def test_through_the_daemons(self):
        self.start("""local backends = require "postern.internal.backends"
            function filter_message(msg)
                pcall(backends.call, "fake", function() return nil, "refused" end, { msg = msg })
                return reject("not reached")
            end""",
                   {"worker.sandbox": SANDBOX})
        self.assertReply(self.client().start().message(), "451 4.7.1 this cannot be checked now")
        self.worker_lines("fake: refused; filter_message ends with tempfail", least=1)

    def test_unscanned_mail_is_counted_and_listed(self):
        state = Folder("unscanned")
        self.addCleanup(state.remove)
        self.start("""local backends = require "postern.internal.backends"
            function filter_message(msg)
                backends.call("fake", function() return nil, "refused" end, { msg = msg })
            end""", {"worker.sandbox": SANDBOX, "worker.state_dir": state(), "backend.on_failure": "continue"})
        for _ in range(2):
            answer = self.client().start().message()
            self.assertEqual((answer.code, answer.all("add_header")), ("continue", [["X-Postern-Unscanned", " fake"]]))

        def counted():
            text = self.postern.control("metrics")["data"]["text"]
            return 'postern_user_unscanned_total{backend="fake"} 2' in text and 'postern_user_backend_failures_total{backend="fake"} 2' in text
        wait_until(counted, lambda: "both to be counted:\n" + self.postern.control("metrics")["data"]["text"][-2000:], 10)
        listed = self.postern.ctl("store", "list", "unscanned/", check=True)[1]
        self.assertEqual(listed.count("/fake"), 2, listed)
        self.assertIn("refused", listed)

    def test_tls_in_the_sandbox(self):
        """Its library is loaded by the worker, when it is wanted."""
        folder = Folder("tls")
        self.addCleanup(folder.remove)
        context, _ = certificate(folder, "DNS:scanner.test")
        server = FakeServer(lambda connection: connection.sendall(connection.recv(5)), context=context)
        self.addCleanup(server.stop)
        self.start("""local net = require "postern.internal.net"
            function filter_message(msg)
                local stream <close> = assert(net.connect{ address = "127.0.0.1", port = config.port })
                assert(stream:tls{ name = "scanner.test", verify = false })
                stream:write("hello")
                return reject(stream:read(5))
            end""", {"worker.sandbox": SANDBOX, "worker.allow_network": "yes", "filter.port": server.port})
        for _ in range(3):
            self.assertReply(self.client().start().message(), "550 5.7.1 hello")

    def test_one_that_fails_is_no_failure_of_the_others(self):
        """The hook that one of them ends takes the calls of the others with it: they are asked again at once."""
        hanging = FakeServer(lambda connection: connection.recv(1) and connection.recv(1))
        self.addCleanup(hanging.stop)
        good = FakeServer(lambda connection: (connection.recv(1), connection.sendall(b"!")))
        self.addCleanup(good.stop)
        self.start("""local async, backends, servers = require "postern.async", require "postern.internal.backends", require "postern.internal.servers"
            local pool = servers.new{ section = "slow", sockets = config.sockets, connect_timeout = 20, timeout = 20 }
            local function slow() return servers.try(pool, function(stream) stream:write("?") return stream:read(1) end) end
            function filter_message(msg)
                async.all{ function() backends.call("slow", slow) end,
                    function() async.sleep(0.05) backends.call("dead", function() return nil, "refused" end) end }
            end""",
                   {"worker.sandbox": SANDBOX, "worker.allow_network": "yes", "multiplexor.min_workers": 1, "multiplexor.max_workers": 1,
                    "backend.failures": 3, "filter.sockets": f"inet:{hanging.port}@127.0.0.1 inet:{good.port}@127.0.0.1"})
        client = self.client().start()
        for _ in range(4):
            self.assertReply(client.message(headers=[("Subject", " x")]), "451 4.7.1")
        self.assertEqual(self.worker_lines("slow failed"), [])
        self.assertEqual((hanging.n, good.n), (4, 0), "nor is it asked last")


if __name__ == "__main__":
    unittest.main()
