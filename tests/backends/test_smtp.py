"""postern.smtp against servers that refuse, hang, lie and end early: recipients checked, mail sent."""

import json
import os
import ssl
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["POSTERN_SOURCE"], "tests"))

from harness.dns_server import FakeDns, record  # noqa: E402
from harness.process import BIN, PATIENCE, Folder, loopback_address, wait_until  # noqa: E402
from harness.smtp_server import SmtpServer  # noqa: E402

CTL = os.path.join(BIN, "posternctl")
MAIL = "From: a@example.org\nSubject: x\n\n.dot\nx\n"


class Base(unittest.TestCase):
    def setUp(self):
        self.folder, self.mail = Folder("smtp"), MAIL
        self.addCleanup(self.folder.remove)

    def server(self, **how):
        server = SmtpServer(**how)
        self.addCleanup(server.close)
        return server

    def report(self, code, *options, deeds=False):
        """What posternctl run tells of a filter_message with this body; what note(…) got is in "notes"."""
        path = self.folder.write("filter.lua", f"""local smtp, store, async = require "postern.smtp", require "postern.store", require "postern.async"
            function filter_message(msg)
                local function note(...)
                    local out = {{}}
                    for i = 1, select("#", ...) do out[i] = tostring((select(i, ...))) end
                    msg:log("n", table.concat(out, ", "))
                end
                {code}
            end""")
        mail = self.folder.write("mail.eml", self.mail)
        os.makedirs(self.folder("state"), exist_ok=True)
        words = [CTL, "run", "--json", *(["--deeds"] if deeds else []), "-o", "worker.allow_network=yes", "-o", f"worker.state_dir={self.folder('state')}"]
        for option in options:
            words += ["-o", option]
        done = subprocess.run([*words, path, mail], capture_output=True, timeout=60 * PATIENCE, check=False)
        self.assertTrue(done.stdout, done.stderr.decode())
        result = json.loads(done.stdout)
        result["notes"] = [line[2:] for line in result["log"] if line.startswith("n=")]
        return result

    def notes(self, code, *options, deeds=False):
        result = self.report(code, *options, deeds=deeds)
        self.assertIsNone(result["error"], result["error"])
        return result["notes"]

    def context(self, names):
        key, file = self.folder("key.pem"), self.folder("cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", file,
                        "-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={names}"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file, key)
        return context, file


