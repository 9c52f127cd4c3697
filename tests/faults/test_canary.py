"""A filter that is tried on a share of the clients, with both daemons and a small load: one client sees one filter, a bad one goes and a good one
stays, and neither loses or defers a message. Multiplexors are killed meanwhile."""

import collections
import itertools
import signal
import threading
import unittest

import paths  # noqa: F401
from harness.postern import Postern
from injection import let_signals_kill
from harness.process import PATIENCE, wait_until
from milter_client import MilterClient, MilterClosed
from stack import settings

let_signals_kill()

FILTER = """
local async = require "postern.async"
local version = "@VERSION@"
function filter_relay(conn) conn.state.version = version end
function filter_message(msg)
    @DEED@
    msg:add_header("X-Version", version .. "/" .. msg.conn.state.version)
end
"""
CLIENTS = [f"198.51.100.{n}" for n in range(1, 101)]
SHARE = 25


def filter_text(version, deed=""):
    return FILTER.replace("@VERSION@", version).replace("@DEED@", deed)


class Load:
    """Messages from all the clients in turn, over four connections at a time, until stop(). seen: (client, version or verdict) in order; began: the
    phase that each began in."""

    def __init__(self, postern):
        self.postern = postern
        self.seen, self.lost, self.began = [], [], []
        self.phase = 0
        self.ips = itertools.cycle(CLIENTS)
        self.lock = threading.Lock()
        self.is_ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        while not self.is_ending.is_set():
            with self.lock:
                ip, phase = next(self.ips), self.phase
            try:
                with MilterClient(self.postern.spec, timeout=30 * PATIENCE) as client:
                    client.negotiate()
                    answer = client.connect(ip=ip)
                    if answer is None or answer.code == "continue":
                        client.helo()
                        answer = client.message()
            except (OSError, MilterClosed) as error:
                self.lost.append((ip, repr(error)))
                continue
            headers = answer.all("add_header")
            with self.lock:
                self.seen.append((ip, headers[0][1].strip() if headers else answer.verdict))
                self.began.append(phase)

    def wait_for_more(self, n=len(CLIENTS)):
        """So many messages that began from now on."""
        with self.lock:
            self.phase += 1
            phase = self.phase

        def found():
            with self.lock:
                return [what for what, began in zip(self.seen, self.began) if began >= phase]
        wait_until(lambda: len(found()) >= n, lambda: f"{n} messages more: {self.seen[-5:]} {self.lost}\n" + self.postern.logs(), 60)
        return found()

    def stop(self):
        self.is_ending.set()
        for thread in self.threads:
            thread.join(60)
        return self.seen


class WithLoad(unittest.TestCase):
    options = {}

    def setUp(self):
        options = settings(multiplexor__canary=SHARE, multiplexor__canary_time="200ms", multiplexor__canary_requests=30,
                           **{"multiplexor__canary_latency": 0, **self.options})
        self.postern = Postern(filter_text("a"), options=options, name="canary")
        self.addCleanup(self.end)
        self.load = Load(self.postern)
        self.load.wait_for_more(40)

    def end(self):
        self.load.stop()
        self.assertEqual(self.load.lost, [])
        self.postern.stop()

    def reload(self, version, deed="", *words):
        self.postern.save_filter(filter_text(version, deed))
        return self.postern.ctl("reload", *words, check=True)[1]

    def last(self, result, generation=2):
        """What became of the candidate, once it is that."""
        def is_there():
            last = (self.postern.status() or {}).get("canary_last") or {}
            return (last.get("generation"), last.get("result")) == (generation, result)
        wait_until(is_there, lambda: f"{generation} {result}: {self.postern.status()}", 60)
        return self.postern.status()["canary_last"]

    def assert_nothing_deferred(self):
        """Connections that were open meanwhile may have had one filter at CONNECT and another at MAIL."""
        counts = collections.Counter(what for _, what in self.load.stop())
        self.assertEqual([what for what in counts if "/" not in what], [], f"{counts}\n{self.postern.logs()}")

    def try_by_hand(self):
        """From now on nothing is judged."""
        with open(self.postern.conf, encoding="utf-8") as file:
            text = file.read()
        self.postern.folder.write("postern.conf", text.replace("canary_time = 200ms", "canary_time = 0"))


