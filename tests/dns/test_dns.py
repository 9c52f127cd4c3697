"""Look-ups of filters: what each type gives, what the cache does, servers that fail or lie, many at the same time, the sandbox."""

import json
import os
import struct
import subprocess
import sys
import time
import unittest

sys.path[:0] = [os.path.join(os.environ["POSTERN_SOURCE"], "tests"), os.path.join(os.environ["POSTERN_SOURCE"], "tests", "system")]

from fixture import SystemTest  # noqa: E402
from harness.dns_server import FakeDns, Nsd, name_bytes, record  # noqa: E402
from harness.process import BIN, PATIENCE, SANITIZE, Folder  # noqa: E402

CTL = os.path.join(BIN, "posternctl")
SANDBOX = "available" if SANITIZE else "required"  # sanitizers do without the list of system calls

ZONE = """
@ A 192.0.2.1
@ A 192.0.2.2
@ AAAA 2001:db8::1
@ MX 20 b
@ MX 10 a.example.org.
@ TXT "v=spf1 " "-all"
@ TXT "gr\\195\\188n \\255 \\007"
long TXT "{}" "{}"
alias CNAME host
host A 192.0.2.7
_sip._tcp SRV 5 1 5060 sip
_sip._tcp SRV 1 2 5061 sip
nomx MX 0 .
odd PTR a\\.b\\032c.example.org.
many TXT "{}"
""".format("x" * 255, "y" * 200, '"\nmany TXT "'.join(f"{n:03d}" + "z" * 200 for n in range(40)))
REVERSE = "1 PTR example.org.\n2 PTR example.org.\n2 PTR liar.example.org.\n3 PTR liar.example.org.\n"


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("dns")
        self.addCleanup(self.folder.remove)

    def run_filter(self, code, servers, *options, log=False):
        """Runs the body of filter_message; what it gives note(value …) comes back, as JSON of posternctl run shows it."""
        path = self.folder.write("filter.lua", f"""
            local dns, async = require "postern.dns", require "postern.async"
            local function text(v)
                if type(v) ~= "table" then return tostring(v) end
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
        mail = self.folder.write("mail.eml", "Subject: x\n\nx\n")
        words = [CTL, "run", "--json", "-o", f"dns.servers={servers}", "-o", "worker.allow_network=yes"]
        for option in options:
            words += ["-o", option]
        done = subprocess.run([*words, path, mail], capture_output=True, timeout=60 * PATIENCE, check=False)
        self.assertTrue(done.stdout, done.stderr.decode())
        result = json.loads(done.stdout)
        self.assertIsNone(result["error"], f"{result['error']}\n{done.stderr.decode()}")
        notes = [line.partition("=")[2] for line in result["log"]]
        return (notes, done.stderr.decode() + "\n".join(result["log"])) if log else notes

    def fake(self, handle):
        server = FakeDns(handle)
        self.addCleanup(server.stop)
        return server


class RealServer(Base):
    def setUp(self):
        super().setUp()
        self.nsd = Nsd(self.folder, {"example.org": ZONE, "2.0.192.in-addr.arpa": REVERSE})
        self.nsd.start()
        self.addCleanup(self.nsd.stop)

    def test_types(self):
        rows = [
            ('"example.org", "A"', "{192.0.2.1 192.0.2.2}"), ('"EXAMPLE.org."', "{192.0.2.1 192.0.2.2}"),
            ('"example.org", "AAAA"', "{2001:db8::1}"),
            ('"example.org", "mx"', "{{exchange=a.example.org preference=10} {exchange=b.example.org preference=20}}"),
            ('"example.org", "NS"', "{ns.example.org}"), ('"alias.example.org", "CNAME"', "{host.example.org}"),
            ('"alias.example.org", "A"', "{192.0.2.7}"), ('"alias.example.org", "MX"', "{}"),
            ('"_sip._tcp.example.org", "SRV"',
             "{{port=5061 priority=1 target=sip.example.org weight=2} {port=5060 priority=5 target=sip.example.org weight=1}}"),
            ('"nomx.example.org", "MX"', "{{exchange=. preference=0}}"), ('"odd.example.org", "PTR"', "{a\\.b\\032c.example.org}"),
            ('"long.example.org", "TXT"', "{" + "x" * 255 + "y" * 200 + "}"),
            ('"host.example.org", "TXT"', "{}"), ('"none.example.org", "TXT"', "{nxdomain=true}"),
            ('"other.test"', "nil, refused"),
            ('"a..b"', "nil, formerr: no domain name"), ('""', "nil, formerr: no domain name"), ('("x"):rep(64)', "nil, formerr"),
            ('("x."):rep(128)', "nil, formerr: no"), ('"gr\\195\\188n.example.org"', "nil, formerr"), ('"a\\0b"', "nil, formerr"),
        ]
        notes = self.run_filter("\n".join(f"note(dns.query({call}))" for call, _ in rows), self.nsd.server)
        for (call, wanted), note in zip(rows, notes):
            if wanted.startswith("nil"):
                self.assertTrue(note.startswith(wanted), (call, note))
            else:
                # The order of equals is the server's.
                self.assertEqual(sorted(note.strip("{}").split(" ")), sorted(wanted.strip("{}").split(" ")), call)

    def test_texts_are_utf8(self):
        notes = self.run_filter('for _, t in ipairs(dns.query("example.org", "TXT")) do note(utf8.len(t), t) end', self.nsd.server)
        self.assertEqual(sorted(note.split(", ", 1)[1][:5] for note in notes), ["grün ", "v=spf"])

    def test_truncated_answers_are_asked_for_over_tcp(self):
        notes = self.run_filter('local l = dns.query("many.example.org", "TXT") note(#l, #l[1])', self.nsd.server)
        self.assertEqual(notes, ["40, 203"])

    def test_reverse(self):
        notes = self.run_filter("""
            note(dns.reverse("192.0.2.1")) note(dns.reverse("192.0.2.1", { confirm = true })) note(dns.reverse("192.0.2.3", { confirm = true }))
            note(#dns.reverse("192.0.2.2"), dns.reverse("192.0.2.2", { confirm = true })) note(dns.reverse("192.0.2.99"))
            note(pcall(dns.reverse, "x")) note(pcall(dns.reverse, "192.0.2.1", { confirm = 1 })) note(pcall(dns.query, "x", "ANY"))
            """, self.nsd.server)
        self.assertEqual(notes[:5], ["{example.org}", "{example.org}", "{}", "2, {example.org}", "{nxdomain=true}"])
        for note, wanted in zip(notes[5:], ("is no address", "confirm is a boolean", "A, AAAA, CNAME")):
            self.assertIn(wanted, note)

    def test_a_dead_server_comes_back(self):
        notes = self.run_filter(f"""
            note((dns.query("example.org", "A")))
            local first = dns.query("host.example.org", "A")
            note(first)
            """, f"{self.nsd.address}:1,{self.nsd.server}", "dns.timeout=300ms")
        self.assertEqual(notes[1], "{192.0.2.7}")


class FakeServer(Base):
    def test_ten_at_once_take_as_long_as_one(self):
        server = self.fake(lambda q: (0.5, q.answer([record(q.name, "A", "192.0.2.1")])))
        notes = self.run_filter("""
            local before, t = async.time_left(), {}
            for i = 1, 10 do t[i] = function() return dns.query("n" .. i .. ".test", "A") end end
            local r = async.all(t)
            note(#r, r[10], before - async.time_left() >= 0.49, before - async.time_left() < 2.5)
            """, server.server)
        self.assertEqual(notes, ["10, {192.0.2.1}, true, true"])

    def test_the_same_question_is_asked_once(self):
        server = self.fake(lambda q: (0.1, q.answer([record(q.name, "A", "192.0.2.1")])))
        notes = self.run_filter("""
            local function ask(name) return function() return dns.query(name, "A") end end
            note(async.all{ ask("x.test"), ask("X.TEST"), ask("x.test") })
            note(dns.query("x.test")) note(dns.query("x.test", "TXT"))
            """, server.server)
        self.assertEqual(notes[0], "{{192.0.2.1} {192.0.2.1} {192.0.2.1} errors={}}")
        self.assertEqual((notes[1], server.count("x.test", "A"), server.count("x.test", "TXT")), ("{192.0.2.1}", 1, 1))

    def test_times_to_live(self):
        ttl = {"zero.test": 0, "long.test": 300, "nothing.test": 300, "nosoa.test": None}

        def handle(query):
            if query.name == "nothing.test":
                return query.answer(rcode=3, authorities=[record("test", "SOA", 60, 300)])
            if query.name == "nosoa.test":
                return query.answer(rcode=3)
            return query.answer([record(query.name, "A", "192.0.2.1", ttl[query.name])])
        server = self.fake(handle)
        code = "for _ = 1, 3 do for _, n in ipairs{ 'zero', 'long', 'nothing', 'nosoa' } do dns.query(n .. '.test') end end"
        self.run_filter(code, server.server)
        self.assertEqual([server.count(name) for name in ttl], [3, 1, 1, 3])
        self.run_filter(code, server.server, "dns.min_ttl=10s", "dns.max_negative_ttl=0s")
        self.assertEqual([server.count(name) for name in ttl], [3 + 1, 1 + 1, 1 + 3, 3 + 3])
        self.run_filter(code, server.server, "dns.cache_size=0", "dns.min_ttl=10s")
        self.assertEqual([server.count(name) for name in ttl], [4 + 3, 2 + 3, 4 + 3, 6 + 3])

    def test_a_small_cache_holds_the_newest(self):
        server = self.fake(lambda q: q.answer([record(q.name, "TXT", "x" * 200)]))
        self.run_filter("""
            for i = 1, 50 do dns.query("n" .. i .. ".test", "TXT") dns.query("n1.test", "TXT") end
            dns.query("n2.test", "TXT") dns.query("n50.test", "TXT")
            """, server.server, "dns.cache_size=4000")
        self.assertEqual([server.count(f"n{n}.test") for n in (1, 2, 50)], [1, 2, 1])

    def test_codes(self):
        codes = {"servfail.test": 2, "refused.test": 5, "formerr.test": 1, "notimp.test": 4, "odd.test": 9}
        server = self.fake(lambda q: q.answer(rcode=codes[q.name]))
        notes = self.run_filter("\n".join(f"note(dns.query('{name}'))" for name in codes), server.server)
        for note, word in zip(notes, ("servfail", "refused", "formerr", "refused", "formerr")):
            self.assertTrue(note.startswith(f"nil, {word}"), notes)

    def test_the_next_server_answers(self):
        bad, good = self.fake(lambda q: q.answer(rcode=2)), self.fake(lambda q: q.answer([record(q.name, "A", "192.0.2.9")]))
        silent = self.fake(lambda q: None)
        notes = self.run_filter("note(dns.query('x.test'))", f"{bad.server}, {silent.server}, {good.server}", "dns.timeout=200ms")
        self.assertEqual(notes, ["{192.0.2.9}"])

    def test_a_silent_server_is_asked_last_for_a_while(self):
        """A dead first server costs its time-out once, not for each name; when it is back, it is asked first again."""
        state = {"is_dead": True}

        def first(query):
            return None if state["is_dead"] and not query.name.startswith("back") else query.answer([record(query.name, "A", "192.0.2.1")])

        def second(query):
            return query.answer([record(query.name, "A", "192.0.2.2")])
        one, two = self.fake(first), self.fake(second)
        servers = f"{one.server}, {two.server}"
        notes = self.run_filter("for i = 1, 20 do note(dns.query('n' .. i .. '.test')) end", servers, "dns.timeout=200ms")
        self.assertEqual(notes, ["{192.0.2.2}"] * 20)
        self.assertEqual((one.count(), two.count()), (1, 20))
        notes = self.run_filter("note(dns.query('x.test')) async.sleep(0.3) note(dns.query('back1.test')) note(dns.query('back2.test'))", servers,
                                "dns.timeout=200ms", "dns.retry_time=250ms")
        self.assertEqual(notes, ["{192.0.2.2}", "{192.0.2.1}", "{192.0.2.1}"])
        one.stop()
        two.stop()
        notes = self.run_filter("note(dns.query('x.test')) note(dns.query('y.test'))", servers, "dns.timeout=200ms")
        self.assertTrue(all(note.startswith("nil, ") for note in notes), notes)

    def test_silence(self):
        server = self.fake(lambda q: None)
        start = time.monotonic()
        notes, log = self.run_filter("""
            note(dns.query("x.test"))
            note(async.timeout(0.05, dns.query, "y.test", "MX"))
            note(async.any({ function() return dns.query("z.test") end, function() async.sleep(0.02) return "first" end }))
            """, server.server, "dns.timeout=150ms", "dns.tries=2", log=True)
        self.assertEqual((notes[0], notes[2]), (f"nil, timeout ({server.server})", "first, 2"))
        self.assertRegex(notes[1], r"^nil, timeout: dns MX y.test")
        self.assertEqual(server.count("x.test"), 2)
        self.assertGreaterEqual(time.monotonic() - start, 0.3)
        self.assertNotIn("out of time", log)

    def test_nobody_listens(self):
        server = self.fake(lambda q: None)
        server.stop()
        notes = self.run_filter("note(dns.query('x.test'))", server.server, "dns.timeout=200ms")
        self.assertRegex(notes[0], r"^nil, (network|timeout)")

    def test_lies_are_not_believed(self):
        """Another number, another question, another address: the true answer, which comes after them, counts."""
        def handle(query):
            evil = [record(query.name, "A", "203.0.113.66")]
            number = struct.unpack(">H", query.packet[:2])[0]
            return [query.answer(evil, number=number ^ 1), query.answer(evil, question_bytes=name_bytes("evil.test") + query.packet[query.end - 4:query.end]),
                    b"", b"\0" * 5, query.answer(evil)[:20],
                    query.answer([record("other.test", "A", "203.0.113.66"), record(query.name, "A", "192.0.2.1")])]
        server = self.fake(handle)
        self.assertEqual(self.run_filter("note(dns.query('x.test'))", server.server, "dns.timeout=2s"), ["{192.0.2.1}"])

    def test_malformed_answers(self):
        loop = [record("a.test", "CNAME", "b.test"), record("b.test", "CNAME", "a.test")]
        rows = {
            "loop.test": lambda q: q.answer([record(q.name, "CNAME", "a.test"), *loop]),
            "short.test": lambda q: q.answer([record(q.name, "A", b"\1\2\3")]),
            "long.test": lambda q: q.answer([record(q.name, "A", b"\1\2\3\4\5")]),
            "pointer.test": lambda q: q.answer([record(q.name, "CNAME", b"\xc0\xff")]),
            "forward.test": lambda q: q.answer([record(q.name, "CNAME", struct.pack(">H", 0xc000 | len(q.answer()) + len(name_bytes(q.name)) + 10))]),
            "cut.test": lambda q: q.answer([record(q.name, "A", "192.0.2.1")])[:-2],
            "none.test": lambda q: q.answer()[:6] + b"\0\7" + q.answer()[8:],
            "label.test": lambda q: q.answer([record(q.name, "CNAME", b"\x80abc\0")]),
        }
        server = self.fake(lambda q: rows[q.name](q))
        notes = self.run_filter("\n".join(f"note(dns.query('{name}'))" for name in rows), server.server, "dns.timeout=200ms")
        for name, note in zip(rows, notes):
            self.assertTrue(note.startswith("nil, formerr"), (name, note))

    def test_chains(self):
        def handle(query):
            links = int(query.name.split(".")[0])
            rows = [record(f"{n}.test", "CNAME", f"{n - 1}.test", 100 + n) for n in range(links, 0, -1)]
            return query.answer([*reversed(rows), record("0.test", "A", "192.0.2.1")])
        server = self.fake(handle)
        notes = self.run_filter("note(dns.query('1.test')) note(dns.query('16.test')) note(dns.query('30.test'))", server.server)
        self.assertEqual(notes[:2], ["{192.0.2.1}", "{192.0.2.1}"])
        self.assertTrue(notes[2].startswith("nil, formerr"), notes)

    def test_truncation_with_a_dead_tcp(self):
        def handle(query):
            return None if query.is_tcp else query.answer(truncated=True)
        server = self.fake(handle)
        notes = self.run_filter("note(dns.query('x.test'))", server.server, "dns.timeout=200ms", "dns.tries=1")
        self.assertRegex(notes[0], r"^nil, (timeout|network)")

    def test_a_late_answer_is_of_use_to_the_next(self):
        server = self.fake(lambda q: (0.3, q.answer([record(q.name, "A", "192.0.2.1")])))
        notes = self.run_filter("""
            note(async.timeout(0.05, dns.query, "x.test")) async.sleep(0.6) note(dns.query("x.test"))
            """, server.server)
        self.assertEqual((notes[1], server.count("x.test")), ("{192.0.2.1}", 1))

    def test_bad_options(self):
        notes = self.run_filter("note(dns.query('x.test'))", "nonsense")
        self.assertTrue(notes[0].startswith("nil, network: dns.servers: nonsense"), notes)


class Daemons(SystemTest):
    FILTER = """local dns, async = require "postern.dns", require "postern.async"
        function filter_message(msg)
            local list, err = dns.query(msg.subject, "A")
            return reject(list and (list[1] or "none") or err)
        end"""

    def answer(self, subject):
        return self.client().start().message(headers=(("Subject", " " + subject),)).text

    def test_sandboxed(self):
        server = FakeDns(lambda q: None if q.name == "silent.test" else q.answer([record(q.name, "A", "192.0.2.1")]))
        self.addCleanup(server.stop)
        self.start(self.FILTER, {"dns.servers": server.server, "worker.sandbox": SANDBOX, "worker.allow_network": "yes",
                                 "multiplexor.min_workers": "1", "multiplexor.max_workers": "1"})
        self.assertIn("192.0.2.1", self.answer("x.test"))
        self.assertIn("192.0.2.1", self.answer("x.test"))
        self.assertEqual(server.count("x.test"), 1)

    def test_without_the_network(self):
        self.start(self.FILTER, {"dns.servers": "127.0.0.1:9", "worker.sandbox": SANDBOX})
        self.assertIn("network: the sandbox: worker.allow_network", self.answer("x.test"))

    def test_the_deadline_names_the_question(self):
        server = FakeDns(lambda q: None)
        self.addCleanup(server.stop)
        self.start(self.FILTER, {"dns.servers": server.server, "worker.allow_network": "yes", "milterd.message_time": "1500ms",
                                 "milterd.stage_time": "1500ms", "multiplexor.kill_grace": "500ms"})
        self.assertTrue(self.answer("x.test").startswith("451"))
        self.worker_lines("still waits for: dns A x.test (filter.lua:3)", least=1)


if __name__ == "__main__":
    unittest.main()
