"""postern.dmarc over generated cases: which record applies, who is aligned, what is to be done. Beside Mail::DMARC and libopendmarc by public suffixes, and
beside a model of the RFCs in both ways."""

import json
import random
import unittest

import dmarc_model
from common import Folder, logged, lua, zone
from oracle_peers import SUFFIXES, Book, ask_library, ask_perl
from oracles import run_many

SEED, CASES = 7489, 600

# Families of names: an organizational domain, and what stands beside, above and below it.
FAMILIES = [
    ("example.com", "a.example.com", "b.a.example.com", "c.example.com"),
    ("example.co.uk", "x.example.co.uk", "y.x.example.co.uk", "other.co.uk", "co.uk"),
    ("user.github.io", "pages.user.github.io", "github.io", "else.github.io"),
    ("www.ck", "a.www.ck", "b.c.ck", "a.b.c.ck"),
    ("shop.city.kawasaki.jp", "city.kawasaki.jp", "a.b.kawasaki.jp", "x.a.b.kawasaki.jp"),
    ("firma.xn--p1ai", "mail.firma.xn--p1ai"),
    ("bank.unknowntld", "www.bank.unknowntld"),
    ("example.org", "notexample.org", "org.example.org", "sub.org.example.org"),
]
RECORDS = [
    *(f"v=DMARC1; p={p}" for p in ("none", "quarantine", "reject")),
    *(f"v=DMARC1; p={p}; sp={sp}" for p in ("none", "quarantine", "reject") for sp in ("none", "quarantine", "reject")),
    *(f"v=DMARC1; p=reject; adkim={d}; aspf={s}" for d in "rs" for s in "rs"),
    "v=DMARC1;p=reject;sp=quarantine;adkim=s;aspf=s;rua=mailto:a@example.com", "v=DMARC1 ; p = quarantine ; aspf = s", "v=DMARC1; p=REJECT; ADKIM=s".replace("ADKIM", "adkim"),
    "v=DMARC1; p=quarantine; fo=1; ri=3600; unknown=x", "v=DMARC1; p=reject; pct=100;",
]
# What is wrong in some way, or old, and what must not be taken for a record.
ODD = [
    "v=DMARC1", "v=DMARC1; p=destroy", "v=DMARC1; p=destroy; rua=mailto:a@example.com", "v=DMARC1; rua=mailto:a@example.com", "v=DMARC1; p=reject; sp=x",
    "p=reject; v=DMARC1", "v=DMARC2; p=reject", "v=dmarc1; p=reject", "v=DMARC1; p=reject; adkim=x", "v=DMARC1; p=rej", "v=DMARC1 p=reject", "v=DMARC1;; p=reject",
    "v=DMARC1; p=reject; nonsense; sp=quarantine", "v=DMARC1; p=quarantine; p=reject", "v=spf1 -all", "v=DMARC1; p=quarantine; =x; aspf=s",
]

# For the tree walk: names of up to eleven labels, and records that say where domains end.
DEEP = "a.b.c.d.e.f.g.h.i.corp.example"
TREES = [[DEEP.split(".", n)[n] for n in range(11)], ["x.y.giant.bank.example", "y.giant.bank.example", "giant.bank.example", "mega.bank.example", "bank.example", "example"],
         ["mail.unit.firm.test", "unit.firm.test", "other.firm.test", "firm.test", "test", "news.unit.firm.test"]]
PSD = [f"v=DMARC1; p={p}; psd={psd}{more}" for p in ("none", "reject") for psd in "nyu" for more in ("", "; sp=quarantine", "; aspf=s")]

FILTER = """
local dmarc = require "postern.dmarc"
local list = %s
local cases = %s
function filter_message(msg)
    for _, case in ipairs(cases[msg:header("X-From")]) do
        fake.zone = case.zone
        local got = dmarc.check(msg, { spf = case.spf, dkim = { result = "x", signatures = case.dkim }, suffixes = list })
        msg:log(case.number, table.concat({ got.result, got.result == "fail" and got.policy or "none", got.aligned.spf and "pass" or "fail",
                                            got.aligned.dkim and "pass" or "fail" }, " "))
    end
end
"""


def generate(seed, families, records, odd):
    rng = random.Random(seed)
    for number in range(CASES):
        family = rng.choice(families)
        near = [*family, rng.choice(rng.choice(families)), "com", "co.uk"]
        texts = {f"_dmarc.{name}": [rng.choice(odd if rng.random() < 0.12 else records)] for name in family if rng.random() < 0.55}
        dkim = [{"domain": rng.choice(near), "result": rng.choice(("pass", "pass", "fail")), "selector": "s"} for _ in range(rng.choice((0, 1, 1, 2, 3)))]
        if texts and rng.random() < 0.05:
            rng.choice(list(texts.values())).append(rng.choice(records))
        yield {"number": number + 1, "from": rng.choice([name for name in family if "." in name]), "zone": texts, "dkim": dkim,
               "spf": {"domain": rng.choice(near), "result": rng.choice(("pass", "pass", "fail", "none")), "ip": "192.0.2.1"}}


