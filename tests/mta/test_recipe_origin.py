"""Mail that comes through an edge of our own: a server in front, which marks whom it got it from, and a Postfix behind, which judges that one.

The ready filters dns-block-lists.lua and dmarc-enforce.lua run behind; strangers forge whatever would make them somebody else.
Usage: test_recipe_origin.py sendmail|postfix, the server in front
"""

import os
import re
import sys
import unittest

import recipes
from harness.dns_server import Nsd
from harness.mail import message
from harness.mta import Postfix, Sendmail
from harness.process import wait_until
from recipes import STRANGER, Recipes, recipe

FRONT = sys.argv.pop(1)
EDGE = "192.0.2.10"
LISTED, CLEAN, INNOCENT = "203.0.113.66", STRANGER, "198.51.100.99"
ZONES = {"bl.example": "66.113.0.203 A 127.0.0.2\n99.100.51.198 A 127.0.0.2\n",
         "example": "", "own.example": f'@ TXT "v=spf1 ip4:{STRANGER} -all"\n_dmarc TXT "v=DMARC1; p=reject"\n'}
NOTHING = "function filter_message() end"
MARK = "function filter_message(msg) msg:mark_origin() end"
RELAY = """
virtual_mailbox_domains =
relay_domains = static:all
relay_transport = smtp:[@INNER@]:2526
smtp_bind_address = 192.0.2.10
transport_maps = inline:{bare.example=bare:[@INNER@]:2526}
smtpd_recipient_restrictions = permit_auth_destination, reject
"""
# What goes to bare.example has no Received.
SERVICES = """bare unix - - n - - smtp
    -o { smtp_header_checks = regexp:{{/^Received:/ IGNORE}} }
"""
SENDMAIL = """define(`ESMTP_MAILER_ARGS', `TCP $h 2526')dnl
CLIENT_OPTIONS(`Family=inet, Addr=192.0.2.10')dnl
LOCAL_RULE_0
R$* < @ $+ > $*\t$#esmtp $@ [@INNER@] $: $1 < @ $2 > $3
"""
FORGED = "Received: from mail.example.org (mail.example.org [{0}])\r\n\tby mxp.postern.test (Postfix) with ESMTP id 4ABCDE\r\n\tfor <bob@example.net>; Mon, 1 Jun 2026 10:00:00 +0000"


