"""The ready filter greylisting.lua and Postfix: a stranger is told to come again, and then let through, also after a restart."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.mail import message
from harness.mta import Postfix
from harness.postern import Postern
from harness.process import SANITIZE, SOURCE, wait_until


SETTINGS = """
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_recipient_restrictions = permit_auth_destination, reject
"""


class Greylist(unittest.TestCase):
    def setUp(self):
        with open(os.path.join(SOURCE, "scripts", "filters", "greylisting.lua"), encoding="utf-8") as file:
            text = file.read()
        self.mta = Postfix(settings=SETTINGS, name="postfix.greylist")
        os.mkdir(self.mta.folder("state"))
        self.postern = Postern(text, {"greylist.delay": "1s", "greylist.allow_recipients": "postmaster@",
                                      "worker.state_dir": self.mta.folder("state"), **({} if SANITIZE else {"worker.sandbox": "required"})}, folder=self.mta.folder)
        self.mta.spec = self.postern.spec
        self.mta.start()

    def tearDown(self):
        self.mta.process.stop()
        self.postern.stop()
        self.mta.folder.remove()

    def recipients(self, *names, ip="198.51.100.7"):
        """What each is answered, and the answer to the mail when one was taken. It comes from another machine, as Postfix is told."""
        smtp = self.mta.smtp()
        smtp.hello()
        self.assertEqual(smtp.docmd("XCLIENT", f"ADDR={ip} NAME=mail.example.org")[0], 220)
        smtp.hello()
        smtp.sender("sender@example.org")
        answers = [smtp.recipient(f"{name}@example.net") for name in names]
        if any(code == 250 for code, _ in answers):
            smtp.begin_data()
            answers.append(smtp.content(message("hello")))
        smtp.close()
        return answers

    def test_who_comes_again_is_let_through(self):
        (code, text), (postmaster, _), (taken, _) = self.recipients("ann", "postmaster")
        self.assertEqual((code, postmaster, taken), (451, 250, 250), text)
        self.assertIn("4.7.1", text)
        self.assertIn("please try again in 1 seconds", text)
        self.assertIn("not delayed, recipient in the allow list", self.mta.one()["X-Greylist"])
        self.mta.empty()
        self.postern.milterd.stop()
        self.postern.multiplexor.stop()
        self.postern.start_multiplexor()
        self.postern.start_milterd()
        self.postern.wait_ready()
        wait_until(lambda: self.recipients("ann")[0][0] == 250, "the mail to be taken", 30, pause=0.2)
        self.assertRegex(self.mta.one()["X-Greylist"], r"^delayed 00:0\d:\d\d by ")
        self.mta.empty()
        self.assertEqual([code for code, _ in self.recipients("ann", ip="198.51.100.99")], [250, 250])
        self.assertIn("not delayed, auto-allowed", self.mta.one()["X-Greylist"])


if __name__ == "__main__":
    unittest.main()
