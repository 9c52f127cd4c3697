"""The whole system for the test_*.py programs beside this: real daemons, and a client that plays the MTA."""

import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "milter")]

from harness.lines import split_lines  # noqa: E402
from harness.postern import Postern  # noqa: E402
from harness.process import PATIENCE, wait_until  # noqa: E402
from milter_client import MilterClient  # noqa: E402


def budgets(stage_ms, message_ms=None, grace_ms=300):
    """Options for short time budgets that fit together; longer with sanitizers."""
    message_ms = message_ms or stage_ms
    return {"milterd.stage_time": f"{stage_ms * PATIENCE}ms", "milterd.message_time": f"{message_ms * PATIENCE}ms",
            "multiplexor.kill_grace": f"{grace_ms * PATIENCE}ms"}


class SystemTest(unittest.TestCase):
    """Each test starts what it needs with self.start(); everything ends, and is looked over, after the test."""

    def start(self, filter_text, options=None, **kwargs):
        """Both daemons, ready to serve."""
        self.prepare(filter_text, options, **kwargs)
        self.postern.start_multiplexor()
        self.postern.start_milterd()
        self.postern.wait_ready()
        return self.postern

    def prepare(self, filter_text, options=None, **kwargs):
        """The folder and its files; the test starts the daemons."""
        self.postern = Postern(filter_text, options, start=False, **kwargs)
        self.addCleanup(self.postern.stop)
        return self.postern

    def restart_milterd(self):
        """Ends the front end in good order and starts it again; the log goes on."""
        n = self.postern.milterd.output().count("listening on ")
        self.assertEqual(self.postern.milterd.stop(), 0)
        self.postern.start_milterd()
        self.milterd_lines("listening on ", least=n + 1, seconds=30)

    def client(self, timeout=30.0):
        client = MilterClient(self.postern.spec, timeout * PATIENCE)
        self.addCleanup(client.close)
        return client

    def worker_lines(self, text, least=0, seconds=10):
        """Log lines of the workers (they share the multiplexor's) that hold the text; waits for as many as least."""
        def found():
            return [line for line in split_lines(self.postern.multiplexor.output()) if text in line]
        if least:
            wait_until(lambda: len(found()) >= least, lambda: f"{least} lines with {text!r}:\n{self.postern.logs()}", seconds)
        return found()

    def milterd_lines(self, text, least=1, seconds=10):
        wait_until(lambda: len(self.postern.log_lines(text)) >= least, lambda: f"{least} lines with {text!r}:\n{self.postern.logs()}", seconds)
        return self.postern.log_lines(text)

    def assertReply(self, answer, start):
        self.assertIsNotNone(answer.text, f"{answer}, expected {start!r}")
        self.assertTrue(answer.text.startswith(start), f"{answer}, expected {start!r}")

    def good_mail_passes(self, headers=(("Subject", " good"),)):
        """An ordinary mail on a connection of its own goes through."""
        with MilterClient(self.postern.spec, 30 * PATIENCE) as client:
            answer = client.start().message(headers=headers)
            self.assertEqual(answer.code, "continue", f"{answer}\n{self.postern.logs()}")
            return answer


class Stopwatch:
    def __init__(self):
        self.start = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.start
