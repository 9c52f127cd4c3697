"""The ready filters dkim-sign.lua and arc-seal.lua and a real mail server: what arrives is signed and sealed as others want it.

Each server has its own ways with header fields: where they go, how they are folded, which it writes anew. dkimpy judges what was delivered,
and our own modules do. Usage: test_recipe_signing.py sendmail|postfix
"""

import re
import sys
import unittest

import dkim

import recipes
from common import Folder, lua, logged
from harness.dns_server import Nsd
from harness.process import wait_until
from harness.smtp_server import SmtpServer
from oracles import dkimpy_says, keys, run_many
from recipes import MTAS, POSTFIX, STRANGER, Recipes, recipe

MTA = sys.argv.pop(1)
OURS, NAME = "127.0.0.1", {"sendmail": "mx.postern.test", "postfix": "mxp.postern.test"}[MTA]
VERIFY = """
local arc, dkim = require "postern.arc", require "postern.dkim"
function filter_message(msg) msg:log("dkim", dkim.verify(msg).result) msg:log("arc", arc.verify(msg).result) end
"""
# A filter of the administrator's own, that signs what it has changed as dkim-sign.lua does.
CHANGED = """
local sign = filter_message
function filter_message(msg)
    msg:set_header("Subject", "Grüße: " .. msg.subject)
    msg:set_header("To", "Bob B. <bob@example.net>")
    msg:delete_header("Cc")
    msg:add_header("Cc", "c@example.net (C. D.),e@example.net")
    msg:add_header("List-Id", "ours")
    msg:insert_header(0, "X-Top", "yes")
    msg:append_text("below: grüße")
    return sign(msg)
end
"""
HEADER = ["From: Ann <ann@example.com>", "To: bob@example.net", "Subject: lunch", "Date: Mon, 01 Jun 2026 10:00:00 +0000", "Message-ID: <1@example.com>"]
PLAIN = HEADER + ["", "At noon?"]


# How mail for relay.example leaves by SMTP.
RELAY = {"postfix": lambda port: {"settings": POSTFIX + f"transport_maps = inline:{{relay.example=smtp:[127.0.0.1]:{port}}}\n"},
         "sendmail": lambda port: {"extra": f"""define(`ESMTP_MAILER_ARGS', `TCP $h {port}')dnl
LOCAL_RULE_0
R$+ < @ relay.example . > $*\t$#esmtp $@ [127.0.0.1] $: $1 < @ relay.example . > $2
R$+ < @ relay.example > $*\t$#esmtp $@ [127.0.0.1] $: $1 < @ relay.example . > $2
"""}}


def mail(*lines):
    return "\r\n".join(lines).encode("utf-8") + b"\r\n"


def crlf(one):
    """A delivered mail as it would go on its way."""
    return re.sub(rb"\r?\n", b"\r\n", one.raw)


class Signing(Recipes):
    mta_class = MTAS[MTA]

    def judged_by_us(self, mails):
        """What our own modules say: a list of (DKIM's result, ARC's result)."""
        folder = Folder("verify")
        self.addCleanup(folder.remove)
        notes = map(logged, run_many(folder, VERIFY, mails, keys().zone()))
        return [(note["dkim"][0], note["arc"][0]) for note in notes]


