"""A filter beside the one in service: it changes no answer, keeps nobody waiting, and is counted exactly."""

import contextlib
import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import HOOKS, MultiplexorTest
from fakes import postern_wire as wire
from fakes.record_client import outcome, verdict

HELD = wire.REPLY_FLAG["PARCEL_HELD"]


class Shadow(MultiplexorTest):
    def setUp(self):
        self.parcel = wire.parcel(b"text")
        self.addCleanup(os.close, self.parcel)

    def begin(self, shadow_text=HOOKS, options=None, **kwargs):
        mux = self.start(options, **kwargs)
        self.filter = mux.folder.write("shadow.lua", shadow_text)
        answer = mux.call("shadow_start", filter=self.filter)
        self.assertTrue(answer["ok"], answer)
        mux.wait(lambda: any(row["state"] == "idle" for row in self.rows(mux)), "a worker of the shadow")
        return mux

    def rows(self, mux):
        generation = mux.call("shadow")["data"]["generation"]
        return [row for row in mux.workers() if row["generation"] == generation]

    def figures(self, mux, compared):
        """What was counted, once so much was compared."""
        mux.wait(lambda: mux.call("shadow")["data"]["compared"] >= compared, lambda: f"{compared} comparisons: {mux.call('shadow')}")
        data = mux.call("shadow")["data"]
        return {name: data[name] for name in ("compared", "same", "verdicts", "replies", "actions", "errors", "dropped", "incomplete")}

    def exactly(self, **figures):
        return {"compared": 0, "same": 0, "verdicts": 0, "replies": 0, "actions": 0, "errors": 0, "dropped": 0, "incomplete": 0, **figures}


class Life(Shadow):
    def test_start_and_stop(self):
        mux = self.start()
        self.assertEqual(mux.call("shadow")["error"], "no shadow was started")
        self.assertEqual(mux.call("shadow_stop")["error"], "no shadow runs")
        self.assertIsNone(mux.status()["shadow"])
        filter_path = mux.folder.write("shadow.lua", HOOKS)
        self.assertEqual(mux.call("shadow_start", filter=filter_path)["data"], {"generation": 2})
        data = mux.call("shadow")["data"]
        self.assertEqual((data["filter"], data["generation"], data["is_running"], data["error"]), (filter_path, 2, True, None))
        self.assertEqual(mux.status()["generation"], 1, "the one in service stays")
        self.assertEqual({row["generation"]: row["state"] for row in mux.status()["generations"]}, {1: "current", 2: "shadow"})
        self.assertTrue(mux.call("shadow_stop")["ok"])
        mux.wait(lambda: [row["generation"] for row in mux.status()["generations"]] == [1], "the shadow to be gone")
        self.assertFalse(mux.call("shadow")["data"]["is_running"])

    def test_arguments(self):
        mux = self.start()
        for bad in ({}, {"filter": 3}, {"filter": "relative.lua"}, {"filter": ""}, {"filter": "/a\nb"}, {"file": "/x"}):
            with self.subTest(bad):
                self.assertFalse(mux.call("shadow_start", **bad)["ok"])

    def test_what_does_not_load(self):
        mux = self.start()
        for text, reason in (("load fail", "load failed"), ("load die", "exit status 6"), ("init fail", "init failed")):
            with self.subTest(text):
                path = mux.folder.write("shadow.lua", HOOKS + text + "\n")
                self.assertIn(reason, mux.call("shadow_start", filter=path)["error"])
                self.assertIn(reason, mux.call("shadow")["data"]["error"])
        self.assertEqual((mux.status()["generation"], mux.status()["filter_error"]), (1, None))
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1")), "OK")

    def test_a_second_one_takes_its_place(self):
        mux = self.begin()
        self.client(mux).ask(uid="ok.1")
        self.figures(mux, 1)
        self.assertEqual(mux.call("shadow_start", filter=self.filter)["data"], {"generation": 3})
        self.assertEqual(self.figures(mux, 0), self.exactly())

    def test_it_stays_over_a_reload(self):
        mux = self.begin()
        self.assertEqual(mux.call("reload")["data"], {"generation": 3})
        self.assertEqual(self.client(mux).ask(uid="ok.1")["generation"], 3)
        self.assertEqual(self.figures(mux, 1), self.exactly(compared=1, same=1))

    def test_lost_nursery(self):
        mux = self.begin()
        path = f"/proc/{mux.process.pid}/task/{mux.process.pid}/children"
        with open(path, encoding="ascii") as file:
            children = {int(pid) for pid in file.read().split()} - {row["pid"] for row in mux.workers()}
        os.kill(max(children), signal.SIGKILL)
        mux.wait(lambda: not mux.call("shadow")["data"]["is_running"], "the shadow to be given up")
        self.assertIn("its nursery ended", mux.call("shadow")["data"]["error"])
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1")), "OK")

    def test_its_workers_are_not_the_pool_s(self):
        mux = self.begin()
        mux.wait_for_idle(2)
        self.assertEqual((mux.status()["workers"]["total"], mux.status()["workers"]["idle"]), (2, 2))
        self.assertIn('postern_workers{state="idle"} 2\n', mux.call("metrics")["data"]["text"])

    def test_stop_in_the_middle(self):
        mux = self.begin(HOOKS + "always sleep=300\n")
        clients = self.clients(mux, 3)
        for n, client in enumerate(clients):
            client.start(uid=f"sleep=200.{n}", conn_id=f"c{n}".encode())
        mux.call("shadow_stop")
        self.assertEqual([outcome(client.wait()) for client in clients], ["OK"] * 3)

    def test_its_processes_come_after_the_others(self):
        mux = self.begin()
        ours = os.getpriority(os.PRIO_PROCESS, mux.process.pid)
        for row in mux.workers():
            self.assertEqual(os.getpriority(os.PRIO_PROCESS, row["pid"]), min(ours + 10, 19) if row["generation"] == 2 else ours)


