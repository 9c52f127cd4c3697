"""The modules on the resolver, with a real server: what they ask arrives, and what it answers is understood."""

import os
import unittest

import dkim

from common import Folder, logged, lua
from oracles import keys, run_many
from harness.dns_server import Nsd

REST = """
@ TXT "v=spf1 a:mx.example.com exists:%{l}%_x.spaced.example.com include:one.example.com -all exp=why.example.com"
mx A 192.0.2.7
one TXT "v=spf1 mx ptr:example.com ~all"
one MX 10 host.example.com.
host A 192.0.2.8
host AAAA 2001:db8::8
why TXT "%{i} is not ours"
_dmarc TXT "v=DMARC1; p=reject; np=quarantine; rua=mailto:a@example.com"
here A 192.0.2.9
"""
CODE = """
local dns = require "postern.dns"
local spf, dkim, dmarc, arc = require "postern.spf", require "postern.dkim", require "postern.dmarc", require "postern.arc"
function filter_message(msg)
    local found = { spf = spf.check(msg), dkim = dkim.verify(msg), arc = arc.verify(msg) }
    found.dmarc = dmarc.check(msg, { spf = found.spf, dkim = found.dkim })
    for name, one in pairs(found) do msg:log(name, one.result) end
    msg:log("why", tostring(found.spf.explanation or found.spf.reason))
    msg:log("policy", found.dmarc.policy)
    for _, ip in ipairs{ "192.0.2.8", "2001:db8::8", "192.0.2.9" } do
        msg:log("host", spf.check_host(ip, "one.example.com", "a@one.example.com").result)
    end
end
"""


class Real(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("auth-nsd")
        self.addCleanup(self.folder.remove)
        records = "".join(f"{name}._domainkey TXT {' '.join(lua(text[i:i + 200]) for i in range(0, len(text), 200))}\n" for name, text in keys().records.items())
        self.nsd = Nsd(self.folder, {"example.com": REST + records, "2.0.192.in-addr.arpa": "9 PTR here.example.com.\n"}).start()
        self.addCleanup(self.nsd.stop)

    def check(self, mail, *words):
        options = ("-o", f"dns.servers={self.nsd.server}", "-o", "worker.allow_network=yes", *words)
        return {name: " ".join(values) for name, values in logged(run_many(self.folder, CODE, [mail], None, *options)[0]).items()}

    def test_all_of_them(self):
        mail = b"From: ann@example.com\r\nSubject: x\r\nMessage-ID: <1@example.com>\r\n\r\nhello\r\n"
        signed = mail
        for kind in ("rsa", "ed25519"):
            signed = dkim.sign(signed, kind.encode(), b"example.com", keys().pem(kind),
                               signature_algorithm=b"ed25519-sha256" if kind == "ed25519" else b"rsa-sha256") + signed
        got = self.check(signed, "--ip", "192.0.2.7", "--sender", "ann@example.com")
        self.assertEqual((got["spf"], got["dkim"], got["dmarc"], got["arc"], got["host"]), ("pass", "pass", "pass", "none", "pass pass pass"))
        got = self.check(mail, "--ip", "198.51.100.7", "--sender", "ann@example.com")
        self.assertEqual((got["spf"], got["why"], got["dkim"], got["dmarc"], got["policy"]), ("fail", "198.51.100.7 is not ours", "none", "fail", "reject"))
        got = self.check(mail.replace(b"@example.com", b"@nowhere.example.com"), "--ip", "198.51.100.7", "--sender", "ann@nowhere.example.com")
        self.assertEqual((got["spf"], got["dmarc"], got["policy"]), ("none", "fail", "quarantine"))

    def test_the_ready_filter(self):
        with open(os.path.join(os.environ["POSTERN_SOURCE"], "scripts", "filters", "dmarc-enforce.lua"), encoding="utf-8") as file:
            code = file.read()
        mail = b"From: ann@%s\r\nSubject: x\r\n\r\nhello\r\n"
        for domain, ip, verdict, marks in ((b"example.com", "192.0.2.7", "continue", []), (b"example.com", "198.51.100.7", "reject", []),
                                           (b"nowhere.example.com", "198.51.100.7", "continue", ["X-DMARC"])):
            result = run_many(self.folder, code, [mail % domain], None, "-o", f"dns.servers={self.nsd.server}", "-o", "worker.allow_network=yes",
                              "--ip", ip, "--sender", "ann@example.com")[0]
            self.assertEqual((result["error"], result["verdict"]), (None, verdict))
            self.assertEqual([one["name"] for one in result["actions"] if one["action"] in ("set_header", "add_header")], marks)

    def test_a_server_that_is_gone(self):
        self.nsd.stop()
        got = self.check(b"From: ann@example.com\r\n\r\nx\r\n", "--ip", "192.0.2.7", "--sender", "ann@example.com", "-o", "dns.timeout=200ms")
        self.assertEqual((got["spf"], got["dmarc"], got["policy"]), ("temperror", "temperror", "none"))


if __name__ == "__main__":
    unittest.main()
