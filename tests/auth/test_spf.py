"""postern.spf: the suite of RFC 7208, and the judgement of messages."""

import glob
import gzip
import unittest

import yaml

from common import Folder, logged, lua, play, zone

SUITE = "/usr/share/doc/python3-spf/rfc7208-tests.yml*"


def suite():
    path = glob.glob(SUITE)[0]
    with (gzip.open(path) if path.endswith(".gz") else open(path, "rb")) as file:
        return list(yaml.safe_load_all(file))


def records_of(scenario):
    """The zones of a scenario. A record of type SPF stands for TXT too, where there is no TXT."""
    out = {}
    for name, rows in scenario["zonedata"].items():
        rows = [row if row == "TIMEOUT" else next(iter(row.items())) for row in rows]
        has_txt = any(row[0] == "TXT" for row in rows if row != "TIMEOUT")
        kept = []
        for row in rows:
            if row == "TIMEOUT":
                kept.append(row)
                continue
            kind, value = row
            if kind == "SPF" and not has_txt:
                kind = "TXT"
            if kind == "TXT":
                value = "".join(value) if isinstance(value, list) else value
            if kind != "SPF" and value != "NONE":
                kept.append((kind, value))
        out[name] = kept
    return out


CASES = """
local spf = require "postern.spf"
local n = 0
local function has(list, value)
    for _, one in ipairs(list) do
        if one == value then return true end
    end
    return false
end
local function judge(case)
    local name = case.mailfrom:match("([^@]*)$")
    if case.mailfrom == "" then name, case.mailfrom = case.helo, "postmaster@" .. case.helo end
    local got = spf.check_host(case.host, name, case.mailfrom, case.helo)
    local explanation = got.explanation or "DEFAULT"
    if has(case.result, got.result) and (not case.explanation or explanation == case.explanation) then
        n = n + 1
        return
    end
    return got.result .. " " .. explanation .. " " .. tostring(got.reason)
end
function filter_message(msg)
    for name, case in pairs(cases) do
        local wrong = judge(case)
        if wrong then msg:log("wrong", name .. ": " .. wrong) end
    end
    msg:log("passed", n)
end
"""


class Suite(unittest.TestCase):
    maxDiff = None

    def test_rfc7208(self):
        passed = total = 0
        wrong = []
        folder = Folder("spf-suite")
        self.addCleanup(folder.remove)
        for scenario in suite():
            cases = {}
            for name, test in scenario["tests"].items():
                result = test["result"] if isinstance(test["result"], list) else [test["result"]]
                cases[name] = {"host": test["host"], "mailfrom": test["mailfrom"], "helo": test["helo"], "result": result}
                if "explanation" in test:
                    cases[name]["explanation"] = test["explanation"]
            total += len(cases)
            notes = logged(play(folder, f"local cases = {lua(cases)}\n{CASES}", records=records_of(scenario)))
            passed += int(notes["passed"][0])
            wrong += [f"{scenario['description']}: {line}" for line in notes.get("wrong", [])]
        print(f"SPF: {passed} of {total} cases of the suite of RFC 7208 pass")
        self.assertGreaterEqual(total, 203)
        self.assertEqual((passed, wrong), (total, []))


DOMAIN = {"example.org": [("TXT", "v=spf1 ip4:192.0.2.1 ip6:2001:db8::/32 -all exp=why.example.org")],
          "why.example.org": [("TXT", "%{i} is not one of ours, %{s}, says %{r}")],
          "mx.example.org": [("TXT", "v=spf1 a -all"), ("A", "192.0.2.1")]}
SHOW = """
local spf = require "postern.spf"
function filter_message(msg)
    local got = spf.check(msg, %s)
    for key, value in pairs(got) do msg:log(key, value) end
end
"""


