"""postern.dmarc: records, the tree walk, alignment, and From as anybody may write it."""

import os
import unittest

from common import Folder, logged, lua, play

RECORDS = {
    "_dmarc.example.org": [("TXT", "v=DMARC1; p=reject; sp=quarantine; np=none; rua=mailto:a@example.org,mailto:b@example.net!10m")],
    "there.example.org": [("A", "192.0.2.1")],
    "_dmarc.own.example.org": [("TXT", "v=DMARC1; p=none")],
    "_dmarc.strict.example": [("TXT", "v=DMARC1; p=reject; adkim=s; aspf=s")],
    "_dmarc.tries.example": [("TXT", "v=DMARC1; p=reject; t=y")],
    "_dmarc.tries2.example": [("TXT", "v=DMARC1;p=quarantine;t=y;")],
    "_dmarc.twice.example": [("TXT", "v=DMARC1; p=reject"), ("TXT", "v=DMARC1; p=none")],
    "_dmarc.other.example": [("TXT", "v=spf1 -all"), ("TXT", "v=DMARC1; p=reject")],
    "_dmarc.bank": [("TXT", "v=DMARC1; p=reject; psd=y; np=reject; sp=quarantine")],
    "_dmarc.big.bank": [("TXT", "v=DMARC1; p=quarantine")],
    "_dmarc.unit.corp.example": [("TXT", "v=DMARC1; p=quarantine; psd=n")],
    "_dmarc.corp.example": [("TXT", "v=DMARC1; p=reject")],
    "_dmarc.wrong.example": [("TXT", "v=DMARC1; p=destroy")],
    "_dmarc.wrongrua.example": [("TXT", "v=DMARC1; p=destroy; rua=mailto:x@wrongrua.example")],
    "_dmarc.nop.example": [("TXT", "v=DMARC1; rua=mailto:x@nop.example")],
    "_dmarc.down.example": ["TIMEOUT"],
    "_dmarc.xn--bcher-kva.example": [("TXT", "v=DMARC1; p=reject")],
    "_dmarc.g.h.example": [("TXT", "v=DMARC1; p=reject")],
    "_dmarc.void.corp.example": [("TXT", "v=DMARC1; p=destroy")],
    "_dmarc.long.example": [("TXT", "v=DMARC1" + ";" * 60000 + "p=reject" + ";=" * 2000)],
    "_dmarc.messy.example": [("TXT", "v=DMARC1;; p=reject; x; =y; sp = none ; p=none;")],
}

CHECK = """
local dmarc = require "postern.dmarc"
%s
function filter_message(msg)
    local got = dmarc.check(msg, %s)
    for _, key in ipairs{ "result", "policy", "published", "domain", "org_domain", "record_domain", "reason", "ambiguous", "discovery" } do
        if got[key] ~= nil then msg:log(key, got[key]) end
    end
    msg:log("aligned", (got.aligned.spf and "spf" or "") .. (got.aligned.dkim and "dkim" or ""))
    %s
end
"""


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = Folder("dmarc")
        self.addCleanup(self.folder.remove)

    def check(self, sender, spf=None, dkim=(), header=None, records=None, suffixes=False, after=""):
        """spf: a domain that passed; dkim: those that passed, or (domain, result)."""
        spf_result = {"result": "pass", "domain": spf, "ip": "192.0.2.1"} if isinstance(spf, str) else spf or {"result": "none"}
        signatures = [{"result": "pass", "domain": one, "selector": "s"} if isinstance(one, str) else {"domain": one[0], "result": one[1], "reason": "DNS", "selector": "s"}
                      for one in dkim]
        options = {"spf": spf_result, "dkim": {"result": "x", "signatures": signatures}}
        text = lua(options)
        if suffixes:
            text = text[:-1] + ", suffixes = list }"
        header = header if header is not None else f"From: a@{sender}\r\n".encode()
        result = play(self.folder, CHECK % ('local list = assert(dmarc.suffixes())' if suffixes else "", text, after), header + b"Subject: x\r\n\r\nx\r\n",
                      RECORDS if records is None else records)
        return {key: value[0] for key, value in logged(result).items()}

    def expect(self, got, **wanted):
        self.assertEqual({key: got.get(key) for key in wanted}, wanted, got)