class Comparison(Shadow):
    def test_the_same(self):
        mux = self.begin()
        client = self.client(mux)
        for n in range(20):
            reply = client.ask(uid=f"ok.{n}", conn_id=f"c{n}".encode())
            self.assertEqual((outcome(reply), reply["generation"]), ("OK", 1))
        self.assertEqual(self.figures(mux, 20), self.exactly(compared=20, same=20))
        self.assertEqual(mux.call("shadow")["data"]["samples"], [])

    def test_verdicts(self):
        mux = self.begin(HOOKS + "always verdict=1\n", {"multiplexor.shadow_samples": 3})
        client = self.client(mux)
        for n in range(12):
            reply = client.ask(uid=f"verdict={n % 2}.{n}", conn_id=f"c{n}".encode(), queue_id=b"Q%d" % n)
            self.assertEqual(verdict(reply), ("CONTINUE", "ACCEPT")[n % 2], "the answer is the live one's")
        self.assertEqual(self.figures(mux, 12), self.exactly(compared=12, same=6, verdicts=6))
        samples = mux.call("shadow")["data"]["samples"]
        self.assertEqual([(s["uid"], s["queue_id"], s["hook"]) for s in samples],
                         [(f"verdict=0.{n}", f"Q{n}", "filter_message") for n in (10, 8, 6)], "the newest")
        self.assertEqual((samples[0]["live"]["verdict"], samples[0]["shadow"]["verdict"]), ("continue", "accept"))

    def test_errors_and_deaths(self):
        for deed, n_errors in (("outcome=1", 4), ("exit", 4), ("garbage", 4)):
            with self.subTest(deed):
                mux = self.begin(HOOKS + f"always {deed}\n", {"multiplexor.respawn_min": "10ms"})
                client = self.client(mux)
                for n in range(4):
                    reply = client.ask(uid=f"ok.{n}", conn_id=f"c{n}".encode())
                    self.assertEqual((outcome(reply), reply["attempt"]), ("OK", 1))
                    self.assertEqual(self.figures(mux, n + 1)["errors"], n + 1)
                self.assertEqual(self.figures(mux, 4)["errors"], n_errors)
                status = mux.status()
                self.assertEqual((status["recycles"]["died"], status["counters"]["start_failures"], status["retries"]), (0, 0, 0))
                self.assertEqual((status["requests"]["total"], status["outcomes"]["ok"]), (4, 4), "only mail counts")

    def test_actions_in_an_annex(self):
        mux = self.begin(HOOKS + "always annex\n")
        client = self.client(mux)
        client.ask(uid="ok.1", conn_id=b"c1")
        reply = client.ask(uid="annex.2", conn_id=b"c2")
        self.assertEqual(outcome(reply), "OK")
        self.assertEqual(self.figures(mux, 2), self.exactly(compared=2, same=1, actions=1))

    def test_hook_that_only_one_has(self):
        mux = self.begin("hooks filter_message filter_helo\n")
        client = self.client(mux)
        self.assertEqual(mux.call("shadow")["data"]["missed_hooks"], ["filter_helo"])
        client.ask("RELAY", uid="")
        client.ask(uid="ok.1")
        self.assertEqual(self.figures(mux, 2), self.exactly(compared=2, same=2), "having no hook is to go on")

    def test_live_answers_without_a_filter_are_not_compared(self):
        mux = self.begin(options={"multiplexor.min_workers": 1, "multiplexor.max_workers": 1, "multiplexor.queue_size": 0})
        first, second = self.clients(mux, 2)
        first.start(uid="sleep=400.1", conn_id=b"c1")
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        self.assertEqual(outcome(second.ask(uid="ok.2", conn_id=b"c2")), "OVERLOAD")
        first.wait()
        self.assertEqual(self.figures(mux, 1), self.exactly(compared=1, same=1))

    def test_what_it_has_not_seen_from_the_start(self):
        mux = self.begin()
        client = self.client(mux)
        client.ask(uid="ok.1", conn_id=b"c1", flags=0)                                      # a message that was begun before
        client.ask(uid="ok.2", conn_id=b"c1")                                               # the next one is fine
        client.ask(uid="ok.3", conn_id=b"c2", flags=wire.REQUEST_FLAG["NEW_MESSAGE"] | 1)   # a connection whose state it lacks
        client.ask(uid="ok.4", conn_id=b"c2")
        client.ask(uid="ok.5", conn_id=b"c3", attempt=2)                                    # asked again after a fault
        self.assertEqual(self.figures(mux, 1), self.exactly(compared=1, same=1, incomplete=4))


