"""The numbered load of the long fault tests: each message has a known right verdict, what was deferred is sent again, what was delivered is counted.

The senders keep to a rate, so that a run has its length from its faults and not from the machine. A message that got a 4xx is queued again by number,
as a mail server would; finish() sends what is still owed once the faults are over, and check() then knows the fate of every number.
"""

import heapq
import os
import re
import smtplib
import threading
import time

from harness.mail import message
from harness.process import wait_until

CONNECTIONS = 20
RETRY_SECS = 2.0

# By number modulo 5: 0 refused at RCPT, 1 refused at the end, 2 thrown away, others delivered with their number added. Every eleventh waits a little,
# so that faults meet workers in the middle of a hook.
FILTER = """
-- version @VERSION@
local async = require "postern.async"
function filter_relay(conn) conn.state.seen = true end
function filter_sender(msg) msg.state.n = tonumber(msg.sender_local:match("%d+")) end
function filter_recipient(msg, rcpt)
    if msg.state.n % 5 == 0 then return reject("number " .. msg.state.n) end
end
function filter_message(msg)
    local n = msg.state.n
    assert(msg.conn.state.seen and msg:header("X-Number") == tostring(n), "mixed up")
    if n % 11 == 0 then async.sleep(0.03) end
    if n % 5 == 1 then return reject("number " .. n) end
    if n % 5 == 2 then return discard() end
    msg:add_header("X-Filtered", tostring(n))
end
"""

LARGE_EVERY = 61
LARGE_BODY = "".join(f"line {i} of a large body\r\n" for i in range(6000))


def filter_text(version):
    return FILTER.replace("@VERSION@", str(version))


def expected(n):
    return {0: "reject", 1: "reject", 2: "discard"}.get(n % 5, "deliver")


def numbered(n):
    body = f"body {n}\r\n" + (LARGE_BODY if n % LARGE_EVERY == 0 else "")
    return message(subject=f"number {n}", headers=(f"X-Number: {n}",), body=body)


def transact(smtp, n):
    return smtp.transaction(f"n{n}@example.org", [f"r{n}@example.net"], numbered(n))


class Try:
    """One attempt at one message: begin and end are monotonic seconds, kind is accepted, reject, tempfail or lost."""

    def __init__(self, n, begin):
        self.n, self.begin, self.end, self.kind, self.answer = n, begin, None, None, None

    def close(self, kind, answer):
        self.end, self.kind, self.answer = time.monotonic(), kind, answer
        return self

    def __repr__(self):
        return f"{self.n}: {self.kind} {self.answer}"


