"""The ready filters dns-block-lists.lua and open-relay-tempfail.lua, Postfix, and lists on a real name server: who is listed is refused with
the list's reason, a server that is gone holds nobody up or puts all off, as the settings say."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.dns_server import Nsd
from harness.mail import message
from harness.mta import Postfix
from harness.postern import Postern
from harness.process import SANITIZE, SOURCE

SETTINGS = """
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_recipient_restrictions = permit_auth_destination, reject
"""
ZONES = {"bl.example": '7.100.51.198 A 127.0.0.2\n7.100.51.198 TXT "see https://bl.example/"\n8.100.51.198 A 127.0.0.99\n',
         "two.example": "9.100.51.198 A 127.0.0.5\n", "dbl.example": "bad.example A 127.0.1.2\n"}


class BlockLists(unittest.TestCase):
    def start(self, name, options):
        with open(os.path.join(SOURCE, "scripts", "filters", name + ".lua"), encoding="utf-8") as file:
            text = file.read()
        self.mta = Postfix(settings=SETTINGS, name="postfix.dnsbl")
        self.addCleanup(self.mta.folder.remove)
        os.mkdir(self.mta.folder("state"))
        self.nsd = Nsd(self.mta.folder, ZONES).start()
        self.addCleanup(self.nsd.stop)
        sandbox = {} if SANITIZE else {"worker.sandbox": "required"}
        self.postern = Postern(text, {"worker.allow_network": "yes", "dns.servers": self.nsd.server, "worker.state_dir": self.mta.folder("state"),
                                      **sandbox, **options}, folder=self.mta.folder)
        self.addCleanup(self.postern.stop)
        self.mta.spec = self.postern.spec
        self.mta.start()
        self.addCleanup(self.mta.process.stop)

    def recipients(self, ip, *names, sender="sender@example.org"):
        """What MAIL and each recipient is answered; mail that somebody takes is sent. It comes from another machine, as Postfix is told."""
        smtp = self.mta.smtp()
        smtp.hello()
        self.assertEqual(smtp.docmd("XCLIENT", f"ADDR={ip} NAME=mail.example.org")[0], 220)
        smtp.hello()
        answers = [smtp.docmd("MAIL", f"FROM:<{sender}>")]
        if answers[0][0] == 250:
            answers += [smtp.recipient(f"{name}@example.net") for name in names]
        if any(code == 250 for code, _ in answers[1:]):
            smtp.begin_data()
            self.assertEqual(smtp.content(message("hello"))[0], 250)
        smtp.close()
        return [(code, text if isinstance(text, str) else text.decode()) for code, text in answers]

    def test_block_lists(self):
        self.start("dns-block-lists", {"filter.dnsbl_zones": "bl.example=127.0.0.2-11 two.example", "filter.dnsbl_domains": "dbl.example",
                                       "filter.dnsbl_failed": "tempfail", "dns.timeout": "300ms", "dns.max_ttl": "0"})
        _, (code, text), (postmaster, _) = self.recipients("198.51.100.7", "ann", "postmaster")
        self.assertEqual((code, postmaster), (554, 250), text)
        self.assertIn("5.7.1", text)
        self.assertIn("the client 198.51.100.7 is listed by bl.example: see https://bl.example/", text)
        self.assertEqual(self.mta.one()["Subject"], "hello")
        self.mta.empty()
        self.assertEqual([code for code, _ in self.recipients("198.51.100.8", "ann", "eve")], [250] * 3)
        self.mta.empty()
        self.assertIn("listed by two.example", self.recipients("198.51.100.9", "ann")[1][1])
        code, text = self.recipients("198.51.100.8", "ann", sender="x@bad.example")[1]
        self.assertEqual(code, 554)
        self.assertIn("the domain bad.example is listed by dbl.example", text)
        self.assertEqual([code for code, _ in self.recipients("10.0.0.7", "ann")], [250] * 2)
        self.nsd.stop()
        code, text = self.recipients("198.51.100.77", "ann")[1]
        self.assertEqual(code, 451, text)
        self.nsd.start()
        self.assertEqual([code for code, _ in self.recipients("198.51.100.77", "ann")], [250] * 2)

    def test_open_relays(self):
        self.start("open-relay-tempfail", {"filter.open_relay_zones": "bl.example=127.0.0.2", "dns.timeout": "300ms"})
        code, text = self.recipients("198.51.100.7", "ann")[-1]
        self.assertEqual(code, 451)
        self.assertIn("Listed by bl.example", text)
        self.assertEqual([code for code, _ in self.recipients("198.51.100.8", "ann")], [250] * 2)
        self.nsd.stop()
        self.assertEqual([code for code, _ in self.recipients("198.51.100.77", "ann")], [250] * 2)


if __name__ == "__main__":
    unittest.main()
