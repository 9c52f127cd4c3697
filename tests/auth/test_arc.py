"""postern.arc against dkimpy and Mail::DKIM: chains made by dkimpy, whole and changed, and our seals on them."""

import os
import random
import unittest

import dkim

from common import Folder, logged, lua, play
from oracles import keys, perl, run_many

HEADER = (b"Authentication-Results: mx.example.com; spf=pass smtp.mailfrom=ann@example.com\r\nReceived: by x.example.net\r\nFrom: Ann <ann@example.com>\r\n"
          b"To: b@example.net\r\nSubject:  a  folded \t\r\n   subject\r\nDate: Mon, 01 Jun 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n")
MAIL = HEADER + b"\r\nhello  \r\nthere\r\n\r\n"

VERIFY = """
local arc = require "postern.arc"
function filter_message(msg)
    local got = arc.verify(msg)
    for _, key in ipairs{ "result", "reason", "instance", "oldest_pass", "domain" } do
        if got[key] ~= nil then msg:log(key, got[key]) end
    end
    for _, set in ipairs(got.sets) do msg:log("set", set.instance .. " " .. set.domain .. " " .. set.results) end
end
"""
SEAL = """
local arc, dkim = require "postern.arc", require "postern.dkim"
local key = assert(dkim.key(%s))
function filter_message(msg)
    local options = { key = key, domain = "example.com", selector = "%s", id = "mx.example.com", spf = { result = "pass", identity = "mailfrom", sender = "a@example.com" } }
    %s
    arc.seal(msg, options)
end
"""


def sealed(mail, kind="rsa", times=1):
    for _ in range(times):
        if b"ARC-Seal" in mail and b"com; arc=pass\r\n" not in mail:
            mail = b"Authentication-Results: mx.example.com; arc=pass\r\n" + mail
        fields = dkim.arc_sign(mail, kind.encode(), b"example.com", keys().pem(kind), b"mx.example.com")
        assert fields, "dkimpy does not seal"
        mail = b"".join(fields) + mail
    return mail


def dkimpy_says(mail):
    def dnsfunc(name, timeout=5):
        name = (name.decode() if isinstance(name, bytes) else name).rstrip(".")
        rows = keys().zone().get(name)
        return rows[0][1].encode() if rows else b""
    cv = dkim.arc_verify(mail, dnsfunc=dnsfunc)[0]
    return {dkim.CV_Pass: "pass", dkim.CV_Fail: "fail", dkim.CV_None: "none"}.get(cv, "fail")


def change(mail, rng):
    kind = rng.randrange(10)
    if kind == 0:
        return mail + b"more\r\n"
    if kind == 1:
        return mail.replace(b"folded", b"unfolded")
    if kind == 2:
        return mail.replace(b"cv=pass", b"cv=none").replace(b"cv=fail", b"cv=pass")
    if kind == 3:
        at = mail.rindex(b"ARC-Seal: ")
        return mail[:at] + b"X-" + mail[at:]
    if kind == 4:
        return b"X-New: 1\r\n" + mail
    if kind == 5:
        return mail.replace(b"spf=pass", b"spf=fail", 1)
    if kind == 6:
        at = mail.index(b"b=", mail.index(b"ARC-Seal:")) + 20
        return mail[:at] + (b"A" if mail[at:at + 1] != b"A" else b"B") + mail[at + 1:]
    if kind == 7:
        return mail + b"\r\n\r\n"
    if kind == 8:
        at = mail.index(b"ARC-Authentication-Results:")
        end = mail.index(b"\r\nAuthentication-Results:", at + 5) + 2
        return mail[at:end] + mail
    return mail.replace(b"Subject:  a", b"subject: a")


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = Folder("arc")
        self.addCleanup(self.folder.remove)

    def verify(self, mails, records=None):
        return [logged(result) for result in run_many(self.folder, VERIFY, mails, keys().zone() if records is None else records)]

    def seal(self, mail, kind="rsa", more=""):
        out = os.path.join(self.folder.path, "out")
        os.makedirs(out, exist_ok=True)
        result = run_many(self.folder, SEAL % (lua(keys().paths[kind]), kind, more), [mail], keys().zone(), "--output", out)[0]
        self.assertIsNone(result["error"])
        with open(os.path.join(out, "m0000.eml"), "rb") as file:
            return file.read(), result


