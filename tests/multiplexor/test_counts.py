"""postern.metrics: what real workers count is summed, kept, bounded, shown and exported; what a hostile one tells kills it."""

import os
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import MultiplexorTest
from harness.process import BIN
from openmetrics import parse, value

FILTER = """
local metrics = require "postern.metrics"
local mails, refused = metrics.counter("mails", 'mails "seen" \\\\ counted'), metrics.counter("refused")
function filter_init() metrics.counter("inits"):inc() end
function filter_exit() metrics.counter("exits"):inc(2) end
function filter_helo(conn)
    mails:inc()
    refused:inc(3, { why = 'a "quoted"\\n\\\\one\\255', kind = true, n = 7 })
end
function filter_unknown(conn, command)
    mails:inc(10)
    if command == "fail" then error("oops") end
    if command == "spin" then while true do end end
    if command == "many" then for i = 1, 100 do metrics.counter("n" .. i):inc() end end
end
"""
LABELS = r'refused{kind="true",n="7",why="a \"quoted\" \\one' + "\ufffd" + '"}'


class Counts(MultiplexorTest):
    def begin(self, **options):
        return self.start({"multiplexor.worker_program": os.path.join(BIN, "postern-worker"), "multiplexor.min_workers": 2,
                           "multiplexor.max_workers": 2, "worker.sandbox": "off", **options}, filter_text=FILTER)

    def user(self, mux):
        return mux.status()["user"]

    def test_sums_are_those_of_all_workers_past_and_present(self):
        mux = self.begin(**{"multiplexor.recycle_requests": 3, "multiplexor.recycle_spread": 0})
        clients, n = self.clients(mux, 4), 0

        def ask_all():
            nonlocal n
            for client in clients:
                client.start("HELO", uid="")
            for client in clients:
                self.assertEqual(client.wait()["outcome"], 0)
            n += len(clients)
            return mux.status()["recycles"]["requests"] >= 5
        mux.wait(ask_all, "workers to be recycled")
        user = self.user(mux)
        self.assertEqual((user["mails"], user[LABELS]), (n, 3 * n))
        self.assertEqual(mux.call("reload")["data"], {"generation": 2})
        self.assertEqual(clients[0].ask("HELO", uid="")["outcome"], 0)
        self.assertEqual(self.user(mux)["mails"], n + 1)
        mux.wait(lambda: self.user(mux)["exits"] >= 10 and self.user(mux)["inits"] >= 7, "what the hooks at both ends count")
        status = subprocess.run([os.path.join(BIN, "posternctl"), "-s", mux.control_path, "status"], capture_output=True, text=True, check=True).stdout
        self.assertRegex(status, rf"(?m)^ +mails {n + 1}$")

    def test_what_becomes_of_the_hook_does_not_matter(self):
        mux = self.begin(**{"multiplexor.kill_grace": "300ms"})
        client = self.client(mux)
        self.assertEqual(client.ask("UNKNOWN", uid="", argument=b"fail")["outcome"], 1)
        self.assertEqual(self.user(mux)["mails"], 10)
        self.assertEqual(client.ask("UNKNOWN", uid="", budget_ms=900, argument=b"spin")["outcome"], 2)
        self.assertEqual(self.user(mux)["mails"], 20)

    def test_export(self):
        mux = self.begin()
        self.client(mux).ask("HELO", uid="")
        families = parse(mux.call("metrics")["data"]["text"])
        self.assertEqual(families["postern_user_mails"]["help"], r'mails \"seen\" \\ counted')
        self.assertEqual(value(families, "postern_user_mails_total"), 1)
        (_, labels), number = next(iter(families["postern_user_refused"]["samples"].items()))
        self.assertEqual((dict(labels)["why"], number), (r"a \"quoted\" \\one" + "\ufffd", 3))

    def test_bounded(self):
        mux = self.begin(**{"metrics.user_series": 20})
        client = self.client(mux)
        for _ in range(2):
            client.ask("UNKNOWN", uid="", argument=b"many")
        self.assertEqual(len(self.user(mux)), 20)
        self.assertGreaterEqual(mux.status()["counters"]["counts_dropped"], 160)
        self.assertEqual(mux.log().count("more counters and labels than metrics.user_series (20)"), 1)
        self.assertEqual(value(parse(mux.call("metrics")["data"]["text"]), "postern_counts_dropped_total"), mux.status()["counters"]["counts_dropped"])


def text(data):
    return struct.pack(">I", len(data)) + data


def count(name=b"a", labels=(), about=b"", add=1):
    return text(name) + bytes([len(labels)]) + b"".join(text(part) for label in labels for part in label) + text(about) + struct.pack(">Q", add)


class Hostile(MultiplexorTest):
    """The fake worker sends the bytes of its filter's folder as the counts of a record."""

    def tell(self, mux, data):
        mux.folder.write("counts", data)
        return self.client(mux).ask(uid="counts.1")["outcome"]

    def test_bad_counts_kill_their_worker(self):
        mux = self.start({"multiplexor.respawn_min": "10ms", "multiplexor.respawn_max": "10ms"})
        good = count()
        bad = (good[:-1], b"x", good + b"\0", count(b""), count(b"9a"), count(b"a-b"), count(b"a\n"), count(b"a_total"), count(b"x" * 65), count(b"\xff"),
               count(labels=[(b"", b"x")]), count(labels=[(b"__a", b"x")]), count(labels=[(b"a", b"x"), (b"a", b"y")]), count(labels=[(b"b", b""), (b"a", b"")]),
               count(labels=[(b"a", b"x" * 129)]), count(labels=[(b"a", b"\xff")]), count(labels=[(b"a", b"x\ny")]), count(labels=[(b"a", b"\xc2\x85")]),
               count(labels=[(b"abcde"[:i + 1], b"") for i in range(5)]), count(about=b"x" * 201), count(about=b"a\nb"), b"\xff" * 40)
        for i, data in enumerate(bad):
            # Each time two workers die of it, and then the message is poison.
            self.assertEqual(self.tell(mux, data), 5, data)
            mux.wait_for_counter("recycles", "died", value=2 * (i + 1))
        self.assertIn("sent bad counts", mux.log())
        self.assertLessEqual(set(mux.status()["user"]), {"a"})

    def test_numbers_stay_where_they_end(self):
        mux = self.start()
        self.assertEqual(self.tell(mux, count(add=2**64 - 1) + count(add=5) + count(b"b")), 0)
        self.assertEqual(mux.status()["user"], {"a": 2**63 - 1, "b": 1})

    def test_as_many_and_as_long_as_may_be(self):
        mux = self.start({"metrics.user_series": 2000})
        longest = [(bytes([c]) * 63, b'"' * 128) for c in b"abcd"]
        for i in range(0, 2000, 40):
            data = b"".join(count(b"n" + b"%063d" % n, longest, b'"' * 200) for n in range(i, i + 40))
            self.assertEqual(self.tell(mux, data), 0)
        self.assertEqual(len(mux.status()["user"]), 2000)
        self.assertEqual(sum(name.startswith("postern_user_") for name in parse(mux.call("metrics")["data"]["text"])), 2000)


if __name__ == "__main__":
    unittest.main()
