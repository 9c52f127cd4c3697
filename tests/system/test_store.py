"""postern.store through the real programs, with the sandbox on: all workers share it, and the death of any loses nothing that was answered."""

import os
import re
import signal
import sqlite3
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import SystemTest  # noqa: E402
from harness.process import SANITIZE, Folder, scaled, wait_until  # noqa: E402

COUNTING = """
local store = require "postern.store"
function filter_message(msg)
    for i = 1, 20 do assert(store.incr("filler:" .. i % 5, 1, 3600)) end
    local list = assert(store.update("pair", function(pair) pair = pair or { 0, 0 } return { pair[1] + 1, pair[2] + 1 } end))
    assert(list[1] == list[2])
    return reject("number " .. assert(store.incr("answers")) .. " of " .. msg.attempt)
end
"""
WORKERS = 4
MAILS = scaled(120, 40)
KILLS = scaled(12, 4)


class Store(SystemTest):
    def start_store(self, text, options=None):
        self.home = Folder("store")
        self.addCleanup(self.home.remove)
        self.state = self.home("state")
        os.mkdir(self.state)
        sandbox = {} if SANITIZE else {"worker.sandbox": "required"}
        return self.start(text, {"worker.state_dir": self.state, "multiplexor.min_workers": WORKERS, "multiplexor.max_workers": WORKERS,
                                 "milterd.stage_time": "20s", **sandbox, **(options or {})}, folder=self.home)

    def read(self, sql):
        db = sqlite3.connect(f"file:{self.state}/store.db?mode=ro", uri=True)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def send(self, n, answers):
        with self.client(60) as client:
            client.start()
            for _ in range(n):
                answers.append(client.message(headers=[("Subject", " x")]).text or "")

    def load(self, n_clients, n_mails):
        """Answers of so many mails, when all have theirs."""
        answers = []
        threads = [threading.Thread(target=self.send, args=(n_mails // n_clients, answers)) for _ in range(n_clients)]
        for thread in threads:
            thread.start()
        yield answers
        for thread in threads:
            thread.join()

    def kill_one(self, killed):
        busy = [worker for worker in self.postern.workers() if worker["pid"] not in killed]
        if busy:
            victim = busy[len(killed) % len(busy)]["pid"]
            killed.append(victim)
            os.kill(victim, signal.SIGKILL)

    def test_kill_in_the_middle_of_writes(self):
        self.start_store(COUNTING, {"multiplexor.respawn_min": "10ms", "multiplexor.respawn_max": "50ms"})
        killed = []
        for answers in self.load(WORKERS, MAILS):
            for i in range(KILLS):
                least = (i + 1) * MAILS // (KILLS + 2)
                wait_until(lambda least=least: len(answers) >= least, lambda: f"{len(answers)} answers", 60)
                self.kill_one(killed)
        self.assertEqual(len(answers), MAILS)
        numbers = [int(number) for text in answers for number in re.findall(r"number (\d+) of", text)]
        self.assertGreaterEqual(len(numbers), MAILS - 2 * len(killed), answers)
        self.assertEqual(len(set(numbers)), len(numbers), "an answered number was given twice")
        (final,), = self.read("SELECT value FROM entry WHERE key = CAST('answers' AS BLOB)")
        self.assertGreaterEqual(final, max(numbers))
        self.assertLessEqual(final, len(numbers) + len(killed))
        (fillers,), = self.read("SELECT sum(value) FROM entry WHERE key >= CAST('filler:' AS BLOB) AND key < CAST('filler;' AS BLOB)")
        self.assertGreaterEqual(fillers, 20 * len(numbers))
        self.assertLessEqual(fillers, 20 * (len(numbers) + len(killed)))
        self.assertEqual(self.read("PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(os.stat(os.path.join(self.state, "store.db")).st_mode & 0o777, 0o600)

    def test_it_outlives_recycling_reload_and_restart(self):
        text = """
            local store = require "postern.store"
            function filter_message(msg) return reject("number " .. store.incr("n")) end"""
        self.start_store(text, {"multiplexor.recycle_requests": 2})
        answers = []
        self.send(10, answers)
        self.assertTrue(self.postern.reload()["ok"])
        self.send(5, answers)
        self.postern.stop()
        self.start(text, {"worker.state_dir": self.state}, folder=self.home)
        self.send(1, answers)
        self.assertEqual([re.search(r"number (\d+)", text).group(1) for text in answers], [str(i) for i in range(1, 17)])

    def test_without_a_file_there_are_errors_and_no_crash(self):
        self.start_store("""
            local store = require "postern.store"
            function filter_message(msg)
                local value, why = store.get("x")
                local list, why_list = store.keys("")
                return reject(tostring(value) .. ": " .. tostring(why) .. "; " .. tostring(list) .. ": " .. tostring(why_list))
            end""", {"store.path": "/nowhere/postern/store.db"})
        answers = []
        self.send(2, answers)
        for text in answers:
            self.assertIn("nil: the store /nowhere/postern/store.db: unable to open database file; nil: the store", text)
        self.worker_lines("unable to open database file", least=1)

    def test_the_top_level_has_no_store(self):
        self.prepare("require('postern.store').get('x') function filter_message() end")
        code, _, err = self.postern.ctl("check", self.postern.filter)
        self.assertEqual(code, 1)
        self.assertIn("filter.lua:1: the store is not there yet", err + _)


if __name__ == "__main__":
    unittest.main()
