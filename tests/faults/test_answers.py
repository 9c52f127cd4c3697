"""What the mail server hears when something fails: each failure × each answer that can be configured, through real daemons."""

import os
import signal
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "milter")]

from harness.postern import Postern  # noqa: E402
from harness.process import PATIENCE, wait_until  # noqa: E402
from milter_client import MilterClient  # noqa: E402

# What was asked for before the failure is pending at the end of the message.
FILTER = """
function filter_headers(msg)
    msg:add_header("X-Pending", "yes")
end
function filter_message(msg)
    if msg.subject == "broken" then error("boom") end
    while msg.subject == "endless" do end
end
"""

BUDGETS = {"milterd.stage_time": f"{20 * PATIENCE}s", "milterd.message_time": f"{20 * PATIENCE}s", "milterd.reconnect_time": "200ms",
           "multiplexor.min_workers": 1, "multiplexor.max_workers": 1}

# option: (further options, code of tempfail, code of reject, the outcome in the log line)
FAILURES = {
    "milterd.on_failure": ({}, "451 4.3.0", "554 5.3.0", "nobody"),
    "worker.on_error": ({}, "451 4.3.0", "554 5.3.0", "error"),
    "multiplexor.on_overload": ({"multiplexor.queue_size": 0}, "451 4.3.2", "554 5.3.0", "overload"),
    "multiplexor.on_poison": ({}, "451 4.3.0", "554 5.3.0", "poison"),
    "milterd.on_oversize": ({"milterd.max_message": "64K"}, "452 4.3.4", "552 5.3.4", "oversize"),
}


class Answers(unittest.TestCase):
    def client(self):
        client = MilterClient(self.postern.spec, 60 * PATIENCE)
        self.addCleanup(client.close)
        return client.start()

    def up_to_the_end(self, subject, body=b"text\r\n"):
        client = self.client()
        for step in (client.mail, client.rcpt, client.data, lambda: client.header("Subject", " " + subject), client.eoh):
            answer = step()
            self.assertTrue(answer is None or answer.code == "continue", answer)
        return client, client.body(body)

    def end_elsewhere(self, subject):
        """The end of a message on a thread of its own: (thread, list that gets the answer)."""
        client, _ = self.up_to_the_end(subject)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(client.eom()))
        thread.start()
        return thread, answers

    def busy_workers(self, other_than):
        return [row["pid"] for row in self.postern.workers() if row["state"] == "busy" and row["pid"] != other_than]

    def kill_until_over(self, thread):
        """The worker that runs the endless hook, and those that it is tried on again: one that had not read it yet does not count."""
        pid = None
        while thread.is_alive():
            busy = self.busy_workers(other_than=pid)
            if busy:
                pid = busy[0]
                os.kill(pid, signal.SIGKILL)
            thread.join(0.01)

    def fail_on_failure(self):
        client, _ = self.up_to_the_end("fine")
        self.postern.multiplexor.stop()
        return client.eom()

    def fail_on_error(self):
        client, _ = self.up_to_the_end("broken")
        return client.eom()

    def fail_on_overload(self):
        client, _ = self.up_to_the_end("fine")
        thread, _ = self.end_elsewhere("endless")
        wait_until(lambda: self.busy_workers(other_than=None), "the worker to be busy")
        answer = client.eom()
        self.kill_until_over(thread)
        return answer

    def fail_on_poison(self):
        thread, answers = self.end_elsewhere("endless")
        self.kill_until_over(thread)
        return answers[0]

    def fail_on_oversize(self):
        client, answer = self.up_to_the_end("fine", b"x" * 70000)
        return answer if answer is not None and answer.code != "continue" else client.eom()

    def check(self, option, choice):
        further, tempfail, reject, outcome = FAILURES[option]
        self.postern = Postern(FILTER, {**BUDGETS, **further, option: choice})
        with self.postern as postern:
            answer = getattr(self, "fail_" + option.split(".")[1])()
            if choice == "accept":
                self.assertIn(answer.code, ("accept", "continue"), answer)
                self.assertEqual(answer.actions, [], "no change of an earlier hook")
            else:
                start = tempfail if choice == "tempfail" else reject
                self.assertEqual(answer.code, "reply", answer)
                self.assertTrue(answer.text.startswith(start + " "), answer)
                self.assertNotIn("boom", answer.text)
            uid = answer.text.rsplit(" ", 1)[1] if answer.text else ""
            lines = wait_until(lambda: [line for line in postern.log_lines("message uid=" + uid) if f"outcome={outcome}" in line],
                               postern.logs)
            self.assertEqual(len(lines), 1, lines)


def add_tests():
    for option in FAILURES:
        for choice in ("tempfail", "reject", "accept"):
            name = f"test_{option.split('.')[1]}_{choice}"
            setattr(Answers, name, lambda self, option=option, choice=choice: self.check(option, choice))


add_tests()

if __name__ == "__main__":
    unittest.main()
