"""Loads and generations: what fails changes nothing; messages stay with the filter they began with, or are told to come again."""

import os
import signal
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import HOOKS, PATIENCE, MultiplexorTest
from fakes import postern_wire as wire
from fakes.record_client import outcome, verdict

ONLY_MESSAGE = "hooks filter_message\n"
WITH_HEADER = "hooks filter_message filter_header\n"


class Loads(MultiplexorTest):
    def test_reload(self):
        mux = self.start()
        self.assertEqual(mux.call("reload")["data"], {"generation": 2})
        self.assertEqual(self.client(mux).ask(uid="ok.1")["generation"], 2)
        self.assertEqual(mux.status()["filter_error"], None)

    def test_signal(self):
        mux = self.start()
        mux.process.kill(signal.SIGHUP)
        mux.wait_for_generation(2)

    def test_what_fails_changes_nothing(self):
        mux = self.start({"multiplexor.load_time": f"{PATIENCE}s"})
        client = self.client(mux)
        for text, reason in (("load fail", "filter.lua:3: load failed"), ("load die", "exit status 6"), ("load hang", "load_time"),
                             ("init fail", "filter.lua:7: init failed"), ("init die", "exit status 8"), ("init hang", "load_time"),
                             ("load version", "nursery")):
            with self.subTest(text):
                mux.set_filter(HOOKS + text + "\n")
                answer = mux.call("reload")
                self.assertFalse(answer["ok"])
                self.assertIn(reason, answer["error"])
                status = mux.status()
                self.assertEqual((status["generation"], status["filter_error"]), (1, answer["error"]))
                self.assertIn(answer["error"], mux.log())
                mux.set_filter(HOOKS)
                reply = client.ask(uid="ok.1")
                self.assertEqual((outcome(reply), reply["generation"]), ("OK", 1))
        mux.wait(lambda: len(mux.status()["generations"]) == 1, "the failed ones to be gone")
        self.assertTrue(mux.call("reload")["ok"])
        self.assertIsNone(mux.status()["filter_error"])

    def test_bad_configuration_changes_nothing(self):
        mux = self.start()
        mux.folder.write("postern.conf", "[multiplexor]\nmin_wokers = 3\n")
        answer = mux.call("reload")
        self.assertFalse(answer["ok"])
        self.assertIn("min_wokers", answer["error"])
        self.assertEqual((mux.status()["generation"], mux.status()["filter_error"]), (1, answer["error"]))
        mux.folder.write("postern.conf", "[multiplexor]\nqueue_size = 77\nmax_clients = 3\n")
        self.assertTrue(mux.call("reload")["ok"])
        options = mux.call("config")["data"]["options"]
        self.assertEqual((options["multiplexor.queue_size"], options["multiplexor.max_clients"]), ("77", "2000"))
        self.assertIn("multiplexor.max_clients changes", mux.log())

    def test_first_start_with_a_broken_filter(self):
        mux = self.start({"multiplexor.respawn_min": "30s"}, filter_text=HOOKS + "load fail\n", wait=False)
        mux.wait(lambda: mux.status()["filter_error"], "the error")
        client, watcher = self.client(mux), self.watcher(mux)
        self.assertEqual(watcher.needs["generation"], 0)
        reply = client.ask(uid="ok.1")
        self.assertEqual((outcome(reply), verdict(reply), reply["code"]), ("NOBODY", "TEMPFAIL", 451))
        mux.set_filter(HOOKS)
        self.assertEqual(mux.call("reload")["data"], {"generation": 2})
        self.assertEqual(outcome(client.ask(uid="ok.1")), "OK")
        watcher.wait_for_generation(2)

    def test_first_start_is_tried_again(self):
        """What failed may have been the system: nobody has to ask."""
        mux = self.start(filter_text=HOOKS + "load fail\n", wait=False)
        mux.wait(lambda: mux.status()["counters"]["load_failures"] > 1, "a second try")
        mux.set_filter(HOOKS)
        mux.wait(lambda: mux.status()["generation"], "the filter to load")
        self.assertEqual(outcome(self.client(mux).ask(uid="ok.1")), "OK")

    def test_worker_program_that_is_not_there(self):
        mux = self.start(program="/nonexistent/postern-worker", wait=False)
        mux.wait(lambda: mux.status()["filter_error"], "the error")
        self.assertIn("71", mux.status()["filter_error"])
        self.assertIn("cannot run /nonexistent/postern-worker", mux.log())

    def test_requests_before_the_first_load_wait(self):
        mux = self.start({"multiplexor.load_time": "500ms"}, filter_text=HOOKS + "load hang\n", wait=False)
        client = self.client(mux)
        self.assertEqual(outcome(client.ask(uid="ok.1")), "NOBODY")
        mux.set_filter(HOOKS)
        self.assertTrue(mux.call("reload")["ok"])
        self.assertEqual(outcome(client.ask(uid="ok.2")), "OK")

    def test_many_reloads_at_once(self):
        mux = self.start()
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(mux.call("reload"))) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(all(answer["ok"] for answer in answers), answers)
        newest = max(answer["data"]["generation"] for answer in answers)
        self.assertLessEqual(newest, 11)
        self.assertEqual(mux.status()["generation"], newest)

    def test_newer_reload_takes_the_place_of_one_that_hangs(self):
        mux = self.start({"multiplexor.load_time": "60s"})
        mux.set_filter(HOOKS + "load hang\n")
        with mux.control() as first:
            first.send_line(b'{"v":1,"command":"reload"}')
            mux.wait(lambda: mux.status()["is_loading"], "the load")
            mux.set_filter(HOOKS)
            began = time.monotonic()
            self.assertTrue(mux.call("reload")["ok"])
            self.assertLess(time.monotonic() - began, 15 * PATIENCE)
            self.assertTrue(first.answer()["ok"], "whoever waited for the old one gets the new one's end")

    def test_nursery_killed(self):
        mux = self.start({"multiplexor.respawn_min": "50ms"})
        client = self.client(mux)
        mux.wait_for_idle(2)
        workers = {row["pid"] for row in mux.workers()}
        children = set()
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                        if int(file.read().rsplit(")", 1)[1].split()[1]) == mux.process.pid:
                            children.add(int(name))
                except OSError:
                    pass
        (nursery,) = children - workers
        os.kill(nursery, signal.SIGKILL)
        self.assertEqual(outcome(client.ask(uid="ok.1")), "OK")
        mux.wait_for_generation(2)
        self.assertIn("lost its nursery: its nursery ended: signal 9 (SIGKILL)", mux.log())

    def test_reloads_under_load(self):
        mux = self.start({"log.level": "info"})
        clients = self.clients(mux, 6)
        wanted = 0
        for _ in range(8):
            with mux.control() as control:
                control.send_line(b'{"v":1,"command":"reload"}')
                for n in range(40):
                    for client in clients:
                        client.start(uid=f"ok.{n}")
                    replies = [client.wait() for client in clients]
                    self.assertEqual([(outcome(r), r["attempt"]) for r in replies], [("OK", 1)] * len(clients))
                    wanted += len(clients)
                self.assertTrue(control.answer()["ok"])
        self.assertEqual(mux.status()["requests"]["total"], wanted)
        self.assertEqual(mux.status()["recycles"]["died"], 0)


