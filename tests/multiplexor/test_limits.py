"""Limits by hook and by key: how many run at once, that those over a limit are in nobody's way, and that none is forgotten."""

import os
import random
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import PATIENCE, MultiplexorTest
from fakes import postern_wire as wire
from fakes.record_client import outcome
from openmetrics import parse, value

RESERVED = wire.REQUEST_FLAG["RESERVED"]
LONG = 800 * PATIENCE  # of a request that is to be seen running, in ms


class LimitsTest(MultiplexorTest):
    def limited(self, limits, **options):
        return self.start({"multiplexor.limits": limits, "multiplexor.min_workers": 8, "multiplexor.max_workers": 8, "log.level": "info",
                           **{"multiplexor." + key: text for key, text in options.items()}})

    def begin(self, mux, n=1, hook="MESSAGE", ms=LONG, **fields):
        """Clients whose requests are under way."""
        clients = self.clients(mux, n)
        for client in clients:
            client.start(hook, uid=f"sleep={ms}.1", budget_ms=60000, **fields)
        return clients

    def of(self, mux, name):
        row = next(row for row in mux.status()["limits"] if row["limit"] == name)
        return row["running"], row["waiting"], row["refused"], row["keys"]

    def wait_for(self, mux, name, *expected):
        mux.wait(lambda: self.of(mux, name) == expected, lambda: f"{name}: {expected}, is {self.of(mux, name)}")

    def outcomes(self, clients):
        return [outcome(client.wait(30)) for client in clients]


class Counts(LimitsTest):
    def test_by_hook(self):
        """Two of a hook at once, whatever their keys; the others wait and are all served; other hooks do not notice."""
        mux = self.limited("filter_message=2")
        clients = self.begin(mux, 5, ms=300 * PATIENCE)
        self.wait_for(mux, "filter_message", 2, 3, 0, 1)
        self.assertEqual((mux.status()["workers"]["busy"], mux.status()["queue"]["length"]), (2, 3))
        mux.wait(lambda: mux.status()["queue"]["oldest_ms"] > 0, "the age of those that wait")
        reply = self.client(mux).ask("RECIPIENT", uid="ok.1")
        self.assertEqual((outcome(reply), reply["queue_us"] < 200_000 * PATIENCE), ("OK", True))
        self.assertEqual(self.outcomes(clients), ["OK"] * 5)
        self.wait_for(mux, "filter_message", 0, 0, 0, 0)

    def test_by_domain(self):
        """Each domain has its own two; none is held up by another; a request without a domain is under no limit."""
        mux = self.limited("filter_message@domain=2")
        a, b = self.begin(mux, 5, domain=b"a.example"), self.begin(mux, 1, domain=b"b.example")
        free = self.begin(mux, 4, domain=b"")
        self.wait_for(mux, "filter_message@domain", 3, 3, 0, 2)
        self.assertEqual(mux.status()["workers"]["busy"], 7)
        reply = self.client(mux).ask(uid="ok.1", domain=b"c.example")
        self.assertEqual((outcome(reply), reply["queue_us"] < LONG * 500), ("OK", True))
        self.assertEqual(self.outcomes(a + b + free), ["OK"] * 10)
        self.wait_for(mux, "filter_message@domain", 0, 0, 0, 0)

    def test_by_network(self):
        """/24 and /64 by default; a program of this host is a network of its own, and so is what is no address."""
        mux = self.limited("any@network=1")
        clients = []
        for address in (b"192.0.2.1", b"192.0.2.255", b"192.0.3.1", b"2001:db8::1", b"2001:db8::ffff:0:0:1", b"2001:db8:0:1::1", b"", b"", b"x y"):
            clients += self.begin(mux, 1, random.choice(("MESSAGE", "RECIPIENT", "RELAY")), client=address)
        self.wait_for(mux, "any@network", 5, 4, 0, 5)
        self.assertEqual(outcome(self.client(mux).ask("CLOSE", uid="ok.1", client=b"192.0.2.1")), "OK", "nobody waits for it")
        self.assertEqual(self.outcomes(clients), ["OK"] * 9)

    def test_prefixes(self):
        mux = self.limited("any@network=1", limit_prefix4=20, limit_prefix6=33)
        for address in (b"192.0.16.1", b"192.0.31.9", b"192.0.32.1", b"2001:db8:7fff::1", b"2001:db8:8000::1", b"2001:db8::"):
            self.begin(mux, 1, client=address)
        self.wait_for(mux, "any@network", 4, 2, 0, 4)

    def test_refuse(self):
        """Over it, on_overload at once, also when all came together; and only then."""
        mux = self.limited("filter_message@network=3:refuse")
        clients = self.begin(mux, 10, client=b"192.0.2.1")
        began = time.monotonic()
        self.wait_for(mux, "filter_message@network", 3, 0, 7, 1)
        late = self.client(mux).ask(uid="ok.1", client=b"192.0.2.9")
        self.assertEqual((outcome(late), late["code"], late["error"]), ("OVERLOAD", 451, b"over the limit filter_message@network"))
        self.assertLess(time.monotonic() - began, LONG / 1000 + PATIENCE)
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1", client=b"192.0.3.9")), "OK")
        self.assertEqual(sorted(self.outcomes(clients)), ["OK"] * 3 + ["OVERLOAD"] * 7)
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1", client=b"192.0.2.9")), "OK")
        self.assertEqual(mux.status()["outcomes"]["overload"], 8)


