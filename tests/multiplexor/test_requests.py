"""Requests: answers, order, bounds, time, second attempts, poison, what an untrusted worker may not do."""

import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import PATIENCE, MultiplexorTest, wait_until
from fakes import postern_wire as wire
from fakes.record_client import outcome, verdict


class Answers(MultiplexorTest):
    def test_plain(self):
        mux = self.start()
        client = self.client(mux)
        reply = client.ask("MESSAGE", uid="ok.1", generation=1)
        self.assertEqual((outcome(reply), verdict(reply), reply["attempt"], reply["generation"]), ("OK", "CONTINUE", 1, 1))
        self.assertIn(reply["worker_pid"], [row["pid"] for row in mux.workers()])
        reply = client.ask("MESSAGE", uid="verdict=2.2")
        self.assertEqual(verdict(reply), "REJECT")

    def test_parcel_and_annexes_pass_by(self):
        mux = self.start()
        client = self.client(mux)
        parcel = wire.parcel(b"Subject: hello\r\n\r\nbody")
        self.addCleanup(os.close, parcel)
        reply = client.ask("MESSAGE", uid="parcel.1", parcel=parcel, message_bytes=22, header_bytes=16)
        self.assertEqual(reply["error"], b"Subject: hello\r\n\r\nbody"[:22])
        reply = client.ask("MESSAGE", uid="annex.1", changes=b"x" * 200000)
        self.assertEqual(reply["changes"], b"c" * 100000)
        reply = client.ask("MESSAGE", uid="parcel.2", parcel=parcel, message_bytes=22, spill=True)
        self.assertEqual(outcome(reply), "OK")

    def test_hook_that_the_filter_does_not_define_needs_no_worker(self):
        mux = self.start()
        reply = self.client(mux).ask("HELO", uid="exit.1")
        self.assertEqual((outcome(reply), verdict(reply), reply["worker_pid"]), ("OK", "CONTINUE", 0))

    def test_most_recently_used_worker_serves_next(self):
        mux = self.start()
        client = self.client(mux)
        mux.wait_for_idle(2)
        pids = {client.ask(uid=f"ok.{i}")["worker_pid"] for i in range(10)}
        self.assertEqual(len(pids), 1)

    def test_counts_are_exact(self):
        mux = self.start({"log.level": "info"})
        clients = self.clients(mux, 10)
        wanted = {"CONTINUE": 0, "ACCEPT": 0, "REJECT": 0, "TEMPFAIL": 0, "DISCARD": 0}
        for i in range(200):
            for n, client in enumerate(clients):
                client.start(uid=f"verdict={(i + n) % 5}.{i}")
            for client in clients:
                wanted[verdict(client.wait())] += 1
        status = mux.status()
        self.assertEqual(status["requests"]["total"], 2000)
        self.assertEqual(status["requests"]["by_hook"]["filter_message"], 2000)
        self.assertEqual(status["messages"], {name.lower(): n for name, n in wanted.items()})
        self.assertEqual(status["verdicts"], status["messages"])
        self.assertEqual(sum(status["outcomes"].values()), 2000)
        self.assertEqual(status["queue"]["length"], 0)