class Canary(WithLoad):
    def test_promote(self):
        self.try_by_hand()
        self.assertIn("generation 2 is tried on 60 % of the clients", self.reload("b", "", "--canary", "60%"))
        self.load.wait_for_more()
        self.assertEqual(self.postern.ctl("promote", check=True)[1], "current: generation 2\n")
        self.assertEqual({what for _, what in self.load.wait_for_more()}, {"b/b"})
        self.assertEqual(self.postern.ctl("promote")[0], 1)

    def test_each_client_sees_one_filter(self):
        self.try_by_hand()
        self.assertIn(f"generation 2 is tried on {SHARE} % of the clients", self.reload("b"))
        tried = self.load.wait_for_more(3 * len(CLIENTS))
        by_client = collections.defaultdict(set)
        for ip, what in tried:
            by_client[ip].add(what)
        self.assertEqual({ip: seen for ip, seen in by_client.items() if len(seen) > 1}, {})
        n = sum(1 for seen in by_client.values() if seen == {"b/b"})
        self.assertTrue(13 <= n <= 37, f"{n} of {len(CLIENTS)} clients, {SHARE} are to be expected")
        screen = self.postern.ctl("status", check=True)[1]
        self.assertRegex(screen, rf"canary +{SHARE} % of the clients for ")
        self.assertRegex(screen, r"candidate +generation 2, runs [1-9]\d*, errors 0, tempfails 0, mean_ms ")
        self.assertEqual(self.postern.ctl("rollback", check=True)[1], "current: generation 1\n")
        self.assertEqual({what for _, what in self.load.wait_for_more()}, {"a/a"})
        self.assertRegex(self.postern.ctl("status")[1], r"last canary +generation 2, result rolled back, why by hand")
        self.assert_nothing_deferred()

    def test_good_one_is_promoted(self):
        self.reload("b")
        self.last("promoted")
        self.assertEqual({what for _, what in self.load.wait_for_more()}, {"b/b"})
        self.assert_nothing_deferred()

    def test_bad_ones_are_rolled_back(self):
        """Only what ran in the bad one is deferred; the roll-back defers nothing."""
        for generation, version, deed, why in ((2, "error", "error('bad')", "errors"),
                                               (3, "tempfail", "do return tempfail('later') end", "tempfails")):
            with self.subTest(version):
                before = len(self.load.seen)
                self.reload(version, deed)
                last = self.last("rolled back", generation)
                self.assertIn(f"too many {why}", last["why"])
                after = self.load.wait_for_more()
                self.assertEqual({what for _, what in after}, {"a/a"})
                whose = {ip for ip, what in self.load.seen[before:] if what == "tempfail"}
                good = {ip for ip, what in self.load.seen[before:len(self.load.seen) - len(after)] if what == "a/a"}
                self.assertLess(len(whose), 40)
                self.assertGreater(len(good - whose), 20)
                self.assertLess(sum(1 for _, what in self.load.seen[before:] if what == "tempfail"), 40)


class Slow(WithLoad):
    options = {"multiplexor__canary_latency": 300}

    def test_slow_one_is_rolled_back(self):
        self.reload("slow", "async.sleep(0.4)")
        self.assertIn("too slow", self.last("rolled back")["why"])
        self.assertEqual({what for _, what in self.load.wait_for_more()}, {"a/a"})
        self.assert_nothing_deferred()


class Kill(WithLoad):
    """The multiplexor dies while a filter is tried: the next one has the file that is there, and tries nothing."""

    options = {"multiplexor__canary_errors": 100, "milterd__stage_time": "8s", "milterd__message_time": "9s", "milterd__reconnect_time": "8s"}

    def test_kill(self):
        self.try_by_hand()
        self.reload("b")
        self.load.wait_for_more(40)
        for _ in range(3):
            self.postern.multiplexor.kill(signal.SIGKILL)
            self.postern.multiplexor.popen.wait()
            self.postern.start_multiplexor()
            wait_until(lambda: (self.postern.status() or {}).get("generation"), lambda: "a generation\n" + self.postern.logs())
            self.load.wait_for_more()
        self.assertIsNone(self.postern.status()["canary"])
        self.assertEqual({what for _, what in self.load.wait_for_more()}, {"b/b"})
        # A hook that both attempts lose to the kill is deferred: one for each kill and connection at most.
        counts = collections.Counter(what for _, what in self.load.stop())
        self.assertEqual(set(counts) - {"a/a", "b/b", "b/a", "a/b", "tempfail"}, set())
        self.assertLessEqual(counts["tempfail"], 3 * 4, counts)


if __name__ == "__main__":
    unittest.main()