class Waiting(LimitsTest):
    def test_nobody_is_held_up(self):
        """One worker and a crowd that a limit holds: others go past it, and it is served in its order."""
        mux = self.limited("filter_message@domain=1", min_workers=2, max_workers=2)
        first = self.begin(mux, 1, domain=b"a")
        self.wait_for(mux, "filter_message@domain", 1, 0, 0, 1)
        crowd = []
        for n in range(5):
            crowd += self.begin(mux, 1, ms=20, domain=b"a")
            self.wait_for(mux, "filter_message@domain", 1, n + 1, 0, 1)
        for n in range(20):
            reply = self.client(mux).ask(uid="ok.1", domain=b"b%d" % n)
            self.assertLess(reply["queue_us"], 300_000 * PATIENCE)
        self.assertEqual(self.of(mux, "filter_message@domain")[:2], (1, 5))
        self.assertEqual(self.outcomes(first), ["OK"])
        waited = [client.wait()["queue_us"] for client in crowd]
        self.assertGreater(waited[-1], 4 * 20_000, "one after the other")
        self.wait_for(mux, "filter_message@domain", 0, 0, 0, 0)

    def test_time_and_size_of_the_queue(self):
        """They count for queue_size, have queue_time, and give way first to what can run."""
        mux = self.limited("filter_message@domain=1", queue_size=2, queue_time=f"{1500 * PATIENCE}ms", min_workers=1, max_workers=1)
        busy = self.begin(mux, 1, domain=b"a", ms=600 * PATIENCE)
        self.wait_for(mux, "filter_message@domain", 1, 0, 0, 1)
        second = self.begin(mux, 1, domain=b"a", ms=1)
        self.wait_for(mux, "filter_message@domain", 1, 1, 0, 1)
        third = self.begin(mux, 1, domain=b"a", ms=1)
        self.wait_for(mux, "filter_message@domain", 1, 2, 0, 1)
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1", domain=b"a")), "OVERLOAD", "the queue is full, and it could not run")
        other = self.begin(mux, 1, hook="RELAY", ms=1, domain=b"b")
        self.assertEqual(outcome(third[0].wait()), "OVERLOAD", "the youngest gives way, also to an earlier stage")
        self.wait_for(mux, "filter_message@domain", 1, 1, 2, 1)
        self.assertEqual(self.outcomes(busy + other + second), ["OK"] * 3)
        busy = self.begin(mux, 1, domain=b"a", ms=2500 * PATIENCE)
        self.wait_for(mux, "filter_message@domain", 1, 0, 2, 1)
        late = self.begin(mux, 1, domain=b"a")
        reply = late[0].wait(30)
        self.assertEqual((outcome(reply), reply["error"]), ("OVERLOAD", b"over the limit filter_message@domain"))
        self.assertGreaterEqual(reply["queue_us"], 1_400_000)
        self.assertEqual(self.outcomes(busy), ["OK"])

    def test_two_limits(self):
        """Under both; a place that one of them cannot use is the next one's."""
        mux = self.limited("filter_message@domain=1 filter_message@network=1")
        first = self.begin(mux, 1, domain=b"a", client=b"192.0.2.1", ms=LONG)
        self.wait_for(mux, "filter_message@network", 1, 0, 0, 1)
        other = self.begin(mux, 1, domain=b"b", client=b"192.0.3.1", ms=3 * LONG)
        self.wait_for(mux, "filter_message@network", 2, 0, 0, 2)
        both = self.begin(mux, 1, domain=b"a", client=b"192.0.3.1", ms=1)
        self.wait_for(mux, "filter_message@domain", 2, 1, 0, 2)
        alone = self.begin(mux, 1, domain=b"a", client=b"192.0.4.1", ms=1)
        self.wait_for(mux, "filter_message@domain", 2, 2, 0, 2)
        self.assertEqual(self.outcomes(first + alone), ["OK"] * 2)
        self.assertEqual(self.of(mux, "filter_message@network")[:2], (1, 1), "it waits for the other limit now")
        self.assertEqual(self.outcomes(other + both), ["OK"] * 2)
        self.wait_for(mux, "filter_message@domain", 0, 0, 0, 0)

    def test_those_that_leave(self):
        """A client that goes while it waits, or whose worker dies, leaves its place to the next."""
        mux = self.limited("filter_message=1")
        first = self.begin(mux, 1)
        self.wait_for(mux, "filter_message", 1, 0, 0, 1)
        waiting = self.begin(mux, 4, ms=1)
        self.wait_for(mux, "filter_message", 1, 4, 0, 1)
        for client in waiting[:2]:
            client.close()
        self.wait_for(mux, "filter_message", 1, 2, 0, 1)
        os.kill(mux.workers("busy")[0]["pid"], 9)
        self.assertEqual(self.outcomes(waiting[2:] + first), ["OK"] * 3)
        dying = self.client(mux)
        dying.start(uid="exit.1", budget_ms=60000)
        after = self.begin(mux, 3, ms=1)
        self.assertEqual((outcome(dying.wait(30)), self.outcomes(after)), ("POISON", ["OK"] * 3))
        self.wait_for(mux, "filter_message", 0, 0, 0, 0)

    def test_stop(self):
        """What waits is answered when the multiplexor ends."""
        mux = self.limited("filter_message=1")
        clients = self.begin(mux, 4)
        self.wait_for(mux, "filter_message", 1, 3, 0, 1)
        mux.process.kill(15)
        self.assertEqual(sorted(self.outcomes(clients)), ["NOBODY"] * 3 + ["OK"])


