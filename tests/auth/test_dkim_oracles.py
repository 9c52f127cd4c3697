"""postern.dkim beside dkimpy and Mail::DKIM over signatures made and changed at random: every tag, kind of key and canonical form, and what happens to mail on its way.

The signer is this file's own, so that it can make signatures that no program would."""

import base64
import functools
import hashlib
import logging
import random
import re
import time
import unittest

import dkim
import dkim.crypto
import nacl.signing

from common import Folder, logged
from oracle_peers import Book
from oracles import Keys, perl, run_many

SEED, MAILS = 6376, 180
BITS = {"rsa512": 512, "rsa1024": 1024, "rsa2048": 2048, "rsa4096": 4096}

VERIFY = """
local dkim = require "postern.dkim"
function filter_message(msg)
    for _, signature in ipairs(dkim.verify(msg).signatures) do
        msg:log("result", signature.result)
        msg:log("reason", signature.reason or "")
    end
end
"""


class MoreKeys(Keys):
    SIZES = BITS


def relaxed_field(field):
    name, _, value = field.partition(b":")
    return name.strip().lower() + b":" + re.sub(rb"[ \t\r\n]+", b" ", value).strip(b" ") + b"\r\n"


def canonical_body(body, form):
    """RFC 6376 sections 3.4.3 and 3.4.4."""
    lines = body.split(b"\r\n")
    if form == b"relaxed":
        lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"" if form == b"relaxed" else b"\r\n"
    return b"\r\n".join(lines) + b"\r\n"


def sign(fields, body, tags, key, keys, algorithm):
    """The field for { tag: value } over fields. h and c are taken from tags, b and bh are made."""
    header_form, body_form = (tags["c"].split(b"/") + [b"simple"])[:2] if "c" in tags else (b"simple", b"simple")
    make = hashlib.sha1 if algorithm == b"rsa-sha1" else hashlib.sha256
    text = canonical_body(body, body_form)
    tags = {"a": algorithm, **tags, "bh": base64.b64encode(make(text[:int(tags["l"])] if "l" in tags else text).digest())}
    own = b"DKIM-Signature: " + b";\r\n\t".join(name.encode() + b"=" + value for name, value in tags.items()) + b";\r\n b="
    left, chosen = [field for field in reversed(fields)], []
    for name in tags["h"].lower().split(b":"):
        found = next((field for field in left if field.partition(b":")[0].strip().lower() == name.strip()), None)
        if found is not None:
            left.remove(found)
            chosen.append(found)
    if header_form == b"relaxed":
        data = b"".join(map(relaxed_field, chosen)) + relaxed_field(own + b"\r\n")[:-2]
    else:
        data = b"".join(chosen) + own
    return own + base64.b64encode(private_signature(keys, key, data, make)) + b"\r\n"


def private_signature(keys, key, data, make):
    if key == "ed25519":
        return nacl.signing.SigningKey(base64.b64decode(keys.pem(key))).sign(hashlib.sha256(data).digest()).signature
    digest = make()
    digest.update(data)
    return dkim.crypto.RSASSA_PKCS1_v1_5_sign(digest, dkim.crypto.parse_pem_private_key(keys.pem(key)))


@functools.lru_cache(None)
def made_keys():
    return MoreKeys()


# ---- mails ----

def random_fields(rng):
    fields = [b"Received: by x.example.net;\r\n\tMon, 1 Jun 2026 10:00:00 +0000\r\n", b"From: Ann <ann@example.com>\r\n", b"To: b@example.net,\r\n c@example.net\r\n",
              b"Subject:" + rng.choice((b"", b" ", b"  ", b"\t")) + rng.choice((b"plain", b"a  folded \t\r\n   subject", b"", b"trailing  ", "ünïcode".encode(), b"a:b; c=d")) + b"\r\n",
              b"Date: Mon, 01 Jun 2026 10:00:00 +0000\r\n", b"Message-ID: <1@example.com>\r\n"]
    for _ in range(rng.choice((0, 1, 2))):
        fields.insert(rng.randrange(len(fields) + 1), b"X-Twice: %d\r\n" % rng.randrange(9))
    if rng.random() < 0.2:
        fields.append(rng.choice((b"X-Empty:\r\n", b"X-Blank: \r\n", b"x-LOWER:y\r\n", b"Reply-To : r@example.com\r\n")))
    return fields


def random_body(rng):
    lines = [rng.choice((b"hello", b"", b"", b" ", b"\t", b"a  b\tc", b"end  ", b"  start", b".", b"..", b"=20", "grüße".encode(), b"x" * 990)) for _ in range(rng.randrange(7))]
    return b"".join(line + b"\r\n" for line in lines)


