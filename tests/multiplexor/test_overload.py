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


class TwiceTheCapacity(MultiplexorTest):
    """Clients that ask without a pause, twice as many as the workers and the queue can hold."""

    seconds = 3 * float(os.environ.get("POSTERN_LOAD", "1"))

    def load(self, client, until, replies):
        while time.monotonic() < until:
            began = time.monotonic()
            reply = client.ask(uid="sleep=50.1", budget_ms=20000)
            replies.append((outcome(reply), reply["queue_us"] / 1e6, time.monotonic() - began))
            if replies[-1][0] == "OVERLOAD":
                time.sleep(0.05)  # as a sender that has been told to come back

    def test_what_is_taken_in_keeps_its_latency(self):
        mux = self.start({"multiplexor.queue_size": 4, "multiplexor.max_workers": 2, "log.level": "info"})
        clients = self.clients(mux, 12)
        replies = [[] for _ in clients]
        until = time.monotonic() + self.seconds
        threads = [threading.Thread(target=self.load, args=(client, until, into)) for client, into in zip(clients, replies)]
        for thread in threads:
            thread.start()
        longest = 0
        while time.monotonic() < until:
            began = time.monotonic()
            longest = max(longest, mux.status()["queue"]["length"])
            self.assertLess(time.monotonic() - began, 1 * PATIENCE, "the control socket answers")
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        everything = [row for rows in replies for row in rows]
        served = [row for row in everything if row[0] == "OK"]
        refused = [row for row in everything if row[0] == "OVERLOAD"]
        self.assertEqual(len(served) + len(refused), len(everything))
        self.assertTrue(served and refused)
        self.assertLessEqual(longest, 4)
        self.assertLess(max(row[1] for row in served), 2 * PATIENCE, "at most three turns of the queue, with much to spare")
        self.assertLess(max(row[2] for row in refused), 1 * PATIENCE, "refused at once")
        status = mux.status()
        self.assertEqual(status["requests"]["total"], len(everything), "nothing lost")
        self.assertEqual((status["outcomes"]["ok"], status["outcomes"]["overload"]), (len(served), len(refused)))
        self.assertEqual((status["queue"]["length"], status["workers"]["busy"]), (0, 0))
        self.assertEqual(status["recycles"]["died"], 0)


if __name__ == "__main__":
    unittest.main()
