"""msg:trap and posternctl trap with a real mail server: kept, released through the same filter, deferred until somebody decides.

Usage: test_trap.py sendmail|postfix
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.lines import lines_of
from harness.mail import message
from harness.mta import Postfix, Sendmail
from harness.postern import Postern

MTA = {"sendmail": Sendmail, "postfix": Postfix}[sys.argv.pop(1)]
SENDER = "sender@example.org"
TWO = ["one@example.net", "two@example.net"]
FILTER = """
function filter_message(msg)
    local mode = msg.subject:match("^trap (%a+)")
    if not mode then return end
    if msg:trap{ mode = mode, reason = "test" } then msg:add_header("X-Mode", mode) end
end
"""


class Trap(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mta = MTA(name=MTA.__name__.lower() + ".trap")
        state = cls.mta.folder("state")
        os.mkdir(state)
        cls.postern = Postern(FILTER, folder=cls.mta.folder, options={
            "worker.state_dir": state, "trap.max_bytes": "300K", "trap.min_free": 0, "notify.server": f"inet:{MTA.port}@{cls.mta.address}"})
        cls.mta.spec = cls.postern.spec
        cls.mta.start()

    @classmethod
    def tearDownClass(cls):
        cls.mta.process.stop()
        cls.postern.stop()
        cls.mta.folder.remove()

    def setUp(self):
        self.addCleanup(self.mta.empty)
        self.addCleanup(self.postern.ctl, "trap", "expire", "--age", "0")

    def send(self, subject, recipients=tuple(TWO), body="a line\r\n"):
        """(stage, code, text) of one mail over a connection of its own."""
        smtp = self.mta.smtp()
        self.assertEqual(smtp.hello()[0], 250)
        answer = smtp.transaction(SENDER, recipients, message(subject=subject, body=body))
        smtp.close()
        return answer

    def rows(self):
        return lines_of(self.postern.ctl("trap", "list", "--json", check=True)[1])

    def test_copy(self):
        self.assertEqual(self.send("trap copy")[:2], ("end", 250))
        mail = self.mta.one()
        self.assertEqual(mail["X-Mode"], "copy")
        row, = self.rows()
        self.assertEqual((row["sender"], sorted(row["recipients"]), row["state"]), (SENDER, TWO, "kept"))
        self.assertTrue(row["queue_id"])
        self.assertIn("Subject: trap copy", self.postern.ctl("trap", "show", row["id"])[1])

    def test_stored_and_released(self):
        """Accepted, and nobody has it; then both have it, once, through the same filter."""
        self.assertEqual(self.send("trap store", body="x\r\n.\r\n..\r\nend")[:2], ("end", 250))
        row, = self.rows()
        self.assertEqual(self.mta.mailbox(), [])
        for _ in range(2):
            code, out, err = self.postern.ctl("trap", "release", row["id"])
            self.assertEqual(code, 0, out + err)
        mail = self.mta.one()
        self.assertEqual((mail.sender, sorted(mail.recipients)), (SENDER, TWO))
        self.assertEqual(mail["Subject"], "trap store")
        self.assertIsNone(mail["X-Mode"])
        self.assertIsNone(mail["X-Postern-Released"])
        self.assertEqual(mail.get_payload().replace("\r\n", "\n").rstrip("\n"), "x\n.\n..\nend")
        self.assertEqual([row["state"] for row in self.rows()], ["released"])
        self.assertEqual(self.send("trap store", body="x\r\n.\r\n..\r\nend")[:2], ("end", 250))
        self.assertEqual(self.mta.mailbox(), [])

    def test_deferred_then_released(self):
        for _ in range(2):
            stage, code, text = self.send("trap defer good")
            self.assertEqual((stage, code), ("end", 451))
            self.assertIn("Held for review", text)
        row, = self.rows()
        self.assertEqual(row["state"], "waiting")
        self.postern.ctl("trap", "release", row["id"], check=True)
        self.assertEqual(self.send("trap defer good")[:2], ("end", 250))
        mail = self.mta.one()
        self.assertEqual((sorted(mail.recipients), mail["X-Mode"]), (TWO, "defer"))

    def test_deferred_then_refused(self):
        self.assertEqual(self.send("trap defer bad")[:2], ("end", 451))
        row, = self.rows()
        self.postern.ctl("trap", "refuse", row["id"], check=True)
        stage, code, text = self.send("trap defer bad")
        self.assertEqual((stage, code), ("end", 550))
        self.assertIn("Refused after review", text)
        self.assertEqual(self.mta.mailbox(), [])

    def test_what_cannot_be_kept_is_not_accepted(self):
        for mode in ("copy", "store"):
            stage, code, text = self.send(f"trap {mode} large", body="x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 5000)
            self.assertEqual((stage, code), ("end", 451), text)
            self.assertIn("4.3.0", text)
        self.assertEqual((self.rows(), self.mta.mailbox()), ([], []))


if __name__ == "__main__":
    unittest.main(verbosity=2)
