"""Postern's daemons for one test: multiplexor and front end over sockets in a private folder."""

import json
import os
import re
import signal
import socket
import subprocess

from .lines import split_lines
from .process import BIN, PATIENCE, Folder, Process, processes_of, wait_until


def is_settled(status):
    """A generation serves and the pool has its least number of workers, all of them ready: nothing changes by itself any more."""
    workers = (status or {}).get("workers")
    return bool(status and status["generation"] and workers["total"] >= workers["min"] and not workers["starting"])


class Postern:
    """Starts both daemons for a filter text.

    options: {"section.key": value}, e.g. {"multiplexor.min_workers": 4}.
    socket:  the milter's socket spec; default a UNIX socket in the folder.
    env:     further variables of both daemons' environment.
    """

    def __init__(self, filter_text, options=None, socket_spec=None, folder=None, start=True, name="postern", env=None):
        self.env = env
        self.folder = folder or Folder(name)
        self.owns_folder = folder is None
        self.filter = self.folder.write("filter.lua", filter_text)
        os.makedirs(self.folder("spool"), exist_ok=True)
        self.spec = socket_spec or "unix:" + self.folder("milter.sock")
        settings = {
            "milterd.socket": self.spec,
            "milterd.socket_mode": "0666",
            "milterd.spool": self.folder("spool"),
            "multiplexor.socket": self.folder("multiplexor.sock"),
            "multiplexor.control_socket": self.folder("control.sock"),
            "multiplexor.min_workers": 2,
            "multiplexor.max_workers": 4,
            "worker.filter": self.filter,
            "log.target": "stderr",
            **(options or {}),
        }
        sections = {}
        for key, value in settings.items():
            section, option = key.split(".", 1)
            sections.setdefault(section, []).append(f"{option} = {value}")
        text = "".join(f"[{section}]\n" + "\n".join(lines) + "\n" for section, lines in sections.items())
        self.conf = self.folder.write("postern.conf", text)
        self.multiplexor = None
        self.milterd = None
        if start:
            self.start_multiplexor()
            self.start_milterd()
            self.wait_ready()

    def start_multiplexor(self):
        self.multiplexor = Process([os.path.join(BIN, "postern-multiplexor"), "-c", self.conf], self.folder("multiplexor.log"), env=self.env)

    def start_milterd(self):
        self.milterd = Process([os.path.join(BIN, "postern-milterd"), "-c", self.conf], self.folder("milterd.log"), env=self.env)

    def wait_ready(self):
        """Until a generation serves and the milter socket listens; sets spec to what it really is."""
        self.milterd.wait_for_line("listening on ")
        self.spec = re.findall(r'listening on ([^\s"]+)', self.milterd.output())[-1]
        wait_until(lambda: is_settled(self.status()), lambda: f"a generation and its workers to serve: {self.status()}\n{self.logs()}")

    def ctl(self, *words, check=False):
        """Runs posternctl; returns (exit code, stdout, stderr)."""
        done = subprocess.run([os.path.join(BIN, "posternctl"), "-c", self.conf, *map(str, words)], capture_output=True,
                              text=True, timeout=60 * PATIENCE, check=False, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError(f"posternctl {words}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.logs()}")
        return done.returncode, done.stdout, done.stderr

    def control(self, command, args=None, seconds=30):
        """One command over the control socket, without posternctl; None when nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX) as conn:
                conn.settimeout(seconds * PATIENCE)
                conn.connect(self.folder("control.sock"))
                conn.sendall(json.dumps({"v": 1, "command": command, "args": args or {}}).encode() + b"\n")
                data = b""
                while not data.endswith(b"\n"):
                    more = conn.recv(65536)
                    if not more:
                        return None
                    data += more
                return json.loads(data)
        except (ConnectionError, FileNotFoundError):
            return None

    def status(self):
        answer = self.control("status")
        return answer["data"] if answer and answer.get("ok") else None

    def workers(self):
        answer = self.control("workers")
        data = answer["data"] if answer and answer.get("ok") else []
        return data["workers"] if isinstance(data, dict) else data

    def save_filter(self, text):
        self.folder.write("filter.lua", text)

    def reload(self):
        return self.control("reload", seconds=60)

    def log_lines(self, text=""):
        """Lines of the front end's log that hold the text."""
        return [line for line in split_lines(self.milterd.output()) if text in line]

    def logs(self):
        out = ""
        for process in (self.multiplexor, self.milterd):
            if process:
                out += f"--- {process.log}\n" + process.output()[-4000:]
        return out

    def stop(self):
        """Ends both in good order; fails when one does not end with 0, or leaves a process."""
        problems = []
        for process in (self.milterd, self.multiplexor):
            if process and process.is_alive():
                wait_until(lambda p=process: p.heeds(signal.SIGTERM) or not p.is_alive(), f"{process.argv[0]} to begin")
                status = process.stop(signal.SIGTERM)
                if status != 0:
                    problems.append(f"{process.argv[0]} ended with {status}")
        try:
            wait_until(lambda: not processes_of(self.folder.path), lambda: f"processes left: {processes_of(self.folder.path)}", 5)
        except AssertionError as error:
            problems.append(str(error))
        for process in (self.milterd, self.multiplexor):
            if process and re.search(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|invariant does not hold", process.output()):
                problems.append(f"a sanitizer or an invariant spoke in {process.log}")
        if problems:
            raise AssertionError("; ".join(problems) + "\n" + self.logs())
        if self.owns_folder:
            self.folder.remove()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        else:
            logs = self.logs()
            for process in (self.milterd, self.multiplexor):
                if process:
                    process.kill()
                    process.popen.wait()
            print(logs)