def random_tags(rng, fields, body):
    names = [field.partition(b":")[0].strip() for field in fields]
    chosen = [b"From"] + [name for name in dict.fromkeys(names) if name != b"From" and rng.random() < 0.7]
    if rng.random() < 0.3:
        chosen += rng.choice(([b"From"], [b"Subject", b"Subject"], [b"X-Twice", b"X-Twice"], [b"X-Absent"], [b"DKIM-Signature"]))
    tags = {"v": b"1", "d": b"example.com", "s": b"?", "h": rng.choice((b":", b" : ", b":\r\n\t")).join(chosen)}
    if rng.random() < 0.85:
        tags["c"] = rng.choice((b"simple/simple", b"simple/relaxed", b"relaxed/simple", b"relaxed/relaxed", b"relaxed", b"simple"))
    now, optional = int(time.time()), {
        "l": lambda: b"%d" % rng.choice((0, 1, len(canonical_body(body, (tags.get("c", b"s/simple").split(b"/") + [b"simple"])[1])), 5, 100000)),
        "t": lambda: b"%d" % (now - rng.choice((1, 1000, 10**6))), "x": lambda: b"%d" % (now + rng.choice((10**6, 10**5, -10**5, -(10**6)))),
        "i": lambda: rng.choice((b"@example.com", b"ann@example.com", b"@mail.example.com", b"x@a.b.example.com", b"@example.org", b"@notexample.com", b"@Example.COM")),
        "q": lambda: rng.choice((b"dns/txt", b"dns/txt", b"dns/other")), "z": lambda: b"From:ann@example.com|Subject:x=20y", "zz": lambda: b"not known"}
    for name, value in optional.items():
        if rng.random() < 0.2:
            tags[name] = value()
    return tags


WRONG_TAGS = [(b"v=1", b"v=2"), (b"v=1", b"v=1.0"), (b"a=rsa", b"a=dsa"), (b"d=example.com", b"d=com"), (b"d=example.com", b"d="), (b"bh=", b"bH="), (b"h=From", b"h=Form"), (b"b=", b"b=!"),
              (b"s=", b"s=x"), (b";\r\n b=", b";; b="), (b"v=1;", b"v=1; v=1;"), (b"v=1;", b"")]


def random_mail(rng, keys):
    fields, body = random_fields(rng), random_body(rng)
    signatures, facts = [], []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.choice(("rsa1024", "rsa2048", "rsa2048", "rsa4096", "ed25519", "ed25519", "rsa512", "sha1"))
        key, algorithm = ("rsa2048", b"rsa-sha1") if kind == "sha1" else (kind, b"ed25519-sha256" if kind == "ed25519" else b"rsa-sha256")
        tags = random_tags(rng, fields, body) | {"s": key.encode()}
        field = sign(fields, body, tags, key, keys, algorithm)
        if rng.random() < 0.08:
            old, new = rng.choice(WRONG_TAGS)
            field = field.replace(old, new, 1)
        signatures.insert(0, field)
        facts.insert(0, kind)
    return [*signatures, *fields], body, facts


CHANGES = {
    "nothing": lambda f, b, rng: (f, b), "nothing else": lambda f, b, rng: (f, b), "nothing at all": lambda f, b, rng: (f, b), "blanks at ends of lines": lambda f, b, rng: (f, b.replace(b"\r\n", b" \t\r\n")),
    "blanks doubled": lambda f, b, rng: (f, b.replace(b" ", b"  ")), "lines below": lambda f, b, rng: (f, b + b"\r\n\r\n"), "text below": lambda f, b, rng: (f, b + b"more\r\n"),
    "line above": lambda f, b, rng: (f, b"\r\n" + b), "no body": lambda f, b, rng: (f, b""), "no last line end": lambda f, b, rng: (f, b[:-2]),
    "refolded": lambda f, b, rng: ([x.replace(b" ", b"\r\n ", 1) if x[:3] in (b"Fro", b"Dat") else x for x in f], b),
    "unfolded": lambda f, b, rng: ([re.sub(rb"\r\n[ \t]", b" ", x) if not x.startswith(b"DKIM") else x for x in f], b),
    "signature refolded": lambda f, b, rng: ([re.sub(rb";\r\n\t", b"; ", x) if x.startswith(b"DKIM") else x for x in f], b),
    "names in capitals": lambda f, b, rng: ([x.partition(b":")[0].upper() + b":" + x.partition(b":")[2] for x in f], b),
    "blank before the colon": lambda f, b, rng: ([x.replace(b"Subject:", b"Subject :", 1) for x in f], b),
    "From above": lambda f, b, rng: ([b"From: forged@example.org\r\n", *f], b), "From below": lambda f, b, rng: ([*f, b"From: forged@example.org\r\n"], b),
    "a field above": lambda f, b, rng: ([b"X-Twice: 0\r\n", *f], b), "subject changed": lambda f, b, rng: ([x.replace(b"Subject:", b"Subject: x", 1) for x in f], b),
    "fields swapped": lambda f, b, rng: (f[:-2] + [f[-1], f[-2]], b), "signatures last": lambda f, b, rng: ([x for x in f if x[:4] != b"DKIM"] + [x for x in f if x[:4] == b"DKIM"], b),
    "one letter of the body": lambda f, b, rng: (f, b.replace(b"hello", b"hellO", 1)), "one signature gone": lambda f, b, rng: (f[1:], b),
    "signature folded": lambda f, b, rng: ([x[:-20] + b"\r\n  " + x[-20:] if x.startswith(b"DKIM") else x for x in f], b),
}


