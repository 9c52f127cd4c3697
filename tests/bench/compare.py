"""The comparison behind tests/bench/run: starts the peers, runs the load over each in turn, round after round, and prints medians and ratios."""

import argparse
import os
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import corpus

RELEASE = os.path.join(TOP, "build", "release")
CACHE = os.environ.get("POSTERN_CACHE") or os.path.join(TOP, ".cache")
TICKS = os.sysconf("SC_CLK_TCK")
WORKERS = 2


class Peer:
    """A filter under load: processes of its own, a milter socket in a folder of its own."""

    name = ""

    def __init__(self, folder):
        self.folder = os.path.join(folder, self.name)
        os.makedirs(self.folder)
        os.chmod(self.folder, 0o755)
        self.socket = os.path.join(self.folder, "milter.sock")
        self.processes = []

    def spawn(self, *argv, env=None):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.processes.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(env or {})}))

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def start(self):
        raise NotImplementedError

    def answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as conn:
                conn.connect(self.socket)
                return True
        except OSError:
            return False

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def pids(self):
        """The processes and all their descendants."""
        seen, todo = [], [p.pid for p in self.processes]
        while todo:
            pid = todo.pop()
            if pid in seen:
                continue
            seen.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                        todo += [int(child) for child in file.read().split()]
            except OSError:
                continue
        return seen

    def cpu(self):
        """Seconds of user and system time of all of them, and of the children they waited for."""
        ticks = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                    ticks += sum(int(x) for x in file.read().rsplit(")", 1)[1].split()[11:15])
            except OSError:
                continue
        return ticks / TICKS

    def pss_kb(self):
        """{command: KiB} proportional set size, summed over processes of one command."""
        found = {}
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                    pss = next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    comm = file.read().strip()
            except (OSError, StopIteration):
                continue
            found[comm] = found.get(comm, 0) + pss
        return found


class Bare(Peer):
    name = "bare"

    def start(self):
        self.spawn(os.path.join(RELEASE, "tests", "postern-bare"), "-g", "-p", "unix:" + self.socket)


class BareEmpty(Peer):
    """The bare filter that parses nothing."""
    name = "bare-empty"

    def start(self):
        self.spawn(os.path.join(RELEASE, "tests", "postern-bare"), "-p", "unix:" + self.socket)


class Postern(Peer):
    name = "postern"
    recycle_requests = 500

    def start(self):
        conf = self.path("postern.conf")
        os.makedirs(self.path("spool"))
        with open(conf, "w", encoding="utf-8") as file:
            file.write(f"[milterd]\nsocket = unix:{self.socket}\nspool = {self.path('spool')}\n"
                       f"[multiplexor]\nsocket = {self.path('multiplexor.sock')}\ncontrol_socket = {self.path('control.sock')}\n"
                       f"min_workers = {WORKERS}\nmax_workers = {WORKERS}\nrecycle_requests = {self.recycle_requests}\n"
                       f"[worker]\nfilter = {os.path.join(HERE, 'filters', 'parts.lua')}\n[log]\ntarget = stderr\n")
        self.spawn(os.path.join(RELEASE, "bin", "postern-multiplexor"), "-c", conf)
        self.spawn(os.path.join(RELEASE, "bin", "postern-milterd"), "-c", conf)


class Mimedefang(Peer):
    name = "mimedefang"

    def start(self):
        root = os.path.join(CACHE, "peers", "mimedefang")
        user = pwd.getpwnam("nobody")
        spool = self.path("spool")
        os.makedirs(spool, mode=0o700)
        for path in (spool, self.folder):
            os.chown(path, user.pw_uid, user.pw_gid)
        env = {"PERL5LIB": os.path.join(root, "usr", "share", "perl5")}
        control = self.path("multiplexor.sock")
        # Its program looks for files in /etc/mail, where nothing of ours may stand.
        program = self.path("mimedefang.pl")
        with open(os.path.join(root, "usr/bin/mimedefang.pl"), encoding="utf-8") as source, open(program, "w", encoding="utf-8") as target:
            target.write(source.read().replace("/etc/mail/", os.path.join(root, "etc/mail/")))
        os.chmod(program, 0o755)
        self.spawn(os.path.join(root, "usr/bin/mimedefang-multiplexor"), "-D", "-E", "-U", "nobody", "-z", spool, "-s", control,
                   "-f", program, "-F", os.path.join(HERE, "filters", "mimedefang-filter"),
                   "-m", str(WORKERS), "-x", str(WORKERS), "-r", "500", "-V", "0", "-b", "600", "-c", "600", "-i", "86400", "-w", "0", "-W", "0",
                   "-q", "128", "-Q", "300", "-I", "200", env=env)
        deadline = time.monotonic() + 30
        while not os.path.exists(control) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.spawn(os.path.join(root, "usr/bin/mimedefang"), "-D", "-U", "nobody", "-X", "-q", "-z", spool, "-m", control, "-b", "200", "-p", self.socket, env=env)


