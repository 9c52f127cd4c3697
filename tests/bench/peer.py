"""A filter under load: its processes, its milter socket in a folder of its own, and what the kernel says they cost."""

import os
import re
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
RELEASE = os.path.join(TOP, "build", "release")
CACHE = os.environ.get("POSTERN_CACHE") or os.path.join(TOP, ".cache")
TICKS = os.sysconf("SC_CLK_TCK")


class CannotStart(Exception):
    """The peer is there but does not serve; the message says why."""


class Peer:
    """One running filter. `kind` is the work it does (cases.py), `workers` its processes or threads where that can be chosen."""

    name = ""
    title = ""               # for the documents
    kinds = {}               # {kind of work asked for: kind of instance that does it}
    stop_secs = 20           # how long its processes may take to end before they are killed
    start_secs = 120         # how long until the first answer, at most
    is_ours = False

    def __init__(self, folder, kind="parts", workers=2, label=""):
        self.kind = kind
        self.workers = workers
        self.folder = os.path.join(folder, f"{self.name}-{kind}{label}")
        os.makedirs(self.folder)
        os.chmod(self.folder, 0o755)
        self.socket = os.path.join(self.folder, "milter.sock")
        self.processes = []

    @classmethod
    def missing(cls):
        """Why it cannot be measured here; None when it can."""
        return None

    def start(self):
        raise NotImplementedError

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def filter(self, name):
        return os.path.join(HERE, "filters", name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def spawn(self, *argv, env=None):
        with open(self.path("log"), "ab") as log:
            self.processes.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(env or {})}))

    def last_words(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as log:
            return log.read()[-600:].strip() or "it said nothing"

    def answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as conn:
                conn.connect(self.socket)
                return True
        except OSError:
            return False

    def stop(self):
        """Ends its processes; those that take too long, and what they leave behind, are killed."""
        family = self.pids()
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self.stop_secs
        for process in self.processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                self.kill(family)
                process.wait()
        self.processes = []

    @staticmethod
    def kill(pids):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def pids(self):
        """The processes and all their descendants."""
        seen, todo = [], [p.pid for p in self.processes if p.poll() is None]
        while todo:
            pid = todo.pop()
            if pid in seen:
                continue
            seen.append(pid)
            for task in tasks(pid):
                todo += [int(child) for child in proc(f"{pid}/task/{task}/children").split()]
        return seen

    def cpu_by_role(self):
        """{role: seconds of user and system time}; those of children that have ended and were waited for under "ended"."""
        found = {"ended": 0}
        for pid in self.pids():
            stat, role = proc(f"{pid}/stat"), self.role(proc(f"{pid}/comm").strip())
            if stat:
                user, system, user_ended, system_ended = (int(x) / TICKS for x in stat.rsplit(")", 1)[1].split()[11:15])
                found[role] = found.get(role, 0) + user + system
                found["ended"] += user_ended + system_ended
        return found

    def activity(self):
        """(seconds on a processor, to the nanosecond; times a thread gave the processor up) of all threads that run now."""
        spent, sleeps = 0, 0
        for pid in self.pids():
            for task in tasks(pid):
                spent += int((proc(f"{pid}/task/{task}/schedstat").split() or [0])[0])
                found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", proc(f"{pid}/task/{task}/status"), re.M)
                sleeps += int(found.group(1)) if found else 0
        return spent / 1e9, sleeps

    def memory(self):
        """[{role, n, kb}]: proportional set size in KiB of the processes of one role."""
        found = {}
        for pid in self.pids():
            pss = re.search(r"^Pss:\s+(\d+)", proc(f"{pid}/smaps_rollup"), re.M)
            if pss:
                role = self.role(proc(f"{pid}/comm").strip())
                n, kb = found.get(role, (0, 0))
                found[role] = (n + 1, kb + int(pss.group(1)))
        return [{"role": role, "n": n, "kb": kb} for role, (n, kb) in sorted(found.items())]

    def role(self, comm):
        return comm


def proc(name):
    """A file of /proc; empty when the process is gone."""
    try:
        with open(os.path.join("/proc", name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def tasks(pid):
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
