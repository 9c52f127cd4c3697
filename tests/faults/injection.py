"""The faults that the chaos runner and the soak draw from: one function each, and a table that says how often, and what it may cost.

A fault takes (postern, random) and returns when it is over; what it needs again (a multiplexor that was killed) it has started again by then.
"""

import os
import resource
import signal
import time

from load import filter_text

BROKEN_FILTERS = {
    "syntax error": "function filter_message(msg\n",
    "error at load": "error('no')\n",
    "missing module": "require 'not.there'\n",
    "binary chunk": b"\x1bLua\x54\x00\x19\x93\r\n\x1a\n",
    "unknown hook": "function filter_mesage(msg) end\n",
    "error in filter_init": "function filter_init() error('no') end\nfunction filter_message(msg) end\n",
    "half-written": filter_text(0)[:300],
}


class Versions:
    """The versions of the filter that reloads count through; shared by all faults of a run."""
    count = 0


def let_signals_kill():
    """A signal that a test sends is no finding of a sanitizer: daemons started from here on leave these to the kernel."""
    ours = ":".join(f"handle_{name}=0" for name in ("segv", "sigbus", "sigfpe", "sigill", "abort"))
    os.environ["ASAN_OPTIONS"] = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), ours)))


def kill(pid, sig):
    try:
        os.kill(pid, sig)
        return True
    except ProcessLookupError:
        return False


def worker_pid(postern, random):
    pids = [worker["pid"] for worker in postern.workers() if worker.get("pid")]
    return random.choice(pids) if pids else None


def to_worker(sig):
    """A fault that tells whom it met."""
    def fault(postern, random):
        pid = worker_pid(postern, random)
        if pid:
            kill(pid, sig)
        return pid
    return fault


def worker_storm(postern, random):
    for _ in range(5):
        to_worker(signal.SIGKILL)(postern, random)
        time.sleep(0.1)


def all_workers(postern, random):
    for worker in postern.workers():
        if worker.get("pid"):
            kill(worker["pid"], signal.SIGKILL)


def nursery_pid(postern):
    """The child of the multiplexor that is a nursery and no worker: the one that never said which worker it is."""
    workers = {worker.get("pid") for worker in postern.workers()}
    with open(f"/proc/{postern.multiplexor.pid}/task/{postern.multiplexor.pid}/children", encoding="ascii") as file:
        return next((int(pid) for pid in file.read().split() if int(pid) not in workers), None)


def nursery_kill(postern, random):
    pid = nursery_pid(postern)
    if pid:
        kill(pid, signal.SIGKILL)


def multiplexor_kill(postern, random):
    postern.multiplexor.kill()
    postern.multiplexor.popen.wait()
    time.sleep(random.uniform(0, 0.5))
    postern.start_multiplexor()


def milterd_kill(postern, random):
    postern.milterd.kill()
    postern.milterd.popen.wait()
    time.sleep(random.uniform(0, 0.5))
    postern.start_milterd()


def kill_all(postern, random):
    """Both at once, as a power cut would; the workers go with the multiplexor."""
    for process in (postern.milterd, postern.multiplexor):
        process.kill()
    for process in (postern.milterd, postern.multiplexor):
        process.popen.wait()
    postern.start_multiplexor()
    postern.start_milterd()


def stopped(process_of):
    def fault(postern, random):
        pid = process_of(postern).pid
        kill(pid, signal.SIGSTOP)
        time.sleep(random.uniform(0.2, 2))
        kill(pid, signal.SIGCONT)
    return fault


def multiplexor_restart(postern, random):
    """In good order, as an upgrade does."""
    postern.multiplexor.stop()
    postern.start_multiplexor()


def reload_good(postern, random):
    Versions.count += 1
    postern.save_filter(filter_text(Versions.count))
    answer = postern.reload()
    assert answer is None or answer["ok"], answer


def reload_broken(postern, random):
    """Refused, whatever is wrong with it; the file is whole again before the multiplexor may need it for a new start."""
    name, text = random.choice(sorted(BROKEN_FILTERS.items(), key=lambda item: item[0]))
    postern.save_filter(text)
    try:
        answer = postern.reload()
    finally:
        postern.save_filter(filter_text(Versions.count))
    assert answer is None or not answer["ok"], name


def recycle(postern, random):
    postern.control("recycle")


def scale(postern, random):
    postern.control("scale", {"min": random.randint(1, 4), "max": random.randint(4, 8)})


def drain(postern, random):
    postern.control("drain")
    time.sleep(random.uniform(0.1, 1))
    postern.control("resume")


def starved(process_of):
    """No further descriptor for a while."""
    def fault(postern, random):
        pid = process_of(postern).pid
        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), limit[1]))
        time.sleep(random.uniform(0.3, 1.5))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
    return fault


def signal_storm(postern, random):
    """What must not disturb either: CHLD, WINCH, PIPE, and HUP, which means reload to the multiplexor."""
    for _ in range(200):
        for process, signals in ((postern.multiplexor, (signal.SIGCHLD, signal.SIGWINCH, signal.SIGPIPE)),
                                 (postern.milterd, (signal.SIGHUP, signal.SIGWINCH, signal.SIGPIPE))):
            kill(process.pid, random.choice(signals))
        time.sleep(0.002)


# What a deferred message was told: by the mail server when its filter is away, by the front end's log otherwise.
UNANSWERED = {"nobody", "died", "late"}
KILLED = {"poison"}  # two kills can meet one message
AWAY = {"unavailable", "lost"}

# name: (function, weight, why mail may be deferred because of it)
FAULTS = {
    "worker killed": (to_worker(signal.SIGKILL), 6, KILLED),
    "worker crashed": (to_worker(signal.SIGSEGV), 2, KILLED),
    "worker aborted": (to_worker(signal.SIGABRT), 1, KILLED),
    "worker stopped": (to_worker(signal.SIGSTOP), 3, {"deadline"}),
    "workers killed one after the other": (worker_storm, 1, KILLED),
    "all workers killed": (all_workers, 2, KILLED),
    "nursery killed": (nursery_kill, 2, set()),
    "multiplexor killed": (multiplexor_kill, 3, UNANSWERED | KILLED),
    "multiplexor stopped": (stopped(lambda postern: postern.multiplexor), 2, UNANSWERED | {"deadline"}),
    "multiplexor restarted": (multiplexor_restart, 1, UNANSWERED | {"drain"}),
    "milterd killed": (milterd_kill, 3, AWAY),
    "milterd stopped": (stopped(lambda postern: postern.milterd), 2, set()),
    "all killed": (kill_all, 1, AWAY | UNANSWERED),
    "reload": (reload_good, 4, set()),
    "reload of a broken filter": (reload_broken, 4, set()),
    "recycled": (recycle, 2, set()),
    "scaled": (scale, 1, set()),
    "drained": (drain, 2, {"drain"}),
    "multiplexor without descriptors": (starved(lambda postern: postern.multiplexor), 2, UNANSWERED),
    "milterd without descriptors": (starved(lambda postern: postern.milterd), 2, AWAY | UNANSWERED | {"parcel"}),
    "signals": (signal_storm, 1, set()),
}


def draw(random, names=None):
    """(name, function, why mail may be deferred) of one fault, by weight."""
    names = list(names or FAULTS)
    name = random.choices(names, [FAULTS[n][1] for n in names])[0]
    function, _, reasons = FAULTS[name]
    return name, function, reasons
