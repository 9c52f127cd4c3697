"""posternctl top in a real terminal (tmux), and what it does to a terminal that it leaves (a pty); histogram and status beside it."""

import fcntl
import json
import os
import pty
import subprocess
import termios
import unittest

from common import CTL, ctl, lines_of, sample
from harness.postern import Postern
from harness.process import PATIENCE, wait_until
from harness.terminal import Screen

FILTER = """
local async = require "postern.async"
function filter_sender(msg)
end
function filter_message(msg)
    if msg.conn.helo == "slow.example" then async.sleep(4) end
end
"""


class Top(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postern = Postern(FILTER, name="ctl-top")

    @classmethod
    def tearDownClass(cls):
        cls.postern.stop()

    def screen(self, columns, rows):
        screen = Screen(self.postern.folder, columns, rows, CTL, "-c", self.postern.conf, "top")
        self.addCleanup(screen.end)
        return screen

    def send(self, *words):
        code, out, err = ctl("send", "--json", self.postern.spec, sample("clean"), *words)
        self.assertEqual(code, 0, err)
        return lines_of(out)

    def messages(self):
        """Those taken so far, by this test and those before it."""
        return self.postern.status()["messages"]["continue"]

    def test_in_tmux(self):
        screen = self.screen(90, 20)
        screen.wait(r"^postern \d\S+, up .*generation 1")
        screen.wait(r"^STATE +PID +FOR HOOK +MESSAGE +REQUESTS +RSS +PSS +GEN$")
        for row in self.postern.workers():
            screen.wait(rf"^idle +{row['pid']} +\d")
        self.assertTrue(screen.lines()[-1].startswith("q quit"))
        self.assertNotIn("LUA", "\n".join(screen.lines()))

        before = self.messages()
        slow = subprocess.Popen([CTL, "send", self.postern.spec, sample("clean"), "--helo", "slow.example", "--macro", "i=4QXtop"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        screen.wait(r"^busy +\d+ +\S+ message +4QXtop +\d+ +\S+[KM] ")
        self.assertRegex("\n".join(screen.lines()), r"(?m)^workers +1 busy, 1 idle")
        self.assertEqual(slow.wait(60 * PATIENCE), 0)
        screen.wait(rf"^messages continue {before + 1}\b")

        screen.resize(130, 30)
        screen.wait(r"^STATE.* RSS +PSS +LUA +AGE +GEN$")
        wait_until(lambda: len(screen.lines()) == 30 and screen.lines()[-1].startswith("q quit"), "the last line to move")
        screen.keys("s")
        screen.wait(r"now PID\)")
        pids = [int(line.split()[1]) for line in screen.lines() if line.startswith(("idle", "busy"))]
        self.assertEqual(pids, sorted(pids))
        screen.keys("r")
        wait_until(lambda: [int(line.split()[1]) for line in screen.lines() if line.startswith(("idle", "busy"))] == pids[::-1], "the order to turn")
        screen.keys("Left")
        screen.wait(r"now STATE\)")
        screen.keys("q")
        wait_until(screen.is_over, "top to end")

    def test_tiny_windows(self):
        screen = self.screen(20, 4)
        screen.wait(r"^postern \d")
        for columns, rows in ((10, 2), (200, 60), (1, 1)):
            screen.resize(columns, rows)
        screen.resize(80, 24)
        screen.wait(r"^STATE +PID")
        screen.keys("q")
        wait_until(screen.is_over, "top to end")

    def play(self, end):
        """Runs top in a pty; returns (exit status, what it wrote, whether the terminal is as before)."""
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        top = subprocess.Popen([CTL, "-c", self.postern.conf, "top"], stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"},
                               start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        seen = b""
        while b"q quit" not in seen:
            seen += os.read(master, 65536)
        self.assertNotEqual(termios.tcgetattr(slave), before)
        end(top, master)
        os.set_blocking(master, False)

        def is_over():
            nonlocal seen
            try:
                seen += os.read(master, 65536)
            except BlockingIOError:
                pass
            return top.poll() is not None
        try:
            wait_until(is_over, "top to end")
            is_over()
        finally:
            top.kill()
            status = top.wait()
        after = termios.tcgetattr(slave)
        os.close(master)
        os.close(slave)
        return status, seen, after == before

    def test_leaves_the_terminal_as_it_was(self):
        for end in (lambda top, master: os.write(master, b"q"), lambda top, master: top.terminate(), lambda top, master: os.write(master, b"\x03")):
            status, seen, is_same = self.play(end)
            self.assertEqual((status, is_same), (0, True))
            self.assertTrue(seen.startswith(b"\x1b[?1049h"))
            self.assertTrue(seen.endswith(b"\x1b[?25h\x1b[?1049l"), seen[-40:])

    def test_without_a_terminal_or_a_server(self):
        code, out, err = self.postern.ctl("top")
        self.assertEqual((code, out), (2, ""))
        self.assertIn("needs a terminal", err)
        code, out, err = ctl("-s", self.postern.folder("none.sock"), "top")
        self.assertEqual((code, out), (3, ""))
        self.assertIn("none.sock", err)

    def test_histogram_and_status(self):
        self.send()
        code, out, _ = self.postern.ctl("histogram", "--json")
        data = json.loads(out)
        self.assertEqual(code, 0)
        self.assertGreaterEqual(set(data["hooks"]), {"filter_sender", "filter_message"})
        code, out, _ = self.postern.ctl("histogram")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"(?m)^filter_message: \d+, mean \S+ \ws?, p50 .*p99 ")
        self.assertRegex(out, r"(?m)^  < \S+ \w+ +\d+  #+$")
        code, out, _ = self.postern.ctl("status")
        self.assertEqual(code, 0)
        for span in ("10 s", "1 m", "10 m"):
            self.assertRegex(out, rf"(?m)^last {span} +\S+ requests/s, hook p50 \S+ ms p99 \S+ ms, queue p50")
        code, out, _ = self.postern.ctl("workers", "--json")
        for row in json.loads(out)["workers"]:
            self.assertGreater(row["rss_kb"], 500)
            self.assertTrue(row["pss_kb"] is None or row["pss_kb"] > 0)


if __name__ == "__main__":
    unittest.main()
