"""More than the pool can do: who goes first, who gives way, and that what is taken in keeps its latency while the rest is refused at once."""

import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import PATIENCE, MultiplexorTest
from fakes import postern_wire as wire
from fakes.record_client import outcome

NEW, RESERVED = wire.REQUEST_FLAG["NEW_MESSAGE"], wire.REQUEST_FLAG["RESERVED"]
ONE = {"multiplexor.min_workers": 1, "multiplexor.max_workers": 1}


class Order(MultiplexorTest):
    def busy(self, mux):
        """The only worker is busy; the client that waits for it."""
        client = self.client(mux)
        client.start(uid=f"sleep={700 * PATIENCE}.0", budget_ms=60000)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        return client

    def enqueue(self, mux, *requests):
        """Clients whose requests (hook, flags) wait, one after the other."""
        clients = []
        for hook, flags in requests:
            client = self.client(mux)
            waiting = mux.status()["queue"]["length"]
            client.start(hook, uid="sleep=20.1", flags=flags, budget_ms=60000)
            mux.wait(lambda n=waiting: mux.status()["queue"]["length"] == n + 1, "one more waiting")
            clients.append(client)
        return clients

    def test_later_stages_first(self):
        mux = self.start(ONE)
        busy = self.busy(mux)
        names = ("CLOSE", "RELAY", "RECIPIENT", "MESSAGE", "RECIPIENT reserved", "MESSAGE second")
        clients = self.enqueue(mux, *((name.split()[0], RESERVED if "reserved" in name else NEW) for name in names))
        waited = dict(zip(names, (client.wait()["queue_us"] for client in clients)))
        busy.wait()
        self.assertGreater(waited["RECIPIENT"], waited["RECIPIENT reserved"])
        started = {name: waited[name] for name in ("MESSAGE", "RECIPIENT", "RELAY", "CLOSE")}
        self.assertEqual(sorted(started, key=started.get), ["MESSAGE", "RECIPIENT", "RELAY", "CLOSE"])
        self.assertEqual(mux.status()["requests"]["total"], 7)

    def test_earlier_stages_give_way(self):
        mux = self.start({**ONE, "multiplexor.queue_size": 2})
        busy = self.busy(mux)
        relay, recipient = self.enqueue(mux, ("RELAY", NEW), ("RECIPIENT", NEW))
        late = self.client(mux)
        late.start("MESSAGE", uid="ok.4", budget_ms=60000)
        reply = relay.wait()
        self.assertEqual((outcome(reply), reply["code"], reply["dsn"]), ("OVERLOAD", 451, b"4.3.2"))
        self.assertEqual(outcome(self.client(mux).ask("RECIPIENT", uid="ok.5")), "OVERLOAD", "none of its own stage gives way to it")
        local = self.client(mux)
        local.start("RELAY", uid="ok.6", flags=RESERVED, budget_ms=60000)
        self.assertEqual(outcome(recipient.wait()), "OVERLOAD")
        self.assertEqual([outcome(client.wait()) for client in (busy, late, local)], ["OK"] * 3)
        self.assertEqual(mux.status()["counters"]["displaced"], 2)

    def test_reserved_workers(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.max_workers": 3, "multiplexor.reserved_workers": 1})
        others = self.clients(mux, 4)
        for client in others:
            client.start(uid=f"sleep={600 * PATIENCE}.1", budget_ms=60000)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 2, "two busy workers")
        mux.wait(lambda: mux.status()["queue"]["length"] == 2, "the others to wait")
        reply = self.client(mux).ask(uid="ok.1", flags=RESERVED | NEW)
        self.assertEqual(outcome(reply), "OK")
        self.assertLess(reply["queue_us"], 400_000 * PATIENCE)
        self.assertEqual((mux.status()["workers"]["busy"], mux.status()["queue"]["length"]), (2, 2))
        self.assertEqual([outcome(client.wait()) for client in others], ["OK"] * 4)


