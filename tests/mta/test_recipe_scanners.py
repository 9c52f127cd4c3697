"""The ready filters virus-refuse.lua and spam-score.lua, Postfix, the real clamd and the real spamd: what is refused, tagged and kept, and
what becomes of mail while a scanner is dead."""

import base64
import json
import unittest

import recipes
from harness.lines import lines_of
from harness.mail import message
from harness.process import wait_until
from harness.scanners import SPAM, VIRUS, Clamd, Spamd
from recipes import STRANGER, Recipes, recipe

NAME = "Postern.Test.UNOFFICIAL"
SOON = {"backend.failures": 1, "backend.retry_time": "100ms"}


def with_attachment(content):
    text = base64.encodebytes(content).decode().replace("\n", "\r\n")
    return message("parts", headers=["MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b"], body="--b\r\n\r\nhello\r\n--b\r\n"
                   f"Content-Type: application/octet-stream; name=x\r\nContent-Transfer-Encoding: base64\r\n\r\n{text}--b--\r\n")


class Viruses(Recipes):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clamd = Clamd(cls.mta.folder).start()
        cls.addClassCleanup(cls.clamd.stop)

    def scan(self, options=None, **settings):
        return self.use(recipe("virus-refuse"), {"clamav.sockets": f"unix:{self.clamd.path}", "worker.allow_network": "no", **SOON, **(options or {}),
                                                 **{f"filter.{name}": value for name, value in settings.items()}})

    def test_refused(self):
        postern = self.scan()
        for data in (message("virus", body=VIRUS.decode() + "\r\n"), with_attachment(VIRUS)):
            stage, code, text = self.send(data)
            self.assertEqual((stage, code, text), ("end", 554, f"5.7.1 this mail carries a virus: {NAME}"))
        self.assertEqual(self.deliver(with_attachment(VIRUS[:-1]))["Subject"], "parts")
        wait_until(lambda: postern.log_lines(f"x-virus={NAME}"), lambda: "the log to name the virus:\n" + postern.logs())

    def test_over_tcp(self):
        self.scan({"clamav.sockets": self.clamd.tcp, "worker.allow_network": "yes"})
        self.assertEqual(self.send(with_attachment(VIRUS))[:2], ("end", 554))
        self.assertEqual(self.deliver(message("hello"))["Subject"], "hello")

    def test_kept_and_released(self):
        postern = self.scan({"notify.server": f"inet:{self.mta.port}@{self.mta.address}", "trap.min_free": 0}, virus_action="trap")
        self.assertEqual(self.send(with_attachment(VIRUS), to=["bob@example.net", "eve@example.net"])[:2], ("end", 250))
        row, = lines_of(postern.ctl("trap", "list", "--json", check=True)[1])
        self.assertEqual((row["reason"], sorted(row["recipients"])), (f"virus: {NAME}", ["bob@example.net", "eve@example.net"]))
        self.assertEqual(self.mta.mailbox(), [])
        postern.ctl("trap", "release", row["id"], check=True)
        one = self.mta.one()
        self.assertEqual((one["Subject"], sorted(one.recipients)), ("parts", ["bob@example.net", "eve@example.net"]))

    def test_while_clamd_is_dead(self):
        self.scan()
        self.clamd.kill()
        try:
            self.assertEqual(self.send(message("hello"))[:2], ("end", 451))
            postern = self.scan({"clamav.on_failure": "continue"})
            one = self.deliver(message("unscanned"))
            self.assertIn("clamav", one["X-Postern-Unscanned"])
            listed = [json.loads(line) for line in postern.ctl("store", "export", "unscanned/", check=True)[1].splitlines()]
            self.assertEqual([row["value"]["sender"] for row in listed], ["ann@example.org"])
        finally:
            self.clamd.start()
        wait_until(lambda: self.send(with_attachment(VIRUS))[1] == 554, "clamd to be asked again", 20, pause=0.1)


class Spam(Recipes):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.spamd = Spamd(cls.mta.folder).start()
        cls.addClassCleanup(cls.spamd.stop)

    def score(self, **settings):
        return self.use(recipe("spam-score"), {"spamassassin.sockets": self.spamd.tcp, **SOON, **{f"filter.{name}": value for name, value in settings.items()}})

    SPAM = message("an offer", body=SPAM.decode() + "\r\n", headers=["X-Spam-Flag: NO", "X-Spam-Status: No", "X-Spam-Score: -9", "X-Spam-Score: -8"])

    def test_refused(self):
        postern = self.score(spam_refuse=10)
        stage, code, text = self.send(self.SPAM)
        self.assertEqual((stage, code), ("end", 554))
        self.assertRegex(text, r"^5\.7\.1 this looks like spam \(12\.\d points\)$")
        one = self.deliver(message("lunch", headers=["X-Spam-Flag: YES"]))
        self.assertEqual((one["X-Spam-Flag"], one["X-Spam-Status"].split(",")[0]), (None, "No"))
        # Our users' mail is not looked at, and what came with it goes.
        one = self.deliver(self.SPAM, LOGIN="ann")
        self.assertEqual((one["X-Spam-Flag"], one["X-Spam-Status"], one["X-Spam-Score"]), (None, None, None))
        wait_until(lambda: postern.log_lines("x-spam=12."), lambda: "the log to have the score:\n" + postern.logs())

    def test_tagged(self):
        self.score(spam_subject="[spam]")
        one = self.deliver(self.SPAM)
        self.assertEqual((one["Subject"], one.get_all("X-Spam-Flag"), len(one.get_all("X-Spam-Score"))), ("[spam] an offer", ["YES"], 1))
        self.assertRegex(one["X-Spam-Score"], r"^12\.\d$")
        self.assertRegex(one["X-Spam-Status"], r"^Yes, score=12\.\d required=5\.0\s+tests=\S*POSTERN_SPAM")

    def test_spamd_sees_who_brought_it(self):
        """Its rules about relays and senders are given what the mail server knows."""
        self.score()
        forged = ["Return-Path: <forged@example.org>", "X-Envelope-From: forged@example.org"]
        for sender, expected in (("ann@example.org", (True, False)), ("eve@example.org", (False, False))):
            tests = self.deliver(message("hello", headers=forged), sender=sender)["X-Spam-Status"]
            self.assertEqual(("POSTERN_FROM" in tests, "POSTERN_FORGED" in tests), expected, tests)

    def test_while_spamd_is_dead(self):
        self.score()
        self.spamd.kill()
        try:
            self.assertEqual(self.send(message("hello"))[:2], ("end", 451))
            self.assertEqual(self.deliver(message("ours"), LOGIN="ann")["Subject"], "ours")
        finally:
            self.spamd.start()
        wait_until(lambda: self.send(message("hello"), STRANGER)[1] == 250, "spamd to be asked again", 20, pause=0.1)


if __name__ == "__main__":
    recipes.enter_network()
    unittest.main()
