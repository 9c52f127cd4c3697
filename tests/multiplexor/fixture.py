"""A real multiplexor over fake workers (tests/fakes/fake_worker.c) in a private folder."""

import json
import os
import re
import signal
import socket
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from fakes.record_client import RecordClient, Watcher
from harness.postern import is_settled
from harness.process import BIN, BUILD, PATIENCE, Folder, Process, processes_of, wait_until

HOOKS = "hooks filter_relay filter_recipient filter_message filter_close filter_unknown\n"


class Control:
    """One connection to the control socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30 * PATIENCE)
        self.sock.connect(path)
        self.file = self.sock.makefile("rb")

    def send_line(self, line):
        self.sock.sendall(line + b"\n")

    def answer(self):
        """The next answer; None at the end of file."""
        line = self.file.readline()
        return json.loads(line) if line else None

    def call(self, command, **args):
        self.send_line(json.dumps({"v": 1, "command": command, "args": args}).encode())
        return self.answer()

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Multiplexor:
    """options: {"multiplexor.key": value}; filter: lines for the fake worker."""

    def __init__(self, options=None, filter_text=HOOKS, program=None, wait=True):
        self.folder = Folder("mux")
        self.path = self.folder("mux.sock")
        self.control_path = self.folder("control.sock")
        self.filter = self.folder.write("filter.lua", filter_text)
        self.conf = self.folder.write("postern.conf", "[worker]\non_error = tempfail\n")
        self.options = {
            "multiplexor.socket": self.path,
            "multiplexor.control_socket": self.control_path,
            "multiplexor.worker_program": program or os.path.join(BUILD, "tests", "fake_worker"),
            "multiplexor.min_workers": 2,
            "multiplexor.max_workers": 4,
            "worker.filter": self.filter,
            "log.level": "debug",
            "log.target": "stderr",
            **(options or {}),
        }
        self.process = None
        self.start(wait)

    def start(self, wait=True):
        argv = [os.path.join(BIN, "postern-multiplexor"), "-c", self.conf]
        for key, value in self.options.items():
            argv += ["-o", f"{key}={value}"]
        self.process = Process(argv, self.folder("log"))
        wait_until(self.answers, lambda: "the control socket\n" + self.log())
        if wait:
            self.wait(lambda: is_settled(self.status()), "a generation and its workers to serve")

    def answers(self):
        try:
            return self.call("ping")
        except (FileNotFoundError, ConnectionError):
            if not self.process.is_alive():
                raise AssertionError("it ended:\n" + self.log()) from None
            return None

    def log(self):
        return self.process.output()

    def control(self):
        return Control(self.control_path)

    def call(self, command, **args):
        with self.control() as control:
            return control.call(command, **args)

    def status(self):
        return self.call("status")["data"]

    def workers(self, state=None):
        rows = self.call("workers")["data"]["workers"]
        return [row for row in rows if state is None or row["state"] == state]

    def wait(self, condition, what, seconds=10.0):
        return wait_until(condition, lambda: f"{what}\n{json.dumps(self.status())}\n{self.log()[-3000:]}", seconds)

    def wait_for_generation(self, number):
        return self.wait(lambda: self.status()["generation"] == number, f"generation {number}")

    def wait_for_idle(self, n):
        return self.wait(lambda: self.status()["workers"]["idle"] == n, f"{n} idle workers")

    def wait_for_counter(self, *path, value):
        def reached():
            at = self.status()
            for key in path:
                at = at[key]
            return at >= value
        return self.wait(reached, f"{path} to reach {value}")

    def set_filter(self, text):
        self.folder.write("filter.lua", text)

    def client(self):
        return RecordClient(self.path)

    def watcher(self, sandbox=""):
        return Watcher(self.path, sandbox)

    def stop(self, expect=0):
        """Asks it to end; fails when it does not end well, leaves a process, or broke an invariant."""
        status = self.process.stop(signal.SIGTERM)
        log = self.log()
        assert status == expect, f"ended with {status}\n{log[-3000:]}"
        wait_until(lambda: not processes_of(self.folder.path), "leftover processes to end", 2)
        assert not re.search(r"Sanitizer|runtime error:|invariant does not hold", log), log[-5000:]
        self.folder.remove()


class MultiplexorTest(unittest.TestCase):
    """Stops what a test started, whatever happened."""

    def start(self, options=None, **kwargs):
        mux = Multiplexor(options, **kwargs)
        self.addCleanup(self._end, mux)
        return mux

    def client(self, mux):
        client = mux.client()
        self.addCleanup(client.close)
        return client

    def clients(self, mux, n):
        return [self.client(mux) for _ in range(n)]

    def watcher(self, mux, sandbox=""):
        watcher = mux.watcher(sandbox)
        self.addCleanup(watcher.close)
        return watcher

    def _end(self, mux):
        if mux.process.is_alive():
            mux.stop()