class Waiting(Shadow):
    def test_it_delays_nobody(self):
        mux = self.begin(HOOKS + "always hang\n", {"multiplexor.shadow_queue": 5})
        client = self.client(mux)
        began = time.monotonic()
        for n in range(30):
            reply = client.ask(uid=f"ok.{n}", conn_id=f"c{n}".encode(), budget_ms=60000, parcel=self.parcel)
            self.assertEqual(outcome(reply), "OK")
        self.assertLess(time.monotonic() - began, 30)
        figures = self.figures(mux, 0)
        self.assertEqual((figures["compared"], figures["dropped"]), (0, 25))

    def test_cut_off_with_the_budget(self):
        mux = self.begin(HOOKS + "always hang\n")
        client = self.client(mux)
        self.assertEqual(outcome(client.ask(uid="ok.1", budget_ms=1500)), "OK")
        self.assertEqual(self.figures(mux, 1)["errors"], 1)
        self.assertEqual(mux.status()["recycles"]["deadline"], 0)

    def test_the_parcel_is_held_while_it_reads(self):
        mux = self.begin(HOOKS + "always sleep=800\n")
        client = self.client(mux)
        reply = client.ask(uid="ok.1", conn_id=b"c1", parcel=self.parcel)
        self.assertEqual(reply["flags"] & HELD, HELD)
        reply = client.ask(uid="ok.2", conn_id=b"c2")
        self.assertEqual(reply["flags"] & HELD, 0, "without a parcel there is none to hold")
        self.figures(mux, 2)
        reply = client.ask(uid="sleep=2500.3", conn_id=b"c3", parcel=self.parcel)
        self.assertEqual(reply["flags"] & HELD, 0, "the shadow was through before")

    def test_memory_is_bounded(self):
        mux = self.begin(options={"multiplexor.shadow_memory": "64K"})
        client = self.client(mux)
        for n in range(300):
            client.ask("RELAY", uid="", conn_id=f"c{n}".encode())
            self.assertLessEqual(mux.call("shadow")["data"]["bytes"], 65536) if n % 50 == 0 else None
        data = mux.call("shadow")["data"]
        self.assertLessEqual(data["bytes"], 65536)
        self.assertGreater(data["dropped"], 0)

    def test_connections_that_end_are_forgotten(self):
        mux = self.begin()
        client = self.client(mux)
        for n in range(20):
            client.ask("RELAY", uid="", conn_id=f"c{n}".encode())
            client.ask("CLOSE", uid="", conn_id=f"c{n}".encode())
        self.figures(mux, 40)
        mux.wait(lambda: mux.call("shadow")["data"]["bytes"] == 0, "all to be forgotten")

    def test_workers_that_are_killed(self):
        mux = self.begin(HOOKS + "always sleep=20\n", {"multiplexor.respawn_min": "10ms"})
        client = self.client(mux)
        for n in range(30):
            self.assertEqual(outcome(client.ask(uid=f"ok.{n}", conn_id=f"c{n}".encode(), parcel=self.parcel)), "OK")
            if n % 5 == 0:
                for row in self.rows(mux):
                    with contextlib.suppress(ProcessLookupError):  # one that was killed before may be listed still
                        os.kill(row["pid"], signal.SIGKILL)
        def all_accounted():
            figures = self.figures(mux, 0)
            return figures["compared"] + figures["dropped"] == 30
        mux.wait(all_accounted, lambda: f"30 of {mux.call('shadow')}")
        self.assertEqual(mux.status()["recycles"]["died"], 0)


if __name__ == "__main__":
    unittest.main()