class Changes(LimitsTest):
    def test_reload(self):
        """New limits are for what comes then; what is under way ends under those it came with; none is lost."""
        mux = self.start({"multiplexor.min_workers": 8, "multiplexor.max_workers": 8, "log.level": "info"})
        self.assertEqual(mux.status()["limits"], [])

        def set_limits(text):
            mux.folder.write("postern.conf", f"[multiplexor]\nlimits = {text}\n")
            self.assertTrue(mux.call("reload")["ok"])
        set_limits("filter_message=1")
        old = self.begin(mux, 3, ms=500 * PATIENCE)
        self.wait_for(mux, "filter_message", 1, 2, 0, 1)
        set_limits("filter_message=2 any@network=4:refuse")
        new = self.begin(mux, 3, ms=500 * PATIENCE)
        self.wait_for(mux, "filter_message", 2, 1, 0, 1)
        answer = mux.call("reload")
        self.assertTrue(answer["ok"])
        self.wait_for(mux, "filter_message", 2, 1, 0, 1)
        mux.folder.write("postern.conf", "[multiplexor]\nlimits = filter_message=none\n")
        self.assertIn("multiplexor.limits", mux.call("reload")["error"])
        self.assertEqual(self.outcomes(old + new), ["OK"] * 6)
        set_limits("")
        self.assertEqual(mux.status()["limits"], [])

    def test_metrics(self):
        mux = self.limited("filter_message@network=1, any=3:refuse")
        clients = self.begin(mux, 5)
        self.wait_for(mux, "filter_message@network", 1, 4, 0, 1)
        families = parse(mux.call("metrics")["data"]["text"])
        self.assertEqual([value(families, f"postern_limit_{what}", limit="filter_message@network") for what in ("running", "waiting", "refused_total")],
                         [1, 4, 0])
        self.assertEqual(value(families, "postern_limit_running", limit="any"), 1)
        for client in clients[1:]:
            client.close()


