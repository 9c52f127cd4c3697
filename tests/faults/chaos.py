"""Faults drawn by a seeded generator every 0.5 to 5 s, under a numbered load through a real Postfix.

Whatever is drawn: nothing is accepted unfiltered, doubled, lost or mixed up; each tempfail is of a kind that a fault of that time may cause; the first
good answer comes at most 5 s after each fault, and afterwards the throughput is what it was; no process, descriptor, memory file or temporary file is left.

    POSTERN_CHAOS_SEED      repeats a run (the seed is printed)
    POSTERN_CHAOS_MESSAGES, POSTERN_CHAOS_FAULTS   run until both are reached; tools/test --all sets 100,000 and 500
"""

import os
import random
import re
import time
import unittest

import paths  # noqa: F401
from harness.lines import split_lines
from harness.mta import Postfix
from harness.postern import Postern
from harness.process import PATIENCE, processes_of, scaled, wait_until
import injection
from load import CONNECTIONS, Load, Rude, check, filter_text

MESSAGES = int(os.environ.get("POSTERN_CHAOS_MESSAGES") or scaled(2000, 200))
N_FAULTS = int(os.environ.get("POSTERN_CHAOS_FAULTS") or scaled(26, 6))
SEED = int(os.environ.get("POSTERN_CHAOS_SEED") or random.SystemRandom().randrange(1 << 31))
RATE = 30 if PATIENCE > 1 else 60 if MESSAGES < 50000 else 90
QUIET_SECS = 3.0
RECOVERY_SECS = 5.0 * PATIENCE
# A fault's shadow: a request that it met may take its whole budget before it is answered.
BUDGET_SECS = 5.0
OPTIONS = {
    "multiplexor.min_workers": 4, "multiplexor.max_workers": 8, "multiplexor.kill_grace": "500ms", "multiplexor.generation_linger": "15s",
    "multiplexor.recycle_requests": 300, "multiplexor.respawn_max": "1s",
    "milterd.stage_time": "3s", "milterd.message_time": f"{BUDGET_SECS:.0f}s", "milterd.reconnect_time": "2s",
    "milterd.parcel_memory": 65536, "milterd.drain_time": "2s",
}


class Event:
    """One fault that happened: name, begin and end in monotonic seconds, recovery in seconds."""

    def __init__(self, name, reasons):
        self.name, self.reasons = name, reasons
        self.begin, self.end, self.recovery, self.n_deferred = time.monotonic(), None, None, 0
        self.victim = None  # the pid of the worker that it met

    def is_about(self, attempt, worker):
        """Whether it may have met the message; a worker that was stopped while it was idle is met when it is asked next, however late."""
        is_near = attempt.end >= self.begin and attempt.begin <= self.end + BUDGET_SECS + RECOVERY_SECS
        return is_near or (worker is not None and worker == self.victim)


def outcomes(log):
    """{id of a message or connection: what the front end's log says became of it}."""
    lines = [(re.findall(r"\b(?:uid|conn)=([\w.]+)", line), re.search(r"\boutcome=(\w+)", line)) for line in split_lines(log)]
    return {name: found.group(1) for names, found in lines if found for name in names}


def workers_at(log):
    """{id of a message or connection: pid of the worker that was killed while it ran it}, as the multiplexor's log tells."""
    found = re.findall(r"worker (\d+) \(generation \d+\) ended: .*, while running \w+ (?:uid|conn)=([\w.]+)", log)
    return {name: int(pid) for pid, name in found}


def id_of(attempt):
    """The id that ends the text of our replies."""
    name = re.search(r": ([\w.]+)\s*$", str(attempt.answer[2])) if attempt.kind == "tempfail" else None
    return name.group(1) if name else None


def reason_of(attempt, told):
    """Why it was deferred, in the words of injection.FAULTS."""
    if attempt.kind == "lost":
        return "lost"
    text = str(attempt.answer[2])
    if "4.7.1 Service unavailable" in text:  # Postfix, by itself
        return "unavailable"
    return told.get(id_of(attempt), text)


def held_by(postern):
    """Descriptors beyond what is told: (those of milterd, its memory files, those of the multiplexor) without record connections and workers."""
    def links(process):
        folder = f"/proc/{process.pid}/fd"
        found = []
        for name in os.listdir(folder):
            try:
                found.append(os.readlink(os.path.join(folder, name)))
            except OSError:
                continue
        return found
    status = postern.status() or {"clients": 0, "workers": {"total": 0}}
    of_milterd, of_multiplexor = links(postern.milterd), links(postern.multiplexor)
    n_memory = sum(link.startswith("/memfd:") for link in of_milterd)
    return (len(of_milterd) - n_memory - status["clients"], n_memory, len(of_multiplexor) - status["clients"] - status["workers"]["total"])


