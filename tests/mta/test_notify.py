"""Notices through the real mail server that has this very filter: they arrive once, and nobody waits for himself.

Usage: test_notify.py sendmail|postfix
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.mail import message
from harness.mta import Postfix, Sendmail
from harness.postern import Postern
from harness.process import wait_until

MTA = {"sendmail": Sendmail, "postfix": Postfix}[sys.argv.pop(1)]
FILTER = """
function filter_message(msg)
    msg:notify_admin{ subject = "Seen: " .. msg.subject, text = "Grüße\\n.\\n" }
    local told, why = msg:notify_sender{ subject = "Your mail", text = "It came." }
    msg:add_header("X-Told", told and "yes" or why)
    if msg.subject == "defer" then return tempfail("later") end
end
"""


class Notify(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mta = MTA(name=MTA.__name__.lower() + ".notify")
        state = cls.mta.folder("state")
        os.mkdir(state)
        cls.postern = Postern(FILTER, folder=cls.mta.folder, options={
            "worker.state_dir": state, "notify.from": "postern@example.net", "notify.admin": "admin@example.net",
            "notify.server": f"inet:{MTA.port}@{cls.mta.address}", "notify.sender_limit": 100})
        cls.mta.spec = cls.postern.spec
        cls.mta.start()

    @classmethod
    def tearDownClass(cls):
        cls.mta.process.stop()
        cls.postern.stop()
        cls.mta.folder.remove()

    def setUp(self):
        self.addCleanup(self.mta.empty)

    def send(self, subject):
        smtp = self.mta.smtp()
        self.assertEqual(smtp.hello()[0], 250)
        answer = smtp.transaction("ann@example.org", ["bob@example.net"], message(subject=subject))
        smtp.close()
        return answer

    def to(self, address):
        return [mail for mail in self.mta.mailbox() if mail.recipients[0] == address]

    def test_admin_and_sender(self):
        """The notices pass the filter, too, while the worker that sends them waits."""
        self.assertEqual(self.send("hello")[:2], ("end", 250))
        wait_until(lambda: all(map(self.to, ("admin@example.net", "ann@example.org", "bob@example.net"))),
                   lambda: f"three mails: {[mail.recipients for mail in self.mta.mailbox()]}\n{self.postern.logs()}", 20)
        notice, = self.to("ann@example.org")
        self.assertEqual((notice.sender, notice["Auto-Submitted"], notice["X-Told"]), ("", "auto-generated", "own"))
        self.assertEqual((notice["Subject"], notice["In-Reply-To"]), ("Your mail", "<hello@example.org>"))
        notice, = self.to("admin@example.net")
        self.assertEqual(notice["Subject"], "Seen: hello")
        self.assertEqual(notice.get_payload(decode=True).decode().replace("\r\n", "\n").rstrip("\n"), "Grüße\n.")

    def test_once_for_all_tries(self):
        for _ in range(3):
            self.assertEqual(self.send("defer")[:2], ("end", 451))
        self.assertEqual(self.send("last")[:2], ("end", 250))
        wait_until(lambda: len(self.to("ann@example.org")) >= 2, "the notices of two mails", 20)
        wait_until(lambda: len(self.to("admin@example.net")) >= 2, "the notices of two mails", 20)
        self.assertEqual((len(self.to("ann@example.org")), len(self.to("admin@example.net"))), (2, 2))


if __name__ == "__main__":
    unittest.main(verbosity=2)