# What a server might write anew: each with the lines of its header, or a body.
AS_WRITTEN = {
    "plain": PLAIN,
    "nothing but From": ["From: ann@example.com", "", "x"],
    "an empty body": HEADER + [""],
    "blanks and dots": HEADER + ["X-Odd:no space", "X-Blanks:   a  \t b  ", "X-Empty:", "", " a  b \t", "", ".", "..", "end.", "", ""],
    "folded": ["From: Ann\r\n  Author\r\n\t<ann@example.com>", *HEADER[1:2], "Subject: a\r\n\tfolded\r\n  subject", *HEADER[3:], "", "x"],
    "a long subject": HEADER[:2] + ["Subject: " + "word  " * 300] + HEADER[3:] + ["", "x"],
    "encoded words": ["From: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= <ann@example.com>", HEADER[1], "Subject: =?utf-8?B?R3LDvMOfZQ==?=", *HEADER[3:], "", "x"],
    "a name in quotes": ['From: "Author, Ann X. (the one)" <ann@example.com>', 'To: "Bob, B." <bob@example.net>', *HEADER[2:], "", "x"],
    "a name with a dot": ["From: Ann X. Author <ann@example.com>", *HEADER[1:], "", "x"],
    "an apostrophe": ["From: Ann O'Brien <ann@example.com>", *HEADER[1:], "", "x"],
    "encoded words and a dot": ["From: =?utf-8?Q?M=C3=BCller?= J. <ann@example.com>", "To: =?utf-8?Q?J._M=C3=BCller?= <bob@example.net>", *HEADER[2:], "", "x"],
    "names in all ways": [HEADER[0], "To: Ann<a@x.example>,\"B\"<b@x.example> ,< c@x.example >,Dr. D \"dee\" <d@x.example>,, E [x] <e@x.example>",
                          "Cc: f@x.example(F),(G)g@x.example(G. G.), H (h) H. <h@x.example> (h),\"i i\"@x.example,j@x.example (a, b)", *HEADER[2:], "", "x"],
    "a comment": ["From: ann@example.com (Ann)", "To: bob@example.net (Bob (the builder))", *HEADER[2:], "", "x"],
    "many recipients": [HEADER[0], "To: " + ", ".join(f"Somebody{i} <somebody{i}@example.net>" for i in range(20)),
                        "Cc: " + ",\r\n\t".join(f"somebody{i}@example.net" for i in range(20)), *HEADER[2:], "", "x"],
    "lines that are too long": [HEADER[0], "To: " + ",".join(f"Somebody, Nr. {i} <somebody{i}@example.net>" for i in range(100)), *HEADER[2:],
                                "References: " + " ".join(f"<{i}@some.long.name.example.com>" for i in range(100)), "", "x"],
    "fields that come twice": [HEADER[0], "To: a@example.net,b@example.net", "To: C. <c@example.net>", "Resent-From: A. <ann@example.com>",
                               "Resent-From: B. <ann@example.com>", *HEADER[2:], "", "x"],
    "recipients without blanks": [HEADER[0], "To: a@example.net,b@example.net", "Cc: C <c@example.net>,\r\n d@example.net", *HEADER[2:], "", "x"],
    "names without a domain": [HEADER[0], "To: bob", "Cc: Eve <eve>, dan (Dan),c@x.example", *HEADER[2:], "", "x"],
    "a group": [HEADER[0], "To: friends: a@example.net, b@example.net;", "Cc: undisclosed-recipients:;", *HEADER[2:], "", "x"],
    "odd names": [HEADER[0].replace("From", "FROM"), *(line.replace("Subject", "SuBJect") for line in HEADER[1:]), "List-ID: <x.example.com>", "", "x"],
    "twice": HEADER + ["X-A: 1", "X-A: 2", "Comments: one", "Comments: two", "", "x"],
    "answers": HEADER + ["In-Reply-To: <0@example.com>", "References: <a@x>\r\n <b@x>\r\n <c@x>", "Reply-To: ann@example.com", "Sender: ann@example.com", "", "x"],
    "parts": HEADER + ["MIME-Version: 1.0", "Content-Type: multipart/alternative;\r\n boundary=\"b\"", "", "--b", "Content-Type: text/plain; charset=utf-8",
                       "Content-Transfer-Encoding: 8bit", "", "Grüße", "--b", "Content-Type: text/html", "", "<b>x</b>", "--b--"],
}