def generate(keys):
    rng = random.Random(SEED)
    for number in range(MAILS):
        fields, body, facts = random_mail(rng, keys)
        change = rng.choice(list(CHANGES))
        if change == "one signature gone":
            facts = facts[1:]
        fields, body = CHANGES[change](fields, body, rng)
        yield {"number": number, "change": change, "kinds": facts, "mail": (b"".join(fields) + b"\r\n" + body).decode("latin-1")}


# ---- oracles ----

def dkimpy_says(case, records):
    def dnsfunc(name, timeout=5):
        rows = records.get((name.decode() if isinstance(name, bytes) else name).rstrip("."), [])
        return rows[0][1].encode() if rows else None
    for i in range(len(case["kinds"])):
        try:
            yield bool(dkim.DKIM(case["mail"].encode("latin-1"), logger=logging.getLogger("dkimpy")).verify(idx=i, dnsfunc=dnsfunc))
        except dkim.DKIMException:
            yield False


def why(case):
    return case["reasons"][case["which"]]


TOO_LONG = ("it takes l= beyond the end of the body; section 3.5 forbids that", lambda case, ours, theirs: theirs and why(case) == "the body is shorter than what was signed")
KINDS = {
    "dkimpy": {
        "sha1": ("it takes SHA-1; RFC 8301 section 3.1 forbids that", lambda case, ours, theirs: theirs and case["kinds"][case["which"]] == "sha1"),
        "From": ("it adds From fields that are not signed to what is; RFC 6376 section 5.4.2 takes the lowest", lambda case, ours, theirs: ours and case["change"].startswith("From ")),
        "colon": ("it reads no field with a blank before the colon; RFC 6376 section 3.4.2 takes it away", lambda case, ours, theirs: ours and re.search(r"(?m)^(Subject|Reply-To) :", case["mail"])),
        "line end": ("it does not end the last line; RFC 6376 section 3.4.3 does", lambda case, ours, theirs: ours and not case["mail"].endswith("\r\n")),
        "l": TOO_LONG,
    },
    "Mail::DKIM": {
        "ed25519": ("it does not know RFC 8463", lambda case, ours, theirs: ours and case["kinds"][case["which"]] == "ed25519"),
        "zero": ("it takes l=0 for no l=; RFC 6376 section 3.5 has zero", lambda case, ours, theirs: ours and "l=0;" in case["field"]),
        "l": TOO_LONG,
    },
}


class Oracles(unittest.TestCase):
    maxDiff = None

    def test_random_signatures(self):
        keys = made_keys()
        self.addCleanup(keys.folder.remove)
        folder = Folder("dkim-oracles")
        self.addCleanup(folder.remove)
        cases = list(generate(keys))
        notes = [logged(result) for result in run_many(folder, VERIFY, [case["mail"].encode("latin-1") for case in cases], keys.zone())]
        ours = [[result == "pass" for result in note.get("result", [])] for note in notes]
        for case, note in zip(cases, notes):
            case["reasons"] = note.get("reason", [])
        python, of_perl = Book("dkimpy", KINDS["dkimpy"]), Book("Mail::DKIM", KINDS["Mail::DKIM"])
        for case, a in zip(cases, ours):
            case["fields"] = re.findall(r"(?m)^DKIM-Signature:(?:[^\r\n]|\r\n[ \t])*", case["mail"], re.IGNORECASE)
            self.assertEqual((len(a), len(case["fields"])), (len(case["kinds"]),) * 2, case)
            for i, (x, y) in enumerate(zip(a, dkimpy_says(case, keys.zone()))):
                python.note(case | {"which": i}, x, y)
        answers = perl([{"do": "each", "mail": case["mail"].encode("latin-1")} for case in cases], keys.zone())
        for case, a, b in zip(cases, ours, answers):
            passed = [text.partition(":")[0] for text in b.split(",") if text.endswith(":pass")]
            for i, (x, field) in enumerate(zip(a, case["fields"])):
                value = re.sub(r"\s", "", field.rpartition("b=")[2])
                of_perl.note(case | {"which": i, "field": field}, x, value in passed)
        for book in (python, of_perl):
            book.print(f"DKIM: signatures of seed {SEED}")
            with self.subTest(book.oracle):
                self.assertEqual(book.unknown[:5], [])
        flat = [answer for a in ours for answer in a]
        print(f"DKIM: signatures of seed {SEED}: {flat.count(True)} of {len(flat)} pass")
        self.assertGreater(flat.count(True), 50)
        self.assertGreater(flat.count(False), 50)


if __name__ == "__main__":
    unittest.main()
