"""Folders and processes of one test: private, waited for with a deadline, ended by pid."""

import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

BIN = os.environ["POSTERN_BIN"]
BUILD = os.environ["POSTERN_BUILD"]
SOURCE = os.environ["POSTERN_SOURCE"]
SANITIZE = os.environ.get("POSTERN_SANITIZE", "")
CACHE = os.environ.get("POSTERN_CACHE") or os.path.join(SOURCE, ".cache")
LOAD = float(os.environ.get("POSTERN_LOAD", "1"))

# Sanitizers and a loaded machine make everything slower; deadlines of waits (not of what is tested) grow with them.
PATIENCE = int(os.environ.get("POSTERN_PATIENCE") or (4 if SANITIZE else 1))


def scaled(n, least=1):
    """A number of messages or seconds, scaled by POSTERN_LOAD."""
    return max(least, int(n * LOAD))


def wait_until(condition, what, seconds=10.0, pause=0.01):
    """Polls until condition() is true and returns its value; fails after the deadline, naming what was awaited."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds * PATIENCE:.0f} s in vain: {what() if callable(what) else what}")
        time.sleep(pause)


def loopback_address():
    """An address of 127.0.0.0/8 that no other test has, so that ports never clash."""
    return f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"


class Folder:
    """A private folder below the build folder; kept when POSTERN_KEEP is set or the test failed to say `clean`."""

    def __init__(self, name):
        # A socket's path has 107 bytes at most; a checkout far down gets its folders in the system's place for temporary files.
        root = os.path.join(BUILD, "tests-tmp")
        if len(root) > 60:
            root = tempfile.gettempdir()
        os.makedirs(root, exist_ok=True)
        self.path = tempfile.mkdtemp(prefix=name[:10] + ".", dir=root)
        os.chmod(self.path, 0o755)

    def __call__(self, *names):
        return os.path.join(self.path, *names)

    def write(self, name, text, mode=0o644):
        path = self(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = text if isinstance(text, bytes) else text.encode()
        with open(path + ".new", "wb") as file:
            file.write(data)
        os.chmod(path + ".new", mode)
        os.rename(path + ".new", path)
        return path

    def remove(self):
        if not os.environ.get("POSTERN_KEEP"):
            shutil.rmtree(self.path, ignore_errors=True)


class Process:
    """A child process with its output in a file."""

    def __init__(self, argv, log, env=None, **kwargs):
        self.log = log
        self.argv = argv
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env={**os.environ, **(env or {})}, **kwargs)
        self.pid = self.popen.pid

    def output(self):
        with open(self.log, "rb") as file:
            return file.read().decode("utf-8", "replace")

    def is_alive(self):
        return self.popen.poll() is None

    def wait_for_line(self, text, seconds=10.0):
        def seen():
            if text in self.output():
                return True
            if not self.is_alive():
                raise AssertionError(f"{self.argv[0]} ended with {self.popen.returncode} before it said {text!r}:\n{self.output()[-3000:]}")
            return False
        wait_until(seen, lambda: f"{self.argv[0]} to say {text!r}; it said:\n{self.output()[-3000:]}", seconds)

    def kill(self, sig=signal.SIGKILL):
        if self.is_alive():
            self.popen.send_signal(sig)

    def signal_group(self, sig):
        """To its children too; it was started with start_new_session."""
        os.killpg(self.pid, sig)

    def heeds(self, sig):
        """Whether the signal would not end it by default: a program needs a moment to get so far."""
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
                sets = re.findall(r"^Sig(?:Blk|Cgt):\s*(\w+)$", file.read(), flags=re.M)
        except FileNotFoundError:
            return False
        return any(int(text, 16) >> (sig - 1) & 1 for text in sets)

    def stop(self, sig=signal.SIGTERM, seconds=20.0):
        """Asks it to end and returns the exit status; kills it and fails when it does not."""
        self.kill(sig)
        try:
            return self.popen.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.argv[0]} did not end after signal {sig}:\n{self.output()[-3000:]}") from None


def processes_of(folder):
    """Pids of Postern's living processes whose command line names the folder."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read()
                    if folder.encode() in words and b"postern-" in words.split(b"\0")[0]:
                        with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                            if stat.read().rsplit(")", 1)[1].split()[0] != "Z":
                                found.append(int(name))
            except OSError:
                continue
    return found
