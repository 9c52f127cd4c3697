"""How one figure comes about: a load over a peer, its processor time, its start, its rest."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import corpus
from peer import RELEASE, CannotStart

CHECKED = ("small", "html", "attach", "big")
IDLE_SECS = 5
SETTLE_SECS = 2        # a peer whose processes do not change for so long has all of them
STARTS = 5


@contextlib.contextmanager
def bench_folder():
    """A folder on tmpfs with the messages, {name: path}; gone afterwards. From here on SIGTERM ends the program in good order, so that its peers end too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="postern-bench.", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        os.chmod(folder, 0o755)
        yield folder, corpus.write(os.path.join(folder, "mails"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def load(peer, mails, connections, messages=None, seconds=None, recipients=1):
    """Runs the load program; returns its figures as {key: float}."""
    argv = [os.path.join(RELEASE, "tests", "postern-load"), "-q", "-a", "unix:" + peer.socket, "-c", str(connections), "-t", "120", "-T", "240",
            "-r", str(recipients)]
    argv += ["-n", str(messages)] if messages else ["-n", "10000000", "-d", str(seconds)]
    done = subprocess.run([*argv, *mails], capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"{peer.name}: the load program failed: {done.stderr}")
    return {key: float(value) for key, value in (pair.split("=") for pair in done.stdout.split())}


def wait_until_served(peer, mail):
    """Until one message is taken; returns its figures."""
    deadline = time.monotonic() + peer.start_secs
    while True:
        if peer.answers():
            figures = load(peer, [mail], 1, messages=1)
            if figures["continue"] + figures["accept"] == 1:
                return figures
        if time.monotonic() > deadline or all(process.poll() is not None for process in peer.processes):
            raise CannotStart(f"{peer.name} does not answer: {peer.last_words()}")
        time.sleep(0.001)


def begin(peer, mails):
    """Starts a peer and checks that it does the work: messages taken with one header added, the one with a program refused."""
    peer.start()
    wait_until_served(peer, mails["small"])
    taken = load(peer, [mails[name] for name in CHECKED], 1, messages=len(CHECKED))
    refused = load(peer, [mails["exe"]], 1, messages=1)
    is_right = taken["continue"] + taken["accept"] == len(CHECKED) and taken["addheader"] + taken["insheader"] == len(CHECKED)
    if not is_right or refused["reject"] != (peer.kind != "header"):
        raise CannotStart(f"{peer.name} does not do the same work as the others: {taken} {refused}")
    load(peer, [mails[name] for name in ("small", "html", "attach")], 4, messages=60)


def cell(peer, mail, connections, seconds, recipients=1):
    """Messages a second, processor time (of Postern by process too), latency and messages not served of one load."""
    before = peer.cpu_by_role()
    figures = load(peer, [mail], connections, seconds=seconds, recipients=recipients)
    after = peer.cpu_by_role()
    each = {role: (spent - before.get(role, 0)) / max(figures["msgs"], 1) * 1000 for role, spent in after.items()}
    # A worker that ended moves from its role to "ended": the two are one sum below, or a total.
    cpu_ms = (sum(after.values()) - sum(before.values())) / max(figures["msgs"], 1) * 1000
    unserved = sum(figures[key] for key in ("tempfail", "other", "protocol_error", "closed", "timeout"))
    found = {"rate": figures["rate"], "cpu_ms": round(cpu_ms, 5), "p50": figures["msg_p50"], "p99": figures["msg_p99"], "unserved": int(unserved)}
    if peer.is_ours:
        each["worker"] = each.get("worker", 0) + each.pop("ended")
        found["by_role"] = {role: round(spent, 5) for role, spent in each.items()}
    return found


def start_ms(make, mail):
    """Milliseconds from exec to the end of the first message, of several starts."""
    times = []
    for number in range(STARTS):
        peer = make(f"-start{number}")
        try:
            before = time.monotonic()
            peer.start()
            wait_until_served(peer, mail)
            times.append(round((time.monotonic() - before) * 1000, 2))
        finally:
            peer.stop()
    return times


def settle(peer):
    """Until it has started all the processes that it starts."""
    before, since = None, time.monotonic()
    deadline = since + peer.start_secs
    while time.monotonic() - since < SETTLE_SECS and time.monotonic() < deadline:
        now = sorted(peer.pids())
        if now != before:
            before, since = now, time.monotonic()
        time.sleep(0.05)


def at_rest(peer, mails):
    """Memory after the first message and after a load, and what idling costs."""
    try:
        peer.start()
        wait_until_served(peer, mails["small"])
        settle(peer)
        found = {"workers": peer.workers, "idle": peer.memory()}
        load(peer, [mails[name] for name in ("small", "html", "attach")], 10, messages=300)
        settle(peer)
        found["loaded"] = peer.memory()
        cpu, sleeps = peer.activity()
        time.sleep(IDLE_SECS)
        later, more_sleeps = peer.activity()
        return {**found, "idle_cpu_ms": round((later - cpu) * 1000, 3), "wakeups": more_sleeps - sleeps, "idle_secs": IDLE_SECS}
    finally:
        peer.stop()