PEERS = {peer.name: peer for peer in (Bare, BareEmpty, Postern, Mimedefang)}


def load(peer, mails, connections, messages=None, seconds=None):
    """Runs the load program; returns its figures as {key: float}."""
    argv = [os.path.join(RELEASE, "tests", "postern-load"), "-q", "-a", "unix:" + peer.socket, "-c", str(connections), "-t", "120", "-T", "240"]
    argv += ["-n", str(messages)] if messages else ["-n", "10000000", "-d", str(seconds)]
    done = subprocess.run([*argv, *mails], capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"{peer.name}: the load program failed: {done.stderr}")
    return {key: float(value) for key, value in (pair.split("=") for pair in done.stdout.split())}


def begin(peer, mails):
    """Starts a peer and checks that it does the work: four messages taken with one header added, the fifth refused."""
    peer.start()
    deadline = time.monotonic() + 60
    while not peer.answers() or load(peer, [mails["small"]], 1, messages=1)["continue"] != 1:
        if time.monotonic() > deadline:
            with open(peer.path("log"), encoding="utf-8", errors="replace") as log:
                raise SystemExit(f"{peer.name} does not answer:\n{log.read()[-2000:]}")
        time.sleep(0.1)
    if peer.name == "bare-empty":
        return
    taken = load(peer, [mails[name] for name in ("small", "html", "attach", "big")], 1, messages=4)
    refused = load(peer, [mails["exe"]], 1, messages=1)
    if taken["continue"] + taken["accept"] != 4 or taken["addheader"] + taken["insheader"] < 4 or refused["reject"] != 1:
        raise SystemExit(f"{peer.name} does not do the same work as the others: {taken} {refused}")
    load(peer, [mails["small"], mails["html"], mails["attach"]], 4, messages=60)


def cell(peer, mail, connections, seconds):
    before = peer.cpu()
    figures = load(peer, [mail], connections, seconds=seconds)
    figures["cpu_ms"] = (peer.cpu() - before) / max(figures["msgs"], 1) * 1000
    figures["unserved"] = sum(figures[k] for k in ("tempfail", "other", "protocol_error", "closed", "timeout"))
    return figures


def spread(values):
    values = sorted(values)
    return f"{statistics.median(values):.2f} ({values[0]:.2f}–{values[-1]:.2f})"


def table(results, peers, case, connections, out=sys.stdout):
    print(f"\n{case}, {connections} connections\n", file=out)
    print("| filter | msg/s | ratio to bare | CPU ms/msg | ratio to bare | p50 ms | p99 ms | times MIMEDefang | unserved |", file=out)
    print("| --- " * 9 + "|", file=out)
    rounds = results[case, connections]
    for name in peers:
        def median(key, name=name):
            return statistics.median(r[name][key] for r in rounds)

        def ratio(key, base, name=name):
            if base not in peers:
                return "–"
            return spread([r[name][key] / r[base][key] for r in rounds if r[base][key]] or [0])
        print(f"| {name} | {median('rate'):.0f} | {ratio('rate', 'bare')} | {median('cpu_ms'):.2f} | {ratio('cpu_ms', 'bare')} | {median('msg_p50'):.2f} | "
              f"{median('msg_p99'):.2f} | {ratio('rate', 'mimedefang')} | {sum(r[name]['unserved'] for r in rounds):.0f} |", file=out)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run --compare")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--cases", default="small,html,attach")
    parser.add_argument("--connections", default="10")
    parser.add_argument("--peers", default="bare,postern,mimedefang")
    options = parser.parse_args()
    names = options.peers.split(",")
    folder = tempfile.mkdtemp(prefix="postern-bench.", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    os.chmod(folder, 0o755)
    peers = {}
    try:
        mails = corpus.write(os.path.join(folder, "mails"))
        for name in names:
            peers[name] = PEERS[name](folder)
            begin(peers[name], mails)
        results = {}
        for number in range(options.rounds):
            for case in options.cases.split(","):
                for connections in map(int, options.connections.split(",")):
                    seconds = options.seconds * (2 if case == "big" else 1)
                    results.setdefault((case, connections), []).append({n: cell(peers[n], mails[case], connections, seconds) for n in names})
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
        for case, connections in results:
            table(results, names, case, connections)
        print("\nMemory after the load, proportional set size in MB\n")
        for name in names:
            sizes = peers[name].pss_kb()
            print(f"| {name} | {sum(sizes.values()) / 1024:.1f} | " + ", ".join(f"{comm} {kb / 1024:.1f}" for comm, kb in sorted(sizes.items())) + " |")
    finally:
        for peer in peers.values():
            peer.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