class Records(Case):
    def test_policies(self):
        for sender, result, policy, record_domain, org in (
                ("example.org", "fail", "reject", "example.org", "example.org"), ("there.example.org", "fail", "quarantine", "example.org", "example.org"),
                ("gone.example.org", "fail", "none", "example.org", "example.org"), ("own.example.org", "fail", "none", "own.example.org", "example.org"),
                ("tries.example", "fail", "quarantine", "tries.example", "tries.example"), ("tries2.example", "fail", "none", "tries2.example", "tries2.example"),
                ("twice.example", "none", "none", None, "twice.example"), ("other.example", "fail", "reject", "other.example", "other.example"),
                ("nothing.example", "none", "none", None, "nothing.example"), ("wrong.example", "none", "none", None, "wrong.example"),
                ("wrongrua.example", "fail", "none", "wrongrua.example", "wrongrua.example"), ("nop.example", "fail", "none", "nop.example", "nop.example"),
                ("down.example", "temperror", "none", None, None), ("EXAMPLE.org.", "fail", "reject", "example.org", "example.org"),
                ("void.corp.example", "none", "none", None, "corp.example"), ("messy.example", "fail", "reject", "messy.example", "messy.example"),
                ("long.example", "fail", "reject", "long.example", "long.example"),
                ("a.messy.example", "fail", "none", "messy.example", "messy.example")):
            with self.subTest(sender):
                self.expect(self.check(sender), result=result, policy=policy, record_domain=record_domain, org_domain=org)

    def test_tree_walk(self):
        for sender, policy, record_domain, org in (
                ("a.b.big.bank", "quarantine", "big.bank", "big.bank"), ("a.small.bank", "reject", "bank", "small.bank"),
                ("x.unit.corp.example", "quarantine", "unit.corp.example", "unit.corp.example"), ("x.corp.example", "reject", "corp.example", "corp.example"),
                ("a.b.c.d.e.f.g.h.example", "reject", "g.h.example", "g.h.example")):
            with self.subTest(sender):
                self.expect(self.check(sender), result="fail", policy=policy, record_domain=record_domain, org_domain=org)

    def test_at_most_eight_queries(self):
        deep = ".".join("abcdefghijklmnop") + ".example"
        result = play(self.folder, CHECK % ("", '{ spf = { result = "none" }, dkim = {} }', 'for _, q in ipairs(fake.asked) do msg:log("asked", q) end'),
                      f"From: a@{deep}\r\n\r\nx\r\n".encode(), RECORDS)
        self.assertEqual(logged(result)["asked"], [f"_dmarc.{deep} TXT"] + [f"_dmarc.{'.'.join('klmnop'[i:])}.example TXT" for i in range(6)] + ["_dmarc.example TXT"])

    def test_alignment(self):
        for sender, spf, dkim, result, aligned in (
                ("example.org", "example.org", (), "pass", "spf"), ("example.org", "bounces.example.org", (), "pass", "spf"),
                ("there.example.org", "example.org", (), "pass", "spf"), ("there.example.org", None, ("else.example.org",), "pass", "dkim"),
                ("example.org", None, ("example.net", "example.org"), "pass", "dkim"), ("example.org", "example.net", ("org",), "fail", ""),
                ("example.org", "notexample.org", (), "fail", ""), ("example.org", "example.org", ("example.org",), "pass", "spfdkim"),
                ("strict.example", "strict.example", (), "pass", "spf"), ("strict.example", "a.strict.example", ("b.strict.example",), "fail", ""),
                ("corp.example", "unit.corp.example", (), "fail", ""), ("x.unit.corp.example", "unit.corp.example", (), "pass", "spf"),
                ("a.bank", "b.bank", (), "fail", ""), ("example.org", {"result": "fail", "domain": "example.org"}, (), "fail", ""),
                ("example.org", {"result": "temperror", "domain": "example.org", "reason": "DNS"}, (), "temperror", ""),
                ("example.org", {"result": "temperror", "domain": "example.net", "reason": "DNS"}, (), "fail", ""),
                ("example.org", None, (("example.org", "temperror"),), "temperror", ""), ("example.org", "example.org", (("example.org", "temperror"),), "pass", "spf"),
                ("example.org", None, (("example.org", "fail"),), "fail", "")):
            with self.subTest(sender=sender, spf=spf, dkim=dkim):
                self.expect(self.check(sender, spf, dkim), result=result, aligned=aligned)

    def test_public_suffixes(self):
        records = {"_dmarc.example.co.uk": [("TXT", "v=DMARC1; p=reject; sp=quarantine")], "_dmarc.co.uk": [("TXT", "v=DMARC1; p=none")]}
        for sender, spf, result, policy, org in (
                ("a.example.co.uk", None, "fail", "quarantine", "example.co.uk"), ("other.co.uk", None, "none", "none", "other.co.uk"),
                ("a.b.example.co.uk", "c.example.co.uk", "pass", "quarantine", "example.co.uk"), ("www.ck", None, "none", "none", "www.ck"),
                ("a.b.c.ck", None, "none", "none", "b.c.ck"), ("x.nosuchtld", None, "none", "none", "x.nosuchtld"), ("a.b.xn--p1ai", None, "none", "none", "b.xn--p1ai")):
            with self.subTest(sender):
                self.expect(self.check(sender, spf, records=records, suffixes=True), result=result, policy=policy, org_domain=org, discovery="psl")