def ours_of(cases, folder, way):
    """One mail for each author, since a mail costs a process; its cases differ in the rest."""
    table = {}
    for case in cases:
        records = zone({name: [("TXT", text) for text in texts] for name, texts in case["zone"].items()})
        table.setdefault(case["from"], []).append({"number": case["number"], "zone": records, "spf": case["spf"], "dkim": case["dkim"]})
    mails = [f"From: a@{name}\r\nX-From: {name}\r\n\r\nx\r\n".encode() for name in table]
    notes = {}
    for result in run_many(folder, FILTER % (way, lua(table)), mails, {}):
        notes.update(logged(result))
    return [dict(zip(("result", "disposition", "spf", "dkim"), notes[str(case["number"])][0].split())) for case in cases]


def comparable(answer):
    """Alignment is told only of what a record applies to. Mail::DMARC says fail, without any, where it takes no action."""
    if answer.get("result") == "none" or (answer["spf"], answer["dkim"]) == ("", ""):
        return {"result": "none", "disposition": "none", "spf": "fail", "dkim": "fail"}
    return {key: answer.get(key) for key in ("result", "disposition", "spf", "dkim")}


BY_SUFFIXES, BY_TREE = f'assert(dmarc.suffixes("{SUFFIXES}"))', "nil"


def texts_of(case):
    return [text for texts in case["zone"].values() for text in texts]


def names_of(case):
    return {case["from"], *(one["domain"] for one in [case["spf"], *case["dkim"]] if one["result"] == "pass")}


def has_odd(*texts):
    return lambda case, ours, theirs: any(text in texts_of(case) for text in texts)


def is_below(*suffixes):
    return lambda case, ours, theirs: any(name == suffix or name.endswith("." + suffix) for name in names_of(case) for suffix in suffixes)


def lost_a_signature(case, ours, theirs):
    return ours["dkim"] == "pass" and theirs["dkim"] == "fail" and len(case["dkim"]) > 1


def took_strict_for_relaxed(case, ours, theirs):
    is_strict = any("adkim=s" in text or "aspf = s" in text or "aspf=s" in text for text in texts_of(case))
    return is_strict and any(ours[key] == "fail" and theirs[key] == "pass" for key in ("spf", "dkim"))


def aligned_a_suffix(case, ours, theirs):
    return theirs["result"] == "pass" and any(name in ("com", "co.uk", "github.io") for name in names_of(case))


# What each oracle is known for, and why it is wrong there. A difference of no such kind fails.
NO_POLICY = "a record without p is none (RFC 9989 section 4.7, tag p); RFC 7489 wanted rua then"
PERL_KINDS = {
    "unknown": ("it takes no author below a top-level domain that the list has not (publicsuffix.org: then the rule * counts)",
                lambda case, ours, theirs: "invalid header_from" in theirs.get("error", "") and case["from"].endswith(".unknowntld")),
    "exceptions": ("it does not know the list's exceptions, !city.kawasaki.jp and !www.ck (publicsuffix.org)", is_below("www.ck", "city.kawasaki.jp")),
    "lower case": ("v=dmarc1 is no record (RFC 9989 section 4.7, tag v: exactly DMARC1)", has_odd("v=dmarc1; p=reject")),
    "version": ("what begins with v=DMARC1 and goes on without a semicolon is no record (RFC 9989 section 4.8)", has_odd("v=DMARC1 p=reject")),
    "no policy": (NO_POLICY, has_odd("v=DMARC1")),
    "twice": ("of a tag that stands twice it takes the last, we the first; no RFC says which", has_odd("v=DMARC1; p=quarantine; p=reject")),
    "asks first": ("it wants leave in DNS for rua of another domain before p is none (RFC 7489 section 6.6.3, step 6: a valid address will do)",
                   has_odd("v=DMARC1; p=destroy; rua=mailto:a@example.com", "v=DMARC1; rua=mailto:a@example.com")),
}
LIBRARY_KINDS = {
    "list": ("it reads wildcards and exceptions of the list wrongly, and knows no rule for other top-level domains (publicsuffix.org)", is_below("ck", "kawasaki.jp", "unknowntld")),
    "suffixes": ("it aligns a public suffix with what stands below it (RFC 7489 section 3.2)", aligned_a_suffix),
    "strict": ("it takes a domain of the same organization in strict mode (RFC 7489 section 3.1)", took_strict_for_relaxed),
    "signatures": ("it keeps one signature, and not always the one that is aligned (RFC 7489 section 3.1.1: any will do)", lost_a_signature),
    "lower case": ("v=dmarc1 is no record (RFC 9989 section 4.7, tag v: exactly DMARC1)", has_odd("v=dmarc1; p=reject")),
    "last": ("v must stand first (RFC 9989 section 4.7, tag v)", has_odd("p=reject; v=DMARC1")),
    "short": ("it takes the beginning of a policy for the policy (RFC 9989 section 4.8)", has_odd("v=DMARC1; p=rej")),
    "no policy": (NO_POLICY, has_odd("v=DMARC1", "v=DMARC1; rua=mailto:a@example.com")),
    "twice": ("of a tag that stands twice it takes the last, we the first; no RFC says which", has_odd("v=DMARC1; p=quarantine; p=reject")),
    "wrong": ("a wrong value of adkim is left out, a wrong policy is none where there is rua (RFC 9989 sections 4.7, 4.8)",
              has_odd("v=DMARC1; p=reject; adkim=x", "v=DMARC1; p=destroy; rua=mailto:a@example.com")),
}