class Chaos(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(SEED)
        self.events = []
        print(f"seed {SEED}")

    def test_chaos(self):
        mta = Postfix(name="chaos", settings="default_process_limit = 200\nenable_long_queue_ids = yes\n")
        injection.let_signals_kill()
        injection.Versions.count = 0
        postern = Postern(filter_text(0), folder=mta.folder, options=OPTIONS)
        mta.spec = postern.spec
        with mta.start(), postern:
            self.run_all(mta, postern)

    def run_all(self, mta, postern):
        before = held_by(postern)
        load, rude = Load(mta, RATE), Rude(mta)
        quiet = self.quiet_throughput(load)
        while len(self.events) < N_FAULTS or load.next < MESSAGES:
            self.inject(postern, load)
            time.sleep(self.random.uniform(0.5, 5) if PATIENCE == 1 else self.random.uniform(2, 6))
        after = self.throughput_after(load)
        rude.finish()
        load.finish()
        n_delivered = check(self, mta, load)
        self.check_tempfails(load, postern)
        self.check_left(postern, before)
        self.check_logs(postern)
        self.report(load, n_delivered, quiet, after)
        self.assertGreaterEqual(after, 0.8 * quiet, "throughput is not back")

    def quiet_throughput(self, load):
        wait_until(lambda: load.next > 40, "the load to begin")
        begin = time.monotonic()
        time.sleep(QUIET_SECS)
        return load.throughput(begin, begin + QUIET_SECS)

    def inject(self, postern, load):
        name, fault, reasons = injection.draw(self.random)
        event = Event(name, reasons)
        event.victim = fault(postern, self.random)
        event.end = time.monotonic()
        first = wait_until(lambda: load.good_since(event.end), lambda: f"a good answer after: {name}\n{postern.logs()}", 30)
        event.recovery = first.end - event.end
        self.events.append(event)
        self.assertLessEqual(event.recovery, RECOVERY_SECS, f"good answers after: {name}")

    def throughput_after(self, load):
        """In the three seconds that begin 5 s after the last fault."""
        begin = self.events[-1].end + RECOVERY_SECS
        time.sleep(max(0, begin + QUIET_SECS - time.monotonic()))
        return load.throughput(begin, begin + QUIET_SECS)

    def check_tempfails(self, load, postern):
        told, killed = outcomes(postern.milterd.output()), workers_at(postern.multiplexor.output())
        for attempt in load.tries:
            if attempt.kind in ("tempfail", "lost"):
                reason = reason_of(attempt, told)
                around = [event for event in self.events if event.is_about(attempt, killed.get(id_of(attempt)))]
                causes = [event for event in around if reason in event.reasons]
                self.assertTrue(causes, f"{attempt}\ndeferred as {reason!r}, and none of {[event.name for event in around]} explains that")
                causes[-1].n_deferred += 1

    def check_left(self, postern, before):
        """A process for each worker, the nursery and the daemons; descriptors as before, memory files for as many messages as come at once; a spool with poison only."""
        wait_until(lambda: len((postern.status() or {}).get("generations", [])) == 1, "one generation", 40)
        wait_until(lambda: (postern.status() or {}).get("workers", {}).get("busy") == 0, "all workers idle")

        def as_told():
            return len(processes_of(postern.folder.path)) == postern.status()["workers"]["total"] + 3
        wait_until(as_told, lambda: f"processes as told: {processes_of(postern.folder.path)} {postern.workers()}")
        wait_until(lambda: all(now <= least + more for now, least, more in zip(held_by(postern), before, (2, CONNECTIONS + 4, 2))),
                   lambda: f"descriptors as before: {held_by(postern)}, before {before}")
        # Two kills can meet the same message: that is what the folder is for.
        self.assertLessEqual(set(os.listdir(postern.folder("spool"))), {"poison"})

    def check_logs(self, postern):
        for process in (postern.milterd, postern.multiplexor):
            for bad in ("mixed up", "invariant does not hold", "runtime error", "Sanitizer", "panic"):
                self.assertNotIn(bad, process.output())

    def report(self, load, n_delivered, quiet, after):
        kinds = {}
        for event in self.events:
            kinds.setdefault(event.name, []).append(event)
        for name, events in sorted(kinds.items()):
            print(f"  {name}: {len(events)} times, {sum(event.n_deferred for event in events)} deferred, "
                  f"good again after {max(event.recovery for event in events):.2f} s at most")
        print(f"{load.next} messages, {len(self.events)} faults, {load.counts()}, {n_delivered} delivered; "
              f"throughput {quiet:.0f}/s before, {after:.0f}/s after; unfiltered 0, doubled 0, lost 0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