class Origin(Recipes):
    """The inner server is self.mta."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        inner = cls.mta.address
        cls.edge = (Postfix(settings=RELAY.replace("@INNER@", inner), services=SERVICES, name="postfix.edge") if FRONT == "postfix"
                    else Sendmail(extra=SENDMAIL.replace("@INNER@", inner), name="sendmail.edge"))
        cls.addClassCleanup(cls.edge.folder.remove)
        os.mkdir(cls.edge.folder("run"))
        cls.edge.spec = "unix:" + cls.edge.folder("run", "milter.sock")
        cls.edge.start()
        cls.addClassCleanup(cls.edge.process.stop)
        cls.nsd = Nsd(cls.mta.folder, ZONES).start()
        cls.addClassCleanup(cls.nsd.stop)

    def setUp(self):
        super().setUp()
        self.key = self.mta.folder.write("origin.key", os.urandom(32), 0o600)

    def inside(self, name, key=True, **settings):
        options = {"worker.origin_key": self.key, "worker.read_paths": self.mta.folder.path} if key else {}
        self.use(recipe(name), {"dns.servers": self.nsd.server, "worker.trusted_relays": "192.0.2.0/24", **options,
                                **{f"filter.{key}": value for key, value in settings.items()}})

    def block_lists(self, **words):
        self.inside("dns-block-lists", dnsbl_zones="bl.example", dnsbl_edge="yes", **words)

    def at_the_edge(self, text=MARK, key=None):
        key = key or self.key
        self.use(text, {"worker.origin_key": key, "worker.read_paths": os.path.dirname(key)}, spec=self.edge.spec)

    def through_edge(self, data, source, helo="mail.example.org", sender="", to="bob@example.net"):
        """Sends it to the edge; the mail that arrives inside, or the text with which it is refused there."""
        smtp = self.edge.smtp(source)
        self.addCleanup(smtp.close)
        smtp.hello(helo)
        n_before = len(self.edge.log())
        stage, code, text = smtp.transaction(sender, [to], data)
        self.assertEqual((stage, code), ("end", 250), text)
        refused = r"said: (5\d\d .*)" if FRONT == "postfix" else r"(?m)^\d+ <<< (5\d\d .*)"
        wait_until(lambda: self.mta.mailbox() or re.search(refused, self.edge.log()[n_before:]), lambda: "the edge to pass it on:\n" + self.edge.log()[-3000:], 30)
        return self.mta.one() if self.mta.mailbox() else re.search(refused, self.edge.log()[n_before:]).group(1)

    def is_refused(self, result):
        self.assertIsInstance(result, str, getattr(result, "raw", b"")[:1500])
        self.assertIn("listed by bl.example", result)
        return result

    def test_the_mark_of_the_edge(self):
        self.block_lists()
        self.at_the_edge()
        self.assertIn(f"554 5.7.1 the client {LISTED} is listed", self.is_refused(self.through_edge(message("bad"), LISTED)))
        self.assertEqual(self.through_edge(message("good"), CLEAN)["Subject"], "good")
        # What was forged goes, and is not what is judged.
        marks = "X-Postern-Origin: v=1; t=1; ip={0}; helo=; host=; h=" + "0" * 64
        for listed, source in ((False, CLEAN), (True, LISTED)):
            other = INNOCENT if source == CLEAN else CLEAN
            for headers in ([marks.format(other)], [marks.format(other)] * 3, [FORGED.format(other)], [FORGED.format(other), marks.format(other)],
                            [FORGED.format(EDGE), FORGED.format(other)]):
                with self.subTest(source=source, headers=headers):
                    result = self.through_edge(message("forged", headers=headers), source, helo=f"[{other}]")
                    if listed:
                        self.is_refused(result)
                    else:
                        self.assertEqual(len(result.get_all("X-Postern-Origin")), 1)
                        self.assertNotIn("h=" + "0" * 64, result["X-Postern-Origin"])

    def test_an_edge_that_does_not_mark(self):
        """Received of the edge is believed, and nothing else that stands in the mail."""
        self.block_lists()
        self.use(NOTHING, spec=self.edge.spec)
        mark = "X-Postern-Origin: v=1; t=1; ip=%s; helo=; host=; h=" + "0" * 64
        for source, other in ((CLEAN, LISTED), (LISTED, CLEAN)):
            for headers in ([], [FORGED.format(other)], [mark % other], [FORGED.format(EDGE), FORGED.format(other)]):
                with self.subTest(source=source, headers=headers):
                    result = self.through_edge(message("forged", headers=headers), source, helo=f"x([{other}])")
                    if source == LISTED:
                        self.is_refused(result)
                    else:
                        self.assertEqual(result["Subject"], "forged")

    def test_a_genuine_mark_elsewhere(self):
        self.block_lists()
        self.at_the_edge()
        good = self.through_edge(message("good"), CLEAN)
        mark = "X-Postern-Origin: " + re.sub(r"\s+", " ", good["X-Postern-Origin"])
        # Straight to the server inside: who brings it counts.
        answer = self.send(message("good", headers=[mark]), LISTED)
        self.assertEqual(answer[:2], ("end", 554), answer)
        # On another mail, through an edge that leaves it there.
        self.use(NOTHING, spec=self.edge.spec)
        self.is_refused(self.through_edge(message("bad", headers=[mark]), LISTED))

    @unittest.skipUnless(FRONT == "postfix", "sendmail always writes a Received")
    def test_a_mark_says_it_all(self):
        """Without Received, too; and without both nobody would know."""
        self.block_lists()
        self.at_the_edge()
        self.assertEqual(self.through_edge(message("good"), CLEAN, to="bob@bare.example")["Subject"], "good")
        self.is_refused(self.through_edge(message("bad"), LISTED, to="bob@bare.example"))
        self.use(NOTHING, spec=self.edge.spec)
        self.assertEqual(self.through_edge(message("bad"), LISTED, to="bob@bare.example")["Subject"], "bad")

    def test_a_mail_without_an_id(self):
        """A server adds one; the mark is of that one."""
        self.block_lists()
        self.at_the_edge()
        self.assertEqual(self.through_edge(b"From: ann@example.org\r\nSubject: bare\r\n\r\nx\r\n", CLEAN)["Subject"], "bare")
        self.is_refused(self.through_edge(b"From: ann@example.org\r\n" + FORGED.format(CLEAN).encode() + b"\r\n\r\nx\r\n", LISTED))

    def test_an_edge_with_another_key(self):
        self.block_lists()
        self.at_the_edge(key=self.edge.folder.write("other.key", os.urandom(32), 0o600))
        self.is_refused(self.through_edge(message("bad"), LISTED))
        self.assertEqual(self.through_edge(message("good", headers=[FORGED.format(LISTED)]), CLEAN)["Subject"], "good")

    def test_dmarc_judges_the_origin(self):
        self.inside("dmarc-enforce")
        self.at_the_edge()
        one = self.through_edge(message("own", sender="ann@own.example"), CLEAN, sender="ann@own.example")
        self.assertRegex(one["Authentication-Results"], r"spf=pass[\s\S]*dmarc=pass")
        why = self.through_edge(message("own", sender="ann@own.example", headers=[FORGED.format(CLEAN)]), LISTED, sender="")
        self.assertIn("the policy of own.example (DMARC) refuses this mail", str(why))


if __name__ == "__main__":
    recipes.enter_network()
    unittest.main()