class From(Case):
    def test_what_counts_as_the_author(self):
        for header, domain, result in (
                ('From: "x@there.net" <a@example.org>', "example.org", "fail"), ("From: a@example.org (b@nothing.example)", "example.org", "fail"),
                ("From: Ann\r\n <a@example.org>", "example.org", "fail"), ('From: "a\\"b" <a@example.org>', "example.org", "fail"),
                ("from:a @ example.org", "example.org", "fail"), ("From: a@(x(y\\)))example.org", "example.org", "fail"),
                ("From: =?utf-8?q?x=40nothing.example?= <a@example.org>", "example.org", "fail"), ("From: Team: a@example.org;", "example.org", "fail")):
            with self.subTest(header):
                self.expect(self.check("", header=header.encode() + b"\r\n"), domain=domain, result=result, ambiguous="false")

    def test_names_outside_ascii(self):
        for name in ("bücher.example", "BÜCHER.Example", "b\u00adücher.example", "ｂücher。example", "xn--bcher-kva.example", "XN--BCHER-kva.example"):
            with self.subTest(name):
                self.expect(self.check("", header=f"From: a@{name}\r\n".encode()), domain="xn--bcher-kva.example", result="fail", policy="reject")
        self.expect(self.check("", header="From: a@ｅｘａｍｐｌｅ.org\r\n".encode()), domain="example.org", policy="reject")
        self.expect(self.check("", "xn--bcher-kva.example", header="From: a@bücher.example\r\n".encode()), result="pass", aligned="spf")

    def test_the_worst_of_several_counts(self):
        for header in ("From: a@nothing.example, b@example.org", "From: a@nothing.example\r\nFrom: b@example.org", "From: b@example.org\r\nFrom: a@nothing.example",
                       "From: b@example.org <a@nothing.example>", 'From: " <b@example.org>, a@nothing.example', "From: (b@example.org, a@nothing.example",
                       "From: a@[192.0.2.1], b@example.org", "From: b@example .org", "From: b@example.\r\n\torg", "From: <b@example (x) . (y) org>",
                       "From: <@nothing.example:b@example.org>"):
            with self.subTest(header):
                self.expect(self.check("", header=header.encode() + b"\r\n"), domain="example.org", result="fail", policy="reject", ambiguous="true")
        self.expect(self.check("", "own.example.org", header=b"From: a@own.example.org, b@example.org\r\n"), result="pass")
        self.expect(self.check("", "example.org", header=b"From: a@example.org, b@strict.example\r\n"), result="fail", domain="strict.example")

    def test_nobody(self):
        for header in (b"", b"From:\r\n", b"From: Ann\r\n", b"From: a@\r\n", b"From: a@x\r\n", b"From: a@[192.0.2.1]\r\n", b"From: " + b"(" * 50000 + b"\r\n",
                       b"From: \"" + b"\\" * 50001 + b"\r\n", b"From: " + b"@" * 50000 + b"\r\n", b"From: a@\xff.example\r\n"):
            with self.subTest(header[:20]):
                self.expect(self.check("", header=header), result="permerror", policy="none", ambiguous="true")
        many = b"From: " + b", ".join(b"a@n%d.example" % i for i in range(2000)) + b"\r\n"
        self.expect(self.check("", header=many), result="permerror")