class Sender:
    """One connection, made again after each 4xx, as a client that was told to come again would."""

    def __init__(self, mta, give):
        self.mta, self.give = mta, give
        self.smtp = None

    def send(self, n):
        attempt = Try(n, time.monotonic())
        try:
            if self.smtp is None:
                self.smtp = self.mta.smtp()
                for answer in (self.smtp.greeting, self.smtp.hello()):
                    if answer[0] >= 400:
                        self.close()
                        return attempt.close("tempfail", ("connect", *answer))
            answer = self.give(self.smtp, n)
            if answer[1] // 100 == 4:
                self.close()
            return attempt.close({2: "accepted", 5: "reject", 4: "tempfail"}[answer[1] // 100], answer)
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            return attempt.close("lost", repr(error))

    def close(self):
        if self.smtp is not None:
            self.smtp.close()
        self.smtp = None


class Load:
    """Sends numbers 0, 1, 2 … at `rate` a second over some connections until finish(). give(smtp, n) hands over one, and returns the answer."""

    def __init__(self, mta, rate, give=transact, connections=CONNECTIONS):
        self.mta = mta
        self.give = give
        self.rate = rate
        self.tries = []
        self.final = {}        # number: the Try that ended it
        self.owed = []         # heap of (when, number) that were deferred
        self.next = 0
        self.n_lost = 0
        self.is_ending = False
        self.started = time.monotonic()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(connections)]
        for thread in self.threads:
            thread.start()

    def _take(self):
        """(number or None, seconds to wait, whether all is done)."""
        with self.lock:
            now = time.monotonic()
            if self.owed and (self.is_ending or self.owed[0][0] <= now):
                return heapq.heappop(self.owed)[1], 0, False
            if self.is_ending:
                return None, 0.05, len(self.final) == self.next
            due = self.started + self.next / self.rate
            if due <= now:
                self.next += 1
                return self.next - 1, 0, False
            return None, min(due - now, 0.05), False

    def _run(self):
        sender = Sender(self.mta, self.give)
        while True:
            n, pause, is_done = self._take()
            if is_done:
                break
            if n is None:
                time.sleep(pause)
                continue
            attempt = sender.send(n)
            with self.lock:
                self.tries.append(attempt)
                if attempt.kind in ("accepted", "reject"):
                    self.final[n] = attempt
                else:
                    heapq.heappush(self.owed, (time.monotonic() + RETRY_SECS, n))
        sender.close()

    def good_since(self, moment):
        """The first message that was begun after the moment and got its right verdict, or None."""
        with self.lock:
            for attempt in reversed(self.tries[-2000:]):
                if attempt.begin >= moment and attempt.kind in ("accepted", "reject"):
                    return attempt
        return None

    def throughput(self, begin, end):
        with self.lock:
            return sum(1 for a in self.tries if begin <= a.end < end and a.kind in ("accepted", "reject")) / (end - begin)

    def finish(self, seconds=120):
        """No new numbers; waits until each that began has its verdict."""
        self.is_ending = True
        wait_until(lambda: not any(thread.is_alive() for thread in self.threads),
                   lambda: f"the last messages, {self.next - len(self.final)} of {self.next} missing: {self.tries[-5:]}", seconds, pause=0.1)

    def counts(self):
        return {kind: sum(1 for a in self.tries if a.kind == kind) for kind in ("accepted", "reject", "tempfail", "lost")}


class Rude:
    """Clients that leave in the middle, at every stage in turn; none of theirs may be delivered."""

    STAGES = 5

    def __init__(self, mta):
        self.mta = mta
        self.count = 0
        self.is_ending = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.is_ending:
            try:
                smtp = self.mta.smtp()
                self._leave_at(smtp, self.count % self.STAGES)
                smtp.close()
            except (OSError, smtplib.SMTPException):
                pass
            self.count += 1
            time.sleep(0.2)

    @staticmethod
    def _leave_at(smtp, stage):
        steps = (smtp.hello, lambda: smtp.sender("n9000003@example.org"), lambda: smtp.recipient("rude@example.net"), smtp.begin_data,
                 lambda: smtp.sock.sendall(b"Subject: never\r\n\r\nhalf a mess"))
        for step in steps[:stage + 1]:
            step()

    def finish(self):
        self.is_ending = True
        self.thread.join(60)


def n_delivered(mta):
    base = mta.inside("box", "all", "new")
    return len(os.listdir(base)) if os.path.isdir(base) else 0


def check(test, mta, load):
    """Every number has the right fate: returns how many were delivered. A message whose connection broke may have been delivered without the client
    hearing of it, and then comes twice, as with any mail server."""
    test.assertEqual(len(load.final), load.next, "messages without a verdict")
    for n, attempt in load.final.items():
        test.assertEqual(attempt.kind, "reject" if expected(n) == "reject" else "accepted", attempt)
    due = {n for n in range(load.next) if expected(n) == "deliver"}
    broken = {attempt.n for attempt in load.tries if attempt.kind == "lost"}
    wait_until(lambda: n_delivered(mta) >= len(due), lambda: f"{len(due)} messages, {n_delivered(mta)} are there:\n{mta.log()[-3000:]}", 60, pause=0.2)
    seen = set()
    for mail in mta.mailbox():
        n = int(re.search(r"\d+", mail["Subject"]).group())
        test.assertTrue(n not in seen or n in broken, f"{n} was delivered twice")
        seen.add(n)
        test.assertEqual(expected(n), "deliver", f"{n} was delivered")
        test.assertEqual(mail.get_all("X-Filtered"), [str(n)], f"{n} was accepted unfiltered")
        test.assertEqual((mail.sender, mail.recipients, mail["X-Number"]), (f"n{n}@example.org", [f"r{n}@example.net"], str(n)))
        test.assertIn(f"body {n}\n", mail.get_payload())
    test.assertEqual(seen, due, "lost or not due")
    return len(seen)
