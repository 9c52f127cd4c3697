"""filter_tick with real workers: at its interval, behind mail, never twice at the same time, never again after a death; reload."""

import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import MultiplexorTest
from harness.process import BIN
from openmetrics import parse, value

FILTER = """
local async, log = require "postern.async", require "postern.log"
local ticks = require "postern.metrics".counter("ticks")
function filter_tick(name)
    log.info("ticking %s", name)
    ticks:inc(1, { name = name })
    if name == "error" then error("oops") end
    if name == "spin" then while true do end end
    if name:sub(1, 5) == "sleep" then async.sleep(60) end
end
function filter_helo(conn) return accept() end
function filter_unknown(conn, command) async.sleep(tonumber(command)) end
"""


class Ticks(MultiplexorTest):
    def begin(self, ticks, text=FILTER, **options):
        return self.start({"multiplexor.worker_program": os.path.join(BIN, "postern-worker"), "multiplexor.ticks": ticks,
                           "multiplexor.kill_grace": "200ms", "multiplexor.drain_time": "500ms", "worker.sandbox": "off", **options}, filter_text=text)

    def tick(self, mux, name):
        return mux.status()["ticks"][name]

    def wait_for_runs(self, mux, name, n):
        return mux.wait(lambda: self.tick(mux, name)["runs"] >= n, f"{n} runs of {name}", 10 + 3 * n)

    def running(self, mux):
        return [row for row in mux.workers("busy") if row["hook"] == "filter_tick"]

    def test_at_its_interval(self):
        started = time.monotonic()
        mux = self.begin("one=1s, other=1s, hourly=1h", **{"multiplexor.max_workers": 8})
        self.wait_for_runs(mux, "one", 2)
        self.assertGreaterEqual(time.monotonic() - started, 2)
        self.wait_for_runs(mux, "other", 1)
        status = mux.status()
        self.assertEqual(status["ticks"]["hourly"]["runs"], 0)
        self.assertIsNone(status["ticks"]["hourly"]["last_at"])
        self.assertGreater(status["ticks"]["hourly"]["next_ms"], 3_000_000)
        self.assertRegex(status["ticks"]["one"]["last_at"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertLessEqual(status["ticks"]["one"]["next_ms"], 1000)
        self.assertGreaterEqual(status["user"]['ticks{name="one"}'], 2)
        self.assertGreaterEqual(value(parse(mux.call("metrics")["data"]["text"]), "postern_hook_requests_total", hook="filter_tick"), 3)
        text = subprocess.run([os.path.join(BIN, "posternctl"), "-s", mux.control_path, "status"], capture_output=True, text=True, check=True).stdout
        self.assertRegex(text, r"(?m)^ticks +one \(interval_s 1, is_running \w+, last_at \S+, .*runs \d+")

    def test_failures(self):
        mux = self.begin("error=1s, spin=1s", **{"multiplexor.tick_time": "600ms", "multiplexor.max_workers": 8})
        self.wait_for_runs(mux, "error", 2)
        self.wait_for_runs(mux, "spin", 2)
        for name, outcome in (("error", "error"), ("spin", "deadline")):
            tick = self.tick(mux, name)
            self.assertGreaterEqual(tick["failures"], 2)
            self.assertLessEqual(tick["runs"] - tick["failures"], 0)
            self.assertIn(f"filter_tick {name}: {outcome}", mux.log())
        self.assertIn("oops", mux.log())
        self.assertEqual(mux.status()["recycles"]["died"], 0)

    def test_one_at_a_time_and_mail_goes_by(self):
        mux = self.begin("sleep1=1s, sleep2=1s", **{"multiplexor.max_workers": 3, "multiplexor.tick_time": "2s"})
        client = self.client(mux)
        mux.wait(lambda: self.running(mux), "a timer to run")
        until = time.monotonic() + 2
        while time.monotonic() < until:  # in these seconds both are due again and again
            self.assertLessEqual(len(self.running(mux)), 1)
            self.assertEqual(client.ask("HELO", uid="")["verdict"], 1)
        mux.wait(lambda: all(tick["runs"] + tick["skipped"] > 0 for tick in mux.status()["ticks"].values()), "both to have had a turn", 20)

    def test_skipped_when_no_worker_is_free(self):
        mux = self.begin("quick=1s", **{"multiplexor.min_workers": 1, "multiplexor.max_workers": 1})
        client = self.client(mux)
        client.start("UNKNOWN", uid="", argument=b"3")
        mux.wait(lambda: self.tick(mux, "quick")["skipped"] >= 1, "a turn to be skipped")
        self.assertEqual(self.tick(mux, "quick")["runs"], 0)
        self.assertEqual(client.wait()["outcome"], 0)
        self.wait_for_runs(mux, "quick", 1)
        self.assertGreaterEqual(mux.status()["counters"]["ticks_skipped"], 1)

    def test_not_again_after_a_death(self):
        mux = self.begin("sleep=2s")
        row = mux.wait(lambda: self.running(mux), "the timer to run")[0]
        os.kill(row["pid"], signal.SIGKILL)
        mux.wait(lambda: self.tick(mux, "sleep")["failures"] == 1, "the death to be seen")
        n, tick = mux.log().count("ticking sleep"), self.tick(mux, "sleep")
        self.assertLessEqual(n, tick["runs"] + tick["is_running"])  # each run began once
        self.assertEqual(mux.status()["retries"], 0)
        mux.wait(lambda: mux.log().count("ticking sleep") == n + 1, "its next turn")  # the first may not have come to its line

    def test_reload(self):
        mux = self.start({"multiplexor.worker_program": os.path.join(BIN, "postern-worker"), "worker.sandbox": "off"}, filter_text=FILTER)
        self.assertEqual(mux.status()["ticks"], {})

        def reload(ticks, text=FILTER):
            mux.set_filter(text)
            mux.folder.write("postern.conf", f"[worker]\non_error = tempfail\n[multiplexor]\nticks = {ticks}\n")
            answer = mux.call("reload")
            self.assertTrue(answer["ok"], answer)
        reload("a=1s, b=1h")
        self.wait_for_runs(mux, "a", 1)
        runs = self.tick(mux, "a")["runs"]
        reload("c=1h, a=1s")
        self.assertEqual(list(mux.status()["ticks"]), ["c", "a"])
        self.assertGreaterEqual(self.tick(mux, "a")["runs"], runs)
        self.wait_for_runs(mux, "a", runs + 1)
        reload("a=1s", text="function filter_helo() end")
        self.assertEqual(mux.log().count("names timers, but"), 1)
        mux.folder.write("postern.conf", "[multiplexor]\nticks = a=1s, a=2s\n")
        answer = mux.call("reload")
        self.assertFalse(answer["ok"])
        self.assertIn("this name is there already", answer["error"])


if __name__ == "__main__":
    unittest.main()