class Queue(MultiplexorTest):
    def test_bound(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.max_workers": 1, "multiplexor.queue_size": 2})
        clients = self.clients(mux, 5)
        clients[0].start(uid=f"sleep={1000 * PATIENCE}.0")
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        clients[1].start(uid="ok.1")
        clients[2].start(uid="ok.2")
        mux.wait(lambda: mux.status()["queue"]["length"] == 2, "two waiting")
        for client in clients[3:]:
            reply = client.ask(uid="ok.3")
            self.assertEqual((outcome(reply), verdict(reply), reply["code"], reply["dsn"]), ("OVERLOAD", "TEMPFAIL", 451, b"4.3.2"))
            self.assertIn(b"ok.3", reply["text"])
        self.assertEqual([outcome(client.wait()) for client in clients[:3]], ["OK"] * 3)
        self.assertEqual(mux.status()["outcomes"]["overload"], 2)

    def test_order(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.max_workers": 1})
        clients = self.clients(mux, 6)
        clients[0].start(uid=f"sleep={1000 * PATIENCE}.0", budget_ms=30000)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        for n, client in enumerate(clients[1:], 1):
            client.start(uid="nth.1", budget_ms=30000)
            mux.wait(lambda n=n: mux.status()["queue"]["length"] == n, f"{n} waiting")
        replies = [client.wait() for client in clients]
        self.assertEqual([reply["error"] for reply in replies[1:]], [b"1", b"2", b"3", b"4", b"5"])
        self.assertTrue(all(reply["queue_us"] > 0 for reply in replies[1:]), replies)

    def test_age(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.max_workers": 1, "multiplexor.queue_time": "200ms",
                          "multiplexor.on_overload": "accept"})
        first, second = self.clients(mux, 2)
        first.start(uid=f"sleep={1000 * PATIENCE}.0", budget_ms=30000)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        reply = second.ask(uid="ok.1")
        self.assertEqual((outcome(reply), verdict(reply)), ("OVERLOAD", "ACCEPT"))
        self.assertTrue(reply["flags"] & wire.REPLY_FLAG["NO_CHANGES"])
        reply = second.ask("RECIPIENT", uid="ok.1")
        self.assertEqual((outcome(reply), verdict(reply)), ("OVERLOAD", "CONTINUE"), "one recipient must not exempt the others")
        self.assertEqual(outcome(first.wait()), "OK")

    def test_budget_ends_in_the_queue(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.max_workers": 1})
        first, second = self.clients(mux, 2)
        first.start(uid=f"sleep={2000 * PATIENCE}.0", budget_ms=30000)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        began = time.monotonic()
        reply = second.ask(uid="ok.1", budget_ms=400)
        self.assertEqual((outcome(reply), reply["worker_pid"], reply["hook_us"]), ("OVERLOAD", 0, 0), "it was not started")
        self.assertLess(time.monotonic() - began, 0.4 + PATIENCE)
        self.assertEqual(outcome(second.ask(uid="ok.1", budget_ms=0)), "OVERLOAD")

    def test_pool_grows_to_its_maximum_when_requests_wait(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.max_workers": 3})
        clients = self.clients(mux, 8)
        for client in clients:
            client.start(uid="sleep=200.0")
        mux.wait(lambda: mux.status()["workers"]["busy"] == 3, "three busy workers")
        self.assertEqual([outcome(client.wait()) for client in clients], ["OK"] * 8)
        self.assertEqual(mux.status()["workers"]["total"], 3)

    def test_client_that_leaves(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.max_workers": 1})
        running, queued, other = self.clients(mux, 3)
        running.start(uid="sleep=400.0")
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        pid = mux.workers("busy")[0]["pid"]
        queued.start(uid="exit.1")
        mux.wait(lambda: mux.status()["queue"]["length"] == 1, "one waiting")
        queued.close()
        mux.wait(lambda: mux.status()["queue"]["length"] == 0, "the queue to be empty")
        running.close()
        reply = other.ask(uid="ok.2")
        self.assertEqual(reply["worker_pid"], pid, "the worker ended its request and serves the next")
        status = mux.status()
        self.assertEqual((status["requests"]["total"], status["counters"]["cancelled"], status["recycles"]["died"]), (1, 2, 0))


class Deadline(MultiplexorTest):
    OPTIONS = {"multiplexor.kill_grace": "200ms"}

    def test_worker_that_does_not_end_is_killed(self):
        mux = self.start({**self.OPTIONS, "worker.on_error": "reject"})
        client = self.client(mux)
        for uid in ("hang.1", "stop.1"):
            began = time.monotonic()
            reply = client.ask(uid=uid, budget_ms=800)
            took = time.monotonic() - began
            self.assertEqual((outcome(reply), verdict(reply), reply["attempt"]), ("DEADLINE", "REJECT", 1))
            self.assertGreater(took, 0.6)
            self.assertLess(took, 0.8 + PATIENCE)
        mux.wait_for_idle(2)
        status = mux.status()
        self.assertEqual((status["recycles"]["deadline"], status["retries"], status["recycles"]["died"]), (2, 0, 0))
        self.assertIn("filter_message uid=hang.1", mux.log())

    def test_worker_is_told_less_than_the_budget(self):
        mux = self.start(self.OPTIONS)
        told = int(self.client(mux).ask(uid="budget.1", budget_ms=8000)["error"])
        self.assertTrue(7000 < told <= 7900, told)

    def test_client_of_a_hung_worker_left(self):
        mux = self.start(self.OPTIONS)
        client = self.client(mux)
        client.start(uid="hang.1", budget_ms=500)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        client.close()
        mux.wait_for_counter("recycles", "deadline", value=1)
        self.assertEqual(mux.status()["requests"]["total"], 0)


class Deaths(MultiplexorTest):
    def test_second_attempt(self):
        mux = self.start()
        client = self.client(mux)
        reply = client.ask(uid="exit-once.1")
        self.assertEqual((outcome(reply), reply["attempt"]), ("OK", 2))
        status = mux.status()
        self.assertEqual((status["retries"], status["recycles"]["died"], status["requests"]["total"]), (1, 1, 1))
        mux.wait_for_idle(2)

    def test_parcel_is_kept_for_the_second_attempt(self):
        mux = self.start()
        client = self.client(mux)
        parcel = wire.parcel(b"hello")
        client.start(uid="exit-once.1", parcel=parcel, message_bytes=5, spill=True)
        os.close(parcel)
        self.assertEqual(outcome(client.wait()), "OK")

    def test_poison(self):
        mux = self.start({"multiplexor.on_poison": "reject"})
        client = self.client(mux)
        reply = client.ask(uid="segv.1")
        self.assertEqual((outcome(reply), verdict(reply), reply["attempt"]), ("POISON", "REJECT", 2))
        deaths = [line.split(b"\t") for line in reply["deaths"].split(b"\n")]
        self.assertEqual([death[1] for death in deaths], [b"signal 11 (SIGSEGV)"] * 2)
        self.assertEqual(len({int(death[0]) for death in deaths}), 2)
        self.assertEqual(reply["error"], b"two workers died on it: signal 11 (SIGSEGV), signal 11 (SIGSEGV)")
        mux.wait(lambda: mux.log().count("ended: signal 11 (SIGSEGV)") == 2, "both deaths in the log")
        self.assertIn("while running filter_message uid=segv.1", mux.log())
        self.assertEqual(outcome(client.ask(uid="ok.1")), "OK")

    def test_second_attempt_of_milterd_gets_no_third(self):
        mux = self.start()
        reply = self.client(mux).ask(uid="exit.1", attempt=2)
        self.assertEqual((outcome(reply), verdict(reply), reply["attempt"]), ("DIED", "TEMPFAIL", 2))
        self.assertEqual(mux.status()["retries"], 0)

    def test_hook_that_is_never_repeated(self):
        mux = self.start()
        reply = self.client(mux).ask("CLOSE", uid="exit.1")
        self.assertEqual((outcome(reply), verdict(reply)), ("DIED", "CONTINUE"))
        self.assertEqual(mux.status()["retries"], 0)

    def test_reply_before_death_counts(self):
        mux = self.start()
        client = self.client(mux)
        for n in range(20):
            reply = client.ask(uid=f"reply-exit.{n}")
            self.assertEqual((outcome(reply), reply["attempt"]), ("OK", 1))
        mux.wait_for_counter("recycles", "died", value=20)
        self.assertEqual(mux.status()["retries"], 0, "a worker that was dead before it read a request is no attempt")

    def test_idle_worker_killed(self):
        mux = self.start()
        client = self.client(mux)
        mux.wait_for_idle(2)
        for n in range(20):
            # Most often the request is not even charged with it; the kernel may have handed it to the dying worker, though.
            os.kill(mux.workers("idle")[0]["pid"], signal.SIGKILL)
            self.assertEqual(outcome(client.ask(uid="ok.1")), "OK")
            # Two that are idle can be the one before its death is noticed, and the other.
            mux.wait_for_counter("recycles", "died", value=n + 1)
            mux.wait_for_idle(2)

    def test_busy_worker_killed(self):
        mux = self.start()
        client = self.client(mux)
        client.start(uid="sleep=300.1")
        mux.wait(lambda: mux.workers("busy"), "a busy worker")
        os.kill(mux.workers("busy")[0]["pid"], signal.SIGKILL)
        reply = client.wait()
        self.assertEqual((outcome(reply), reply["attempt"]), ("OK", 2))
        mux.wait(lambda: "signal 9 (SIGKILL)" in mux.log(), "its status in the log")


class Garbage(MultiplexorTest):
    """Whatever a worker sends wrongly kills it; its request goes once to another, then policy answers."""

    def test_each_kind(self):
        mux = self.start({"multiplexor.respawn_min": "10ms"})
        client = self.client(mux)
        kinds = ("garbage", "short", "cut", "other-id", "version", "request-record", "descriptors",
                 "many-descriptors", "unsealed", "outcome=4", "outcome=200", "verdict=9")
        for kind in kinds:
            with self.subTest(kind):
                reply = client.ask(uid=kind + ".1")
                self.assertEqual((outcome(reply), verdict(reply)), ("POISON", "TEMPFAIL"))
                self.assertEqual(reply["deaths"].count(b"\tkilled for a bad "), 2)
        self.assertEqual(mux.status()["recycles"]["died"], 2 * len(kinds))
        self.assertEqual(outcome(client.ask(uid="ok.1")), "OK")

    def test_second_reply_kills_only_the_worker(self):
        mux = self.start()
        client = self.client(mux)
        self.assertEqual(outcome(client.ask(uid="twice.1")), "OK")
        mux.wait_for_counter("recycles", "died", value=1)
        self.assertEqual(outcome(client.ask(uid="ok.1")), "OK")

    def test_descriptors_do_not_leak(self):
        mux = self.start({"log.level": "error"})
        client = self.client(mux)
        def count():
            return len(os.listdir(f"/proc/{mux.process.pid}/fd"))
        parcel = wire.parcel(b"hello")
        self.addCleanup(os.close, parcel)
        client.ask(uid="ok.1")
        mux.wait_for_idle(2)
        before = count()
        for uid in ("ok", "annex", "exit-once", "descriptors", "many-descriptors", "hang"):
            client.ask(uid=uid + ".1", parcel=parcel, budget_ms=300 * PATIENCE, spill=True)
        mux.wait_for_idle(2)
        wait_until(lambda: count() <= before, lambda: f"at most {before} descriptors, there are {count()}")


if __name__ == "__main__":
    unittest.main()
