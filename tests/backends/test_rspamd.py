"""postern.rspamd: against the real one, and against servers that answer nothing, nonsense or late; what it wants done to the header."""

import json
import os
import socket
import subprocess
import sys
import threading
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.environ["POSTERN_SOURCE"], "tests")]

from http_fakes import Web, answer  # noqa: E402
from test_frame import CTL, SANDBOX  # noqa: E402

from fixture import SystemTest  # noqa: E402
from harness.process import PATIENCE, Folder, wait_until  # noqa: E402
from harness.scanners import Rspamd  # noqa: E402

MAIL = "Received: by x\nX-Old: one\nX-Old: two\nX-Old: three\nSubject: test\nFrom: a@example.org\n\nhello\n"
GOOD = {"score": 1.5, "required_score": 15, "action": "no action", "symbols": {}}

RULES = """
rspamd_config.TEST_MARK = { score = 20.0, group = "test", description = "the mark", callback = function(task)
    if tostring(task:get_content()):find("MARK OF SPAM", 1, true) then return true, 1.0, "one", "two" end
end }
rspamd_config.TEST_SEEN = { score = 0.5, group = "test", callback = function(task)
    local seen = { task:get_from("smtp")[1].addr, task:get_from_ip():to_string(), task:get_helo(), task:get_hostname(), task:get_user() or "-",
        task:get_queue_id() }
    for _, rcpt in ipairs(task:get_recipients("smtp")) do seen[#seen + 1] = rcpt.addr end
    for _, name in ipairs{ "Deliver-To", "MTA-Name", "TLS-Version", "TLS-Cipher", "Settings-ID" } do
        seen[#seen + 1] = tostring(task:get_request_header(name) or "-")
    end
    task:set_milter_reply{ add_headers = { ["X-Seen"] = { value = table.concat(seen, "|"), order = 0 } }, remove_headers = { ["X-Old"] = 0 } }
    return true, 1.0
end }
"""


