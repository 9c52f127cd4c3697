"""Numbered messages over 20 connections through a real Postfix while something is killed or reloaded.

Each message has a known right verdict. Whatever happens: it gets that verdict or a tempfail, nothing is accepted unfiltered, nothing doubled, nothing
mixed up; with kills of single workers, and with reloads, there is no tempfail at all.
"""

import os
import random
import re
import signal
import smtplib
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness.mail import message
from harness.mta import Postfix
from harness.postern import Postern
from harness.process import scaled, wait_until

CONNECTIONS = 20
MESSAGES = scaled(2000, 100)

# By number modulo 5: 0 refused at RCPT, 1 refused at the end, 2 thrown away, others delivered with their number added.
FILTER = """
-- version @VERSION@
function filter_relay(conn) conn.state.seen = true end
function filter_sender(msg) msg.state.n = tonumber(msg.sender_local:match("%d+")) end
function filter_recipient(msg, rcpt)
    if msg.state.n % 5 == 0 then return reject("number " .. msg.state.n) end
end
function filter_message(msg)
    local n = msg.state.n
    assert(msg.conn.state.seen and msg:header("X-Number") == tostring(n), "mixed up")
    if n % 5 == 1 then return reject("number " .. n) end
    if n % 5 == 2 then return discard() end
    msg:add_header("X-Filtered", tostring(n))
end
"""


def expected(n):
    return {0: "reject", 1: "reject", 2: "discard"}.get(n % 5, "deliver")


class Load:
    """The senders. results[n] is "accepted", "reject", "tempfail" or "lost" (connection closed before an answer)."""

    def __init__(self, mta):
        self.mta = mta
        self.results = {}
        self.details = {}
        self.next = iter(range(MESSAGES))
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(CONNECTIONS)]
        for thread in self.threads:
            thread.start()

    def take(self):
        with self.lock:
            return next(self.next, None)

    def run(self):
        smtp = None
        while (n := self.take()) is not None:
            try:
                if smtp is None:
                    smtp = self.mta.smtp()
                    if smtp.greeting[0] != 220 or smtp.hello()[0] != 250:
                        self.results[n], self.details[n] = "tempfail", smtp.greeting
                        smtp.close()
                        smtp = None
                        continue
                answer = smtp.transaction(f"n{n}@example.org", [f"r{n}@example.net"],
                                          message(subject=f"number {n}", headers=(f"X-Number: {n}",), body=f"body {n}\r\n"))
                self.results[n] = {2: "accepted", 5: "reject", 4: "tempfail"}[answer[1] // 100]
                self.details[n] = answer
                if answer[1] // 100 == 4:
                    # As a real client would: it comes back over a new connection.
                    smtp.close()
                    smtp = None
            except (OSError, smtplib.SMTPException) as error:
                self.results[n], self.details[n] = "lost", error
                if smtp is not None:
                    smtp.close()
                smtp = None
        if smtp is not None:
            smtp.close()

    def is_running(self):
        return any(thread.is_alive() for thread in self.threads)


class UnderLoad(unittest.TestCase):
    def run_load(self, fault, options=None):
        """Runs the load with fault(postern) called over and over until it ends; returns (results, details, faults injected)."""
        mta = Postfix(name="postfix.load", settings="default_process_limit = 200\n")
        postern = Postern(FILTER.replace("@VERSION@", "0"), folder=mta.folder,
                          options={"multiplexor.min_workers": 4, "multiplexor.max_workers": 8, **(options or {})})
        mta.spec = postern.spec
        with mta.start(), postern:
            load = Load(mta)
            count = 0
            started = time.monotonic()
            while load.is_running():
                fault(postern, count)
                count += 1
                self.assertLess(time.monotonic() - started, 600, "the load does not end")
            for thread in load.threads:
                thread.join()
            took = time.monotonic() - started
            delivered = self.check(mta, load, postern)
            wait_until(lambda: (postern.status() or {}).get("workers", {}).get("busy") == 0, "all workers idle")
            kinds = {kind: list(load.results.values()).count(kind) for kind in ("accepted", "reject", "tempfail", "lost")}
            print(f"{MESSAGES} messages in {took:.1f} s, {count} faults: {kinds}, {delivered} delivered")
            if kinds["tempfail"] or kinds["lost"]:
                odd = [(n, load.details[n]) for n, kind in load.results.items() if kind in ("tempfail", "lost")]
                print("first tempfails:", odd[:5])
            return load.results

    def check(self, mta, load, postern):
        self.assertEqual(len(load.results), MESSAGES)
        for n, result in load.results.items():
            if result in ("accepted", "reject"):
                right = "reject" if expected(n) == "reject" else "accepted"
                self.assertEqual(result, right, (n, load.details[n]))
        due = {n for n, result in load.results.items() if result == "accepted" and expected(n) == "deliver"}
        mails = mta.delivered(len(due), 60)
        seen = {}
        for mail in mails:
            n = int(re.search(r"\d+", mail["Subject"]).group())
            self.assertNotIn(n, seen, "delivered twice")
            seen[n] = mail
            self.assertEqual(expected(n), "deliver", f"{n} was delivered")
            self.assertEqual(mail.get_all("X-Filtered"), [str(n)], f"{n} was accepted unfiltered")
            self.assertEqual((mail.sender, mail.recipients, mail["X-Number"]), (f"n{n}@example.org", [f"r{n}@example.net"], str(n)))
            self.assertIn(f"body {n}\n", mail.get_payload())
        # A client that lost its connection may have been too early to hear of an accepted message; nothing else may be there beyond what is due.
        lost = {n for n, result in load.results.items() if result == "lost"}
        self.assertEqual(set(seen) - lost, due)
        return len(seen)

    def assert_no_tempfail(self, results):
        self.assertEqual([n for n, result in results.items() if result in ("tempfail", "lost")], [])

    def test_worker_kills(self):
        """kill -9 of one worker at random, five times a second: every message still gets its verdict."""
        def fault(postern, count):
            pids = [w["pid"] for w in postern.workers() if w.get("pid")]
            if pids:
                try:
                    os.kill(random.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.2)
        self.assert_no_tempfail(self.run_load(fault))

    def test_reloads(self):
        """A changed filter every second."""
        def fault(postern, count):
            postern.save_filter(FILTER.replace("@VERSION@", str(count)))
            answer = postern.reload()
            self.assertTrue(answer["ok"], answer)
            time.sleep(1)
        self.assert_no_tempfail(self.run_load(fault))

    def test_multiplexor_kills(self):
        """kill -9 of the multiplexor, which is started again at once."""
        def fault(postern, count):
            time.sleep(1.5)
            postern.multiplexor.kill()
            postern.multiplexor.popen.wait()
            postern.start_multiplexor()
        self.run_load(fault)

    def test_milterd_kills(self):
        """kill -9 of the front end, which is started again at once."""
        def fault(postern, count):
            time.sleep(1.5)
            postern.milterd.kill()
            postern.milterd.popen.wait()
            postern.start_milterd()
        self.run_load(fault)


if __name__ == "__main__":
    unittest.main(verbosity=2)
