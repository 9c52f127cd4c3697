"""postern.dkim against dkimpy and Mail::DKIM, in both directions, and against the vectors of the RFCs and of dkimpy."""

import base64
import glob
import itertools
import os
import random
import re
import unittest

import dkim
import dkim.tests

from common import Folder, logged, lua, play
from oracles import dkimpy_says, keys, perl, run_many

DATA = os.path.join(os.path.dirname(dkim.tests.__file__), "data")

VERIFY = """
local dkim = require "postern.dkim"
function filter_message(msg)
    local got = dkim.verify(msg)
    msg:log("result", got.result)
    for _, signature in ipairs(got.signatures) do
        for key, value in pairs(signature) do
            if type(value) ~= "table" then msg:log(key, value) end
        end
    end
end
"""
SIGN = """
local dkim = require "postern.dkim"
local keys = {}
for _, path in ipairs{ %s } do
    keys[#keys + 1] = assert(dkim.key(path))
end
function filter_message(msg)
    %s
end
"""


def data(name):
    with open(os.path.join(DATA, name), "rb") as file:
        return file.read()


def crlf(text):
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def txt(name):
    return "".join(data(name).decode().split("\n")).strip()


VECTOR_ZONE = {
    "brisbane._domainkey.football.example.com": [("TXT", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")],
    "test._domainkey.football.example.com": [("TXT", "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/b"
                                                     "yYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB")],
}



HEADER = (b"Received: by x.example.net\r\nFrom: Ann <ann@example.com>\r\nTo: b@example.net,\r\n\tc@example.net\r\nSubject:  a  folded \t\r\n   subject\r\n"
          b"Date: Mon, 01 Jun 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nX-Twice: one\r\nX-Twice: two  \r\nX-Empty:\r\n")
BODIES = {
    "plain": b"hello\r\nthere\r\n", "empty": b"", "blank lines": b"\r\n\r\n\r\n", "blanks at ends": b"a \t\r\n b\t\tc  \r\n\r\n \r\n\t\r\n",
    "inside": b"a\r\n\r\n\r\nb\r\n\r\n", "dots": b".\r\n..\r\n.x\r\n",
    "long": b"x " * 5000 + b"\r\n" + b"y" * 9000 + b"\r\n", "bytes": bytes(range(128, 256)) + b"\r\n", "blank line first": b" \r\nx\r\n",
}
# Mail that came by SMTP ends with a line end, so what signers make of other mail does not matter; they differ.
CANONS = [(h, b) for h in ("simple", "relaxed") for b in ("simple", "relaxed")]


def signed_by_dkimpy():
    for (name, body), (header, canon), kind, length in itertools.product(BODIES.items(), CANONS, ("rsa", "ed25519"), (False, True)):
        if length and header != canon:
            continue
        mail = HEADER + b"\r\n" + body
        field = dkim.sign(mail, kind.encode(), b"example.com", keys().pem(kind), canonicalize=(header.encode(), canon.encode()), length=length,
                          signature_algorithm=b"ed25519-sha256" if kind == "ed25519" else b"rsa-sha256")
        yield f"{name}, {header}/{canon}, {kind}, {length}", field + mail


def change(mail, rng):
    """One change of a mail, of which some break a signature and some do not, depending on its form."""
    head, _, body = mail.partition(b"\r\n\r\n")
    kind = rng.randrange(9)
    if kind == 0:
        return head + b"\r\n\r\n" + body + b"appended\r\n"
    if kind == 1:
        return head + b"\r\n\r\n" + body + b"\r\n\r\n"
    if kind == 2:
        return head + b"\r\n\r\n" + body.replace(b"\r\n", b" \t\r\n")
    if kind == 3:
        return head.replace(b"Subject: ", b"subject:  ") + b"\r\n\r\n" + body
    if kind == 4:
        return head.replace(b"folded", b"FOLDED") + b"\r\n\r\n" + body
    if kind == 5:
        return head.replace(b"c@example.net", b"c@example.net\r\n ") + b"\r\n\r\n" + body
    if kind == 6:
        return head.replace(b"X-Twice: two", b"X-Twice: three") + b"\r\n\r\n" + body
    if kind == 7:
        return b"From: forged@example.org\r\n" + mail
    at = head.index(b" bh=") + 8
    return head[:at] + (b"A" if head[at:at + 1] != b"A" else b"B") + head[at + 1:] + b"\r\n\r\n" + body


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = Folder("dkim")
        self.addCleanup(self.folder.remove)

    def play(self, code):
        return play(self.folder, code, options=("-o", f"worker.read_paths={keys().folder.path}:{self.folder.path}"))

    def verify(self, mails, records=None):
        """The notes of each."""
        return [logged(result) for result in run_many(self.folder, VERIFY, mails, records or keys().zone())]


class Vectors(Case):
    def test_rfc8463_and_those_of_dkimpy(self):
        total = 0
        for name in ("rfc6376.signed.msg", "rfc6376.signed.rsa.msg"):
            notes = self.verify([data(name)], VECTOR_ZONE)[0]
            self.assertEqual(set(notes["result"]), {"pass"}, name)
            total += len(notes["result"]) - 1
        other = {"sed._domainkey.test.ex": [("TXT", txt("eximtest.dns"))]}
        self.assertEqual(self.verify([data("ed25519test2.msg")], other)[0]["result"][0], "pass" if dkimpy_says(data("ed25519test2.msg"), other) else "fail")
        print(f"DKIM: {total + 1} of {total + 1} signatures of RFC 8463 and dkimpy as told")


class Verify(Case):
    def agree(self, mails):
        """Ours against dkimpy, and Mail::DKIM where it knows the algorithm. Counts of answers that are the same."""
        ours = [notes["result"][0] == "pass" for notes in self.verify([mail for _, mail in mails])]
        n = 0
        for (name, mail), result in zip(mails, ours):
            self.assertEqual(result, dkimpy_says(mail, keys().zone()), f"dkimpy: {name}\n{mail[:3000]!r}")
            n += 1
        known = [(pair, result) for pair, result in zip(mails, ours) if b"a=rsa" in pair[1]]
        for (pair, result), answer in zip(known, perl([{"do": "verify", "mail": pair[1]} for pair, _ in known], keys().zone())):
            self.assertEqual("pass" if result else "fail", answer if answer == "pass" else "fail", f"Mail::DKIM: {pair[0]}: {answer}")
            n += 1
        return n, sum(ours)

    def test_signed_by_dkimpy(self):
        mails = list(signed_by_dkimpy())
        n, passed = self.agree(mails)
        self.assertEqual(passed, len(mails))
        print(f"DKIM: signed by dkimpy: {passed} of {len(mails)} pass; {n} answers as those of dkimpy and Mail::DKIM")

    def test_signed_by_dkimpy_and_changed(self):
        rng = random.Random(6376)
        mails = [(name, change(mail, rng)) for name, mail in signed_by_dkimpy()]
        n, passed = self.agree(mails)
        self.assertGreater(passed, 20)
        self.assertGreater(len(mails) - passed, 50)
        print(f"DKIM: changed after signing: {passed} of {len(mails)} pass; {n} answers as those of dkimpy and Mail::DKIM")

    def test_signed_by_perl(self):
        jobs = [{"do": "sign", "mail": HEADER + b"\r\n" + body, "algorithm": "rsa-sha256", "method": "/".join(canon), "domain": "example.com",
                 "selector": "rsa", "key": keys().paths["rsa"]} for body in BODIES.values() for canon in CANONS]
        mails = [base64.b64decode(answer) for answer in perl(jobs, keys().zone())]
        results = [notes["result"][0] for notes in self.verify(mails)]
        print(f"DKIM: signed by Mail::DKIM: {results.count('pass')} of {len(mails)} pass")
        self.assertEqual(results, ["pass"] * len(mails))


class Rules(Case):
    """What RFC 6376, 8301 and 8463 ask of who verifies, one by one."""

    def signed(self, kind="rsa", **options):
        mail = HEADER + b"\r\nhello\r\n"
        return dkim.sign(mail, kind.encode(), b"example.com", keys().pem(kind), canonicalize=(b"relaxed", b"relaxed"),
                         signature_algorithm=b"ed25519-sha256" if kind == "ed25519" else b"rsa-sha256", **options) + mail

    def notes(self, mail, record=None, rows=None):
        records = keys().zone()
        if record is not None or rows is not None:
            records["rsa._domainkey.example.com"] = rows if rows is not None else [("TXT", record)]
        return self.verify([mail], records)[0]

    def expect(self, result, reason, mail, record=None, rows=None):
        notes = self.notes(mail, record, rows)
        self.assertEqual(notes["result"][0], result, notes)
        if reason:
            self.assertIn(reason, notes["reason"][0])

    def test_no_signature(self):
        self.assertEqual(self.notes(HEADER + b"\r\nx\r\n"), {"result": ["none"]})

    def test_keys(self):
        good = keys().records["rsa"]
        public = good.partition("p=")[2]
        mail = self.signed()
        for record, result, reason in (
                (good, "pass", None), (f"p={public}", "pass", None), (f"k=rsa;p={public};", "pass", None), (f"v=DKIM1; n=x; g=*; p={public}", "pass", None),
                (f"v=DKIM1; s=email:x; h=sha1:sha256; p={public[:60]} {public[60:]}", "pass", None), (f"v=DKIM1; t=s; p={public}", "pass", None),
                (f"v=DKIM2; p={public}", "permerror", "version"), (f"p={public}; v=DKIM1", "permerror", "version"), ("v=DKIM1; p=", "permerror", "revoked"),
                ("v=DKIM1; k=rsa", "permerror", "no key"), (f"v=DKIM1; h=sha1; p={public}", "permerror", "SHA-256"),
                (f"v=DKIM1; s=tls; p={public}", "permerror", "not for mail"), (f"v=DKIM1; k=ed25519; p={public}", "permerror", "another kind"),
                ("v=DKIM1; p=AAAA", "permerror", "cannot be read"), ("v=DKIM1; p=!!", "permerror", "base64"), ("nonsense", "permerror", None),
                (keys().records["small"], "fail", None), (f"v=DKIM1; p={public}; p={public}", "permerror", "twice")):
            with self.subTest(record=record[:40], reason=reason):
                self.expect(result, reason, mail, record)
        self.expect("permerror", "no key", mail, rows=[])
        self.expect("temperror", "timeout", mail, rows=["TIMEOUT"])
        self.expect("pass", None, mail, rows=[("TXT", "v=spf1 -all"), ("TXT", good)])
        self.assertEqual(self.notes(mail, f"v=DKIM1; t=y; p={public}")["testing"], ["true"])

    def test_short_key(self):
        path = os.path.join(DATA, "test.private")
        weak = ("MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBANmBe10IgY+u7h3enWTukkqtUD5PR52Tb/mPfjC0QJTocVBq6Za/PlzfV+Py92VaCak19F4WrbVTK5Gg5tW220MCAwEAAQ==")
        self.expect("permerror", "under 1024", self.signed(), f"v=DKIM1; p={weak}")
        self.assertTrue(os.path.exists(path))

    def test_tags(self):
        mail = self.signed()
        for old, new, result, reason in (
                (b"a=rsa-sha256", b"a=rsa-sha1", "permerror", "not taken"), (b"v=1;", b"v=2;", "permerror", "version"), (b"v=1;", b"", "permerror", "version"),
                (b"d=example.com", b"d=com", "permerror", "domain"), (b"d=example.com", b"d=example.com; i=a@example.org", "permerror", "identity"),
                (b"d=example.com", b"d=example.com; q=http", "permerror", "not in DNS"), (b"d=example.com", b"d=example.com; x=100; t=50", "fail", "expired"),
                (b"d=example.com", b"d=example.com; x=100; t=150", "permerror", "number"), (b"d=example.com", b"d=example.com; t=abc", "permerror", "number"),
                (b"d=example.com", b"d=example.com; d=example.com", "permerror", "twice"), (b"c=relaxed/relaxed", b"c=strict", "permerror", "canonical"),
                (b"d=example.com", b"d=example.com; l=999", "fail", "shorter"), (b"bh=", b"bh=!", "permerror", "base64"), (b"s=rsa", b"s=..", "permerror", "selector"),
                (b"h=", b"h=x", None, None), (b"from", b"form", "permerror", "From is not signed")):
            with self.subTest(new=new):
                head, _, rest = mail.partition(b"\r\nReceived: by")
                head = re.sub(rb"\s(i|q|t)=[^;]*;", b"", head)
                changed = head.replace(old, new) + b"\r\nReceived: by" + rest
                self.assertNotEqual(changed, mail)
                notes = self.notes(changed)
                self.assertNotEqual(notes["result"][0], "pass")
                if result:
                    self.expect(result, reason, changed)

    def test_what_is_behind_the_signed_length_is_told(self):
        notes = self.notes(self.signed(length=True) + b"more\r\n")
        self.assertEqual((notes["result"][0], notes["body_length"], notes["unsigned_bytes"]), ("pass", ["7"], ["6"]))

    def test_names_outside_ascii(self):
        mail = HEADER + b"\r\nhello\r\n"
        signed = dkim.sign(mail, b"rsa", b"xn--bcher-kva.example", keys().pem("rsa")) + mail
        field, rest = signed[:len(signed) - len(mail)], mail
        field = re.sub(rb" i=[^;]*;", b"", field).replace(b"xn--bcher-kva.example", "bücher.example".encode())
        notes = self.verify([field + rest], {"rsa._domainkey.xn--bcher-kva.example": [("TXT", keys().records["rsa"])]})[0]
        self.assertEqual((notes["domain"], notes["reason"]), (["xn--bcher-kva.example"], ["the signature is of something else"]))  # the key was found
        notes = self.verify([field.replace("ü".encode(), b"\xff") + rest])[0]
        self.assertEqual(notes["result"], ["permerror"] * 2)

    def test_bodies_signed_in_many_lengths(self):
        mail = HEADER + b"\r\nhello\r\n"
        code = """local dkim = require "postern.dkim"
            function filter_message(msg) for _, one in ipairs(dkim.verify(msg, { max_signatures = 30 }).signatures) do msg:log("reason", one.reason) end end"""
        fields = [b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=rsa; h=from; b=AAAA; bh=AAAA; l=%d\r\n" % n for n in range(7)]
        fields += [field.replace(b"l=", b"c=relaxed/relaxed; l=") for field in fields]
        reasons = logged(run_many(self.folder, code, [b"".join(fields) + mail], keys().zone())[0])["reason"]
        self.assertEqual(reasons, ["the body was changed"] * 12 + ["the body is signed in too many lengths"] * 2)

    def test_several_and_too_many(self):
        both = self.signed("ed25519")
        both = self.signed().partition(b"\r\nReceived: by")[0] + b"\r\n" + both
        self.assertEqual(self.notes(both)["result"], ["pass", "pass", "pass"])
        broken = b"DKIM-Signature: v=1; nonsense\r\n"
        notes = self.notes(broken + self.signed())
        self.assertEqual(sorted(notes["result"]), ["pass", "pass", "permerror"])
        many = self.notes(broken * 30 + self.signed())
        self.assertEqual(many["result"], ["permerror"] * 11)

    def test_hostile_fields(self):
        good = self.signed()
        for value in (b"", b";" * 50000, b"a=" * 20000, b"b=;" * 3, b"v=1; h=" + b"from:" * 20000, b"=" * 100, b"\0", b"v=1; d=" + b"." * 60000, b" \r\n\t" * 20000,
                      b"v=1; a=rsa-sha256; b=" + b"A" * 60000 + b"; bh=AAAA; d=example.com; s=rsa; h=" + b"from:" * 3000 + b"from"):
            notes = self.notes(b"DKIM-Signature: " + value + b"\r\n" + good)
            self.assertEqual(notes["result"][0], "pass")


class Sign(Case):
    def leaving(self, code, mails, kinds=("rsa",), *options):
        paths = ", ".join(lua(keys().paths[kind]) for kind in kinds)
        out = os.path.join(self.folder.path, "out")
        os.makedirs(out, exist_ok=True)
        results = run_many(self.folder, SIGN % (paths, code), mails, {}, "--output", out, *options)
        self.assertEqual([result["error"] for result in results], [None] * len(mails))
        found = []
        for i in range(len(mails)):
            with open(os.path.join(out, f"m{i:04d}.eml"), "rb") as file:
                found.append(file.read())
        return found

    ONE = 'dkim.sign(msg, { key = keys[1], domain = "example.com", selector = "%s", body = "%s" })'

    def test_others_take_them(self):
        n = 0
        for kind, canon in itertools.product(("rsa", "ed25519"), ("simple", "relaxed")):
            mails = self.leaving(self.ONE % (kind, canon), [HEADER + b"\r\n" + body for body in BODIES.values()], (kind,))
            for mail in mails:
                self.assertTrue(dkimpy_says(mail, keys().zone()), mail[:1500])
                n += 1
            if kind == "rsa":
                answers = perl([{"do": "verify", "mail": mail} for mail in mails], keys().zone())
                self.assertEqual(answers, ["pass"] * len(mails))
                n += len(mails)
            self.assertEqual([notes["result"][0] for notes in self.verify(mails)], ["pass"] * len(mails))
        print(f"DKIM: signed by us: {n} verifications by dkimpy and Mail::DKIM pass")

    def test_the_message_as_it_leaves(self):
        code = (self.ONE % ("rsa", "relaxed")) + """
            msg:set_header("Subject", "a new subject")
            msg:append_text("a note below")
            msg:add_header("Reply-To", "else@example.org")"""
        mail = self.leaving(code, [HEADER + b"\r\nhello\r\n"])[0]
        self.assertIn(b"a note below", mail)
        self.assertTrue(dkimpy_says(mail, keys().zone()), mail)
        self.assertFalse(dkimpy_says(mail.replace(b"a note below", b"a note BELOW"), keys().zone()))

    def test_replaced_bodies_with_bare_line_feeds(self):
        code = 'msg:replace_body("one\\ntwo\\r\\nthree") ' + (self.ONE % ("rsa", "relaxed"))
        mail = self.leaving(code, [HEADER + b"\r\nhello\r\n"])[0]
        self.assertTrue(dkimpy_says(crlf(mail), keys().zone()), mail)

    def test_date_and_message_id_are_there_first(self):
        mail = self.leaving(self.ONE % ("rsa", "relaxed"), [b"From: a@example.com\r\nSubject: x\r\n\r\nhello\r\n"])[0]
        self.assertRegex(mail, rb"(?m)^Date: \w\w\w, \d\d \w\w\w \d{4} [\d:]{8} \+0000\r$")
        self.assertRegex(mail, rb"(?m)^Message-ID: <[0-9a-f]+@example.com>\r$")
        self.assertTrue(dkimpy_says(mail, keys().zone()))
        self.assertIn(b"date: date:", mail.replace(b"\r\n", b"").replace(b"\t", b" ").lower())

    def test_address_fields_as_sendmail_leaves_them(self):
        fields = (b"(" * 30000, b"()" * 30000, b"a," * 30000, b'""' * 29000, b'"' * 60001, b"<a@b>" * 12000, b"<" + b"a" * 59000, b"a " * 29000 + b"<a@b>", b"a. " * 19000 + b"<a@b>",
                  b"=?x?q?.?= " * 5000 + b"<a@b>", b"a" * 64000, b"x: " * 9000, b"\\", b",", b"()", b'"" <a@b>', b"a@b.", b"\xff.\xfe <a@b>")
        mails = [b"From: a@example.com\r\nDate: x\r\nMessage-ID: <1@x>\r\nTo: " + b"\r\n ".join(field[i:i + 900] for i in range(0, len(field), 900)) + b"\r\n\r\nx\r\n" for field in fields]
        for mail in self.leaving(self.ONE % ("rsa", "relaxed"), mails, ("rsa",), "--macro", "v=8.18.1"):
            self.assertTrue(dkimpy_says(mail, keys().zone()), mail[:1500])
        # What the filter did before is not undone, and no field comes twice.
        code = """
            local n = msg:header("X-N")
            if n == "1" then msg:delete_header("To") msg:add_header("To", "b@x,c@x")
            elseif n == "2" then msg:delete_header("To")
            elseif n == "3" then msg:add_header("Cc", "b@x,c@x")
            else msg:set_header("To", "b@x,c@x") end
        """ + self.ONE % ("rsa", "relaxed")
        head = b"From: A. <a@example.com>\r\nTo: A. <a@x>\r\nX-N: %d\r\n\r\nx\r\n"
        left = [(re.findall(rb"^To: ?(.*)\r\n", mail, flags=re.M), re.findall(rb"^Cc: ?(.*)\r\n", mail, flags=re.M))
                for mail in self.leaving(code, [head % n for n in range(1, 5)], ("rsa",), "--macro", "v=8.18.1")]
        self.assertEqual(left, [([b"b@x, c@x"], []), ([], []), ([b'"A." <a@x>'], [b"b@x, c@x"]), ([b"b@x, c@x"], [])])
        code = 'msg:delete_header("Cc", 1) msg:add_header("Cc", "d,e") ' + self.ONE % ("rsa", "relaxed")
        mail = self.leaving(code, [b"To: a@x,b@x\r\nTo: b@x\r\nTo: c@x,d@x\r\nCc: a@x,b@x\r\nCc: b@x,c@x\r\n" + head % 4], ("rsa",), "--macro", "v=8.18.1")[0]
        self.assertEqual(re.findall(rb"^(?:To|Cc): ?(.*)\r\n", mail, flags=re.M), [b"a@x, b@x", b"b@x", b"c@x, d@x", b"b@x,c@x", b'"A." <a@x>', b"d,e"])
        self.assertTrue(dkimpy_says(mail, keys().zone()))
        mail = self.leaving(self.ONE % ("rsa", "relaxed"), [head % 4], ("rsa",), "--macro", "v=Postfix 3.7.11")[0]
        self.assertIn(b"From: A. <a@example.com>", mail)

    def test_lines_that_are_too_long_are_folded(self):
        references = b" ".join(b"<%d@some.long.name.example.com>" % i for i in range(100))
        mails = [b"From: a@example.com\r\nReferences: " + value + b"\r\n\r\nx\r\n" for value in (references, references[:980], b"x" * 5000, b"\xff " * 5000, b"a " * 29000)]
        left = self.leaving(self.ONE % ("rsa", "relaxed"), mails)
        for before, mail in zip(mails, left):
            self.assertTrue(dkimpy_says(mail, keys().zone()), mail[:1500])
            header, old = mail.split(b"\r\n\r\n")[0], before.split(b"\r\n")[1]
            self.assertEqual(re.sub(rb"\s+", b" ", old) in re.sub(rb"\s+", b" ", header), True)
            self.assertEqual(old in header, before not in (mails[0], mails[4]), old[:100])

    def test_oversigned(self):
        mail = self.leaving(self.ONE % ("rsa", "relaxed"), [HEADER + b"\r\nhello\r\n"])[0]
        self.assertTrue(dkimpy_says(mail, keys().zone()))
        for name in (b"From", b"Subject", b"To", b"Reply-To", b"Content-Type"):
            self.assertFalse(dkimpy_says(name + b": forged\r\n" + mail, keys().zone()), name)
        self.assertTrue(dkimpy_says(b"X-Other: new\r\n" + mail, keys().zone()))

    def test_two_signatures(self):
        code = (self.ONE % ("rsa", "relaxed")) + "\n" + (self.ONE % ("ed25519", "simple")).replace("keys[1]", "keys[2]")
        mail = self.leaving(code, [HEADER + b"\r\nhello\r\n"], ("rsa", "ed25519"))[0]
        self.assertEqual(self.verify([mail])[0]["result"], ["pass"] * 3)

    def test_what_is_asked_for_stands_in_the_field(self):
        code = """dkim.sign(msg, { key = keys[1], domain = "Example.COM", selector = "rsa", identity = "ann@mail.example.com", expires = 3600,
            headers = { "From", "Subject" }, oversign = { "from" } })"""
        notes = self.verify(self.leaving(code, [HEADER + b"\r\nhello\r\n"]))[0]
        self.assertEqual((notes["result"][0], notes["identity"], int(notes["expires"][0]) - int(notes["time"][0])), ("pass", ["ann@mail.example.com"], 3600))

    def test_not_signed(self):
        mail = self.leaving(self.ONE % ("rsa", "relaxed"), [b"Subject: x\r\n\r\nhello\r\n"])[0]
        self.assertNotIn(b"DKIM-Signature", mail)
        result = self.play(SIGN % (lua(keys().paths["rsa"]), (self.ONE % ("rsa", "relaxed")) + ' return reject("no")'))
        self.assertEqual((result["verdict"], result["actions"]), ("reject", []))
        result = self.play(SIGN % (lua(keys().paths["rsa"]), (self.ONE % ("rsa", "relaxed")) + ' error("x")'))
        self.assertEqual(result["actions"], [])

    def test_wrong_use(self):
        key = lua(keys().paths["rsa"])
        for options, part in (("{}", "key is what"), ("{ key = 'x' }", "key is a userdata"), ("{ key = keys[1] }", "domain is a domain"),
                              ("{ key = keys[1], domain = 'example.com' }", "selector"), ("{ key = keys[1], domain = 'a b.com', selector = 'x' }", "domain"),
                              ("{ key = keys[1], domain = 'example.com', selector = 'x', identity = 'a@b.org' }", "identity"),
                              ("{ key = keys[1], domain = 'example.com', selector = 'x', body = 'nofws' }", "relaxed or simple"),
                              ("{ key = keys[1], domain = 'example.com', selector = 'x', headers = { 'to' } }", "From must be"),
                              ("{ key = keys[1], domain = 'example.com', selector = 'x', headers = { 'a b' } }", "names of header"),
                              ("{ key = keys[1], domain = 'example.com', selector = 'x', expires = 1.5 }", "expires"), ("{ keyy = 1 }", "no option"), ("7", "is a table")):
            result = self.play(SIGN % (key, f"dkim.sign(msg, {options})"))
            self.assertRegex(result["error"] or "", "^filter_message: filter.lua:")
            self.assertIn(part, result["error"])
        early = self.play(SIGN.replace("filter_message", "filter_headers") % (key, self.ONE % ("rsa", "relaxed")))
        self.assertIn("known from filter_message", early["error"])

    def test_key_files(self):
        def why(path):
            return self.play(f'local dkim = require "postern.dkim"\nfunction filter_message(msg) msg:log("why", (select(2, dkim.key({lua(path)}))) or "nil") end')["log"][0]
        path = self.folder.write("key.pem", keys().pem("rsa"))
        for mode, part in ((0o644, "others may read"), (0o660, "others may read"), (0o600, "nil"), (0o640, "nil")):
            os.chmod(path, mode)
            self.assertIn(part, why(path))
        empty = self.folder.write("empty.pem", "")
        os.chmod(empty, 0o600)
        self.assertIn("no private key", why(empty))
        self.assertIn("No such file", why(path + "x"))
        self.assertIn("no regular file", why(self.folder.path))
        weak = self.folder.write("weak.pem", data("test.private"))
        os.chmod(weak, 0o600)
        self.assertRegex(why(weak), "nil|under 1024")

    def test_record(self):
        code = 'msg:log("record", dkim.record(keys[1])) msg:log("record", dkim.record(keys[2]))'
        result = self.play(SIGN % (f"{lua(keys().paths['rsa'])}, {lua(keys().paths['ed25519'])}", code))
        self.assertEqual(logged(result)["record"], [keys().records["rsa"], keys().records["ed25519"]])


if __name__ == "__main__":
    unittest.main()