class Messages(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("spf")
        self.addCleanup(self.folder.remove)

    def check(self, *words, mail=b"Subject: x\r\n\r\nx\r\n", options="nil", records=None):
        notes = logged(play(self.folder, SHOW % options, mail, DOMAIN if records is None else records, words))
        return {key: value[0] for key, value in notes.items()}

    def test_the_sender(self):
        got = self.check("--ip", "192.0.2.1", "--sender", "ann@Example.ORG")
        self.assertEqual((got["result"], got["domain"], got["identity"], got["reason"]), ("pass", "example.org", "mailfrom", "ip4:192.0.2.1"))
        got = self.check("--ip", "198.51.100.9", "--sender", "ann@example.org", options='{ receiver = "we.example.net" }')
        self.assertEqual((got["result"], got["explanation"]), ("fail", "198.51.100.9 is not one of ours, ann@example.org, says we.example.net"))
        self.assertEqual(self.check("--ip", "2001:db8::5", "--sender", "ann@example.org")["result"], "pass")

    def test_helo_when_the_sender_is_null_or_it_is_asked_for(self):
        got = self.check("--ip", "192.0.2.1", "--sender", "", "--helo", "mx.example.org")
        self.assertEqual((got["result"], got["identity"], got["sender"]), ("pass", "helo", "postmaster@mx.example.org"))
        got = self.check("--ip", "192.0.2.9", "--sender", "ann@example.org", "--helo", "mx.example.org", options='{ identity = "helo" }')
        self.assertEqual((got["result"], got["domain"]), ("fail", "mx.example.org"))

    def test_a_relay_of_ours_is_not_judged(self):
        mail = b"Received: from one (one.example.com [198.51.100.9]) by edge\r\nReceived: from x (x [192.0.2.1]) by one\r\n\r\nx\r\n"
        words = ("--ip", "203.0.113.5", "--sender", "ann@example.org", "-o", "worker.trusted_relays=203.0.113.0/24")
        got = self.check(*words, mail=mail)
        self.assertEqual((got["result"], got["ip"], got["helo"]), ("fail", "198.51.100.9", "one"))

    def test_no_address(self):
        got = self.check("--ip", "local", "--sender", "ann@example.org")
        self.assertNotEqual(got["result"], "pass")

    def test_dns_that_fails(self):
        got = self.check("--ip", "192.0.2.1", "--sender", "ann@example.org", records={"example.org": ["TIMEOUT"]})
        self.assertEqual(got["result"], "temperror")
        self.assertIn("timeout", got["reason"])
        self.assertEqual(self.check("--sender", "ann@example.org", records={})["result"], "none")

    def test_what_a_stranger_may_write(self):
        long_macro = "v=spf1 exists:" + "%{s}%{h}%{d9r-+,/_=}" * 400 + ".example.org -all"
        for text in (long_macro, "v=spf1 " + "a:x.example.org " * 3000, "v=spf1 include:example.org", "v=spf1 redirect=example.org",
                     "v=spf1 " + "ip4:192.0.2.9 " * 4000 + "-all", "v=spf1 exp=%{d0} -all", "v=spf1 a:%{q}.example.org",
                     "v=spf1 ip4:1.2.3.4/0000000000000000000000000001", "v=spf1 a//" + "1" * 60000, "v=spf1\0 +all", "v=spf1 " + "/" * 60000):
            got = self.check("--ip", "192.0.2.1", "--sender", "a" * 200 + "@example.org", records={"example.org": [("TXT", text)]})
            self.assertIn(got["result"], ("permerror", "fail", "none"), text[:60])

    def test_names_outside_ascii(self):
        records = {"xn--bcher-kva.example": [("TXT", "v=spf1 exists:%{l}.%{o} include:%{s}.example.org ip4:192.0.2.1 -all")], "ann.xn--bcher-kva.example": [("A", "192.0.2.1")]}
        got = self.check("--ip", "192.0.2.1", "--sender", "ann@bücher.example", records=records)
        self.assertEqual((got["result"], got["domain"], got["reason"]), ("pass", "xn--bcher-kva.example", "exists:%{l}.%{o}"))
        got = self.check("--ip", "192.0.2.1", "--sender", "änn@bücher.example", records=records)
        self.assertEqual((got["result"], got["reason"]), ("pass", "ip4:192.0.2.1"))  # RFC 8616 section 4: neither term with the local part matches

    def test_macros_that_want_work(self):
        names = "%{s1234r.-+,/_=}" * 3500
        got = self.check("--ip", "192.0.2.1", "--sender", "a-b" * 100 + "@example.org", records={"example.org": [("TXT", "v=spf1" + f" exists:{names}.example.org" * 1 + " -all")]})
        self.assertEqual(got["result"], "fail")

    def test_wrong_use(self):
        for call, part in (("spf.check(1)", "a msg expected"), ("spf.check(msg, { ip = 'x' })", "no option 'ip'"),
                           ("spf.check(msg, { identity = 'from' })", "mailfrom or helo"), ("spf.check(msg, 7)", "options is a table"),
                           ("spf.check_host('x', 'a.org', 'b@a.org')", "is no address"), ("spf.check_host('192.0.2.1')", "string expected")):
            result = play(self.folder, f'local spf = require "postern.spf"\nfunction filter_message(msg) {call} end')
            self.assertRegex(result["error"], "^filter_message: filter.lua:")
            self.assertIn(part, result["error"])


if __name__ == "__main__":
    unittest.main()
