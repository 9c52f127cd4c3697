"""Sessions do not wait for each other: a filter that takes a second each, with a worker for each session."""

import unittest

from fixture import PATIENCE, Stopwatch, SystemTest, wait_until
from harness.process import SANITIZE

SESSIONS = 50 if SANITIZE else 200
AT_MOST_SECS = 10 * PATIENCE

SLOW = '''
local async = require "postern.async"
function filter_recipient(msg, rcpt)
    async.sleep(1)
end
function filter_message(msg)
    async.sleep(1)
    msg:add_header("X-From", msg.sender)
end
'''


class Sessions(SystemTest):
    def all_at_once(self, clients, send):
        """Sends a command on every connection, then reads the answers; how long all of it took."""
        watch = Stopwatch()
        for client in clients:
            send(client)
        answers = [client.answer() for client in clients]
        return answers, watch.seconds

    def test_a_second_each(self):
        self.start(SLOW, {"multiplexor.min_workers": SESSIONS, "multiplexor.max_workers": SESSIONS, "milterd.stage_time": f"{8 * PATIENCE}s"})
        wait_until(lambda: self.postern.status()["workers"]["idle"] == SESSIONS, lambda: f"{SESSIONS} workers: {self.postern.status()}", 60)
        clients = [self.client() for _ in range(SESSIONS)]
        for n, client in enumerate(clients):
            client.start()
            client.mail(f"<s{n}@example.org>")

        answers, seconds = self.all_at_once(clients, lambda client: client.send(b"R", b"<r@example.net>\0"))
        self.assertEqual({answer.code for answer in answers}, {"continue"})
        self.assertGreaterEqual(seconds, 1.0)
        self.assertLess(seconds, AT_MOST_SECS)

        for client in clients:
            client.data(), client.header("Subject", " x"), client.eoh(), client.body(b"text\r\n")
        answers, seconds = self.all_at_once(clients, lambda client: client.send(b"E"))
        self.assertEqual([answer.actions for answer in answers], [[("add_header", "X-From", f" s{n}@example.org")] for n in range(SESSIONS)])
        self.assertLess(seconds, AT_MOST_SECS)

    def test_idle_sessions_cost_the_others_nothing(self):
        """One worker, many sessions that are open and silent: the one that speaks is served at once."""
        self.start("function filter_message(msg) return accept() end", {"multiplexor.min_workers": 1, "multiplexor.max_workers": 1})
        clients = [self.client().start() for _ in range(SESSIONS)]
        for client in clients[:-1]:
            client.mail()
            client.rcpt()
        watch = Stopwatch()
        self.assertEqual(clients[-1].message().code, "accept")
        self.assertLess(watch.seconds, 2 * PATIENCE)


if __name__ == "__main__":
    unittest.main()
