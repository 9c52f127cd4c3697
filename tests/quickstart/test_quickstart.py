"""tools/quickstart: starts everything, sends three messages, says what was decided and why, and leaves no process."""

import os
import re
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.process import BUILD, SOURCE, Folder, Process, processes_of

PROGRAM = os.path.join(SOURCE, "tools", "quickstart")


class QuickStart(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("quick")
        # A cache folder of its own, so that a filter edited by hand does not change the outcome; the build of this run, so that none is made.
        self.env = {**os.environ, "POSTERN_CACHE": self.folder.path, "POSTERN_QUICKSTART_BUILD": BUILD}

    def tearDown(self):
        self.folder.remove()

    def test_once(self):
        done = subprocess.run([PROGRAM, "--once"], capture_output=True, text=True, env=self.env, stdin=subprocess.DEVNULL, timeout=200, check=False)
        out = done.stdout
        self.assertEqual(done.returncode, 0, out + done.stderr)
        clean, program, host, why = re.split(r"(?m)^--- .*\n", out)[1:]
        self.assertRegex(clean, r"continue")
        self.assertIn("X-Postern", clean)
        self.assertRegex(program, r"reject 550")
        self.assertRegex(host, r"rcpt: reject 550 .*We take no mail from your server")
        # One for each message, and one for the refused recipient.
        self.assertEqual(len(re.findall(r"verdict=", why)), 4, why)
        self.assertIn("where=filter.lua:", why)
        self.assertIn("INPUT_MAIL_FILTER(`postern', `S=unix:", out)
        self.assertIn("smtpd_milters = unix:", out)
        self.assertEqual(processes_of(self.folder.path), [])

    def test_runs_until_it_is_interrupted(self):
        process = Process([PROGRAM, "--socket", "inet:0@127.0.0.1"], self.folder("log"), env=self.env, start_new_session=True)
        process.wait_for_line("Ctrl-C ends it", 120)
        self.assertRegex(process.output(), r"smtpd_milters = inet:127\.0\.0\.1:\d+")
        os.killpg(process.pid, signal.SIGINT)
        self.assertEqual(process.popen.wait(30), 0, process.output())
        self.assertEqual(processes_of(self.folder.path), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