class Generations(MultiplexorTest):
    def test_message_stays_with_its_generation(self):
        mux = self.start()
        watcher, client = self.watcher(mux), self.client(mux)
        self.assertEqual(watcher.needs["generation"], 1)
        mux.call("reload")
        watcher.wait_for_generation(2)
        self.assertEqual(client.ask(uid="ok.1", generation=1)["generation"], 1)
        self.assertEqual(client.ask(uid="ok.1", generation=0)["generation"], 2)
        # All its workers gone, one can still be had.
        for row in mux.workers():
            if row["generation"] == 1:
                os.kill(row["pid"], signal.SIGKILL)
        self.assertEqual((outcome(reply := client.ask(uid="ok.1", generation=1)), reply["generation"]), ("OK", 1))

    def test_release(self):
        mux = self.start()
        first, second, client = self.watcher(mux), self.watcher(mux), self.client(mux)
        mux.call("reload")
        first.wait_for_generation(2)
        first.release(1)
        self.assertEqual(client.ask(uid="ok.1", generation=1)["generation"], 1, "the other one holds it")
        client.start(uid="sleep=400.1", generation=1)
        mux.wait(lambda: mux.status()["workers"]["busy"] == 1, "one busy worker")
        second.release(1)
        reply = client.wait()
        self.assertEqual((outcome(reply), reply["generation"]), ("OK", 1), "what runs is not cut off")
        mux.wait(lambda: [g["generation"] for g in mux.status()["generations"]] == [2], "generation 1 to be gone")
        self.assertEqual(client.ask(uid="ok.1", generation=1)["generation"], 2, "a message of a gone one goes on with the current one")

    def test_watcher_that_leaves_releases(self):
        mux = self.start()
        stays, leaves = self.watcher(mux), self.watcher(mux)
        mux.call("reload")
        stays.wait_for_generation(2)
        stays.release(1)
        self.assertEqual(len(mux.status()["generations"]), 2)
        leaves.close()
        mux.wait(lambda: len(mux.status()["generations"]) == 1, "generation 1 to be gone")

    def test_current_generation_cannot_be_released(self):
        mux = self.start()
        watcher = self.watcher(mux)
        watcher.release(1)
        watcher.release(99)
        mux.call("reload")
        watcher.wait_for_generation(2)
        self.assertEqual(self.client(mux).ask(uid="ok.1", generation=1)["generation"], 1)

    def test_without_watchers_it_goes_after_a_while(self):
        mux = self.start()
        mux.call("reload")
        mux.wait(lambda: len(mux.status()["generations"]) == 1, "generation 1 to be gone", 15)

    def test_linger_time_bounds_it(self):
        mux = self.start({"multiplexor.generation_linger": "300ms"})
        watcher = self.watcher(mux)
        mux.call("reload")
        watcher.wait_for_generation(2)
        mux.wait(lambda: len(mux.status()["generations"]) == 1, "generation 1 to be gone")
        self.assertEqual(self.client(mux).ask(uid="ok.1", generation=1)["generation"], 2)

    def test_needs_are_pushed(self):
        mux = self.start(filter_text=ONLY_MESSAGE)
        watcher = self.watcher(mux)
        before = dict(watcher.needs)
        mux.set_filter(WITH_HEADER)
        mux.call("reload")
        after = dict(watcher.wait_for_generation(2))
        self.assertNotEqual(before["current_answers"], after["current_answers"])
        self.assertEqual(after["union_answers"], after["current_answers"] | before["current_answers"])
        watcher.release(1)
        client = self.client(mux)
        wire.send(client.sock, "ASK_NEEDS", {})
        self.assertEqual(wire.receive(client.sock, 5 * PATIENCE)["generation"], 2)

    def test_hook_never_runs_on_stages_that_were_not_negotiated(self):
        mux = self.start(filter_text=ONLY_MESSAGE)
        watcher, client = self.watcher(mux), self.client(mux)
        had = {"negotiated_sees": watcher.needs["union_sees"], "negotiated_answers": watcher.needs["union_answers"]}
        mux.set_filter(WITH_HEADER)
        mux.call("reload")
        watcher.wait_for_generation(2)
        reply = client.ask(uid="ok.1", **had)
        self.assertEqual((outcome(reply), reply["generation"]), ("OK", 1), "the living older one fits")
        self.assertEqual(outcome(client.ask(uid="ok.1", generation=2, **had)), "RENEGOTIATE")
        watcher.release(1)
        mux.wait(lambda: len(mux.status()["generations"]) == 1, "generation 1 to be gone")
        for generation in (0, 1):
            reply = client.ask(uid="ok.1", generation=generation, **had)
            self.assertEqual((outcome(reply), verdict(reply), reply["code"], reply["dsn"]), ("RENEGOTIATE", "TEMPFAIL", 421, b"4.3.2"))
        self.assertEqual(outcome(client.ask(uid="ok.1")), "OK")

    def test_too_many_generations(self):
        mux = self.start({"multiplexor.min_workers": 1, "log.level": "info"})
        self.watcher(mux)
        for _ in range(20):
            self.assertTrue(mux.call("reload")["ok"])
        mux.wait(lambda: len(mux.status()["generations"]) <= 17, "the oldest to be gone")
        self.assertIn("retires early", mux.log())


if __name__ == "__main__":
    unittest.main()