class Verify(Case):
    def test_against_dkimpy_and_perl(self):
        rng = random.Random(8617)
        chains = [sealed(MAIL, kind, times) for kind in ("rsa", "small") for times in (1, 2, 4)]
        mails = [MAIL, *chains, *(change(mail, rng) for mail in chains for _ in range(8))]
        ours = [notes["result"][0] for notes in self.verify(mails)]
        answers = perl([{"do": "arc", "mail": mail} for mail in mails], keys().zone())
        for mail, got, answer in zip(mails, ours, answers):
            self.assertEqual(got, dkimpy_says(mail), mail.decode())
            self.assertEqual(got == "pass", answer == "pass", f"{answer}\n{mail.decode()}")
        self.assertEqual(ours[:7], ["none"] + ["pass"] * 6)
        self.assertGreater(ours.count("fail"), 15)
        print(f"ARC: {ours.count('pass')} of {len(mails)} chains pass; {2 * len(mails)} answers as those of dkimpy and Mail::DKIM")

    def test_what_is_told(self):
        notes = self.verify([sealed(MAIL, times=3)])[0]
        self.assertEqual((notes["instance"], notes["oldest_pass"], notes["domain"]), (["3"], ["0"], ["example.com"]))
        self.assertEqual(notes["set"][0], "1 example.com mx.example.com; spf=pass smtp.mailfrom=ann@example.com")
        changed = sealed(sealed(MAIL).replace(b"there", b"elsewhere"))
        notes = self.verify([changed])[0]
        self.assertEqual((notes["result"], notes["oldest_pass"]), (["pass"], ["2"]))

    def test_dns_that_fails(self):
        notes = self.verify([sealed(MAIL)], {"rsa._domainkey.example.com": ["TIMEOUT"]})[0]
        self.assertEqual(notes["result"], ["temperror"])
        self.assertEqual(self.verify([sealed(MAIL)], {})[0]["result"], ["fail"])

    def test_hostile_fields(self):
        chain = sealed(MAIL)
        for field in (b"ARC-Seal: i=0; cv=none\r\n", b"ARC-Seal:\r\n", b"ARC-Seal: i=51\r\n", b"ARC-Seal: i=99999999999999999999\r\n", b"ARC-Message-Signature: ;;;\r\n",
                      b"ARC-Authentication-Results: none\r\n", b"ARC-Authentication-Results: i=2; x\r\n", b"ARC-Seal: i=1; i=1\r\n", b"ARC-Seal: i=-1\r\n",
                      b"ARC-Seal: " + b" \t" * 50000 + b"\r\n", b"ARC-Authentication-Results: i=1" + b" " * 90000 + b"x\r\n"):
            for mail in (field + MAIL, field + chain):
                self.assertEqual(self.verify([mail])[0]["result"], ["fail"], field[:60])
        many = b"".join(b"ARC-Seal: i=%d; cv=pass; a=rsa-sha256; b=AAAA; d=example.com; s=rsa\r\nARC-Authentication-Results: i=%d; x\r\n"
                        b"ARC-Message-Signature: i=%d; x=y\r\n" % (i, i, i) for i in range(1, 51))
        self.assertEqual(self.verify([many + MAIL])[0]["result"], ["fail"])


class Seal(Case):
    def test_others_take_them(self):
        n = 0
        for kind in ("rsa", "small"):
            for times in (0, 1, 3):
                mail, _ = self.seal(sealed(MAIL, times=times) if times else MAIL, kind)
                self.assertEqual(dkimpy_says(mail), "pass", mail.decode())
                self.assertEqual(perl([{"do": "arc", "mail": mail}], keys().zone()), ["pass"])
                again, _ = self.seal(mail)
                self.assertEqual(dkimpy_says(again), "pass")
                n += 3
        mail, _ = self.seal(MAIL, "ed25519")
        self.assertEqual(self.verify([mail])[0]["result"], ["pass"])
        print(f"ARC: {n} verifications of our seals by dkimpy and Mail::DKIM pass")

    def test_of_what_leaves_and_after_dkim(self):
        more = 'dkim.sign(msg, { key = key, domain = "example.com", selector = "rsa" }) msg:set_header("Subject", "changed") msg:append_text("below")'
        mail, _ = self.seal(sealed(MAIL), more=more)
        self.assertIn(b"below", mail)
        self.assertEqual(dkimpy_says(mail), "pass", mail.decode())
        self.assertIn(b"dkim-signature", mail[mail.index(b"ARC-Message-Signature:"):].replace(b"\r\n", b""))
        self.assertEqual(self.verify([mail])[0]["oldest_pass"], ["2"])

    def test_a_broken_chain_is_told_once(self):
        broken = sealed(MAIL).replace(b"there", b"elsewhere")
        mail, _ = self.seal(broken)
        self.assertIn(b"cv=fail", mail)
        self.assertEqual((dkimpy_says(mail), self.verify([mail])[0]["result"]), ("fail", ["fail"]))
        again, result = self.seal(mail)
        self.assertEqual(again.count(b"ARC-Seal:"), 2)
        self.assertIn("given up", "".join(result["log"]))

    def test_results(self):
        more = 'options.dmarc = { result = "fail", domain = "example.com", policy = "none", record = { p = "reject" } } options.dkim = { signatures = {} }'
        mail, _ = self.seal(MAIL, more=more)
        self.assertEqual(self.verify([mail])[0]["set"],
                         ["1 example.com mx.example.com; spf=pass smtp.mailfrom=a@example.com; dkim=none; dmarc=fail (p=reject policy=none) header.from=example.com; arc=none"])

    def test_wrong_use(self):
        for more, part in (("options.key = nil", "key is what"), ("options.id = 'a b'", "id is the name"), ("options.arc = { result = 'x' }", "what arc.verify gave"),
                           ("options.arcs = {}", "no option 'arcs'"), ("msg = 1", "a msg expected")):
            result = play(self.folder, SEAL % (lua(keys().paths["rsa"]), "rsa", more), options=("-o", f"worker.read_paths={keys().folder.path}"))
            self.assertRegex(result["error"] or "", "^filter_message: filter.lua:")
            self.assertIn(part, result["error"])


if __name__ == "__main__":
    unittest.main()