class DkimSign(Signing):
    @classmethod
    def setUpClass(cls):
        cls.next_hop = SmtpServer()
        cls.addClassCleanup(cls.next_hop.close)
        cls.mta_words = RELAY[MTA](cls.next_hop.port)
        super().setUpClass()

    def relayed(self, lines):
        """A mail of ours as the next server gets it."""
        self.next_hop.messages.clear()
        answer = self.send(mail(*lines), OURS, to="bob@relay.example")
        self.assertEqual(answer[:2], ("end", 250), answer)
        wait_until(lambda: self.next_hop.messages, lambda: "it to be passed on:\n" + self.mta.log()[-3000:], 30)
        return self.next_hop.messages[0].data

    def sign_with(self, key, more=""):
        return self.use(recipe("dkim-sign") + more, {"worker.read_paths": keys().folder.path, "filter.dkim_domains": "example.org, example.com",
                                                     "filter.dkim_selector": key, "filter.dkim_key": keys().paths[key]})

    def check(self, delivered):
        """delivered: {name: mail or bytes}; each verifies."""
        mails = {name: one if isinstance(one, bytes) else crlf(one) for name, one in delivered.items()}
        for (name, data), (ours, _) in zip(mails.items(), self.judged_by_us(mails.values())):
            with self.subTest(name):
                self.assertEqual((dkimpy_says(data, keys().zone()), ours), (True, "pass"), data.decode(errors="replace"))

    def test_what_is_delivered_verifies(self):
        self.sign_with("rsa")
        delivered = {name: self.deliver(mail(*lines), OURS) for name, lines in AS_WRITTEN.items()}
        self.check(delivered)
        # Postfix gives what our own machines send one before its filters; else it is ours.
        self.assertRegex(delivered["nothing but From"]["Message-ID"], r"@mxp\.postern\.test>$" if MTA == "postfix" else r"^<[0-9a-f]+@example\.com>$")
        self.assertEqual(delivered["recipients without blanks"]["To"], "a@example.net,b@example.net" if MTA == "postfix" else "a@example.net, b@example.net")

    def test_what_is_passed_on_verifies(self):
        self.sign_with("rsa")
        self.check({name: self.relayed(lines) for name, lines in AS_WRITTEN.items()})

    def test_with_an_ed25519_key_and_the_domain_above(self):
        self.sign_with("ed25519")
        one = self.deliver(mail("From: ann@mail.example.com", *PLAIN[1:]), OURS)
        self.assertIn("a=ed25519-sha256", one["DKIM-Signature"])
        self.check({"ed25519": one})

    def test_after_changes_by_the_same_filter(self):
        self.sign_with("rsa", CHANGED)
        texts = {"text": PLAIN, "parts": AS_WRITTEN["parts"], "Cc": AS_WRITTEN["recipients without blanks"]}
        delivered = {name: self.deliver(mail(*lines), OURS) for name, lines in texts.items()}
        self.check(delivered)
        for name, one in delivered.items():
            with self.subTest(name):
                self.assertEqual((one["X-Top"], one["List-Id"], len(one.get_all("Cc"))), ("yes", "ours", 1))
                self.assertIn("Bob B.", one["To"])
                self.assertIn(b"below: gr", one.raw)

    def test_fields_that_are_added_later_break_it(self):
        self.sign_with("rsa")
        data = crlf(self.deliver(mail(*PLAIN), OURS))
        field = re.search(rb"^DKIM-Signature:.*?\r\n(?![ \t])", data, flags=re.S | re.M).group(0)
        signed = re.search(rb"\bh=([^;]*);", field).group(1).replace(b":", b" ").split()
        self.assertEqual([signed.count(name) for name in (b"from", b"subject", b"to", b"date", b"message-id", b"reply-to", b"cc")], [2] * 5 + [1] * 2)
        forged = [line + data for line in (b"From: eve@example.net\r\n", b"Subject: other\r\n", b"Reply-To: eve@example.net\r\n", b"Cc: eve@example.net\r\n",
                                           b"Content-Type: text/html\r\n")]
        self.assertEqual([dkimpy_says(one, keys().zone()) for one in [data, b"X-New: 1\r\n" + data, *forged]], [True, True] + [False] * len(forged))
        self.assertEqual([dkim for dkim, _ in self.judged_by_us(forged)], ["fail"] * len(forged))

    def test_whose_mail_is_not_signed(self):
        self.sign_with("rsa")
        for lines, source in ((PLAIN, STRANGER), (["From: ann@example.net", *PLAIN[1:]], OURS), (["From: ann@example.com", *PLAIN], OURS),
                              (["From: ann@example.net, eve@example.com", *PLAIN[1:]], OURS), (["From: ann@badexample.com", *PLAIN[1:]], OURS)):
            with self.subTest(lines[0], source=source):
                self.assertIsNone(self.deliver(mail(*lines), source)["DKIM-Signature"])


