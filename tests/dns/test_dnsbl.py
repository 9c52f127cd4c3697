"""postern.dnsbl: on answers of a filter's tests, and on the wire: what is asked, whose answer counts, lists that hang, refuse or lie."""

import os
import subprocess
import unittest

from test_dns import CTL, Base
from harness.dns_server import Nsd, record
from harness.process import PATIENCE, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
USE = 'local dnsbl = require "postern.dnsbl"\n'


class OnOurOwn(unittest.TestCase):
    def test_module(self):
        done = subprocess.run([CTL, "test", "--filter", os.path.join(os.environ["POSTERN_SOURCE"], "scripts", "filters", "pass.lua"),
                               os.path.join(HERE, "dnsbl_test.lua")], capture_output=True, text=True, timeout=100 * PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class RealServer(Base):
    def test_nsd(self):
        nibbles = ".".join(reversed("20010db8000000000000000000000001"))
        nsd = Nsd(self.folder, {"bl.example": f'1.2.0.192 A 127.0.0.2\n1.2.0.192 A 127.0.0.10\n1.2.0.192 TXT "see " "here"\n{nibbles} A 127.0.0.3\n',
                                "dbl.example": "bad.example A 127.0.1.2\n"}).start()
        self.addCleanup(nsd.stop)
        notes = self.run_filter(USE + """
            local zone, found = dnsbl.listed("192.0.2.1", "bl.example")
            table.sort(found)
            note(zone, found) note(dnsbl.listed("2001:db8::1", "bl.example")) note(dnsbl.listed("192.0.2.2", "bl.example"))
            note(dnsbl.listed_domain("bad.example", "bl.example", "dbl.example")) note(dnsbl.reason("192.0.2.1", "bl.example"))
            note(dnsbl.listed("192.0.2.2", "bl.example", "other.example"))""", nsd.server)
        self.assertEqual(notes[:5], ["bl.example, {127.0.0.10 127.0.0.2}", "bl.example, {127.0.0.3}", "nil, nil", "dbl.example, {127.0.1.2}", "see here"])
        self.assertTrue(notes[5].startswith("nil, other.example: refused"), notes[5])


class Lists(Base):
    def test_a_list_that_hangs_does_not_hold_up_one_that_answers(self):
        def handle(query):
            if query.name.endswith("hangs.example"):
                return None
            return query.answer([record(query.name, "A", "127.0.0.2")])
        server = self.fake(handle)
        notes = self.run_filter(USE + 'note(dnsbl.listed("192.0.2.1", "hangs.example", "bl.example", "hangs.example"))',
                                server.server, "dns.timeout=60s", "milterd.message_time=100s")
        self.assertEqual(notes, ["bl.example, {127.0.0.2}"])

    def test_all_of_them_are_asked_at_once(self):
        asked = []

        def handle(query):
            asked.append(query.name)
            wait_until(lambda: len(set(asked)) == 10, "the last list to be asked before the first has answered")
            return query.answer([], rcode=3)
        server = self.fake(handle)
        zones = ", ".join(f'"z{i}.example"' for i in range(10))
        notes = self.run_filter(USE + f'note(dnsbl.listed("192.0.2.1", {zones}))', server.server, "dns.timeout=60s", "milterd.message_time=100s")
        self.assertEqual((notes, len(set(asked))), (["nil, nil"], 10))

    def test_a_list_that_refuses_is_told_once(self):
        server = self.fake(lambda query: query.answer([record(query.name, "A", "127.255.255.254" if "refuses" in query.name else "198.51.100.1")]))
        notes, errors = self.run_filter(USE + """
            for i = 1, 3 do note(dnsbl.listed("192.0.2." .. i, "refuses.example")) note(dnsbl.listed("192.0.2." .. i, "parked.example")) end""",
            server.server, log=True)
        self.assertEqual([note for note in notes if "127.255" in note and note.startswith("nil")], ["nil, refuses.example: it answers 127.255.255.254, an error"] * 3)
        self.assertEqual([note for note in notes if note == "nil, nil"], ["nil, nil"] * 3)
        self.assertEqual((errors.count("does not answer us"), errors.count("which no list does")), (1, 1), errors)

    def test_private_addresses_are_not_asked_for(self):
        server = self.fake(lambda query: query.answer([record(query.name, "A", "127.0.0.2")]))
        notes = self.run_filter(USE + 'for _, ip in ipairs{ "10.0.0.1", "127.0.0.1", "::1", "fe80::1" } do note(dnsbl.listed(ip, "bl.example", "b2.example")) end',
                                server.server)
        self.assertEqual((notes, server.count()), (["nil"] * 4, 0))


if __name__ == "__main__":
    unittest.main()