class Check(Base):
    def check(self, server, more="", address="ann@example.net", options=()):
        return self.notes(f'note(smtp.check_recipient("{address}", {{ host = "127.0.0.1", port = {server.port}, timeout = 20 {more} }}))', *options)

    def test_answers(self):
        server = self.server(refuse={"bob@example.net": "550-5.1.1 no\r\n550 5.1.1 such \x1b user", "eve@example.net": "450 4.2.1 later"})
        self.assertEqual(self.check(server), ["true, 250, 2.1.5 fine"])
        self.assertEqual(self.check(server, address="bob@EXAMPLE.net"), ["false, 550, 5.1.1 no 5.1.1 such ? user"])
        self.assertEqual(self.check(server, address="eve@example.net"), ["nil, RCPT: 450 4.2.1 later"])
        self.assertEqual([message.data for message in server.messages], [])
        self.assertIn("MAIL FROM:<>", server.commands)
        self.assertEqual(server.commands.count("DATA"), 0)
        self.assertEqual(self.check(server, ', sender = "me@example.org"'), ["true, 250, 2.1.5 fine"])
        self.assertIn("MAIL FROM:<me@example.org>", server.commands)

    def test_what_says_nothing_about_the_recipient(self):
        for how, wanted in (({"refuse": {"greeting": "554 5.7.1 go away"}}, "nil, greeting: 554 5.7.1 go away"),
                            ({"refuse": {"greeting": "421 4.3.2 busy"}}, "nil, greeting: 421 4.3.2 busy"),
                            ({"refuse": {"mail": "550 5.7.1 no bounces"}}, "nil, MAIL: 550 5.7.1 no bounces"),
                            ({"refuse": {"mail": "451 4.3.0 later"}}, "nil, MAIL: 451 4.3.0 later"),
                            ({"refuse": {"greeting": "2\r\n20 hello"}}, "nil, greeting: no SMTP"),
                            ({"refuse": {"greeting": "220-x\r\n" * 200}}, "nil, greeting: too long"),
                            ({"refuse": {"mail": "250 " + "x" * 5000}}, "nil, MAIL: too long"),
                            ({"close_at": "greeting"}, "nil, greeting: closed"),
                            ({"close_at": "mail"}, "nil, MAIL: closed"),
                            ({"close_at": "rcpt"}, "nil, RCPT: closed")):
            with self.subTest(how):
                self.assertEqual(self.check(self.server(**how)), [wanted])

    def test_time(self):
        for stage, said in (("greeting", "greeting"), ("mail", "MAIL"), ("rcpt", "RCPT")):
            server = self.server(hang_at=stage)
            self.assertEqual(self.notes(f'note(smtp.check_recipient("a@example.net", {{ host = "127.0.0.1", port = {server.port}, timeout = 0.3 }}))'),
                             [f"nil, {said}: timeout"])

    def test_old_server(self):
        server = self.server(extensions=None)
        self.assertEqual(self.check(server), ["true, 250, 2.1.5 fine"])
        self.assertEqual(self.check(server, address="gr\u00fcn@example.net"), ["nil, MAIL: 553 the server takes no such addresses (SMTPUTF8)"])

    def test_remembered(self):
        server = self.server(refuse={"bob@example.net": "550 no", "eve@example.net": "450 no"})
        code = "for _ = 1, 3 do note(smtp.check_recipient(%r, { host = '127.0.0.1', port = %d })) end"
        for name, options, n in (("ann", (), 1), ("bob", (), 1), ("eve", (), 1), ("ann", ("smtp.check_taken=0",), 3), ("bob", ("smtp.check_refused=0",), 3),
                                 ("eve", ("smtp.check_failed=0",), 3)):
            before = server.connections
            answers = self.notes(code % (f"{name}@example.net", server.port), *options)
            self.assertEqual((len(set(answers)), server.connections - before), (1, n), (name, options))

    def test_same_check_at_the_same_time(self):
        server = self.server()
        self.assertEqual(self.notes(f"""
            local function ask() return (smtp.check_recipient("ann@example.net", {{ host = "127.0.0.1", port = {server.port} }})) end
            local r = async.all{{ ask, ask, ask }} note(r[1], r[2], r[3])"""), ["true, true, true"])
        self.assertEqual(server.connections, 1)

    def test_misuse(self):
        for code, wanted in (('smtp.check_recipient("a b")', "is no mail address"), ('smtp.check_recipient("a@b\\r\\nc@d.e")', "is no mail address"),
                             ('smtp.check_recipient(nil)', "an address expected"), ('smtp.check_recipient("a@b.c", { hosts = "x" })', "no option 'hosts'"),
                             ('smtp.check_recipient("a@b.c", { port = 1.5 })', "port is a number"), ('smtp.check_recipient("a@b.c", { starttls = "yes" })', "starttls is"),
                             ('smtp.check_recipient("a@b.c", { timeout = -1 })', "timeout is in seconds"), ('smtp.send{ to = "a@b.c" }', "host or path is missing"),
                             ('smtp.send{ host = "127.0.0.1", to = {}, message = "x" }', "1 to 10000 recipients"),
                             ('smtp.send{ host = "127.0.0.1", to = "x y", message = "x" }', "is no mail address"), ('msg:split{ by = "mail" }', "by is"),
                             ('msg:split()', "a table with by"), ('msg:split{ by = "domain" }', "smtp.reinject names no server")):
            with self.subTest(code):
                error = json.dumps(self.report(code)["error"])
                self.assertIn(wanted, error)
                self.assertIn("filter.lua:8", error)