class Oracles(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = Folder("dmarc-oracles")
        self.addCleanup(self.folder.remove)

    def compare(self, book, cases, ours, theirs):
        for case, a, b in zip(cases, ours, theirs):
            book.note(case, comparable(a), b if "error" in b else comparable(b))
        book.print(f"DMARC: cases of seed {SEED}")
        self.assertEqual(book.unknown, [])

    def test_by_public_suffixes(self):
        cases = list(generate(SEED, FAMILIES, RECORDS, ODD))
        ours = ours_of(cases, self.folder, BY_SUFFIXES)
        suffixes = dmarc_model.Suffixes(SUFFIXES)
        question = {"suffixes": SUFFIXES, "jobs": cases}
        with self.subTest("model"):
            self.compare(Book("a model of RFC 7489", {}), cases, ours, [dmarc_model.judge(case, suffixes) for case in cases])
        single = [i for i, case in enumerate(cases) if all(len(texts) == 1 for texts in case["zone"].values())]  # libopendmarc's fake DNS has one each
        with self.subTest("Mail::DMARC"):
            self.compare(Book("Mail::DMARC", PERL_KINDS), cases, ours, [json.loads(line) for line in ask_perl("oracle_dmarc.pl", question)])
        with self.subTest("libopendmarc"):
            question["jobs"] = [cases[i] for i in single]
            self.compare(Book("libopendmarc", LIBRARY_KINDS), question["jobs"], [ours[i] for i in single], ask_library("opendmarc", question))

    def test_by_the_tree_walk(self):
        cases = list(generate(SEED + 1, TREES, RECORDS + PSD, ODD))
        self.compare(Book("a model of RFC 9989", {}), cases, ours_of(cases, self.folder, BY_TREE), [dmarc_model.judge(case) for case in cases])

    def test_examples_of_rfc9989(self):
        """Section 4.10: what is asked for. Appendix B.1: alignment. Section 4.10.2 and appendix B.3: where domains end."""
        deep = "a.b.c.d.e.f.g.h.i.j.mail.example.com"
        self.assertEqual(dmarc_model.walk({}, deep)[1], [deep, "g.h.i.j.mail.example.com", "h.i.j.mail.example.com", "i.j.mail.example.com", "j.mail.example.com", "mail.example.com",
                                                         "example.com", "com"])
        plain, bank = {"_dmarc.example.com": ["v=DMARC1; p=reject"]}, {"_dmarc.bank.example": ["v=DMARC1; p=reject; psd=y"], "_dmarc.giant.bank.example": ["v=DMARC1; p=quarantine"]}
        rows = [("example.com", "example.com", plain, "pass", "none"), ("example.com", "child.example.com", plain, "pass", "none"),
                ("child.example.com", "example.com", plain, "pass", "none"), ("example.com", "example.net", plain, "fail", "reject"),
                ("a.giant.bank.example", "b.giant.bank.example", bank, "pass", "none"), ("a.mega.bank.example", "mega.bank.example", bank, "pass", "none"),
                ("a.mega.bank.example", "giant.bank.example", bank, "fail", "reject"), ("a.giant.bank.example", "bank.example", bank, "fail", "quarantine"),
                ("bank.example", "bank.example", bank, "pass", "none"), ("bank.example", "giant.bank.example", bank, "fail", "reject")]
        cases = [{"number": n + 1, "from": author, "zone": records, "dkim": [{"domain": signer, "result": "pass", "selector": "s"}],
                  "spf": {"domain": "", "result": "none"}} for n, (author, signer, records, _, _) in enumerate(rows)]
        ours = ours_of(cases, self.folder, BY_TREE)
        self.assertEqual([(one["result"], one["disposition"]) for one in ours], [row[3:] for row in rows])
        self.compare(Book("the examples of RFC 9989", {}), cases, ours, [dmarc_model.judge(case) for case in cases])


if __name__ == "__main__":
    unittest.main()
