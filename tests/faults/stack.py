"""Both daemons with a filter, and a scripted mail server in front: what the shorter fault tests share."""

import signal
import threading
import time
import unittest

import paths  # noqa: F401
from harness.postern import Postern
from injection import let_signals_kill
from harness.process import PATIENCE, SANITIZE, wait_until  # noqa: F401
from milter_client import MilterClient, MilterClosed  # noqa: F401

let_signals_kill()

# Each message says in X-Do what the filter does with it; @FOLDER@ is the test's folder. "wait" waits in the first attempt only.
FILTER = """
local async = require "postern.async"
local deeds = {
    pass = function(msg) msg:add_header("X-Seen", msg:header("X-Number") or "?") end,
    wait = function(msg) if msg.attempt == 1 then async.sleep(20) end end,
    wait_always = function(msg) async.sleep(20) end,
    refuse = function(msg) return reject("no") end,
    @DEEDS@
}
function filter_message(msg)
    return deeds[msg:header("X-Do") or "pass"](msg)
end
"""


def settings(**options):
    """Budgets that let a test see a deadline; names with two underscores for the dot: milterd__stage_time."""
    return {"multiplexor.min_workers": 2, "multiplexor.max_workers": 4, "multiplexor.kill_grace": "300ms", "multiplexor.respawn_max": "1s",
            "milterd.stage_time": "2s", "milterd.message_time": "3s", "milterd.reconnect_time": "2s", "milterd.drain_time": "3s",
            **{key.replace("__", "."): value for key, value in options.items()}}


BUDGET_SECS = 3.0


class Stack(unittest.TestCase):
    """One stack for each test; a test that ends it by itself calls stop()."""

    deeds = ""
    options = {}

    def setUp(self):
        self.postern = Postern(FILTER.replace("@DEEDS@", self.deeds), options=settings(**self.options), name="fault", env=self.env())
        self.filter_text = FILTER.replace("@DEEDS@", self.deeds)
        self.is_stopped = False
        self.addCleanup(self.stop)

    def env(self):
        """Further variables of the daemons' environment, made before they start."""
        return {}

    def stop(self):
        """In good order; fails when a daemon does not end with 0 or leaves a process. After a failed test it ends them at once."""
        if self.is_stopped:
            return
        self.is_stopped = True
        try:
            self.postern.stop()
        except AssertionError:
            print(self.postern.logs())
            raise
        finally:
            for process in (self.postern.milterd, self.postern.multiplexor):
                if process.is_alive():
                    process.kill(signal.SIGKILL)
                    process.popen.wait()

    def client(self, timeout=30.0):
        client = MilterClient(self.postern.spec, timeout=timeout * PATIENCE)
        self.addCleanup(client.close)
        return client

    def send(self, deed="pass", number=0, client=None, body=b"text\r\n"):
        """A whole message; its last answer, with .took in seconds."""
        client = client or self.client().start()
        begin = time.monotonic()
        answer = client.message(headers=[("X-Do", " " + deed), ("X-Number", f" {number}")], body=body)
        answer.took = time.monotonic() - begin
        return answer

    def in_background(self, deed, number=0):
        """The same by a thread; .join() then .answer."""
        client = self.client().start()

        def run():
            thread.answer = self.send(deed, number, client)
        thread = threading.Thread(target=run, daemon=True)
        thread.answer = None
        thread.start()
        return thread

    def assert_serves(self, within=5.0, n=3):
        """Good messages are answered again within that time."""
        def good():
            try:
                return self.send("pass", 7).all("add_header") == [["X-Seen", " 7"]]
            except (OSError, MilterClosed, AssertionError):
                return False
        wait_until(good, lambda: "good answers\n" + self.postern.logs(), within, pause=0.05)
        for _ in range(n):
            self.assertTrue(good(), self.postern.logs())

    def busy(self, n=1):
        """Pids of the busy workers, once there are n."""
        def found():
            pids = [w["pid"] for w in self.postern.workers() if w.get("state") == "busy"]
            return pids if len(pids) >= n else None
        return wait_until(found, lambda: f"{n} busy workers: {self.postern.workers()}", 5)

    def counter(self, *path):
        at = self.postern.status()
        for key in path:
            at = at[key]
        return at

    def assert_tempfail(self, answer):
        self.assertEqual(answer.verdict, "tempfail", answer)
        self.assertEqual(answer.actions, [])