class Base(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("rspamd")
        self.addCleanup(self.folder.remove)

    def run_filter(self, code, url, *words, mail=MAIL, options=()):
        path = self.folder.write("filter.lua", f"""local rspamd = require "postern.rspamd"
            function filter_message(msg)
                local function note(...) local t = table.pack(...) for i = 1, t.n do t[i] = tostring(t[i]) end msg:log("n", table.concat(t, ", ")) end
                {code}
            end""")
        command = [CTL, "run", "--json", "-o", "worker.allow_network=yes", "-o", f"rspamd.url={url}", *words]
        for option in options:
            command += ["-o", option]
        done = subprocess.run([*command, path, self.folder.write("mail.eml", mail)], capture_output=True, timeout=60 * PATIENCE, check=False)
        self.assertTrue(done.stdout, done.stderr.decode())
        result = json.loads(done.stdout)
        result["notes"] = [line[2:] for line in result["log"] if line.startswith("n=")]
        return result

    def notes(self, *args, **kwargs):
        result = self.run_filter(*args, **kwargs)
        self.assertIsNone(result["error"], result["error"])
        return result["notes"]

    def fake(self, reply):
        """An rspamd that answers with this: a table, bytes, or a function of the request."""
        def handle(request, _):
            value = reply(request) if callable(reply) else reply
            return value if isinstance(value, bytes) or value is None else answer(json.dumps(value).encode())
        web = Web(handle)
        self.addCleanup(web.stop)
        return web


class RealServer(Base):
    WHO = ("--ip", "198.51.100.7", "--hostname", "relay.example.org", "--helo", "helo.example.org", "--sender", "a@example.org", "--macro", "i=4QUEUE",
           "--macro", "j=mx.example.net", "--macro", "{tls_version}=TLSv1.3", "--macro", "{cipher}=AES", "--macro", "{auth_authen}=anna")

    def setUp(self):
        super().setUp()
        self.rspamd = Rspamd(self.folder, RULES)
        self.addCleanup(self.rspamd.stop)
        self.rspamd.start()

    def test_judgements_and_metadata(self):
        code = """local r = rspamd.check(msg, { headers = { ["Settings-ID"] = "none" } })
            note(r.status, r.is_spam, r.action, r.score, r.threshold, table.concat(r.tests, " "))
            local s = r.symbols.TEST_MARK note(s and s.score, s and table.concat(s.options, " "), (r.report:gsub("\\n", ";")))
            rspamd.apply(msg, r) note(msg:header("X-Seen"), #msg:headers("X-Old"))"""
        notes = self.notes(code, self.rspamd.url, *self.WHO, "--recipient", "b@example.net")
        self.assertEqual(notes[0], "clean, false, no action, 0.5, 15.0, TEST_SEEN")
        self.assertEqual(notes[2], "a@example.org|198.51.100.7|helo.example.org|relay.example.org|anna|4QUEUE|b@example.net|b@example.net|mx.example.net|"
                                   "TLSv1.3|AES|none, 0")
        notes = self.notes(code, self.rspamd.url, *self.WHO, "--recipient", "b@example.net", "--recipient", "c@example.net", mail=MAIL + "MARK OF SPAM\n")
        self.assertEqual(notes[0], "spam, true, reject, 20.5, 15.0, TEST_MARK TEST_SEEN")
        self.assertEqual(notes[1], "20.0, one two, reject, 20.50 of 15.00;  20.00 TEST_MARK [one, two];   0.50 TEST_SEEN")
        self.assertIn("|b@example.net|c@example.net|-|mx.example.net|", notes[2])

    def test_the_null_sender_and_odd_names(self):
        notes = self.notes('local r = rspamd.check(msg) note(r.status) rspamd.apply(msg, r) note(msg:header("X-Seen"))', self.rspamd.url,
                           "--sender", "", "--helo", "a\x01b", "--recipient", "b@example.net", "--ip", "2001:db8::7")
        self.assertEqual(notes[0], "clean")
        self.assertTrue(notes[1].startswith("|2001:db8::7|a?b|"), notes)

    def test_changed(self):
        code = 'msg:add_header("X-Mine", "MARK OF SPAM") note(rspamd.check(msg).action, rspamd.check(msg, { changed = true }).action)'
        self.assertEqual(self.notes(code, self.rspamd.url), ["no action, reject"])

    def test_killed_and_back(self):
        code = 'local r, e = rspamd.check(msg) note(r and r.status, e)'
        self.assertEqual(self.notes(code, self.rspamd.url), ["clean, nil"])
        self.rspamd.kill()
        wait_until(lambda: not self.rspamd_listens(), "the port to be free")
        result = self.run_filter(code, self.rspamd.url)
        self.assertEqual((result["verdict"], result["reply"]["code"]), ("tempfail", 451))
        self.assertEqual(self.notes(code, self.rspamd.url, options=("rspamd.on_failure=continue",)), ["unscanned, nil"])
        self.assertEqual(self.notes(code, self.rspamd.url, options=("rspamd.on_failure=return",)), ["nil, refused"])
        self.rspamd.start()
        self.assertEqual(self.notes(code, self.rspamd.url), ["clean, nil"])

    def rspamd_listens(self):
        """Its worker ends a moment after the process that was killed."""
        host, port = self.rspamd.url[7:].split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0


class Fakes(Base):
    def failure(self, web, *options):
        note, = self.notes("note(rspamd.check(msg, { on_failure = 'return' }))", web.url, options=options)
        return note

    def test_nonsense(self):
        deep = ("[" * 500 + "]" * 500).encode()
        rows = ((answer(b""), "malformed answer"), (answer(b"<html>"), "malformed answer: no JSON"), (answer(b"[]"), "malformed answer"), (answer(b"7"), "malformed answer"),
                (answer(deep), "malformed answer: no JSON: too deep"), (answer(b'{"error":"cannot parse"}'), "malformed answer: cannot parse"),
                (answer(b'{"score":"1","required_score":2,"action":"x"}'), "malformed answer"), (answer(b'{"score":1,"required_score":2,"action":"x"'), "malformed"),
                (answer(b"{}", "500 Oh"), "HTTP status 500"), (answer(json.dumps(GOOD).encode(), length=500)[:-3], "timeout"), (None, "closed"),
                (answer(json.dumps({**GOOD, "x": "y" * 20000}).encode()), "too long"))
        for reply, wanted in rows:
            note = self.failure(self.fake(lambda _, reply=reply: reply), "rspamd.timeout=1s", "rspamd.max_answer=10000")
            self.assertTrue(note.startswith("nil, " + wanted), (reply, note))

    def test_odd_types_are_taken_out(self):
        odd = {**GOOD, "symbols": {"A": 1, "B": {"score": "x", "options": [1, True, "z"]}, "C": {"score": 2, "options": 5, "description": 7}},
               "milter": 5, "messages": "x", "subject": []}
        notes = self.notes("""local r = rspamd.check(msg) rspamd.apply(msg, r) note(table.concat(r.tests, " "), r.symbols.B.score,
            table.concat(r.symbols.B.options, " "), #r.symbols.C.options, r.symbols.C.description, r.subject)""", self.fake(odd).url)
        self.assertEqual(notes, ["B C, 0, 1 true z, 0, nil, nil"])

    def test_hangs(self):
        over = threading.Event()
        self.addCleanup(over.set)
        web = self.fake(lambda _: over.wait(60) and None)
        result = self.run_filter("pcall(rspamd.check, msg) return accept()", web.url, options=("rspamd.timeout=300ms",))
        self.assertEqual((result["verdict"], result["reply"]["code"]), ("tempfail", 451))
        self.assertIn("deferred=rspamd: timeout", result["log"])

    def test_skipped(self):
        notes = self.notes("local r = rspamd.check(msg) rspamd.apply(msg, r) note(r.status, r.is_spam, r.action)", self.fake({"is_skipped": True}).url)
        self.assertEqual(notes, ["skipped, false, no action"])

    def test_the_request(self):
        web = self.fake(GOOD)
        self.notes('rspamd.check(msg, { user = "me", deliver_to = "d@example.net" })', web.url + "/", "--ip", "local")
        request, = web.requests
        self.assertEqual((request.method, request.target, request.field("Pass")), ("POST", "/checkv2", "all"))
        self.assertEqual((request.field("User"), request.field("Deliver-To"), request.field("IP")), ("me", "d@example.net", None))
        self.assertEqual(request.body.replace(b"\r\n", b"\n").decode(), MAIL)

    def header_after(self, milter, more=None):
        web = self.fake({**GOOD, **(more or {}), "milter": milter})
        result = self.run_filter("""rspamd.apply(msg, rspamd.check(msg)) local t = {}
            for name, value in msg:each_header() do note(name .. "=" .. value) end""", web.url)
        self.assertIsNone(result["error"], result["error"])
        return result["notes"]

    def test_headers(self):
        before = ["Received=by x", "X-Old=one", "X-Old=two", "X-Old=three", "Subject=test", "From=a@example.org"]
        self.assertEqual(self.header_after({}), before)
        rows = (({"remove_headers": {"X-Old": 0}}, before[:1] + before[4:]), ({"remove_headers": {"x-old": 2}}, before[:2] + before[3:]),
                ({"remove_headers": {"X-Old": -1}}, before[:3] + before[4:]), ({"remove_headers": {"X-Old": [1, -1]}}, before[:1] + before[2:3] + before[4:]),
                ({"remove_headers": {"X-Old": 9, "X-None": 0, "X-Odd": "x"}}, before),
                ({"add_headers": {"X-A": "end"}}, [*before, "X-A=end"]), ({"add_headers": {"X-A": {"value": "top", "order": 0}}}, ["X-A=top", *before]),
                ({"add_headers": {"X-A": {"value": "third", "order": 2}}}, [*before[:2], "X-A=third", *before[2:]]),
                ({"add_headers": {"X-A": {"value": "last", "order": -1}}}, [*before, "X-A=last"]),
                ({"add_headers": {"X-A": {"value": "last but one", "order": -2}}}, [*before[:5], "X-A=last but one", before[5]]),
                ({"add_headers": {"X-A": ["one", {"value": "two"}]}}, [*before, "X-A=one", "X-A=two"]),
                ({"add_headers": {"X-A": 5}}, [*before, "X-A=5"]), ({"add_headers": {"X-A": "folded\r\n\tvalue\0"}}, [*before, "X-A=folded value?"]))
        for milter, wanted in rows:
            self.assertEqual(self.header_after(milter), wanted, milter)
        for bad in ({"X A": "x"}, {"X:": "x"}, {"": "x"}, {"X" * 300: "x"}, {"X-A": {"order": 1}}, {"X-A": True}, {"X-A": "x" * 40000}):
            self.assertEqual(self.header_after({"add_headers": bad}), before, bad)
        self.assertEqual(self.header_after({}, {"action": "rewrite subject", "subject": "*** SPAM *** test"})[4], "Subject=*** SPAM *** test")
        self.assertEqual(self.header_after({}, {"subject": "no"})[4], "Subject=test")
        self.assertEqual(self.header_after({}, {"dkim-signature": "v=1; b=a\r\n\tb"}), ["DKIM-Signature=v=1; b=a b", *before])
        self.assertEqual(self.header_after({}, {"dkim-signature": ["v=1", 7, "v=2"]}), ["DKIM-Signature=v=1", "DKIM-Signature=v=2", *before])
        self.assertEqual(self.header_after({}, {"dkim-signature": ["x" * 40000] + ["y"] * 30}), ["DKIM-Signature=y"] * 9 + before)
        self.assertEqual(self.header_after({}, {"dkim-signature": {"v": 1}}), before)

    def envelope_after(self, milter):
        web = self.fake({**GOOD, "milter": milter})
        result = self.run_filter("""rspamd.apply(msg, rspamd.check(msg)) local t = {}
            for i, rcpt in ipairs(msg.recipients) do t[i] = rcpt.address end note(msg.sender, table.concat(t, " "))""", web.url,
            "--sender", "a@example.org", "--recipient", "b@example.net", "--recipient", "c@example.net")
        self.assertIsNone(result["error"], result["error"])
        note, = result["notes"]
        return note

    def test_envelope(self):
        before = "a@example.org, b@example.net c@example.net"
        rows = (({"change_from": "x@example.org"}, "x@example.org, b@example.net c@example.net"), ({"change_from": "<>"}, ", b@example.net c@example.net"),
                ({"add_rcpt": ["d@example.net", "<e@example.net>"]}, before + " d@example.net e@example.net"),
                ({"del_rcpt": "B@example.net"}, "a@example.org, c@example.net"), ({"del_rcpt": ["z@example.net"]}, before),
                ({"change_from": ["x"], "add_rcpt": [1, {"a": "b"}, "a\r\nb", "x>y z", "x" * 5000], "del_rcpt": 7}, before))
        for milter, wanted in rows:
            self.assertEqual(self.envelope_after(milter), wanted, milter)

    def test_a_refusal_that_nobody_is_told_of(self):
        for action, how, wanted in (("reject", "discard", "discard"), ("reject", "quarantine", "quarantine"), ("reject", "x", "reject"),
                                    ("reject", [1], "reject"), ("add header", "discard", "add header")):
            notes = self.notes("note(rspamd.check(msg).action)", self.fake({**GOOD, "action": action, "milter": {"reject": how}}).url)
            self.assertEqual(notes, [wanted])

    def test_misuse(self):
        rows = (("rspamd.check()", "a msg expected"), ("rspamd.check(msg, { chnaged = true })", "no option 'chnaged'"), ("rspamd.check(msg, { changed = 1 })", "is a boolean"),
                ("rspamd.check(msg, { on_failure = 'x' })", "on_failure is"), ("rspamd.apply(msg)", "a result of rspamd.check"), ("rspamd.apply(1, {})", "a msg expected"))
        notes = self.notes("\n".join(f"note(pcall(function() local r = {call} end))" if "check" in call[:12] else f"note(pcall(function() {call} return 1 end))"
                                     for call, _ in rows), "http://127.0.0.1:1")
        for (call, text), note in zip(rows, notes, strict=True):
            self.assertTrue(note.startswith("false, filter.lua:"), (call, note))
            self.assertIn(text, note)

    def test_config_shows_it(self):
        done = subprocess.run([CTL, "config", "-o", "rspamd.on_failure=continue"], capture_output=True, text=True, check=True)
        self.assertRegex(done.stdout, r"# rspamd +continue +5 +30s")


class Daemons(SystemTest):
    def test_dead_through_the_daemons(self):
        closed = socket.socket()
        self.addCleanup(closed.close)
        closed.bind(("127.0.0.1", 0))
        self.start("""local rspamd = require "postern.rspamd"
            function filter_message(msg) rspamd.check(msg) return reject("not reached") end""",
                   {"worker.sandbox": SANDBOX, "worker.allow_network": "yes", "rspamd.url": f"http://127.0.0.1:{closed.getsockname()[1]}"})
        self.assertReply(self.client().start().message(), "451 4.7.1 this cannot be checked now")
        self.worker_lines("rspamd: refused; filter_message ends with tempfail", least=1)


if __name__ == "__main__":
    unittest.main()
