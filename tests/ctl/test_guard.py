"""multiplexor.reload_tests: a reload whose filter fails its own tests is refused, and the filter before it serves on."""

import os
import signal
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.environ["POSTERN_SOURCE"], "tests"))
sys.path.insert(0, os.path.join(os.environ["POSTERN_SOURCE"], "tests", "milter"))

from harness.postern import Postern  # noqa: E402
from harness.process import PATIENCE, Folder, wait_until  # noqa: E402
from milter_client import MilterClient  # noqa: E402

FILTER = 'function filter_message(msg) msg:add_header("X-Filter", "%s") end\n'
TESTS = """function test_header()
    local result = run{eml = "Subject: x\\n\\nbody\\n"}
    assert(result.actions[1].value == "%s", "it is " .. result.actions[1].value)
end
"""
HANGS = "function test_hangs() while true do end end\n"


class Guard(unittest.TestCase):
    def start(self, tests=None, **options):
        """A filter that says "first", beside these tests."""
        folder = Folder("guard")
        if tests is not None:
            folder.write("filter_test.lua", tests)
        self.postern = Postern(FILTER % "first", {"multiplexor.reload_tests": "yes", **{f"multiplexor.{k}": v for k, v in options.items()}},
                               folder=folder)
        self.addCleanup(folder.remove)
        self.addCleanup(self.postern.stop)
        return self.postern

    def header(self):
        with MilterClient(self.postern.spec, 30 * PATIENCE) as client:
            return client.start().message(headers=[("Subject", " x")]).all("add_header")

    def save(self, word, tests):
        self.postern.save_filter(FILTER % word)
        self.postern.folder.write("filter_test.lua", tests)

    def assert_refused(self, error):
        """The reload that failed so has changed nothing, and status and log say why."""
        status = self.postern.status()
        self.assertEqual((status["generation"], status["filter_error"]), (1, error))
        self.assertIn("reload failed, generation 1 goes on", self.postern.multiplexor.output())
        self.assertEqual(self.header(), [["X-Filter", " first"]])

    def processes_of_tests(self):
        """Pids of posternctl test and of what it has forked, the former first."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    state, parent = file.read().rsplit(")", 1)[1].split()[:2]
            except OSError:
                continue
            if b"test" in words and self.postern.filter.encode() in words and state != "Z":
                found.append((int(parent) != self.postern.multiplexor.pid, int(name)))
        return [pid for _, pid in sorted(found)]

    def is_hanging(self):
        """As much processor time is more than it takes to have read the files, and a busy machine gives it within their time all the same."""
        ticks = 0
        for pid in self.processes_of_tests():
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                    ticks += sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))
            except OSError:
                continue
        return ticks >= 0.3 * PATIENCE * os.sysconf("SC_CLK_TCK")

    def test_those_that_pass_and_those_that_fail(self):
        postern = self.start(TESTS % "wrong")  # the first start does not wait for tests
        self.assertEqual(self.header(), [["X-Filter", " first"]])
        self.save("second", TESTS % "wanted")
        code, _, err = postern.ctl("reload")
        self.assertEqual(code, 1)
        self.assertRegex(err, r"the filter's tests failed \(exit status 1\): .*filter_test.lua:1: test_header; "
                              r"filter_test.lua:3: it is second; 0 passed, 1 failed")
        self.assert_refused(postern.status()["filter_error"])
        self.save("second", TESTS % "second")
        postern.ctl("reload", check=True)
        self.assertEqual((postern.status()["generation"], postern.status()["filter_error"]), (2, None))
        self.assertEqual(self.header(), [["X-Filter", " second"]])

    def test_without_tests(self):
        postern = self.start()
        answer = postern.reload()
        self.assertIn("no test found", answer["error"])
        self.assert_refused(answer["error"])

    def test_a_signal(self):
        postern = self.start(TESTS % "first")
        self.save("second", TESTS % "wanted")
        postern.multiplexor.kill(signal.SIGHUP)
        wait_until(lambda: postern.status()["filter_error"], "the reload to fail")
        self.assert_refused(postern.status()["filter_error"])
        self.save("second", TESTS % "second")
        postern.multiplexor.kill(signal.SIGHUP)
        wait_until(lambda: postern.status()["generation"] == 2, "the new filter")

    def test_a_candidate(self):
        postern = self.start(TESTS % "first", canary_time=0)
        self.save("second", TESTS % "wanted")
        code, _, err = postern.ctl("reload", "--canary", 20)
        self.assertEqual(code, 1)
        self.assertIn("it is second", err)
        self.save("second", TESTS % "second")
        postern.ctl("reload", "--canary", 20, check=True)
        self.assertEqual([row["state"] for row in postern.status()["generations"]], ["current", "candidate"])

    def test_one_that_hangs(self):
        postern = self.start(HANGS, load_time=f"{2 * PATIENCE}s")
        answer = postern.reload()
        self.assertRegex(answer["error"], "did not end within")
        self.assert_refused(answer["error"])
        wait_until(lambda: not self.processes_of_tests(), "its process to be gone")

    def test_mail_goes_on_meanwhile_and_a_death_is_no_pass(self):
        postern = self.start(HANGS)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(postern.reload()))
        thread.start()
        self.addCleanup(thread.join)
        pid = wait_until(self.processes_of_tests, "the tests to run")[0]
        self.assertEqual(self.header(), [["X-Filter", " first"]])
        self.assertEqual((postern.status()["generation"], answers), (1, []))
        os.kill(pid, signal.SIGKILL)
        thread.join(30 * PATIENCE)
        self.assertIn("the filter's tests failed (signal 9 (SIGKILL))", answers[0]["error"])
        self.assert_refused(answers[0]["error"])

    def test_a_newer_reload_takes_the_place_of_tests_that_take_long(self):
        postern = self.start(HANGS, load_time="120s")
        answers = []
        thread = threading.Thread(target=lambda: answers.append(postern.reload()))
        thread.start()
        self.addCleanup(thread.join)
        wait_until(self.is_hanging, "the tests to run", 90 / PATIENCE)
        self.save("second", TESTS % "second")
        self.assertEqual(postern.reload()["data"], {"generation": 2})
        thread.join(30 * PATIENCE)
        self.assertEqual(answers[0]["data"], {"generation": 2})
        self.assertIn("a newer reload took its place", postern.multiplexor.output())

    def test_stopping_while_they_run(self):
        postern = self.start(HANGS)
        postern.multiplexor.kill(signal.SIGHUP)
        wait_until(self.processes_of_tests, "the tests to run")
        postern.multiplexor.kill(signal.SIGTERM)
        wait_until(lambda: not postern.multiplexor.is_alive(), "the multiplexor to end")
        wait_until(lambda: not self.processes_of_tests(), "the tests to be gone")


if __name__ == "__main__":
    unittest.main()