class Exchanges(Base):
    """Servers that DNS names."""

    def setUp(self):
        super().setUp()
        self.address, self.zone = loopback_address(), {}
        self.dns = FakeDns(lambda query: query.answer([record(query.name, query.kind, value) for value in self.zone.get((query.name, query.kind), ())],
                                                      rcode=0 if any(name == query.name for name, _ in self.zone) else 3))
        self.addCleanup(self.dns.stop)

    def check(self, port, *options, address="ann@example.net"):
        return self.notes(f'note(smtp.check_recipient("{address}", {{ port = {port} }}))', f"dns.servers={self.dns.server}", *options)

    def test_many_servers(self):
        """Twenty are looked up; that these have no address says nothing of the rest."""
        self.zone = {("example.net", "MX"): [(i, f"mx{i}.example.net") for i in range(30)], ("mx29.example.net", "A"): [self.address],
                     **{(f"mx{i}.example.net", "TXT"): ["x"] for i in range(29)}}
        self.assertEqual(self.check(25), ["nil, the first 20 of its 30 mail servers have no address"])
        self.assertEqual((self.dns.count("mx19.example.net"), self.dns.count("mx20.example.net")), (2, 0))

    def test_looking_up_counts(self):
        """A name server that is silent takes no longer than the check may."""
        self.dns.handle = lambda query: None
        begin = time.monotonic()
        note, = self.check(25, "smtp.check_timeout=500ms", "dns.timeout=60s", "milterd.message_time=120s", "milterd.stage_time=120s")
        self.assertTrue(note.startswith("nil, timeout"), note)
        self.assertLess(time.monotonic() - begin, 30 * PATIENCE)

    def test_best_first(self):
        server = self.server(address=(self.address, 0))
        self.zone = {("example.net", "MX"): [(20, "worse.example.net"), (10, "best.example.net")], ("best.example.net", "A"): [self.address],
                     ("worse.example.net", "A"): ["127.0.0.99"]}
        never = "smtp.check_never=192.0.2.0/24"
        self.assertEqual(self.check(server.port, never), ["true, 250, 2.1.5 fine"])
        self.assertEqual(self.dns.count("worse.example.net"), 2)
        self.zone[("best.example.net", "A")] = ["127.0.0.98"]
        self.zone[("worse.example.net", "A")] = [self.address]
        self.assertEqual(self.check(server.port, never), ["true, 250, 2.1.5 fine"])
        self.assertEqual(self.check(server.port, never, "smtp.check_servers=1"), ["nil, connect: refused"])

    def test_no_servers(self):
        self.zone = {("example.net", "MX"): [(0, ".")], ("nothing.example", "TXT"): ["x"], ("plain.example", "A"): [self.address]}
        server = self.server(address=(self.address, 0))
        self.assertEqual(self.check(server.port), ["false, 550, the domain takes no mail"])
        self.assertEqual(self.check(server.port, address="a@nowhere.example"), ["false, 550, there is no such domain"])
        self.assertEqual(self.check(server.port, address="a@nothing.example"), ["false, 550, its mail servers have no address"])
        self.assertEqual(self.check(server.port, "smtp.check_never=192.0.2.0/24", address="a@plain.example"), ["true, 250, 2.1.5 fine"])
        self.assertEqual(server.connections, 1)

    def test_never_ourselves(self):
        server = self.server(address=(self.address, 0))
        self.zone = {("example.net", "MX"): [(10, "mx.example.net")], ("mx.example.net", "A"): [self.address]}
        self.assertEqual(self.check(server.port), ["nil, its mail server has an address in smtp.check_never"])
        self.assertEqual(server.connections, 0)
        self.assertEqual(self.check(server.port, "smtp.check_never=192.0.2.0/24", "smtp.helo=FAKE"), ["nil, greeting: the server is this one"])


