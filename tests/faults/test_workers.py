"""Workers that crash, hang, block, stop, eat memory or lie: the message that met it is answered in time, the others do not notice."""

import os
import resource
import signal
import time
import unittest

import paths  # noqa: F401
from harness.process import PATIENCE, SANITIZE, wait_until
from stack import BUDGET_SECS, Stack

CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGKILL)
# After the deadline the multiplexor waits kill_grace; the rest is the machine's.
STAGE_SECS = 2.0
LATEST_SECS = BUDGET_SECS + 1.0


class Deaths(Stack):
    def test_each_crash_costs_one_attempt(self):
        """A worker that dies by any signal under a message: another one answers it within a second."""
        for sig in CRASHES:
            with self.subTest(sig):
                thread = self.in_background("wait")
                pid = self.busy()[0]
                begin = time.monotonic()
                os.kill(pid, sig)
                thread.join()
                self.assertEqual(thread.answer.code, "continue", thread.answer)
                self.assertLess(time.monotonic() - begin, 1.0 * PATIENCE)
        self.assert_serves()

    def test_poison(self):
        """What kills two workers is answered; the good messages between it are not deferred."""
        for number in range(5):
            thread = self.in_background("wait_always")
            pid = self.busy()[0]
            os.kill(pid, signal.SIGSEGV)
            second = wait_until(lambda: [other for other in self.busy() if other != pid], "the second attempt")[0]
            os.kill(second, signal.SIGSEGV)
            good = [self.send("pass", n) for n in range(20)]
            thread.join()
            self.assert_tempfail(thread.answer)
            self.assertTrue(thread.answer.text.startswith("451 4.3.0"), thread.answer)
            self.assertEqual([answer.all("add_header") for answer in good], [[["X-Seen", f" {n}"]] for n in range(20)])
        self.assertEqual(self.counter("outcomes", "poison"), 5)

    def test_all_idle_workers_killed(self):
        for _ in range(5):
            for worker in self.postern.workers():
                if worker.get("pid"):
                    os.kill(worker["pid"], signal.SIGKILL)
            for n in range(10):
                self.assertEqual(self.send("pass", n).code, "continue")


class Hangs(Stack):
    options = {"milterd__message_time": "1500ms", "milterd__stage_time": "1s"}
    deeds = r"""
    loop = function() while true do end end,
    loop_caught = function() while true do pcall(function() while true do end end) end end,
    pattern = function() return string.find(("a"):rep(28), ("a?"):rep(28) .. ("a"):rep(28) .. "b") end,
    dashes = function() return string.find(("a"):rep(400), ".-.-.-.-.-b") end,
    close = function() local c <close> = setmetatable({}, { __close = function() while true do end end }) error("x") end,
    recursion = function() local function f() return 1 + f() end return f() end,
    greedy = function() local t = {} while true do t[#t + 1] = ("x"):rep(1e6) end end,
    caught_greedy = function() while true do pcall(string.rep, "x", 3e8) end end,
    """

    def test_each_way_to_hang(self):
        """Lua loops, loops inside C functions, in closers: answered within the budget; other messages go on meanwhile."""
        for deed in ("loop", "loop_caught", "pattern", "dashes", "close", "recursion", "greedy", "caught_greedy"):
            with self.subTest(deed):
                thread = self.in_background(deed)
                good = [self.send("pass", n) for n in range(10)]
                thread.join()
                self.assert_tempfail(thread.answer)
                self.assertLess(thread.answer.took, (1.5 + 0.5) * PATIENCE)
                self.assertEqual({answer.code for answer in good}, {"continue"})
                self.assertLess(max(answer.took for answer in good), 1.0 * PATIENCE)
        self.assert_serves()


class Blocked(Stack):
    deeds = """
    fifo = function() local f = assert(io.open("@FIFO@")) f:read("a") end,
    """

    def setUp(self):
        super().setUp()
        os.mkfifo(self.postern.folder("fifo"))
        self.postern.save_filter(self.filter_text.replace("@FIFO@", self.postern.folder("fifo")))
        self.assertTrue(self.postern.reload()["ok"])
        wait_until(lambda: len(self.postern.status()["generations"]) == 1, "the first filter to go")

    def test_waiting_in_the_kernel(self):
        """A worker that never comes back from open(): given up at its deadline and killed, the pool is whole again."""
        for _ in range(2):
            answer = self.send("fifo")
            self.assert_tempfail(answer)
            self.assertGreater(answer.took, STAGE_SECS - 0.5, "it did not wait: was the pipe opened at all?")
            self.assertLess(answer.took, LATEST_SECS * PATIENCE)
        self.assert_serves()
        wait_until(lambda: self.counter("workers", "busy") == 0, "no worker to be busy", 5)

    def test_stopped_workers(self):
        """SIGSTOP of every worker: each message gets its answer in time, the stopped ones are killed and replaced."""
        pids = [worker["pid"] for worker in self.postern.workers() if worker.get("pid")]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        threads = [self.in_background("pass", n) for n in range(len(pids))]
        for thread in threads:
            thread.join()
            self.assertLess(thread.answer.took, LATEST_SECS * PATIENCE)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids if pid not in [w.get("pid") for w in self.postern.workers()]),
                   "the stopped ones to go", 5)
        self.assert_serves()

    @unittest.skipIf(SANITIZE, "a sanitizer ends a process without memory in its own way")
    def test_address_space_runs_out(self):
        """A worker whose limit is lowered under it: Lua's error or GLib's abort, in both cases an answer and a new worker."""
        thread = self.in_background("wait")
        pid = self.busy()[0]
        resource.prlimit(pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))
        thread.join()
        self.assertLess(thread.answer.took, LATEST_SECS * PATIENCE)
        for n in range(10):
            answer = self.send("pass", n)
            self.assertIn(answer.verdict, ("continue", "tempfail"))
        self.assert_serves()


class Escapes(Stack):
    deeds = """
    exec = function() return os.execute("true") end,
    popen = function() return io.popen("true"):read() end,
    exit = function() os.exit(3) end,
    close_output = function() io.stdout:close() io.stderr:close() error("went on") end,
    locale = function() os.setlocale("C") error("went on") end,
    chunk = function() return load(string.dump(function() end), "x", "b")() end,
    binary = function() return load("\\27Lua")() end,
    debug = function() return debug.getregistry() end,
    """

    def test_what_is_not_offered(self):
        """Programs, exits, closing the log, locale, binary chunks: an error in that message, nothing that the next one sees."""
        for deed in ("exec", "popen", "exit", "close_output", "locale", "chunk", "binary", "debug"):
            with self.subTest(deed):
                self.assert_tempfail(self.send(deed))
                self.assertEqual(self.send("pass", 3).all("add_header"), [["X-Seen", " 3"]])


if __name__ == "__main__":
    unittest.main(verbosity=2)
