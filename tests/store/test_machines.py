"""Two Posterns with one Redis: greylisting and rate limits hold for both together, and outlive the death of Redis without a restart."""

import os
import re
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "milter")]

from harness.postern import Postern  # noqa: E402
from harness.process import PATIENCE, SANITIZE, Folder, wait_until  # noqa: E402
from harness.redis_server import Redis  # noqa: E402
from milter_client import MilterClient  # noqa: E402

SANDBOX = "available" if SANITIZE else "required"  # sanitizers do without the list of system calls

GREYLIST = """
local greylist = require "postern.greylist"
function filter_recipient(msg, rcpt)
    local seconds, why = greylist.check(msg, rcpt)
    if why then return tempfail("the store: " .. why) end
    if seconds then return tempfail("wait " .. math.ceil(seconds)) end
end
function filter_message() return reject("taken") end
"""
LIMIT = """
local ratelimit = require "postern.ratelimit"
function filter_message(msg)
    local allowed, seconds = ratelimit.hit("k", 10, 100000)
    if allowed == nil then return tempfail("none: " .. seconds) end
    return reject(allowed and "allowed" or "refused")
end
"""
COUNTING = """
local store = require "postern.store"
function filter_message(msg)
    local n, why = store.incr("n")
    if not n then return tempfail("none: " .. why) end
    return reject("number " .. n)
end
"""


class Machines(unittest.TestCase):
    def setUp(self):
        self.folder = Folder("machines")
        self.addCleanup(self.folder.remove)
        self.redis = Redis(self.folder).start()
        self.addCleanup(self.redis.stop)

    def postern(self, text, options=None, server=None):
        """A Postern with a state folder of its own, as on another machine."""
        folder = Folder("machine")
        self.addCleanup(folder.remove)
        os.mkdir(folder("state"))
        postern = Postern(text, {"store.backend": "redis", "redis.server": server or self.redis.server, "redis.retry_time": "50ms", "worker.allow_network": "yes",
                                 "worker.sandbox": SANDBOX, "worker.state_dir": folder("state"), **(options or {})}, folder=folder)
        self.addCleanup(postern.stop)
        return postern

    def answer(self, postern, recipient="<bob@example.net>", ip="198.51.100.7"):
        """What the recipient, or else the mail, is answered."""
        with MilterClient(postern.spec, 30 * PATIENCE) as client:
            client.negotiate()
            client.connect("mail.example.org", ip)
            client.helo("mail.example.org")
            client.mail("<ann@example.org>")
            answer = client.rcpt(recipient)
            if answer is not None and answer.text:
                return answer.text
            client.data()
            client.header("Subject", " x")
            client.eoh()
            client.body(b"x\r\n")
            return client.eom().text or ""

    def test_greylisting_is_shared(self):
        here, there = (self.postern(GREYLIST, {"greylist.delay": "2s"}) for _ in range(2))
        self.assertIn("wait", self.answer(here))
        first = self.answer(there)
        self.assertRegex(first, "wait [12]$|taken", "the other machine knows that it was tried")
        wait_until(lambda: "taken" in self.answer(there), "the delay to be over there", 20)
        self.assertIn("taken", self.answer(here))
        self.assertIn("wait", self.answer(here, recipient="<carol@example.net>"))
        self.assertNotIn("store.db", os.listdir(here.folder("state")))

    def test_limits_are_shared(self):
        posterns = [self.postern(LIMIT) for _ in range(2)]
        answers = []

        def send(postern):
            for _ in range(10):
                answers.append(self.answer(postern))
        threads = [threading.Thread(target=send, args=(postern,)) for postern in posterns for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(answers), 40)
        self.assertEqual(sum("allowed" in text for text in answers), 10, answers)
        self.assertEqual(sum("refused" in text for text in answers), 30, answers)

    def test_redis_dies_and_comes_back(self):
        for server in (self.redis.server, self.redis.path):
            with self.subTest(server):
                self.dies_and_comes_back(server)

    def dies_and_comes_back(self, server):
        postern = self.postern(COUNTING, {"worker.allow_network": "no" if server.startswith("/") else "yes"}, server)
        workers = sorted(worker["pid"] for worker in postern.workers())
        is_over, answers = threading.Event(), []

        def load():
            while not is_over.is_set():
                answers.append(self.answer(postern))
        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                seen = len(answers)
                wait_until(lambda seen=seen: any("number" in text for text in answers[seen:]), "answers with Redis", 20)
                self.redis.kill()
                seen = len(answers)
                wait_until(lambda seen=seen: any("none: " in text for text in answers[seen:]), "answers without Redis", 20)
                self.redis.start()
            seen = len(answers)
            wait_until(lambda: "number" in answers[-1] and len(answers) > seen, "answers with Redis again", 20)
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        for text in answers:
            self.assertRegex(text, r"number \d+|none: the store: redis ")
        self.assertEqual(sorted(worker["pid"] for worker in postern.workers()), workers, "no worker died of it")
        self.assertTrue(re.search(r"redis \S+ answers again", postern.multiplexor.output()), postern.logs())

    @unittest.skipIf(SANITIZE, "sanitizers do without the list of system calls")
    def test_the_sandbox_names_the_option(self):
        self.assertIn("worker.allow_network", self.answer(self.postern(COUNTING, {"worker.allow_network": "no"})))


if __name__ == "__main__":
    unittest.main()