class Load:
    """Clients that ask at a given rate, or without a pause, whatever becomes of the requests; what each got, and in what time."""

    def __init__(self, clients, seconds, rate=None):
        self.clients, self.seconds, self.rate = clients, seconds, rate
        self.rows = []  # outcome, seconds in the queue, seconds till the answer
        self.n_due, self.lock = 0, threading.Lock()

    def next_due(self):
        """When the next request is to be sent; None: no more."""
        with self.lock:
            self.n_due += 1
            due = self.began + self.n_due / self.rate if self.rate else time.monotonic()
        return due if due < self.began + self.seconds else None

    def ask(self, client):
        while (due := self.next_due()) is not None:
            time.sleep(max(0.0, due - time.monotonic()))
            sent = time.monotonic()
            reply = client.ask(uid="sleep=20.1", budget_ms=20000)
            self.rows.append((outcome(reply), reply["queue_us"] / 1e6, time.monotonic() - sent))

    def run(self, meanwhile):
        """Calls meanwhile() again and again until it is over."""
        self.began = time.monotonic()
        threads = [threading.Thread(target=self.ask, args=(client,), daemon=True) for client in self.clients]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            meanwhile()
            time.sleep(0.05)
        self.took = time.monotonic() - self.began
        return self

    def of(self, name):
        return [row for row in self.rows if row[0] == name]

    def served_per_second(self):
        return len(self.of("OK")) / self.took


class TwiceTheCapacity(MultiplexorTest):
    """The most that the pool serves is measured, then it is offered twice as much, for POSTERN_OVERLOAD_SECS."""

    seconds = float(os.environ.get("POSTERN_OVERLOAD_SECS") or 11 * float(os.environ.get("POSTERN_LOAD", "1")))
    options = {"multiplexor.min_workers": 2, "multiplexor.max_workers": 2, "multiplexor.queue_size": 4, "multiplexor.queue_time": f"{PATIENCE}s",
               "log.level": "info"}

    def look(self):
        """Status answers, and shows a queue within its bound."""
        began = time.monotonic()
        status = self.mux.status()
        self.assertLess(time.monotonic() - began, 1 * PATIENCE, "the control socket answers")
        self.assertLessEqual(status["queue"]["length"], 4)

    def test_what_is_taken_in_keeps_its_latency(self):
        self.mux = self.start(self.options)
        clients = self.clients(self.mux, 30)
        # As many as the workers and half of the queue take: nobody is refused, and no worker is ever without work.
        peak = Load(clients[:4], max(2.0, self.seconds / 3)).run(self.look)
        self.assertEqual({row[0] for row in peak.rows}, {"OK"})
        over = Load(clients, self.seconds, rate=2 * peak.served_per_second()).run(self.look)
        served, refused = over.of("OK"), over.of("OVERLOAD")
        self.assertEqual(len(served) + len(refused), len(over.rows))
        share = over.served_per_second() / peak.served_per_second()
        print(f"offered {len(over.rows) / over.took:.0f}/s, served {over.served_per_second():.0f}/s, peak {peak.served_per_second():.0f}/s: {share:.2f}; "
              f"waited at most {1000 * max(row[1] for row in served):.0f} ms, refused within {1000 * max(row[2] for row in refused):.0f} ms")
        self.assertTrue(served and refused)
        self.assertGreater(share, 0.7, "what is served stays near the peak")
        self.assertLess(max(row[1] for row in served), 1.5 * PATIENCE, "none waits longer than queue_time")
        self.assertLess(max(row[2] for row in refused), 1 * PATIENCE, "refused at once")
        status = self.mux.status()
        n = {name: len(peak.of(name)) + len(over.of(name)) for name in ("OK", "OVERLOAD")}
        self.assertEqual(status["requests"]["total"], sum(n.values()), "nothing lost")
        self.assertEqual((status["outcomes"]["ok"], status["outcomes"]["overload"]), (n["OK"], n["OVERLOAD"]))
        self.assertEqual((status["queue"]["length"], status["workers"]["busy"]), (0, 0))
        self.assertEqual(status["recycles"]["died"], 0)


if __name__ == "__main__":
    unittest.main()
