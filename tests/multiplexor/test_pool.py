"""The pool: each cause of recycling, replacement before the old one goes, back-off, stopping."""

import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import HOOKS, PATIENCE, MultiplexorTest
from fakes.record_client import outcome


class Recycling(MultiplexorTest):
    def test_requests(self):
        mux = self.start({"multiplexor.recycle_requests": 5, "multiplexor.min_workers": 1})
        client = self.client(mux)
        pids = []
        for n in range(20):
            pids.append(client.ask(uid=f"ok.{n}")["worker_pid"])
            if n % 5 == 4:
                mux.wait_for_counter("recycles", "requests", value=n // 5 + 1)
        self.assertEqual(len(set(pids)), 4)
        self.assertEqual(mux.status()["recycles"]["died"], 0)

    def test_requests_while_busy_all_the_time(self):
        mux = self.start({"multiplexor.recycle_requests": 20})
        clients = self.clients(mux, 6)
        for n in range(60):
            for client in clients:
                client.start(uid=f"sleep=2.{n}")
            self.assertEqual([(outcome(r), r["attempt"]) for r in (c.wait() for c in clients)], [("OK", 1)] * 6)
        self.assertGreaterEqual(mux.status()["recycles"]["requests"], 6)

    def test_age(self):
        mux = self.start({"multiplexor.recycle_age": "300ms"})
        before = {row["pid"] for row in mux.workers("idle")}
        mux.wait_for_counter("recycles", "age", value=2)
        mux.wait(lambda: not before & {row["pid"] for row in mux.workers()}, "the first workers to be gone")

    def test_idle(self):
        mux = self.start({"multiplexor.recycle_idle": "300ms", "multiplexor.min_workers": 1})
        clients = self.clients(mux, 4)
        for client in clients:
            client.start(uid="sleep=200.1")
        for client in clients:
            client.wait()
        mux.wait_for_counter("recycles", "idle", value=3)
        mux.wait_for_idle(1)

    def test_memory(self):
        mux = self.start({"multiplexor.recycle_memory": "600M" if os.environ.get("POSTERN_SANITIZE") else "64M"})
        client = self.client(mux)
        client.ask(uid="ok.1")
        self.assertEqual(mux.status()["recycles"]["memory"], 0)
        pid = client.ask(uid="grow=700.1", budget_ms=60000)["worker_pid"]
        mux.wait_for_counter("recycles", "memory", value=1)
        mux.wait(lambda: pid not in [row["pid"] for row in mux.workers()], "the large worker to be gone")
        self.assertEqual(outcome(client.ask(uid="ok.1")), "OK")

    def test_heap(self):
        mux = self.start({"multiplexor.recycle_heap": "32M"})
        client = self.client(mux)
        client.ask(uid="heap=31.1")
        self.assertEqual(mux.status()["recycles"]["heap"], 0)
        pid = client.ask(uid="heap=33.1")["worker_pid"]
        mux.wait_for_counter("recycles", "heap", value=1)
        self.assertNotIn(pid, [client.ask(uid="ok.1")["worker_pid"] for _ in range(4)])

    def test_spread(self):
        mux = self.start({"multiplexor.recycle_requests": 20, "multiplexor.recycle_spread": 50, "multiplexor.min_workers": 1,
                          "multiplexor.max_workers": 1})
        client = self.client(mux)
        pids = []
        while len(set(pids)) < 7:
            pids.append(client.ask(uid="ok.1")["worker_pid"])
            mux.wait_for_counter("recycles", "requests", value=len(set(pids)) - 1)
        served = [pids.count(pid) for pid in dict.fromkeys(pids)][:-1]
        self.assertGreaterEqual(min(served), 10)
        self.assertGreater(len(set(served)), 2, served)

    def test_slow_start_of_the_replacement_delays_nothing(self):
        """Workers that take a second to start: whatever is recycled, no request waits for that."""
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.recycle_requests": 30})
        clients = self.clients(mux, 3)
        for client in clients:
            client.start(uid="sleep=300.1")
        for client in clients:
            client.wait()
        mux.wait_for_idle(3)
        mux.set_filter(HOOKS + "init slow\n")
        waited, n, asked = [], 0, mux.call("recycle")["data"]["recycled"]
        while mux.status()["recycles"]["asked"] < asked or mux.status()["recycles"]["requests"] < 3:
            for client in clients:
                client.start(uid=f"sleep=5.{n}")
            waited += [client.wait()["queue_us"] for client in clients]
            n += 1
            self.assertLess(n, 4000)
        self.assertLess(max(waited), 700_000, "microseconds in the queue")
        self.assertEqual(mux.status()["recycles"]["died"], 0)

    def test_asked_for_one(self):
        mux = self.start()
        mux.wait_for_idle(2)
        pid = mux.workers("idle")[0]["pid"]
        self.assertEqual(mux.call("recycle", pid=pid)["data"], {"recycled": 1})
        mux.wait(lambda: pid not in [row["pid"] for row in mux.workers()], "it to be replaced")
        mux.wait_for_idle(2)
        self.assertEqual(mux.status()["recycles"]["asked"], 1)
        for pid in (1, 0, -1):
            self.assertFalse(mux.call("recycle", pid=pid)["ok"])

    def test_asked_for_all_under_load(self):
        mux = self.start()
        clients = self.clients(mux, 4)
        for _ in range(5):
            for client in clients:
                client.start(uid="sleep=20.1")
            self.assertTrue(mux.call("recycle")["ok"])
            self.assertEqual([(outcome(r), r["attempt"]) for r in (c.wait() for c in clients)], [("OK", 1)] * 4)

    def test_replacement_comes_first(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.max_workers": 1})
        mux.set_filter(HOOKS + "init hang\n")  # the replacement will not be ready
        client = self.client(mux)
        pid = client.ask(uid="ok.1")["worker_pid"]
        mux.call("recycle")
        mux.wait(lambda: mux.status()["workers"]["starting"] == 1, "the replacement to start")
        self.assertEqual(client.ask(uid="ok.2")["worker_pid"], pid, "the old one serves on")
        self.assertEqual(mux.status()["workers"]["idle"], 1)

    def test_worker_that_does_not_quit_is_killed(self):
        mux = self.start({"multiplexor.exit_time": "200ms"}, filter_text=HOOKS + "quit hang\n")
        mux.wait_for_idle(2)
        old = {row["pid"] for row in mux.workers()}
        mux.call("recycle")
        mux.wait(lambda: not old & {row["pid"] for row in mux.workers()}, "both to be gone")
        self.assertIn("did not end within exit_time", mux.log())


class Scale(MultiplexorTest):
    def test_up_and_down(self):
        mux = self.start()
        self.assertEqual(mux.call("scale", min=5, max=6)["data"], {"min": 5, "max": 6})
        mux.wait_for_idle(5)
        self.assertTrue(mux.call("scale", min=1, max=2)["ok"])
        mux.wait_for_idle(2)
        for arguments in ({"min": 3, "max": 2}, {"min": 0, "max": 2}, {"min": 1, "max": 1001}):
            self.assertFalse(mux.call("scale", **arguments)["ok"])
        self.assertEqual((mux.status()["workers"]["min"], mux.status()["workers"]["max"]), (1, 2))


    def test_ahead_of_the_load(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.scale_load": 40, "multiplexor.scale_window": "500ms",
                          "multiplexor.recycle_idle": "1s"})
        client = self.client(mux)
        client.start(uid=f"sleep={6000 * PATIENCE}.1", budget_ms=60000)
        mux.wait(lambda: mux.status()["workers"]["target"] == 3, "the target to follow one busy worker")
        mux.wait_for_idle(2)
        client.close()
        mux.wait(lambda: mux.status()["workers"]["target"] == 1, "the target to fall", 10 + 6 * PATIENCE)
        mux.wait(lambda: mux.status()["workers"]["total"] == 1, "the others to end")

    def test_one_for_so_many_waiting_requests(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.scale_queue": 3})
        clients = self.clients(mux, 5)
        for client in clients:
            client.start(uid="sleep=1000.1")
        mux.wait_for_counter("counters", "forks", value=3)
        self.assertEqual([outcome(client.wait()) for client in clients], ["OK"] * 5)
        self.assertEqual(mux.status()["counters"]["forks"], 3, "one at first, one when four waited, one when three still did")


class BackOff(MultiplexorTest):
    def test_workers_that_die_before_their_first_answer(self):
        mux = self.start({"multiplexor.respawn_min": "100ms", "multiplexor.respawn_max": "60s", "multiplexor.min_workers": 1,
                          "multiplexor.max_workers": 1})
        client = self.client(mux)
        self.assertIsNone(mux.status()["throttle"])
        began = time.monotonic()
        for _ in range(2):
            self.assertEqual(outcome(client.ask(uid="exit.1", budget_ms=20000)), "POISON")
        self.assertGreater(time.monotonic() - began, 0.1 + 0.2 + 0.4)
        throttle = mux.status()["throttle"]
        self.assertEqual((throttle["generation"], throttle["failures"], throttle["pause_ms"]), (1, 0, 800))
        self.assertIn("before its first answer", throttle["error"])
        self.assertEqual(outcome(client.ask(uid="exit.2", budget_ms=20000)), "POISON")
        self.assertEqual(mux.status()["throttle"]["pause_ms"], 1000, "at most ten times respawn_min")
        self.assertEqual(outcome(client.ask(uid="ok.1")), "OK")
        self.assertIsNone(mux.status()["throttle"])
        self.assertEqual(outcome(client.ask(uid="exit.2")), "POISON")
        self.assertEqual(mux.status()["throttle"]["pause_ms"], 100, "the first death came after an answer")

    def test_workers_that_die_at_their_start(self):
        mux = self.start({"multiplexor.respawn_min": "50ms", "multiplexor.respawn_max": "200ms"})
        mux.wait_for_idle(2)
        mux.set_filter(HOOKS + "init die\n")
        killed = {row["pid"] for row in mux.workers()}
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        # A worker that is just being killed may still take a request with it; two of them would make a poison of it.
        mux.wait(lambda: not killed & {row["pid"] for row in mux.workers()}, "the killed workers to be gone")
        began, forks = time.monotonic(), mux.status()["counters"]["forks"]
        client = self.client(mux)
        self.assertEqual(outcome(client.ask(uid="ok.1", budget_ms=8000 * PATIENCE)), "NOBODY", "nobody waits for workers that do not start")
        mux.wait_for_counter("counters", "start_failures", value=6)
        seconds = time.monotonic() - began
        self.assertLess(mux.status()["counters"]["forks"] - forks, 2 * (seconds / 0.2 + 8))
        self.assertEqual(outcome(client.ask(uid="ok.2")), "NOBODY")
        mux.wait(lambda: mux.status()["throttle"]["pause_ms"] == 200, "the longest pause")
        throttle = mux.status()["throttle"]
        self.assertEqual(throttle["generation"], 1)
        self.assertGreaterEqual(throttle["failures"], 4)
        self.assertIn("exit status 8", throttle["error"])
        mux.set_filter(HOOKS)
        mux.wait_for_idle(2)
        self.assertEqual(outcome(client.ask(uid="ok.3")), "OK")
        self.assertIsNone(mux.status()["throttle"])

    def test_worker_that_is_never_ready(self):
        mux = self.start({"multiplexor.load_time": "300ms", "multiplexor.min_workers": 1})
        mux.set_filter(HOOKS + "init hang\n")
        mux.call("scale", min=2, max=2)
        mux.wait_for_counter("counters", "start_failures", value=1)
        mux.set_filter(HOOKS)
        mux.wait_for_idle(2)


class Drain(MultiplexorTest):
    def test_running_messages_end_and_new_ones_are_turned_away(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.max_workers": 1, "multiplexor.on_overload": "accept"})
        old, other, running, waiting = self.clients(mux, 4)
        old.ask("RECIPIENT", uid="ok.1")
        running.start(uid="sleep=500.2")
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        waiting.start(uid="ok.3")
        mux.wait(lambda: mux.status()["queue"]["length"] == 1, "one waiting")
        self.assertEqual(mux.call("drain")["data"], {"is_draining": True, "running": 1, "queued": 1})
        for hook in ("RELAY", "RECIPIENT", "MESSAGE", "HELO"):
            reply = other.ask(hook, uid="ok.4")
            self.assertEqual((outcome(reply), reply["worker_pid"]), ("DRAIN", 0), hook)
            self.assertEqual((reply["code"], reply["dsn"]), (451, b"4.3.2"), "whatever on_overload says")
        self.assertEqual([outcome(running.wait()), outcome(waiting.wait())], ["OK", "OK"])
        self.assertEqual(outcome(old.ask("MESSAGE", uid="ok.1", flags=0)), "OK", "it has begun")
        self.assertEqual(outcome(old.ask("CLOSE", uid="ok.1")), "OK")
        self.assertEqual(outcome(old.ask("UNKNOWN", uid="", flags=0)), "OK")
        status = mux.status()
        self.assertEqual((status["is_draining"], status["outcomes"]["drain"]), (True, 4))
        self.assertTrue(mux.call("reload")["ok"])
        self.assertEqual(outcome(other.ask(uid="ok.5")), "DRAIN", "a reload changes nothing about it")
        self.assertFalse(mux.call("resume")["data"]["is_draining"])
        self.assertEqual(outcome(other.ask(uid="ok.6")), "OK")
        for line in ("draining: new messages are turned away until resume", "resumed: new messages are taken again"):
            self.assertEqual(mux.log().count(line), 1)


class Stop(MultiplexorTest):
    def test_drain(self):
        mux = self.start({"multiplexor.min_workers": 1, "multiplexor.max_workers": 1})
        running, queued, idle = self.clients(mux, 3)
        running.start(uid="sleep=500.1")
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        queued.start(uid="ok.2")
        mux.wait(lambda: mux.status()["queue"]["length"] == 1, "one waiting")
        mux.process.kill(signal.SIGTERM)
        self.assertEqual(outcome(queued.wait()), "NOBODY")
        self.assertEqual(outcome(idle.ask(uid="ok.3")), "NOBODY")
        self.assertEqual(outcome(running.wait()), "OK")
        mux.stop()

    def test_drain_time_bounds_it(self):
        mux = self.start({"multiplexor.drain_time": "300ms"})
        client = self.client(mux)
        client.start(uid="hang.1", budget_ms=60000)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        mux.process.kill(signal.SIGTERM)
        self.assertEqual(outcome(client.wait()), "NOBODY")
        mux.stop()

    def test_second_signal_ends_at_once(self):
        mux = self.start({"multiplexor.drain_time": "60s"}, filter_text=HOOKS + "quit hang\n")
        client = self.client(mux)
        client.start(uid="hang.1", budget_ms=60000)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        mux.process.kill(signal.SIGINT)
        mux.process.wait_for_line("stopping: ")
        mux.process.kill(signal.SIGINT)
        self.assertEqual(outcome(client.wait()), "NOBODY")
        self.assertEqual(mux.process.popen.wait(10 * PATIENCE), 0)

    def test_signals_until_the_end(self):
        for _ in range(5):
            mux = self.start()
            mux.wait(lambda: mux.status()["workers"]["idle"] > 0, "a worker")
            while mux.process.popen.poll() is None:
                mux.process.kill(signal.SIGTERM)
            self.assertEqual(mux.process.popen.returncode, 0, mux.log())

    def test_nothing_is_left_when_it_is_killed(self):
        mux = self.start()
        client = self.client(mux)
        client.start(uid="hang.1", budget_ms=60000)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        pids = [row["pid"] for row in mux.workers()]
        mux.process.stop(signal.SIGKILL)
        def alive(pid):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    return file.read().rsplit(")", 1)[1].split()[0] != "Z"
            except OSError:
                return False
        from fixture import processes_of, wait_until  # pylint: disable=import-outside-toplevel
        wait_until(lambda: not any(map(alive, pids)), "the workers to end")
        wait_until(lambda: not processes_of(mux.folder.path), "every process to end")
        mux.start()  # over the stale sockets


if __name__ == "__main__":
    unittest.main()