class ArcSeal(Signing):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        records = "".join(f"{name}._domainkey TXT {' '.join(lua(text[i:i + 200]) for i in range(0, len(text), 200))}\n" for name, text in keys().records.items())
        zone = '@ TXT "v=spf1 ip4:198.51.100.7 -all"\n_dmarc TXT "v=DMARC1; p=none"\n' + records
        cls.nsd = Nsd(cls.mta.folder, {"example.com": zone}).start()
        cls.addClassCleanup(cls.nsd.stop)

    def seal(self, note="forwarded by the list"):
        return self.use(recipe("arc-seal"), {"worker.read_paths": keys().folder.path, "dns.servers": self.nsd.server, "filter.arc_domain": "example.com",
                                             "filter.arc_selector": "rsa", "filter.arc_key": keys().paths["rsa"], "filter.arc_note": note})

    @staticmethod
    def dkimpy_says(data):
        def dnsfunc(name, timeout=5):
            rows = keys().zone().get((name.decode() if isinstance(name, bytes) else name).rstrip("."))
            return rows[0][1].encode() if rows else b""
        return {dkim.CV_Pass: "pass", dkim.CV_Fail: "fail", dkim.CV_None: "none"}.get(dkim.arc_verify(data, dnsfunc=dnsfunc)[0], "fail")

    @staticmethod
    def signed(data):
        return dkim.sign(data, b"rsa", b"example.com", keys().pem("rsa")) + data

    @staticmethod
    def sealed_before(data):
        """As who sealed it first sent it: dkimpy."""
        data = b"Authentication-Results: relay.example; spf=pass smtp.mailfrom=ann@example.com\r\n" + data
        return b"".join(dkim.arc_sign(data, b"rsa", b"example.com", keys().pem("rsa"), b"relay.example")) + data

    def check(self, delivered, n_sets):
        data = crlf(delivered)
        self.assertEqual(len(delivered.get_all("ARC-Seal")), n_sets)
        self.assertEqual((self.dkimpy_says(data), self.judged_by_us([data])[0][1]), ("pass", "pass"), data.decode(errors="replace"))

    def results(self, delivered):
        return re.sub(r"\s+", " ", delivered["ARC-Authentication-Results"])

    def test_changed_mail_is_sealed_as_it_leaves(self):
        self.seal()
        for name in ("plain", "nothing but From", "parts", "names in all ways", "folded"):
            with self.subTest(name):
                one = self.deliver(self.signed(mail(*AS_WRITTEN[name])), sender="ann@example.com")
                self.check(one, 1)
                self.assertIn(b"forwarded by the list", one.raw)
                for part in ("i=1; ", NAME, "spf=pass", "dkim=pass", "dmarc=pass", "arc=none"):
                    self.assertIn(part, self.results(one))
                # What its sender signed was changed: the seal alone tells what it was.
                self.assertEqual(self.judged_by_us([crlf(one)])[0][0], "fail")

    def test_a_chain_grows_and_forged_results_go(self):
        self.seal()
        forged = f"Authentication-Results: {NAME}; dmarc=pass header.from=example.com\r\n".encode()
        one = self.deliver(forged + self.sealed_before(mail(*PLAIN)))
        self.check(one, 2)
        self.assertEqual([value.split(";")[0] for value in one.get_all("Authentication-Results")], ["relay.example"])
        self.assertIn("cv=pass", one["ARC-Seal"])
        self.assertIn("arc=pass", self.results(one))

    def test_a_broken_chain_is_told(self):
        self.seal()
        one = self.deliver(self.sealed_before(mail(*PLAIN)).replace(b"noon", b"one"))
        self.assertEqual(len(one.get_all("ARC-Seal")), 2)
        self.assertIn("cv=fail", one["ARC-Seal"])
        self.assertEqual(self.dkimpy_says(crlf(one)), "fail")

    def test_without_a_note_the_senders_signature_lives_on(self):
        self.seal(note="")
        one = self.deliver(self.signed(mail(*PLAIN)))
        self.check(one, 1)
        self.assertEqual(self.judged_by_us([crlf(one)])[0][0], "pass")

    def test_mail_of_our_users_is_not_sealed(self):
        self.seal()
        self.assertIsNone(self.deliver(mail(*PLAIN), OURS)["ARC-Seal"])


if __name__ == "__main__":
    recipes.enter_network()
    unittest.main()
