"""The ready filters that ask scanners, and a real mail server: mail-exchanger, skip-authenticated, virus-quarantine, rules-by-recipient and
rspamd, with the real clamd, spamd, rspamd and NSD; each with what its recipients get. Also refuse-in-recipient, which asks nobody.

Usage: test_recipe_exchanger.py sendmail|postfix
"""

import base64
import re
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

from recipes import MTAS, STRANGER, Recipes, enter_network, recipe
from harness.dns_server import Nsd
from harness.lines import lines_of
from harness.mail import message
from harness.process import wait_until
from harness.scanners import SPAM, VIRUS, Clamd, Rspamd, Spamd

MTA = sys.argv.pop(1)
NO_LOGIN = "sendmail believes nobody's word for who has logged in"
OTHER, LISTED, PARTNER, OURSELVES = "198.51.100.80", "198.51.100.66", "203.0.113.5", "127.0.0.1"
RULES = """
local function marks(task, word) return tostring(task:get_content()):find(word, 1, true) ~= nil end
for word, score in pairs{ REFUSED = 20.0, MARKED = 7.0, DOUBTFUL = 5.0 } do
    rspamd_config["TEST_" .. word] = { score = score, group = "test", callback = function(task) return marks(task, "WORD-" .. word), 1.0 end }
end
rspamd_config.TEST_SEEN = { score = 0.0, group = "test", callback = function(task)
    task:set_milter_reply{ add_headers = { ["X-Seen"] = task:get_from_ip():to_string() .. " " .. tostring(task:get_user()) }, remove_headers = { ["X-Old"] = 0 } }
    if marks(task, "WORD-SIGN") then rspamd_plugins.dkim.sign(task, { domain = "sealer.example", selector = "sel", rawkey = [[@KEY@]] }) end
    if marks(task, "WORD-SOFT") then task:set_pre_result("soft reject", "come again, says rspamd") end
    return true, 1.0
end }
"""
BODY = {"virus": VIRUS.decode() + "\r\n", "spam": SPAM.decode() + "\r\n", "good": "At noon?\r\n"}


def openssl(*words):
    return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout


def zones(key):
    """Who may send for example.org and forged.example, how sealer.example signs, and a list."""
    public = base64.b64encode(openssl("pkey", "-in", key, "-pubout", "-outform", "DER")).decode()
    parts = " ".join(f'"{text}"' for text in re.findall(".{1,200}", "v=DKIM1; k=rsa; p=" + public))
    return {"example.org": f'@ TXT "v=spf1 ip4:{STRANGER} -all"\n_dmarc TXT "v=DMARC1; p=reject"\n',
            "sealer.example": f"sel._domainkey TXT ( {parts} )\n", "bl.example": "66.100.51.198 A 127.0.0.2\n"}


