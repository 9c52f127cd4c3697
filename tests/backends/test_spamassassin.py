"""postern.spamassassin: the real spamd with rules of the test, and fakes that hang, lie, close early, answer in single bytes or too much."""

import os
import re
import socket
import struct
import threading
import unittest

from asking import Asking, slowly
from test_frame import SANDBOX, SystemTest
from harness.process import SOURCE, Folder, wait_until
from harness.scanners import SPAM, Spamd

HEAD = "local spamassassin = require 'postern.spamassassin'\n"
CHECK = HEAD + "function filter_message(msg) note(msg, spamassassin.check(msg, %s)) end"
MAIL = b"From: ann@example.org\r\nSubject: x\r\n\r\nhello\r\n"
SPAM_MAIL = b"From: ann@example.org\r\nSubject: x\r\n\r\n" + SPAM + b"\r\n"
FROM_THERE = ("--ip", "198.51.100.7", "--hostname", "mail.example.org", "--helo", "helo.example.org", "--sender", "ann@example.org",
              "--recipient", "bob@example.net", "--macro", "j=mx.example.net", "--macro", "i=QID1")
REPORT = b"Spam detection software says:\n pts rule name  description\n---- ---------------------- ------\n 1.0 RULE_ONE   1.0 NOT_ONE\n" \
         b"                [score: 1.0]\n-0.1 RULE_2  x\n* 0.0 THREE y\n"


def answer(body=REPORT, spam="True ; 15.2 / 5.0", status="SPAMD/1.1 0 EX_OK", length=None, more=""):
    length = len(body) if length is None else length
    return f"{status}\r\nContent-length: {length}\r\n{more}Spam: {spam}\r\n\r\n".encode() + body