class Tls(Base):
    def check(self, server, more):
        return self.notes(f'note(smtp.check_recipient("a@example.net", {{ host = "127.0.0.1", port = {server.port}, {more} }}))')

    def test_modes(self):
        context, file = self.context("IP:127.0.0.1")
        server = self.server(tls=context)
        good, trusted = ["true, 250, 2.1.5 fine"], f', ca_file = "{file}"'
        def has_quit():
            wait_until(lambda: server.commands[-1:] == ["QUIT"], "QUIT, which nobody waits for")
        self.assertEqual(self.check(server, 'starttls = "no"'), good)
        has_quit()
        self.assertNotIn("STARTTLS", server.commands)
        for mode in ('"may"', '"must"', '"verify"' + trusted):
            server.commands.clear()
            self.assertEqual(self.check(server, f"starttls = {mode}"), good, mode)
            has_quit()
            self.assertEqual([word.split()[0] for word in server.commands], ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "RSET", "QUIT"], mode)
        self.assertRegex(self.check(server, 'starttls = "verify"')[0], r"^nil, STARTTLS: tls: ")
        plain = self.server()
        self.assertEqual(self.check(plain, 'starttls = "may"'), good)
        self.assertEqual(self.check(plain, 'starttls = "must"'), ["nil, EHLO: no STARTTLS"])
        self.assertFalse(any(word.startswith("MAIL") for word in plain.commands[-1:]))

    def test_bad_certificate(self):
        context, file = self.context("DNS:other.test")
        server = self.server(tls=context)
        self.assertRegex(self.check(server, f'starttls = "verify", ca_file = "{file}"')[0], r"^nil, STARTTLS: tls: ")
        self.assertFalse(any(word.startswith("MAIL") for word in server.commands))
        self.assertEqual(self.check(server, 'starttls = "must"'), ["true, 250, 2.1.5 fine"])

    def test_refused_and_broken(self):
        """A server that offers TLS and has none is asked without it when that is allowed."""
        context, _ = self.context("DNS:other.test")
        server = self.server(tls=context, refuse={"starttls": "454 4.7.0 not now"})
        self.assertEqual(self.check(server, 'starttls = "may"'), ["true, 250, 2.1.5 fine"])
        self.assertEqual(self.check(server, 'starttls = "must"'), ["nil, STARTTLS: 454 4.7.0 not now"])
        broken = self.server(tls=context, close_at="starttls")
        self.assertEqual(self.check(broken, 'starttls = "may"'), ["true, 250, 2.1.5 fine"])
        self.assertEqual(broken.connections, 2)
        early = self.server(tls=context, refuse={"starttls": "220 go\r\n250 sent before TLS"})
        self.assertRegex(self.check(early, 'starttls = "must"')[0], "^nil, STARTTLS: tls: bytes before it began")


class Send(Base):
    def send(self, server, code="", deeds=True):
        return self.notes(f"""
            local ok, answers, lost = smtp.send{{ host = "127.0.0.1", port = {server.port}, from = "me@example.org",
                to = {{ "ann@example.net", "bob@example.net" }}, message = "Subject: hi\\n\\n.\\n..x\\rend", timeout = 20 }}
            if type(answers) == "table" then note(ok, answers["ann@example.net"].code, answers["bob@example.net"].code) else note(ok, answers, lost) end {code}""",
                          deeds=deeds)

    def test_taken(self):
        server = self.server()
        self.assertEqual(self.send(server), ["true, 250, 250"])
        message, = server.messages
        self.assertEqual((message.sender, message.recipients), ("me@example.org", ["ann@example.net", "bob@example.net"]))
        self.assertEqual(message.data, b"Subject: hi\r\n\r\n.\r\n..x\r\nend\r\n")

    def test_refused(self):
        for how, wanted in (({"bob@example.net": "550 no"}, "false, 250, 550"), ({"rcpt": "450 no"}, "false, 450, 450"), ({"mail": "452 no"}, "false, 452, 452"),
                            ({"data": "554 no"}, "false, 554, 554"), ({"end": "552 too much"}, "false, 552, 552")):
            server = self.server(refuse=how)
            self.assertEqual(self.send(server), [wanted], how)
            self.assertEqual(len(server.messages), 1 if wanted == "false, 250, 550" else 0)

    def test_lost(self):
        self.assertEqual(self.send(self.server(close_at="data")), ["nil, DATA: closed, nil"])
        server = self.server(close_at="end")
        self.assertEqual(self.send(server), ["nil, the message's end: closed, true"])
        self.assertEqual(len(server.messages), 1)

    def test_a_trial_sends_nothing(self):
        server = self.server()
        self.assertEqual(self.send(server, deeds=False), ["true, 250, 250"])
        self.assertEqual(server.connections, 0)

    def test_large(self):
        """Larger than the Lua heap."""
        server = self.server()
        body = "a line of text that is repeated often\n" * 200000
        self.mail = "Subject: x\n\n" + body
        self.assertEqual(self.notes(f"""
            note((smtp.send{{ host = "127.0.0.1", port = {server.port}, from = "", to = "ann@example.net", message = msg, timeout = 60 }}))""",
                                    "worker.lua_memory=4M", deeds=True), ["true"])
        self.assertEqual(server.messages[0].data, self.mail.replace("\n", "\r\n").encode())


if __name__ == "__main__":
    unittest.main()
