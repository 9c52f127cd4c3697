"""msg:split through the real mail server: each recipient gets the mail once, also when it has to be sent again.

Usage: test_split.py sendmail|postfix
"""

import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.mail import message
from harness.mta import Postfix, Sendmail
from harness.postern import Postern
from harness.process import SANITIZE, wait_until

MTA = {"sendmail": Sendmail, "postfix": Postfix}[sys.argv.pop(1)]
PLAIN_PORT = 10026
SERVICES = f"""@ADDRESS@:{PLAIN_PORT} inet n - n - - smtpd
    -o smtpd_milters=
"""
FILTER = """
local store = require "postern.store"
function filter_message(msg)
    local done = msg:split{ by = msg:header("X-By") }
    if done then return done end
    local domain = msg.recipients[1].domain
    msg:add_header("X-Judged", (msg.is_split and "copy " or "whole ") .. domain .. " " .. #msg.recipients)
    if msg.is_split and domain == msg:header("X-Fail") and store.incr("failed:" .. msg.message_id) <= 2 then
        return tempfail("not yet")
    end
end
"""
THREE = ("ann@one.example", "bob@two.example", "cat@one.example")


class Split(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        how = {"services": SERVICES} if MTA is Postfix else {}
        cls.mta = MTA(name=MTA.__name__.lower() + ".split", **how)
        os.mkdir(cls.mta.folder("state"))
        cls.options = {"worker.state_dir": cls.mta.folder("state"), "multiplexor.reserved_workers": 1, "smtp.timeout": "60s",
                       "smtp.reinject": f"inet:{MTA.port}@{cls.mta.address}", **({} if SANITIZE else {"worker.sandbox": "required"})}
        cls.postern = Postern(FILTER, cls.options, folder=cls.mta.folder)
        cls.mta.spec = cls.postern.spec
        cls.mta.start()

    @classmethod
    def tearDownClass(cls):
        cls.mta.process.stop()
        cls.postern.stop()
        cls.mta.folder.remove()

    def setUp(self):
        self.addCleanup(self.mta.empty)

    def send(self, subject, by, recipients=THREE, headers=(), args=lambda recipient: (), sender_args=()):
        smtp = self.mta.smtp()
        self.assertEqual(smtp.hello()[0], 250)
        self.assertEqual(smtp.sender("sender@example.org", *sender_args)[0], 250)
        for recipient in recipients:
            self.assertEqual(smtp.recipient(recipient, *args(recipient))[0], 250)
        smtp.begin_data()
        answer = smtp.content(message(subject, headers=[f"X-By: {by}", *headers]))
        smtp.close()
        return answer[0]

    def box(self):
        return sorted((sorted(mail.recipients), mail["X-Judged"]) for mail in self.mta.mailbox())

    def arrived(self, wanted):
        """Exactly these, and nothing more is under way."""
        wait_until(lambda: self.box() == wanted and self.mta.are_over(self.mta.mailbox()), lambda: f"{wanted}, not {self.box()}\n{self.postern.logs()}", 30)

    BY_RECIPIENT = [(["ann@one.example"], "copy one.example 1"), (["bob@two.example"], "copy two.example 1"), (["cat@one.example"], "copy one.example 1")]
    BY_DOMAIN = [(["ann@one.example", "cat@one.example"], "copy one.example 2"), (["bob@two.example"], "copy two.example 1")]

    def test_by_recipient(self):
        self.assertEqual(self.send("r", "recipient"), 250)
        self.arrived(self.BY_RECIPIENT)
        for mail in self.mta.mailbox():
            self.assertIsNone(mail["X-Postern-Split"])
            self.assertGreaterEqual(len(mail.get_all("Received")), 2)

    def test_by_domain(self):
        self.assertEqual(self.send("d", "domain"), 250)
        self.arrived(self.BY_DOMAIN)

    def test_one_group(self):
        self.assertEqual(self.send("one", "domain", (THREE[0], THREE[2])), 250)
        self.arrived([(["ann@one.example", "cat@one.example"], "whole one.example 2")])

    def test_forced_retry(self):
        """One copy is refused twice; the client tries again, in another order each time."""
        for by, wanted in (("recipient", self.BY_RECIPIENT), ("domain", self.BY_DOMAIN)):
            headers = ["X-Fail: two.example"]
            orders = ((0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1))
            answers = [self.send(f"again {by}", by, [THREE[i] for i in order], headers) for order in orders]
            self.assertEqual(answers, [451, 451, 250, 250], self.postern.logs())
            self.arrived(wanted)
            self.mta.empty()

    @unittest.skipUnless(MTA is Postfix, "Postfix tells the sender at once")
    def test_delivery_status(self):
        """What the client asked for by DSN arguments comes true for each copy."""
        self.assertEqual(self.send("dsn", "domain", args=lambda recipient: ("NOTIFY=SUCCESS", f"ORCPT=rfc822;was-{recipient}"), sender_args=("ENVID=QQ314",)), 250)

        def told():
            box, texts = self.mta.inside("box", "all", "new"), []
            for name in os.listdir(box):
                with open(os.path.join(box, name), encoding="utf-8") as file:
                    texts.append(file.read())
            reports = [text for text in texts if "Original-Envelope-Id: QQ314\n" in text]
            return sorted(name for text in reports for name in re.findall(r"^Original-Recipient: rfc822;(\S+)$", text, flags=re.M))
        wait_until(lambda: told() == [f"was-{recipient}" for recipient in sorted(THREE)], lambda: f"reports: {told()}\n{self.mta.log()[-3000:]}", 30)

    @unittest.skipUnless(MTA is Postfix, "its second listener")
    def test_listener_without_filter(self):
        with open(self.postern.conf, encoding="utf-8") as file:
            before = file.read()
        self.addCleanup(self.postern.reload)
        self.addCleanup(self.postern.folder.write, "postern.conf", before)
        self.postern.folder.write("postern.conf", before.replace(f"inet:{MTA.port}@", f"inet:{PLAIN_PORT}@").replace("[smtp]\n", "[smtp]\nreinject_mark = no\n"))
        answer = self.postern.reload()
        self.assertTrue(answer and answer["ok"], answer)
        for _ in range(2):
            self.assertEqual(self.send("plain", "recipient"), 250)
        self.arrived([([recipient], None) for recipient in sorted(THREE)])


if __name__ == "__main__":
    unittest.main()