def read_request(connection):
    """(command, fields, content): the whole request, to the end of what is sent."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
    head, _, content = data.partition(b"\r\n\r\n")
    command, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    assert int(fields["Content-length"]) == len(content), (fields, len(content))
    return command, fields, content


def answering(data, write=socket.socket.sendall):
    def handle(connection):
        read_request(connection)
        write(connection, data)
    return handle


class Fakes(Asking):
    def check(self, handle, *options, code="nil", **more):
        self.fake = self.server(handle)
        return self.notes(CHECK % code, "spamassassin.on_failure=return", f"spamassassin.sockets=inet:{self.fake.port}@127.0.0.1", *options, **more)[0]

    def asked(self, *options, **more):
        got = []
        self.check(lambda connection: (got.append(read_request(connection)), connection.sendall(answer())), *options, **more)
        return got[0]

    def test_true_answers(self):
        spam = {"status": "spam", "is_spam": "true", "score": "15.2", "threshold": "5.0", "tests": "[RULE_ONE,RULE_2,THREE]",
                "report": re.sub(r"[\x00-\x1f]", " ", REPORT.decode())}
        self.assertEqual(self.check(answering(answer())), spam)
        self.assertEqual(self.check(answering(answer(), slowly)), spam)
        ham = self.check(answering(answer(b"A_1,B\r\n", "False ; -1.0 / 5.0", "SPAMD/1.5 0 EX_OK")), code="{ report = false }")
        self.assertEqual(ham, {"status": "clean", "is_spam": "false", "score": "-1.0", "threshold": "5.0", "tests": "[A_1,B]", "report": ""})
        self.assertEqual(self.check(answering(answer(b"", "False ; 0 / 5.0")))["tests"], "[]")
        self.assertEqual(self.check(answering(answer(b"no table, caf\xe9")))["report"], "no table, caf?")

    def test_what_is_asked(self):
        command, fields, content = self.asked(words=FROM_THERE, mail=MAIL)
        self.assertEqual((command, fields), ("REPORT SPAMC/1.5", {"Content-length": str(len(content))}))
        top = content[:-len(MAIL)].decode()
        self.assertEqual(content[-len(MAIL):], MAIL)
        self.assertRegex(top, "^" + re.escape(
            "Return-Path: <ann@example.org>\r\nX-Envelope-From: <ann@example.org>\r\n"
            "Received: from helo.example.org (mail.example.org [198.51.100.7])\r\n\tby mx.example.net (envelope-sender <ann@example.org>) (Postern) with ESMTP id QID1\r\n"
            "\tfor <bob@example.net>;\r\n\t") + r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r\n$")
        command, fields, content = self.asked("spamassassin.user=filter", code='{ report = false }')
        self.assertEqual((command, fields["User"]), ("SYMBOLS SPAMC/1.5", "filter"))
        self.assertEqual(self.asked("spamassassin.user=filter", code='{ user = "ann@example.org" }')[1]["User"], "ann@example.org")

    def test_received_for_every_client(self):
        def received(*words):
            return re.sub(r"\s+", " ", self.asked(words=words)[2].decode().split("Subject:")[0])
        self.assertIn("from unknown ([192.0.2.1]) by mx.example.net (envelope-sender <sender@example.org>) (Postern) with ESMTPSA",
                      received("--ip", "192.0.2.1", "--hostname", "[192.0.2.1]", "--helo", "", "--macro", "tls_version=TLSv1.3",
                               "--macro", "auth_type=PLAIN", "--macro", "auth_authen=ann"))
        self.assertIn("([IPv6:2001:db8::7])", received("--ip", "2001:db8::7", "--hostname", "[2001:db8::7]"))
        forged = received("--ip", "192.0.2.1", "--helo", "a) by evil (b;\x01 x", "--sender", "a> b@example.org")
        self.assertIn("from a??by?evil??b???x (", forged)
        self.assertNotIn("for <", received("--ip", "192.0.2.1", "--recipient", "a@example.net", "--recipient", "b@example.net"))
        self.assertNotIn("Received", received("--ip", "local"))
        self.assertIn("Return-Path: <> X-Envelope-From: <>", received("--sender", "<>"))

    def test_foreign_fields_of_these_names_go(self):
        forged = b"Return-Path: <z>\r\n\tfolded\r\nSubject: x\r\nx-envelope-from : q\r\nTo: a,\r\n b\r\nENVELOPE-SENDER: e\r\n\r\nReturn-Path: stays\r\n"
        content = self.asked(mail=forged, words=("--ip", "local"))[2]
        self.assertTrue(content.endswith(b">\r\nSubject: x\r\nTo: a,\r\n b\r\n\r\nReturn-Path: stays\r\n"), content)

    def test_the_mail_as_it_would_leave(self):
        for changed, found in (("true", True), ("false", False)):
            got = []
            fake = self.server(lambda connection, got=got: (got.append(read_request(connection)), connection.sendall(answer())))
            self.notes(HEAD + f"""function filter_message(msg)
                msg:add_header("X-Changed", "yes") note(msg, spamassassin.check(msg, {{ changed = {changed} }})) end""",
                       f"spamassassin.sockets=inet:{fake.port}@127.0.0.1")
            self.assertEqual(b"X-Changed: yes\r\n" in got[0][2], found)

    def test_lies(self):
        good = answer()
        for lie in (b"", b"\r\n", good[:-1], good + b"x", good + good, b"SPAMD/1.1 0 EX_OK\r\n", b"SPAMD/1.1 0 EX_OK\r\n\r\n", good[:40],
                    answer(length=10 ** 6), answer(length=10 ** 8), answer(length=-1), answer(length="1e1"), answer(length=0),
                    answer(spam="True"), answer(spam=""), answer(spam="Maybe ; 1 / 5"), answer(spam="True ; nan / 5.0"), answer(spam="True ; inf / 5.0"),
                    answer(spam="False ; 0x1 / 5.0"), answer(spam="True ; 1e9 / 5.0"), answer(spam="True ; 99999999.0 / 5.0"),
                    answer(spam="False ; 15.2 / 5.0"), answer(spam="True ; 1.0 / 5.0"), answer(spam="True ; 15.2"), answer(spam="True ; 15.2 / 5.0 x"),
                    answer(status="SPAMD/1.1 76 Bad header line: x"), answer(status="SPAMD/1.1 69 EX_UNAVAILABLE"), answer(status="HTTP/1.1 200 OK"),
                    answer(status="SPAMD/1.1 00 EX_OK"), answer(status="SPAMD/1.1"), answer(more="Spam: False ; 0.0 / 5.0\r\n"),
                    answer(more="nonsense\r\n"), answer(more="".join(f"X-{n}: x\r\n" for n in range(100))), answer(more="X: " + "x" * 2000 + "\r\n")):
            with self.subTest(lie=lie[:100]):
                noted = self.check(answering(lie))
                self.assertEqual(list(noted), ["none"], noted)

    def test_hanging_at_each_step(self):
        over = threading.Event()
        self.addCleanup(over.set)

        def hang(connection, data=b""):
            connection.sendall(data)
            over.wait(60)
        for handle in (hang, lambda connection: (connection.recv(5), hang(connection)),
                       lambda connection: (read_request(connection), hang(connection, answer()[:-5])),
                       lambda connection: (read_request(connection), hang(connection, answer()))):
            self.assertRegex(self.check(handle, "spamassassin.timeout=200ms")["none"], ": timeout$")

    def test_closing_early(self):
        def reset(connection):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        mail = b"Subject: x\r\n\r\n" + b"x" * 500000 + b"\r\n"
        for handle in (lambda connection: None, reset, lambda connection: connection.recv(5),
                       lambda connection: (connection.recv(100), connection.sendall(answer()), reset(connection))):
            self.assertEqual(list(self.check(handle, mail=mail)), ["none"])

    def test_declared_answers(self):
        fake = self.server(answering(b"nonsense\r\n"))
        where = f"spamassassin.sockets=inet:{fake.port}@127.0.0.1"
        result = self.play(HEAD + "function filter_message(msg) pcall(spamassassin.check, msg) return accept() end", where)
        self.assertEqual((result["verdict"], result["reply"]["code"]), ("tempfail", 451), result)
        result = self.play(CHECK % "nil", where, "spamassassin.on_failure=continue")
        self.assertEqual(result["notes"][0]["status"], "unscanned")
        self.assertIn("X-Postern-Unscanned", str(result["actions"]))

    def test_too_large(self):
        noted = self.check(answering(answer()), "spamassassin.max_size=20", mail=MAIL)
        self.assertEqual(noted, {"status": "skipped", "error": f"{len(MAIL)} bytes are more than spamassassin.max_size"})
        self.assertEqual(self.fake.n, 0)

    def test_misuse(self):
        code = HEAD + """function filter_message(msg)
            local c = spamassassin.check
            for _, bad in ipairs{ { }, { "text" }, { msg.root }, { msg, 7 }, { msg, { chnaged = true } }, { msg, { changed = 1 } },
                { msg, { user = "a\\r\\nb" } }, { msg, { user = ("x"):rep(300) } } } do
                local ok, why = pcall(c, bad[1], bad[2])
                note(msg, nil, tostring(ok) .. " " .. why)
            end
        end"""
        notes = [noted["none"] for noted in self.notes(code)]
        self.assertEqual(len(notes), 8)
        for noted in notes:
            self.assertIn("spamassassin.check: ", noted)
            self.assertTrue(noted.startswith("false "), noted)
        self.assertIn("spamassassin.user", str(self.play(CHECK % "nil", "spamassassin.user=a b")["error"]))


class Real(Asking):
    @classmethod
    def setUpClass(cls):
        cls.home = Folder("spamd")
        cls.addClassCleanup(cls.home.remove)
        cls.spamd = Spamd(cls.home).start()
        cls.addClassCleanup(cls.spamd.stop)

    def check(self, mail, *words, code="nil"):
        return self.notes(CHECK % code, f"spamassassin.sockets={self.spamd.tcp}", mail=mail, words=words)[0]

    def test_spam_and_ham(self):
        for code in ("nil", "{ report = false }"):
            spam, ham = self.check(SPAM_MAIL, code=code), self.check(MAIL, code=code)
            self.assertEqual((spam["status"], spam["is_spam"], spam["threshold"]), ("spam", "true", "5.0"))
            self.assertGreaterEqual(float(spam["score"]), 12)
            self.assertIn("POSTERN_SPAM", spam["tests"])
            self.assertEqual(ham["status"], "clean")
            self.assertNotIn("POSTERN_SPAM", ham["tests"])
            self.assertEqual("the marker of the test" in spam["report"], code == "nil")

    def test_it_sees_client_and_sender(self):
        tests = self.check(MAIL, *FROM_THERE)["tests"]
        self.assertIn("POSTERN_RELAY", tests)
        self.assertIn("POSTERN_FROM", tests)
        user = ("--macro", "tls_version=TLSv1.3", "--macro", "auth_type=PLAIN", "--macro", "auth_authen=x")
        self.assertIn("POSTERN_USER", self.check(MAIL, *FROM_THERE, *user)["tests"])
        self.assertIn("POSTERN_SIX", self.check(MAIL, "--ip", "2001:db8::7", "--hostname", "[2001:db8::7]")["tests"])

    def test_forged_fields_count_for_nothing(self):
        forged = b"Return-Path: <a@forged.example>\r\nX-Sender: a@b\r\nX-Envelope-From:\r\n <a@forged.example>\r\n" + MAIL
        self.assertIn("POSTERN_FROM", self.check(forged, *FROM_THERE)["tests"])
        self.assertIn("POSTERN_FROM", self.check(forged, "--ip", "198.51.100.7", "--sender", "ann@example.org", "--helo", "envelope-from")["tests"])
        self.assertNotIn("POSTERN_FORGED", self.check(forged, "--ip", "198.51.100.7", "--sender", "<>")["tests"])

    def test_ready_filter(self):
        with open(os.path.join(SOURCE, "scripts", "filters", "spam-score.lua"), encoding="utf-8") as file:
            code = file.read()

        def play(mail, *options):
            result = self.play(code, f"spamassassin.sockets={self.spamd.tcp}", *options, mail=mail, words=FROM_THERE)
            return result, {action["name"]: action.get("value") for action in result["actions"]}
        result, _ = play(SPAM_MAIL, "filter.spam_refuse=10")
        self.assertEqual((result["verdict"], result["reply"]["code"]), ("reject", 554), result)
        result, fields = play(b"X-Spam-Flag: NO\r\n" + SPAM_MAIL, "filter.spam_subject=[spam]")
        self.assertEqual((result["verdict"], fields["X-Spam-Flag"], fields["Subject"]), ("continue", "YES", "[spam] x"))
        self.assertRegex(fields["X-Spam-Status"], r"^Yes, score=12\.\d required=5\.0\s+tests=.*POSTERN_SPAM")
        _, fields = play(MAIL)
        self.assertRegex(fields["X-Spam-Status"], "^No, score=")
        self.assertNotIn("X-Spam-Flag", fields)

    def test_without_a_last_line_end(self):
        self.assertEqual(self.check(b"Subject: x\r\n\r\n" + SPAM)["status"], "spam")


class Daemons(SystemTest):
    def test_killed_and_back(self):
        folder = Folder("spamd")
        self.addCleanup(folder.remove)
        spamd = Spamd(folder).start()
        self.addCleanup(lambda: spamd.stop())
        self.start("""
            local spamassassin = require "postern.spamassassin"
            function filter_message(msg)
                local checked = spamassassin.check(msg)
                if checked.is_spam then return reject("spam: " .. table.concat(checked.tests, " ")) end
            end""", {"worker.sandbox": SANDBOX, "worker.allow_network": "yes", "backend.retry_time": "100ms", "spamassassin.sockets": spamd.tcp})

        def send():
            return self.client().start().message(body=SPAM + b"\r\n")
        self.assertRegex(send().text, "^550 5.7.1 spam: .*POSTERN_SPAM")
        self.good_mail_passes()
        spamd.kill()
        for _ in range(3):
            self.assertReply(send(), "451 4.7.1")
        spamd.start()
        wait_until(lambda: send().text.startswith("550"), "spamd to be asked again", 30)


if __name__ == "__main__":
    unittest.main()