class Exchanger(Recipes):
    mta_class = MTAS[MTA]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.mta.folder
        cls.key = folder("key.pem")
        openssl("genrsa", "-out", cls.key, "2048")
        with open(cls.key, encoding="ascii") as file:
            rules = RULES.replace("@KEY@", file.read())
        cls.nsd, cls.clamd, cls.spamd, cls.rspamd = Nsd(folder, zones(cls.key)), Clamd(folder), Spamd(folder), Rspamd(folder, rules, "dkim")
        servers = (cls.nsd, cls.clamd, cls.spamd, cls.rspamd)
        for server in servers:
            cls.addClassCleanup(server.stop)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.start(), servers))

    def use(self, name, **settings):
        """Puts a recipe into service."""
        options = {"dns.servers": self.nsd.server, "worker.read_paths": self.mta.folder(), "multiplexor.reserved_workers": 1,
                   "smtp.reinject": f"inet:{self.mta.port}@{self.mta.address}", "greylist.delay": "1s", "greylist.auto_allow_after": 1,
                   "clamav.sockets": "unix:" + self.clamd.path, "spamassassin.sockets": self.spamd.tcp, "rspamd.url": self.rspamd.url,
                   "trap.max_bytes": "300K", "trap.min_free": 0, "notify.server": f"inet:{self.mta.port}@{self.mta.address}"}
        self.postern = super().use(recipe(name), {**options, **{"filter." + key: value for key, value in settings.items()}})

    def send(self, content="good", *to, ip=STRANGER, sender="ann@example.org", headers=(), helo="mail.example.org", data=None, **xclient):
        """(answers to the recipients, the last answer) of a mail."""
        smtp = self.client(ip, helo, **xclient)
        code, text = smtp.sender(sender)
        self.assertEqual(code, 250, text)
        answers = [smtp.recipient(name + "@example.net") for name in to or ("bob",)]
        last = answers[-1]
        if any(code == 250 for code, _ in answers):
            smtp.begin_data()
            last = smtp.content(data or message(body=BODY.get(content, content), headers=headers, sender="ann@example.org"))
        smtp.close()
        return [code for code, _ in answers], last

    def send_again(self, *args, **more):
        """As a mail server does that is told to come again."""
        return wait_until(lambda: (lambda answer: answer if answer[1][0] != 451 else None)(self.send(*args, **more)), "it not to be told to wait", 30, pause=0.2)

    def taken(self, answer):
        self.assertEqual(answer[1][0], 250, f"{answer}\n{self.postern.logs()}")
        return self.mta.one()

    def refused(self, answer, code, text):
        self.assertEqual(answer[1][0], code, f"{answer}\n{self.postern.logs()}")
        self.assertIn(text, answer[1][1])

    def test_mail_exchanger(self):
        self.use("mail-exchanger", mx_lists="bl.example", mx_sealers="sealer.example")
        codes, last = self.send("good", "bob", "postmaster", ip=LISTED, sender="x@example.com", data=message(sender="x@example.com"))
        self.assertEqual((codes, last[0]), ([554, 250], 250), last)
        self.assertEqual(self.mta.one().recipients, ["postmaster@example.net"])
        self.refused(self.send("good"), 451, "please try again in 1 seconds")
        mail = self.taken(self.send_again("good", headers=["X-Spam-Flag: YES"]))
        for told in ("spf=pass", "dkim=none", "dmarc=pass", "arc=none"):
            self.assertIn(told, mail["Authentication-Results"])
        self.assertRegex(mail["X-Spam-Score"], r"^-?\d")
        self.assertIsNone(mail["X-Spam-Flag"])
        self.assertEqual(self.taken(self.send("spam"))["X-Spam-Flag"], "YES")
        self.refused(self.send("virus"), 554, "this mail carries a virus: Postern.Test")
        self.refused(self.send_again("good", ip=OTHER), 550, "the policy of example.org (DMARC) refuses this mail")
        self.refused(self.send("virus", ip=OURSELVES), 554, "carries a virus")
        self.assertIsNone(self.taken(self.send("spam", ip=OURSELVES))["X-Spam-Flag"])

    def sealed(self):
        """A mail of example.org that has gone through a list at sealer.example, as it is on its way."""
        self.use("arc-seal", arc_domain="sealer.example", arc_key=self.key, arc_selector="sel", arc_note="the list")
        raw = self.taken(self.send("good")).raw
        return raw[raw.index(b"ARC-"):].replace(b"\n", b"\r\n")

    def test_a_seal_of_a_forwarder_that_is_known(self):
        sealed = self.sealed()
        self.use("mail-exchanger", mx_sealers="sealer.example")
        mail = self.taken(self.send_again(data=sealed, ip=OTHER, sender="list@sealer.example"))
        self.assertIn("arc=pass", mail["Authentication-Results"])
        self.assertIn("dmarc=fail", mail["Authentication-Results"])
        self.assertIsNone(mail["X-Spam-Flag"])
        broken = sealed.replace(b"At noon", b"At night")
        self.refused(self.send(data=broken, ip=OTHER, sender="list@sealer.example"), 550, "(DMARC) refuses this mail")
        self.use("mail-exchanger", mx_sealers="sealer.example.com")
        self.refused(self.send_again(data=sealed, ip=OTHER, sender="list@sealer.example"), 550, "(DMARC) refuses this mail")

    def test_skip_authenticated(self):
        self.use("skip-authenticated", skip_networks="203.0.113.0/24", skip_refuse=10)
        self.refused(self.send("spam"), 554, "this looks like spam")
        self.assertIsNone(self.taken(self.send("good"))["X-Spam-Flag"])
        self.assertIsNone(self.taken(self.send("spam", ip=PARTNER))["X-Spam-Flag"])

    @unittest.skipUnless(MTA == "postfix", NO_LOGIN)
    def test_a_user_who_sends_a_flood(self):
        self.use("skip-authenticated", skip_rate=2)
        for _ in range(2):
            self.taken(self.send("spam", LOGIN="ann"))
        self.assertEqual(self.taken(self.send("spam", LOGIN="ann"))["X-Spam-Flag"], "YES")

    def test_virus_quarantine(self):
        self.use("virus-quarantine", virus_notes="bob@")
        self.assertEqual(self.taken(self.send("good", "bob", "carol")).recipients, ["bob@example.net", "carol@example.net"])
        self.assertEqual(self.send("virus", "carol")[1][0], 250)
        note = self.taken(self.send("virus", "bob", "carol", headers=["MIME-Version: 1.0", "Content-Type: text/html", "X-Other: x"]))
        self.assertEqual((note.sender, note.recipients, note["X-Other"]), ("", ["bob@example.net"], None))
        self.assertEqual((note["Subject"], note["Auto-Submitted"]), ("A mail with a virus was kept from you", "auto-generated"))
        self.assertEqual(note.get_content_type(), "text/plain")
        self.assertIn("  sender   ann@example.org\n  subject  hello\n  virus    Postern.Test.", note.get_payload())
        self.assertNotIn(VIRUS, note.raw)
        self.assertIn("Received", note)
        rows = lines_of(self.postern.ctl("trap", "list", "--json", check=True)[1])
        self.assertEqual(sorted(row["recipients"] for row in rows), [["bob@example.net", "carol@example.net"], ["carol@example.net"]])
        two = next(row for row in rows if len(row["recipients"]) == 2)
        self.postern.ctl("trap", "release", two["id"], check=True)
        mail = self.mta.one()
        self.assertEqual((sorted(mail.recipients), mail["X-Other"], mail.sender), (two["recipients"], "x", "ann@example.org"))
        self.assertIn(VIRUS, mail.raw)

    def rules(self, text, several):
        self.mta.folder.write("rules.txt", text)
        self.use("rules-by-recipient", rules_file=self.mta.folder("rules.txt"), rules_refresh=0, rules_several=several)

    def test_rules_by_recipient(self):
        self.rules("ann@example.net refuse=8\nbob@example.net off\n* tag=5\n", "remove")
        self.refused(self.send("spam", "ann"), 554, "this looks like spam")
        self.assertEqual(self.taken(self.send("spam", "carol"))["X-Spam-Flag"], "YES")
        mail = self.taken(self.send("spam", "ann", "bob"))
        self.assertEqual((mail.recipients, mail["X-Spam-Flag"]), (["bob@example.net"], None))
        self.mta.folder.write("rules.txt", "* refuse=5\n")
        self.refused(self.send("spam", "bob"), 554, "this looks like spam")

    def test_rules_that_split(self):
        self.rules("ann@example.net refuse=8\nbob@example.net off\n* tag=5\n", "split")
        self.assertEqual(self.send("spam", "ann", "bob", "carol")[1][0], 250)
        mails = self.mta.delivered(2)
        self.assertEqual(sorted((mail.recipients[0], mail["X-Spam-Flag"]) for mail in mails), [("bob@example.net", None), ("carol@example.net", "YES")])
        self.mta.empty()
        self.assertEqual(self.taken(self.send("good", "ann", "bob", "carol")).recipients, [f"{name}@example.net" for name in ("ann", "bob", "carol")])

    def test_rules_that_ask(self):
        self.rules("ann@example.net refuse=8\nbob@example.net off\n* tag=5\n", "ask")
        codes, last = self.send("spam", "ann", "bob")
        self.assertEqual((codes, last[0]), ([250, 452], 554), last)
        self.assertEqual(self.taken(self.send("spam", "bob")).recipients, ["bob@example.net"])

    def test_rspamd(self):
        self.use("rspamd")
        user = {"LOGIN": "ann"} if MTA == "postfix" else {}
        mail = self.taken(self.send("good", headers=["X-Old: x", "X-Spam: Yes"], **user))
        self.assertEqual((mail["X-Seen"], mail["X-Old"], mail["X-Spam"]), (f"{STRANGER} {user.get('LOGIN', 'nil')}", None, None))
        self.assertEqual(self.taken(self.send("WORD-MARKED\r\n"))["X-Spam"], "Yes")
        self.refused(self.send("WORD-REFUSED\r\n"), 554, "this looks like spam")
        self.refused(self.send("WORD-SOFT\r\n"), 451, "come again, says rspamd")
        self.refused(self.send("WORD-DOUBTFUL\r\n", ip=PARTNER), 451, "please try again in 1 seconds")
        self.assertIsNone(self.taken(self.send_again("WORD-DOUBTFUL\r\n", ip=PARTNER))["X-Spam"])

    def test_rspamd_signs(self):
        """What arrives verifies: the mail goes on its way, and we are asked about it."""
        self.use("rspamd")
        raw = self.taken(self.send("WORD-SIGN\r\n")).raw
        self.use("mail-exchanger")
        mail = self.taken(self.send_again(data=raw[raw.index(b"DKIM-Signature"):].replace(b"\n", b"\r\n")))
        self.assertIn("dkim=pass", mail["Authentication-Results"])

    def test_refuse_in_recipient(self):
        self.use("refuse-in-recipient", refuse_networks="198.51.100.66", refuse_helos="localhost", refuse_senders="@bad.example")
        for more, text in (({"ip": LISTED}, f"mail from {LISTED} is not taken here"), ({"helo": "localhost"}, "a server that calls itself localhost"),
                           ({"sender": "x@bad.example"}, "mail of x@bad.example is not taken here")):
            answer = self.send("good", **more)
            self.refused(answer, 554, text)
            self.assertIn("write to postmaster", answer[1][1])
            self.assertEqual(self.taken(self.send("good", "postmaster", **more)).recipients, ["postmaster@example.net"])


if __name__ == "__main__":
    enter_network()
    unittest.main()