class Rows(Case):
    def test_a_row_for_reports(self):
        after = """
            local row, key = dmarc.row(msg, got, "reject")
            for name, value in pairs(row) do if type(value) ~= "table" then msg:log("row." .. name, value) end end
            msg:log("rua", table.concat(row.rua, " "))
            msg:log("key", key)"""
        got = self.check("there.example.org", "else.example", ("one.example",), after=after)
        self.expect(got, **{"row.policy_domain": "example.org", "row.p": "reject", "row.sp": "quarantine", "row.disposition": "reject", "row.header_from": "there.example.org",
                            "row.dkim": "one.example s pass", "row.dkim_aligned": "fail", "row.spf_aligned": "fail", "row.source_ip": "192.0.2.1",
                            "row.spf_domain": "else.example", "row.spf_result": "pass", "row.discovery": "treewalk", "rua": "a@example.org b@example.net"})
        self.assertEqual(len(got["key"].replace("\\t", "\t").split("\t")), 19)
        self.assertEqual(int(got["row.day"]) % 86400, 0)

    def test_rows_are_counted_in_the_store(self):
        after = """
            local store = require "postern.store"
            for _ = 1, 3 do msg:log("done", dmarc.report(msg, got, "reject")) end
            msg:log("done", dmarc.report(msg, got))
            msg:log("none", dmarc.report(msg, { result = "none" }))
            for _, key in ipairs(store.keys("dmarc/")) do
                local entry = store.get(key)
                msg:log(entry.row.disposition, entry.n .. " " .. entry.row.header_from .. " " .. entry.row.rua[1])
                msg:log("key", (key:gsub("%d+", "N", 1)))
            end"""
        got = self.check("there.example.org", "else.example", after=after)
        self.expect(got, done="true", reject="3 there.example.org a@example.org", none="false")
        self.assertRegex(got["key"], "^dmarc/N/example.org/[0-9a-f]{32}$")

    def test_wrong_use(self):
        for call, part in (("dmarc.check(1)", "a msg expected"), ("dmarc.check(msg, { x = 1 })", "no option 'x'"), ("dmarc.row(msg, 1)", "what dmarc.check gave"),
                           ("dmarc.row(msg, { result = 'pass' }, 'x')", "disposition is"), ("dmarc.suffixes(1)", "path of a file")):
            result = play(self.folder, f'local dmarc = require "postern.dmarc"\nfunction filter_message(msg) {call} end')
            self.assertRegex(result["error"] or "", "^filter_message: filter.lua:")
            self.assertIn(part, result["error"])


if __name__ == "__main__":
    unittest.main()