class Hostile(LimitsTest):
    def test_keys_of_all_kinds(self):
        """Long, odd and many keys: counted apart, and all forgotten when their requests are through."""
        mux = self.limited("any@domain=1 any@network=50", queue_size=2000)
        seed = random.Random(7)
        odd = [b"x" * 255, b"x" * 254 + b"y", b"\xff\xfe", b"\n\x1b[31m", b"a", b"A", b".", b"%s%n"]
        clients = self.begin(mux, len(odd), ms=300 * PATIENCE, domain=b"same")
        self.wait_for(mux, "any@domain", 1, len(odd) - 1, 0, 1)
        for client, domain in zip(self.clients(mux, len(odd)), odd):
            client.start(uid="sleep=1.1", budget_ms=60000, domain=domain)
            clients.append(client)
        for n in range(150):
            address = f"2001:db8:{seed.randrange(65536):x}::{n:x}".encode()
            clients += self.begin(mux, 1, ms=1, domain=b"d%d.example" % n, client=address)
        self.assertEqual(self.outcomes(clients), ["OK"] * len(clients))
        self.wait_for(mux, "any@domain", 0, 0, 0, 0)
        self.wait_for(mux, "any@network", 0, 0, 0, 0)

    def test_storm(self):
        """Many clients with few keys, some of which leave, dice and all: never more than the limits at once, nothing forgotten."""
        mux = self.limited("filter_message@domain=2 any@network=3 filter_recipient=2:refuse", queue_size=30, min_workers=6, max_workers=6)
        until = time.monotonic() + 4 * float(os.environ.get("POSTERN_LOAD", "1"))
        counts = {}
        lock = threading.Lock()

        def run(number):
            seed = random.Random(number)
            client = self.client(mux)
            while time.monotonic() < until:
                client.start(seed.choice(("MESSAGE", "RECIPIENT", "RELAY")), uid=f"sleep={seed.randrange(8)}.1", budget_ms=30000,
                             domain=b"d%d" % seed.randrange(3), client=b"192.0.%d.1" % seed.randrange(3), flags=seed.choice((0, RESERVED)))
                if seed.random() < 0.1:
                    client.close()
                    client = self.client(mux)
                    continue
                kind = outcome(client.wait(30))
                with lock:
                    counts[kind] = counts.get(kind, 0) + 1
        threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(24)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            rows = {row["limit"]: row for row in mux.status()["limits"]}
            self.assertLessEqual(rows["filter_message@domain"]["running"], 6)
            self.assertLessEqual(rows["any@network"]["running"], 9)
            self.assertLessEqual(rows["filter_recipient"]["running"], 2)
            self.assertEqual(rows["filter_recipient"]["waiting"], 0)
            time.sleep(0.01)
        for thread in threads:
            thread.join()
        self.assertEqual(set(counts), {"OK", "OVERLOAD"})
        for name in ("filter_message@domain", "any@network", "filter_recipient"):
            mux.wait(lambda n=name: (lambda row: (row[0], row[1], row[3]))(self.of(mux, n)) == (0, 0, 0), f"{name} to be empty")
        self.assertEqual((mux.status()["queue"]["length"], mux.status()["workers"]["busy"]), (0, 0))


if __name__ == "__main__":
    unittest.main()
